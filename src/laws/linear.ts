// Small dense linear algebra on row-major arrays: what a fit of a few tens of parameters needs.

/** Cholesky factor of a (n, n) in place (lower triangle); false where a is not positive definite. */
export function cholesky(a: Float64Array, n: number): boolean {
  for (let j = 0; j < n; j++) {
    let d = a[j * n + j]
    for (let k = 0; k < j; k++) d -= a[j * n + k] * a[j * n + k]
    if (!(d > 0)) return false
    const root = Math.sqrt(d)
    a[j * n + j] = root
    for (let i = j + 1; i < n; i++) {
      let s = a[i * n + j]
      for (let k = 0; k < j; k++) s -= a[i * n + k] * a[j * n + k]
      a[i * n + j] = s / root
    }
  }
  return true
}

/** Solves L Lᵀ x = b in place of b, L from `cholesky`. */
export function solveCholesky(l: Float64Array, n: number, b: Float64Array): void {
  for (let i = 0; i < n; i++) {
    let s = b[i]
    for (let k = 0; k < i; k++) s -= l[i * n + k] * b[k]
    b[i] = s / l[i * n + i]
  }
  for (let i = n - 1; i >= 0; i--) {
    let s = b[i]
    for (let k = i + 1; k < n; k++) s -= l[k * n + i] * b[k]
    b[i] = s / l[i * n + i]
  }
}

/** Eigenvalues (ascending) and eigenvectors (rows) of a symmetric (n, n), by Jacobi rotations. */
export function eigen(matrix: Float64Array, n: number): { values: number[]; vectors: number[][] } {
  const a = matrix.slice()
  const v = new Float64Array(n * n)
  for (let i = 0; i < n; i++) v[i * n + i] = 1
  for (let sweep = 0; sweep < 60; sweep++) {
    let off = 0
    for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) off += a[i * n + j] ** 2
    if (off < 1e-300) break
    for (let p = 0; p < n; p++)
      for (let q = p + 1; q < n; q++) {
        if (a[p * n + q] === 0) continue
        const theta = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q])
        const t = Math.sign(theta || 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1))
        const c = 1 / Math.sqrt(t * t + 1)
        const s = t * c
        for (let k = 0; k < n; k++) {
          const x = a[k * n + p]
          const y = a[k * n + q]
          a[k * n + p] = c * x - s * y
          a[k * n + q] = s * x + c * y
        }
        for (let k = 0; k < n; k++) {
          const x = a[p * n + k]
          const y = a[q * n + k]
          a[p * n + k] = c * x - s * y
          a[q * n + k] = s * x + c * y
          const w = v[p * n + k]
          const z = v[q * n + k]
          v[p * n + k] = c * w - s * z
          v[q * n + k] = s * w + c * z
        }
      }
  }
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => a[i * n + i] - a[j * n + j])
  return { values: order.map(i => a[i * n + i]), vectors: order.map(i => [...v.subarray(i * n, i * n + n)]) }
}

/** Inverse of a symmetric positive definite (n, n), or undefined. */
export function inverse(matrix: Float64Array, n: number): Float64Array | undefined {
  const l = matrix.slice()
  if (!cholesky(l, n)) return undefined
  const out = new Float64Array(n * n)
  const column = new Float64Array(n)
  for (let j = 0; j < n; j++) {
    column.fill(0)
    column[j] = 1
    solveCholesky(l, n, column)
    for (let i = 0; i < n; i++) out[i * n + j] = column[i]
  }
  return out
}

/** Largest of numbers; −Infinity of none. Unlike Math.max it takes lists of any length. */
export function largestOf(values: ArrayLike<number>): number {
  let most = Number.NEGATIVE_INFINITY
  for (let i = 0; i < values.length; i++) if (values[i] > most) most = values[i]
  return most
}

/** Smallest of numbers; Infinity of none. */
export function smallestOf(values: ArrayLike<number>): number {
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < values.length; i++) if (values[i] < least) least = values[i]
  return least
}
