import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { expect, test } from 'vitest'
import { DEVICES } from './devices.ts'
import { EXAMPLE_TRAINING_DOLLARS, HALF_OF_ALL_SEARCHES, lifetimeCost, yearOfService } from './lifetime.ts'
import { retrained, servingCostsMarkdown, servingShare } from './serving-costs.ts'

test('a model of $191M that answers half of all searches costs about $6B a year', () => {
  const { tokens, dollars } = yearOfService(HALF_OF_ALL_SEARCHES)
  expect(tokens).toBeCloseTo(8.5e9 * 0.5 * 365 * 50 * (4 / 3), -3)
  expect(dollars).toBeGreaterThan(5.7e9)
  expect(dollars).toBeLessThan(6.5e9)
  expect(dollars / EXAMPLE_TRAINING_DOLLARS).toBeGreaterThan(30)
})

test('fewer bits save at most their share of what is read', () => {
  const device = DEVICES.find(one => one.name === 'h100')!
  for (const bits of [8.25, 4.25]) {
    const share = servingShare(70e9, bits)
    expect(share).toBeGreaterThan(bits / 16)
    expect(share).toBeLessThan(1)
  }
  // By hand: tokens a second of 32 sequences, the head read, the embedding not, 70% of the bandwidth.
  const cost = lifetimeCost(70e9, 1e9, 16, device)
  expect(cost.deviceHours).toBeCloseTo(1e9 / cost.tokensPerSecond / 3600, 6)
  expect(cost.tokensPerSecond).toBeGreaterThan((32 * 3350e9 * 0.7) / (2 * 76e9 + 32 * 2048 * 4e5))
  expect(cost.tokensPerSecond).toBeLessThan((32 * 3350e9 * 0.7) / (2 * 70e9))
  expect(cost.devices).toBe(2)
  expect(cost.joules).toBeCloseTo(cost.deviceHours * 3600 * 700 * 1.3, 0)
})

test('the model that costs least over its life is smaller, reaches the same loss, and costs less', () => {
  const { optimal, smaller } = retrained(3)
  expect(optimal.trainingDollars).toBeCloseTo(EXAMPLE_TRAINING_DOLLARS, -3)
  expect(smaller.n).toBeLessThan(optimal.n)
  expect(smaller.d).toBeGreaterThan(optimal.d)
  expect(smaller.loss).toBeLessThanOrEqual(optimal.loss + 1e-9)
  expect(smaller.totalDollars).toBeLessThan(optimal.totalDollars)
})

test('the page is what the code says', () => {
  const page = readFileSync(resolve(import.meta.dirname, '../../docs/serving-costs.md'), 'utf8')
  expect(page).toBe(servingCostsMarkdown())
})
