// The three matrix products of a linear layer, on float64 copies of its operands. Sums run in index order, four
// products of independent sums side by side.

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
  // biome-ignore format: two operands and a result
  for (let r = 0; r < rows; r++) {
    const ra = r * inputs
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
      for (let i = 0; i < inputs; i++) {
        const x = a[ra + i]
        s0 += x * w[w0 + i]
        s1 += x * w[w1 + i]
        s2 += x * w[w2 + i]
        s3 += x * w[w3 + i]
      }
      const at = r * stride + o
      out[at] = s0
      out[at + 1] = s1
      out[at + 2] = s2
      out[at + 3] = s3
    }
    for (; o < outputs; o++) {
      let s = 0
      for (let i = 0; i < inputs; i++) s += a[ra + i] * w[o * inputs + i]
      out[r * stride + o] = s
    }
  }
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
  // biome-ignore format: two operands and a result
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
  // biome-ignore format: two operands and a result
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
