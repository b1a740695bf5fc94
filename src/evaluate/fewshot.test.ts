import { expect, test } from 'vitest'
import { fewshotPrefixes, pythonRandom } from './fewshot.ts'
import { findTask, type Task } from './tasks.ts'

const piqa = findTask('piqa') as Task
const rows = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ goal: `goal ${i}`, sol1: `one ${i}`, sol2: `two ${i}`, label: i % 2 }))

test("draws what Python's random.Random(1234).sample draws", () => {
  const large = pythonRandom(1234)
  expect(large.sample(1000, 6)).toEqual([989, 796, 451, 119, 7, 92])
  expect(large.sample(1000, 6)).toEqual([932, 965, 961, 826, 596, 35])
  expect(large.sample(1000, 6)).toEqual([687, 709, 85, 100, 784, 363])
  expect(large.sample(20, 6)).toEqual([7, 0, 18, 17, 11, 10])
  expect(large.sample(20, 6)).toEqual([19, 15, 14, 4, 2, 18])
  expect(large.sample(20, 6)).toEqual([3, 0, 16, 15, 7, 1])
  expect(large.sample(60, 7)).toEqual([42, 34, 29, 4, 38, 43, 5])
  expect(large.sample(1, 1)).toEqual([0])
  expect(large.sample(300, 70).slice(0, 5)).toEqual([138, 284, 32, 154, 246])
  expect(pythonRandom(0).below(2 ** 32 - 1)).toBe(3626764237)
})

test('solved examples stand before the question, other ones than its own', () => {
  const set = rows(4)
  const prefixes = fewshotPrefixes(piqa, set, set, 3)
  prefixes.forEach((prefix, i) => {
    const goals = [...prefix.matchAll(/Question: goal (\d)\nAnswer: (one|two) \1\n\n/g)]
    expect(goals.map(match => Number(match[1])).sort()).toEqual([0, 1, 2, 3].filter(other => other !== i))
    expect(goals.every(match => match[2] === (Number(match[1]) % 2 ? 'two' : 'one'))).toBe(true)
    expect(goals.map(match => match[0]).join('')).toBe(prefix)
  })
})

test('copies of the question in the pool are left out too', () => {
  const copies = Array.from({ length: 20 }, () => rows(1)[0])
  const [prefix] = fewshotPrefixes(piqa, copies.slice(0, 1), [...copies, ...rows(4)], 3)
  expect(prefix).not.toContain('goal 0')
  expect(prefix.split('\n\n').length).toBe(4)
})

test('a task with a test split draws from the whole pool', () => {
  const lambada = findTask('lambada_openai') as Task
  const set = [{ text: 'a b c' }]
  expect(fewshotPrefixes(lambada, set, set, 1)).toEqual(['a b  c\n\n'])
})

test('pairs of sentences stay zero-shot, and too many examples are refused', () => {
  expect(fewshotPrefixes(findTask('blimp_anaphor_gender_agreement') as Task, [{}, {}], [], 5)).toEqual(['', ''])
  expect(() => fewshotPrefixes(piqa, rows(4), rows(4), 4)).toThrow('4 solved examples are more than')
})
