// What JavaScript sees of the formats beside plain blocks: floats of 16 bits, wide codes, MX and NVFP4, ggml's types, and
// the parts of an encoding with extras (scales that are searched, rotation, means, chance).
#include <cstring>

#include "quantize_format.h"

namespace bitlaw {

static const QuantizeOps& opsOf(Engine& engine) { return quantizeOps(engine.ops->name); }

/** encodeHalf(engine, n, bf16, x, codes), decodeHalf(engine, n, codes, out): fp16 back; bf16 is widenBf16. */
static void encodeHalfCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t n = args.count("n");
  const bool bf16 = args.flag();
  const float* x = args.floats("x", n);
  uint16_t* codes = args.halves("codes", n);
  const QuantizeOps& ops = opsOf(engine);
  overBlocks(engine, n, 1, [&](size_t first, size_t count) { (bf16 ? ops.encodeBf16 : ops.encodeHalf)(x + first, count, codes + first); });
}

static void decodeHalfCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t n = args.count("n");
  const uint16_t* codes = args.halves("codes", n);
  float* out = args.floats("out", n);
  const QuantizeOps& ops = opsOf(engine);
  overBlocks(engine, n, 1, [&](size_t first, size_t count) { ops.decodeHalf(codes + first, count, out + first); });
}

/** roundHalf(engine, n, x, out): values as fp16 holds them. */
static void roundHalfCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t n = args.count("n");
  const float* x = args.floats("x", n);
  float* out = args.floats("out", n);
  const QuantizeOps& ops = opsOf(engine);
  overBlocks(engine, n, 1, [&](size_t first, size_t count) { ops.roundHalf(x + first, count, out + first); }, TASK / 4);
}

/** encodeWide(engine, n, format…, x, scales, codes), decodeWide(engine, n, format…, codes, scales, out); levels has 65536 values for decoding a book. */
static void encodeWideCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t n = args.count("n");
  Tables tables;
  BlockFormat format = formatOf(args, tables, 0, true);
  const float* x = args.floats("x", n);
  const float* scales = args.floats("scales", divideUp(n, format.length));
  uint16_t* codes = args.halves("codes", n);
  if (format.rule == Rule::book && format.steps == 0) args.fail("steps", "1 or more");
  const QuantizeOps& ops = opsOf(engine);
  overBlocks(engine, n, format.length, [&](size_t first, size_t count) { ops.encodeWide(format, x + first, count, scales + first / format.length, codes + first); });
}

static void decodeWideCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t n = args.count("n");
  Tables tables;
  BlockFormat format = formatOf(args, tables, 0, true);
  const uint16_t* codes = args.halves("codes", n);
  const float* scales = args.floats("scales", divideUp(n, format.length));
  float* out = args.floats("out", n);
  if (format.rule == Rule::book && format.count != 65536) args.fail("levels", "65536");
  const QuantizeOps& ops = opsOf(engine);
  overBlocks(engine, n, format.length, [&](size_t first, size_t count) { ops.decodeWide(format, codes + first, scales + first / format.length, count, out + first); });
}

/** A small float as (bits, mantissa, bias, largest code, exponent of the largest value); 0 bits: int8 / 64. */
static MicroFormat microOf(Arguments& args) {
  const size_t bits = args.count("bits"), mantissa = args.count("mantissa"), bias = args.count("bias"), most = args.count("maxCode"), emax = args.count("emax");
  if (bits > 8 || mantissa < 1 || mantissa > 7 || bias > 15 || most > 255 || emax > 15) args.fail("format", "a float of at most 8 bits");
  return {static_cast<int>(bits), static_cast<int>(mantissa), static_cast<int>(bias), static_cast<int>(most), static_cast<int>(emax)};
}

/** encodeMicro(engine, n, format…, x, scales, codes), decodeMicro(engine, n, levels, codes, scales, out) */
static void encodeMicroCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t n = args.count("n");
  MicroFormat format = microOf(args);
  const float* x = args.floats("x", n);
  uint8_t* scales = args.bytes("scales", divideUp(n, 32));
  uint8_t* codes = args.bytes("codes", n);
  const QuantizeOps& ops = opsOf(engine);
  overBlocks(engine, n, 32, [&](size_t first, size_t count) { ops.encodeMicro(format, x + first, count, scales + first / 32, codes + first); });
}

static void decodeMicroCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t n = args.count("n");
  const float* levels = args.floats("levels", 256);
  const uint8_t* codes = args.bytes("codes", n);
  const uint8_t* scales = args.bytes("scales", divideUp(n, 32));
  float* out = args.floats("out", n);
  const QuantizeOps& ops = opsOf(engine);
  overBlocks(engine, n, 32, [&](size_t first, size_t count) { ops.decodeMicro(levels, codes + first, scales + first / 32, count, out + first); });
}

