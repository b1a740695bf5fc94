// What `bitlaw quantize` is to do with each tensor: one format, a mixture, or formats by budget; and how large that is.
import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { tokenizeText } from '../evaluate/loss.ts'
import { type Format, parseFormat, printFormat, RequestError } from '../formats/index.ts'
import { parameterSpecs } from '../model/config.ts'
import { joinsQkv } from '../model/families/gguf.ts'
import type { LoadedModel } from '../model/load.ts'
import { type Model, sizeOf } from '../model/model.ts'
import { allocate } from '../quantize/allocate.ts'
import { expandFormats } from '../quantize/formats.ts'
import { importanceOf, readImatrix } from '../quantize/imatrix.ts'
import { fileNames, plainBits, plainType } from '../quantize/output.ts'
import { account, type Method, type QuantizeOptions, tensorBits } from '../quantize/quantize.ts'
import { RECIPES, type Recipe, recipeFormat } from '../quantize/recipes.ts'
import { fusedFormat, rotateModel, rotationObstacle } from '../quantize/rotate.ts'
import { type Chosen, selectTensors } from '../quantize/select.ts'
import { measureChoices } from '../quantize/sensitivity.ts'
import { defaultSolvers } from '../quantize/solvers.ts'
import { parseQuantity } from '../table/quantity.ts'
import { createKernels } from '../tensor/index.ts'
import { oneOf, readText, threadsOf } from './options.ts'
import { table } from './output.ts'
import { startProgress } from './progress.ts'

/** The options of the verb that say what becomes of each tensor. */
export interface PlanOptions {
  format?: string
  recipe?: string
  include?: string[]
  exclude?: string[]
  embeddings?: string
  calibration?: string
  evaluate?: string
  targetBits?: string
  targetSize?: string
  menu?: string
  imatrix?: string
  out?: string
  threads?: string
  json?: boolean
}

/** One format for all tensors, a mixture, or a choice for each. */
export interface Plan {
  name: string
  format: QuantizeOptions['format']
  selection: Pick<QuantizeOptions, 'include' | 'exclude' | 'embeddings'>
}

/** What each format that was asked for means for this model. */
export function plansOf(options: PlanOptions, model: LoadedModel): Plan[] {
  const selection = { include: options.include, exclude: options.exclude, embeddings: options.embeddings ?? null }
  if (options.embeddings !== undefined) parseFormat(options.embeddings)
  const fused = joinsQkv(model.config)
  const recipe = (name: Recipe): Plan => ({
    name,
    format: spec =>
      recipeFormat(
        name,
        fused ? { ...spec, name: spec.name.replace(/\.[qkv]\.weight$/, '.qkv.weight') } : spec,
        model.config,
      ),
    selection: { ...selection, include: selection.include ?? ['*'], embeddings: selection.embeddings },
  })
  if (options.recipe !== undefined) return [recipe(oneOf(options.recipe, RECIPES, 'recipe'))]
  const words = expandFormats(options.format ?? '')
  return words.map(word => {
    const mixture = RECIPES.find(name => name === word)
    if (mixture && mixture !== 'q6_k') return recipe(mixture)
    const spelled = printFormat(parseFormat(word))
    return { name: spelled, format: spelled, selection }
  })
}

/**
 * A plan with +hadamard on a model whose residual stream can be rotated: the model to quantize and the formats that are
 * left; undefined where nothing is to be rotated or the rotation stays in each tensor.
 */
export function fusePlan(model: LoadedModel, plan: Plan, seed: number): { plan: Plan; model: Model } | undefined {
  if (rotationObstacle(model.config) !== null) return undefined
  const chosen = selectTensors(model.config, plan.format, plan.selection, fileNames(model))
  const turned = chosen.filter(({ format }) => format.kind === 'scaled' && format.hadamard)
  // Kept dimensions are dimensions of the model, not of the rotated one.
  if (turned.length === 0 || turned.some(({ format }) => format.kind === 'scaled' && format.proxy > 0)) return undefined
  const names = new Set(chosen.map(({ spec }) => spec.name))
  const formats = new Map(
    chosen.map(({ spec, format }) => [spec.name, fusedFormat(printFormat(format), spec, model.config)]),
  )
  const fused: Plan = {
    ...plan,
    format: spec => formats.get(spec.name) ?? null,
    selection: { include: [...names], exclude: undefined, embeddings: null },
  }
  const stored = (name: string) => {
    const type = names.has(name) ? 'F32' : plainType(model, model, name)
    return type === 'F32' ? null : type
  }
  return { plan: fused, model: rotateModel(model, seed, stored) }
}

