// JavaScript's view of norms, rotation, activation functions and the optimizer. Rows and ranges are cut into tasks of
// sizes that the shape alone decides, and sums over tasks are made in their order.
#include <algorithm>

#include "boundary.h"

namespace bitlaw {

/** Numbers that one task of elementwise work takes. */
static constexpr size_t RANGE = 16384;

/** Runs task(from, count) over n numbers. */
template <class Task>
static void ranges(Engine& engine, size_t n, bool flush, Task task) {
  engine.pool.run(divideUp(n, RANGE), flush, [&](size_t i, int) { task(i * RANGE, std::min(RANGE, n - i * RANGE)); });
}

/** Rows a task. */
static size_t rowsATask(size_t width) { return std::max<size_t>(1, RANGE / std::max<size_t>(width, 1)); }

/** … layer, rows, width, eps, x, gain */
static Norm normOf(Arguments& args) {
  Norm n{};
  n.layer = args.flag();
  n.rows = args.count("rows");
  n.width = args.count("width");
  n.eps = static_cast<float>(args.number("eps"));
  n.x = args.floats("x", n.rows * n.width);
  n.gain = args.floatsOrNull("gain", n.width);
  return n;
}

/** norm(engine, layer, rows, width, eps, x, gain, bias, out, saved) */
static void normCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  Norm n = normOf(args);
  n.bias = args.floatsOrNull("bias", n.width);
  n.out = args.floats("out", n.rows * n.width);
  n.saved = args.floats("saved", n.rows * (n.layer ? 2 : 1));
  const size_t each = rowsATask(n.width);
  engine.pool.run(divideUp(n.rows, each), true, [&](size_t i, int) { engine.ops->norm(n, i * each, std::min(each, n.rows - i * each)); });
}

/** normBackward(engine, layer, rows, width, eps, x, gain, saved, dy, dx, accumulate, dGain, dBias) */
static void normBackwardCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  Norm n = normOf(args);
  n.saved = args.floats("saved", n.rows * (n.layer ? 2 : 1));
  n.dy = args.floats("dy", n.rows * n.width);
  n.out = args.floats("dx", n.rows * n.width);
  n.accumulate = args.flag();
  float* dGain = args.floatsOrNull("dGain", n.width);
  float* dBias = args.floatsOrNull("dBias", n.width);
  const size_t each = rowsATask(n.width), tasks = divideUp(n.rows, each);
  float* sums = engine.need<float>(Engine::PARTIALS, tasks * 2 * n.width);
  engine.pool.run(tasks, true, [&](size_t i, int) {
    float* gains = sums + i * 2 * n.width;
    std::fill(gains, gains + 2 * n.width, 0.0f);
    engine.ops->normBackward(n, i * each, std::min(each, n.rows - i * each), dGain ? gains : nullptr, dBias ? gains + n.width : nullptr);
  });
  for (size_t j = 0; j < n.width; j++) {
    float gain = 0, bias = 0;
    for (size_t i = 0; i < tasks; i++) {
      gain += sums[i * 2 * n.width + j];
      bias += sums[(i * 2 + 1) * n.width + j];
    }
    if (dGain) dGain[j] += gain;
    if (dBias) dBias[j] += bias;
  }
}

/** rotary(engine, x, rows, heads, headSize, cos, sin, pairs, length, inverse) */
static void rotaryCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  Rotation r{};
  Napi::Value x = args.next();
  size_t rows = args.count("rows");
  r.heads = args.count("heads");
  r.headSize = args.count("headSize");
  Napi::Value cos = args.next(), sin = args.next();
  r.pairs = args.count("pairs");
  r.length = args.count("length");
  r.inverse = args.flag();
  if (2 * r.pairs > r.headSize) args.fail("pairs", "at most half of headSize");
  if (r.length == 0) args.fail("length", "1 or more");
  r.x = args.floats(x, "x", rows * r.heads * r.headSize);
  r.cos = args.floats(cos, "cos", std::min(rows, r.length) * r.pairs);
  r.sin = args.floats(sin, "sin", std::min(rows, r.length) * r.pairs);
  const size_t each = rowsATask(r.heads * r.headSize);
  engine.pool.run(divideUp(rows, each), true, [&](size_t i, int) { engine.ops->rotary(r, i * each, std::min(each, rows - i * each)); });
}