/** encodeNvfp4(engine, n, format…, e4m3, tensorScale, x, scales, codes), decodeNvfp4(engine, n, levels, e4m3, tensorScale, codes, scales, out) */
static void encodeNvfp4Call(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t n = args.count("n");
  MicroFormat format = microOf(args);
  const float* e4m3 = args.floats("e4m3", 256);
  const float tensorScale = static_cast<float>(args.number("tensorScale"));
  const float* x = args.floats("x", n);
  uint8_t* scales = args.bytes("scales", divideUp(n, 16));
  uint8_t* codes = args.bytes("codes", n);
  if (format.bits < 2) args.fail("format", "a float");
  const QuantizeOps& ops = opsOf(engine);
  overBlocks(engine, n, 16, [&](size_t first, size_t count) { ops.encodeNvfp4(format, e4m3, tensorScale, x + first, count, scales + first / 16, codes + first); });
}

static void decodeNvfp4Call(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t n = args.count("n");
  const float* levels = args.floats("levels", 256);
  const float* e4m3 = args.floats("e4m3", 256);
  const float tensorScale = static_cast<float>(args.number("tensorScale"));
  const uint8_t* codes = args.bytes("codes", n);
  const uint8_t* scales = args.bytes("scales", divideUp(n, 16));
  float* out = args.floats("out", n);
  const QuantizeOps& ops = opsOf(engine);
  overBlocks(engine, n, 16, [&](size_t first, size_t count) { ops.decodeNvfp4(levels, e4m3, tensorScale, codes + first, scales + first / 16, count, out + first); });
}

/** roundE4m3(engine, n, e4m3, tensorScale, scales, codes): scales in place. */
static void roundE4m3Call(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t n = args.count("n");
  const float* e4m3 = args.floats("e4m3", 256);
  const float tensorScale = static_cast<float>(args.number("tensorScale"));
  float* scales = args.floats("scales", n);
  uint8_t* codes = args.bytes("codes", n);
  const QuantizeOps& ops = opsOf(engine);
  overBlocks(engine, n, 1, [&](size_t first, size_t count) { ops.roundE4m3(e4m3, tensorScale, scales + first, count, codes + first); }, TASK / 16);
}

/** findScales(engine, n, wide, format…, search, rule of tried scales, ratio, levels in double | null, x, scales, lows | null, most | null) */
static void findScalesCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t n = args.count("n");
  const bool wide = args.flag();
  Tables tables;
  BlockFormat format = formatOf(args, tables, INDEXED, wide);
  Search search{};
  search.format = &format;
  search.search = args.flag();
  const size_t tried = args.count("tried");
  if (tried > 7) args.fail("tried", "0 to 7");
  search.tried = static_cast<ScaleRule>(tried);
  search.ratio = args.number("ratio");
  const size_t count = static_cast<size_t>(format.count), blocks = divideUp(n, format.length);
  search.levels = args.doublesOrNull("levels", count);
  if (search.search && format.rule == Rule::book && !search.levels) args.fail("levels", "given");
  for (size_t j = 0; j < 16; j++) {
    search.thresholds[j] = format.thresholds && j + 1 < count ? static_cast<float>(format.thresholds[j]) : HUGE_VALF;
    search.padded[j] = j < count ? format.levels[j] : 0;
  }
  const float* x = args.floats("x", n);
  float* scales = args.floats("scales", blocks);
  double* lows = args.doublesOrNull("lows", blocks);
  float* most = args.floatsOrNull("most", blocks);
  if ((format.rule == Rule::full || format.rule == Rule::uint) && !lows) args.fail("lows", "given");
  const QuantizeOps& ops = opsOf(engine);
  overBlocks(engine, n, format.length, [&](size_t first, size_t part) {
    const size_t block = first / format.length;
    ops.findScales(search, x + first, part, scales + block, lows ? lows + block : nullptr, most ? most + block : nullptr);
  }, search.search ? TASK / 16 : TASK);
}

/** rotate(engine, n, size, width, signs, inverse, x): in place, each block of `size` in rows of `width`. */
static void rotateCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t n = args.count("n"), size = args.count("size"), width = args.count("width");
  const int8_t* signs = args.signedBytes("signs", width);
  const bool inverse = args.flag();
  float* x = args.floats("x", n);
  if (size < 1 || width % size != 0 || n % size != 0 || (size & (size - 1)) != 0) args.fail("size", "a power of two that divides the width");
  const QuantizeOps& ops = opsOf(engine);
  const size_t step = std::max<size_t>(1, TASK / 4 / size) * size;
  engine.pool.run(divideUp(n, step), false, [&](size_t index, int thread) {
    const size_t first = index * step;
    ops.rotate(x + first, std::min(step, n - first), size, width, first % width, signs, inverse, engine.need<double>(thread, Engine::L_ROWS, size));
  });
}

/** center(engine, n, length, rule, x, means): x in place; addMeans(engine, n, length, means, out) */
static void centerCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t n = args.count("n"), length = args.count("length"), rule = args.count("rule");
  if (length < 1) args.fail("length", "at least 1");
  if (rule > 7) args.fail("rule", "0 to 7");
  float* x = args.floats("x", n);
  float* means = args.floats("means", divideUp(n, length));
  const QuantizeOps& ops = opsOf(engine);
  overBlocks(engine, n, length, [&](size_t first, size_t count) { ops.center(x + first, count, length, static_cast<ScaleRule>(rule), means + first / length); });
}

