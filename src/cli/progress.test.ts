import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { startProgress } from './progress.ts'

let lines: string[]
beforeEach(() => {
  lines = []
  vi.useFakeTimers({ toFake: ['performance'] })
  vi.spyOn(process.stderr, 'write').mockImplementation(text => lines.push(String(text)) > 0)
})
afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

test('the rate and the time left are those of this process, not of what an earlier one did', () => {
  const progress = startProgress('training', 2000, 'tokens', { before: 1000 })
  for (let second = 1; second <= 20; second++) {
    vi.advanceTimersByTime(1000)
    progress.update(1000 + 10 * second)
  }
  expect(lines).toEqual(['training: 1.15K of 2K tokens, 10 tokens/s, 1.42 min left\n'])
})

test('they follow a change of pace within a minute, and a note is shown', () => {
  const progress = startProgress('training', 100_000, 'tokens')
  let done = 0
  for (let second = 1; second <= 300; second++) {
    vi.advanceTimersByTime(1000)
    done += second <= 200 ? 1 : 100
    progress.update(done, 'loss 3.2')
  }
  expect(lines.length).toBe(20)
  expect(lines[0]).toBe('training: 15 of 100K tokens, 1 tokens/s, 27.8 h left, loss 3.2\n')
  expect(lines[19]).toMatch(/^training: 10\.2K of 100K tokens, 100 tokens\/s, 15 min left, loss 3\.2/)
})

test('units that take longer than the minute looked back on have a rate, and none done have none', () => {
  const progress = startProgress('gptq', 10, 'tensors')
  for (let tensor = 0; tensor <= 4; tensor++) {
    vi.advanceTimersByTime(100_000)
    progress.update(tensor)
  }
  expect(lines[0]).toContain('? left')
  expect(lines[4]).toBe('gptq: 4 of 10 tensors, 0.01 tensors/s, 10 min left\n')
})
