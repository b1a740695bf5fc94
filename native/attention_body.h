// Causal attention a block of 64 queries at a time, with scores transposed: a row is a key, the lanes are queries, so
// that the softmax needs no sums across lanes. Only a strip of 128 keys by 64 queries of scores is ever in memory.
#pragma once
#include "math.h"
#include "ops.h"
#include "pack_body.h"
#include "product_body.h"

namespace bitlaw::PATH {
namespace {

constexpr size_t QUERIES = PANEL;
constexpr size_t KEYS = 128;
constexpr float MASKED = -3e38f;  // a score that is not seen
constexpr float LOWEST = -1e30f;  // what the largest score begins with

/** Hands out parts of a task's scratch. */
struct Arena {
  char* next;
  template <class T>
  T* take(size_t count) {
    T* here = reinterpret_cast<T*>(next);
    next += roundUp(count * sizeof(T), 64);
    return here;
  }
};

inline size_t wordsOf(const Attention& a, size_t numbers) { return roundUp(divideUp(numbers, a.kind == BF16 ? Words<BF16>::PER : 1), 16); }

/** Bytes that the forward and the backward pass need at most. */
size_t attentionScratch(const Attention& a) {
  size_t length = roundUp(a.length + KEYS, 16), head = roundUp(a.headSize, PANEL);
  size_t words = 3 * length * wordsOf(a, head) + 2 * head * (wordsOf(a, length) + 16) + 8 * head * QUERIES + 6 * KEYS * QUERIES + 16 * QUERIES;
  return words * 4 + 64 * 64;
}

/** A strip of scores as the queries see it. */
struct Strip {
  const Attention& a;
  size_t query0, queries, key0, keys;
  float slope;

