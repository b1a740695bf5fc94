// Sets of zero-shot tasks in a local folder, one JSON line an example.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Row, Task } from '../evaluate/tasks.ts'
import { RequestError } from '../formats/error.ts'

const read = new Map<string, Row[]>()

/** The rows of a task's set, read once a process. */
export function readTaskSet(task: Task, folder: string | undefined): Row[] {
  if (folder === undefined)
    throw new RequestError(
      `task '${task.name}' needs its set, expected evaluate.taskData: a folder with ${task.files[0]}.jsonl`,
    )
  const path = task.files.map(name => join(folder, `${name}.jsonl`)).find(existsSync)
  if (path === undefined)
    throw new RequestError(
      `no set of '${task.name}' in '${folder}', expected ${task.files.map(name => `${name}.jsonl`).join(' or ')}`,
    )
  let rows = read.get(path)
  if (!rows) {
    rows = readFileSync(path, 'utf8')
      .split('\n')
      .filter(line => line.trim())
      .map(line => JSON.parse(line) as Row)
    read.set(path, rows)
  }
  return rows
}
