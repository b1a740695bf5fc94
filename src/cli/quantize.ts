// `bitlaw quantize`: a quantized checkpoint, or a table of what several formats cost.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import type { Command } from 'commander'
import { weightFiles } from '../checkpoint/folder.ts'
import { compare, keptSource, modelSource } from '../evaluate/divergence.ts'
import { type ScoreOptions, tokenizeText } from '../evaluate/loss.ts'
import { WINDOW_CONVENTIONS } from '../evaluate/windows.ts'
import { type Format, parseFormat, printFormat, RequestError } from '../formats/index.ts'
import { type LoadedModel, loadModel } from '../model/load.ts'
import type { Calibration } from '../quantize/calibration.ts'
import { calibrationOf } from '../quantize/calibration-text.ts'
import { openSpool } from '../quantize/finished.ts'
import { expandFormats } from '../quantize/formats.ts'
import { type ImportanceMatrix, importanceOf, readImatrix, writeImatrix } from '../quantize/imatrix.ts'
import { collectImportance } from '../quantize/importance.ts'
import { bytesAt, checkHolds, fileNames, plainBits, writeQuantized } from '../quantize/output.ts'
import { type QuantizedModel, quantizeModel } from '../quantize/quantize.ts'
import { RECIPES, type Recipe } from '../quantize/recipes.ts'
import { selectTensors } from '../quantize/select.ts'
import { defaultSolvers } from '../quantize/solvers.ts'
import { printQuantity } from '../table/quantity.ts'
import { createKernels } from '../tensor/index.ts'
import { checkOutputFolder, oneOf, optionalWhole, readText, threadsOf, wholeNumber } from './options.ts'
import { printJson, printText, table } from './output.ts'
import { startProgress } from './progress.ts'
import { budgetPlan, dryRun, fusePlan, plansOf } from './quantize-plans.ts'

interface Options {
  format?: string
  method: string
  recipe?: string
  calibration?: string
  calibrationSequences: string
  calibrationLength?: string
  include?: string[]
  exclude?: string[]
  embeddings?: string
  out?: string
  layout: string
  dequantize?: boolean
  evaluate?: string
  context?: string
  stride?: string
  limit?: string
  windows: string
  dtype: string
  actOrder?: boolean
  staticGroups?: boolean
  groupScales: string
  order: string
  damp: string
  blocksize: string
  exact?: boolean
  targetBits?: string
  targetSize?: string
  menu?: string
  imatrix?: string
  seed: string
  threads?: string
  ignoreConfig?: string[]
  dryRun?: boolean
  json?: boolean
}

/** Arguments, options and action of the verb. */
export function register(command: Command): void {
  command
    .argument('<model>', 'folder, .gguf or llama2.c .bin file, or hub name owner/name[@revision]')
    .option('--format <formats>', 'format of the matrices; with --evaluate several, like int{3,4,8}@64,nf4@64')
    .option('--method <method>', 'rtn, gptq or awq', 'rtn')
    .option('--recipe <name>', `llama.cpp's mixture of types: ${RECIPES.join(', ')}`)
    .option('--calibration <file>', 'text that gptq and awq (and --target-bits) measure on')
    .option('--calibration-sequences <n>', 'pieces of the calibration text', '128')
    .option('--calibration-length <tokens>', "tokens of a piece (the model's context, at most 2048)")
    .option('--include <globs...>', 'only these tensors (default: the matrices of the blocks)')
    .option('--exclude <globs...>', 'not these tensors')
    .option('--embeddings <format>', 'format of embedding and unembedding (default: as stored)')
    .option('--out <path>', 'folder, or .gguf file, to write')
    .option('--layout <name>', 'auto, compressed-tensors, gptq or bitlaw', 'auto')
    .option('--dequantize', 'write plain bf16 numbers')
    .option('--evaluate <text>', 'score this text before and after')
    .option('--context <tokens>', "window in tokens (the model's own maximum)")
    .option('--stride <tokens>', 'targets scored a window (the context)')
    .option('--limit <n>', 'the first n windows of the text')
    .option('--windows <convention>', WINDOW_CONVENTIONS.join(', '), 'rolling')
    .option('--dtype <type>', 'computing of the evaluation: auto or float32 (float32), bf16', 'auto')
    .option('--act-order', 'gptq: columns with the largest inputs first')
    .option('--static-groups', 'gptq: scales of all groups before any update')
    .option('--group-scales <when>', 'gptq: best, current, or block (as the authors do)', 'best')
    .option('--order <order>', 'gptq: block or sequential', 'block')
    .option('--damp <share>', 'gptq: share of the mean diagonal added to the Hessian', '0.01')
    .option('--blocksize <columns>', 'gptq: columns a block', '128')
    .option('--exact', 'gptq: solve in float64')
    .option('--target-bits <bits>', 'bits per parameter of the quantized tensors, from --menu')
    .option('--target-size <bytes>', 'size of the whole model, like 3.5GiB, from --menu')
    .option('--menu <formats>', 'formats to choose from (default int{2,3,4,5,6,8}@64)')
    .option(
      '--imatrix <file>',
      "llama.cpp's importance matrix (.dat or .gguf): weighs the errors of ggml's types and of --target-bits; made of --calibration and written where there is none",
    )
    .option('--seed <n>', 'of +hadamard and +sr', '0')
    .option('--threads <n>', 'threads of the kernels')
    .option('--ignore-config <keys...>', 'keys of config.json to go on without')
    .option('--dry-run', 'exact sizes of the tensors; nothing is quantized or written')
    .option('--json', 'print one JSON document')
    .action(quantizeCommand)
}

