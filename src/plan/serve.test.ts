import { expect, test } from 'vitest'
import { cacheBytes, linearsIn, weightBytes } from './bytes.ts'
import { DEVICES } from './devices.ts'
import { publishedFits } from './fits.ts'
import { MODELS } from './models.ts'
import { decodeSpeed, planServing, type ServeProblem, serveGrid } from './serve.ts'

const model = (name: string) => MODELS.find(one => one.name === name)!
const device = DEVICES.find(one => one.name === 'h100')!
const kumar = publishedFits().find(one => one.law.name === 'kumar_unified')!
const problem: ServeProblem = {
  device,
  context: 4096,
  batch: 1,
  formats: ['bf16', 'int8@64', 'int4@64', 'int3@64'],
  kvFormat: 'bf16',
}

test('decoding reads weights and cache, and in large batches waits for arithmetic', () => {
  const { shape, nTotal } = model('llama-3-8b')
  const one = decodeSpeed(shape, linearsIn('int4@64'), 'bf16', problem)
  const embedding = 128_256 * 4096 * 2
  const bytes = weightBytes(shape, linearsIn('int4@64')) - embedding + cacheBytes(shape, 4096)
  expect(one.boundBy).toBe('bandwidth')
  expect(one.tokensPerSecond).toBeCloseTo((device.bandwidth * 0.7) / bytes, 6)
  const many = decodeSpeed(shape, linearsIn('int4@64'), 'bf16', { ...problem, context: 128, batch: 2048 })
  expect(many.boundBy).toBe('compute')
  expect(many.tokensPerSecond).toBeCloseTo((989e12 * 0.7) / (2 * nTotal), 6)
  // Narrow activations run on narrow units; 16-bit weights do not.
  const narrow = { ...problem, context: 128, batch: 2048, activationBits: 8 }
  expect(
    decodeSpeed(shape, linearsIn('int8@channel'), 'bf16', narrow).promptTokensPerSecond / many.promptTokensPerSecond,
  ).toBeCloseTo(1979 / 989, 6)
  expect(decodeSpeed(shape, linearsIn('bf16'), 'bf16', narrow).promptTokensPerSecond).toBeCloseTo(
    many.promptTokensPerSecond,
    6,
  )
})

test('plans come in order of loss, those that do not fit last; what rules them out is named', () => {
  const { plans, binding, best, tie } = planServing(
    [model('llama-2-7b'), model('llama-2-13b'), model('llama-2-70b')],
    { ...problem, memory: 16e9 },
    kumar,
  )
  expect(plans.length).toBe(12)
  const fitting = plans.filter(plan => plan.fits)
  for (const plan of plans) {
    expect(plan.fits).toBe(plan.bytes.total <= 16e9)
    const { deltaPtq } = kumar.law.predict(kumar.parameters, { N: plan.n, D: 2e12, P_post: plan.k })
    expect(plan.deltaPtq).toBeCloseTo(plan.k === 16 ? 0 : deltaPtq!, 12)
  }
  for (let i = 1; i < fitting.length; i++) expect(fitting[i].loss!).toBeGreaterThanOrEqual(fitting[i - 1].loss!)
  expect(plans.slice(fitting.length).every(plan => !plan.fits)).toBe(true)
  expect(binding).toEqual(['memory'])
  expect(best).toMatchObject({ model: fitting[0].model, format: fitting[0].format })
  for (const name of tie) {
    const plan = fitting.find(one => `${one.model} ${one.format}` === name)!
    expect(plan.loss! - fitting[0].loss!).toBeLessThan(0.01)
  }
  for (const plan of plans)
    expect(plan.frontier).toBe(
      !plans.some(
        other =>
          other.bytes.total <= plan.bytes.total &&
          other.loss! <= plan.loss! &&
          (other.bytes.total < plan.bytes.total || other.loss! < plan.loss!),
      ),
    )
})

test('what cannot be served says by how much', () => {
  const slow = planServing([model('llama-2-70b')], { ...problem, memory: 1e12, minTokensPerSecond: 1e6 }, kumar)
  expect(slow.binding).toEqual(['throughput'])
  expect(slow.warnings.join()).toMatch(
    /no plan reaches 1000000 tokens\/s in this memory, the fastest that fits reaches \d+/,
  )
  const unknown = planServing([{ ...model('llama-2-7b'), d: null }], problem, kumar)
  expect(unknown.plans.map(plan => plan.loss)).toEqual([null, null, null, null])
  expect(unknown.best).toBeNull()
})

test('a law that says nothing of quantization predicts no loss for it, and so prefers no width', () => {
  const chinchilla = publishedFits().find(one => one.law.name === 'chinchilla')!
  const { plans, best, warnings } = planServing([model('llama-2-7b')], { ...problem, memory: 1e12 }, chinchilla)
  expect(plans.map(({ format, loss }) => [format, loss !== null])).toEqual([
    ['bf16', true],
    ['int3@64', false],
    ['int4@64', false],
    ['int8@64', false],
  ])
  expect(best?.format).toBe('bf16')
  expect(warnings).toEqual(['chinchilla says nothing of what fewer than 16 bits cost: no loss is predicted for them'])
})

test('the grid of models, formats and contexts has the frontier of its plans', () => {
  const candidates = [model('llama-2-7b'), model('llama-3-8b'), model('qwen2.5-7b')]
  const contexts = [1024, 8192, 32_768]
  const memory = 20e9
  const points = serveGrid(candidates, { ...problem, memory }, contexts, kumar)
  const all = contexts.flatMap(context =>
    planServing(candidates, { ...problem, context, memory }, kumar)
      .plans.filter(plan => plan.fits)
      .map(plan => ({
        context,
        bytes: plan.bytes.total,
        loss: plan.loss!,
        key: `${plan.model} ${plan.format} ${context}`,
      })),
  )
  const expected = all.filter(
    one =>
      !all.some(
        other =>
          other.bytes <= one.bytes &&
          other.loss <= one.loss &&
          other.context >= one.context &&
          (other.bytes < one.bytes || other.loss < one.loss || other.context > one.context),
      ),
  )
  expect(points.map(point => `${point.model} ${point.format} ${point.context}`).sort()).toEqual(
    expected.map(one => one.key).sort(),
  )
})
