// Rounding to bf16 and to nearest even, and the workspace that the reference's functions share.
import type { Floats, Weights } from '../kernels.ts'

const word = new Uint32Array(1)
const single = new Float32Array(word.buffer)

/** Nearest bf16 number, ties to even; float32 subnormals become 0, as VDPBF16PS and its conversion have it. */
export function toBf16(x: number): number {
  single[0] = x
  const bits = word[0]
  const exponent = bits & 0x7f800000
  if (exponent === 0x7f800000) return single[0]
  word[0] = exponent === 0 ? bits & 0x80000000 : (bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000
  return single[0]
}

/** The number that 16 bits of bf16 stand for. */
export function fromBf16(bits: number): number {
  word[0] = bits << 16
  return single[0]
}

const ROUNDER = 1.5 * 2 ** 52

/** Nearest integer, ties to even, of |x| < 2^51. */
export function roundEven(x: number): number {
  return x + ROUNDER - ROUNDER
}

/** Arrays by name that grow to the largest use and stay; contents are whatever was left there. */
export interface Workspace {
  floats(name: string, length: number): Float64Array
  bytes(name: string, length: number): Uint8Array
}

/** An empty workspace. */
export function createWorkspace(): Workspace {
  const floats = new Map<string, Float64Array>()
  const bytes = new Map<string, Uint8Array>()
  return {
    floats: (name, length) => grown(floats, name, length, Float64Array),
    bytes: (name, length) => grown(bytes, name, length, Uint8Array),
  }
}

function grown<T extends { length: number }>(
  arrays: Map<string, T>,
  name: string,
  length: number,
  kind: new (length: number) => T,
): T {
  const old = arrays.get(name)
  if (old !== undefined && old.length >= length) return old
  const made = new kind(length)
  arrays.set(name, made)
  return made
}

/** Copies `length` numbers from `x[at…]` to the start of `out` in float64, through bf16 where `round` says so. */
export function load(x: Weights, at: number, length: number, round: boolean, out: Float64Array): void {
  if (x instanceof Uint16Array) {
    if (round) for (let i = 0; i < length; i++) out[i] = toBf16(fromBf16(x[at + i]))
    else for (let i = 0; i < length; i++) out[i] = fromBf16(x[at + i])
  } else if (round) loadRounded(x, at, length, out)
  else for (let i = 0; i < length; i++) out[i] = x[at + i]
}

function loadRounded(x: Floats, at: number, length: number, out: Float64Array): void {
  for (let i = 0; i < length; i++) out[i] = toBf16(x[at + i])
}
