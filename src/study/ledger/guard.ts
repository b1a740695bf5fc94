// Stops the embedded database at its first failure. Where a write fails while the log is flushed (a full disk), Postgres
// panics with the log's lock held; PGlite swallows that and goes on with the next message, which waits for the lock for
// ever, at full load. So the call in which the program died is left by force, and none is made after it.

/** What is used of PGlite's inside. */
interface Inside {
  mod?: { _PostgresMainLoopOnce(): void; stackRestore(at: number): void }
  POSTGRES_MAIN_LONGJMP?: number
  execProtocolRawSync(...words: unknown[]): unknown
}

/** Makes a client reject everything from the moment on at which its program died. */
export function stopAtFailure(client: object): void {
  const inside = client as Inside
  const { mod } = inside
  let died = false
  let failure: unknown
  if (mod && typeof mod._PostgresMainLoopOnce === 'function' && typeof mod.stackRestore === 'function') {
    const loop = mod._PostgresMainLoopOnce
    const restore = mod.stackRestore
    mod._PostgresMainLoopOnce = () => {
      try {
        loop()
      } catch (error) {
        // An ordinary error of a query is a jump back into the loop; anything else is the program's end.
        if (!died && (error as { status?: unknown }).status !== inside.POSTGRES_MAIN_LONGJMP) {
          died = true
          failure = error
        }
        throw error
      }
    }
    // The first thing that PGlite does with an error of the loop.
    mod.stackRestore = at => {
      if (died) throw failure
      restore(at)
    }
  }
  const send = inside.execProtocolRawSync.bind(inside)
  inside.execProtocolRawSync = (...words) => {
    if (died) throw failure
    return send(...words)
  }
}