  /** Whether any of the W queries from `at` on sees this key, or a later one. */
  bool seen(size_t key, size_t at) const { return key < query0 + at + W; }
  /** Whether all W queries from `at` on see it. */
  bool seenByAll(size_t key, size_t at) const { return key <= query0 + at && (a.window == 0 || key + a.window >= query0 + at + W); }
  bool plain() const { return a.softcap == 0 && !a.slopes; }
  /** The score with what is added to it at this distance. */
  F biased(F score, size_t key, size_t at) const {
    if (a.softcap > 0) score = set(a.softcap) * tanh(score * set(1 / a.softcap));
    if (a.slopes) score = score - set(slope) * distance(key, at);
    return score;
  }
  F distance(size_t key, size_t at) const {
    alignas(64) static constexpr float LANES[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return set(static_cast<float>(static_cast<int64_t>(query0 + at) - static_cast<int64_t>(key))) + load(LANES);
  }
  /** Per lane: MASKED where the query does not see the key. */
  F masked(F score, size_t key, size_t at) const {
    F d = distance(key, at);
    score = select(less(d, set(0.0f)), set(MASKED), score);
    if (a.window) score = select(lessEqual(set(static_cast<float>(a.window)), d), set(MASKED), score);
    return score;
  }
};

/** Words of two neighbouring keys' vectors, as a panel has them; where a word is one number, those of each key. */
template <Kind K>
inline void storeDown(uint32_t* panel, size_t width, size_t key, size_t at, F first, F second) {
  const F both[] = {first, second};
  if constexpr (Words<K>::PER == 2) storei(panel + key / 2 * width + at, Words<K>::down(both));
  else {
    storei(panel + key * width + at, Words<K>::down(both));
    storei(panel + (key + 1) * width + at, Words<K>::down(both + 1));
  }
}

/** Online softmax over a strip: e^(score - largest) goes to `panel`, `tops` and `sums` follow, and `shrink` gets the factors for earlier sums. */
template <Kind K>
inline void softmaxStrip(const Strip& s, float* scores, uint32_t* panel, size_t words, float* tops, float* sums, float* shrink) {
  const size_t width = roundUp(s.queries, 16);
  const bool plain = s.plain();
  for (size_t at = 0; at < width; at += W) {
    const size_t last = s.query0 + at + W;  // keys from here on are seen by none of these queries
    const size_t keys = last <= s.key0 ? 0 : last - s.key0 < s.keys ? last - s.key0 : s.keys;
    const size_t pairs = keys / 2 * 2;
    F first = load(tops + at), top = first, other = first;
    auto raise = [&](size_t k, F most) {
      float* p = scores + k * width + at;
      F x = load(p);
      const bool all = s.seenByAll(s.key0 + k, at);
      if (!plain || !all) {
        if (!plain) x = s.biased(x, s.key0 + k, at);
        if (!all) x = s.masked(x, s.key0 + k, at);
        store(p, x);
      }
      return max(most, x);
    };
    for (size_t k = 0; k < pairs; k += 2) {
      top = raise(k, top);
      other = raise(k + 1, other);
    }
    if (pairs < keys) top = raise(pairs, top);
    top = max(top, other);
    const F factor = expBelow(first - top);
    F even = set(0.0f), odd = set(0.0f);
    for (size_t k = 0; k < keys; k += 2) {
      F x = expBelow(load(scores + k * width + at) - top);
      F y = k + 1 < keys ? expBelow(load(scores + (k + 1) * width + at) - top) : set(0.0f);
      even = even + x;
      odd = odd + y;
      storeDown<K>(panel, width, k, at, x, y);
    }
    for (size_t k = divideUp(keys, 2) * 2; k < s.keys; k += 2) storeDown<K>(panel, width, k, at, set(0.0f), set(0.0f));
    store(tops + at, top);
    store(sums + at, load(sums + at) * factor + (even + odd));
    store(shrink + at, factor);
  }
  const size_t filled = divideUp(s.keys, 2) * 2 / Words<K>::PER;
  if (filled < words) std::memset(panel + filled * width, 0, (words - filled) * width * 4);
}

/** rows (of `words` words) times one panel of `width` columns, into out (rows, stride), added to where `add`. */
inline void multiply(const Attention& a, const uint32_t* rows, size_t rowStride, size_t count, const uint32_t* panel, size_t panelStride, size_t firstStep,
                     size_t columns, size_t words, float* out, size_t stride, float scale, bool add) {
  Product p{};
  p.rows = rows;
  p.rowStride = rowStride;
  p.rowCount = count;
  p.panels = panel;
  p.panelStride = panelStride;
  p.firstStep = firstStep;
  p.columns = columns;
  p.steps = words;
  p.out = out;
  p.outStride = stride;
  p.epilogue.scale = scale;
  if (add) p.epilogue.add = out;
  a.product(p);
}

/** out[t * stride + d] = from[d * width + t] * factors[t]. */
inline void writeTransposed(const float* from, size_t width, size_t head, size_t queries, const float* factors, float* out, size_t stride) {
  for (size_t d = 0; d < head; d += W)
    for (size_t t = 0; t < queries; t += W) {
      I square[W];
      F factor = load(factors + t);
      for (size_t i = 0; i < W; i++) square[i] = d + i < head ? asInt(load(from + (d + i) * width + t) * factor) : seti(0);
      transpose(square);
      int lanes = head - d < W ? static_cast<int>(head - d) : W;
      for (size_t i = 0; i < W && t + i < queries; i++) put(out + (t + i) * stride + d, asFloat(square[i]), lanes);
    }
}

template <Kind K>
void attentionForward(const Attention& a, size_t sequence, size_t kvHead, size_t query0, size_t queries, void* scratch) {
  Arena arena{static_cast<char*>(scratch)};
  const size_t head = a.headSize, group = a.heads / a.kvHeads;
  const size_t end = query0 + queries;
  const size_t begin = a.window && query0 + 1 > a.window ? (query0 + 1 - a.window) / 16 * 16 : 0;
  const size_t headWords = wordsOf(a, head), keyWords = wordsOf(a, end - begin) + 16;
  const Rounder plain;

  const size_t kvStride = a.kvHeads * head, qStride = a.heads * head;
  const float* k = a.k + sequence * a.length * kvStride + kvHead * head;
  const float* v = a.v + sequence * a.length * kvStride + kvHead * head;
  uint32_t* keys = arena.take<uint32_t>(roundUp(end - begin, 16) * headWords);
  packRows<K>(Source{k, false, kvStride, end, head}, begin, end - begin, plain, keys, headWords);
  uint32_t* values = arena.take<uint32_t>(roundUp(head, 16) * keyWords);
  packColumns<K>(Source{v, false, kvStride, end, head}, begin, end - begin, 0, head, plain, values, keyWords);

  uint32_t* qAcross = arena.take<uint32_t>(QUERIES * headWords);
  uint32_t* panel = arena.take<uint32_t>(QUERIES * wordsOf(a, KEYS));
  float* scores = arena.take<float>(KEYS * QUERIES);
  float* out = arena.take<float>(roundUp(head, W) * QUERIES);
  float* tops = arena.take<float>(QUERIES);
  float* sums = arena.take<float>(QUERIES);
  float* shrink = arena.take<float>(QUERIES);
  for (size_t h = kvHead * group; h < (kvHead + 1) * group; h++)
    for (size_t block = query0; block < end; block += QUERIES) {
      const size_t count = end - block < QUERIES ? end - block : QUERIES;
      const size_t width = roundUp(count, 16);
      const Source q{a.q + sequence * a.length * qStride + h * head, false, qStride, a.length, head};
      packPanelAcross<K>(q, block, count, plain, qAcross, headWords, nullptr);
      for (size_t i = 0; i < QUERIES; i++) {
        tops[i] = LOWEST;
        sums[i] = 0;
      }
      std::memset(out, 0, head * width * 4);
      const size_t from = a.window && block + 1 > a.window ? (block + 1 - a.window) / 16 * 16 : 0;
      for (size_t key0 = from > begin ? from : begin; key0 < block + count; key0 += KEYS) {
        Strip strip{a, block, count, key0, block + count - key0 < KEYS ? block + count - key0 : KEYS, a.slopes ? static_cast<float>(a.slopes[h]) : 0};
        multiply(a, keys + (key0 - begin) * headWords, headWords, strip.keys, qAcross, 0, 0, width, headWords, scores, width, a.scale, false);
        const size_t words = wordsOf(a, strip.keys);
        softmaxStrip<K>(strip, scores, panel, words, tops, sums, shrink);
        for (size_t d = 0; d < head; d++)
          for (size_t at = 0; at < width; at += W) store(out + d * width + at, load(out + d * width + at) * load(shrink + at));
        multiply(a, values + (key0 - begin) / (K == BF16 ? Words<BF16>::PER : 1), keyWords, head, panel, 0, 0, width, words, out, width, 1, true);
      }
      for (size_t i = 0; i < count; i++)
        a.logSums[(sequence * a.heads + h) * a.length + block + i] = tops[i] + static_cast<float>(__builtin_log(static_cast<double>(sums[i])));
      for (size_t at = 0; at < width; at += W) store(sums + at, set(1.0f) / load(sums + at));
      writeTransposed(out, width, head, count, sums, a.out + (sequence * a.length + block) * qStride + h * head, qStride);
    }
}

/** One row of the left operand: vectors `at` and, where a word holds two numbers, the next one. */
template <Kind K>
inline void storeAlong(uint32_t* row, size_t at, size_t width, F first, F second) {
  const F both[] = {first, second};
  if constexpr (Words<K>::PER == 2) storei(row + at / 2, Words<K>::along(both));
  else {
    storei(row + at, Words<K>::along(both));
    if (at + W < width) storei(row + at + W, Words<K>::along(both + 1));
  }
}

/** Where a strip's softmax weights and gradients of scores go: rows by key, and a panel of the gradients. */
struct StripGradient {
  uint32_t* weights;
  uint32_t* gradients;
  size_t rowWords;
  uint32_t* panel;
  size_t panelWords;
};

/**
 * Two keys by V vectors of queries: softmax weights from scores (not scaled yet), gradients of the scores from dp, both
 * packed as the products to come want them. SIMPLE: both keys are there, every query sees them, scores have no bias.
 */
template <Kind K, int V, bool SIMPLE>
[[gnu::always_inline]] inline void gradientPair(const Strip& s, size_t k, size_t at, const F (*scores)[V], const F (*dp)[V], const float* logSums,
                                                const float* deltas, const StripGradient& to) {
  const size_t width = roundUp(s.queries, 16);
  const F scale = set(s.a.scale);
  const bool plain = SIMPLE || s.plain();
  F w[2][2], g[2][2];
#pragma GCC unroll 2
  for (int i = 0; i < 2; i++)
#pragma GCC unroll 2
    for (int j = 0; j < 2; j++) {
      w[i][j] = g[i][j] = set(0.0f);
      const size_t key = s.key0 + k + static_cast<size_t>(i), query = at + static_cast<size_t>(j) * W;
      if (j >= V || (!SIMPLE && (k + static_cast<size_t>(i) >= s.keys || !s.seen(key, query)))) continue;
      F x = scores[i][j] * scale, slope = set(1.0f);
      if (!plain) {
        if (s.a.softcap > 0) {
          F t = tanh(x * set(1 / s.a.softcap));
          slope = set(1.0f) - t * t;
        }
        x = s.biased(x, key, query);
      }
      if (!SIMPLE && !s.seenByAll(key, query)) x = s.masked(x, key, query);
      w[i][j] = expBelow(x - load(logSums + query));
      g[i][j] = w[i][j] * (dp[i][j] - load(deltas + query));
      if (!plain) g[i][j] = g[i][j] * slope;
    }
#pragma GCC unroll 2
  for (size_t i = 0; i < 2; i++) {
    if (!SIMPLE && k + i >= s.keys) break;
    storeAlong<K>(to.weights + (k + i) * to.rowWords, at, width, w[i][0], w[i][1]);
    storeAlong<K>(to.gradients + (k + i) * to.rowWords, at, width, g[i][0], g[i][1]);
  }
#pragma GCC unroll 2
  for (int j = 0; j < V; j++) storeDown<K>(to.panel, width, k, at + static_cast<size_t>(j) * W, g[0][j], g[1][j]);
}

#if defined(__AVX512F__)
constexpr int TILE_KEYS = 4;
#else
constexpr int TILE_KEYS = 2;
#endif
#if defined(__AVX512BF16__)
template <Kind K>
using ScoreUnits = std::conditional_t<K == BF16, Bf16Units, FloatUnits>;
#else
template <Kind K>
using ScoreUnits = FloatUnits;
#endif

/** TILE_KEYS keys by V vectors of queries of a strip: scores and dp are summed in registers and never leave them. */
template <Kind K, int V>
inline void gradientTile(const Strip& s, size_t k, size_t at, const uint32_t* keys, const uint32_t* values, const uint32_t* q, const uint32_t* d,
                         size_t words, const float* logSums, const float* deltas, const StripGradient& to) {
  using Units = ScoreUnits<K>;
  const size_t width = roundUp(s.queries, 16);
  F scores[TILE_KEYS][V], dp[TILE_KEYS][V];
#pragma GCC unroll 4
  for (int i = 0; i < TILE_KEYS; i++)
#pragma GCC unroll 2
    for (int j = 0; j < V; j++) scores[i][j] = dp[i][j] = set(0.0f);
  if (s.seen(s.key0 + k, at + (V - 1) * W))
    for (size_t word = 0; word < words; word++) {
      I across[V], along[V];
#pragma GCC unroll 2
      for (int j = 0; j < V; j++) {
        across[j] = loadi(q + word * width + at + static_cast<size_t>(j) * W);
        along[j] = loadi(d + word * width + at + static_cast<size_t>(j) * W);
      }
#pragma GCC unroll 4
      for (int i = 0; i < TILE_KEYS; i++) {
        const size_t here = (k + static_cast<size_t>(i)) * words + word;
        const I key = seti(static_cast<int32_t>(keys[here])), value = seti(static_cast<int32_t>(values[here]));
#pragma GCC unroll 2
        for (int j = 0; j < V; j++) {
          scores[i][j] = Units::add(scores[i][j], key, across[j]);
          dp[i][j] = Units::add(dp[i][j], value, along[j]);
        }
      }
    }
  const size_t last = k + TILE_KEYS - 1;
  const bool simple = s.plain() && last < s.keys && s.seenByAll(s.key0 + last, at) && s.seenByAll(s.key0 + k, at + (V - 1) * W);
#pragma GCC unroll 2
  for (int i = 0; i < TILE_KEYS; i += 2) {
    const size_t here = k + static_cast<size_t>(i);
    if (simple) gradientPair<K, V, true>(s, here, at, scores + i, dp + i, logSums, deltas, to);
    else if (here < s.keys) gradientPair<K, V, false>(s, here, at, scores + i, dp + i, logSums, deltas, to);
  }
}

/** All of a strip; keys and values are those of its first key on, as rows of `words` words. */
template <Kind K>
void gradientStrip(const Strip& s, const uint32_t* keys, const uint32_t* values, const uint32_t* q, const uint32_t* d, size_t words, const float* logSums,
                   const float* deltas, const StripGradient& to) {
  const size_t width = roundUp(s.queries, 16);
  for (size_t k = 0; k < s.keys; k += TILE_KEYS)
    for (size_t at = 0; at < width; at += 2 * W) {
      if (at + W < width) gradientTile<K, 2>(s, k, at, keys, values, q, d, words, logSums, deltas, to);
      else gradientTile<K, 1>(s, k, at, keys, values, q, d, words, logSums, deltas, to);
    }
  const size_t filled = divideUp(s.keys, 2) * 2 / Words<K>::PER;
  if (filled < to.panelWords) std::memset(to.panel + filled * width, 0, (to.panelWords - filled) * width * 4);
}

template <Kind K>
void attentionGradient(const Attention& a, size_t sequence, size_t kvHead, void* scratch) {
  constexpr size_t PER = K == BF16 ? Words<BF16>::PER : 1;
  Arena arena{static_cast<char*>(scratch)};
  const size_t head = a.headSize, group = a.heads / a.kvHeads, length = a.length;
  const size_t headWords = wordsOf(a, head), keyWords = wordsOf(a, length) + 16, queryWords = wordsOf(a, QUERIES);
  const size_t kvStride = a.kvHeads * head, qStride = a.heads * head;
  const size_t kvAt = sequence * length * kvStride + kvHead * head;
  const Rounder plain;
  const Source k{a.k + kvAt, false, kvStride, length, head}, v{a.v + kvAt, false, kvStride, length, head};
  uint32_t* keys = arena.take<uint32_t>(roundUp(length, 16) * headWords);
  uint32_t* values = arena.take<uint32_t>(roundUp(length, 16) * headWords);
  uint32_t* keyColumns = arena.take<uint32_t>(roundUp(head, 16) * keyWords);
  packRows<K>(k, 0, length, plain, keys, headWords);
  packRows<K>(v, 0, length, plain, values, headWords);
  packColumns<K>(k, 0, length, 0, head, plain, keyColumns, keyWords);
  const size_t headPanels = roundUp(head, PANEL);
  uint32_t* qAcross = arena.take<uint32_t>(QUERIES * headWords);
  uint32_t* dAcross = arena.take<uint32_t>(QUERIES * headWords);
  uint32_t* qDown = arena.take<uint32_t>(headPanels * queryWords);
  uint32_t* dDown = arena.take<uint32_t>(headPanels * queryWords);
  uint32_t* weightRows = arena.take<uint32_t>(KEYS * queryWords);
  uint32_t* gradientRows = arena.take<uint32_t>(KEYS * queryWords);
  uint32_t* panel = arena.take<uint32_t>(QUERIES * wordsOf(a, KEYS));
  float* dq = arena.take<float>(roundUp(head, W) * QUERIES);
  float* logSums = arena.take<float>(QUERIES);
  float* deltas = arena.take<float>(QUERIES);
  float* factors = arena.take<float>(QUERIES);
  for (size_t i = 0; i < QUERIES; i++) factors[i] = a.scale;

  for (size_t t = 0; t < length; t++) {
    std::memset(a.dk + kvAt + t * kvStride, 0, head * 4);
    std::memset(a.dv + kvAt + t * kvStride, 0, head * 4);
  }
  for (size_t h = kvHead * group; h < (kvHead + 1) * group; h++)
    for (size_t block = 0; block < length; block += QUERIES) {
      const size_t count = length - block < QUERIES ? length - block : QUERIES;
      const size_t width = roundUp(count, 16);
      const size_t at = sequence * length * qStride + h * head;
      const Source q{a.q + at, false, qStride, length, head}, dOut{a.dOut + at, false, qStride, length, head};
      packPanelAcross<K>(q, block, count, plain, qAcross, headWords, nullptr);
      packPanelAcross<K>(dOut, block, count, plain, dAcross, headWords, nullptr);
      for (size_t i = 0; i < QUERIES; i++) {
        logSums[i] = i < count ? a.logSums[(sequence * a.heads + h) * length + block + i] : 0;
        deltas[i] = 0;
        if (i >= count) continue;
        const float* o = a.out + at + (block + i) * qStride;
        const float* d = a.dOut + at + (block + i) * qStride;
        for (size_t j = 0; j < head && i + 8 < count; j += 16) __builtin_prefetch(o + 8 * qStride + j);
        F sums = set(0.0f);
        each(head, [&](size_t j, int lanes) { sums = fma(get(o + j, lanes), get(d + j, lanes), sums); });
        deltas[i] = sum(sums);
      }
      packPanelsDown<K>(q, block, count, plain, qDown, PANEL * queryWords, 0, queryWords);
      packPanelsDown<K>(dOut, block, count, plain, dDown, PANEL * queryWords, 0, queryWords);
      std::memset(dq, 0, head * width * 4);
      const size_t from = a.window && block + 1 > a.window ? (block + 1 - a.window) / 16 * 16 : 0;
      for (size_t key0 = from; key0 < block + count; key0 += KEYS) {
        Strip strip{a, block, count, key0, block + count - key0 < KEYS ? block + count - key0 : KEYS, a.slopes ? static_cast<float>(a.slopes[h]) : 0};
        const size_t words = wordsOf(a, strip.keys), rowWords = wordsOf(a, width);
        gradientStrip<K>(strip, keys + key0 * headWords, values + key0 * headWords, qAcross, dAcross, headWords, logSums, deltas,
                         {weightRows, gradientRows, rowWords, panel, words});
        float* dv = a.dv + kvAt + key0 * kvStride;
        float* dk = a.dk + kvAt + key0 * kvStride;
        multiply(a, weightRows, rowWords, strip.keys, dDown, PANEL * queryWords, 0, head, rowWords, dv, kvStride, 1, true);
        multiply(a, gradientRows, rowWords, strip.keys, qDown, PANEL * queryWords, 0, head, rowWords, dk, kvStride, a.scale, true);
        multiply(a, keyColumns + key0 / PER, keyWords, head, panel, 0, 0, width, words, dq, width, 1, true);
      }
      writeTransposed(dq, width, head, count, factors, a.dq + at + block * qStride, qStride);
    }
}

void attention(const Attention& a, size_t sequence, size_t kvHead, size_t query0, size_t queries, void* scratch) {
  (a.kind == BF16 ? attentionForward<BF16> : attentionForward<F32>)(a, sequence, kvHead, query0, queries, scratch);
}
void attentionBackward(const Attention& a, size_t sequence, size_t kvHead, void* scratch) {
  (a.kind == BF16 ? attentionGradient<BF16> : attentionGradient<F32>)(a, sequence, kvHead, scratch);
}

}  // namespace
}  // namespace bitlaw::PATH
