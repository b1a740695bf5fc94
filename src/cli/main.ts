// The command: finds the verb, loads its file alone, runs it, turns errors into one sentence and an exit status.
import { Command, CommanderError } from 'commander'
import { didYouMean, RequestError } from '../formats/error.ts'
import { VERBS } from './verbs.ts'

/** What the system refuses about a file, in words. */
const SYSTEM: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder',
  EACCES: 'permission is denied',
  EPERM: 'permission is denied',
  EISDIR: 'it is a folder, expected a file',
  ENOTDIR: 'part of it is a file, expected a folder',
  ENOSPC: 'the disk is full',
  EROFS: 'the disk can only be read',
  EMFILE: 'too many files are open',
}

/** One lowercase sentence about an error; the system's own, which name calls and not what was wanted, are put in words. */
function sentence(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { code, path } = error as NodeJS.ErrnoException
  const words = code === undefined ? undefined : SYSTEM[code]
  return words === undefined || path === undefined ? error.message : `cannot use '${path}': ${words}`
}

/** `bitlaw: <sentence>` on standard error; status 2 for a wrong request, 1 for work that failed. */
function fail(error: unknown, debug: boolean): never {
  process.stderr.write(`bitlaw: ${sentence(error)}\n`)
  if (debug && error instanceof Error) process.stderr.write(`${error.stack}\n`)
  process.exit(error instanceof RequestError ? 2 : 1)
}

/** A program with every verb's summary, for `bitlaw --help`. */
function overview(): Command {
  const program = new Command('bitlaw')
    .description('Measures, fits and plans the numerical precision of language models.')
    .version('0.1.0')
    .option('--debug', 'print a stack trace with an error')
  for (const verb of VERBS)
    program.command(`${verb.name}${verb.usage ? ` ${verb.usage}` : ''}`).description(verb.summary)
  program.addHelpText('after', `\nExamples:\n${VERBS.map(verb => `  ${verb.example}`).join('\n')}`)
  return program
}

/** Commander's own complaints in the house's spelling: one lowercase sentence, status 2. */
function asRequestError(error: CommanderError, command: Command | undefined): RequestError {
  // A verb that has subcommands was given none.
  if (error.code === 'commander.help')
    return new RequestError(
      `${command?.name().replace('bitlaw ', '')} needs a word more, expected one of ${command?.commands.map(child => child.name()).join(', ')}`,
    )
  const text = error.message
    .replace(/^error: /, '')
    .replace(/\n/g, ' ')
    .replace('(Did you mean', '(did you mean')
    .replace(
      /^too many arguments.*Expected (\d+) arguments? but got (\d+)\.$/,
      'too many arguments: expected $1, got $2',
    )
  return new RequestError(text.charAt(0).toLowerCase() + text.slice(1))
}

async function main(argv: readonly string[]): Promise<void> {
  const debug = argv.includes('--debug')
  const given = argv.filter(word => word !== '--debug')
  // `help VERB` is `VERB --help`.
  const rest = given[0] === 'help' && given.length > 1 ? [given[1], '--help'] : given
  const name = rest[0]
  let command: Command | undefined
  try {
    if (name === undefined || name.startsWith('-') || name === 'help') {
      const program = overview()
        .exitOverride()
        .configureOutput({ writeErr: () => {} })
      if (name === undefined) program.outputHelp()
      else await program.parseAsync(name === 'help' ? ['--help'] : [...rest], { from: 'user' })
      return
    }
    const verb = VERBS.find(candidate => candidate.name === name)
    if (!verb) {
      const names = VERBS.map(candidate => candidate.name)
      throw new RequestError(`unknown verb '${name}', expected one of ${names.join(', ')}${didYouMean(name, names)}`)
    }
    command = new Command(`bitlaw ${verb.name}`).description(verb.summary)
    command.exitOverride().configureOutput({ writeErr: () => {} })
    command.addHelpText('after', `\nExample:\n  ${verb.example}`)
    const { register } = await verb.load()
    register(command)
    for (const child of command.commands) child.exitOverride().configureOutput({ writeErr: () => {} })
    await command.parseAsync(rest.slice(1), { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return
      fail(asRequestError(error, command), debug)
    }
    fail(error, debug)
  }
}

// A reader that closes the pipe early (`| head`) is not an error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})
await main(process.argv.slice(2))