/** The files that a model is read from. */
function filesOf(reference: string, model: LoadedModel): string[] {
  return existsSync(reference) && statSync(reference).isFile()
    ? [reference]
    : weightFiles(model.folder).map(name => join(model.folder, name))
}

/** Throws where the output would take the place of the model that is read: rounding cannot be undone. */
function keepSource(out: string | undefined, reference: string, model: LoadedModel): void {
  if (out === undefined || !existsSync(out)) return
  const files = filesOf(reference, model)
  if ([model.folder, ...files].some(path => existsSync(path) && realpathSync(path) === realpathSync(out)))
    throw new RequestError(`--out '${out}' is the model that is read, expected another place`)
}

/** What a piece of work is, so that another run of the same goes on with it: the request, and which files it reads. */
function requestOf(reference: string, model: LoadedModel, options: Options, calibration: Calibration | undefined) {
  const { out: _, json: _json, threads: _threads, evaluate: _evaluate, ...asked } = options
  return {
    asked,
    files: filesOf(reference, model).map(path => [resolve(path), statSync(path).size, statSync(path).mtimeMs]),
    calibration: calibration && createHash('sha256').update(calibration.ids).digest('hex'),
    imatrix:
      options.imatrix === undefined ? null : createHash('sha256').update(readFileSync(options.imatrix)).digest('hex'),
  }
}

