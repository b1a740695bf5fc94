// JavaScript's view of both ends of a model: the embedding, and the unembedding with its loss.
#include <algorithm>
#include <cstring>

#include "head.h"
#include "kept_weights.h"

namespace bitlaw {

static float numberAt(const Source& table, size_t at) {
  if (!table.bf16) return static_cast<const float*>(table.data)[at];
  uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(table.data)[at]) << 16;
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

/** A table of embeddings with at least one row: how many rows its array holds. */
static size_t tableRows(Arguments& args, const Napi::Value& value, size_t width) {
  if (!value.IsTypedArray()) args.fail("table", "a Float32Array or Uint16Array");
  return width ? value.As<Napi::TypedArray>().ElementLength() / width : 0;
}

static void checkIds(Arguments& args, const char* name, const int32_t* ids, size_t count, int64_t lowest, size_t end) {
  for (size_t i = 0; i < count; i++)
    if (ids[i] < lowest || ids[i] >= static_cast<int64_t>(end))
      args.fail(name, "between " + std::to_string(lowest) + " and " + std::to_string(static_cast<int64_t>(end) - 1) + ", but holds " + std::to_string(ids[i]));
}

/** embed(engine, table, ids, count, width, out, scale, positions or null, length, offset) */
static void embedCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  Napi::Value tableValue = args.next(), idsValue = args.next();
  size_t count = args.count("count"), width = args.count("width");
  size_t vocab = tableRows(args, tableValue, width);
  Source table = args.matrix(tableValue, "table", vocab, width);
  const int32_t* ids = args.ints(idsValue, "ids", count);
  checkIds(args, "ids", ids, width ? count : 0, 0, vocab);
  float* out = args.floats("out", count * width);
  float scale = static_cast<float>(args.number("scale"));
  Napi::Value positionsValue = args.next();
  Source positions{nullptr, false, width, 0, width};
  size_t length = 1, offset = 0;
  if (positionsValue.IsTypedArray()) {
    length = args.count("length");
    offset = args.count("offset");
    if (length == 0) args.fail("length", "1 or more");
    positions = args.matrix(positionsValue, "positions", offset + std::min(length, count), width);
  }
  constexpr size_t CHUNK = 64;
  engine.pool.run(divideUp(count, CHUNK), false, [&](size_t task, int) {
    for (size_t r = task * CHUNK; r < std::min(count, (task + 1) * CHUNK); r++) {
      size_t from = static_cast<size_t>(ids[r]) * width;
      for (size_t i = 0; i < width; i++) out[r * width + i] = numberAt(table, from + i) * scale;
      if (!positions.data) continue;
      size_t place = (offset + r % length) * width;
      for (size_t i = 0; i < width; i++) out[r * width + i] += numberAt(positions, place + i);
    }
  });
}

/** embedBackward(engine, dOut, ids, count, width, dTable, scale, dPositions or null, length, offset) */
static void embedBackwardCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  Napi::Value dOutValue = args.next(), idsValue = args.next();
  size_t count = args.count("count"), width = args.count("width");
  const float* dOut = args.floats(dOutValue, "dOut", count * width);
  const int32_t* ids = args.ints(idsValue, "ids", count);
  Napi::Value tableValue = args.next();
  size_t vocab = tableRows(args, tableValue, width);
  float* dTable = args.floats(tableValue, "dTable", vocab * width);
  checkIds(args, "ids", ids, width ? count : 0, 0, vocab);
  float scale = static_cast<float>(args.number("scale"));
  Napi::Value positionsValue = args.next();
  float* dPositions = nullptr;
  size_t length = 1, offset = 0;
  if (positionsValue.IsTypedArray()) {
    length = args.count("length");
    offset = args.count("offset");
    if (length == 0) args.fail("length", "1 or more");
    dPositions = args.floats(positionsValue, "dPositions", (offset + std::min(length, count)) * width);
  }
  // Tasks share the rows of the table, so that each is added to in the order of the ids.
  constexpr size_t SHARES = 16;
  engine.pool.run(SHARES, true, [&](size_t share, int) {
    for (size_t r = 0; r < count; r++) {
      const float* from = dOut + r * width;
      if (static_cast<size_t>(ids[r]) % SHARES == share) {
        float* to = dTable + static_cast<size_t>(ids[r]) * width;
        for (size_t i = 0; i < width; i++) to[i] += from[i] * scale;
      }
      if (dPositions && r % length % SHARES == share) {
        float* to = dPositions + (offset + r % length) * width;
        for (size_t i = 0; i < width; i++) to[i] += from[i];
      }
    }
  });
}

/** crossEntropy(engine, x, weight, rows, width, vocab, bias, targets, losses, softcap, bf16, gradient: kept; or scale, dx, dWeight, dBias) */
static void crossEntropyCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  Napi::Value x = args.next(), weight = args.next();
  size_t rows = args.count("rows"), width = args.count("width"), vocab = args.count("vocab");
  Head head{};
  head.x = Source{args.floats(x, "x", rows * width), false, width, rows, width};
  head.weight = args.matrix(weight, "weight", vocab, width);
  head.bias = args.floatsOrNull("bias", vocab);
  head.targets = args.ints("targets", rows);
  checkIds(args, "targets", head.targets, rows, -1, vocab);
  head.losses = args.floats("losses", rows);
  head.softcap = static_cast<float>(args.number("softcap"));
  head.bf16 = args.flag();
  if (!args.flag()) {
    head.kept = keptOf(args, engine, args.next(), head.weight, LinearRounding{{}, {}, {}, false, head.bf16});
    if (vocab > 0) losses(engine, head);
    return;
  }
  head.scale = static_cast<float>(args.number("scale"));
  head.dx = args.floats("dx", rows * width);
  head.dWeight = args.floatsOrNull("dWeight", vocab * width);
  head.dBias = args.floatsOrNull("dBias", vocab);
  if (vocab > 0) crossEntropy(engine, head);
}

/** logSoftmax(engine, logits, rows, width) */
static void logSoftmaxCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  Napi::Value logits = args.next();
  size_t rows = args.count("rows"), width = args.count("width");
  float* x = args.floats(logits, "logits", rows * width);
  if (width == 0) return;
  engine.pool.run(rows, true, [&](size_t row, int) { engine.ops->logSoftmax(x + row * width, width); });
}

void registerHead(Napi::Env env, Napi::Object exports) {
  exports["embed"] = Napi::Function::New<embedCall>(env);
  exports["embedBackward"] = Napi::Function::New<embedBackwardCall>(env);
  exports["crossEntropy"] = Napi::Function::New<crossEntropyCall>(env);
  exports["logSoftmax"] = Napi::Function::New<logSoftmaxCall>(env);
}

}  // namespace bitlaw
