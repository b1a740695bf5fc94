// Sets of the zero-shot tasks that a study scores: files of a folder, or for last_word the study's own held-out text.
import { lastWordRows } from '../evaluate/last-word.ts'
import { readTaskSet } from '../evaluate/sets.ts'
import type { Row, Task } from '../evaluate/tasks.ts'
import { RequestError } from '../formats/error.ts'
import type { HeldOut } from './held-out.ts'

/** Passages of last-word prediction. */
const PASSAGES = 200
/** Characters of such a passage with its last word, about. */
const PASSAGE_CHARACTERS = 400
/** Held-out documents that they are taken from. */
const DOCUMENTS = 64

const read = new Map<string, Row[]>()
const made = new WeakMap<HeldOut, Row[]>()

/** The rows of a task's set, read once a process. */
export async function taskRows(task: Task, folder: string | undefined, held: HeldOut): Promise<Row[]> {
  if (folder === undefined) {
    if (task.name !== 'last_word')
      throw new RequestError(
        `task '${task.name}' needs its set, expected evaluate.taskData: a folder with ${task.files[0]}.jsonl`,
      )
    const before = made.get(held)
    if (before) return before
    const rows = lastWordRows(await held.texts(DOCUMENTS), PASSAGES)
    if (rows.length === 0)
      throw new RequestError('the held-out text has no passage whose last word has occurred before')
    made.set(held, rows)
    return rows
  }
  const id = `${folder} ${task.name}`
  const before = read.get(id)
  if (before) return before
  const rows = readTaskSet(task, folder)
  read.set(id, rows)
  return rows
}

/** Lengths in characters of all requests of a task, context and continuation; none where its set cannot be read. */
export function setRequests(task: Task, folder: string | undefined): number[] {
  if (folder === undefined) return task.name === 'last_word' ? new Array(PASSAGES).fill(PASSAGE_CHARACTERS) : []
  try {
    return readTaskSet(task, folder).flatMap(row => {
      const { contexts, continuations } = task.example(row)
      return continuations.map((text, i) => (contexts[i] ?? contexts[0]).length + text.length)
    })
  } catch {
    // What is wrong with a set is said where it is scored.
    return []
  }
}
