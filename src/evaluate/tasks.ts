// Zero-shot tasks as lm-evaluation-harness defines them. A task is a record: how a row of its set becomes contexts and
// continuations to score, and where its set lies. Rows come in the original fields of the hub's sets or in the
// {query, choices, gold} fields of the local sets; both give the same strings.
import { RequestError } from '../formats/error.ts'

/** A row of a task's set. */
export type Row = Record<string, unknown>

/** What is scored for one row: log-likelihood of continuation i after context i (one context may serve all). */
export interface Example {
  contexts: readonly string[]
  continuations: readonly string[]
  /** Index of the right continuation. */
  gold: number
}

/** A task; `hub` names the data set, its configuration and split. */
export interface Task {
  name: string
  /** choice: the most probable continuation wins; greedy: the only continuation must be the model's own first choice, token by token. */
  kind: 'choice' | 'greedy'
  /** Names of files (without .jsonl) in a local folder. */
  files: readonly string[]
  /** `train` is where solved examples come from, where it is another split. */
  hub?: { dataset: string; config: string; split: string; train?: string }
  /** Whether acc_norm is reported. */
  normalized: boolean
  /** Whether a question is kept out of its own solved examples: the harness does so only where a task has no test split. */
  excludesItself: boolean
  /** Solved examples are never set before it. */
  zeroShotOnly?: boolean
  example(row: Row): Example
}

function text(row: Row, key: string): string {
  const value = row[key]
  if (typeof value !== 'string')
    throw new RequestError(`a row of the set has no text '${key}', it has ${Object.keys(row).join(', ')}`)
  return value
}

function texts(row: Row, key: string): string[] {
  const value = row[key]
  if (!Array.isArray(value) || value.some(item => typeof item !== 'string'))
    throw new RequestError(`a row of the set has no list of texts '${key}', it has ${Object.keys(row).join(', ')}`)
  return value as string[]
}

function index(value: unknown, count: number): number {
  const number = Number(value)
  if (value === '' || value === null || !Number.isInteger(number) || number < 0 || number >= count)
    throw new RequestError(`answer '${String(value)}' is not an index of ${count} choices`)
  return number
}

/** One context for all choices; the harness sets a space before each. */
function choices(context: string, options: readonly string[], gold: unknown): Example {
  return { contexts: [context], continuations: options.map(option => ` ${option}`), gold: index(gold, options.length) }
}

/** The hub's `choices: { text, label }` with an answer key. */
function labelled(row: Row): { options: string[]; gold: number } {
  const { text: options, label } = row['choices'] as { text: string[]; label: string[] }
  return { options, gold: label.indexOf(String(row['answerKey']).trim()) }
}

function isLocal(row: Row): boolean {
  return 'query' in row
}

/** Question: … Answer: with labelled choices (ARC). */
function arc(row: Row): Example {
  if (isLocal(row)) return choices(`${text(row, 'query')}\nAnswer:`, texts(row, 'choices'), row['gold'])
  const { options, gold } = labelled(row)
  return choices(`Question: ${text(row, 'question')}\nAnswer:`, options, gold)
}

/** HellaSwag's clean-up of WikiHow and ActivityNet texts. */
function cleanHellaswag(value: string): string {
  return value
    .trim()
    .replaceAll(' [title]', '. ')
    .replace(/\[.*?\]/g, '')
    .replaceAll('  ', ' ')
}

function capitalize(value: string): string {
  const [first = '', ...rest] = [...value]
  return first.toUpperCase() + rest.join('').toLowerCase()
}

/** The last word after a passage (LAMBADA). */
function lastWord(row: Row): Example {
  if ('context' in row)
    return { contexts: [text(row, 'context')], continuations: [` ${text(row, 'continuation')}`], gold: 0 }
  const words = text(row, 'text').split(' ')
  return { contexts: [words.slice(0, -1).join(' ')], continuations: [` ${words[words.length - 1]}`], gold: 0 }
}

