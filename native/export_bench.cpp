// What the benchmarks measure apart: the units' own limit, and a product with its packing counted apart.
#include <algorithm>
#include <ctime>

#include "boundary.h"

namespace bitlaw {

static Kind kindOf(Arguments& args) {
  std::string name = args.text("kind");
  if (name == "bf16") return BF16;
  if (name == "int8") return I8;
  if (name == "f32") return F32;
  args.fail("kind", "bf16, int8 or f32");
}

/** Seconds of processor time of this thread: what other programs take does not count. */
static double now() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/** peak(engine, kind, rounds): operations (2 a multiply-add) a second of one thread, in registers. */
static Napi::Value peakCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  Kind kind = kindOf(args);
  size_t rounds = args.count("rounds");
  alignas(64) uint32_t sink[32] = {};
  double begin = now();
  double words = engine.ops->spin[kind](rounds, sink);
  return Napi::Number::New(info.Env(), 2 * words * static_cast<double>(engine.ops->perWord[kind]) / (now() - begin));
}

/** product(engine, kind, rows, inputs, outputs, repeats): [seconds of packing, seconds of products] a call, one thread, the least of the repeats. */
static Napi::Value productCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  const Ops& ops = *engine.ops;
  Kind kind = kindOf(args);
  size_t rows = args.count("rows"), inputs = args.count("inputs"), outputs = args.count("outputs"), repeats = args.count("repeats");
  constexpr size_t BLOCK = 96;
  const size_t steps = roundUp(divideUp(inputs, ops.perWord[kind]), 16);
  std::vector<float> x(rows * inputs), w(outputs * inputs);
  float* y = engine.need<float>(Engine::KEPT, rows * outputs);
  for (size_t i = 0; i < x.size(); i++) x[i] = static_cast<float>(i * 7919 % 255) - 127;
  for (size_t i = 0; i < w.size(); i++) w[i] = static_cast<float>(i * 104729 % 255) - 127;
  uint32_t* packed = engine.need<uint32_t>(Engine::PANELS2, roundUp(rows, 16) * steps);
  uint32_t* panels = engine.need<uint32_t>(Engine::PANELS, roundUp(outputs, PANEL) * steps);
  int32_t* sums = engine.need<int32_t>(Engine::SUMS, roundUp(outputs, PANEL));
  const Source left{x.data(), false, inputs, rows, inputs}, right{w.data(), false, inputs, outputs, inputs};
  const float one = 1;
  Rounder rounder;
  if (kind == I8) {
    rounder.scales = &one;
    rounder.codeMax = 127;
  }
  double packing = 1e30, multiplying = 1e30;
  FlushSubnormals guard(true);
  for (size_t repeat = 0; repeat < repeats; repeat++) {
    double begin = now();
    for (size_t row = 0; row < outputs; row += PANEL)
      ops.packPanelAcross(kind, right, row, std::min(PANEL, outputs - row), rounder, panels + row * steps, steps, kind == I8 ? sums + row : nullptr);
    rounder.offset = kind == I8;
    ops.packRows(kind, left, 0, rows, rounder, packed, steps);
    rounder.offset = false;
    double middle = now();
    for (size_t row = 0; row < rows; row += BLOCK) {
      Product p{};
      p.rows = packed + row * steps;
      p.rowStride = steps;
      p.rowCount = std::min(BLOCK, rows - row);
      p.panels = panels;
      p.panelStride = PANEL * steps;
      p.columns = outputs;
      p.steps = steps;
      p.out = y + row * outputs;
      p.outStride = outputs;
      if (kind == I8) p.epilogue.start = sums;
      ops.product[kind](p);
    }
    packing = std::min(packing, middle - begin);
    multiplying = std::min(multiplying, now() - middle);
  }
  Napi::Array out = Napi::Array::New(info.Env());
  out[0u] = Napi::Number::New(info.Env(), packing);
  out[1u] = Napi::Number::New(info.Env(), multiplying);
  return out;
}

void registerBench(Napi::Env env, Napi::Object exports) {
  exports["peak"] = Napi::Function::New<peakCall>(env);
  exports["product"] = Napi::Function::New<productCall>(env);
}

}  // namespace bitlaw