async function quantizeCommand(reference: string, options: Options): Promise<void> {
  const method = oneOf(options.method, ['rtn', 'gptq', 'awq'], 'method')
  const order = oneOf(options.order, ['block', 'sequential'], 'order')
  const groupScales = oneOf(options.groupScales, ['best', 'current', 'block'], 'group scales')
  const layout = oneOf(options.layout, ['auto', 'compressed-tensors', 'gptq', 'bitlaw'], 'layout')
  const dtype = oneOf(options.dtype, ['auto', 'float32', 'bf16'], 'dtype')
  const windows = oneOf(options.windows, WINDOW_CONVENTIONS, 'windows convention')
  const damp = options.damp.trim() === '' ? Number.NaN : Number(options.damp)
  if (!(damp >= 0 && damp < Number.POSITIVE_INFINITY))
    throw new RequestError(`--damp '${options.damp}' is not a number of at least 0`)
  const seed = wholeNumber(options.seed, '--seed', 0)
  const blocksize = wholeNumber(options.blocksize, '--blocksize')
  const sequences = wholeNumber(options.calibrationSequences, '--calibration-sequences')
  const length = optionalWhole(options.calibrationLength, '--calibration-length')
  const context = optionalWhole(options.context, '--context')
  const stride = optionalWhole(options.stride, '--stride')
  const limit = optionalWhole(options.limit, '--limit')
  const budgeted = options.targetBits !== undefined || options.targetSize !== undefined
  if (options.targetBits !== undefined && !(Number(options.targetBits) > 0))
    throw new RequestError(`target bits '${options.targetBits}' is not a number above 0`)
  if (budgeted && (options.format !== undefined || options.recipe !== undefined))
    throw new RequestError('--target-bits and --target-size choose formats from --menu, without --format or --recipe')
  if (!budgeted && options.format === undefined && options.recipe === undefined && options.imatrix === undefined)
    throw new RequestError('nothing to quantize to, give --format F, --recipe NAME, --target-bits B or --target-size S')
  if (options.format !== undefined)
    for (const word of expandFormats(options.format)) if (!RECIPES.includes(word as Recipe)) parseFormat(word)
  if (options.dequantize && options.out?.endsWith('.gguf'))
    throw new RequestError(`--dequantize writes a folder of bf16 numbers, not '${options.out}'`)
  if (options.out?.endsWith('.gguf') && existsSync(options.out) && statSync(options.out).isDirectory())
    throw new RequestError(`--out '${options.out}' is a folder, expected a .gguf file`)
  checkOutputFolder(options.out?.endsWith('.gguf') ? dirname(options.out) : options.out, '--out')
  if (options.evaluate !== undefined) readText(options.evaluate)
  const threads = threadsOf(options.threads) ?? availableParallelism()

  const model = await loadModel(reference, {
    dtype: dtype === 'bf16' ? 'bf16' : 'auto',
    ignoreConfig: options.ignoreConfig,
    lazy: options.evaluate === undefined && !budgeted,
  })
  keepSource(options.out, reference, model)
  const budget = budgeted ? await budgetPlan(options, model) : undefined
  const plans = budget ? [budget.plan] : plansOf(options, model)
  if (options.out !== undefined && plans.length !== 1)
    throw new RequestError(`--out takes one format, not ${plans.length}`)
  if (options.out === undefined && options.evaluate === undefined && !options.dryRun && plans.length > 0)
    throw new RequestError('nothing to do with the result, give --out PATH or --evaluate TEXT (or --dry-run)')
  const { out } = options
  for (const plan of out === undefined ? [] : plans) {
    const chosen = selectTensors(model.config, plan.format, plan.selection, fileNames(model))
    // A rotation may go into the model, which leaves formats without it.
    if (!chosen.some(({ format }) => format.kind === 'scaled' && format.hadamard))
      checkHolds(out as string, model, chosen, { layout, dequantize: options.dequantize })
  }
  if (options.dryRun) {
    const documents = plans.map(plan => ({
      ...dryRun(model, plan, method, options),
      ...(budget && { gap: budget.gap }),
    }))
    if (budget && !options.json) printText(describeBudget(budget))
    if (options.json) printJson(documents.length === 1 ? documents[0] : documents)
    else
      printText(
        table(
          ['format', 'bits per parameter', 'model'],
          documents.map((each: Record<string, unknown>) => [
            String(each['format']),
            Number(each['bitsPerParameter']).toFixed(4),
            printQuantity(Number(each['bytes']), 'bytes'),
          ]),
        ) +
          '\n\nof the tensors alone: headers, config and tokenizer come on top, and the shapes and orders of columns that layouts of other tools store',
      )
    return
  }

  const kernels = createKernels({ threads })
  const solvers = defaultSolvers({ threads, exact: options.exact ?? false })
  let calibration: Calibration | undefined
  if (options.calibration !== undefined) {
    if (!model.tokenizer) throw new RequestError(`model '${reference}' has no tokenizer to read calibration text with`)
    calibration = await calibrationOf(readText(options.calibration), model.tokenizer, {
      sequences,
      length: length ?? Math.min(model.config.context, 2048),
    })
  } else if (method !== 'rtn')
    throw new RequestError(`method ${method} needs calibration text, give --calibration FILE`)
  let importance: ImportanceMatrix | undefined
  if (options.imatrix !== undefined) {
    if (existsSync(options.imatrix)) importance = readImatrix(options.imatrix)
    else if (!calibration)
      throw new RequestError(`no importance matrix at '${options.imatrix}', give --calibration FILE to make one`)
    else {
      const chunks = calibration.ids.length / calibration.length
      const entries = collectImportance(model, kernels, calibration, solvers)
      importance = { entries, chunks, chunkSize: calibration.length, dataset: options.calibration ?? '' }
      writeImatrix(options.imatrix, importance)
    }
    if (plans.length === 0) {
      if (options.json) printJson({ imatrix: options.imatrix })
      else printText(`importance matrix in ${options.imatrix}`)
      return
    }
  }

  const scoring: ScoreOptions = {
    compute: dtype === 'bf16' ? 'bf16' : 'float',
    precision: model.precision ? { ...model.precision, weights: null } : null,
    context,
    stride,
    limit,
    windows,
  }
  if (options.evaluate !== undefined && !model.tokenizer)
    throw new RequestError(`model '${reference}' has no tokenizer`)
  const text =
    options.evaluate === undefined
      ? undefined
      : await tokenizeText(model.tokenizer!, readText(options.evaluate), windows)
  const before = text && keptSource(modelSource(model, kernels, { ...scoring, precision: model.precision }))
  const documents: Record<string, unknown>[] = []
  for (const asked of plans) {
    const start = performance.now()
    const fused = fusePlan(model, asked, seed)
    const plan = fused?.plan ?? asked
    let finishedTensors = 0
    const progress = startProgress(
      plan.name,
      selectTensors(model.config, plan.format, plan.selection, fileNames(model)).length,
      'tensors',
      { quiet: options.json },
    )
    // A finished matrix goes to a file: there it waits for the output, and for a run that was interrupted.
    const spool =
      options.out === undefined
        ? undefined
        : openSpool(options.out, requestOf(reference, model, options, calibration), solvers)
    const isFinished = (name: string, format: Format) => spool?.head(name)?.format === printFormat(format)
    const done: QuantizedModel = quantizeModel(fused?.model ?? model, {
      ...plan.selection,
      format: plan.format,
      method,
      calibration,
      kernels,
      solvers,
      seed,
      order,
      gptq: {
        damp,
        blocksize,
        actOrder: options.actOrder,
        staticGroups: options.staticGroups,
        groupScales,
      },
      toBf16: options.dequantize,
      aliases: fileNames(model),
      storedBits: plainBits(model, options.out),
      keepValues: text !== undefined,
      importance: spec => importance && importanceOf(importance.entries, spec),
      isFinished,
      finished: (name, format) =>
        spool && isFinished(name, format) ? { matrix: spool.get(name), ...spool.lost(name) } : undefined,
      onTensor(tensor, matrix) {
        spool?.keep(tensor.name, matrix, tensor)
        progress.update(++finishedTensors)
      },
    })
    progress.stop()
    let written: string | undefined
    if (options.out !== undefined && spool) {
      written = await writeQuantized(options.out, model, done.model, spool, {
        layout,
        dequantize: options.dequantize,
        quantized: { method, format: plan.name, ...(fused && { rotated: { seed } }) },
      })
      spool.remove()
    }
    const common = { format: plan.name, method, bitsPerParameter: done.bitsPerParameter, totalBits: done.totalBits }
    const comparison = text && before && compare(done.model, before, kernels, text, scoring)
    documents.push({
      ...common,
      ...(options.out !== undefined || text === undefined
        ? { bytes: options.out === undefined ? Math.ceil(done.totalBits / 8) : bytesAt(options.out) }
        : {}),
      tensors: done.tensors.map(({ name, format, bits, squaredError, outputError }) => ({
        name,
        format,
        bits,
        squaredError,
        outputError,
      })),
      squaredError: done.squaredError,
      seconds: (performance.now() - start) / 1000,
      ...(options.out !== undefined && { out: options.out, layout: written }),
      ...(budget && { gap: budget.gap }),
      ...(comparison && {
        tokens: comparison.score.tokens,
        loss: comparison.score.loss,
        lossStandardError: comparison.score.lossStandardError,
        lossChange: {
          mean: comparison.lossChange.mean,
          standardError: comparison.lossChange.standardError,
          interval: comparison.lossChange.interval,
        },
        kl: comparison.kl,
        topAgreement: comparison.topAgreement,
      }),
    })
  }
  if (options.json) {
    printJson(text ? documents : documents[0])
    return
  }
  if (budget) printText(describeBudget(budget))
  printText(describe(documents, options))
}