/** All tasks but BLiMP's, which are made by name. */
const RECORDS: readonly Task[] = [
  {
    name: 'lambada_openai',
    kind: 'greedy',
    files: ['lambada_openai'],
    hub: { dataset: 'EleutherAI/lambada_openai', config: 'default', split: 'test' },
    normalized: false,
    excludesItself: false,
    example: lastWord,
  },
  {
    name: 'last_word',
    kind: 'greedy',
    files: ['last_word'],
    normalized: false,
    excludesItself: false,
    example: lastWord,
  },
  {
    name: 'piqa',
    kind: 'choice',
    files: ['piqa'],
    hub: { dataset: 'baber/piqa', config: 'default', split: 'validation', train: 'train' },
    normalized: true,
    excludesItself: true,
    example: row =>
      isLocal(row)
        ? choices(`${text(row, 'query')}Answer:`, texts(row, 'choices'), row['gold'])
        : choices(`Question: ${text(row, 'goal')}\nAnswer:`, [text(row, 'sol1'), text(row, 'sol2')], row['label']),
  },
  {
    name: 'winogrande',
    kind: 'choice',
    files: ['winogrande'],
    hub: { dataset: 'allenai/winogrande', config: 'winogrande_xl', split: 'validation', train: 'train' },
    normalized: false,
    excludesItself: true,
    example: row => {
      if ('context_options' in row) {
        const contexts = texts(row, 'context_options')
        return {
          contexts,
          continuations: contexts.map(() => ` ${text(row, 'continuation')}`),
          gold: index(row['gold'], contexts.length),
        }
      }
      const sentence = text(row, 'sentence')
      const blank = sentence.indexOf('_')
      const options = [text(row, 'option1'), text(row, 'option2')]
      const rest = ` ${sentence.slice(blank + 1).trim()}`
      return {
        contexts: options.map(option => sentence.slice(0, blank) + option),
        continuations: [rest, rest],
        gold: index(Number(row['answer']) - 1, 2),
      }
    },
  },
  {
    name: 'arc_easy',
    kind: 'choice',
    files: ['arc_easy'],
    hub: { dataset: 'allenai/ai2_arc', config: 'ARC-Easy', split: 'test', train: 'train' },
    normalized: true,
    excludesItself: false,
    example: arc,
  },
  {
    name: 'arc_challenge',
    kind: 'choice',
    files: ['arc_challenge'],
    hub: { dataset: 'allenai/ai2_arc', config: 'ARC-Challenge', split: 'test', train: 'train' },
    normalized: true,
    excludesItself: false,
    example: arc,
  },
  {
    name: 'hellaswag',
    kind: 'choice',
    files: ['hellaswag', 'hellaswag_1000'],
    hub: { dataset: 'Rowan/hellaswag', config: 'default', split: 'validation', train: 'train' },
    normalized: true,
    excludesItself: true,
    example: row => {
      const context = `${text(row, 'activity_label')}: ${text(row, 'ctx_a')} ${capitalize(text(row, 'ctx_b'))}`
      return choices(cleanHellaswag(context), texts(row, 'endings').map(cleanHellaswag), row['label'])
    },
  },
  {
    name: 'boolq',
    kind: 'choice',
    files: ['boolq'],
    hub: { dataset: 'aps/super_glue', config: 'boolq', split: 'validation', train: 'train' },
    normalized: false,
    excludesItself: true,
    example: row =>
      isLocal(row)
        ? // Local rows hold "Passage: …\nQuestion: …?\n"; the harness has no "Passage: " and ends with "Answer:".
          choices(
            `${text(row, 'query')
              .replace(/^Passage: /, '')
              .replace(/\s*(Answer:)?\s*$/, '')}\nAnswer:`,
            texts(row, 'choices'),
            row['gold'],
          )
        : choices(
            `${text(row, 'passage')}\nQuestion: ${text(row, 'question')}?\nAnswer:`,
            ['no', 'yes'],
            Number(row['label'] ?? row['answer']),
          ),
  },
  {
    name: 'openbookqa',
    kind: 'choice',
    files: ['openbookqa', 'openbook_qa'],
    hub: { dataset: 'allenai/openbookqa', config: 'main', split: 'test', train: 'train' },
    normalized: true,
    excludesItself: false,
    example: row => {
      if (isLocal(row)) return choices(text(row, 'query'), texts(row, 'choices'), row['gold'])
      const { options, gold } = labelled(row)
      return choices(text(row, 'question_stem'), options, gold)
    },
  },
  {
    name: 'copa',
    kind: 'choice',
    files: ['copa'],
    hub: { dataset: 'aps/super_glue', config: 'copa', split: 'validation', train: 'train' },
    normalized: false,
    excludesItself: true,
    example: row => {
      if (isLocal(row)) return choices(text(row, 'query').trimEnd(), texts(row, 'choices').map(lowerFirst), row['gold'])
      const connector = row['question'] === 'cause' ? 'because' : 'therefore'
      return choices(
        `${text(row, 'premise').trim().slice(0, -1)} ${connector}`,
        [text(row, 'choice1'), text(row, 'choice2')].map(lowerFirst),
        row['label'],
      )
    },
  },
]

function lowerFirst(value: string): string {
  return value.charAt(0).toLowerCase() + value.slice(1)
}

/** A BLiMP paradigm: of a pair of sentences the grammatical one should be more probable. */
function blimp(paradigm: string): Task {
  return {
    name: `blimp_${paradigm}`,
    kind: 'choice',
    files: [`blimp_${paradigm}`, paradigm],
    hub: { dataset: 'nyu-mll/blimp', config: paradigm, split: 'train' },
    normalized: false,
    excludesItself: true,
    zeroShotOnly: true,
    example: row => choices('', [text(row, 'sentence_good'), text(row, 'sentence_bad')], 0),
  }
}

/** Names of the tasks that are listed; `blimp_<paradigm>` names one more each. */
export const TASK_NAMES: readonly string[] = RECORDS.map(task => task.name)

/** The task of a name, or undefined. */
export function findTask(name: string): Task | undefined {
  return (
    RECORDS.find(task => task.name === name) ??
    (/^blimp_\w+$/.test(name) ? blimp(name.slice('blimp_'.length)) : undefined)
  )
}
