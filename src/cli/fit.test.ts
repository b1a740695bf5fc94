import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { golden } from '../../test/shared.ts'

const run = promisify(execFile)

/** Runs the command; resolves with its output and status. */
async function bitlaw(...words: string[]): Promise<{ stdout: string; stderr: string; status: number }> {
  try {
    return { ...(await run(resolve('bin/bitlaw'), words, { maxBuffer: 1e8 })), status: 0 }
  } catch (error) {
    const failed = error as { stdout: string; stderr: string; code: number }
    return { stdout: failed.stdout, stderr: failed.stderr, status: failed.code }
  }
}

test('laws, fit and predict, from a table to a prediction', async () => {
  const laws = JSON.parse((await bitlaw('laws', '--json')).stdout)
  expect(laws.find((law: { name: string }) => law.name === 'kumar_unified').parameters.length).toBe(17)
  const table = golden('fits', 'chinchilla.csv')
  if (!table) return
  const folder = mkdtempSync(join(tmpdir(), 'bitlaw-'))
  const renamed = join(folder, 'runs.csv')
  writeFileSync(renamed, readFileSync(table, 'utf8').replace('N,D,C_flop,loss', 'params,D,C_flop,val_loss'))
  const out = join(folder, 'fit.json')
  const svg = join(folder, 'fit.svg')
  const fitted = await bitlaw(
    'fit',
    renamed,
    '--law',
    'chinchilla',
    '--columns',
    'N=params,loss=val_loss',
    '--where',
    'in_epoch_fit = 1',
    '--hold-out',
    'largest-n',
    '--bootstrap',
    '30',
    '--starts',
    '60',
    '--out',
    out,
    '--svg',
    svg,
    '--json',
  )
  const document = JSON.parse(fitted.stdout)
  expect(fitted.stderr).toBe('')
  expect(document.fits[0].objective).toBeLessThan(0.001018275)
  expect(document.fits[0].parameters.alpha).toBeCloseTo(0.3473, 3)
  expect(document.fits[0].heldOut.rows).toBeGreaterThan(2)
  expect(document.best).toBe('chinchilla')
  expect(readFileSync(svg, 'utf8')).toContain('<svg')
  const [prediction] = JSON.parse((await bitlaw('predict', '--fit', out, '--n', '1b', '--d', '20b', '--json')).stdout)
  expect(prediction.law).toBe('chinchilla')
  expect(prediction.interval[0]).toBeLessThan(prediction.loss)
  expect(prediction.insideRange).toBe(true)
})

test('wrong requests are one sentence and status 2', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'bitlaw-'))
  const bad = join(folder, 'bad.csv')
  writeFileSync(bad, 'N,D,loss\n1e8,1e9,3.5\n1e8,-2,3\n')
  const failed = await bitlaw('fit', bad, '--law', 'chinchilla')
  expect(failed.status).toBe(2)
  expect(failed.stderr).toBe(
    'bitlaw: 1 of 2 rows cannot be used: line 3: D is -2, not above 0 (leave them out with --skip-bad-rows)\n',
  )
  const column = await bitlaw('fit', bad, '--law', 'kumar_delta')
  expect(column.stderr).toContain("needs a column 'P_post', the rows have N, D, loss")
  const unknown = await bitlaw('predict', '--law', 'chincilla', '--n', '1b', '--d', '1b')
  expect(unknown.status).toBe(2)
  expect(unknown.stderr).toContain('did you mean chinchilla?')
})
