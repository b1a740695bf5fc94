// Loss, divergence and tasks against values made by transformers and lm-evaluation-harness (golden/eval).
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readSafetensors } from '../../test/safetensors.ts'
import { golden, resolveGoldenPath, shared } from '../../test/shared.ts'
import { loadModel } from '../model/load.ts'
import { createKernels } from '../tensor/index.ts'
import { evaluateTask } from './harness.ts'
import { evaluateText, tokenizeText } from './loss.ts'
import { findTask, type Row } from './tasks.ts'

const folder = golden('eval')
const kernels = createKernels({ threads: 2 })

function readJson(...parts: string[]) {
  return JSON.parse(readFileSync(join(...parts), 'utf8'))
}

function readRows(path: string): Row[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter(line => line.trim() !== '')
    .map(line => JSON.parse(line) as Row)
}

if (folder && shared('models')) {
  const names = readdirSync(folder)
  if (names.includes('loss.json')) {
    const stored = readJson(folder, 'loss.json')
    for (const [name, entry] of Object.entries<Record<string, never>>(stored.texts)) {
      test(`loss of every token of ${name}, each stride`, async () => {
        const model = await loadModel(resolveGoldenPath(stored.model), { dtype: 'float32' })
        const whole = readFileSync(resolveGoldenPath(entry['source']), 'utf8')
        const text = [...whole].slice(0, Number(entry['characters'])).join('')
        const tokens = await tokenizeText(model.tokenizer!, text)
        const tensors = readSafetensors(join(folder, `loss-${name}.safetensors`))
        expect(tokens.ids).toEqual(Int32Array.from(tensors['ids'].values))
        for (const key of Object.keys(entry).filter(word => /^stride\d+$/.test(word))) {
          const expected = entry[key] as Record<string, number>
          const score = evaluateText(model, kernels, tokens, {
            context: expected['context'],
            stride: expected['stride'],
            compute: 'float',
          })
          expect(score.windows.length).toBe(expected['windows'])
          const logs = tensors[`logprob64_${key}`].values
          let worst = 0
          logs.forEach((log: number, i: number) => {
            worst = Math.max(worst, Math.abs(score.losses[i] + log))
          })
          expect(worst).toBeLessThan(1e-3)
          expect(score.loss).toBeCloseTo(expected['mean_nats_per_token_float64'], 5)
          expect(score.lossStandardError).toBeCloseTo(expected['stderr_nats_per_token'], 5)
          expect(score.bitsPerByte).toBeCloseTo(expected['bits_per_byte'], 5)
          if (expected['mean_nats_per_token_if_last_window_is_short'] !== undefined) {
            const short = evaluateText(model, kernels, tokens, {
              context: expected['context'],
              windows: 'short-last',
              compute: 'float',
            })
            expect(short.loss).toBeCloseTo(expected['mean_nats_per_token_if_last_window_is_short'], 5)
          }
        }
      })
    }
  }

  if (names.includes('tasks'))
    for (const file of readdirSync(join(folder, 'tasks')).filter(name => name.endsWith('.json'))) {
      test(`task ${file}: requests, log-likelihoods, choices and scores`, async () => {
        const stored = readJson(folder, 'tasks', file)
        const model = await loadModel(resolveGoldenPath(stored.model), { dtype: 'float32' })
        const rows = readRows(resolveGoldenPath(stored.source)).slice(...(stored.examples_range as [number, number]))
        const task = findTask(stored.task)!
        stored.first_requests?.forEach((pairs: [string, string][], i: number) => {
          const example = task.example(rows[i])
          expect(pairs).toEqual(
            example.continuations.map((continuation, c) => [example.contexts[c] ?? example.contexts[0], continuation]),
          )
        })
        const result = await evaluateTask(model, kernels, model.tokenizer!, task, rows, {
          compute: 'float',
          context: stored.max_length,
          fewshot: stored.num_fewshot,
        })
        const { score } = result
        expect(score.examples).toBe(stored.scored)
        expect(score.leftOut).toEqual(stored.left_out_because_a_continuation_has_no_tokens ?? [])
        expect(score.acc).toBeCloseTo(stored.score.acc, 10)
        expect(score.accStandardError).toBeCloseTo(stored.score.acc_stderr, 10)
        if (stored.score.acc_norm !== undefined) {
          expect(score.accNorm).toBeCloseTo(stored.score.acc_norm, 10)
          expect(score.accNormStandardError).toBeCloseTo(stored.score.acc_norm_stderr, 10)
        }
        if (stored.score.mean_loglikelihood !== undefined)
          expect(Math.abs(score.meanLogLikelihood - stored.score.mean_loglikelihood)).toBeLessThan(1e-3)
        for (const expected of stored.examples) {
          const detail = result.details.find(candidate => candidate.index === expected.index)!
          expect(detail).toBeDefined()
          const contexts = detail.requests.map(request => [...request.context])
          expect(expected.context_ids.length === 1 ? [contexts[0]] : contexts).toEqual(expected.context_ids)
          expect(detail.requests.map(request => [...request.continuation])).toEqual(expected.continuation_ids)
          expected.loglikelihood.forEach((log: number, i: number) => {
            expect(Math.abs(detail.scores[i].logLikelihood - log)).toBeLessThan(1e-3)
          })
          expect(detail.scores.map(one => one.isGreedy)).toEqual(expected.is_greedy)
          if (expected.predicted !== undefined) expect(detail.predicted).toBe(expected.predicted)
          if (expected.predicted_norm !== undefined) expect(detail.predictedNorm).toBe(expected.predicted_norm)
        }
      })
    }

  if (names.includes('stories260k.json'))
    test('a llama2.c model on stories, one window each', async () => {
      const stored = readJson(folder, 'stories260k.json')
      const model = await loadModel(resolveGoldenPath(stored.model), { dtype: 'float32' })
      const tensors = readSafetensors(join(folder, 'stories260k.safetensors'))
      let at = 0
      let place = 0
      let sum = 0
      for (const story of stored.per_story) {
        const length = story.scored + 1
        const ids = Int32Array.from(tensors['ids'].values.subarray(at, at + length))
        at += length
        const score = evaluateText(model, kernels, { ids, start: 1, bytes: null }, { context: 512, compute: 'float' })
        for (const loss of score.losses) {
          expect(Math.abs(loss + tensors['logprob'].values[place++])).toBeLessThan(1e-3)
          sum += loss
        }
      }
      expect(place).toBe(tensors['logprob'].values.length)
      expect(sum / place).toBeCloseTo(stored.mean_nats_per_token, 5)
    })
}