static void addMeansCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t n = args.count("n"), length = args.count("length");
  if (length < 1) args.fail("length", "at least 1");
  const float* means = args.floats("means", divideUp(n, length));
  float* out = args.floats("out", n);
  const QuantizeOps& ops = opsOf(engine);
  overBlocks(engine, n, length, [&](size_t first, size_t count) { ops.addMeans(means + first / length, count, length, out + first); });
}

/** encodeRandomly(engine, n, format…, levels in double | null, seed, x, scales, zeros | null, codes) */
static void encodeRandomlyCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t n = args.count("n");
  Tables tables;
  BlockFormat format = formatOf(args, tables, n);
  const double* levels = args.doublesOrNull("levels", static_cast<size_t>(format.count));
  const uint32_t seed = static_cast<uint32_t>(args.count("seed"));
  const size_t blocks = divideUp(n, format.length);
  const float* x = args.floats("x", n);
  const float* scales = args.floats("scales", blocks);
  const uint8_t* zeros = bytesOrNull(args, "zeros", blocks);
  uint8_t* codes = args.bytes("codes", n);
  if (format.rule == Rule::book && !levels) args.fail("levels", "given");
  if ((format.rule == Rule::full || format.rule == Rule::uint) && !zeros) args.fail("zeros", "given");
  const QuantizeOps& ops = opsOf(engine);
  overBlocks(engine, n, format.length, [&](size_t first, size_t count) {
    const size_t block = first / format.length;
    ops.encodeRandomly(format, levels, seed, first, x + first, count, scales + block, zeros ? zeros + block : nullptr, codes + first);
  });
}

/** encodeGgml(engine, kind, blocks, x, weights | null, bytes), decodeGgml(engine, kind, blocks, bytes, out) */
static void encodeGgmlCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  const size_t index = args.count("kind"), blocks = args.count("blocks");
  if (index >= GGML_KINDS) args.fail("kind", "a type of ggml");
  const GgmlKind kind = static_cast<GgmlKind>(index);
  const size_t block = ggmlBlock(kind), size = ggmlBytes(kind);
  const float* x = args.floats("x", blocks * block);
  const double* weights = args.doublesOrNull("weights", blocks * block);
  uint8_t* bytes = args.bytes("bytes", blocks * size);
  const QuantizeOps& ops = opsOf(engine);
  // Searches take long: small tasks, of a multiple of eight blocks.
  overBlocks(engine, blocks, 8, [&](size_t first, size_t count) { ops.encodeGgml(kind, x + first * block, weights ? weights + first * block : nullptr, count, bytes + first * size); }, TASK / 16 / block);
}

static void decodeGgmlCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  const size_t index = args.count("kind"), blocks = args.count("blocks");
  if (index >= GGML_KINDS) args.fail("kind", "a type of ggml");
  const GgmlKind kind = static_cast<GgmlKind>(index);
  const size_t block = ggmlBlock(kind), size = ggmlBytes(kind);
  const uint8_t* bytes = args.bytes("bytes", blocks * size);
  float* out = args.floats("out", blocks * block);
  const QuantizeOps& ops = opsOf(engine);
  overBlocks(engine, blocks, 1, [&](size_t first, size_t count) { ops.decodeGgml(kind, bytes + first * size, count, out + first * block); }, TASK / block);
}

void registerFormats(Napi::Env env, Napi::Object exports) {
  exports["encodeHalf"] = Napi::Function::New<encodeHalfCall>(env);
  exports["decodeHalf"] = Napi::Function::New<decodeHalfCall>(env);
  exports["roundHalf"] = Napi::Function::New<roundHalfCall>(env);
  exports["encodeWide"] = Napi::Function::New<encodeWideCall>(env);
  exports["decodeWide"] = Napi::Function::New<decodeWideCall>(env);
  exports["encodeMicro"] = Napi::Function::New<encodeMicroCall>(env);
  exports["decodeMicro"] = Napi::Function::New<decodeMicroCall>(env);
  exports["encodeNvfp4"] = Napi::Function::New<encodeNvfp4Call>(env);
  exports["decodeNvfp4"] = Napi::Function::New<decodeNvfp4Call>(env);
  exports["roundE4m3"] = Napi::Function::New<roundE4m3Call>(env);
  exports["findScales"] = Napi::Function::New<findScalesCall>(env);
  exports["rotate"] = Napi::Function::New<rotateCall>(env);
  exports["center"] = Napi::Function::New<centerCall>(env);
  exports["addMeans"] = Napi::Function::New<addMeansCall>(env);
  exports["encodeGgml"] = Napi::Function::New<encodeGgmlCall>(env);
  exports["decodeGgml"] = Napi::Function::New<decodeGgmlCall>(env);
  exports["encodeRandomly"] = Napi::Function::New<encodeRandomlyCall>(env);
}

}  // namespace bitlaw
