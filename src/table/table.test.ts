import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { expect, test } from 'vitest'
import { golden } from '../../test/shared.ts'
import { filterRows, mapColumns, parseWhere, readRows } from './index.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

test('reads CSV with quotes, CRLF, empty cells and blank lines, and keeps the lines', async () => {
  const table = await readRows('a.csv', bytes('\uFEFFN,name,loss\r\n1e9,"a, ""b""\nc",\r\n\r\n2,x,3.5\r\n'))
  expect(table.columns).toEqual(['N', 'name', 'loss'])
  expect(table.rows).toEqual([
    { N: 1e9, name: 'a, "b"\nc', loss: null },
    { N: 2, name: 'x', loss: 3.5 },
  ])
  expect(table.lines).toEqual([2, 5])
})

test('names the line with too few cells, an open quote, text that is not JSON', async () => {
  await expect(readRows('a.csv', bytes('a,b\n1,2\n3\n'))).rejects.toThrow('a.csv line 3 has 1 cells, expected 2')
  await expect(readRows('a.csv', bytes('a,b\n1,"2\n3\n'))).rejects.toThrow('line 2: a quote is not closed')
  await expect(readRows('a.jsonl', bytes('{"a":1}\n{"a":\n'))).rejects.toThrow('a.jsonl line 2 is not JSON')
  await expect(readRows('a.csv', bytes('a,b\n'))).rejects.toThrow('a.csv has no rows')
  await expect(readRows('a.parquet', bytes('a,b\n'))).rejects.toThrow('not a Parquet file')
})

test('reads JSON lines and arrays, nested objects by dotted names', async () => {
  const lines = await readRows('a.jsonl', bytes('{"N":1,"p":{"w":4}}\n\n{"N":2,"loss":null}\n'))
  expect(lines.rows).toEqual([
    { N: 1, 'p.w': 4, loss: null },
    { N: 2, 'p.w': null, loss: null },
  ])
  expect(lines.lines).toEqual([1, 3])
  const array = await readRows('a.json', bytes('[{"N":1},{"N":2}]'))
  expect(array.rows).toEqual([{ N: 1 }, { N: 2 }])
})

test('reads Parquet, 64-bit integers and empty cells included', async () => {
  const buffer = parquetWriteBuffer({
    columnData: [
      { name: 'N', data: [30_000_000n, 60_000_000n], type: 'INT64' },
      { name: 'loss', data: [3.5, null], type: 'DOUBLE' },
      { name: 'format', data: ['int4', 'bf16'], type: 'STRING' },
    ],
  })
  const table = await readRows('runs', new Uint8Array(buffer))
  expect(table.rows).toEqual([
    { N: 30_000_000, loss: 3.5, format: 'int4' },
    { N: 60_000_000, loss: null, format: 'bf16' },
  ])
})

test('any cells survive writing and reading as CSV', async () => {
  const cell = fc.string().filter(s => s.trim() === s && s !== '' && Number.isNaN(Number(s)))
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(cell, cell), { minLength: 1, maxLength: 8 }), async rows => {
      const quote = (s: string) => `"${s.replaceAll('"', '""')}"`
      const text = `a,b\n${rows.map(row => row.map(quote).join(',')).join('\n')}\n`
      const table = await readRows('t.csv', bytes(text))
      expect(table.rows.map(row => [row['a'], row['b']])).toEqual(rows)
    }),
  )
})

test('maps columns and says which exist', async () => {
  const table = await readRows('a.csv', bytes('params,val\n5,2\n'))
  expect(mapColumns(table, { N: 'params' }).rows[0]).toEqual({ params: 5, val: 2, N: 5 })
  expect(() => mapColumns(table, { N: 'size' })).toThrow("no column 'size', it has params, val")
})

test('filters rows', async () => {
  const table = await readRows('a.csv', bytes('w,a,q,P_post\n3,3,Trust,\n4,16,No,3\n16,16,No,4\n'))
  const count = (text: string) => filterRows(table, parseWhere(text, table.columns)).rows.length
  expect(count('w >= 4')).toBe(2)
  expect(count('w = a')).toBe(2)
  expect(count('w = a = 16')).toBe(1)
  expect(count('q = No and not (w == 4 || w != 16)')).toBe(1)
  expect(count('P_post is empty')).toBe(1)
  expect(count('P_post is not empty')).toBe(2)
  expect(count("P_post = ''")).toBe(1)
  expect(count('P_post < 4')).toBe(1)
  expect(count('w in (3, 16)')).toBe(2)
  expect(count('w not in [3, 16]')).toBe(1)
  expect(count('q ~ rus')).toBe(1)
  expect(() => parseWhere('wb >= 3', ['w_b'])).toThrow("no column 'wb' (did you mean w_b?)")
  expect(() => parseWhere('w >=', ['w'])).toThrow('at its end, expected a column')
  expect(() => parseWhere('w', ['w'])).toThrow('expected a comparison')
})

test('reads every golden table', async () => {
  const folder = golden('fits')
  if (!folder) return
  for (const name of readdirSync(folder).filter(file => file.endsWith('.csv'))) {
    const content = readFileSync(join(folder, name))
    const table = await readRows(name, content)
    expect(table.rows.length).toBe(content.toString().trim().split('\n').length - 1)
  }
})
