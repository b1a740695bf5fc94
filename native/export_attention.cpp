// Attention: tasks are a sequence, a head of keys and a stretch of queries; backward, all queries of it.
#include "boundary.h"

namespace bitlaw {

/** Queries of a forward task: few enough for work to share, many enough that packing keys does not count. */
static constexpr size_t STRETCH = 512;

/** … batch, length, heads, kvHeads, headSize, scale, window (0: none), slopes, softcap (0: none), bf16 */
static Attention shapeOf(Arguments& args, const Engine& engine) {
  Attention a{};
  a.batch = args.count("batch");
  a.length = args.count("length");
  a.heads = args.count("heads");
  a.kvHeads = args.count("kvHeads");
  a.headSize = args.count("headSize");
  a.scale = static_cast<float>(args.number("scale"));
  a.window = args.count("window");
  a.slopes = args.doublesOrNull("slopes", a.heads);
  a.softcap = static_cast<float>(args.number("softcap"));
  a.kind = args.flag() ? BF16 : F32;
  a.product = engine.ops->product[a.kind];
  if (a.kvHeads == 0 || a.heads % a.kvHeads != 0) args.fail("kvHeads", "a divisor of heads");
  return a;
}

/** attention(engine, shape …, q, k, v, out, logSums) */
static void attentionCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  Attention a = shapeOf(args, engine);
  const size_t rows = a.batch * a.length;
  a.q = args.floats("q", rows * a.heads * a.headSize);
  a.k = args.floats("k", rows * a.kvHeads * a.headSize);
  a.v = args.floats("v", rows * a.kvHeads * a.headSize);
  a.out = args.floats("out", rows * a.heads * a.headSize);
  a.logSums = args.floats("logSums", a.batch * a.heads * a.length);
  const size_t stretches = divideUp(a.length, STRETCH), scratch = engine.ops->attentionScratch(a);
  engine.pool.run(a.batch * a.kvHeads * stretches, true, [&](size_t task, int thread) {
    size_t query0 = task % stretches * STRETCH, pair = task / stretches;
    size_t queries = a.length - query0 < STRETCH ? a.length - query0 : STRETCH;
    engine.ops->attention(a, pair / a.kvHeads, pair % a.kvHeads, query0, queries, engine.need<char>(thread, Engine::L_STRIP, scratch));
  });
}

/** attentionBackward(engine, shape …, q, k, v, out, logSums, dOut, dq, dk, dv) */
static void attentionBackwardCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  Attention a = shapeOf(args, engine);
  const size_t rows = a.batch * a.length, qSize = rows * a.heads * a.headSize, kvSize = rows * a.kvHeads * a.headSize;
  a.q = args.floats("q", qSize);
  a.k = args.floats("k", kvSize);
  a.v = args.floats("v", kvSize);
  a.out = args.floats("out", qSize);
  a.logSums = args.floats("logSums", a.batch * a.heads * a.length);
  a.dOut = args.floats("dOut", qSize);
  a.dq = args.floats("dq", qSize);
  a.dk = args.floats("dk", kvSize);
  a.dv = args.floats("dv", kvSize);
  const size_t scratch = engine.ops->attentionScratch(a);
  engine.pool.run(a.batch * a.kvHeads, true, [&](size_t task, int thread) {
    engine.ops->attentionBackward(a, task / a.kvHeads, task % a.kvHeads, engine.need<char>(thread, Engine::L_STRIP, scratch));
  });
}

void registerAttention(Napi::Env env, Napi::Object exports) {
  exports["attention"] = Napi::Function::New<attentionCall>(env);
  exports["attentionBackward"] = Napi::Function::New<attentionBackwardCall>(env);
}

}  // namespace bitlaw
