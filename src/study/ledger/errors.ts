// The errors of databases: a server that is away for a moment is waited for; the embedded one's failures, which are those
// of its disk, become a sentence.
import { MachineError, machineError, machineErrorCode } from '../files.ts'
import type { Ledger } from './open.ts'

/** A server that is away is asked again for so long, at first soon, then every two seconds. */
const PATIENCE_MS = 300_000
const LONGEST_WAIT_MS = 2000
/** Classes and codes of Postgres that pass, and those of a connection that cannot be made or breaks. */
const PASSING = /^(08|57P0|53300|40001|40P01|ECONN|EPIPE|ENOTFOUND|ETIMEDOUT|EAI_AGAIN)/
const BROKEN =
  /connection terminated|timeout expired|timeout exceeded when trying to connect|query read timeout|connection timeout|server closed the connection|client has encountered a connection error|not queryable/i

interface AnyError {
  name?: string
  code?: string
  syscall?: string
  severity?: string
  message?: string
  cause?: unknown
  errors?: unknown[]
}

/** Whether a server went away or asked to try again, as against a wrong query. */
export function isPassing(error: unknown): boolean {
  const { code, syscall, message, cause, errors } = error as AnyError
  if (PASSING.test(code ?? '') || syscall === 'connect' || BROKEN.test(message ?? '')) return true
  return (cause !== undefined && isPassing(cause)) || (errors?.some(isPassing) ?? false)
}

/** Whether an error is the database's: an answer of Postgres, Drizzle's wrapping of one, or the end of the embedded program. */
function isDatabaseError(error: unknown): boolean {
  if (!error || typeof error !== 'object') return false
  const { name = '', severity, message = '' } = error as AnyError
  return (
    severity !== undefined ||
    /^(error|ErrnoError|RuntimeError|DrizzleQueryError)$/.test(name) ||
    /PGlite|Aborted\(/.test(message)
  )
}

/** The embedded database's failure in a sentence; other errors come back as they are. */
export function explain(ledger: Pick<Ledger, 'kind' | 'place'>, error: unknown): unknown {
  if (error instanceof MachineError) return error
  if (ledger.kind !== 'pglite' || !isDatabaseError(error))
    return machineErrorCode(error) === undefined ? error : machineError('cannot go on with the study', error)
  const message = [error, (error as AnyError).cause]
    .map(one => (one as AnyError | undefined)?.message ?? '')
    .join(' ')
    .trim()
    .split('\n')[0]
  const code = machineErrorCode(error) ?? /ENOSPC|EIO|EROFS|EDQUOT/.exec(message)?.[0]
  const full = code === 'ENOSPC' || /no space left/i.test(message)
  const why = full
    ? 'no space is left on the disk'
    : code !== undefined || /I\/O error/i.test(message)
      ? 'the disk reports an error'
      : `the embedded database stopped, the disk may be full or broken (${message || 'no reason given'})`
  return new MachineError(
    `cannot use the ledger '${ledger.place}': ${why}; what is not in it yet is in the runs' folders`,
    { cause: error },
  )
}

/** Whether a server says that it is starting up or shutting down: one that is there, and will answer. */
export function isStarting(error: unknown): boolean {
  const { code, cause } = error as AnyError
  return /^57P0[123]$/.test(code ?? '') || (cause !== undefined && isStarting(cause))
}

/** Whether a connection broke after it was made. */
export function isLost(error: unknown): boolean {
  const { code, message, cause } = error as AnyError
  if (/^(ECONNRESET|EPIPE)$/.test(code ?? '')) return true
  if (/connection terminated unexpectedly|server closed the connection/i.test(message ?? '')) return true
  return cause !== undefined && isLost(cause)
}

/** Does a piece of database work: on a server again and again for five minutes while the server is away; an embedded database's failure becomes a sentence. */
export async function patiently<T>(ledger: Ledger, work: () => Promise<T>): Promise<T> {
  const until = Date.now() + PATIENCE_MS
  for (let wait = 100; ; wait = Math.min(LONGEST_WAIT_MS, wait * 2)) {
    try {
      return await work()
    } catch (error) {
      if (ledger.kind !== 'postgres' || !isPassing(error) || Date.now() > until) throw explain(ledger, error)
      await new Promise(resolve => setTimeout(resolve, wait))
    }
  }
}
