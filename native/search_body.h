// Scales of blocks with a factor on their absmax, or searched for least squared error, compiled once for each instruction
// path. The search is that of src/formats/search.ts and gives its scale, bit for bit: all factors are judged in float at
// once, one a lane, and only those that may be the best by the bound on that estimate's error are summed in double.
#pragma once
#include "quantize_body.h"

namespace bitlaw::PATH {
namespace {

/** A scale of double precision as its type stores it, at least 0: see roundScale in src/formats/scale.ts. */
inline double roundWide(double x, ScaleRule rule) {
  if (x != x) return x;
  if (rule == ScaleRule::fp32) return x > 3.4028234663852886e38 ? 3.4028234663852886e38 : static_cast<double>(static_cast<float>(x));
  if (rule == ScaleRule::e8m0) {
    if (x > 1.7976931348623157e308) return __builtin_nan("");
    if (x <= 0x1p-127) return 0x1p-127;
    uint64_t bits;
    std::memcpy(&bits, &x, 8);
    if (bits & 0xfffffffffffffull) bits += 0x10000000000000ull;
    bits &= ~0xfffffffffffffull;
    std::memcpy(&x, &bits, 8);
    return x > 0x1p127 ? 0x1p127 : x;
  }
  if (rule != ScaleRule::fp16 && rule != ScaleRule::bf16) return x;
  const bool half = rule == ScaleRule::fp16;
  const double largest = half ? 65504.0 : 3.3895313892515355e38;
  if (x >= largest) return largest;
  uint64_t bits;
  std::memcpy(&bits, &x, 8);
  const uint64_t exponent = bits >> 52, lowest = half ? 1023 - 14 : 1023 - 126, base = exponent > lowest ? exponent : lowest;
  // 1.5 * 2^(52 + unit): adding and taking it away rounds to multiples of 2^unit, ties to even.
  bits = ((base + 52 - (half ? 10 : 7)) << 52) | 0x8000000000000ull;
  double big;
  std::memcpy(&big, &bits, 8);
  x = (x + big) - big;
  return x < largest ? x : largest;
}

/** Scales as their type stores them, of finite ones. */
inline void roundAll(double* x, int n, ScaleRule rule) {
  if (rule != ScaleRule::fp16 && rule != ScaleRule::bf16) {
    for (int i = 0; i < n; i++) x[i] = roundWide(x[i], rule);
    return;
  }
  const bool half = rule == ScaleRule::fp16;
  const double largest = half ? 65504.0 : 3.3895313892515355e38;
  const uint64_t lowest = half ? 1023 - 14 : 1023 - 126, up = 52 - (half ? 10 : 7);
  for (int i = 0; i < n; i++) {
    const double v = x[i] < largest ? x[i] : largest;
    uint64_t bits;
    std::memcpy(&bits, &v, 8);
    const uint64_t exponent = bits >> 52, base = exponent > lowest ? exponent : lowest;
    bits = ((base + up) << 52) | 0x8000000000000ull;
    double big;
    std::memcpy(&big, &bits, 8);
    const double rounded = (v + big) - big;
    x[i] = rounded < largest ? rounded : largest;
  }
}

constexpr int COARSE = 57, FINE = 15, GROUP = 16, TRIALS = 64;
struct Factors {
  double at[COARSE];
};
constexpr Factors coarseFactors() {
  Factors factors{};
  factors.at[0] = 1;
  double factor = 0.96;
  for (int i = 1; i < COARSE; i++, factor *= 0.96) factors.at[i] = factor;
  return factors;
}
constexpr Factors COARSE_FACTORS = coarseFactors();

/** A block that is searched: of a grid its range, of others the scale that reaches its absmax. */
struct Searched {
  const float* x;
  size_t n;
  double scale, low, range;
  float absmax;
};

/** Scales that are tried, and the zero points of a grid. */
struct Trials {
  double scale[TRIALS], zero[TRIALS];
};

/** Fills in trials from … to - 1. */
inline void tryFactors(const Search& search, const Searched& block, const double* factors, int from, int to, Trials& trials) {
  const BlockFormat& format = *search.format;
  const bool grid = format.rule == Rule::full || format.rule == Rule::uint;
  const float top = static_cast<float>(format.top);
  for (int c = from; c < to; c++) {
    trials.scale[c] = grid ? static_cast<float>(block.range * search.ratio * factors[c]) / top : block.scale * factors[c];
    trials.zero[c] = format.rule == Rule::full ? (format.top + 1) / 2 : 0;
  }
  roundAll(trials.scale + from, to - from, search.tried);
  if (format.rule != Rule::uint) return;
  for (int c = from; c < to; c++) {
    if (!(trials.scale[c] > 0)) continue;
    const float place = static_cast<float>(-(block.low * search.ratio * factors[c]) / trials.scale[c]);
    trials.zero[c] = __builtin_rintf(place < 0 ? 0 : place > top ? top : place);
  }
}

/** The definition: the squared error of a block, summed in order in double. */
inline double exactError(const Search& search, const Searched& block, double scale, double zero) {
  const BlockFormat& format = *search.format;
  const double top = format.top;
  if (!(scale > 0)) return HUGE_VAL;
  double error = 0;
  if (format.rule == Rule::book) {
    const double steps = format.steps;
    const int last = format.count - 1;
    const bool finite = scale <= 1.7976931348623157e308;
    for (size_t i = 0; i < block.n; i++) {
      const double q = block.x[i] / scale;
      int code;
      if (!finite) code = format.zero;
      else if (format.steps > 0) {
        code = static_cast<int>(__builtin_rint((q > 1 ? 1 : q < -1 ? -1 : q) * steps)) + format.steps;
        while (code < last && q > format.thresholds[code]) code++;
        while (code > 0 && !(q > format.thresholds[code - 1])) code--;
      } else code = exactCode(format, q);
      const double off = block.x[i] - search.levels[code] * scale;
      error += off * off;
    }
    return error;
  }
  if (format.rule == Rule::step) {
    for (size_t i = 0; i < block.n; i++) {
      double q = block.x[i] / scale;
      q = q < -top ? -top : q > top ? top : q;
      const double off = block.x[i] - __builtin_rint(q) * scale;
      error += off * off;
    }
    return error;
  }
  for (size_t i = 0; i < block.n; i++) {
    const double q = block.x[i] / scale;
    double code = __builtin_rint(q > 0x1p40 ? 0x1p40 : q) + zero;
    code = code < 0 ? 0 : code > top ? top : code;
    const double off = block.x[i] - scale * (code - zero);
    error += off * off;
  }
  return error;
}

/** Squared errors of a group of trials at once, one a lane: each has its scale (negated) and reciprocal; level(u, vector) rounds. */
template <class Level>
inline void errorsOf(const Searched& block, const float* inverse, const float* negated, Level level, double* sums) {
  constexpr int V = GROUP / W;
  F factor[V], scale[V];
  for (int v = 0; v < V; v++) factor[v] = load(inverse + v * W), scale[v] = load(negated + v * W);
  for (int c = 0; c < GROUP; c++) sums[c] = 0;
  for (size_t at = 0; at < block.n; at += 64) {
    const size_t end = block.n - at < 64 ? block.n : at + 64;
    F part[V], other[V];
    for (int v = 0; v < V; v++) part[v] = other[v] = set(0);
    size_t i = at;
    for (; i + 1 < end; i += 2) {
      const F x = set(block.x[i]), y = set(block.x[i + 1]);
      for (int v = 0; v < V; v++) {
        const F off = fma(level(x * factor[v], v), scale[v], x), off2 = fma(level(y * factor[v], v), scale[v], y);
        part[v] = fma(off, off, part[v]);
        other[v] = fma(off2, off2, other[v]);
      }
    }
    if (i < end)
      for (int v = 0; v < V; v++) {
        const F x = set(block.x[i]), off = fma(level(x * factor[v], v), scale[v], x);
        part[v] = fma(off, off, part[v]);
      }
    float lanes[GROUP];
    for (int v = 0; v < V; v++) store(lanes + v * W, part[v] + other[v]);
    for (int c = 0; c < GROUP; c++) sums[c] += lanes[c];
  }
}

/** Squared errors of trials from … from + count - 1 (at most GROUP), estimated in float; sums has room for GROUP. */
inline void estimate(const Search& search, const Searched& block, const Trials& trials, int from, int count, double* sums) {
  const BlockFormat& format = *search.format;
  if (format.rule == Rule::book && format.steps == 0 && format.count > 16) {
    BlockFormat given = format;
    given.scale = ScaleRule::given;
    uint8_t codes[CHUNK];
    for (int c = 0; c < count; c++) {
      sums[c] = 0;
      if (!(trials.scale[from + c] > 0)) continue;
      const float scale = static_cast<float>(trials.scale[from + c]);
      for (size_t at = 0; at < block.n; at += CHUNK) {
        const size_t part = block.n - at < CHUNK ? block.n - at : CHUNK;
        codesOfBook(given, block.x + at, part, scale, codes);
        float errors[8] = {};
        for (size_t i = 0; i < part; i++) {
          const float off = block.x[at + i] - format.levels[codes[i]] * scale;
          errors[i & 7] += off * off;
        }
        for (float error : errors) sums[c] += error;
      }
    }
    return;
  }
  float inverse[GROUP], negated[GROUP], low[GROUP], high[GROUP];
  const bool grid = format.rule == Rule::full || format.rule == Rule::uint, even = format.rule != Rule::book || format.steps > 0;
  const float steps = format.rule == Rule::book && format.steps > 0 ? static_cast<float>(format.steps) : 1;
  const float reach = format.rule == Rule::book ? steps : static_cast<float>(format.top);
  for (int c = 0; c < GROUP; c++) {
    const int trial = from + (c < count ? c : 0);
    const float scale = static_cast<float>(trials.scale[trial]), zero = static_cast<float>(trials.zero[trial]);
    inverse[c] = scale > 0 ? steps / scale : 0;
    negated[c] = -scale / steps;
    low[c] = grid ? -zero : -reach;
    high[c] = grid ? static_cast<float>(format.top) - zero : reach;
  }
  constexpr int V = GROUP / W;
  if (even) {
    F least[V], most[V];
    for (int v = 0; v < V; v++) least[v] = load(low + v * W), most[v] = load(high + v * W);
    errorsOf(block, inverse, negated, [&](F u, int v) { return round(min(max(u, least[v]), most[v])); }, sums);
    return;
  }
#if defined(__AVX512F__)
  const F thresholds = load(search.thresholds), levels = load(search.padded), middle = set(search.thresholds[7]);
  errorsOf(block, inverse, negated, [&](F u, int) {
    const I one = seti(1);
    I code = _mm512_maskz_mov_epi32(less(middle, u), seti(8));
    code = _mm512_mask_add_epi32(code, less(_mm512_permutexvar_ps(_mm512_add_epi32(code, seti(3)), thresholds), u), code, seti(4));
    code = _mm512_mask_add_epi32(code, less(_mm512_permutexvar_ps(_mm512_add_epi32(code, one), thresholds), u), code, seti(2));
    code = _mm512_mask_add_epi32(code, less(_mm512_permutexvar_ps(code, thresholds), u), code, one);
    return _mm512_permutexvar_ps(code, levels);
  }, sums);
#else
  errorsOf(block, inverse, negated, [&](F u, int) {
    F level = set(search.padded[0]);
    for (int j = 0; j + 1 < format.count; j++) level = select(less(set(search.thresholds[j]), u), set(search.padded[j + 1]), level);
    return level;
  }, sums);
#endif
}

/** Squared error of what lies outside low … high. */
inline double errorOutside(const Searched& block, float low, float high) {
  double sum = 0;
  for (size_t at = 0; at < block.n; at += CHUNK) {
    const size_t end = block.n - at < CHUNK ? block.n : at + CHUNK;
    F part = set(0);
    size_t i = at;
    for (; i + W <= end; i += W) {
      const F x = load(block.x + i), off = x - min(max(x, set(low)), set(high));
      part = fma(off, off, part);
    }
    float lanes[W];
    store(lanes, part);
    for (float lane : lanes) sum += lane;
    for (; i < end; i++) {
      const float off = block.x[i] > high ? block.x[i] - high : block.x[i] < low ? block.x[i] - low : 0;
      sum += off * off;
    }
  }
  return sum;
}

/** Index of the first factor with the least error; `falling`: factors only get smaller. */
inline int leastOf(const Search& search, const Searched& block, const double* factors, int count, bool falling) {
  const BlockFormat& format = *search.format;
  const bool grid = format.rule == Rule::full || format.rule == Rule::uint;
  Trials trials;
  double errors[TRIALS];
  // The estimated error of a value is off by at most 13 roundings of what the format or the block reaches, 2^-20 of that
  // in all; their norm by sqrt(n) of it, and so is that which it is compared with.
  const double full = grid ? block.range * search.ratio : block.scale * (format.rule == Rule::step ? format.top : 1);
  const double reach = (search.tried == ScaleRule::e8m0 ? 2 : 1.01) * (full > block.absmax ? full : block.absmax);
  const double doubt = 2 * std::sqrt(static_cast<double>(block.n)) * 0x1p-20 * reach;
  bool usable = block.absmax >= 1e-12f && block.absmax <= 1e12f;
  // Within the normal numbers of their type scales are rounded by 2^-8 at most, so what a factor cuts off can be told from it.
  const double smallest = full * 0.09 / (grid ? format.top : format.rule == Rule::step ? format.top : 1), largest = smallest / 0.09;
  falling = falling && search.tried != ScaleRule::e8m0 && smallest > 6.2e-5 && largest < 65504;
  double least = HUGE_VAL;
  int tried = 0;
  while (tried < count) {
    if (tried > 0 && usable && falling) {
      const double share = factors[tried], slack = (grid ? block.range * search.ratio * (0.75 / format.top + 0x1p-7) : full * 0x1p-7) * share;
      const double most = (grid ? (block.low + block.range) * search.ratio : full) * share + slack;
      const double low = (grid ? block.low * search.ratio : -full) * share - slack;
      if (std::sqrt(errorOutside(block, static_cast<float>(low), static_cast<float>(most))) * (1 - 1e-5) > std::sqrt(least) * (1 + 1e-5) + doubt) break;
    }
    const int to = count - tried < GROUP ? count : tried + GROUP;
    tryFactors(search, block, factors, tried, to, trials);
    for (int c = tried; c < to; c++)
      if (trials.scale[c] != 0 && !(trials.scale[c] >= 1e-30 && trials.scale[c] <= 1e30)) usable = false;
    if (usable) {
      estimate(search, block, trials, tried, to - tried, errors + tried);
      for (int c = tried; c < to; c++)
        if (trials.scale[c] > 0 && errors[c] < least) least = errors[c];
    }
    tried = to;
  }
  if (usable && least == HUGE_VAL) return 0;
  double bound = std::sqrt(least) * (1 + 1e-5) + doubt;
  bound *= bound;
  int kept[TRIALS], left = 0;
  for (int c = 0; c < tried; c++) {
    if (usable && !(trials.scale[c] > 0 && errors[c] <= bound)) continue;
    bool seen = false;
    for (int k = 0; k < left && !seen; k++) seen = trials.scale[kept[k]] == trials.scale[c] && trials.zero[kept[k]] == trials.zero[c];
    if (!seen) kept[left++] = c;
  }
  int best = kept[0];
  if (left == 1) return best;
  double nearest = exactError(search, block, trials.scale[best], trials.zero[best]);
  for (int k = 1; k < left; k++) {
    const double error = exactError(search, block, trials.scale[kept[k]], trials.zero[kept[k]]);
    if (error < nearest) nearest = error, best = kept[k];
  }
  return best;
}

inline double searchFactor(const Search& search, const Searched& block) {
  const double centre = COARSE_FACTORS.at[leastOf(search, block, COARSE_FACTORS.at, COARSE, true)];
  double factors[FINE] = {centre};
  int count = 1;
  for (int i = -7; i <= 7; i++) {
    const double factor = centre * (1 + i * 0.005);
    if (i != 0) factors[count++] = factor < 1 ? factor : 1;
  }
  return factors[leastOf(search, block, factors, FINE, false)];
}

/** Scales of all blocks in f32, rounded where the format says how; of grids also the scaled minima; `most`: what the scales reach. */
void findScales(const Search& search, const float* x, size_t n, float* scales, double* lows, float* most) {
  const BlockFormat& format = *search.format;
  const float top = static_cast<float>(format.top);
  for (size_t at = 0, index = 0; at < n; at += format.length, index++) {
    Searched block{x + at, n - at < format.length ? n - at : format.length, 0, 0, 0, 0};
    float scale;
    if (format.rule == Rule::full || format.rule == Rule::uint) {
      float low, high;
      rangeOf(block.x, block.n, format.rule == Rule::full, low, high);
      block.low = low;
      block.range = static_cast<double>(high) - low;
      block.absmax = -low > high ? -low : high;
      if (most) most[index] = low != low ? low : block.absmax;
      const double factor = search.search && low == low ? searchFactor(search, block) : 1;
      scale = static_cast<float>(block.range * search.ratio * factor) / top;
      lows[index] = low * search.ratio * factor;
    } else {
      block.absmax = absmaxOf(block.x, block.n);
      const float limit = static_cast<float>(block.absmax * search.ratio);
      if (most) most[index] = limit;
      scale = format.rule == Rule::step ? limit / top : limit;
      if (search.search && limit > 0) {
        block.scale = scale;
        scale = static_cast<float>(scale * searchFactor(search, block));
      }
    }
    scales[index] = format.scale == ScaleRule::unrounded ? scale : roundScale(scale, format.scale);
  }
}

}  // namespace
}  // namespace bitlaw::PATH
