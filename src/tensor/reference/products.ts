// The three matrix products of a linear layer, on float64 copies of its operands. Sums run in index order, four
// to eight independent sums side by side: a processor then multiplies while it waits for additions.

/** out[r, o] (rows of `stride`) = sum over i of a[r, i] w[o, i]. */
export function products(
  a: Float64Array,
  rows: number,
  w: Float64Array,
  outputs: number,
  inputs: number,
  out: Float64Array,
  stride: number,
): void {
  let r = 0
  for (; r + 2 <= rows; r += 2) {
    const a0 = r * inputs
    const a1 = a0 + inputs
    let o = 0
    for (; o + 4 <= outputs; o += 4) {
      const w0 = o * inputs
      const w1 = w0 + inputs
      const w2 = w1 + inputs
      const w3 = w2 + inputs
      let s0 = 0
      let s1 = 0
      let s2 = 0
      let s3 = 0
      let t0 = 0
      let t1 = 0
      let t2 = 0
      let t3 = 0
      for (let i = 0; i < inputs; i++) {
        const x = a[a0 + i]
        const y = a[a1 + i]
        const v0 = w[w0 + i]
        const v1 = w[w1 + i]
        const v2 = w[w2 + i]
        const v3 = w[w3 + i]
        s0 += x * v0
        s1 += x * v1
        s2 += x * v2
        s3 += x * v3
        t0 += y * v0
        t1 += y * v1
        t2 += y * v2
        t3 += y * v3
      }
      const at = r * stride + o
      out[at] = s0
      out[at + 1] = s1
      out[at + 2] = s2
      out[at + 3] = s3
      out[at + stride] = t0
      out[at + stride + 1] = t1
      out[at + stride + 2] = t2
      out[at + stride + 3] = t3
    }
    for (; o < outputs; o++) {
      out[r * stride + o] = dot(a, a0, w, o * inputs, inputs)
      out[(r + 1) * stride + o] = dot(a, a1, w, o * inputs, inputs)
    }
  }
  if (r < rows) for (let o = 0; o < outputs; o++) out[r * stride + o] = dot(a, r * inputs, w, o * inputs, inputs)
}

function dot(a: Float64Array, aAt: number, b: Float64Array, bAt: number, length: number): number {
  let sum = 0
  for (let i = 0; i < length; i++) sum += a[aAt + i] * b[bAt + i]
  return sum
}

/** Where the numbers of a matrix lie: element (r, o) at r * row + o * column. */
export interface Strides {
  row: number
  column: number
}

/** acc[r, i] += sum over o of d[r, o] w[o, i]; d lies as `strides` says, so that it may be a transposed matrix. */
export function addProducts(
  d: Float64Array,
  { row, column }: Strides,
  rows: number,
  w: Float64Array,
  inner: number,
  inputs: number,
  acc: Float64Array,
): void {
  let r = 0
  for (; r + 2 <= rows; r += 2) {
    const at = r * inputs
    const next = at + inputs
    let o = 0
    for (; o + 4 <= inner; o += 4) {
      const p = r * row + o * column
      const q = p + row
      const d0 = d[p]
      const d1 = d[p + column]
      const d2 = d[p + 2 * column]
      const d3 = d[p + 3 * column]
      const e0 = d[q]
      const e1 = d[q + column]
      const e2 = d[q + 2 * column]
      const e3 = d[q + 3 * column]
      const w0 = o * inputs
      const w1 = w0 + inputs
      const w2 = w1 + inputs
      const w3 = w2 + inputs
      for (let i = 0; i < inputs; i++) {
        const v0 = w[w0 + i]
        const v1 = w[w1 + i]
        const v2 = w[w2 + i]
        const v3 = w[w3 + i]
        acc[at + i] += d0 * v0 + d1 * v1 + d2 * v2 + d3 * v3
        acc[next + i] += e0 * v0 + e1 * v1 + e2 * v2 + e3 * v3
      }
    }
    for (; o < inner; o++) {
      addScaled(d[r * row + o * column], w, o * inputs, inputs, acc, at)
      addScaled(d[(r + 1) * row + o * column], w, o * inputs, inputs, acc, next)
    }
  }
  if (r < rows)
    for (let o = 0; o < inner; o++) addScaled(d[r * row + o * column], w, o * inputs, inputs, acc, r * inputs)
}

/** acc[to…] += factor * w[from…]. */
function addScaled(factor: number, w: Float64Array, from: number, length: number, acc: Float64Array, to: number): void {
  for (let i = 0; i < length; i++) acc[to + i] += factor * w[from + i]
}
