import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { register as registerStudy } from '../cli/study.ts'
import { register as registerWorker } from '../cli/worker.ts'
import { openLedger } from './ledger/open.ts'

let root: string
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'bitlaw-deploy-'))
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

/** The options that a command line of `bitlaw study run` or `bitlaw worker` uses and that the verb does not have. */
function unknownOptions(words: readonly string[]): string[] {
  const at = words.indexOf('bitlaw')
  const program = new Command()
  const isWorker = words[at + 1] === 'worker'
  if (isWorker) registerWorker(program)
  else registerStudy(program)
  const verb = isWorker ? program : program.commands.find(command => command.name() === words[at + 2])
  const known = verb?.options.map(option => option.long) ?? []
  return words.slice(at).filter(word => word.startsWith('--') && !known.includes(word))
}

test('the Slurm script is one that the shell reads, and its commands are ours', () => {
  const path = 'deploy/slurm.sh'
  expect(spawnSync('bash', ['-n', path]).status).toBe(0)
  const text = readFileSync(path, 'utf8')
  const commands = [...text.matchAll(/command=\((bitlaw .*)\)/g)].map(match => match[1].split(' '))
  expect(commands.map(words => words.slice(0, 3).join(' '))).toEqual(['bitlaw study run', 'bitlaw worker "$folder"'])
  for (const words of commands) expect(unknownOptions(words)).toEqual([])
  expect(spawnSync('bash', [path], { encoding: 'utf8' }).stderr).toContain('the specification')
})

interface Container {
  command: string[]
  env: { name: string }[]
  volumeMounts: { name: string }[]
}
interface Job {
  kind: string
  spec: { template: { spec: { restartPolicy: string; containers: Container[]; volumes: { name: string }[] } } }
}

test('the Kubernetes file holds a volume and two jobs that run our commands on it', () => {
  const documents = parseAllDocuments(readFileSync('deploy/kubernetes.yaml', 'utf8'))
  expect(documents.flatMap(document => document.errors)).toEqual([])
  const [claim, ...jobs] = documents.map(document => document.toJS() as Job)
  expect([claim, ...jobs].map(({ kind }) => kind)).toEqual(['PersistentVolumeClaim', 'Job', 'Job'])
  for (const { spec } of jobs) {
    const { restartPolicy, containers, volumes } = spec.template.spec
    expect(restartPolicy).toBe('OnFailure')
    for (const { command, env, volumeMounts } of containers) {
      expect(command.slice(0, 3)).toEqual(['npx', '--yes', 'bitlaw'])
      expect(unknownOptions(command)).toEqual([])
      expect(env.map(({ name }) => name)).toContain('DATABASE_URL')
      expect(volumes.map(({ name }) => name)).toEqual(volumeMounts.map(({ name }) => name))
    }
  }
})

test('an address that is none, or where nobody answers, is refused, soon and without its password', async () => {
  await expect(openLedger(root, 'mysql://me:secret@host/x')).rejects.toThrow(
    /^DATABASE_URL 'mysql:\/\/host\/x' is not a server's address, expected postgres:/,
  )
  const begin = performance.now()
  await expect(openLedger(root, 'postgres://me:secret@127.0.0.1:1/x')).rejects.toThrow(
    'cannot reach postgres at 127.0.0.1:1/x, the server of DATABASE_URL: connect ECONNREFUSED 127.0.0.1:1',
  )
  expect(performance.now() - begin).toBeLessThan(60_000)
})
