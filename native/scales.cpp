// Scales of integer codes: the largest magnitude of a row or a tensor over the largest code, rounded as it is stored.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "linear.h"

namespace bitlaw {

static float toBf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  bits = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000u;
  std::memcpy(&x, &bits, 4);
  return x;
}

/** Nearest half-precision number (ties to even); beyond the largest: that. */
static float toFp16(float x) {
  if (!(x < 65504.0f)) return x == x ? 65504.0f : x;
  int exponent;
  std::frexp(x, &exponent);
  float unit = std::ldexp(1.0f, std::max(exponent - 11, -24));
  return std::nearbyint(x / unit) * unit;
}

/** The power of two at or above x, within 2^-127 and 2^127. */
static float toE8m0(float x) {
  int exponent;
  float mantissa = std::frexp(x, &exponent);
  if (mantissa == 0.5f) exponent--;
  return std::ldexp(1.0f, std::min(std::max(exponent, -127), 127));
}

float roundScale(float scale, ScaleKind kind) {
  if (!(std::abs(scale) < INFINITY)) return scale;
  if (kind == ScaleKind::fp16) return toFp16(scale);
  if (kind == ScaleKind::bf16) return toBf16(scale);
  if (kind == ScaleKind::e8m0) return scale <= 0x1p-127f ? 0x1p-127f : toE8m0(scale);
  return scale;
}

float scaleOf(float absmax, const CodeFormat& format) {
  return roundScale(static_cast<float>(static_cast<double>(absmax) * format.absmaxRatio) / format.largest(), format.scale);
}

void codeScales(Engine& engine, const Source& source, const CodeFormat& format, float* scales) {
  constexpr size_t CHUNK = 64;
  if (source.rows == 0) {
    if (!format.perRow) scales[0] = 0;
    return;
  }
  if (source.scales) {
    std::copy(source.scales, source.scales + (format.perRow ? source.rows : 1), scales);
    return;
  }
  float* most = format.perRow ? scales : engine.need<float>(Engine::ROWS, source.rows);
  engine.pool.run(divideUp(source.rows, CHUNK), false, [&](size_t task, int) {
    size_t row = task * CHUNK;
    size_t rows = std::min(CHUNK, source.rows - row);
    engine.ops->rowMax(source, row, rows, most + row);
    if (format.perRow)
      for (size_t i = row; i < row + rows; i++) scales[i] = scaleOf(scales[i], format);
  });
  if (format.perRow) return;
  float absmax = 0;
  for (size_t i = 0; i < source.rows; i++) absmax = most[i] > absmax || most[i] != most[i] ? most[i] : absmax;
  for (size_t i = 0; i < source.rows; i++) if (most[i] != most[i]) absmax = most[i];
  scales[0] = scaleOf(absmax, format);
}

void roundCodes(Engine& engine, const Source& x, const CodeFormat& format, float* out) {
  float* scales = engine.need<float>(Engine::SCALES, x.rows + 1);
  codeScales(engine, x, format, scales);
  const size_t rows = std::max<size_t>(1, 16384 / std::max<size_t>(x.columns, 1));
  engine.pool.run(divideUp(x.rows, rows), false, [&](size_t task, int) {
    for (size_t row = task * rows; row < std::min(x.rows, (task + 1) * rows); row++)
      engine.ops->roundCodes(x, row, scales[format.perRow ? row : 0], format.largest(), out + row * x.columns);
  });
}

}  // namespace bitlaw
