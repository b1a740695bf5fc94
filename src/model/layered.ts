// Parameters over parameters: what is set lies above what was there, and goes again when it is deleted. What lies below
// may be a file that is read anew at each question, so that a model larger than memory can be gone through.
import type { Weights } from '../tensor/kernels.ts'

/** What lies below: names, and the numbers of each when asked for. */
export interface ParameterSource {
  keys(): Iterable<string>
  get(name: string): Weights | undefined
}

/** A map of parameters whose own entries hide those of `below`; deleting one brings the one below back. */
export class LayeredParameters extends Map<string, Weights> {
  readonly #below: ParameterSource
  readonly #names: ReadonlySet<string>

  constructor(below: ParameterSource) {
    super()
    this.#below = below
    this.#names = new Set(below.keys())
  }

  /** Whether an entry has been set here. */
  owns(name: string): boolean {
    return super.has(name)
  }

  override get(name: string): Weights | undefined {
    return super.get(name) ?? (this.#names.has(name) ? this.#below.get(name) : undefined)
  }

  override has(name: string): boolean {
    return super.has(name) || this.#names.has(name)
  }

  override get size(): number {
    return new Set(this.keys()).size
  }

  override *keys(): MapIterator<string> {
    yield* this.#names
    for (const name of super.keys()) if (!this.#names.has(name)) yield name
  }

  override *values(): MapIterator<Weights> {
    for (const name of this.keys()) yield this.get(name)!
  }

  override *entries(): MapIterator<[string, Weights]> {
    for (const name of this.keys()) yield [name, this.get(name)!]
  }

  override [Symbol.iterator](): MapIterator<[string, Weights]> {
    return this.entries()
  }

  override forEach(call: (value: Weights, key: string, map: Map<string, Weights>) => void): void {
    for (const [name, weights] of this.entries()) call(weights, name, this)
  }
}
