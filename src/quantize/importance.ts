// Importance matrices from calibration text: the mean square of each input dimension of every linear.
import { createInference } from '../model/inference.ts'
import type { Model } from '../model/model.ts'
import type { Kernels } from '../tensor/kernels.ts'
import { ALL_GROUPS } from './awq-fold.ts'
import { type Calibration, INPUT_GROUPS, startWalk } from './calibration.ts'
import { type Importance, imatrixName } from './imatrix.ts'
import type { Solvers } from './solvers.ts'

/** Runs calibration text through a model and gives the importance of every linear's inputs, by llama.cpp's names. */
export function collectImportance(
  model: Model,
  kernels: Kernels,
  calibration: Calibration,
  solvers: Solvers,
): Map<string, Importance> {
  const walk = startWalk(createInference(model, kernels, { compute: 'float' }), calibration, solvers.addToHessian)
  const entries = new Map<string, Importance>()
  for (let layer = 0; layer < model.config.layers; layer++) {
    for (const [group, { columns, hessian, rows }] of walk.collect(layer, ALL_GROUPS)) {
      const means = Float32Array.from({ length: columns }, (_, i) => hessian[i * columns + i] / 2 / rows)
      for (const part of INPUT_GROUPS[group]) {
        const name = `layers.${layer}.${part}.weight`
        const stored = imatrixName(name, model.config)
        if (stored && model.parameters.has(name))
          entries.set(stored, { calls: calibration.ids.length / calibration.length, means })
      }
    }
    walk.advance(layer)
  }
  return entries
}
