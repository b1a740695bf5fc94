// How a long text is cut into windows that a model can read, in the three ways the field does it. Token i+1 is the
// target of input i; each target is scored once.
import { RequestError } from '../formats/error.ts'

/** One window: `inputs` tokens from `first` are read, `targets` targets from `firstTarget` are scored (target i is token i+1). */
export interface Window {
  first: number
  inputs: number
  firstTarget: number
  targets: number
  /** The first input is replaced by the start token (llama.cpp). */
  startToken: boolean
}

/** The names of the conventions, for messages and options. */
export const WINDOW_CONVENTIONS = ['rolling', 'short-last', 'llama.cpp'] as const

/** rolling: full windows that end at their last target (lm-evaluation-harness); short-last: windows at multiples of the stride, the last as short as what is left (transformers' guide); llama.cpp: disjoint, the second half scored, the rest dropped. */
export type WindowConvention = (typeof WINDOW_CONVENTIONS)[number]

/** Windows over `tokens` ids (tokens - 1 targets); context and stride in tokens, 1 <= stride <= context; limit keeps the first windows. */
export function planWindows(
  tokens: number,
  {
    context,
    stride = context,
    convention = 'rolling',
    limit = Number.POSITIVE_INFINITY,
  }: { context: number; stride?: number; convention?: WindowConvention; limit?: number },
): Window[] {
  if (!Number.isInteger(context) || context < 1)
    throw new RequestError(`context ${context} is not a positive whole number`)
  if (!Number.isInteger(stride) || stride < 1 || stride > context)
    throw new RequestError(`stride ${stride} is out of range, expected 1 to the context of ${context}`)
  if (!(limit > 0)) throw new RequestError(`limit ${limit} is not a positive number of windows`)
  const targets = tokens - 1
  const windows: Window[] = []
  if (convention === 'llama.cpp') {
    const half = Math.floor(context / 2)
    for (let first = 0; first + context <= tokens && windows.length < limit; first += context)
      windows.push({
        first,
        inputs: context - 1,
        firstTarget: first + half,
        targets: context - 1 - half,
        startToken: true,
      })
    return windows.filter(window => window.targets > 0)
  }
  for (let done = 0, index = 0; done < targets && windows.length < limit; index++) {
    const end =
      convention === 'rolling'
        ? Math.min(targets, done === 0 ? context : done + stride)
        : Math.min(targets, index * stride + context)
    const first = convention === 'rolling' ? Math.max(0, end - context) : index * stride
    if (end > done)
      windows.push({ first, inputs: end - first, firstTarget: done, targets: end - done, startToken: false })
    done = end
  }
  return windows
}
