// Packs operands of products: rounds the caller's numbers (to integer codes or bf16), and lays them out as ops.h says.
// A line is one row of the source as it is read and rounded, in registers; words are built from those.
#pragma once
#include "ops.h"
#include "simd.h"

namespace bitlaw::PATH {
namespace {

/** Codes of x by one scale: round(x / scale), ties to even, within ±codeMax. */
struct Coder {
  F scale, inverse, limit, tie;
  Coder(float s, float codeMax)
      : scale(set(s)), inverse(set(s > 0 ? 1 / s : 0)), limit(set(codeMax)), tie(set(s > 1e-36f || s == 0 ? 0.5f - codeMax * 0x1p-21f : -1)) {}
  F operator()(F x) const {
    // The quotient is what counts; a product with the reciprocal decides all but the numbers next to a tie.
    F quotient = x * inverse;
    F code = round(quotient);
    if (any(less(tie, abs(quotient - code)))) code = round(x / scale);
    return min(max(code, set(0.0f) - limit), limit);
  }
};

inline F read(const Source& s, size_t at, int lanes) {
  if (s.bf16) {
    const uint16_t* p = static_cast<const uint16_t*>(s.data) + at;
    return lanes == W ? loadBf16(p) : loadBf16(p, lanes);
  }
  return get(static_cast<const float*>(s.data) + at, lanes);
}

/** One row of a source as it is packed: numbers from a column on, rounded. */
struct PlainLine {
  const float* x;
  F operator()(size_t column, int lanes) const { return get(x + column, lanes); }
};
struct HalfLine {
  const uint16_t* x;
  F operator()(size_t column, int lanes) const { return lanes == W ? loadBf16(x + column) : loadBf16(x + column, lanes); }
};
struct CodedLine {
  const float* x;
  Coder code;
  F operator()(size_t column, int lanes) const { return code(get(x + column, lanes)); }
};
struct RowFactorLine {
  const float* x;
  F factor;
  F operator()(size_t column, int lanes) const { return get(x + column, lanes) * factor; }
};
struct ColumnFactorLine {
  const float* x;
  const float* factors;
  F operator()(size_t column, int lanes) const { return get(x + column, lanes) * get(factors + column, lanes); }
};
struct AnyLine {
  const Source& s;
  const Rounder& r;
  size_t base;
  float scale;
  Coder code;
  F factor;
  F operator()(size_t column, int lanes) const {
    F x = read(s, base + column, lanes);
    if (r.scales) x = code(x);
    if (r.values) x = x * set(scale);
    if (r.rowFactors) x = x * factor;
    if (r.columnFactors) x = x * get(r.columnFactors + column, lanes);
    return r.toBf16 ? roundBf16(x) : x;
  }
};

/** Calls body(lineOf), lineOf(row) being one of the lines above: the cheapest that does what `r` says. */
template <class Body>
inline void withLines(const Source& s, const Rounder& r, Body body) {
  const float* x = static_cast<const float*>(s.data);
  const bool floats = !s.bf16 && !r.toBf16 && !r.values;
  if (floats && !r.scales && !r.columnFactors && !r.rowFactors) body([&](size_t row) {
    const float* here = x + row * s.stride;
    // pieces of longer rows (a head of many) lie too far apart for the processor to foresee
    if (s.stride > s.columns)
      for (size_t i = 0; i < s.columns && i < 64; i += 16) __builtin_prefetch(here + 8 * s.stride + i);
    return PlainLine{here};
  });
  else if (s.bf16 && !r.scales && !r.columnFactors && !r.rowFactors && !r.toBf16)
    body([&](size_t row) { return HalfLine{static_cast<const uint16_t*>(s.data) + row * s.stride}; });
  else if (floats && !r.scales && !r.columnFactors) body([&](size_t row) { return RowFactorLine{x + row * s.stride, set(r.rowFactors[row])}; });
  else if (floats && !r.scales && !r.rowFactors) body([&](size_t row) { return ColumnFactorLine{x + row * s.stride, r.columnFactors}; });
  else if (floats && !r.columnFactors && !r.rowFactors && !r.perRow) {
    const Coder code(r.scales[0], r.codeMax);
    body([&](size_t row) { return CodedLine{x + row * s.stride, code}; });
  } else {
    body([&](size_t row) {
      const float scale = r.scales ? r.scales[r.perRow ? row : 0] : 1;
      return AnyLine{s, r, row * s.stride, scale, Coder(scale, r.codeMax), set(r.rowFactors ? r.rowFactors[row] : 1)};
    });
  }
}

/** W lanes of a line of `columns` numbers, zeros past its end. */
template <class Line>
inline F lanesOf(const Line& line, size_t column, size_t columns) {
  if (column + W <= columns) return line(column, W);
  return column < columns ? line(column, static_cast<int>(columns - column)) : set(0.0f);
}

// Words. Along: W words from PER * W consecutive numbers of one row. Down: W words, each from the same column of PER consecutive rows.
template <Kind K>
struct Words;

template <>
struct Words<F32> {
  static constexpr size_t PER = 1;
  static I along(const F* x) { return asInt(x[0]); }
  static I down(const F* x) { return asInt(x[0]); }
};

#if defined(__AVX512BF16__)
template <>
struct Words<BF16> {
  static constexpr size_t PER = 2;
  static I pair(F low, F high) { return (I)_mm512_cvtne2ps_pbh(high, low); }
  static I along(const F* x) { return pair(x[0], x[1]); }
  static I down(const F* x) {
    // Both rows narrowed into one register, then their numbers in turn.
    const I turns = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(turns, pair(x[0], x[1]));
  }
  /** The same from numbers that are bf16 already. */
  static I down(const uint16_t* first, const uint16_t* second) {
    I low = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(first)));
    I high = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(second)));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
  }
};
template <>
struct Words<I8> {
  static constexpr size_t PER = 4;
  static I along(const F* x) {
    __m128i a = _mm512_cvtepi32_epi8(toInt(x[0])), b = _mm512_cvtepi32_epi8(toInt(x[1]));
    __m128i c = _mm512_cvtepi32_epi8(toInt(x[2])), d = _mm512_cvtepi32_epi8(toInt(x[3]));
    __m512i y = _mm512_inserti32x4(_mm512_castsi128_si512(a), b, 1);
    return _mm512_inserti32x4(_mm512_inserti32x4(y, c, 2), d, 3);
  }
};
constexpr int32_t ROW_OFFSET = 128;
inline I addOffset(I words) { return _mm512_xor_si512(words, seti(static_cast<int32_t>(0x80808080u))); }
#else
template <>
struct Words<BF16> {
  static constexpr size_t PER = 1;
  static I along(const F* x) { return asInt(roundBf16(x[0])); }
  static I down(const F* x) { return asInt(roundBf16(x[0])); }
};
template <>
struct Words<I8> {
  static constexpr size_t PER = 2;
  static I along(const F* x) {
    float numbers[2 * W];
    int16_t pairs[2 * W];
    store(numbers, x[0]);
    store(numbers + W, x[1]);
    for (int i = 0; i < 2 * W; i++) pairs[i] = static_cast<int16_t>(numbers[i]);
    return loadi(pairs);
  }
};
constexpr int32_t ROW_OFFSET = 0;
inline I addOffset(I words) { return words; }
#endif

