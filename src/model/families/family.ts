// What a family is: how its config.json becomes a ModelConfig, and which tensor of a file is which parameter.
import { type ModelConfig, type ParameterSpec, parameterSpecs } from '../config.ts'
import type { ConfigReader } from './reader.ts'

/** One line of a family's table. `{}` stands for the layer and `*` for both `weight` and `bias`. */
export interface TensorRule {
  /** Name in the file, prefix included. */
  file: string
  /** Canonical names (config.ts) of what it holds: one, or the parts of a fused matrix in canonical order. */
  parts: readonly string[]
  /** Stored (in, out), as GPT-2's Conv1D. */
  transposed?: boolean
  /** Row i of the parts joined is row rows[i] of the file's matrix; absent: the same order. */
  rows?: (config: ModelConfig) => Int32Array
  /** The part lies in this many tensors of equal size behind one another, `#` in `file` being their number. */
  slices?: (config: ModelConfig) => number
  /** A vector that its file may hold in another shape: [heads, head size]. */
  flat?: boolean
  /** This is added to the file's numbers on reading (llama.cpp stores Gemma's norm weights with 1 added). */
  add?: number
}

/** A family of models: a record and a table. */
export interface Family {
  /** `model_type` of its config.json, and ModelConfig.family. */
  name: string
  /** Other values of `model_type` that are read the same. */
  aliases?: readonly string[]
  /** What `architectures` says. */
  architecture: string
  /** The ModelConfig of a config.json; every key that matters is read here. */
  config(read: ConfigReader): ModelConfig
  /** Keys that do not change the logits, besides the common ones of reader.ts. */
  harmless?: readonly string[]
  /** Keys that must have one value, because Bitlaw computes nothing else. */
  fixed?: Readonly<Record<string, unknown>>
  /** What tensor names of the whole model begin with; files of the base model lack it. */
  prefix: string
  tensors(config: ModelConfig): readonly TensorRule[]
  /** Buffers in files that hold no parameters. */
  ignored?: readonly RegExp[]
  /** config.json of a ModelConfig, for the kinds that Bitlaw trains and for those read from other files. */
  spell?(config: ModelConfig): Record<string, unknown>
}

/** One tensor of a checkpoint and what it holds. */
export interface TensorPlace {
  /** Its name; of a part in several tensors, the name with `#`. */
  file: string
  /** Names of the tensors that hold it, one behind the other: [file] but for a part in several. */
  files: readonly string[]
  /** Shape in the file; of several tensors, all of them joined. */
  shape: readonly number[]
  parts: readonly ParameterSpec[]
  transposed: boolean
  rows: Int32Array | null
  flat: boolean
  add: number
}

/** Rule for a tensor that holds one parameter. */
export const one = (file: string, part: string, options: Omit<TensorRule, 'file' | 'parts'> = {}): TensorRule => ({
  file,
  parts: [part],
  ...options,
})

/** Expands a family's table for a model: every tensor that a whole checkpoint has. Throws where a parameter has no rule. */
export function tensorPlaces(config: ModelConfig, rules: readonly TensorRule[]): TensorPlace[] {
  const specs = new Map(parameterSpecs(config).map(spec => [spec.name, spec]))
  const places: TensorPlace[] = []
  const placed = new Set<string>()
  const place = (rule: TensorRule, fill: (name: string) => string) => {
    const parts = rule.parts.map(part => specs.get(fill(part)))
    if (!parts.every(part => part !== undefined)) return
    for (const part of parts) placed.add(part.name)
    const inputs = parts[0].shape.slice(1)
    const outputs = parts.reduce((sum, part) => sum + part.shape[0], 0)
    const transposed = rule.transposed === true && inputs.length === 1
    const file = fill(rule.file)
    const slices = rule.slices?.(config)
    places.push({
      file,
      files: slices === undefined ? [file] : Array.from({ length: slices }, (_, i) => file.replace('#', String(i))),
      shape: transposed ? [...inputs, outputs] : [outputs, ...inputs],
      parts,
      transposed,
      rows: rule.rows?.(config) ?? null,
      flat: rule.flat ?? false,
      add: rule.add ?? 0,
    })
  }
  for (const rule of rules)
    for (const kind of rule.file.includes('*') ? ['weight', 'bias'] : [''])
      for (let layer = 0; layer < (rule.file.includes('{}') ? config.layers : 1); layer++)
        place(rule, name => name.replace('{}', String(layer)).replace('*', kind))
  const unplaced = [...specs.keys()].filter(name => !placed.has(name))
  if (unplaced.length > 0)
    throw new Error(`family ${config.family} has no tensor for ${unplaced.slice(0, 3).join(', ')}`)
  return places
}
