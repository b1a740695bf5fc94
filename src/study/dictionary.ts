// The data dictionary of an export: what each column is, its unit and its type. Exports take their columns from here, so
// none can be without a description.

/** A column of an export. */
export interface ExportColumn {
  name: string
  /** Field of the ledger's row. */
  field: string
  type: 'number' | 'text' | 'flag' | 'json'
  unit: string
  meaning: string
}

const column = (
  name: string,
  field: string,
  type: ExportColumn['type'],
  unit: string,
  meaning: string,
): ExportColumn => ({ name, field, type, unit, meaning })

const ORIGIN = [
  column('isa', 'isa', 'text', '', 'instruction path of the kernels'),
  column('threads', 'threads', 'number', 'threads', 'threads of the kernels'),
  column('build', 'build', 'text', '', 'build of the kernels'),
  column('machine', 'machine', 'json', '', 'processor, cores, memory, system'),
  column('versions', 'versions', 'json', '', 'versions of bitlaw and node'),
  column('finished_at', 'finishedAt', 'text', 'time', 'when the result was recorded'),
]

/** One row a run. */
export const RUN_DICTIONARY: readonly ExportColumn[] = [
  column('key', 'key', 'text', '', 'sha256 of the run’s canonical configuration'),
  column(
    'run',
    'cluster',
    'text',
    '',
    'the training whose noise it shares: its own key, or that of its trunk’s longest run',
  ),
  column('kind', 'kind', 'text', '', 'trained, external (by a command), checkpoint (brought) or imported (a row)'),
  column('state', 'state', 'text', '', 'waiting, running, done or failed'),
  column('reason', 'reason', 'text', '', 'why it failed or diverged'),
  column('N', 'n', 'number', 'parameters', 'non-embedding parameters'),
  column('N_total', 'nTotal', 'number', 'parameters', 'all parameters'),
  column('D', 'd', 'number', 'tokens', 'training tokens'),
  column('P_w', 'pW', 'number', 'bits', 'bits of the weights in the forward pass of training; 16: not quantized'),
  column('P_a', 'pA', 'number', 'bits', 'bits of the activations'),
  column('P_kv', 'pKv', 'number', 'bits', 'bits of keys and values'),
  column('format_w', 'formatW', 'text', 'format', 'format of the weights, where the width says too little'),
  column('format_a', 'formatA', 'text', 'format', 'format of the activations'),
  column('format_kv', 'formatKv', 'text', 'format', 'format of keys and values'),
  column('schedule', 'schedule', 'text', '', 'cosine, linear, wsd or constant'),
  column('lr_fraction', 'lrFraction', 'number', 'share', 'learning rate at the checkpoint over its peak'),
  column('corpus', 'corpus', 'text', '', 'name of the training corpus'),
  column('family', 'family', 'text', '', 'family of the model'),
  column('seed', 'seed', 'number', '', 'seed of initialization, order of the data and split'),
  column('loss', 'loss', 'number', 'nats a token', 'validation loss by the trainer'),
  column('loss_standard_error', 'lossStandardError', 'number', 'nats a token', 'its standard error over windows'),
  column('train_loss', 'trainLoss', 'number', 'nats a token', 'mean training loss of the last fiftieth of the steps'),
  column('diverged', 'diverged', 'flag', '', 'the training diverged'),
  column('unique_tokens', 'uniqueTokens', 'number', 'tokens', 'tokens in the training corpus'),
  column('epochs', 'epochs', 'number', '', 'D over unique tokens'),
  column('flops', 'flops', 'number', 'operations', 'of the training, forward and backward'),
  column('tokens_per_second', 'tokensPerSecond', 'number', 'tokens/s', 'training speed of this run'),
  column('seconds', 'seconds', 'number', 's', 'time of the training'),
  column('processor_seconds', 'processorSeconds', 'number', 's', 'time of the processor for it'),
  column(
    'predicted_training',
    'predictedTraining',
    'number',
    's',
    'time of one core that was predicted for the training',
  ),
  column('predicted_quantizing', 'predictedQuantizing', 'number', 's', 'the same for its quantizations'),
  column('predicted_evaluating', 'predictedEvaluating', 'number', 's', 'the same for the scores of all of them'),
  column('checkpoint', 'checkpoint', 'text', 'path', 'folder of the checkpoint, from the study’s folder'),
  column('warnings', 'warnings', 'json', '', 'what a reader of the result should know'),
  column('config', 'config', 'json', '', 'the whole configuration'),
  ...ORIGIN,
]

/** One row a measurement. */
export const MEASUREMENT_DICTIONARY: readonly ExportColumn[] = [
  column('key', 'key', 'text', '', 'sha256 of run, method, format, options and text'),
  column('run_key', 'run', 'text', '', 'key of the run that was scored'),
  column('method', 'method', 'text', '', 'none (the checkpoint as it is), rtn, gptq or awq'),
  column('format', 'format', 'text', 'format', 'format after quantization'),
  column('state', 'state', 'text', '', 'done or failed'),
  column('reason', 'reason', 'text', '', 'why it failed'),
  column('P_post', 'pPost', 'number', 'bits', 'nominal bits of the weights after quantization'),
  column(
    'bits_per_parameter',
    'bitsPerParameter',
    'number',
    'bits',
    'of the quantized tensors, everything stored counted',
  ),
  column('total_bits', 'totalBits', 'number', 'bits', 'of the whole model, the rest as stored'),
  column('tokens', 'tokens', 'number', 'tokens', 'tokens scored'),
  column('loss', 'loss', 'number', 'nats a token', 'loss on the study’s held-out text'),
  column('loss_standard_error', 'lossStandardError', 'number', 'nats a token', 'its standard error over windows'),
  column(
    'loss_before_ptq',
    'lossBeforePtq',
    'number',
    'nats a token',
    'loss of the checkpoint as it is, on the same tokens',
  ),
  column('loss_change', 'lossChange', 'number', 'nats a token', 'loss minus loss before, paired by token'),
  column('loss_change_low', 'lossChangeLow', 'number', 'nats a token', 'lower end of its 95% interval'),
  column('loss_change_high', 'lossChangeHigh', 'number', 'nats a token', 'upper end of its 95% interval'),
  column('bits_per_byte', 'bitsPerByte', 'number', 'bits a byte', 'loss a byte of text'),
  column('kl', 'klMean', 'number', 'nats a token', 'KL divergence from the checkpoint as it is'),
  column('kl_standard_error', 'klStandardError', 'number', 'nats a token', 'its standard error'),
  column('kl_p99', 'klP99', 'number', 'nats', 'its 99th percentile over tokens'),
  column('kl_max', 'klMax', 'number', 'nats', 'its largest value'),
  column(
    'top_agreement',
    'topAgreement',
    'number',
    'share',
    'tokens where both have the same most probable next token',
  ),
  column('tasks', 'tasks', 'json', '', 'accuracies of zero-shot tasks with their standard errors'),
  column('seconds', 'seconds', 'number', 's', 'time of quantizing and scoring'),
  column('quantize_seconds', 'quantizeSeconds', 'number', 's', 'the part of it before the scoring'),
  column('processor_seconds', 'processorSeconds', 'number', 's', 'time of the processor for both'),
  ...ORIGIN,
]
