import { expect, test } from 'vitest'
import { costFactor, costOf, ECONOMICS, flopsFor } from './cost.ts'
import { DEVICES, type Device, fastestType } from './devices.ts'
import { tied } from './train.ts'

const device = (name: string): Device => DEVICES.find(one => one.name === name)!

test('at least 20 devices of every kind, each figure sourced and prices dated', () => {
  expect(DEVICES.length).toBeGreaterThanOrEqual(20)
  expect(new Set(DEVICES.map(one => one.name)).size).toBe(DEVICES.length)
  for (const kind of ['datacentre', 'tpu', 'consumer', 'apple', 'cpu'] as const)
    expect(DEVICES.filter(one => one.kind === kind).length).toBeGreaterThanOrEqual(3)
  for (const { memory, bandwidth, flops, watts, price, source } of DEVICES) {
    expect(memory).toBeGreaterThanOrEqual(12e9)
    expect(bandwidth).toBeGreaterThan(5e10)
    expect(watts).toBeGreaterThan(20)
    expect(source).not.toBe('')
    expect(price.date).toMatch(/^20\d\d-\d\d$/)
    expect(price.source).not.toBe('')
    // No narrower type is slower than a wider one.
    for (const type of ['fp8', 'int8', 'fp4', 'int4'] as const)
      expect(flops[type] ?? flops.bf16).toBeGreaterThanOrEqual(flops.bf16 * 0.999)
  }
})

test('dense figures of the vendors', () => {
  expect(device('h100').flops).toMatchObject({ bf16: 989e12, fp8: 1979e12, int8: 1979e12 })
  expect(device('h100').bandwidth).toBe(3350e9)
  expect(device('a100-80gb').flops).toMatchObject({ bf16: 312e12, int8: 624e12, int4: 1248e12 })
  expect(device('a100-80gb').flops.fp8).toBeUndefined()
  expect(device('rtx-4090').memory).toBe(24e9)
})

test('a product runs in the fastest type that holds its wider operand', () => {
  const h100 = device('h100')
  expect(fastestType(h100, 16)).toEqual({ type: 'bf16', flops: 989e12 })
  expect(fastestType(h100, 7).type).toBe('fp8')
  expect(fastestType(h100, 4).flops).toBe(1979e12)
  expect(fastestType(device('b200'), 4).type).toBe('fp4')
  expect(costFactor({ pw: 4, pa: 16, pkv: 4 }, { kind: 'device', device: h100 })).toBe(1)
  expect(costFactor(tied(8), { kind: 'device', device: h100 })).toBeCloseTo(989 / 1979, 12)
  expect(costFactor(tied(8), { kind: 'bits' })).toBe(0.5)
})

test('money, hours and energy of FLOPs, and FLOPs of money', () => {
  const { hours, dollars, joules } = costOf(989e12 * 0.4 * 3600, device('h100'))
  expect(hours).toBeCloseTo(1, 12)
  expect(dollars).toBeCloseTo(2.9, 12)
  expect(joules).toBeCloseTo(700 * 1.3 * 3600, 6)
  expect(flopsFor(2.9, device('h100'))).toBeCloseTo(989e12 * 0.4 * 3600, -3)
  expect(
    costOf(1e18, device('h100'), { ...ECONOMICS, pricePerHour: 10 }).dollars! / costOf(1e18, device('h100')).dollars!,
  ).toBeCloseTo(10 / 2.9, 9)
  expect(flopsFor(100, device('m4-max'))).toBeNull()
})
