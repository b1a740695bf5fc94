import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { readSafetensors } from '../../test/safetensors.ts'
import { golden } from '../../test/shared.ts'
import { codebook, estimateQuantileLevels, nearestCode } from './codebook.ts'
import { parseFormat } from './spelling.ts'

/** The element of a code book's name. */
function elementOf(name: string) {
  const format = parseFormat(`${name}@64`)
  if (format.kind !== 'scaled') throw new Error(`${name} is not a code book`)
  return format.element
}

const path = golden('formats', 'codebooks.json')
test.skipIf(!path)('code books are those of the tools that define them', () => {
  const { codebooks } = JSON.parse(readFileSync(path!, 'utf8'))
  const samples = readSafetensors(golden('formats', 'codebooks.safetensors')!)
  const sample = samples['sample'].values as Float32Array
  for (const { name, dtype, values } of codebooks) {
    const element = elementOf(name)
    const levels =
      element.kind === 'quantile' && element.book.endsWith('sample')
        ? estimateQuantileLevels(element.bits, element.book, sample)
        : codebook(element).levels
    expect(levels.length, name).toBe(values.length)
    for (let i = 0; i < values.length; i++) {
      // Tables made in f32 are equal; those in f64 to the last digits of a normal quantile; estimated ones are stored in f32.
      const tolerance = dtype === 'float32' ? 0 : name.endsWith('_sample') ? 6e-8 : 1e-14
      const error = Math.abs(levels[i] - values[i])
      if (!(error <= tolerance)) expect.fail(`${name} level ${i}: ${levels[i]} is not ${values[i]}`)
    }
  }
})

test('the nearest level is that of a search through all, a tie goes to the lower', () => {
  for (const name of ['int4', 'int8', 'nf4', 'fp4e2m1', 'dyn8', 'fp8e4m3.ocp', 'quantile5.midpoint_normal', 'nf2']) {
    const book = codebook(elementOf(name))
    const tries = [-2, -1, 0, 1, 2]
    for (let i = 0; i < 2000; i++) tries.push(Math.sin(i * 12.9898) * (i % 3 === 0 ? 1 : 1e-3))
    for (let i = 0; i + 1 < book.levels.length; i++) tries.push((book.levels[i] + book.levels[i + 1]) / 2)
    for (const q of tries) {
      let best = 0
      for (let code = 1; code < book.levels.length; code++)
        if (Math.abs(book.levels[code] - q) < Math.abs(book.levels[best] - q) - 2e-12) best = code
      expect(nearestCode(book, q), `${name} ${q}`).toBe(best)
    }
  }
})
