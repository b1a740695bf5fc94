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

/** acc[r, i] += sum over o of d[r, o] (rows of `stride`) w[o, i]. */
export function addProducts(
  d: Float64Array,
  stride: number,
  rows: number,
  w: Float64Array,
  outputs: number,
  inputs: number,
  acc: Float64Array,
): void {
  for (let r = 0; r < rows; r++) {
    const at = r * inputs
    let o = 0
    for (; o + 4 <= outputs; o += 4) {
      const d0 = d[r * stride + o]
      const d1 = d[r * stride + o + 1]
      const d2 = d[r * stride + o + 2]
      const d3 = d[r * stride + o + 3]
      const w0 = o * inputs
      const w1 = w0 + inputs
      const w2 = w1 + inputs
      const w3 = w2 + inputs
      for (let i = 0; i < inputs; i++) acc[at + i] += d0 * w[w0 + i] + d1 * w[w1 + i] + d2 * w[w2 + i] + d3 * w[w3 + i]
    }
    for (; o < outputs; o++) {
      const d0 = d[r * stride + o]
      for (let i = 0; i < inputs; i++) acc[at + i] += d0 * w[o * inputs + i]
    }
  }
}

/** acc[i] = sum over r of d[r * stride + o] a[r, i]: row o of the transposed product. */
export function transposedRow(
  d: Float64Array,
  stride: number,
  o: number,
  rows: number,
  a: Float64Array,
  inputs: number,
  acc: Float64Array,
): void {
  acc.fill(0, 0, inputs)
  let r = 0
  for (; r + 4 <= rows; r += 4) {
    const d0 = d[r * stride + o]
    const d1 = d[(r + 1) * stride + o]
    const d2 = d[(r + 2) * stride + o]
    const d3 = d[(r + 3) * stride + o]
    const a0 = r * inputs
    const a1 = a0 + inputs
    const a2 = a1 + inputs
    const a3 = a2 + inputs
    for (let i = 0; i < inputs; i++) acc[i] += d0 * a[a0 + i] + d1 * a[a1 + i] + d2 * a[a2 + i] + d3 * a[a3 + i]
  }
  for (; r < rows; r++) {
    const d0 = d[r * stride + o]
    for (let i = 0; i < inputs; i++) acc[i] += d0 * a[r * inputs + i]
  }
}
