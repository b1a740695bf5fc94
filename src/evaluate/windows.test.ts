import { expect, test } from 'vitest'
import { planWindows } from './windows.ts'

test('rolling windows are full, end at their last target and score each target once', () => {
  const windows = planWindows(4407, { context: 256, stride: 256 })
  expect(windows.length).toBe(18)
  expect(windows[0]).toMatchObject({ first: 0, inputs: 256, firstTarget: 0, targets: 256 })
  expect(windows[17]).toMatchObject({ first: 4150, inputs: 256, firstTarget: 4352, targets: 54 })
  const sliding = planWindows(4407, { context: 256, stride: 64 })
  expect(sliding.length).toBe(66)
  expect(sliding[1]).toMatchObject({ first: 64, inputs: 256, firstTarget: 256, targets: 64 })
})

test('every convention scores each target at most once, in order', () => {
  for (const convention of ['rolling', 'short-last', 'llama.cpp'] as const)
    for (const tokens of [0, 1, 2, 5, 9, 64, 65, 100])
      for (const stride of [1, 3, 8]) {
        let next = 0
        for (const window of planWindows(tokens, { context: 8, stride, convention })) {
          expect(window.firstTarget).toBeGreaterThanOrEqual(next)
          if (convention !== 'llama.cpp') expect(window.firstTarget).toBe(next)
          next = window.firstTarget + window.targets
          expect(window.first + window.inputs).toBe(next)
          expect(window.first).toBeLessThanOrEqual(window.firstTarget)
          expect(window.inputs).toBeLessThanOrEqual(8)
        }
        if (convention !== 'llama.cpp') expect(next).toBe(Math.max(0, tokens - 1))
      }
})

test('llama.cpp: disjoint chunks, the second half scored, the remainder dropped', () => {
  const windows = planWindows(1100, { context: 512, convention: 'llama.cpp' })
  expect(windows).toEqual([
    { first: 0, inputs: 511, firstTarget: 256, targets: 255, startToken: true },
    { first: 512, inputs: 511, firstTarget: 768, targets: 255, startToken: true },
  ])
})

test('wrong strides and contexts are named', () => {
  expect(() => planWindows(10, { context: 4, stride: 5 })).toThrow('stride 5 is out of range')
  expect(() => planWindows(10, { context: 0 })).toThrow('context 0')
})
