// Preloaded into a process of a test: the FAULT_AT-th call that changes a file fails with FAULT_CODE, and with
// FAULT_LASTS all after it, as on a disk that is full.
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'

const at = Number(process.env.FAULT_AT)
const code = process.env.FAULT_CODE ?? 'ENOSPC'
const lasts = process.env.FAULT_LASTS === '1'
let calls = 0

const NAMES = [
  'writeSync',
  'writeFileSync',
  'appendFileSync',
  'renameSync',
  'fsyncSync',
  'mkdirSync',
  'linkSync',
  'ftruncateSync',
  'cpSync',
]
for (const name of NAMES) {
  const real = fs[name]
  fs[name] = (...words) => {
    // Pipes to the parent and the terminal are no disk.
    const isPipe = typeof words[0] === 'number' && words[0] <= 2
    if (!isPipe) calls++
    if (!isPipe && (calls === at || (lasts && calls > at))) {
      const path = typeof words[0] === 'string' ? ` '${words[0]}'` : ''
      throw Object.assign(new Error(`${code}: injected, ${name}${path}`), {
        code,
        syscall: name,
        path: typeof words[0] === 'string' ? words[0] : undefined,
      })
    }
    return real(...words)
  }
}
syncBuiltinESMExports()
