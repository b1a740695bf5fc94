// GPTQ as its driver sees it: the grid, and the kernels of each instruction path, in float and in double.
//
// The feedback is written with the factor of the Hessian itself instead of that of its inverse, which is the same
// (arXiv 2307.13304, theorem 6): with H = R R' and R upper triangular, column q is rounded after adding
// sum over p < q of (w_p - rounded w_p) * R[p][q] / R[q][q]. So nothing is inverted, and all the heavy work is products
// of the form C[m][lane] += sum over k of A[k][m] * B[k][lane], with rows of the matrix in the lanes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace bitlaw {

/** Steps between least and largest weight (or symmetric); symmetric steps; a sorted book. */
enum class GridKind { affine = 0, step = 1, book = 2 };
enum class GridScale { exact = 0, fp32 = 1, fp16 = 2, bf16 = 3 };

struct GptqGrid {
  GridKind kind;
  bool symmetric;
  /** Largest code. */
  int last;
  GridScale scale;
  /** Book: last + 1 sorted levels, and `last` thresholds between them. */
  const double* levels;
  const double* thresholds;
};

/** Rows that a kernel works on at once, at most. */
constexpr size_t MAX_LANES = 32;

template <class T>
struct GptqOps {
  /** Rows of the matrix that lie side by side. */
  size_t lanes;
  /** c[m][lanes] = (c +) sum over k of a[k * aStride + m] * b[k][lanes]; m a multiple of 8. */
  void (*product)(const T* a, size_t aStride, const T* b, size_t k, size_t m, T* c, bool add);
  /** Rounds one column of lanes: now -> codes and values. */
  void (*round)(const GptqGrid&, const T* now, const T* scales, const T* zeros, uint8_t* codes, T* values);
  /** For each later column i (below count) of lanes: columns[i] += difference * factors[i]. */
  void (*feedback)(const T* difference, const T* factors, size_t count, T* columns);
};

struct GptqTables {
  GptqOps<float> single;
  GptqOps<double> exact;
};

const GptqTables& gptqTables(const std::string& path);

}  // namespace bitlaw