function describeBudget({ table, gap }: { table: string; gap: number }): string {
  return `${table}\n\n${gap === 0 ? 'optimal' : `optimal to a gap of ${(100 * gap).toPrecision(2)}%`}\n`
}

function describe(documents: readonly Record<string, unknown>[], options: Options): string {
  const rows = documents.map(each => {
    const change = each['lossChange'] as { mean: number; interval: [number, number] } | undefined
    const kl = each['kl'] as { mean: number; standardError: number } | undefined
    return [
      String(each['format']),
      String(each['method']),
      Number(each['bitsPerParameter']).toFixed(4),
      printQuantity(Number(each['totalBits']) / 8, 'bytes'),
      Number(each['squaredError']).toPrecision(5),
      ...(change && kl
        ? [
            Number(each['loss']).toFixed(4),
            `${change.mean.toFixed(4)} [${change.interval.map(x => x.toFixed(4)).join(', ')}]`,
            `${kl.mean.toFixed(5)} ± ${kl.standardError.toFixed(5)}`,
          ]
        : []),
    ]
  })
  const header = [
    'format',
    'method',
    'bits',
    'model',
    'squared error',
    ...(options.evaluate ? ['loss', 'loss change', 'KL'] : []),
  ]
  const where =
    options.out === undefined
      ? ''
      : `\n\n${options.out}: ${printQuantity(Number(documents[0]['bytes']), 'bytes')}, ${String(documents[0]['layout'])}`
  return table(header, rows) + where
}
