// Spelling of formats: <element>[@<shares>][/<scale>][+<extra>], parsed and printed back.
import { didYouMean, RequestError } from './error.ts'
import {
  type Element,
  type FloatBook,
  type Format,
  type FormatLike,
  PRESETS,
  type PresetName,
  type QuantileBook,
  type ScaledFormat,
  type ScaleKind,
  type Shares,
} from './format.ts'

const SCALES: readonly ScaleKind[] = ['fp16', 'fp32', 'bf16', 'e8m0', 'e4m3', 'dyn8x256', 'exact']
const PLAIN = ['bf16', 'fp16', 'fp32'] as const
const QUANTILE_BOOKS: readonly QuantileBook[] = ['midpoint_sample', 'midpoint_normal', 'paper_sample', 'paper_normal']
const EXTRAS = ['centered', 'proxy2%', 'hadamard', 'sr', 'clip']

/** Every element's bare name, for the search of a near spelling. */
function elementNames(): string[] {
  const names: string[] = ['ternary', ...PLAIN, ...PRESETS]
  for (let bits = 2; bits <= 16; bits++) names.push(`int${bits}`)
  for (let bits = 2; bits <= 8; bits++) {
    names.push(`int${bits}full`, `uint${bits}`, `dyn${bits}`, `quantile${bits}`, `nf${bits}`)
    for (let exponent = 1; exponent < bits; exponent++) names.push(`fp${bits}e${exponent}m${bits - 1 - exponent}`)
  }
  return names
}

function unknownFormat(text: string, part: string): RequestError {
  return new RequestError(`unknown format '${text}'${didYouMean(part, elementNames())}`)
}

function inRange(text: string, kind: string, bits: number, low: number, high: number): number {
  if (bits >= low && bits <= high) return bits
  const near = `${kind}${Math.min(Math.max(bits, low), high)}`
  throw new RequestError(
    `unknown format '${text}': ${kind} has ${low} to ${high} bits, not ${bits} (did you mean ${near}?)`,
  )
}

function chooseBook<T extends string>(text: string, element: string, book: string, books: readonly T[]): T {
  const found = books.find(candidate => candidate === book)
  if (found !== undefined) return found
  throw new RequestError(
    `unknown code book '.${book}' in '${text}', ${element} has ${books.map(name => `.${name}`).join(', ') || 'no other'}${didYouMean(book, books)}`,
  )
}

/** The code books that a float layout has. */
function floatBooks(bits: number, exponent: number): FloatBook[] {
  const books: FloatBook[] = ['ieee', 'bnb', 'paper']
  if (bits === 4 && exponent === 2) books.push('bnb_table')
  if (bits === 8 && (exponent === 4 || exponent === 5)) books.push('ocp')
  return books
}

function parseElement(text: string, word: string): Element {
  const [name, ...rest] = word.split('.')
  const book = rest.length ? rest.join('.') : undefined
  const noBook = (element: Element): Element => {
    if (book !== undefined) chooseBook(text, name, book, [])
    return element
  }
  if (name === 'ternary') return noBook({ kind: 'ternary' })
  const float = /^fp(\d{1,2})e(\d{1,2})m(\d{1,2})$/.exec(name)
  if (float) {
    const [bits, exponent, mantissa] = float.slice(1).map(Number)
    inRange(text, 'fp', bits, 2, 8)
    if (exponent < 1 || exponent + mantissa !== bits - 1) {
      const e = Math.min(Math.max(exponent, 1), bits - 1)
      throw new RequestError(
        `unknown format '${text}': the exponent (at least 1) and mantissa bits of fp${bits} add up to ${bits - 1} (did you mean fp${bits}e${e}m${bits - 1 - e}?)`,
      )
    }
    return {
      kind: 'fp',
      bits,
      exponent,
      mantissa,
      book: book === undefined ? 'ieee' : chooseBook(text, name, book, floatBooks(bits, exponent)),
    }
  }
  const match = /^(int|uint|dyn|quantile|nf)(\d{1,2})(full)?$/.exec(name)
  if (!match || (match[3] && match[1] !== 'int')) throw unknownFormat(text, name)
  const kind = match[1]
  const bits = inRange(text, kind, Number(match[2]), 2, kind === 'int' && !match[3] ? 16 : 8)
  if (match[3]) return noBook({ kind: 'full', bits })
  if (kind === 'uint') return noBook({ kind: 'uint', bits })
  if (kind === 'int')
    return { kind, bits, book: book === undefined ? 'exact' : chooseBook(text, name, book, bits <= 8 ? ['bnb'] : []) }
  if (kind === 'nf')
    return {
      kind,
      bits,
      book: book === undefined ? 'exact' : chooseBook(text, name, book, bits === 4 ? ['bnb', 'bnb_table'] : []),
    }
  if (kind === 'quantile')
    return { kind, bits, book: book === undefined ? 'midpoint_sample' : chooseBook(text, name, book, QUANTILE_BOOKS) }
  const books = ['bnb', ...Array.from({ length: bits - 2 }, (_, i) => `bnb_n${i + 1}`)]
  const chosen = book === undefined ? 'bnb' : chooseBook(text, name, book, books)
  return { kind: 'dyn', bits, exponent: chosen === 'bnb' ? bits - 1 : Number(chosen.slice(5)) }
}

