// What training and serving cost: operations, time, money and energy.
import { type Device, fastestType } from './devices.ts'

/** FLOPs of training N parameters on D tokens at 16 bits: 6 N D (Kaplan et al.). */
export const trainingFlops = (n: number, d: number): number => 6 * n * d

/** FLOPs of reading or writing so many tokens with N parameters: 2 N a token. */
export const inferenceFlops = (n: number, tokens: number): number => 2 * n * tokens

/** Bits of training, one number a quantized part. */
export interface TrainingBits {
  pw: number
  pa: number
  pkv: number
  /** Name of a choice from a law's menu, and what goes into the law's columns. */
  label?: string
  columns?: Readonly<Record<string, string | number>>
}

/**
 * How compute is counted. `bits`: C = (6/16) N D P with P the mean of the parts' bits (Kumar et al., section 4.3), at 16 bits
 * equal to 6 N D. `device`: a product runs at the speed of the narrowest type of the device that holds its wider operand.
 */
export type CostModel = { kind: 'bits' } | { kind: 'device'; device: Device }

/** Factor on 6 N D by which a training precision costs less (or as much) under a cost model. */
export function costFactor(bits: TrainingBits, model: CostModel): number {
  if (model.kind === 'bits') return (bits.pw + bits.pa + bits.pkv) / 3 / 16
  return model.device.flops.bf16 / fastestType(model.device, Math.max(bits.pw, bits.pa)).flops
}

/** How well a device is used, and what power and money cost. */
export interface Economics {
  /** Share of peak operations that training reaches (0.4: what large runs report). */
  utilization: number
  /** Dollars an hour a device; undefined: the device's own rent. */
  pricePerHour?: number
  /** Power of everything around the device over the device's own (1.3: cooling, host). */
  overhead: number
}

/** The usual figures. */
export const ECONOMICS: Economics = { utilization: 0.4, overhead: 1.3 }

/** Device-hours, dollars (null where the device has no price) and joules of so many 16-bit-equivalent FLOPs. */
export function costOf(
  flops: number,
  device: Device,
  { utilization, pricePerHour, overhead }: Economics = ECONOMICS,
): { hours: number; dollars: number | null; joules: number } {
  const seconds = flops / (device.flops.bf16 * utilization)
  const price = pricePerHour ?? device.price.rent
  return {
    hours: seconds / 3600,
    dollars: price === null ? null : (seconds / 3600) * price,
    joules: seconds * device.watts * overhead,
  }
}

/** FLOPs that money buys on a device. */
export function flopsFor(
  dollars: number,
  device: Device,
  { utilization, pricePerHour }: Economics = ECONOMICS,
): number | null {
  const price = pricePerHour ?? device.price.rent
  return price === null ? null : (dollars / price) * 3600 * device.flops.bf16 * utilization
}
