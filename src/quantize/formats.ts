// Lists of formats as people write them: commas between, braces for variants (int{3,4}@{64,128}).
import { RequestError } from '../formats/index.ts'

/** Splits at commas outside braces. */
function splitList(text: string): string[] {
  const words: string[] = []
  let depth = 0
  let word = ''
  for (const char of text) {
    if (char === '{') depth++
    if (char === '}') depth--
    if (depth < 0) break
    if (char === ',' && depth === 0) {
      words.push(word)
      word = ''
    } else word += char
  }
  if (depth !== 0) throw new RequestError(`formats '${text}' have a brace without its other half`)
  words.push(word)
  return words.map(each => each.trim()).filter(each => each !== '')
}

/** Every format of a list, braces expanded, in order. */
export function expandFormats(text: string): string[] {
  return splitList(text).flatMap(word => {
    const open = word.indexOf('{')
    if (open < 0) return [word]
    const close = word.indexOf('}', open)
    return splitList(word.slice(open + 1, close)).flatMap(variant =>
      expandFormats(word.slice(0, open) + variant + word.slice(close + 1)),
    )
  })
}
