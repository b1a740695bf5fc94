// `bitlaw generate`: a few words, to see that a model is alive.
import type { Command } from 'commander'
import { RequestError } from '../formats/error.ts'
import { generate } from '../model/generate.ts'
import { loadModel } from '../model/load.ts'
import { parseQuantity } from '../table/quantity.ts'
import { createKernels } from '../tensor/index.ts'
import { oneOf, readText, threadsOf, wholeNumber } from './options.ts'
import { printJson } from './output.ts'

interface GenerateVerbOptions {
  prompt?: string
  promptFile?: string
  tokens: string
  temperature: string
  topK: string
  seed: string
  precision?: string
  dtype: string
  ignoreConfig?: string[]
  threads?: string
  json?: boolean
}

/** Arguments, options and action of the verb. */
export function register(command: Command): void {
  command
    .argument('<model>', 'folder, .gguf or llama2.c .bin file, or hub name owner/name[@revision]')
    .option('--prompt <text>', 'what to go on from (the beginning of a text)')
    .option('--prompt-file <file>', 'the same from a file')
    .option('--tokens <n>', 'tokens at most', '128')
    .option('--temperature <t>', '0: always the likeliest token', '0.8')
    .option('--top-k <k>', 'draw from the k likeliest tokens', '40')
    .option('--seed <n>', 'of the draws', '0')
    .option('--precision <none>', 'none: do not apply the precision that the checkpoint was trained at')
    .option('--dtype <type>', "auto (the checkpoint's), float32 or bf16", 'auto')
    .option('--ignore-config <keys...>', 'keys of config.json to go on without')
    .option('--threads <n>', 'processor threads (all)')
    .option('--json', 'print one JSON document')
    .action(runGenerate)
}

async function runGenerate(name: string, options: GenerateVerbOptions): Promise<void> {
  const count = wholeNumber(options.tokens, '--tokens', 0)
  const temperature = parseQuantity(options.temperature, 'count', '--temperature')
  const topK = wholeNumber(options.topK, '--top-k')
  const seed = wholeNumber(options.seed, '--seed', 0)
  const threads = threadsOf(options.threads)
  const dtype = oneOf(options.dtype, ['auto', 'float32', 'bf16'], 'dtype')
  if (options.precision !== undefined && options.precision !== 'none')
    throw new RequestError(`--precision '${options.precision}' is not none`)
  if (options.prompt !== undefined && options.promptFile !== undefined)
    throw new RequestError('--prompt and --prompt-file exclude each other')
  const prompt = options.promptFile === undefined ? (options.prompt ?? '') : readText(options.promptFile)

  const model = await loadModel(name, {
    dtype,
    ...(options.ignoreConfig ? { ignoreConfig: options.ignoreConfig } : {}),
  })
  const { tokenizer } = model
  if (tokenizer === null) throw new RequestError(`model '${name}' has no tokenizer, so it cannot read a prompt`)
  let ids = await tokenizer.encode(prompt, { special: true })
  const first = tokenizer.bos ?? tokenizer.eos
  if (ids.length === 0) {
    if (first === null) throw new RequestError(`model '${name}' has no token that begins a text, expected a --prompt`)
    ids = Int32Array.of(first)
  }
  const kernels = createKernels({ threads })
  const precision = options.precision === 'none' ? null : model.precision
  const bf16 =
    dtype === 'bf16' || (dtype === 'auto' && (model.storedDtype === 'BF16' || model.bitlaw?.['compute'] === 'bf16'))
  const tokens: number[] = []
  let shown = ''
  const begin = performance.now()
  if (!options.json) process.stdout.write(prompt)
  // Text of the prompt's last tokens goes along, as some vocabularies drop a space at the beginning.
  const context = Array.from(ids.subarray(Math.max(0, ids.length - 4)))
  const before = (await tokenizer.decode(context, { skipSpecial: true })).length
  for (const token of generate(model, kernels, ids, {
    count,
    temperature,
    topK,
    seed,
    end: tokenizer.eos,
    precision,
    compute: bf16 ? 'bf16' : 'float',
  })) {
    tokens.push(token)
    const text = (await tokenizer.decode([...context, ...tokens], { skipSpecial: true })).slice(before)
    // A character whose bytes are not all there yet waits.
    if (text.endsWith('\ufffd')) continue
    if (!options.json) process.stdout.write(text.slice(shown.length))
    shown = text
  }
  const seconds = (performance.now() - begin) / 1000
  if (!options.json) {
    process.stdout.write('\n')
    return
  }
  printJson({
    model: name,
    prompt,
    text: shown,
    tokens,
    tokensPerSecond: Math.round(tokens.length / Math.max(seconds, 1e-9)),
    precision,
    isa: kernels.isa,
  })
}
