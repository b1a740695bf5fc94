// The bytes of ggml's block types, compiled once for each instruction path: layouts and arithmetic of src/formats/ggml-*.ts.
#pragma once
#include "ggml_body.h"

namespace bitlaw::PATH {
namespace {

/** Writes a number as fp16; a finite one beyond the range saturates. */
inline void writeHalf(uint8_t* bytes, double x) {
  const float value = static_cast<float>(x);
  const uint16_t half = x != x ? 0x7e00 : static_cast<uint16_t>(halfBits(std::fabs(value)) | (std::signbit(value) ? 0x8000 : 0));
  std::memcpy(bytes, &half, 2);
}
inline double readHalf(const uint8_t* bytes) {
  uint16_t half;
  std::memcpy(&half, bytes, 2);
  return halfValue(half);
}

/** Codes of 32 values: value i in the low half of byte i, value i + 16 in the high half. */
inline void packNibbles(const uint8_t* codes, uint8_t* bytes) {
  for (int i = 0; i < 16; i++) bytes[i] = static_cast<uint8_t>((codes[i] & 15) | (codes[i + 16] << 4));
}
inline void packFifths(const uint8_t* codes, uint8_t* bytes) {
  uint32_t bits = 0;
  for (int i = 0; i < 32; i++) bits |= static_cast<uint32_t>(codes[i] >> 4) << i;
  std::memcpy(bytes, &bits, 4);
}
inline void unpackNibbles(const uint8_t* bytes, const uint8_t* fifths, int32_t* codes) {
  for (int i = 0; i < 16; i++) codes[i] = bytes[i] & 15, codes[i + 16] = bytes[i] >> 4;
  if (!fifths) return;
  uint32_t bits;
  std::memcpy(&bits, fifths, 4);
  for (int i = 0; i < 32; i++) codes[i] |= static_cast<int32_t>((bits >> i) & 1) << 4;
}

/** q4_0, q5_0: value = d * (code - half), the extreme value at code 0. */
inline void encodeSymmetric(const float* x, int bits, uint8_t* bytes) {
  const float half = static_cast<float>(1 << (bits - 1)), most = absmaxOf(x, 32);
  float extreme = most;
  for (int i = 31; i >= 0; i--)
    if (std::fabs(x[i]) == most) extreme = x[i];
  const float d = extreme / -half, inverse = d == 0 || d != d ? 0 : 1.0f / d;
  uint8_t codes[32] = {};
  if (inverse == 0) std::memset(codes, static_cast<int>(half), 32);
  else if (std::fabs(inverse) <= 3.4028235e38f)
    for (int i = 0; i < 32; i++) {
      const int code = static_cast<int>(static_cast<float>(static_cast<double>(x[i] * inverse) + half + 0.5));
      codes[i] = static_cast<uint8_t>(code < 2 * half - 1 ? code : static_cast<int>(2 * half - 1));
    }
  writeHalf(bytes, d);
  if (bits == 5) packFifths(codes, bytes + 2);
  packNibbles(codes, bytes + (bits == 5 ? 6 : 2));
}

/** q4_1, q5_1: value = d * code + m. */
inline void encodeAsymmetric(const float* x, int bits, uint8_t* bytes) {
  const float top = static_cast<float>((1 << bits) - 1);
  float min = __builtin_inff(), max = -min;
  for (int i = 0; i < 32; i++) {
    min = x[i] < min ? x[i] : min;
    max = x[i] > max ? x[i] : max;
  }
  const float size = absmaxOf(x, 32);
  const bool broken = size != size;
  const float d = broken ? size : (max - min) / top, inverse = d == 0 || d != d ? 0 : 1.0f / d;
  uint8_t codes[32] = {};
  if (inverse != 0 && inverse <= 3.4028235e38f)
    for (int i = 0; i < 32; i++) {
      const int code = static_cast<int>((x[i] - min) * inverse + 0.5f);
      codes[i] = static_cast<uint8_t>(code < static_cast<int>(top) ? code : static_cast<int>(top));
    }
  writeHalf(bytes, d);
  writeHalf(bytes + 2, broken ? size : min + 0.0f);
  if (bits == 5) packFifths(codes, bytes + 4);
  packNibbles(codes, bytes + (bits == 5 ? 8 : 4));
}

/** Codes of 256 values in byte rows of 32, the order of q2_k, q3_k, q4_k and q5_k; `bytes` are 0. */
inline void packRows(const uint8_t* codes, int bits, uint8_t* bytes) {
  const int per = 8 / bits, mask = (1 << bits) - 1;
  for (int i = 0; i < 256; i++) bytes[i / (32 * per) * 32 + i % 32] |= static_cast<uint8_t>((codes[i] & mask) << (i / 32 % per * bits));
}
inline void unpackRows(const uint8_t* bytes, int bits, int32_t* codes) {
  const int per = 8 / bits, mask = (1 << bits) - 1;
  for (int row = 0; row < 8; row++)
    for (int i = 0; i < 32; i++) codes[32 * row + i] = (bytes[row / per * 32 + i] >> (row % per * bits)) & mask;
}

/** Eight 6-bit scales and eight 6-bit minima in 12 bytes (q4_k, q5_k). */
inline void packSixes(const int* scales, const int* mins, uint8_t* bytes) {
  for (int j = 0; j < 4; j++) {
    bytes[j] = static_cast<uint8_t>(scales[j] | ((scales[j + 4] >> 4) << 6));
    bytes[j + 4] = static_cast<uint8_t>(mins[j] | ((mins[j + 4] >> 4) << 6));
    bytes[j + 8] = static_cast<uint8_t>((scales[j + 4] & 15) | ((mins[j + 4] & 15) << 4));
  }
}
inline int sixScale(const uint8_t* bytes, int j) { return j < 4 ? bytes[j] & 63 : (bytes[j + 4] & 15) | ((bytes[j - 4] >> 6) << 4); }
inline int sixMin(const uint8_t* bytes, int j) { return j < 4 ? bytes[j + 4] & 63 : (bytes[j + 4] >> 4) | ((bytes[j] >> 6) << 4); }

const double IQ4_TABLE[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/** A fitted super-block with its codes in order, and integers as integers. */
struct Block {
  double d, dmin;
  int scales[16], mins[16];
  uint8_t codes[256];
};

inline void loadLanes(const float* x, const double* weights, int n, Lanes& lanes) {
  lanes.n = n;
  lanes.groups = 256 / n / SUBS;
  for (int g = 0; g < lanes.groups; g++)
    for (int i = 0; i < n; i++)
      for (int l = 0; l < SUBS; l++) {
        const int at = (g * SUBS + l) * n + i;
        lanes.v[g * n + i][l] = x[at];
        lanes.w[g * n + i][l] = weights ? weights[at] : 1;
      }
}
inline void storeLanes(const Lanes& lanes, const Fitted& fitted, bool minima, Block& block) {
  block.d = fitted.d;
  block.dmin = minima ? fitted.dmin : 0;
  for (int b = 0; b < lanes.groups * SUBS; b++) {
    block.scales[b] = static_cast<int>(fitted.scales[b / SUBS][b % SUBS]);
    block.mins[b] = minima ? static_cast<int>(fitted.mins[b / SUBS][b % SUBS]) : 0;
    for (int i = 0; i < lanes.n; i++) block.codes[b * lanes.n + i] = static_cast<uint8_t>(fitted.codes[b / SUBS * lanes.n + i][b % SUBS]);
  }
}
inline Block fitBlock(const float* x, const double* weights, int n, double top, double limit) {
  Lanes lanes;
  Fitted fitted;
  Block block;
  loadLanes(x, weights, n, lanes);
  fitMinima(lanes, top, limit, fitted);
  storeLanes(lanes, fitted, true, block);
  return block;
}
inline Block fitBlock(const float* x, const double* weights, int n, const Ladder& ladder, double low, double high) {
  Lanes lanes;
  Fitted fitted;
  Block block;
  loadLanes(x, weights, n, lanes);
  fitScales(lanes, ladder, low, high, fitted);
  storeLanes(lanes, fitted, false, block);
  return block;
}

/** Where q6_k keeps value i: byte and shift of its low 4 bits and of its high 2. */
struct SixBits {
  int low, shift, high, place;
};
inline SixBits sixAt(int i) {
  const int half = i >> 7, row = (i >> 5) & 3, column = i & 31;
  return {64 * half + 32 * (row & 1) + column, 4 * (row >> 1), 128 + 32 * half + column, 2 * row};
}

/** Runs of tq1_0's packed bytes: first byte, first value, bytes, trits a byte. */
const int TRIT_RUNS[3][4] = {{0, 0, 32, 5}, {32, 160, 16, 5}, {48, 240, 4, 4}};

/** Ternary codes 0, 1, 2 by the absmax, ties away from zero. */
inline void tritsOf(const float* x, float d, uint8_t* trits) {
  const float inverse = d > 0 ? 1.0f / d : 0;
  const bool beyond = inverse > 3.4028235e38f;
  for (int i = 0; i < 256; i++) {
    const float step = x[i] * inverse;
    trits[i] = beyond ? 0 : static_cast<uint8_t>(static_cast<int>(static_cast<double>(step) + (step < 0 ? -0.5 : 0.5)) + 1);
  }
}

/** Encodes one block of 256 values; `bytes` are 0. Types as GgmlKind counts them. */
inline void encodeBlock(GgmlKind kind, const float* x, const double* weights, uint8_t* b) {
  const float size = absmaxOf(x, 256);
  const bool broken = size != size;
  const double nan = __builtin_nan("");
  switch (kind) {
    case GgmlKind::q2_k: {
      if (broken) return writeHalf(b + 80, nan);
      const Block f = fitBlock(x, weights, 16, 3, 15);
      for (int j = 0; j < 16; j++) b[j] = static_cast<uint8_t>(f.scales[j] | (f.mins[j] << 4));
      packRows(f.codes, 2, b + 16);
      writeHalf(b + 80, f.d);
      return writeHalf(b + 82, f.dmin);
    }
    case GgmlKind::q3_k: {
      if (broken) return writeHalf(b + 108, nan);
      const Block f = fitBlock(x, weights, 16, Ladder{-4, 7, nullptr}, -32, 31);
      for (int i = 0; i < 256; i++) b[i % 32] |= static_cast<uint8_t>((f.codes[i] >> 2) << (i / 32));
      packRows(f.codes, 2, b + 32);
      for (int j = 0; j < 16; j++) {
        const int scale = f.scales[j] + 32;
        b[96 + j % 8] |= static_cast<uint8_t>(j < 8 ? scale & 15 : (scale & 15) << 4);
        b[104 + j % 4] |= static_cast<uint8_t>((scale >> 4) << (2 * (j / 4)));
      }
      return writeHalf(b + 108, f.d);
    }
    case GgmlKind::q4_k:
    case GgmlKind::q5_k: {
      if (broken) return writeHalf(b, nan);
      const bool five = kind == GgmlKind::q5_k;
      const Block f = fitBlock(x, weights, 32, five ? 31 : 15, 63);
      writeHalf(b, f.d);
      writeHalf(b + 2, f.dmin);
      packSixes(f.scales, f.mins, b + 4);
      if (five)
        for (int i = 0; i < 256; i++) b[16 + i % 32] |= static_cast<uint8_t>((f.codes[i] >> 4) << (i / 32));
      return packRows(f.codes, 4, b + (five ? 48 : 16));
    }
    case GgmlKind::q6_k: {
      if (broken) return writeHalf(b + 208, nan);
      const Block f = fitBlock(x, weights, 16, Ladder{-32, 63, nullptr}, -128, 127);
      for (int i = 0; i < 256; i++) {
        const SixBits at = sixAt(i);
        b[at.low] |= static_cast<uint8_t>((f.codes[i] & 15) << at.shift);
        b[at.high] |= static_cast<uint8_t>((f.codes[i] >> 4) << at.place);
      }
      for (int j = 0; j < 16; j++) b[192 + j] = static_cast<uint8_t>(f.scales[j]);
      return writeHalf(b + 208, f.d);
    }
    case GgmlKind::iq4_xs: {
      if (broken) return writeHalf(b, nan);
      const Block f = fitBlock(x, weights, 32, Ladder{0, 15, IQ4_TABLE}, -32, 31);
      writeHalf(b, f.d);
      for (int j = 0; j < 8; j++) {
        const int scale = f.scales[j] + 32;
        b[2 + (j >> 2)] |= static_cast<uint8_t>((scale >> 4) << (2 * (j & 3)));
        b[4 + (j >> 1)] |= static_cast<uint8_t>((scale & 15) << (4 * (j & 1)));
        packNibbles(f.codes + 32 * j, b + 8 + 16 * j);
      }
      return;
    }
    case GgmlKind::tq1_0: {
      writeHalf(b + 52, broken ? nan : size);
      if (broken) return;
      uint8_t trits[256];
      tritsOf(x, size, trits);
      for (const auto& run : TRIT_RUNS)
        for (int j = 0; j < run[2]; j++) {
          int value = 0;
          for (int n = 0; n < run[3]; n++) value = 3 * value + trits[run[1] + j + n * run[2]];
          for (int n = run[3]; n < 5; n++) value *= 3;
          b[run[0] + j] = static_cast<uint8_t>((value * 256 + 242) / 243);
        }
      return;
    }
    case GgmlKind::tq2_0: {
      writeHalf(b + 64, broken ? nan : size);
      if (broken) return;
      uint8_t trits[256];
      tritsOf(x, size, trits);
      return packRows(trits, 2, b);
    }
    default: return;
  }
}

/** Encodes up to eight blocks of iq4_nl, one a lane. */
inline void encodeIq4Nl(const float* x, const double* weights, size_t blocks, uint8_t* bytes) {
  Lanes lanes{};
  lanes.n = 32;
  lanes.groups = 1;
  bool broken[SUBS] = {};
  for (size_t l = 0; l < blocks; l++) {
    const float size = absmaxOf(x + 32 * l, 32);
    broken[l] = size != size;
    for (size_t i = 0; i < 32; i++) {
      lanes.v[i][l] = broken[l] ? 0 : x[32 * l + i];
      lanes.w[i][l] = weights ? weights[32 * l + i] : 1;
    }
  }
  D d, codes[32];
  fitAlone(lanes, Ladder{0, 15, IQ4_TABLE}, d, codes);
  for (size_t l = 0; l < blocks; l++) {
    uint8_t* b = bytes + 18 * l;
    writeHalf(b, broken[l] ? __builtin_nan("") : d[l]);
    uint8_t block[32] = {};
    if (!broken[l])
      for (size_t i = 0; i < 32; i++) block[i] = static_cast<uint8_t>(codes[i][l]);
    packNibbles(block, b + 2);
  }
}

/** Encodes whole blocks; weights, one a value, or null. The small types take none but iq4_nl. */
void encodeGgml(GgmlKind kind, const float* x, const double* weights, size_t blocks, uint8_t* bytes) {
  const size_t size = ggmlBytes(kind);
  if (ggmlBlock(kind) == 256) {
    std::memset(bytes, 0, blocks * size);
    for (size_t b = 0; b < blocks; b++) encodeBlock(kind, x + 256 * b, weights ? weights + 256 * b : nullptr, bytes + size * b);
    return;
  }
  if (kind == GgmlKind::iq4_nl) {
    for (size_t b = 0; b < blocks; b += SUBS) encodeIq4Nl(x + 32 * b, weights ? weights + 32 * b : nullptr, blocks - b < SUBS ? blocks - b : SUBS, bytes + 18 * b);
    return;
  }
  const int bits = kind == GgmlKind::q4_0 || kind == GgmlKind::q4_1 ? 4 : 5;
  const bool symmetric = kind == GgmlKind::q4_0 || kind == GgmlKind::q5_0;
  for (size_t b = 0; b < blocks; b++) (symmetric ? encodeSymmetric : encodeAsymmetric)(x + 32 * b, bits, bytes + size * b);
}

/** out[i] = scale * code - min, in double, of n values. */
inline void valuesOf(const int32_t* codes, int n, double scale, double min, float* out) {
  for (int i = 0; i < n; i++) out[i] = static_cast<float>(scale * codes[i] - min);
}

inline void decodeBlock(GgmlKind kind, const uint8_t* b, float* out) {
  int32_t codes[256];
  switch (kind) {
    case GgmlKind::q4_0:
    case GgmlKind::q5_0: {
      const bool five = kind == GgmlKind::q5_0;
      const double d = readHalf(b);
      unpackNibbles(b + (five ? 6 : 2), five ? b + 2 : nullptr, codes);
      for (int i = 0; i < 32; i++) out[i] = static_cast<float>((codes[i] - (five ? 16 : 8)) * d);
      return;
    }
    case GgmlKind::q4_1:
    case GgmlKind::q5_1: {
      const bool five = kind == GgmlKind::q5_1;
      unpackNibbles(b + (five ? 8 : 4), five ? b + 4 : nullptr, codes);
      const double d = readHalf(b), m = readHalf(b + 2);
      for (int i = 0; i < 32; i++) out[i] = static_cast<float>(codes[i] * d + m);
      return;
    }
    case GgmlKind::q2_k: {
      const double d = readHalf(b + 80), dmin = readHalf(b + 82);
      unpackRows(b + 16, 2, codes);
      for (int j = 0; j < 16; j++) valuesOf(codes + 16 * j, 16, d * (b[j] & 15), dmin * (b[j] >> 4), out + 16 * j);
      return;
    }
    case GgmlKind::q3_k: {
      const double d = readHalf(b + 108);
      unpackRows(b + 32, 2, codes);
      for (int i = 0; i < 256; i++) codes[i] += 4 * ((b[i % 32] >> (i / 32)) & 1) - 4;
      for (int j = 0; j < 16; j++) {
        const int low = j < 8 ? b[96 + j] & 15 : b[88 + j] >> 4, high = (b[104 + j % 4] >> (2 * (j / 4))) & 3;
        const double scale = d * ((low | (high << 4)) - 32);
        for (int i = 16 * j; i < 16 * j + 16; i++) out[i] = static_cast<float>(scale * codes[i]);
      }
      return;
    }
    case GgmlKind::q4_k:
    case GgmlKind::q5_k: {
      const bool five = kind == GgmlKind::q5_k;
      const double d = readHalf(b), dmin = readHalf(b + 2);
      unpackRows(b + (five ? 48 : 16), 4, codes);
      if (five)
        for (int i = 0; i < 256; i++) codes[i] |= ((b[16 + i % 32] >> (i / 32)) & 1) << 4;
      for (int j = 0; j < 8; j++) valuesOf(codes + 32 * j, 32, d * sixScale(b + 4, j), dmin * sixMin(b + 4, j), out + 32 * j);
      return;
    }
    case GgmlKind::q6_k: {
      const double d = readHalf(b + 208);
      for (int row = 0; row < 8; row++) {
        const SixBits at = sixAt(32 * row);
        for (int i = 0; i < 32; i++)
          codes[32 * row + i] = (((b[at.low + i] >> at.shift) & 15) | (((b[at.high + i] >> at.place) & 3) << 4)) - 32;
      }
      for (int j = 0; j < 16; j++) {
        const double scale = d * static_cast<int8_t>(b[192 + j]);
        for (int i = 16 * j; i < 16 * j + 16; i++) out[i] = static_cast<float>(scale * codes[i]);
      }
      return;
    }
    case GgmlKind::iq4_nl: {
      const double d = readHalf(b);
      unpackNibbles(b + 2, nullptr, codes);
      for (int i = 0; i < 32; i++) out[i] = static_cast<float>(d * IQ4_TABLE[codes[i]]);
      return;
    }
    case GgmlKind::iq4_xs: {
      const double d = readHalf(b);
      for (int j = 0; j < 8; j++) {
        const int low = (b[4 + (j >> 1)] >> (4 * (j & 1))) & 15, high = (b[2 + (j >> 2)] >> (2 * (j & 3))) & 3;
        const double scale = d * ((low | (high << 4)) - 32);
        unpackNibbles(b + 8 + 16 * j, nullptr, codes);
        for (int i = 0; i < 32; i++) out[32 * j + i] = static_cast<float>(scale * IQ4_TABLE[codes[i]]);
      }
      return;
    }
    case GgmlKind::tq1_0: {
      const double d = readHalf(b + 52);
      for (const auto& run : TRIT_RUNS)
        for (int n = 0, power = 1; n < run[3]; n++, power *= 3)
          for (int j = 0; j < run[2]; j++)
            out[run[1] + n * run[2] + j] = static_cast<float>((((((b[run[0] + j] * power) & 255) * 3) >> 8) - 1) * d);
      return;
    }
    case GgmlKind::tq2_0: {
      const double d = readHalf(b + 64);
      unpackRows(b, 2, codes);
      for (int i = 0; i < 256; i++) out[i] = static_cast<float>((codes[i] - 1) * d);
      return;
    }
    default: return;
  }
}

void decodeGgml(GgmlKind kind, const uint8_t* bytes, size_t blocks, float* out) {
  const size_t block = ggmlBlock(kind), size = ggmlBytes(kind);
  for (size_t b = 0; b < blocks; b++) decodeBlock(kind, bytes + size * b, out + block * b);
}

}  // namespace
}  // namespace bitlaw::PATH
