// Which matrix stands before a linear, whose rows say which input dimensions proxy quantization keeps.
import type { ModelConfig } from '../model/config.ts'
import { widen } from '../model/model.ts'
import type { Weights } from '../tensor/kernels.ts'
import { proxyDimensions, rowDeviations } from './proxy.ts'

/** Standard deviations of the rows of a matrix of the model. */
function deviationsOf(parameters: ReadonlyMap<string, Weights>, name: string, rows: number): Float64Array {
  const weights = parameters.get(name)!
  return rowDeviations(widen(weights, new Float32Array(weights.length)), rows, weights.length / rows)
}

/**
 * Scores of the input dimensions of `layers.<i>.<part>`: how much the weights spread that make each of them. `down` reads
 * what `up` makes, `o` what `v` makes (a value head serves its group of query heads), the others read the residual
 * stream, to which `o` of this block or `down` of the block before wrote last; in the first block the embedding did.
 */
function inputScores(config: ModelConfig, parameters: ReadonlyMap<string, Weights>, linear: string): Float64Array {
  const match = /^layers\.(\d+)\.(\w+)$/.exec(linear)
  const layer = Number(match?.[1])
  const part = match?.[2]
  const { heads, kvHeads, headSize, hidden, width } = config
  if (part === 'down') return deviationsOf(parameters, `layers.${layer}.up.weight`, hidden)
  if (part === 'o') {
    const values = deviationsOf(parameters, `layers.${layer}.v.weight`, kvHeads * headSize)
    const shared = heads / kvHeads
    return Float64Array.from(
      { length: heads * headSize },
      (_, i) => values[Math.floor(i / headSize / shared) * headSize + (i % headSize)],
    )
  }
  if ((part === 'gate' || part === 'up') && config.residual === 'sequential')
    return deviationsOf(parameters, `layers.${layer}.o.weight`, width)
  if (layer > 0) return deviationsOf(parameters, `layers.${layer - 1}.down.weight`, width)
  const into = parameters.get('projectIn.weight')
  if (into) return deviationsOf(parameters, 'projectIn.weight', width)
  const embedding = parameters.get('embedding.weight')!
  const wide = widen(embedding, new Float32Array(embedding.length))
  const turned = new Float32Array(wide.length)
  const vocab = wide.length / width
  for (let i = 0; i < wide.length; i++) turned[(i % width) * vocab + Math.floor(i / width)] = wide[i]
  return rowDeviations(turned, width, vocab)
}

/** Dimensions that `+proxy<percent>%` keeps of a linear's inputs. */
export function keptInputs(
  config: ModelConfig,
  parameters: ReadonlyMap<string, Weights>,
  linear: string,
  percent: number,
): Int32Array {
  return proxyDimensions(inputScores(config, parameters, linear), percent)
}
