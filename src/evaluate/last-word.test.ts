import { expect, test } from 'vitest'
import { lastWordPassages, lastWordRows } from './last-word.ts'
import { findTask } from './tasks.ts'

const filler =
  'the river ran past the old mill and the miller stood at the door with his hat in his hand, saying nothing at all to anyone who went by that way in the morning'
const text = `There was a miller who had a donkey. ${filler}. In the evening he fed the donkey. ${filler}. Nobody saw the elephant. ${filler}. He sold the donkey!`

test('passages end before a word that has occurred in them', () => {
  const rows = lastWordPassages(text)
  expect(rows.map(row => row['continuation'])).toEqual(['donkey', 'morning'])
  const { context } = rows[0] as { context: string }
  expect(context).toMatch(/he fed the$/)
  expect(context).toMatch(/\bdonkey\b/)
  expect(findTask('last_word')!.example(rows[0])).toEqual({ contexts: [context], continuations: [' donkey'], gold: 0 })
})

test('rows are spread over the texts, at most as many as asked for', () => {
  const texts = Array.from({ length: 10 }, () => text)
  expect(lastWordRows(texts, 4).length).toBe(4)
  expect(lastWordRows(texts, 100).length).toBe(20)
  expect(lastWordRows(['too short.'], 5)).toEqual([])
})
