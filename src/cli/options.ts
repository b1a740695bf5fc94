// What the verbs read alike from their options: whole numbers, a choice among names, texts, and where output goes.
import { accessSync, constants, existsSync, mkdtempSync, readFileSync, rmdirSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { didYouMean, RequestError } from '../formats/error.ts'
import { parseQuantity } from '../table/quantity.ts'

/** The engine starts no more. */
const MOST_THREADS = 1024

/** A whole number of at least `least`, written as quantities are (2k, 1e6). */
export function wholeNumber(text: string, option: string, least = 1): number {
  let value = Number.NaN
  try {
    value = parseQuantity(text)
  } catch {
    // No quantity of any kind: what is said below of the option says more.
  }
  if (!Number.isSafeInteger(value) || value < least)
    throw new RequestError(
      `${option} '${text}' is not a ${least === 1 ? 'positive whole number' : `whole number from ${least}`}`,
    )
  return value
}

/** The same where the option may be absent. */
export const optionalWhole = (text: string | undefined, option: string, least = 1): number | undefined =>
  text === undefined ? undefined : wholeNumber(text, option, least)

/** Threads of the kernels, as many as the engine has at most; undefined where none are given. */
export function threadsOf(text: string | undefined): number | undefined {
  const threads = optionalWhole(text, '--threads')
  if (threads !== undefined && threads > MOST_THREADS)
    throw new RequestError(`--threads '${text}' is too many, expected at most ${MOST_THREADS}`)
  return threads
}

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
  if (!existsSync(path)) {
    tryFolder(dirname(resolve(path)), path, option)
    return
  }
  if (statSync(path).isDirectory()) throw new RequestError(`${option} '${path}' is a folder, expected a file`)
  try {
    accessSync(path, constants.W_OK)
  } catch {
    throw new RequestError(`${option} '${path}' may not be written, expected a file that may`)
  }
}

/** Says at once, before long work, that a folder cannot be made there or written into. */
export function checkOutputFolder(path: string | undefined, option: string): void {
  if (path === undefined) return
  let folder = resolve(path)
  while (!existsSync(folder)) folder = dirname(folder)
  if (!statSync(folder).isDirectory())
    throw new RequestError(
      folder === resolve(path)
        ? `${option} '${path}' is a file, expected a folder`
        : `${option} '${path}' lies in '${folder}', which is a file, expected a folder`,
    )
  tryFolder(folder, path, option)
}

/** Whether a folder can be written into is only known when something was made there: rights and the kind of disk both decide. */
function tryFolder(folder: string, path: string, option: string): void {
  try {
    rmdirSync(mkdtempSync(join(folder, '.bitlaw-')))
  } catch {
    throw new RequestError(`${option} '${path}' cannot be written, expected a place where files may be made`)
  }
}
