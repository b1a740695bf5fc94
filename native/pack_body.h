// Packs operands of products: rounds the caller's numbers (to integer codes or bf16), and lays them out as ops.h says.
// First a piece of each source row is rounded into floats in the first cache, then words are built from those.
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

/** Whether numbers are packed as they are (but for the kind's own rounding). */
inline bool isPlain(const Rounder& r) { return !r.scales && !r.columnFactors && !r.rowFactors && !r.toBf16; }

/** Numbers column0… of one row, rounded as `r` says, in `room` with zeros up to `padded`; or where they are, if that is the same. */
inline const float* readRow(const Source& s, size_t row, size_t column0, size_t columns, size_t padded, const Rounder& r, float* room) {
  size_t base = row * s.stride + column0;
  const bool plain = isPlain(r);
  if (plain && !s.bf16 && columns == padded) return static_cast<const float*>(s.data) + base;
  if (r.scales && !r.columnFactors && !r.rowFactors && !r.values && !s.bf16) {
    Coder code(r.scales[r.perRow ? row : 0], r.codeMax);
    const float* x = static_cast<const float*>(s.data) + base;
    each(columns, [&](size_t i, int lanes) { put(room + i, code(get(x + i, lanes)), lanes); });
  } else if (plain) {
    each(columns, [&](size_t i, int lanes) { put(room + i, read(s, base + i, lanes), lanes); });
  } else if (!r.scales && !r.columnFactors && !r.toBf16 && !s.bf16) {
    const float* x = static_cast<const float*>(s.data) + base;
    F factor = set(r.rowFactors[row]);
    each(columns, [&](size_t i, int lanes) { put(room + i, get(x + i, lanes) * factor, lanes); });
  } else if (!r.scales && !r.rowFactors && !r.toBf16 && !s.bf16) {
    const float* x = static_cast<const float*>(s.data) + base;
    const float* factors = r.columnFactors + column0;
    each(columns, [&](size_t i, int lanes) { put(room + i, get(x + i, lanes) * get(factors + i, lanes), lanes); });
  } else {
    float scale = r.scales ? r.scales[r.perRow ? row : 0] : 1;
    Coder code(scale, r.codeMax);
    F factor = set(r.rowFactors ? r.rowFactors[row] : 1);
    each(columns, [&](size_t i, int lanes) {
      F x = read(s, base + i, lanes);
      if (r.scales) x = code(x);
      if (r.values) x = x * set(scale);
      if (r.rowFactors) x = x * factor;
      if (r.columnFactors) x = x * get(r.columnFactors + column0 + i, lanes);
      if (r.toBf16) x = roundBf16(x);
      put(room + i, x, lanes);
    });
  }
  if (padded > columns) std::memset(room + columns, 0, (padded - columns) * 4);
  return room;
}

// Words. Along: W words from consecutive numbers of one row. Down: W words, each from the same column of consecutive rows.
template <Kind K>
struct Words;

template <>
struct Words<F32> {
  static constexpr size_t PER = 1;
  static I along(const float* p) { return loadi(p); }
  static I down(const float* const* rows, size_t at) { return loadi(rows[0] + at); }
};

