// `bitlaw plan`: what to train under compute, memory and money, and which model at which format to serve.
import type { Command } from 'commander'
import * as plan from '../plan/index.ts'
import { printQuantity } from '../table/quantity.ts'
import { printJson, printText, table } from './output.ts'
import { serveAction } from './plan-serve.ts'
import { trainAction } from './plan-train.ts'

/** Subcommands train, serve and devices. */
export function register(command: Command): void {
  command
    .command('train')
    .description('N, D and training bits under compute, memory, money and data')
    .option('--compute <flops>', 'FLOPs at 16 bits, e.g. 1e21')
    .option('--hours <hours>', 'device-hours on --device')
    .option('--money <dollars>', 'dollars for --device, e.g. $2M')
    .option('--device <name>', 'a device of `bitlaw plan devices`', 'h100')
    .option('--price <dollars>', 'dollars a device-hour instead of the record')
    .option('--utilization <share>', 'share of peak that training reaches', String(plan.ECONOMICS.utilization))
    .option('--loss <nats>', 'the cheapest plan that reaches this loss (with --compute and the like as a limit)')
    .option('--n <parameters>', 'non-embedding parameters held')
    .option('--d <tokens>', 'training tokens held')
    .option('--data <tokens>', 'distinct tokens there are')
    .option('--repeat', 'these may be seen more than once')
    .option('--memory <bytes>', 'memory to train in')
    .option('--serving-memory <bytes>', 'memory for the weights when serving')
    .option('--inference-tokens <tokens>', "tokens served over the model's life")
    .option('--serve <format>', 'quantized to this format, or so many bits, after training')
    .option('--bits <range>', 'training bits of all parts alike: a number, or low..high', '3..16')
    .option('--pw <range>', 'bits of weights, chosen apart from the other parts')
    .option('--pa <range>', 'bits of activations, chosen apart')
    .option('--pkv <range>', 'bits of the KV cache, chosen apart')
    .option('--vocab <n>', 'size of the vocabulary, whose embeddings take memory too', '32000')
    .option(
      '--cost <model>',
      'bits (compute proportional to bits) or device (what it accelerates: the default with --hours and --money)',
    )
    .option('--law <names>', 'laws to set side by side', 'all')
    .option('--fit <files...>', "fits of one's own (bitlaw fit --out)")
    .option('--svg <file>', 'draw loss against bits')
    .option('--study <file>', 'write the most informative small study as a specification')
    .option('--frontier <file>', 'write plans that no other beats in compute, memory and loss as CSV')
    .option('--json', 'print one JSON document')
    .action(trainAction)
  command
    .command('serve')
    .description('which model at which format, under memory and throughput')
    .argument('[models...]', 'known models, checkpoints, or sizes like 8b (all known models unless given)')
    .option('--d <tokens>', 'training tokens of checkpoints and sizes that do not say')
    .option('--memory <bytes>', "memory, the device's unless given")
    .option('--device <name>', 'a device of `bitlaw plan devices`', 'rtx-4090')
    .option('--context <tokens>', 'tokens a sequence', '4096')
    .option('--batch <n>', 'sequences at once', '1')
    .option('--min-speed <tokens>', 'least tokens a second of all sequences together')
    .option(
      '--formats <list>',
      'formats of the weights; names like q4_k_m are files of llama.cpp',
      'bf16,int8@64,int6@64,int5@64,int4@64,int3@64',
    )
    .option('--embeddings <format>', 'format of embedding and unembedding', 'bf16')
    .option('--kv <format>', 'format of the cache', 'bf16')
    .option('--activations <bits>', 'bits of activations while serving', '16')
    .option('--law <name>', 'law of loss and damage', 'kumar_unified')
    .option('--fit <file>', "a fit of one's own instead (bitlaw fit --out)")
    .option('--json', 'print one JSON document')
    .action(serveAction)
  command
    .command('devices')
    .description('the devices that plans know')
    .option('--json', 'print one JSON document')
    .action(devicesAction)
}

function devicesAction(options: { json?: boolean }): void {
  if (options.json) {
    printJson(plan.DEVICES)
    return
  }
  const tera = (value: number | undefined) =>
    value === undefined ? '-' : String(Number((value / 1e12).toPrecision(4)))
  printText(
    table(
      ['device', 'memory', 'GB/s', 'bf16', 'fp8', 'int8', 'fp4', 'int4', 'watts', 'buy', 'rent/h'],
      plan.DEVICES.map(({ name, memory, bandwidth, flops, watts, price }) => [
        name, `${memory / 1e9} GB`, bandwidth / 1e9, tera(flops.bf16), tera(flops.fp8), tera(flops.int8), tera(flops.fp4), tera(flops.int4), watts,
        price.buy === null ? '-' : printQuantity(price.buy, 'money'), price.rent === null ? '-' : `$${price.rent}`,
      ]), // biome-ignore format: the columns above
    ) + `\nthroughput in dense TFLOP/s (TOP/s); prices as of ${plan.DEVICES[0].price.date}, overridden by --price`,
  )
}
