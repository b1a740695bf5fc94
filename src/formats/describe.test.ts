import { expect, test } from 'vitest'
import { COMMON_FORMATS, describeFormat, effectiveBits, formatsMarkdown, sortDescriptions } from './describe.ts'
import { PRESETS } from './format.ts'
import { levelCount, levels } from './levels.ts'

test('the Markdown table has a row a format, sorted by size, made from the records', () => {
  const lines = formatsMarkdown(['nf4@64', 'int3@64', 'fp16']).split('\n')
  expect(lines.length).toBe(5)
  expect(lines[2]).toBe('| `int3@64` | 3.25 | 7 | 0.0631 | 1.99 | 0.606 |')
  expect(lines[3]).toMatch(/^\| `nf4@64` \| 4\.25 \| 16 \| 0\.00846 \|/)
  expect(formatsMarkdown().split('\n').length).toBe(COMMON_FORMATS.length + 2)
})

test('no format does better than the rate-distortion bound, and more bits of a kind do better', () => {
  for (const row of COMMON_FORMATS.map(format => describeFormat(format)))
    expect(effectiveBits(row), row.name).toBeLessThan(row.bitsPerParameter)
  const errors = [2, 3, 4, 5, 6, 7, 8].map(bits => describeFormat(`int${bits}@64`).gaussianMse)
  expect([...errors].sort((a, b) => b - a)).toEqual(errors)
  const rows = sortDescriptions(['int8@64', 'int4@64', 'nf4@64'].map(format => describeFormat(format)))
  expect(rows.map(row => row.name)).toEqual(['nf4@64', 'int4@64', 'int8@64'])
})

test('levels are sorted, distinct, and as many as are counted', () => {
  for (const format of [...COMMON_FORMATS, ...PRESETS, 'int4full@64', 'uint3@64', 'int12@channel', 'fp8e5m2.ocp@64']) {
    const values = levels(format)
    for (let i = 1; i < values.length; i++)
      if (!(values[i] > values[i - 1])) expect.fail(`${format}: level ${i} is ${values[i]} after ${values[i - 1]}`)
    if (!format.startsWith('quantile')) expect(values.length, format).toBe(levelCount(format))
  }
  expect(levels('mxfp4')).toEqual([-6, -4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, 6])
  expect(levels('int2@64')).toEqual([-1, 0, 1])
  expect(levelCount('quantile4@64')).toBe(16)
  expect(() => levels('fp32')).toThrow(/fp32 has 4278190079 levels, too many to list/)
})
