// What the verbs read alike from their options: whole numbers, a choice among names, texts, and where output goes.
import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { didYouMean, RequestError } from '../formats/error.ts'
import { parseQuantity } from '../table/quantity.ts'

/** A whole number of at least `least`, written as quantities are (2k, 1e6). */
export function wholeNumber(text: string, option: string, least = 1): number {
  const value = parseQuantity(text, 'count', option)
  if (!Number.isSafeInteger(value) || value < least)
    throw new RequestError(
      `${option} '${text}' is not a ${least === 1 ? 'positive whole number' : `whole number from ${least}`}`,
    )
  return value
}

/** The same where the option may be absent. */
export const optionalWhole = (text: string | undefined, option: string, least = 1): number | undefined =>
  text === undefined ? undefined : wholeNumber(text, option, least)

/** One of several names; the error offers a near one. */
export function oneOf<T extends string>(value: string, names: readonly T[], what: string): T {
  if (!names.includes(value as T))
    throw new RequestError(`unknown ${what} '${value}', expected one of ${names.join(', ')}${didYouMean(value, names)}`)
  return value as T
}

/** The text in a file. */
export function readText(path: string): string {
  if (!existsSync(path)) throw new RequestError(`no text at '${path}'`)
  if (!statSync(path).isFile()) throw new RequestError(`'${path}' is a folder, expected a file with text`)
  return readFileSync(path, 'utf8')
}

/** Says at once, before long work, that a file cannot be written there. */
export function checkOutputFile(path: string | undefined, option: string): void {
  if (path === undefined) return
  if (!existsSync(dirname(resolve(path))))
    throw new RequestError(`${option} '${path}' lies in a folder that does not exist`)
  if (existsSync(path) && statSync(path).isDirectory())
    throw new RequestError(`${option} '${path}' is a folder, expected a file`)
}