/** Sizes alone; `bytes` are those of the tensors that would be written. */
export function dryRun(
  model: LoadedModel,
  plan: Plan,
  method: Method,
  { out, dequantize }: { out?: string; dequantize?: boolean } = {},
): Record<string, unknown> {
  const tensors = selectTensors(model.config, plan.format, plan.selection, fileNames(model)).map(
    ({ spec, format }) => ({
      name: spec.name,
      format: printFormat(format),
      shape: spec.shape,
      bits: tensorBits(format, spec.shape),
      squaredError: 0,
      outputError: null,
    }),
  )
  const { bitsPerParameter, totalBits } = account(model, tensors, { storedBits: plainBits(model, out) })
  return {
    format: plan.name,
    method,
    bitsPerParameter,
    totalBits,
    // Plain numbers are bf16, whatever the format.
    bytes: dequantize
      ? parameterSpecs(model.config).reduce((sum, { shape }) => sum + 2 * sizeOf(shape), 0)
      : Math.ceil(totalBits / 8),
    tensors: tensors.map(({ name, format, bits }) => ({ name, format, bits })),
    dryRun: true,
  }
}

/** Bits that are left for the tensors named `free`, when the other chosen ones (embeddings) have theirs. */
function budgetOf(
  { targetBits, targetSize, out }: PlanOptions,
  model: LoadedModel,
  chosen: readonly Chosen[],
  free: ReadonlySet<string>,
): number {
  const tensors = chosen.map(({ spec, format }) => ({
    name: spec.name,
    format: printFormat(format),
    shape: spec.shape,
    bits: free.has(spec.name) ? 0 : tensorBits(format, spec.shape),
    squaredError: 0,
    outputError: null,
  }))
  if (targetBits !== undefined)
    return tensors.reduce((sum, { shape, bits }) => sum + Number(targetBits) * sizeOf(shape) - bits, 0)
  const bytes = parseQuantity(targetSize ?? '', 'bytes', 'target size')
  return bytes * 8 - account(model, tensors, { storedBits: plainBits(model, out) }).totalBits
}

/** Formats by budget, for the tensors that are selected. */
export async function budgetPlan(
  options: PlanOptions,
  model: LoadedModel,
): Promise<{ plan: Plan; table: string; gap: number }> {
  const menu = expandFormats(options.menu ?? 'int{2,3,4,5,6,8}@64').map((word): Format => parseFormat(word))
  const selection = { include: options.include, exclude: options.exclude, embeddings: options.embeddings ?? null }
  const chosen = selectTensors(model.config, printFormat(menu[0]), selection, fileNames(model))
  const free = chosen.filter(
    ({ spec }) => !(options.embeddings && (spec.kind === 'embedding' || spec.name === 'head.weight')),
  )
  const target = options.targetBits ?? options.targetSize ?? ''
  const sizes = free.map(({ spec }) => menu.map(format => tensorBits(format, spec.shape)))
  const smallest = sizes.reduce((sum, bits) => sum + Math.min(...bits), 0)
  const largest = sizes.reduce((sum, bits) => sum + Math.max(...bits), 0)
  const budget = budgetOf(options, model, chosen, new Set(free.map(({ spec }) => spec.name)))
  if (!(budget > 0)) throw new RequestError(`target ${target} leaves no bits for the quantized tensors`)
  if (budget < smallest)
    throw new RequestError(
      `target ${target} is below the smallest formats of the menu, ${menu.map(printFormat).join(', ')}`,
    )
  if (options.targetBits !== undefined && budget > largest) {
    const given = Number(target) - (budget - largest) / chosen.reduce((sum, { spec }) => sum + sizeOf(spec.shape), 0)
    throw new RequestError(
      `target bits '${target}' is above what the largest formats of the menu take, ${Number(given.toFixed(4))} bits per parameter, expected at most that or a larger --menu`,
    )
  }
  const source = options.calibration ?? options.evaluate
  const threads = threadsOf(options.threads) ?? availableParallelism()
  const measured =
    source === undefined || !model.tokenizer
      ? null
      : { text: await tokenizeText(model.tokenizer, readText(source)), kernels: createKernels({ threads }), limit: 8 }
  const progress = startProgress('sensitivity', free.length, 'tensors', { quiet: options.json })
  const importance =
    options.imatrix !== undefined && existsSync(options.imatrix) ? readImatrix(options.imatrix).entries : undefined
  const choices = measureChoices(
    model,
    free.map(({ spec }) => spec),
    menu,
    defaultSolvers({ threads }),
    measured,
    done => progress.update(done),
    spec => importance && importanceOf(importance, spec),
  )
  progress.stop()
  const found = allocate(choices, budget)
  if (!found) throw new Error('the budget does not fit')
  const formats = new Map(free.map(({ spec }, t) => [spec.name, choices[t][found.chosen[t]].format]))
  const rows = free.map(({ spec }, t) => {
    const choice = choices[t][found.chosen[t]]
    const least = choices[t].reduce((a, b) => (a.bits < b.bits ? a : b))
    return [
      spec.name,
      choice.format,
      (choice.bits / sizeOf(spec.shape)).toFixed(3),
      choice.loss.toExponential(2),
      least.loss.toExponential(2),
    ]
  })
  return {
    plan: {
      name: `${options.targetBits ?? options.targetSize}`,
      format: spec => formats.get(spec.name) ?? null,
      selection,
    },
    table: table(['tensor', 'format', 'bits', measured ? 'KL there' : 'relative error there', 'in the smallest'], rows),
    gap: found.gap,
  }
}
