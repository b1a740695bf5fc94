// JavaScript's view of linear.cpp and linear_backward.cpp.
#include <algorithm>

#include "kept_weights.h"

namespace bitlaw {

/** A format as [bits, one scale a row, kind of scale, share of the absmax], or null. */
static CodeFormat formatOf(Arguments& args, const char* name) {
  CodeFormat format;
  if (args.absent()) return format;
  Napi::Array fields = args.list(name);
  auto number = [&](uint32_t i) { return fields.Get(i).ToNumber().DoubleValue(); };
  double bits = number(0), kind = number(2);
  if (!(bits >= 2 && bits <= 16) || !(kind >= 0 && kind <= 3)) args.fail(name, "[2 to 16 bits, perRow, scale kind, ratio]");
  format.bits = static_cast<int>(bits);
  format.perRow = fields.Get(1).ToBoolean().Value();
  format.scale = static_cast<ScaleKind>(static_cast<int>(kind));
  format.absmaxRatio = number(3);
  return format;
}

static LinearRounding roundingOf(Arguments& args) {
  LinearRounding rounding;
  rounding.weights = formatOf(args, "weight format");
  rounding.activations = formatOf(args, "activation format");
  rounding.gradients = formatOf(args, "gradient format");
  rounding.clipped = args.flag();
  rounding.bf16 = args.flag();
  return rounding;
}

/** Scales that were given with rounded numbers, or null. */
static const float* scalesOf(Arguments& args, const Napi::Value& value, const CodeFormat& format, size_t rows) {
  if (!format.bits || value.IsUndefined() || value.IsNull()) return nullptr;
  return args.floats(value, "scales", format.perRow ? rows : 1);
}

static size_t outputsOf(Arguments& args, const Napi::Object& part) {
  double outputs = part.Get("outputs").ToNumber().DoubleValue();
  if (!(outputs >= 0 && outputs < 4294967296.0)) args.fail("outputs", "a count");
  return static_cast<size_t>(outputs);
}

static bool given(const Napi::Value& value) { return !value.IsUndefined() && !value.IsNull(); }

/** linear(engine, x, rows, inputs, parts, weights, activations, gradients, clipped, bf16, scales of x) */
static void linearCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  Napi::Value data = args.next();
  size_t rows = args.count("rows"), inputs = args.count("inputs");
  Source x = args.matrix(data, "x", rows, inputs);
  Napi::Array list = args.list("parts");
  const LinearRounding rounding = roundingOf(args);
  x.scales = scalesOf(args, args.next(), rounding.activations, rows);
  std::vector<ForwardPart> parts;
  for (uint32_t i = 0; i < list.Length(); i++) {
    Napi::Object part = list.Get(i).As<Napi::Object>();
    size_t outputs = outputsOf(args, part);
    Napi::Value bias = part.Get("bias"), residual = part.Get("residual");
    Source weight = args.matrix(part.Get("weight"), "weight", outputs, inputs);
    weight.scales = scalesOf(args, part.Get("scales"), rounding.weights, outputs);
    parts.push_back({weight, keptOf(args, engine, part.Get("kept"), weight, rounding), given(bias) ? args.floats(bias, "bias", outputs) : nullptr,
                     given(residual) ? args.floats(residual, "residual", rows * outputs) : nullptr, args.floats(part.Get("y"), "y", rows * outputs)});
  }
  linear(engine, x, parts, rounding);
}

/** keepWeights(engine, weight, outputs, inputs, weights, activations, gradients, clipped, bf16, scales): an External */
static Napi::Value keepWeightsCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  Napi::Value data = args.next();
  size_t outputs = args.count("outputs"), inputs = args.count("inputs");
  Source weight = args.matrix(data, "weight", outputs, inputs);
  const LinearRounding rounding = roundingOf(args);
  weight.scales = scalesOf(args, args.next(), rounding.weights, outputs);
  KeptWeights* kept = keepWeights(engine, weight, rounding).release();
  const int64_t bytes = static_cast<int64_t>(kept->bytes());
  Napi::MemoryManagement::AdjustExternalMemory(info.Env(), bytes);
  return Napi::External<KeptWeights>::New(info.Env(), kept, [bytes](Napi::Env env, KeptWeights* data) {
    delete data;
    Napi::MemoryManagement::AdjustExternalMemory(env, -bytes);
  });
}

