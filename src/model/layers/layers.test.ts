// Each layer by itself: the gradient of its input and of its parameters against finite differences in float64, and that
// dx is overwritten or added to as asked.
import { describe, expect, test } from 'vitest'
import type { Floats } from '../../tensor/kernels.ts'
import { createReference } from '../../tensor/reference.ts'
import type { ModelConfig } from '../config.ts'
import { parsePrecision } from '../precision.ts'
import { createNormal } from '../random.ts'
import { layerRope } from '../rope.ts'
import { llamaConfig, randomModel } from '../testing.ts'
import { createAttention } from './attention.ts'
import { createEmbedding } from './embedding.ts'
import { createHead } from './head.ts'
import { createLinear } from './linear.ts'
import { createMlp } from './mlp.ts'
import { createNorm, createQueryNorm } from './norm.ts'
import type { Scope } from './scope.ts'

const kernels = createReference({ float: 'float64' })
const base = llamaConfig({ vocab: 17, width: 12, layers: 1, heads: 3, hidden: 10, context: 8 })
const [batch, length] = [2, 4]
const rows = batch * length

/** A scope with random parameters, and the gradients that its layers add to. */
function scopeOf(config: ModelConfig) {
  const parameters = randomModel(config).parameters as Map<string, Float64Array>
  const gradients = new Map([...parameters].map(([name, values]) => [name, new Float64Array(values.length)]))
  const fresh = (_name: string, size: number) => kernels.allocate(size)
  const scope: Scope = {
    ...parsePrecision(null, 'float'),
    kernels,
    config,
    batch,
    length,
    first: 0,
    compute: 'float',
    rope: layerRope(config, kernels, length),
    weight: name => parameters.get(name)!,
    vector: name => parameters.get(name) ?? null,
    gradient: name => gradients.get(name) ?? null,
    keep: fresh,
    scratch: fresh,
    backwardScratch: fresh,
  }
  return { scope, parameters, gradients }
}

function random(name: string, size: number): Float64Array {
  const normal = createNormal(9, name)
  return Float64Array.from({ length: size }, (_, i) => normal(i))
}

function dot(a: Floats, b: Floats): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i]
  return sum
}

/** Checks that `gradient` is the derivative of `loss` by the numbers of `at`. */
function checkGradient(name: string, at: Floats, gradient: Floats, loss: () => number): void {
  const direction = random(`${name} direction`, at.length)
  const start = at.slice()
  const along = (t: number) => {
    for (let i = 0; i < at.length; i++) at[i] = start[i] + t * direction[i]
    return loss()
  }
  const h = 1e-4
  const difference = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
  at.set(start)
  expect(Math.abs(difference - dot(gradient, direction)), name).toBeLessThan(1e-8 * Math.max(1, Math.abs(difference)))
}

/** The layer that maps x to out: `dOut` times its output is the loss. */
function checkLayer(
  { parameters, gradients }: ReturnType<typeof scopeOf>,
  x: Floats,
  out: Floats,
  names: readonly string[],
  forward: () => void,
  backward: (dOut: Floats, dx: Floats, accumulate: boolean) => void,
): void {
  const dOut = random('dOut', out.length)
  const loss = () => {
    forward()
    return dot(out, dOut)
  }
  loss()
  const dx = random('dx', x.length)
  const before = dx.slice()
  backward(dOut.slice(), dx, true)
  for (let i = 0; i < dx.length; i++) dx[i] -= before[i]
  for (const name of names) checkGradient(name, parameters.get(name)!, gradients.get(name)!, loss)
  checkGradient('x', x, dx, loss)
  loss()
  const overwritten = before.slice()
  backward(dOut.slice(), overwritten, false)
  for (let i = 0; i < dx.length; i++) expect(overwritten[i]).toBeCloseTo(dx[i], 11)
}