/** Turns a W x W square of words around its diagonal. */
inline void transpose(I* v) {
#if defined(__AVX512F__)
  I t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_i32x4(v[i], v[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(v[i], v[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0xdd);
  }
  for (int i = 0; i < 4; i++) {
    v[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    v[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    v[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    v[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
#else
  int32_t from[W][W], to[W][W];
  std::memcpy(from, v, sizeof from);
  for (int i = 0; i < W; i++)
    for (int j = 0; j < W; j++) to[j][i] = from[i][j];
  std::memcpy(v, to, sizeof to);
#endif
}

template <Kind K>
void packRows(const Source& s, size_t row0, size_t rows, const Rounder& r, uint32_t* out, size_t stride) {
  constexpr size_t PER = Words<K>::PER;
  const size_t whole = s.columns / (PER * W) * W, words = divideUp(s.columns, PER * W) * W;
  withLines(s, r, [&](auto lineOf) {
    for (size_t i = 0; i < rows; i++) {
      const auto line = lineOf(row0 + i);
      uint32_t* to = out + i * stride;
      F x[PER];
      for (size_t word = 0; word < whole; word += W) {
        for (size_t j = 0; j < PER; j++) x[j] = line(word * PER + j * W, W);
        I made = Words<K>::along(x);
        storei(to + word, r.offset ? addOffset(made) : made);
      }
      if (whole < words) {
        for (size_t j = 0; j < PER; j++) x[j] = lanesOf(line, whole * PER + j * W, s.columns);
        I made = Words<K>::along(x);
        storei(to + whole, r.offset ? addOffset(made) : made);
      }
      if (words < stride) std::memset(to + words, 0, (stride - words) * 4);
    }
  });
}

template <Kind K>
void packColumns(const Source& s, size_t row0, size_t rows, size_t column0, size_t columns, const Rounder& r, uint32_t* out, size_t stride) {
  constexpr size_t PER = Words<K>::PER;
  withLines(s, r, [&](auto lineOf) {
    for (size_t c = 0; c < columns; c += W)
      for (size_t word = 0; word < stride; word += W) {
        I square[W];
        for (size_t w = 0; w < W; w++) {
          F x[PER];
          for (size_t j = 0; j < PER; j++) {
            const size_t row = (word + w) * PER + j;
            x[j] = row < rows ? lanesOf(lineOf(row0 + row), column0 + c, column0 + columns) : set(0.0f);
          }
          square[w] = Words<K>::down(x);
        }
        transpose(square);
        for (size_t i = 0; i < W && c + i < columns; i++) storei(out + (c + i) * stride + word, square[i]);
      }
  });
}

template <Kind K>
void packPanelsDown(const Source& s, size_t row0, size_t rows, const Rounder& r, uint32_t* out, size_t panelStride, size_t stepStart, size_t steps) {
  constexpr size_t PER = Words<K>::PER;
  const size_t whole = rows / PER < steps ? rows / PER : steps;
#if defined(__AVX512BF16__)
  const bool halves = K == BF16 && s.bf16 && !r.scales && !r.columnFactors && !r.rowFactors && !r.toBf16;
#endif
  withLines(s, r, [&](auto lineOf) {
    for (size_t column = 0; column < s.columns; column += PANEL) {
      const size_t here = s.columns - column < PANEL ? s.columns - column : PANEL, width = roundUp(here, 16), full = here / W * W;
      uint32_t* to = out + column / PANEL * panelStride + stepStart * width;
      for (size_t step = 0; step < whole; step++, to += width) {
#if defined(__AVX512BF16__)
        if (halves && full == width) {
          const uint16_t* x = static_cast<const uint16_t*>(s.data) + (row0 + step * PER) * s.stride + column;
          for (size_t c = 0; c < width; c += W) storei(to + c, Words<BF16>::down(x + c, x + s.stride + c));
          continue;
        }
#endif
        F x[PER];
        const auto first = lineOf(row0 + step * PER), last = lineOf(row0 + step * PER + PER - 1);
        for (size_t c = 0; c < full; c += W) {
          x[0] = first(column + c, W);
          if constexpr (PER == 2) x[1] = last(column + c, W);
          storei(to + c, Words<K>::down(x));
        }
        for (size_t c = full; c < width; c += W) {
          x[0] = lanesOf(first, column + c, s.columns);
          if constexpr (PER == 2) x[1] = lanesOf(last, column + c, s.columns);
          storei(to + c, Words<K>::down(x));
        }
      }
      size_t filled = whole;
      if (filled * PER < rows && filled < steps) {  // a row without its partner
        const auto line = lineOf(row0 + filled * PER);
        for (size_t c = 0; c < width; c += W) {
          F x[2] = {lanesOf(line, column + c, s.columns), set(0.0f)};
          storei(to + c, Words<K>::down(x));
        }
        filled++;
        to += width;
      }
      if (filled < steps) std::memset(to, 0, (steps - filled) * width * 4);
    }
  });
}

template <Kind K>
void packPanelAcross(const Source& s, size_t row0, size_t rows, const Rounder& r, uint32_t* out, size_t steps, int32_t* sums) {
  constexpr size_t PER = Words<K>::PER;
  const size_t width = roundUp(rows, 16);
  withLines(s, r, [&](auto lineOf) {
    for (size_t c = 0; c < width; c += W) {
      double total[W] = {};
      for (size_t word = 0; word < steps; word += W) {
        I square[W];
        const size_t column = word * PER;
        for (size_t i = 0; i < W; i++) {
          if (c + i >= rows || column >= s.columns) {
            square[i] = seti(0);
            continue;
          }
          const auto line = lineOf(row0 + c + i);
          F x[PER];
          if (column + PER * W <= s.columns)
            for (size_t j = 0; j < PER; j++) x[j] = line(column + j * W, W);
          else
            for (size_t j = 0; j < PER; j++) x[j] = lanesOf(line, column + j * W, s.columns);
          square[i] = Words<K>::along(x);
          if (sums) {
            F all = x[0];
            for (size_t j = 1; j < PER; j++) all = all + x[j];
            total[i] += static_cast<double>(sum(all));
          }
        }
        transpose(square);
        for (size_t i = 0; i < W; i++) storei(out + (word + i) * width + c, square[i]);
      }
      if (sums)
        for (size_t i = 0; i < W; i++) sums[c + i] = -ROW_OFFSET * static_cast<int32_t>(total[i]);
    }
  });
}

inline void rowMax(const Source& s, size_t row0, size_t rows, float* out) {
  for (size_t i = 0; i < rows; i++) {
    size_t base = (row0 + i) * s.stride;
    F most[4] = {set(0.0f), set(0.0f), set(0.0f), set(0.0f)};
    F bad = set(0.0f);  // not a number as soon as one is not finite
    size_t at = 0;
    for (; at + 4 * W <= s.columns; at += 4 * W)
      for (size_t v = 0; v < 4; v++) {
        F x = read(s, base + at + v * W, W);
        most[v] = max(abs(x), most[v]);
        bad = fma(x, set(0.0f), bad);
      }
    for (; at < s.columns; at += W) {
      F x = read(s, base + at, s.columns - at < W ? static_cast<int>(s.columns - at) : W);
      most[0] = max(abs(x), most[0]);
      bad = fma(x, set(0.0f), bad);
    }
    float lost = sum(bad);
    out[i] = lost == lost ? maxOf(max(max(most[0], most[1]), max(most[2], most[3]))) : lost;
  }
}

inline void roundCodes(const Source& s, size_t row, float scale, float codeMax, float* out) {
  Coder code(scale, codeMax);
  F factor = set(scale);
  each(s.columns, [&](size_t i, int lanes) { put(out + i, code(read(s, row * s.stride + i, lanes)) * factor, lanes); });
}

inline void roundToBf16(const float* x, size_t n, float* out) {
  each(n, [&](size_t i, int lanes) { put(out + i, roundBf16(get(x + i, lanes)), lanes); });
}

inline void addUnclipped(const Source& s, size_t row, size_t column0, size_t columns, float scale, float codeMax, const float* from, float* to, bool accumulate) {
  Coder code(scale, 16384.0f * 8192);
  each(columns, [&](size_t i, int lanes) {
    F inside = select(lessEqual(abs(code(read(s, row * s.stride + column0 + i, lanes))), set(codeMax)), get(from + i, lanes), set(0.0f));
    put(to + i, accumulate ? inside + get(to + i, lanes) : inside, lanes);
  });
}

// The table's functions choose the kind.
inline void packRowsOf(Kind k, const Source& s, size_t row0, size_t rows, const Rounder& r, uint32_t* out, size_t stride) {
  (k == BF16 ? packRows<BF16> : k == I8 ? packRows<I8> : packRows<F32>)(s, row0, rows, r, out, stride);
}
inline void packColumnsOf(Kind k, const Source& s, size_t row0, size_t rows, size_t column0, size_t columns, const Rounder& r, uint32_t* out, size_t stride) {
  (k == BF16 ? packColumns<BF16> : packColumns<F32>)(s, row0, rows, column0, columns, r, out, stride);
}
inline void packPanelsDownOf(Kind k, const Source& s, size_t row0, size_t rows, const Rounder& r, uint32_t* out, size_t panelStride, size_t stepStart, size_t steps) {
  (k == BF16 ? packPanelsDown<BF16> : packPanelsDown<F32>)(s, row0, rows, r, out, panelStride, stepStart, steps);
}
inline void packPanelAcrossOf(Kind k, const Source& s, size_t row0, size_t rows, const Rounder& r, uint32_t* out, size_t steps, int32_t* sums) {
  (k == BF16 ? packPanelAcross<BF16> : k == I8 ? packPanelAcross<I8> : packPanelAcross<F32>)(s, row0, rows, r, out, steps, sums);
}

}  // namespace
}  // namespace bitlaw::PATH
