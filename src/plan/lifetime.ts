// A model's life in money: training once, answering for years. The well-known example is here with its assumptions
// open: a model that cost $191M to train against about $6B a year to answer half of all searches with 50-word answers.
import { ECONOMICS, type Economics } from './cost.ts'
import type { Device } from './devices.ts'
import { decodeSpeed } from './serve.ts'
import { shapeOf } from './shape.ts'

/** What serving so many tokens costs on a device. */
export interface LifetimeCost {
  tokens: number
  deviceHours: number
  dollars: number | null
  joules: number
  /** Tokens a second of one device's share. */
  tokensPerSecond: number
  /** Devices that hold the weights. */
  devices: number
}

/** How tokens are served where nothing else is said: sequences at once, tokens of each in the cache, and heads of keys and values. */
export const SERVING = { batch: 32, context: 2048, kvHeads: 8 } as const

/** Device-hours, dollars and joules of generating `tokens` with n parameters of so many bits, at the speed that memory and operations allow. */
export function lifetimeCost(
  n: number,
  tokens: number,
  bits: number,
  device: Device,
  { pricePerHour, overhead }: Economics = ECONOMICS,
  vocab = 32_000,
): LifetimeCost {
  const shape = shapeOf(n, { vocab, kvHeads: SERVING.kvHeads })
  const speed = decodeSpeed(shape, bits, 'bf16', { device, ...SERVING })
  // A model on several devices is read by all of them at once: each does its share of every token.
  const seconds = tokens / speed.tokensPerSecond
  const price = pricePerHour ?? device.price.rent
  return {
    tokens,
    deviceHours: seconds / 3600,
    dollars: price === null ? null : (seconds / 3600) * price,
    joules: seconds * device.watts * overhead,
    tokensPerSecond: speed.tokensPerSecond,
    devices: Math.ceil((n * bits) / 8 / device.memory),
  }
}

/** What a year of answers is made of. */
export interface Service {
  /** Queries a day of the whole market. */
  queriesPerDay: number
  /** Share of them that the model answers. */
  share: number
  wordsPerAnswer: number
  tokensPerWord: number
  /** Dollars a million tokens of output, all in. */
  dollarsPerMillionTokens: number
}

/** Half of about 8.5 billion searches a day, 50-word answers of 4/3 tokens a word, at GPT-4's list price of $60 a million output tokens (March 2023). */
export const HALF_OF_ALL_SEARCHES: Service = {
  queriesPerDay: 8.5e9,
  share: 0.5,
  wordsPerAnswer: 50,
  tokensPerWord: 4 / 3,
  dollarsPerMillionTokens: 60,
}

/** Training cost of that example: the AI Index 2024's estimate for Gemini Ultra, $191M. */
export const EXAMPLE_TRAINING_DOLLARS = 191e6

/** Tokens and dollars of a year of service. */
export function yearOfService({
  queriesPerDay,
  share,
  wordsPerAnswer,
  tokensPerWord,
  dollarsPerMillionTokens,
}: Service): { tokens: number; dollars: number } {
  const tokens = queriesPerDay * share * 365 * wordsPerAnswer * tokensPerWord
  return { tokens, dollars: (tokens / 1e6) * dollarsPerMillionTokens }
}
