// The list of verbs. Each is one file in this folder that is loaded only when it is called.
import type { Command } from 'commander'

/** A verb: what `bitlaw --help` says of it, and how to load its file, whose `register` adds arguments, options and the action. */
export interface Verb {
  name: string
  usage?: string
  summary: string
  example: string
  load(): Promise<{ register(command: Command): void }>
}

/** All verbs in the order of the help. */
export const VERBS: readonly Verb[] = [
  {
    name: 'formats',
    usage: '[format...]',
    summary: 'list number formats: bits, levels, Gaussian error, predicted capacity',
    example: 'bitlaw formats nf4@64 int4@64',
    load: () => import('./formats.ts'),
  },
  {
    name: 'laws',
    usage: '[law]',
    summary: 'list scaling laws: formula, parameters, published constants, validated range',
    example: 'bitlaw laws kumar_unified',
    load: () => import('./laws.ts'),
  },
  {
    name: 'predict',
    summary: 'loss, effective parameters, damage by PTQ and D_crit of one configuration, by one law or all',
    example: 'bitlaw predict --law kumar --n 1b --d 100b --pw 4 --ppost 4',
    load: () => import('./predict.ts'),
  },
  {
    name: 'fit',
    usage: '<file>',
    summary: 'fit laws to a table of runs: intervals, what the runs cannot tell, held-out comparison',
    example: 'bitlaw fit runs.csv --law chinchilla,kumar_unified_train --hold-out largest-n --out fit.json',
    load: () => import('./fit.ts'),
  },
  {
    name: 'train',
    usage: '<config>',
    summary: 'one training run, quantization-aware where the configuration says so',
    example: 'bitlaw train run.yaml --out runs/w4a8 --threads 1',
    load: () => import('./train.ts'),
  },
  {
    name: 'generate',
    usage: '<model>',
    summary: 'a few words, to see that a model is alive',
    example: 'bitlaw generate runs/w4a8/step-0002441 --prompt "It was the best of times" --tokens 64',
    load: () => import('./generate.ts'),
  },
  {
    name: 'evaluate',
    usage: '<model...>',
    summary: 'loss, perplexity, bits per byte, divergence from a reference, zero-shot tasks',
    example: 'bitlaw evaluate my-model --text held-out.txt --reference my-model-bf16 --gate "kl < 0.02"',
    load: () => import('./evaluate.ts'),
  },
  {
    name: 'plan',
    usage: '<train|serve|devices>',
    summary: 'what to train, or which model at which format to serve, under compute, memory and money',
    example: 'bitlaw plan train --compute 1e21 --device h100',
    load: () => import('./plan.ts'),
  },
  {
    name: 'check',
    usage: '<model>',
    summary: 'is this checkpoint over-trained for k bits? predicted, and measured',
    example: 'bitlaw check my-model --d 300b --measure held-out.txt',
    load: () => import('./check.ts'),
  },
  {
    name: 'study',
    usage: '<run|status|fit|report|export|import|repair> <spec>',
    summary: 'a whole sweep: train, quantize, evaluate, fit; resumable',
    example: 'bitlaw study run studies/thread.yaml',
    load: () => import('./study.ts'),
  },
  {
    name: 'worker',
    usage: '<folder>',
    summary: "join a study's queue on a server from another process or machine",
    example: 'DATABASE_URL=postgres://user@host/bitlaw bitlaw worker out/first',
    load: () => import('./worker.ts'),
  },
  {
    name: 'quantize',
    usage: '<model>',
    summary: 'quantize a checkpoint, or measure what several formats cost',
    example: 'bitlaw quantize MODEL --format int4full@128 --method gptq --calibration text.txt --out model-int4',
    load: () => import('./quantize.ts'),
  },
]
