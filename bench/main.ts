// npm run bench -- NAME [--json] [options]: loads bench/NAME.ts, runs it, prints a table or a document.
import { existsSync, readdirSync } from 'node:fs'
import { table } from '../src/cli/output.ts'
import { didYouMean, RequestError } from '../src/formats/error.ts'

/** What a benchmark hands back: rows of one shape, and what a reader must know of them. */
export interface BenchResult {
  title: string
  rows: readonly Readonly<Record<string, string | number | boolean | null>>[]
  notes?: readonly string[]
}

/** Options as given: `--threads 2` is { threads: '2' }, a bare `--flag` is { flag: 'true' }. */
export type BenchOptions = Readonly<Record<string, string>>

/** A benchmark's file exports this as `run`. */
export type Bench = (options: BenchOptions) => Promise<BenchResult> | BenchResult

function parse(words: readonly string[]): { name: string | undefined; options: Record<string, string> } {
  const options: Record<string, string> = {}
  let name: string | undefined
  for (let i = 0; i < words.length; i++) {
    if (!words[i].startsWith('--')) {
      if (name !== undefined) throw new RequestError(`unexpected '${words[i]}' after '${name}'`)
      name = words[i]
      continue
    }
    const [key, value] = words[i].slice(2).split(/=(.*)/s)
    if (value !== undefined) options[key] = value
    else if (key !== 'json' && i + 1 < words.length && !words[i + 1].startsWith('--')) options[key] = words[++i]
    else options[key] = 'true'
  }
  return { name, options }
}

async function main(): Promise<void> {
  const names = readdirSync(new URL('.', import.meta.url))
    .filter(file => file.endsWith('.ts') && file !== 'main.ts')
    .map(file => file.slice(0, -3))
  const { name, options } = parse(process.argv.slice(2))
  if (name === undefined || !names.includes(name) || !existsSync(new URL(`${name}.ts`, import.meta.url)))
    throw new RequestError(
      `${name === undefined ? 'no benchmark is named' : `unknown benchmark '${name}'`}, expected one of ${names.join(', ')}${didYouMean(name ?? '', names)}`,
    )
  const { run } = (await import(new URL(`${name}.ts`, import.meta.url).href)) as { run: Bench }
  const { title, rows, notes = [] } = await run(options)
  if (options.json !== undefined) {
    process.stdout.write(`${JSON.stringify({ name, title, rows, notes }, null, 1)}\n`)
    return
  }
  const header = [...new Set(rows.flatMap(row => Object.keys(row)))]
  const cells = rows.map(row => header.map(key => row[key] ?? ''))
  process.stdout.write(
    `${title}\n\n${table(
      header,
      cells.map(row => row.map(cell => (typeof cell === 'boolean' ? String(cell) : cell))),
    )}\n`,
  )
  for (const note of notes) process.stdout.write(`\n${note}`)
  if (notes.length > 0) process.stdout.write('\n')
}

try {
  await main()
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = error instanceof RequestError ? 2 : 1
}
