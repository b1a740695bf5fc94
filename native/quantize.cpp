// Block quantization of whole arrays: cut into runs of whole blocks, one task each; and what JavaScript sees of it.
#include "quantize.h"

#include <cstring>

#include "quantize_format.h"

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