static Curve curveOf(Arguments& args) {
  std::string name = args.text("kind");
  if (name == "silu") return Curve::silu;
  if (name == "gelu") return Curve::gelu;
  if (name == "geluTanh") return Curve::geluTanh;
  if (name == "relu") return Curve::relu;
  args.fail("kind", "silu, gelu, geluTanh or relu");
}

/** activation(engine, kind, count, gate, up, out) */
static void activationCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  Activations a{};
  a.kind = curveOf(args);
  size_t count = args.count("count");
  a.gate = args.floats("gate", count);
  a.up = args.floatsOrNull("up", count);
  a.out = args.floats("out", count);
  ranges(engine, count, true, [&](size_t from, size_t n) { engine.ops->activation(a, from, n); });
}

/** activationBackward(engine, kind, count, gate, up, dOut, dGate, dUp) */
static void activationBackwardCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  Activations a{};
  a.kind = curveOf(args);
  size_t count = args.count("count");
  a.gate = args.floats("gate", count);
  a.up = args.floatsOrNull("up", count);
  a.dOut = args.floats("dOut", count);
  a.dGate = args.floats("dGate", count);
  a.dUp = args.floatsOrNull("dUp", count);
  ranges(engine, count, true, [&](size_t from, size_t n) { engine.ops->activationBackward(a, from, n); });
}

/** add(engine, count, y, x): y += x */
static void addCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t count = args.count("count");
  float* y = args.floats("y", count);
  const float* x = args.floats("x", count);
  ranges(engine, count, false, [&](size_t from, size_t n) {
    for (size_t i = from; i < from + n; i++) y[i] += x[i];
  });
}

/** sumSquares(engine, count, x) */
static Napi::Value sumSquaresCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t count = args.count("count");
  const float* x = args.floats("x", count);
  double* sums = engine.need<double>(Engine::PARTIALS, divideUp(count, RANGE));
  ranges(engine, count, true, [&](size_t from, size_t n) { sums[from / RANGE] = engine.ops->sumSquares(x + from, n); });
  double all = 0;
  for (size_t i = 0; i < divideUp(count, RANGE); i++) all += sums[i];
  return Napi::Number::New(info.Env(), all);
}

/** adamw(engine, count, weight, gradient, m, v, rate, beta1, beta2, eps, weightDecay, step, gradientScale) */
static void adamwCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  size_t count = args.count("count");
  Step s{};
  s.weight = args.floats("weight", count);
  s.gradient = args.floats("gradient", count);
  s.m = args.floats("m", count);
  s.v = args.floats("v", count);
  double rate = args.number("rate"), beta1 = args.number("beta1"), beta2 = args.number("beta2");
  s.rate = static_cast<float>(rate);
  s.beta1 = static_cast<float>(beta1);
  s.beta2 = static_cast<float>(beta2);
  s.rest1 = static_cast<float>(1 - beta1);
  s.rest2 = static_cast<float>(1 - beta2);
  s.eps = static_cast<float>(args.number("eps"));
  s.keep = static_cast<float>(1 - rate * args.number("weightDecay"));
  double step = args.number("step");
  s.correct1 = static_cast<float>(1 / (1 - std::pow(beta1, step)));
  s.correct2 = static_cast<float>(1 / (1 - std::pow(beta2, step)));
  s.gradientScale = static_cast<float>(args.number("gradientScale"));
  ranges(engine, count, true, [&](size_t from, size_t n) { engine.ops->adamw(s, from, n); });
}

void registerVector(Napi::Env env, Napi::Object exports) {
  exports["norm"] = Napi::Function::New<normCall>(env);
  exports["normBackward"] = Napi::Function::New<normBackwardCall>(env);
  exports["rotary"] = Napi::Function::New<rotaryCall>(env);
  exports["activation"] = Napi::Function::New<activationCall>(env);
  exports["activationBackward"] = Napi::Function::New<activationBackwardCall>(env);
  exports["add"] = Napi::Function::New<addCall>(env);
  exports["sumSquares"] = Napi::Function::New<sumSquaresCall>(env);
  exports["adamw"] = Napi::Function::New<adamwCall>(env);
}

}  // namespace bitlaw