/** linearBackward(engine, x, rows, inputs, parts, dx, accumulate, weights, activations, gradients, clipped, bf16, scales of x) */
static void linearBackwardCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  Napi::Value data = args.next();
  size_t rows = args.count("rows"), inputs = args.count("inputs");
  Source x = args.matrix(data, "x", rows, inputs);
  Napi::Array list = args.list("parts");
  float* dx = args.floatsOrNull("dx", rows * inputs);
  bool accumulate = args.flag();
  const LinearRounding rounding = roundingOf(args);
  x.scales = scalesOf(args, args.next(), rounding.activations, rows);
  std::vector<BackwardPart> parts;
  for (uint32_t i = 0; i < list.Length(); i++) {
    Napi::Object part = list.Get(i).As<Napi::Object>();
    size_t outputs = outputsOf(args, part);
    Napi::Value dWeight = part.Get("dWeight"), dBias = part.Get("dBias");
    const float* dy = args.floats(part.Get("dy"), "dy", rows * outputs);
    Source weight = args.matrix(part.Get("weight"), "weight", outputs, inputs);
    weight.scales = scalesOf(args, part.Get("scales"), rounding.weights, outputs);
    parts.push_back({weight, Source{dy, false, outputs, rows, outputs, scalesOf(args, part.Get("dyScales"), rounding.gradients, rows)},
                     given(dWeight) ? args.floats(dWeight, "dWeight", outputs * inputs) : nullptr,
                     given(dBias) ? args.floats(dBias, "dBias", outputs) : nullptr});
  }
  linearBackward(engine, x, parts, dx, accumulate, rounding);
}

/** roundCodes(engine, x, rows, columns, out, format): out = code * scale */
static void roundCodesCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  Napi::Value data = args.next();
  size_t rows = args.count("rows"), columns = args.count("columns");
  Source x = args.matrix(data, "x", rows, columns);
  float* out = args.floats("out", rows * columns);
  CodeFormat format = formatOf(args, "format");
  if (!format.bits) args.fail("format", "given");
  roundCodes(engine, x, format, out);
}

/** roundBf16(engine, count, x, out) */
static void roundBf16Call(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t count = args.count("count");
  const float* x = args.floats("x", count);
  float* out = args.floats("out", count);
  constexpr size_t CHUNK = 16384;
  engine.pool.run(divideUp(count, CHUNK), false, [&](size_t task, int) {
    size_t from = task * CHUNK;
    engine.ops->roundBf16(x + from, std::min(CHUNK, count - from), out + from);
  });
}

/** biasGradient(engine, dy, rows, outputs, dBias): adds the sums of dy's columns */
static void biasGradientCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  Napi::Value data = args.next();
  size_t rows = args.count("rows"), outputs = args.count("outputs");
  Source dy = args.matrix(data, "dy", rows, outputs);
  if (dy.bf16) args.fail("dy", "a Float32Array");
  biasGradient(engine, dy, args.floats("dBias", outputs));
}

void registerLinear(Napi::Env env, Napi::Object exports) {
  exports["roundCodes"] = Napi::Function::New<roundCodesCall>(env);
  exports["roundBf16"] = Napi::Function::New<roundBf16Call>(env);
  exports["biasGradient"] = Napi::Function::New<biasGradientCall>(env);
  exports["keepWeights"] = Napi::Function::New<keepWeightsCall>(env);
  exports["linear"] = Napi::Function::New<linearCall>(env);
  exports["linearBackward"] = Napi::Function::New<linearBackwardCall>(env);
}

}  // namespace bitlaw
