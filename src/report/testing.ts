// Made studies for the tests of the report: losses that follow a law exactly, and folders with less.
import { findLaw } from '../laws/index.ts'
import type { FitRow, MeasurementRow, RunRow } from '../study/ledger/schema.ts'
import type { StudyData } from '../study/read.ts'

/** The law that the made study follows. */
export const law = findLaw('kumar_unified')
/** Its published constants. */
export const { parameters } = law.fits.find(fit => fit.name === 'kumar2024')!

/** A study whose losses are those of the law: sizes, data, precisions, seeds, PTQ to 3–8 bits in four types. */
export function lawfulStudy(): StudyData {
  const runs: RunRow[] = []
  const measurements: MeasurementRow[] = []
  const precisions = [[16, 16, 16], [8, 16, 16], [4, 16, 16], [3, 16, 16], [16, 8, 16], [16, 4, 16], [16, 16, 6], [16, 16, 4], [8, 8, 8], [6, 6, 6], [4, 8, 6]] // biome-ignore format: a table
  for (const n of [30e6, 60e6, 110e6])
    for (const d of [1.5e9, 6e9, 26e9])
      for (const [pw, pa, pkv] of precisions)
        for (const seed of n === 30e6 && pw === 16 && pa === 16 && pkv === 16 ? [0, 1, 2] : [0])
          for (const schedule of pw === 16 && pa === 16 && pkv === 16 ? ['cosine', 'wsd'] : ['cosine']) {
            const key = [n, d, pw, pa, pkv, seed, schedule].join('-')
            const base =
              law.predict(parameters, { N: n, D: d, P_w: pw, P_a: pa, P_kv: pkv }).loss! +
              0.002 * Math.sin(seed * 7 + n + d)
            runs.push({
              study: 's',
              key,
              kind: 'trained',
              cluster: key,
              config: {},
              state: 'done',
              n,
              nTotal: n * 1.2,
              d,
              pW: pw,
              pA: pa,
              pKv: pkv,
              schedule,
              corpus: 'c',
              family: n === 110e6 ? 'gpt2' : 'llama',
              seed,
              loss: base,
              lossStandardError: 0.004,
              flops: 6 * n * d,
              lrFraction: 0.1,
            } as unknown as RunRow)
            const tasks = { last_word: { acc: 1 / base, accStandardError: 0.01 } }
            measurements.push({
              study: 's',
              key: `${key}-none`,
              run: key,
              method: 'none',
              format: null,
              state: 'done',
              loss: base,
              lossStandardError: 0.004,
              tasks,
            } as unknown as MeasurementRow)
            for (const k of [3, 4, 5, 6, 8])
              for (const [element, factor] of [
                ['int', 1],
                ['nf', 0.8],
                ['dyn', 1.3],
                ['fp', 1.1],
              ] as const)
                for (const block of element === 'int' ? [64, 256] : [64]) {
                  const format = `${element}${k}${element === 'fp' ? `e2m${k - 3}` : ''}@${block}`
                  const delta =
                    law.predict(parameters, { N: n, D: d, P_w: pw, P_a: pa, P_kv: pkv, P_post: k }).deltaPtq! *
                    factor *
                    (block === 64 ? 1 : 1.2)
                  measurements.push({
                    study: 's',
                    key: `${key}-${format}`,
                    run: key,
                    method: 'rtn',
                    format,
                    state: 'done',
                    pPost: k,
                    bitsPerParameter: k + 16 / block,
                    totalBits: (k + 16 / block) * n + 16 * 0.2 * n,
                    loss: base + delta,
                    lossChange: delta,
                    lossChangeLow: delta - 0.0005,
                    lossChangeHigh: delta + 0.0005,
                    klMean: delta,
                    tasks,
                  } as unknown as MeasurementRow)
                }
          }
  const fits = [
    {
      study: 's',
      law: 'kumar_unified',
      rows: 'x',
      document: {
        law: 'kumar_unified',
        parameters,
        rows: runs.length,
        rSquared: 0.99,
        rmse: 0.002,
        warnings: [],
        unidentified: [],
        intervals: {},
        heldOut: { rmse: 0.004, rows: 9 },
      },
    },
    {
      study: 's',
      law: 'kumar_unified_train',
      rows: 'x',
      document: {
        law: 'kumar_unified_train',
        parameters,
        rSquared: 0.99,
        warnings: ['a <warning> & more'],
        intervals: { gamma_w: [2, 3] },
      },
    },
  ]
  return studyOf(runs, measurements, fits as unknown as FitRow[])
}

/** A study of these rows. */
export function studyOf(runs: RunRow[], measurements: MeasurementRow[], fits: FitRow[] = []): StudyData {
  return {
    folder: '.',
    file: { name: 'made <up>' } as StudyData['file'],
    spec: { name: 's' } as StudyData['spec'],
    planned: null,
    runs,
    measurements,
    fits,
  }
}