#if defined(__AVX512BF16__)
template <>
struct Words<BF16> {
  static constexpr size_t PER = 2;
  static I pair(F low, F high) { return (I)_mm512_cvtne2ps_pbh(high, low); }
  static I along(const float* p) { return pair(load(p), load(p + W)); }
  static I down(const float* const* rows, size_t at) {
    // Both rows narrowed into one register, then their numbers in turn.
    const I turns = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(turns, pair(load(rows[0] + at), load(rows[1] + at)));
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
  static I along(const float* p) {
    __m128i a = _mm512_cvtepi32_epi8(toInt(load(p))), b = _mm512_cvtepi32_epi8(toInt(load(p + 16)));
    __m128i c = _mm512_cvtepi32_epi8(toInt(load(p + 32))), d = _mm512_cvtepi32_epi8(toInt(load(p + 48)));
    __m512i x = _mm512_inserti32x4(_mm512_castsi128_si512(a), b, 1);
    return _mm512_inserti32x4(_mm512_inserti32x4(x, c, 2), d, 3);
  }
};
constexpr int32_t ROW_OFFSET = 128;
inline I addOffset(I words) { return _mm512_xor_si512(words, seti(static_cast<int32_t>(0x80808080u))); }
#else
template <>
struct Words<BF16> {
  static constexpr size_t PER = 1;
  static I along(const float* p) { return asInt(roundBf16(load(p))); }
  static I down(const float* const* rows, size_t at) { return asInt(roundBf16(load(rows[0] + at))); }
};
template <>
struct Words<I8> {
  static constexpr size_t PER = 2;
  static I along(const float* p) {
    int16_t pairs[2 * W];
    for (int i = 0; i < 2 * W; i++) pairs[i] = static_cast<int16_t>(p[i]);
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

constexpr size_t PIECE = 256;  // numbers of a row that are rounded at a time

template <Kind K>
void packRows(const Source& s, size_t row0, size_t rows, const Rounder& r, uint32_t* out, size_t stride) {
  constexpr size_t PER = Words<K>::PER;
  alignas(64) float room[PIECE];
  for (size_t i = 0; i < rows; i++) {
    uint32_t* to = out + i * stride;
    size_t word = 0;
    for (size_t column = 0; column < s.columns; column += PIECE) {
      size_t columns = s.columns - column < PIECE ? s.columns - column : PIECE;
      size_t padded = roundUp(columns, PER * W);
      const float* p = readRow(s, row0 + i, column, columns, padded, r, room);
      for (size_t at = 0; at < padded; at += PER * W, word += W) {
        I words = Words<K>::along(p + at);
        storei(to + word, r.offset ? addOffset(words) : words);
      }
    }
    if (word < stride) std::memset(to + word, 0, (stride - word) * 4);
  }
}

/** Words down the source rows row0 + step * PER …; a row past the end is zeros. */
template <Kind K>
inline void rowsOf(const Source& s, size_t row, size_t end, size_t column, size_t columns, size_t padded, const Rounder& r,
                   float (*room)[PANEL], const float** p) {
  if (columns == padded && row + Words<K>::PER <= end && !s.bf16 && isPlain(r)) {
    for (size_t i = 0; i < Words<K>::PER; i++) p[i] = static_cast<const float*>(s.data) + (row + i) * s.stride + column;
    return;
  }
  for (size_t i = 0; i < Words<K>::PER; i++) {
    if (row + i < end) p[i] = readRow(s, row + i, column, columns, padded, r, room[i]);
    else {
      std::memset(room[i], 0, padded * 4);
      p[i] = room[i];
    }
  }
}

template <Kind K>
void packColumns(const Source& s, size_t row0, size_t rows, size_t column0, size_t columns, const Rounder& r, uint32_t* out, size_t stride) {
  constexpr size_t PER = Words<K>::PER;
  alignas(64) float room[PER * W][PANEL];
  const float* p[PER * W];
  for (size_t column = 0; column < columns; column += PANEL) {
    size_t here = columns - column < PANEL ? columns - column : PANEL;
    size_t padded = roundUp(here, W);
    for (size_t word = 0; word < stride; word += W) {
      for (size_t w = 0; w < W; w++)
        rowsOf<K>(s, row0 + (word + w) * PER, row0 + rows, column0 + column, here, padded, r, room + w * PER, p + w * PER);
      for (size_t c = 0; c < padded; c += W) {
        I square[W];
        for (size_t w = 0; w < W; w++) square[w] = Words<K>::down(p + w * PER, c);
        transpose(square);
        for (size_t i = 0; i < W && c + i < here; i++) storei(out + (column + c + i) * stride + word, square[i]);
      }
    }
  }
}

template <Kind K>
void packPanelsDown(const Source& s, size_t row0, size_t rows, const Rounder& r, uint32_t* out, size_t panelStride, size_t stepStart, size_t steps) {
  constexpr size_t PER = Words<K>::PER;
  alignas(64) float room[PER][PANEL];
  const float* p[PER];
  for (size_t step = 0; step < steps; step++)
    for (size_t column = 0; column < s.columns; column += PANEL) {
      size_t here = s.columns - column < PANEL ? s.columns - column : PANEL;
      size_t width = roundUp(here, 16);
      uint32_t* to = out + column / PANEL * panelStride + (stepStart + step) * width;
#if defined(__AVX512BF16__)
      if (K == BF16 && s.bf16 && here == width && step * PER + PER <= rows && isPlain(r)) {
        const uint16_t* x = static_cast<const uint16_t*>(s.data) + (row0 + step * PER) * s.stride + column;
        for (size_t c = 0; c < width; c += W) storei(to + c, Words<BF16>::down(x + c, x + s.stride + c));
        continue;
      }
#endif
      rowsOf<K>(s, row0 + step * PER, row0 + rows, column, here, width, r, room, p);
      for (size_t c = 0; c < width; c += W) storei(to + c, Words<K>::down(p, c));
    }
}

template <Kind K>
void packPanelAcross(const Source& s, size_t row0, size_t rows, const Rounder& r, uint32_t* out, size_t steps, int32_t* sums) {
  constexpr size_t PER = Words<K>::PER;
  constexpr size_t SPAN = PER * W;  // numbers that fill one vector of words
  alignas(64) float room[W][SPAN];
  size_t width = roundUp(rows, 16);
  for (size_t c = 0; c < width; c += W) {
    double total[W] = {};
    for (size_t word = 0; word < steps; word += W) {
      I square[W];
      size_t column = word * PER;
      size_t columns = column >= s.columns ? 0 : s.columns - column < SPAN ? s.columns - column : SPAN;
      for (size_t i = 0; i < W; i++) {
        if (c + i >= rows || columns == 0) {
          square[i] = seti(0);
          continue;
        }
        const float* p = readRow(s, row0 + c + i, column, columns, SPAN, r, room[i]);
        square[i] = Words<K>::along(p);
        if (sums) {
          F sum4 = set(0.0f);
          for (size_t at = 0; at < SPAN; at += W) sum4 = sum4 + load(p + at);
          total[i] += static_cast<double>(sum(sum4));
        }
      }
      transpose(square);
      for (size_t i = 0; i < W; i++) storei(out + (word + i) * width + c, square[i]);
    }
    if (sums)
      for (size_t i = 0; i < W; i++) sums[c + i] = -ROW_OFFSET * static_cast<int32_t>(total[i]);
  }
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
