// The one factorization that GPTQ needs: the upper Cholesky factor of the inverse of a positive definite matrix.
// It is found without forming the inverse: H = R R' with R upper triangular, so U = R^-1 has U'U = H^-1.

/** R upper triangular with R R' = matrix (n, n), symmetric and positive definite; throws where a pivot is not positive. */
function upperFactor(matrix: Float64Array, n: number): Float64Array {
  const factor = new Float64Array(n * n)
  for (let j = n - 1; j >= 0; j--) {
    const rowJ = j * n
    for (let i = j; i >= 0; i--) {
      const rowI = i * n
      let sum = matrix[rowI + j]
      for (let k = j + 1; k < n; k++) sum -= factor[rowI + k] * factor[rowJ + k]
      if (i === j) {
        if (!(sum > 0)) throw new Error(`hessian is not positive definite at dimension ${j}, more damping is needed`)
        factor[rowJ + j] = Math.sqrt(sum)
      } else factor[rowI + j] = sum / factor[rowJ + j]
    }
  }
  return factor
}

/** Inverse of an upper triangular matrix (n, n). */
function invertUpper(factor: Float64Array, n: number): Float64Array {
  const inverse = new Float64Array(n * n)
  for (let i = n - 1; i >= 0; i--) {
    const rowI = i * n
    const pivot = 1 / factor[rowI + i]
    for (let k = i + 1; k < n; k++) {
      const share = factor[rowI + k] * pivot
      if (share === 0) continue
      const rowK = k * n
      for (let j = k; j < n; j++) inverse[rowI + j] -= share * inverse[rowK + j]
    }
    inverse[rowI + i] = pivot
  }
  return inverse
}

/** U upper triangular with U'U = matrix^-1: row c over its diagonal is how an error in column c moves the later columns. */
export function inverseFactor(matrix: Float64Array, n: number): Float64Array {
  return invertUpper(upperFactor(matrix, n), n)
}
