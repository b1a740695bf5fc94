// Writes studies/study.schema.json anew from the reader's own schema: `npm run schema`, after a change of it.
import { writeFileSync } from 'node:fs'
import { specJsonSchema } from '../src/study/spec.ts'

writeFileSync('studies/study.schema.json', `${JSON.stringify(specJsonSchema(), null, 2)}\n`)
