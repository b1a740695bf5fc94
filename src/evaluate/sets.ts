// Sets of zero-shot tasks: a local folder with one JSON line an example, or the hub's Parquet files.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parquetReadObjects } from 'hyparquet'
import { hubDatasetFiles } from '../checkpoint/hub.ts'
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

/** Rows of a task's set from the hub, in its original fields, through the hub's own cache; `train`: of the split that solved examples come from. */
export async function fetchTaskSet(task: Task, { train = false } = {}): Promise<Row[]> {
  if (!task.hub)
    throw new RequestError(`task '${task.name}' is not on the hub, expected a folder with ${task.files[0]}.jsonl`)
  const { dataset, config } = task.hub
  const split = train ? (task.hub.train ?? task.hub.split) : task.hub.split
  const rows: Row[] = []
  for (const path of await hubDatasetFiles(dataset, config, split)) {
    const bytes = readFileSync(path)
    const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)
    for (const row of await parquetReadObjects({ file: file as ArrayBuffer })) rows.push(row as Row)
  }
  return rows
}
