// Opens tensors by what a file is, told from its first bytes; a folder by the names in it.
import { statSync } from 'node:fs'
import { RequestError } from '../formats/error.ts'
import { openBytes } from './bytes.ts'
import { openFolder } from './folder.ts'
import { openGguf } from './gguf.ts'
import { openLlama2c } from './llama2c.ts'
import { openPickle } from './pickle.ts'
import { openSafetensors } from './safetensors.ts'
import type { TensorFile } from './tensors.ts'

/** Opens the tensors of a checkpoint folder or of one safetensors, GGUF, PyTorch or llama2.c file. */
export function openTensors(path: string): TensorFile {
  const found = statSync(path, { throwIfNoEntry: false })
  if (!found) throw new RequestError(`no file '${path}'`)
  if (found.isDirectory()) return openFolder(path)
  const file = openBytes(path)
  const head = file.read(0, Math.min(file.size, 16))
  file.close()
  if (new TextDecoder().decode(head.subarray(0, 4)) === 'GGUF') return openGguf(path)
  if (head[8] === 0x7b) return openSafetensors(path)
  if ((head[0] === 0x50 && head[1] === 0x4b) || (head[0] === 0x80 && head[1] === 0x02)) return openPickle(path)
  if (path.endsWith('.bin')) return openLlama2c(path)
  throw new RequestError(`'${path}' holds no tensors, expected safetensors, GGUF, a PyTorch or a llama2.c checkpoint`)
}
