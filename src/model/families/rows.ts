// Orders of rows in fused and permuted matrices, as index lists: row i of (q, k, v joined) is row rows[i] of the file.
import type { ModelConfig } from '../config.ts'

/** Rows of a fused matrix that goes head by head: `groups` times (queries of the group, one key, one value). */
function groupedRows({ heads, kvHeads, headSize }: ModelConfig): Int32Array {
  const queries = heads / kvHeads
  const group = (queries + 2) * headSize
  const rows = new Int32Array((heads + 2 * kvHeads) * headSize)
  for (let head = 0; head < heads; head++) {
    const from = Math.floor(head / queries) * group + (head % queries) * headSize
    for (let i = 0; i < headSize; i++) rows[head * headSize + i] = from + i
  }
  for (let head = 0; head < kvHeads; head++)
    for (let i = 0; i < headSize; i++) {
      rows[(heads + head) * headSize + i] = head * group + queries * headSize + i
      rows[(heads + kvHeads + head) * headSize + i] = head * group + (queries + 1) * headSize + i
    }
  return rows
}

/** q, k, v of a matrix fused by head (GPT-NeoX, BLOOM) or by group of heads (Falcon). */
export const fusedByHead = (config: ModelConfig) => groupedRows(config)

/** Rows of one of q or k whose rotated pairs are neighbours (2i, 2i+1), brought to halves (i, i + pairs). */
export function interleavedPairs(heads: number, headSize: number, rotated: number): Int32Array {
  const rows = new Int32Array(heads * headSize)
  const pairs = rotated / 2
  for (let head = 0; head < heads; head++)
    for (let i = 0; i < headSize; i++) {
      const from = i < pairs ? 2 * i : i < rotated ? 2 * (i - pairs) + 1 : i
      rows[head * headSize + i] = head * headSize + from
    }
  return rows
}
