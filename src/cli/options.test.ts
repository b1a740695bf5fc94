// What the verbs read alike: numbers are refused in words that fit them, and a place that cannot be written before the work.
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { RequestError } from '../formats/error.ts'
import { checkOutputFile, checkOutputFolder, threadsOf, wholeNumber } from './options.ts'

const folder = mkdtempSync(join(tmpdir(), 'bitlaw-options-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

test('a whole number is read as people write it, and anything else refused as no whole number', () => {
  expect([wholeNumber('2k', '--limit'), wholeNumber('1e6', '--limit'), wholeNumber('0', '--seed', 0)]).toEqual([
    2000, 1e6, 0,
  ])
  for (const text of ['-1', 'x', '', 'NaN', '1e999', '2.5', '4GiB', '0'])
    expect(() => wholeNumber(text, '--limit'), text).toThrow(
      new RequestError(`--limit '${text}' is not a positive whole number`),
    )
  expect(() => wholeNumber('-1', '--seed', 0)).toThrow("--seed '-1' is not a whole number from 0")
})

test('more threads than the engine starts are a wrong request', () => {
  expect([threadsOf(undefined), threadsOf('1024')]).toEqual([undefined, 1024])
  expect(() => threadsOf('1025')).toThrow(new RequestError("--threads '1025' is too many, expected at most 1024"))
})

test('output that cannot be written is refused at once, and nothing is left of the attempt', () => {
  const file = join(folder, 'file.txt')
  const inside = join(folder, 'folder')
  writeFileSync(file, 'words')
  mkdirSync(inside)
  checkOutputFile(join(folder, 'new.json'), '--out')
  checkOutputFile(file, '--out')
  checkOutputFile(undefined, '--out')
  checkOutputFolder(join(folder, 'new', 'deep'), '--out')
  checkOutputFolder(inside, '--out')
  expect(() => checkOutputFile(inside, '--out')).toThrow(/^--out '.*' is a folder, expected a file$/)
  expect(() => checkOutputFile(join(folder, 'no', 'x'), '--out')).toThrow(/lies in a folder that does not exist$/)
  expect(() => checkOutputFolder(file, '--out')).toThrow(/^--out '.*file\.txt' is a file, expected a folder$/)
  expect(() => checkOutputFolder(join(file, 'x'), '--out')).toThrow(/lies in '.*', which is a file, expected a folder$/)
  expect(readdirSync(folder).sort()).toEqual(['file.txt', 'folder'])
})

// Nothing can be made in it, whoever asks.
test.runIf(process.platform === 'linux')('a folder where nothing can be made is refused', () => {
  expect(() => checkOutputFile('/proc/x', '--out')).toThrow(RequestError)
  expect(() => checkOutputFolder('/proc/x/y', '--out')).toThrow(/^--out '\/proc\/x\/y' cannot be written/)
})
