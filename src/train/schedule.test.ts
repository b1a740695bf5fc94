import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { golden } from '../../test/shared.ts'
import { peakRate, rateShare } from './schedule.ts'

test('the learning rates of the golden steps', () => {
  const folder = golden('training')
  if (folder === undefined) return
  for (const name of readdirSync(folder)) {
    const path = join(folder, name, 'case.json')
    if (!existsSync(path)) continue
    const { optimizer, float64 } = JSON.parse(readFileSync(path, 'utf8'))
    if (optimizer === undefined || float64.lr === undefined) continue
    const schedule = {
      kind: 'cosine' as const,
      warmup: optimizer.warmup / optimizer.total,
      final: optimizer.min_lr / optimizer.lr,
    }
    for (const [i, rate] of (float64.lr as number[]).entries())
      expect(Math.abs(optimizer.lr * rateShare(schedule, i + 1, optimizer.total) - rate)).toBeLessThan(1e-15)
  }
})

test('shapes of the schedules', () => {
  const wsd = { kind: 'wsd' as const, warmup: 0.1, final: 0, decay: 0.2 }
  expect([1, 10, 11, 80, 90, 100].map(step => rateShare(wsd, step, 100))).toEqual([0.1, 1, 1, 1, 0.5, 0])
  const linear = { kind: 'linear' as const, warmup: 0.5, final: 0.1 }
  expect([1, 5, 10].map(step => rateShare(linear, step, 10))).toEqual([0.2, 1, expect.closeTo(0.1, 12)])
  expect(rateShare({ kind: 'constant', warmup: 0 }, 1, 1)).toBe(1)
  expect(rateShare({ kind: 'cosine', warmup: 0, final: 0.1 }, 1, 1)).toBeCloseTo(0.1, 12)
  expect(rateShare({ kind: 'cosine', warmup: 1, final: 0.1 }, 4, 4)).toBe(1)
})

test('a learning rate per model size is interpolated in logarithms', () => {
  const points = [
    { n: 1e8, lr: 1e-4 },
    { n: 1e6, lr: 1e-2 },
  ]
  expect(peakRate(points, 1e7)).toBeCloseTo(1e-3, 12)
  expect([1e3, 1e6, 1e8, 1e12].map(n => peakRate(points, n))).toEqual([1e-2, 1e-2, expect.closeTo(1e-4, 12), 1e-4])
  expect(peakRate(3e-4, 1e9)).toBe(3e-4)
})