describe('layers', () => {
  test.each(['rms', 'layer'] as const)('norm: %s', kind => {
    const made = scopeOf({ ...base, norm: { kind, eps: 1e-3, gain: true, bias: true, gainOffset: 1 } })
    const norm = createNorm(made.scope, 'norm')
    const x = random('x', rows * base.width)
    const out = kernels.allocate(x.length)
    checkLayer(
      made,
      x,
      out,
      ['norm.weight', 'norm.bias'],
      () => norm.forward(x, out),
      (dOut, dx, accumulate) => norm.backward(x, dOut, dx, accumulate),
    )
  })

  test.each(['head', 'whole'] as const)('norm of queries: %s', qkNorm => {
    const made = scopeOf({ ...base, qkNorm })
    const norm = createQueryNorm(made.scope, 'layers.0.qNorm', base.heads)
    const x = random('x', rows * base.width)
    const out = kernels.allocate(x.length)
    checkLayer(
      made,
      x,
      out,
      ['layers.0.qNorm.weight'],
      () => norm.forward(x, out),
      (dOut, dx, accumulate) => norm.backward(x, dOut, dx, accumulate),
    )
  })

  test('linear: two outputs of one input, one of them added to a residual', () => {
    const made = scopeOf({ ...base, bias: { ...base.bias, mlp: true } })
    const size = rows * base.hidden
    const out = kernels.allocate(2 * size)
    const residual = random('residual', size)
    const [a, b] = [out.subarray(0, size), out.subarray(size)]
    const linear = createLinear(made.scope, base.width, [
      { name: 'layers.0.gate', outputs: base.hidden, y: a },
      { name: 'layers.0.up', outputs: base.hidden, y: b, residual },
    ])
    const x = random('x', rows * base.width)
    checkLayer(
      made,
      x,
      out,
      ['layers.0.gate.weight', 'layers.0.gate.bias', 'layers.0.up.weight', 'layers.0.up.bias'],
      () => linear.forward(x),
      (dOut, dx, accumulate) => linear.backward(x, [dOut.subarray(0, size), dOut.subarray(size)], dx, accumulate),
    )
  })

  test.each([
    ['gated', { gated: true, activation: 'silu' }],
    ['plain', { gated: false, activation: 'geluTanh' }],
  ] as const)('mlp: %s', (_name, mlp) => {
    const made = scopeOf({ ...base, mlp })
    const x = random('x', rows * base.width)
    const out = kernels.allocate(x.length)
    const part = createMlp(made.scope, 0, out, null)
    const names = [...made.parameters.keys()].filter(name => /\.(gate|up|down)\./.test(name))
    expect(names.length).toBe(mlp.gated ? 3 : 2)
    checkLayer(
      made,
      x,
      out,
      names,
      () => part.forward(x),
      (dOut, dx, accumulate) => part.backward(x, dOut, dx, accumulate),
    )
  })

  test.each<[string, Partial<ModelConfig>]>([
    ['rotary', {}],
    ['alibi in a window', { position: { kind: 'alibi' }, attention: { ...base.attention, windows: [3] } }],
    ['rounded alibi, one key head', { position: { kind: 'alibi', rounded: 'bf16' }, kvHeads: 1 }],
    ['one key head, norms', { kvHeads: 1, qkNorm: 'head', bias: { ...base.bias, qkv: true, output: true } }],
  ])('attention: %s', (_name, option) => {
    const made = scopeOf({ ...base, ...option })
    const x = random('x', rows * base.width)
    const out = kernels.allocate(x.length)
    const part = createAttention(made.scope, 0, out, x)
    const names = [...made.parameters.keys()].filter(name => /\.(q|k|v|o|qNorm|kNorm)\./.test(name))
    const plain = createAttention(made.scope, 0, out, null)
    checkLayer(
      made,
      x,
      out,
      names,
      () => plain.forward(x),
      (dOut, dx, accumulate) => plain.backward(x, dOut, dx, accumulate),
    )
    plain.forward(x)
    const alone = out.slice()
    part.forward(x)
    for (let i = 0; i < out.length; i++) expect(out[i]).toBeCloseTo(alone[i] + x[i], 12)
  })

  test('embedding: tokens, positions and norm', () => {
    const position = { kind: 'learned', positions: 8, offset: 2 } as const
    const made = scopeOf({ ...base, embeddingWidth: 5, embeddingNorm: true, embeddingScale: 2, position })
    const out = kernels.allocate(rows * base.width)
    const embedding = createEmbedding(made.scope, out)
    const ids = Int32Array.of(3, 1, 4, 1, 5, 9, 2, 6)
    const dOut = random('dOut', out.length)
    const loss = () => {
      embedding.forward(ids)
      return dot(out, dOut)
    }
    loss()
    embedding.backward(ids, dOut.slice())
    for (const name of ['embedding.weight', 'position.weight', 'projectIn.weight', 'embeddingNorm.weight'])
      checkGradient(name, made.parameters.get(name)!, made.gradients.get(name)!, loss)
    // the first two rows are no positions
    expect(
      made.gradients
        .get('position.weight')!
        .subarray(0, 2 * base.width)
        .every(g => g === 0),
    ).toBe(true)
  })

  test('head: norm, projection, losses and logits', () => {
    const made = scopeOf({ ...base, embeddingWidth: 5, logitSoftcap: 3, bias: { ...base.bias, head: true } })
    const head = createHead(made.scope)
    const x = random('x', rows * base.width)
    const targets = Int32Array.of(3, 1, -1, 1, 5, 9, 2, 16)
    const losses = kernels.allocate(rows)
    const scale = 0.3
    const loss = () => {
      head.losses(x, targets, losses)
      return (
        scale *
        dot(
          losses,
          losses.map(() => 1),
        )
      )
    }
    loss()
    const forward = losses.slice()
    const dx = random('dx', x.length)
    head.backward(x, targets, losses, dx, scale)
    expect(losses).toEqual(forward)
    for (const name of ['norm.weight', 'projectOut.weight', 'head.weight', 'head.bias'])
      checkGradient(name, made.parameters.get(name)!, made.gradients.get(name)!, loss)
    checkGradient('x', x, dx, loss)
    const logits = kernels.allocate(rows * base.vocab)
    head.logits(x, logits)
    kernels.logSoftmax(logits, rows, base.vocab)
    targets.forEach((target, r) => {
      expect(forward[r]).toBeCloseTo(target < 0 ? 0 : -logits[r * base.vocab + target], 12)
    })
  })
})
