// Block quantization of whole arrays: cut into runs of whole blocks, one task each; and what JavaScript sees of it.
#include "quantize.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "boundary.h"

namespace bitlaw {

extern const QuantizeOps portableQuantize;
#if defined(BITLAW_HAS_AVX2)
extern const QuantizeOps avx2Quantize;
#endif
#if defined(BITLAW_HAS_AVX512BF16)
extern const QuantizeOps avx512bf16Quantize;
#endif

const QuantizeOps& quantizeOps(const std::string& path) {
#if defined(BITLAW_HAS_AVX512BF16)
  if (path == "amx" || path == "avx512bf16") return avx512bf16Quantize;
#endif
#if defined(BITLAW_HAS_AVX2)
  if (path != "portable") return avx2Quantize;
#endif
  return portableQuantize;
}

/** Values a task works on, about. */
static constexpr size_t TASK = 1 << 16;

/** Calls body(first value, values) for runs of whole blocks that cover n values. */
template <class Body>
static void overBlocks(Engine& engine, size_t n, size_t length, Body body) {
  const size_t step = std::max<size_t>(1, TASK / length) * length;
  engine.pool.run(divideUp(n, step), false, [&](size_t index, int) {
    size_t first = index * step;
    body(first, std::min(step, n - first));
  });
}

/** The index of a book, places of equal width in the logarithm: as few as leave one threshold in each; empty where none do. */
static std::vector<uint32_t> indexOf(const double* thresholds, int count, BlockFormat& format) {
  double least = 1;
  for (int j = 0; j < count - 1; j++)
    if (std::fabs(thresholds[j]) > 1e-11) least = std::min(least, std::fabs(thresholds[j]));
  const float below = static_cast<float>(least / 2), above = 2;
  uint32_t low, high;
  std::memcpy(&low, &below, 4);
  std::memcpy(&high, &above, 4);
  low &= 0xff800000u;
  // A value estimated in float may fall into the place next to its own: places are looked at a little wider than they are.
  const double slack = 1e-6;
  for (int shift = 18; shift >= 12; shift--) {
    const uint32_t places = ((high - low) >> shift) + 1;
    std::vector<uint32_t> index(2 * places);
    bool fits = true;
    for (uint32_t p = 0; p < 2 * places && fits; p++) {
      const uint32_t place = p % places, startBits = low + (place << shift), endBits = low + ((place + 1) << shift);
      float start, end;
      std::memcpy(&start, &startBits, 4);
      std::memcpy(&end, &endBits, 4);
      double from = place == 0 ? 0 : start * (1 - slack), to = place == places - 1 ? 1e300 : end * (1 + slack);
      if (p >= places) std::swap(from, to), from = -from, to = -to;
      const double* first = std::lower_bound(thresholds, thresholds + count - 1, from);
      const double* last = std::upper_bound(first, thresholds + count - 1, to);
      if (last - first > 1) fits = false;
      const float threshold = last > first ? static_cast<float>(*first) : 1e38f;
      uint32_t bits;
      std::memcpy(&bits, &threshold, 4);
      index[p] = (bits & 0xffffff00u) | static_cast<uint32_t>(first - thresholds);
    }
    if (!fits) continue;
    format.indexLow = low;
    format.indexHigh = high;
    format.indexShift = shift;
    return index;
  }
  return {};
}

/** Fewest values that an index is worth making for. */
static constexpr size_t INDEXED = 1 << 15;

struct Tables {
  std::vector<uint32_t> index;
  alignas(64) double padded[16];
};

/** A format as (rule, scale, length, top, levels, thresholds, zero, steps); book tables empty for other rules. */
static BlockFormat formatOf(Arguments& args, Tables& tables, size_t encoded) {
  BlockFormat format{};
  size_t rule = args.count("rule"), scale = args.count("scale");
  if (rule > 3) args.fail("rule", "0 to 3");
  if (scale > 4) args.fail("scale", "0 to 4");
  format.rule = static_cast<Rule>(rule);
  format.scale = static_cast<ScaleRule>(scale);
  format.length = args.count("length");
  if (format.length < 1) args.fail("length", "at least 1");
  size_t top = args.count("top");
  if (top < 1 || top > 255) args.fail("top", "1 to 255");
  format.top = static_cast<int>(top);
  size_t count = args.count("levels"), zero = args.count("zero"), steps = args.count("steps");
  if (format.rule == Rule::book && (count < 2 || count > 256 || zero >= count || steps > 127)) args.fail("levels", "2 to 256");
  format.count = static_cast<int>(count);
  format.zero = static_cast<int>(zero);
  format.steps = static_cast<int>(steps);
  format.levels = args.floats("levels", count);
  double* thresholds = args.doublesOrNull("thresholds", count > 0 ? count - 1 : 0);
  if (format.rule == Rule::book && !thresholds) args.fail("thresholds", "given");
  format.thresholds = thresholds;
  for (size_t j = 0; j < 16; j++) tables.padded[j] = thresholds && j + 1 < count ? thresholds[j] : HUGE_VAL;
  format.padded = tables.padded;
  if (encoded >= INDEXED && format.rule == Rule::book && count > 16 && steps == 0) {
    tables.index = indexOf(thresholds, format.count, format);
    format.index = tables.index.empty() ? nullptr : tables.index.data();
  }
  return format;
}

/** An array of bytes, or null where none is given. */
static uint8_t* bytesOrNull(Arguments& args, const char* name, size_t length) { return args.absent() ? nullptr : args.bytes(name, length); }

/** encodeBlocks(engine, n, format…, x, scales, zeros | null, codes | null) */
static void encodeBlocks(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t n = args.count("n");
  Tables tables;
  BlockFormat format = formatOf(args, tables, n);
  size_t blocks = divideUp(n, format.length);
  const float* x = args.floats("x", n);
  float* scales = args.floats("scales", blocks);
  uint8_t* zeros = bytesOrNull(args, "zeros", blocks);
  uint8_t* codes = bytesOrNull(args, "codes", n);
  const bool grid = format.rule == Rule::full || format.rule == Rule::uint, wanted = format.scale != ScaleRule::unrounded;
  if (wanted && (!codes || (grid && !zeros))) args.fail("codes and zeros", "given");
  const QuantizeOps& ops = quantizeOps(engine.ops->name);
  overBlocks(engine, n, format.length, [&](size_t first, size_t count) {
    size_t block = first / format.length;
    ops.encode(format, x + first, count, scales + block, zeros ? zeros + block : nullptr, codes ? codes + first : nullptr);
  });
}

/** decodeBlocks(engine, n, format…, codes, scales, zeros | null, out) */
static void decodeBlocks(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t n = args.count("n");
  Tables tables;
  BlockFormat format = formatOf(args, tables, 0);
  size_t blocks = divideUp(n, format.length);
  const uint8_t* codes = args.bytes("codes", n);
  const float* scales = args.floats("scales", blocks);
  const uint8_t* zeros = bytesOrNull(args, "zeros", blocks);
  float* out = args.floats("out", n);
  if ((format.rule == Rule::full || format.rule == Rule::uint) && !zeros) args.fail("zeros", "given");
  if (format.rule == Rule::book) {
    // Codes from a file may be anything: they must stay inside the table.
    float levels[256] = {};
    std::memcpy(levels, format.levels, static_cast<size_t>(format.count) * sizeof(float));
    BlockFormat safe = format;
    safe.levels = levels;
    if (format.count > 16) safe.count = 256;
    const QuantizeOps& ops = quantizeOps(engine.ops->name);
    overBlocks(engine, n, format.length, [&](size_t first, size_t count) { ops.decode(safe, codes + first, scales + first / format.length, nullptr, count, out + first); });
    return;
  }
  const QuantizeOps& ops = quantizeOps(engine.ops->name);
  overBlocks(engine, n, format.length, [&](size_t first, size_t count) {
    size_t block = first / format.length;
    ops.decode(format, codes + first, scales + block, zeros ? zeros + block : nullptr, count, out + first);
  });
}

/** A whole number of blocks of 32. */
static size_t blocksOf(Arguments& args) {
  size_t n = args.count("n");
  if (n % 32 != 0) args.fail("n", "a multiple of 32");
  return n;
}

/** encodeMxfp4(engine, n, x, scales, codes), decodeMxfp4(engine, n, codes, scales, out) */
static void encodeMxfp4(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t n = blocksOf(args);
  const float* x = args.floats("x", n);
  uint8_t* scales = args.bytes("scales", n / 32);
  uint8_t* codes = args.bytes("codes", n);
  const QuantizeOps& ops = quantizeOps(engine.ops->name);
  overBlocks(engine, n, 32, [&](size_t first, size_t count) { ops.encodeMxfp4(x + first, count, scales + first / 32, codes + first); });
}

static void decodeMxfp4(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t n = blocksOf(args);
  const uint8_t* codes = args.bytes("codes", n);
  const uint8_t* scales = args.bytes("scales", n / 32);
  float* out = args.floats("out", n);
  const QuantizeOps& ops = quantizeOps(engine.ops->name);
  overBlocks(engine, n, 32, [&](size_t first, size_t count) { ops.decodeMxfp4(codes + first, scales + first / 32, count, out + first); });
}

/** encodeQ8(engine, n, x, bytes), decodeQ8(engine, n, bytes, out): ggml's q8_0. */
static void encodeQ8(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t n = blocksOf(args);
  const float* x = args.floats("x", n);
  uint8_t* bytes = args.bytes("bytes", n / 32 * 34);
  const QuantizeOps& ops = quantizeOps(engine.ops->name);
  overBlocks(engine, n, 32, [&](size_t first, size_t count) { ops.encodeQ8(x + first, count, bytes + first / 32 * 34); });
}

static void decodeQ8(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t n = blocksOf(args);
  const uint8_t* bytes = args.bytes("bytes", n / 32 * 34);
  float* out = args.floats("out", n);
  const QuantizeOps& ops = quantizeOps(engine.ops->name);
  overBlocks(engine, n, 32, [&](size_t first, size_t count) { ops.decodeQ8(bytes + first / 32 * 34, count, out + first); });
}

/** copy(engine, n, x, out): the machine's own speed, that benchmarks are held against. */
static void copy(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t n = args.count("n");
  const float* x = args.floats("x", n);
  float* out = args.floats("out", n);
  overBlocks(engine, n, 1, [&](size_t first, size_t count) { std::memcpy(out + first, x + first, count * sizeof(float)); });
}

/** widenBf16(engine, n, bits, out) */
static void widenBf16(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t n = args.count("n");
  const uint16_t* bits = args.halves("bits", n);
  float* out = args.floats("out", n);
  overBlocks(engine, n, 1, [&](size_t first, size_t count) {
    uint32_t* words = reinterpret_cast<uint32_t*>(out + first);
    for (size_t i = 0; i < count; i++) words[i] = static_cast<uint32_t>(bits[first + i]) << 16;
  });
}

void registerQuantize(Napi::Env env, Napi::Object exports) {
  exports["encodeBlocks"] = Napi::Function::New<encodeBlocks>(env);
  exports["decodeBlocks"] = Napi::Function::New<decodeBlocks>(env);
  exports["encodeMxfp4"] = Napi::Function::New<encodeMxfp4>(env);
  exports["decodeMxfp4"] = Napi::Function::New<decodeMxfp4>(env);
  exports["encodeQ8"] = Napi::Function::New<encodeQ8>(env);
  exports["decodeQ8"] = Napi::Function::New<decodeQ8>(env);
  exports["copy"] = Napi::Function::New<copy>(env);
  exports["widenBf16"] = Napi::Function::New<widenBf16>(env);
}

}  // namespace bitlaw