function parseShares(text: string, word: string): Shares {
  if (word === 'channel' || word === 'token' || word === 'tensor') return word
  if (/^\d+$/.test(word) && Number(word) >= 2 && Number.isSafeInteger(Number(word))) return Number(word)
  throw new RequestError(
    `bad shares '@${word}' in '${text}', expected a block size of at least 2, @channel, @token or @tensor${didYouMean(word, ['channel', 'token', 'tensor'])}`,
  )
}

/** Reads a format; throws RequestError that names the wrong part. A record is returned as it is. */
export function parseFormat(spelling: FormatLike): Format {
  if (typeof spelling !== 'string') return spelling
  const text = spelling
  const match = /^([^@/+]*)(?:@([^@/+]*))?(?:\/([^@/+]*))?((?:\+[^@/+]*)*)$/.exec(text)
  if (!match)
    throw new RequestError(
      `format '${text}' is not spelled <element>[@<shares>][/<scale>][+<extra>], like int4@64/fp32`,
    )
  const [, word, shares, scaleWord, extraWords] = match
  const bare = PLAIN.find(name => name === word)
  const preset = PRESETS.find(name => name === word)
  if (bare !== undefined || preset !== undefined) {
    if (text !== word)
      throw new RequestError(`format '${text}' has too much, ${word} takes no ${text.slice(word.length)}`)
    return bare ? { kind: 'plain', name: bare } : { kind: 'preset', name: preset as PresetName }
  }
  const element = parseElement(text, word)
  if (shares === undefined)
    throw new RequestError(
      `format '${text}' says not what shares a scale, expected for example ${word}@64 or ${word}@channel`,
    )
  const scale = scaleWord === undefined ? 'fp16' : SCALES.find(name => name === scaleWord)
  if (scale === undefined)
    throw new RequestError(
      `unknown scale '/${scaleWord}' in '${text}', expected one of ${SCALES.map(name => `/${name}`).join(', ')}${didYouMean(scaleWord, SCALES)}`,
    )
  let centered = false
  let proxy = 0
  let hadamard = false
  let stochastic = false
  let clip = false
  const seen = new Set<string>()
  for (const extra of extraWords.split('+').slice(1)) {
    const outliers = /^proxy(\d+(?:\.\d+)?)%$/.exec(extra)
    const name = outliers ? 'proxy' : extra
    if (seen.has(name)) throw new RequestError(`extra '+${extra}' comes twice in '${text}'`)
    seen.add(name)
    if (outliers) {
      proxy = Number(outliers[1])
      if (!(proxy > 0 && proxy < 100))
        throw new RequestError(`bad extra '+${extra}' in '${text}', expected more than 0 and less than 100 %`)
    } else if (extra === 'centered') centered = true
    else if (extra === 'hadamard') hadamard = true
    else if (extra === 'sr') stochastic = true
    else if (extra === 'clip') clip = true
    else
      throw new RequestError(
        `unknown extra '+${extra}' in '${text}', expected one of ${EXTRAS.map(known => `+${known}`).join(', ')}${didYouMean(extra, EXTRAS)}`,
      )
  }
  return {
    kind: 'scaled',
    element,
    shares: parseShares(text, shares),
    scale,
    centered,
    proxy,
    hadamard,
    stochastic,
    clip,
  }
}

/** Spelling of an element with its code book, as in golden code book files: `fp4e2m1.bnb`, bare where it is the usual one. */
export function printElement(element: Element): string {
  switch (element.kind) {
    case 'ternary':
      return 'ternary'
    case 'full':
      return `int${element.bits}full`
    case 'uint':
      return `uint${element.bits}`
    case 'fp':
      return `fp${element.bits}e${element.exponent}m${element.mantissa}${element.book === 'ieee' ? '' : `.${element.book}`}`
    case 'dyn':
      return `dyn${element.bits}${element.exponent === element.bits - 1 ? '' : `.bnb_n${element.exponent}`}`
    case 'quantile':
      return `quantile${element.bits}${element.book === 'midpoint_sample' ? '' : `.${element.book}`}`
    default:
      return `${element.kind}${element.bits}${element.book === 'exact' ? '' : `.${element.book}`}`
  }
}

/** The one spelling of a format: extras in a fixed order, the default scale left out. */
export function printFormat(format: FormatLike): string {
  const record = parseFormat(format)
  if (record.kind !== 'scaled') return record.name
  return printScaled(record)
}

function printScaled(format: ScaledFormat): string {
  const { element, shares, scale, centered, proxy, hadamard, stochastic, clip } = format
  const extras = [
    centered ? '+centered' : '',
    proxy > 0 ? `+proxy${proxy}%` : '',
    hadamard ? '+hadamard' : '',
    stochastic ? '+sr' : '',
    clip ? '+clip' : '',
  ]
  return `${printElement(element)}@${shares}${scale === 'fp16' ? '' : `/${scale}`}${extras.join('')}`
}

/** The format of weights n (`int<n>@channel/exact`), or of activations and KV n (`int<n>@tensor/exact`), in a run configuration; 16: null, not quantized. */
export function formatOfBits(bits: number, part: 'weights' | 'activations' | 'kv'): ScaledFormat | null {
  if (bits === 16) return null
  if (!Number.isInteger(bits) || bits < 2 || bits > 16)
    throw new RequestError(`precision of ${part} '${bits}' is not a whole number of bits from 2 to 16`)
  return parseFormat(`int${bits}@${part === 'weights' ? 'channel' : 'tensor'}/exact`) as ScaledFormat
}
