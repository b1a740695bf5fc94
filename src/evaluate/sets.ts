// Sets of zero-shot tasks in a local folder, one JSON line an example.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { RequestError } from '../formats/error.ts'
import type { Row, Task } from './tasks.ts'

/** Rows of a task's set in a folder with <task>.jsonl; a line that is not JSON is named. */
export function readTaskSet(task: Task, folder: string): Row[] {
  const path = task.files.map(name => join(folder, `${name}.jsonl`)).find(existsSync)
  if (path === undefined)
    throw new RequestError(
      `no set of '${task.name}' in '${folder}', expected ${task.files.map(name => `${name}.jsonl`).join(' or ')}`,
    )
  return readFileSync(path, 'utf8')
    .split('\n')
    .flatMap((line, i) => {
      if (line.trim() === '') return []
      try {
        return [JSON.parse(line) as Row]
      } catch {
        throw new RequestError(`line ${i + 1} of '${path}' is not JSON`)
      }
    })
}
