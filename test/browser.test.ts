// formats/, laws/ and plan/ must run in a browser: they are bundled for one, which fails on any Node built-in.
import { readdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { build } from 'esbuild'
import { expect, test } from 'vitest'

const root = resolve(import.meta.dirname, '..')
const entries = ['formats', 'laws', 'plan'].filter(name => readdirSync(`${root}/src/${name}`).includes('index.ts'))

test.each(entries)('%s is bundled for a browser from the four browser-safe folders alone', async name => {
  const { metafile, outputFiles } = await build({
    entryPoints: [`${root}/src/${name}/index.ts`],
    absWorkingDir: root,
    bundle: true,
    format: 'esm',
    platform: 'browser',
    metafile: true,
    write: false,
    logLevel: 'silent',
  })
  const outside = Object.keys(metafile.inputs).filter(
    file => !/^(src\/(formats|table|laws|plan)|node_modules)\//.test(file),
  )
  expect(outside).toEqual([])
  const text = outputFiles[0].text
  expect(text).not.toMatch(/from\s*["']node:|require\(["']/)
  expect(text).not.toMatch(/\b(process|Buffer)\.[a-zA-Z]/)
})

test('the bundle of formats works where there is no Node', async () => {
  const { outputFiles } = await build({
    entryPoints: [`${root}/src/formats/index.ts`],
    bundle: true,
    format: 'iife',
    globalName: 'formats',
    platform: 'browser',
    write: false,
  })
  // Only what a browser's global scope has of it: no process, no Buffer, no require.
  const run = new Function('process', 'Buffer', 'require', `${outputFiles[0].text}; return formats`)
  const formats = run(undefined, undefined, undefined) as typeof import('../src/formats/index.ts')
  expect(formats.bitsPerParameter('nf4@64')).toBe(4.25)
  expect(Array.from(formats.fakeQuantize(Float32Array.of(7, 3.2), [2], 'int4@2'))).toEqual([7, 3])
})
