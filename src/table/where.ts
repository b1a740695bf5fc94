// The little language of `--where`: comparisons of columns with numbers, text or other columns, joined by and, or, not.
//   w_bits >= 3 and (w_quant = NoQuantizer or a_quant ~ Trust) and P_post is empty and P_w = P_a = 16
import { didYouMean, RequestError } from '../formats/error.ts'
import { type Cell, cellOf, type Row } from './table.ts'

type Test = (row: Row) => boolean
type Value = (row: Row) => Cell
interface Token {
  kind: 'word' | 'text' | 'sign'
  text: string
}

const SIGNS = ['>=', '<=', '!=', '<>', '==', '&&', '||', '=', '<', '>', '~', '(', ')', '!', ',', '[', ']']

function tokenize(source: string): Token[] {
  const tokens: Token[] = []
  let at = 0
  while (at < source.length) {
    if (/\s/.test(source[at])) {
      at++
      continue
    }
    const quote = source[at]
    if (quote === '"' || quote === "'") {
      const end = source.indexOf(quote, at + 1)
      if (end < 0) throw new RequestError(`filter '${source}' has a quote that is not closed`)
      tokens.push({ kind: 'text', text: source.slice(at + 1, end) })
      at = end + 1
      continue
    }
    const sign = SIGNS.find(s => source.startsWith(s, at))
    if (sign) {
      tokens.push({ kind: 'sign', text: sign })
      at += sign.length
      continue
    }
    const word = /^[^\s()<>=!~&|,'"[\]]+/.exec(source.slice(at))?.[0]
    if (word === undefined) throw new RequestError(`filter '${source}' has an unexpected '${source[at]}'`)
    tokens.push({ kind: 'word', text: word })
    at += word.length
  }
  return tokens
}

function compare(a: Cell, b: Cell, sign: string): boolean {
  if (sign === '~') return a !== null && String(a).includes(String(b))
  const left = a === null ? '' : a
  const right = b === null ? '' : b
  const bothNumbers = typeof left === 'number' && typeof right === 'number'
  const equal = bothNumbers ? left === right : String(left) === String(right)
  if (sign === '=' || sign === '==') return equal
  if (sign === '!=' || sign === '<>') return !equal
  if (!bothNumbers) return false // an empty cell or text is neither more nor less
  return sign === '<' ? left < right : sign === '<=' ? left <= right : sign === '>' ? left > right : left >= right
}

/** A test of rows from a filter's text; throws RequestError where it cannot be read or names no column. */
export function parseWhere(source: string, columns: readonly string[]): Test {
  const tokens = tokenize(source)
  let at = 0
  const fail = (expected: string): never => {
    throw new RequestError(
      `filter '${source}' cannot be read at ${at < tokens.length ? `'${tokens[at].text}'` : 'its end'}, expected ${expected}`,
    )
  }
  const is = (...texts: string[]) =>
    at < tokens.length && tokens[at].kind !== 'text' && texts.includes(tokens[at].text.toLowerCase())
  const accept = (...texts: string[]): boolean => {
    if (!is(...texts)) return false
    at++
    return true
  }
  const value = (mustBeColumn: boolean): Value => {
    const token = tokens[at]
    if (token === undefined || token.kind === 'sign') return fail('a column, a number or text')
    at++
    if (token.kind === 'word' && columns.includes(token.text)) return row => row[token.text] ?? null
    const cell = token.kind === 'text' ? token.text || null : cellOf(token.text)
    if (mustBeColumn && token.kind === 'word' && typeof cell === 'string')
      throw new RequestError(
        `no column '${token.text}'${didYouMean(token.text, columns)} for filter '${source}', there are ${columns.join(', ')}`,
      )
    return () => cell
  }
  const comparison = (): Test => {
    if (accept('not', '!')) {
      const test = comparison()
      return row => !test(row)
    }
    if (accept('(')) {
      const test = disjunction()
      if (!accept(')')) fail("')'")
      return test
    }
    let left = value(true)
    if (accept('is')) {
      const negated = accept('not')
      if (!accept('empty', 'null')) fail("'empty'")
      return row => (left(row) === null) !== negated
    }
    const negated = accept('not')
    if (accept('in')) {
      if (!accept('(', '[')) fail("'('")
      const list = [value(false)]
      while (accept(',')) list.push(value(false))
      if (!accept(')', ']')) fail("')'")
      return row => list.some(item => compare(left(row), item(row), '=')) !== negated
    }
    if (negated) fail("'in'")
    const tests: Test[] = []
    while (is('>=', '<=', '!=', '<>', '==', '=', '<', '>', '~')) {
      const sign = tokens[at++].text
      const a = left
      const b = value(false)
      tests.push(row => compare(a(row), b(row), sign))
      left = b
    }
    if (tests.length === 0) fail('a comparison (= != < <= > >= ~ in, is empty)')
    return row => tests.every(test => test(row))
  }
  const conjunction = (): Test => {
    const tests = [comparison()]
    while (accept('and', '&&')) tests.push(comparison())
    return row => tests.every(test => test(row))
  }
  const disjunction = (): Test => {
    const tests = [conjunction()]
    while (accept('or', '||')) tests.push(conjunction())
    return row => tests.some(test => test(row))
  }
  const test = disjunction()
  if (at < tokens.length) fail("'and', 'or' or the end")
  return test
}
