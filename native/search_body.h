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

constexpr int COARSE = 57, FINE = 15, LANES = 64;
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

struct Trial {
  double scale, zero;
};

inline Trial trialOf(const Search& search, const Searched& block, double factor) {
  const BlockFormat& format = *search.format;
  if (format.rule == Rule::book || format.rule == Rule::step) return {roundWide(block.scale * factor, search.tried), 0};
  const float top = static_cast<float>(format.top);
  const double scale = roundWide(static_cast<float>(block.range * search.ratio * factor) / top, search.tried);
  if (format.rule == Rule::full) return {scale, static_cast<double>((format.top + 1) / 2)};
  if (!(scale > 0)) return {scale, 0};
  const float place = static_cast<float>(-(block.low * search.ratio * factor) / scale);
  return {scale, __builtin_rintf(place < 0 ? 0 : place > top ? top : place)};
}

/** The definition: the squared error of a block, summed in order in double. */
inline double exactError(const Search& search, const Searched& block, const Trial& trial) {
  const BlockFormat& format = *search.format;
  const double scale = trial.scale, top = format.top;
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
    double code = __builtin_rint(q > 0x1p40 ? 0x1p40 : q) + trial.zero;
    code = code < 0 ? 0 : code > top ? top : code;
    const double off = block.x[i] - scale * (code - trial.zero);
    error += off * off;
  }
  return error;
}

/** Squared errors of V vectors of trials at once: each lane has its scale (negated) and reciprocal; level(u, vector) rounds. */
template <int V, class Level>
inline void errorsOf(const Searched& block, const float* inverse, const float* negated, Level level, double* sums) {
  F factor[V], scale[V];
  for (int v = 0; v < V; v++) factor[v] = load(inverse + v * W), scale[v] = load(negated + v * W);
  for (size_t at = 0; at < block.n; at += 64) {
    const size_t end = block.n - at < 64 ? block.n : at + 64;
    F part[V];
    for (int v = 0; v < V; v++) part[v] = set(0);
    for (size_t i = at; i < end; i++) {
      const F x = set(block.x[i]);
      for (int v = 0; v < V; v++) {
        const F off = fma(level(x * factor[v], v), scale[v], x);
        part[v] = fma(off, off, part[v]);
      }
    }
    float lanes[W];
    for (int v = 0; v < V; v++) {
      store(lanes, part[v]);
      for (int lane = 0; lane < W; lane++) sums[v * W + lane] += lanes[lane];
    }
  }
}

/** Squared errors of `count` trials (room for LANES), estimated in float. */
inline void estimate(const Search& search, const Searched& block, const Trial* trials, int count, double* sums) {
  const BlockFormat& format = *search.format;
  if (format.rule == Rule::book && format.steps == 0 && format.count > 16) {
    BlockFormat given = format;
    given.scale = ScaleRule::given;
    uint8_t codes[CHUNK];
    for (int c = 0; c < count; c++) {
      sums[c] = 0;
      if (!(trials[c].scale > 0)) continue;
      const float scale = static_cast<float>(trials[c].scale);
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
  const int lanes = (count + W - 1) / W * W;
  float inverse[LANES], negated[LANES], low[LANES], high[LANES];
  const double steps = format.rule == Rule::book && format.steps > 0 ? format.steps : 1;
  const double reach = format.rule == Rule::book ? steps : format.top;
  for (int c = 0; c < lanes; c++) {
    const Trial& trial = trials[c < count ? c : 0];
    const bool usable = trial.scale > 0;
    inverse[c] = usable ? static_cast<float>(steps / trial.scale) : 0;
    negated[c] = usable ? static_cast<float>(-trial.scale / steps) : 0;
    const bool grid = format.rule == Rule::full || format.rule == Rule::uint;
    low[c] = static_cast<float>(grid ? -trial.zero : -reach);
    high[c] = static_cast<float>(grid ? format.top - trial.zero : reach);
    sums[c] = 0;
  }
  const bool even = format.rule != Rule::book || format.steps > 0;
  const auto run = [&](auto vectors, int c) {
    constexpr int V = decltype(vectors)::value;
    if (even) {
      F least[V], most[V];
      for (int v = 0; v < V; v++) least[v] = load(low + c + v * W), most[v] = load(high + c + v * W);
      errorsOf<V>(block, inverse + c, negated + c, [&](F u, int v) { return round(min(max(u, least[v]), most[v])); }, sums + c);
      return;
    }
#if defined(__AVX512F__)
    const F thresholds = load(search.thresholds), levels = load(search.padded);
    errorsOf<V>(block, inverse + c, negated + c, [&](F u, int) {
      const I one = seti(1);
      I code = _mm512_maskz_mov_epi32(less(set(search.thresholds[7]), u), seti(8));
      code = _mm512_mask_add_epi32(code, less(_mm512_permutexvar_ps(_mm512_add_epi32(code, seti(3)), thresholds), u), code, seti(4));
      code = _mm512_mask_add_epi32(code, less(_mm512_permutexvar_ps(_mm512_add_epi32(code, one), thresholds), u), code, seti(2));
      code = _mm512_mask_add_epi32(code, less(_mm512_permutexvar_ps(code, thresholds), u), code, one);
      return _mm512_permutexvar_ps(code, levels);
    }, sums + c);
#else
    errorsOf<V>(block, inverse + c, negated + c, [&](F u, int) {
      F level = set(search.padded[0]);
      for (int j = 0; j + 1 < format.count; j++) level = select(less(set(search.thresholds[j]), u), set(search.padded[j + 1]), level);
      return level;
    }, sums + c);
#endif
  };
  int c = 0;
  for (; c + 4 * W <= lanes; c += 4 * W) run(std::integral_constant<int, 4>{}, c);
  for (; c < lanes; c += W) run(std::integral_constant<int, 1>{}, c);
}

/** Index of the first factor with the least error. */
inline int leastOf(const Search& search, const Searched& block, const double* factors, int count) {
  Trial trials[LANES];
  double errors[LANES];
  bool usable = block.absmax >= 1e-12f && block.absmax <= 1e12f;
  double reach = 2.0 * block.absmax;
  const BlockFormat& format = *search.format;
  for (int c = 0; c < count; c++) {
    trials[c] = trialOf(search, block, factors[c]);
    const double scale = trials[c].scale;
    if (scale != 0 && !(scale >= 1e-30 && scale <= 1e30)) usable = false;
    const double most = scale * (format.rule == Rule::step ? format.top : 1);
    if (most > reach) reach = most;
  }
  double bound = HUGE_VAL;
  if (usable) {
    estimate(search, block, trials, count, errors);
    double least = HUGE_VAL;
    for (int c = 0; c < count; c++)
      if (trials[c].scale > 0 && errors[c] < least) least = errors[c];
    if (least == HUGE_VAL) return 0;
    // An estimated error of one value is off by at most 2^-20 of what the format reaches; their norm by sqrt(n) of that.
    bound = std::sqrt(least) * (1 + 1e-5) + 2 * std::sqrt(static_cast<double>(block.n)) * 0x1p-20 * reach;
    bound *= bound;
  }
  int kept[LANES], left = 0;
  for (int c = 0; c < count; c++) {
    if (usable && !(trials[c].scale > 0 && errors[c] <= bound)) continue;
    bool seen = false;
    for (int k = 0; k < left && !seen; k++) seen = trials[kept[k]].scale == trials[c].scale && trials[kept[k]].zero == trials[c].zero;
    if (!seen) kept[left++] = c;
  }
  if (left == 1) return kept[0];
  int best = kept[0];
  double least = exactError(search, block, trials[best]);
  for (int k = 1; k < left; k++) {
    const double error = exactError(search, block, trials[kept[k]]);
    if (error < least) least = error, best = kept[k];
  }
  return best;
}

inline double searchFactor(const Search& search, const Searched& block) {
  const double centre = COARSE_FACTORS.at[leastOf(search, block, COARSE_FACTORS.at, COARSE)];
  double factors[FINE] = {centre};
  int count = 1;
  for (int i = -7; i <= 7; i++) {
    const double factor = centre * (1 + i * 0.005);
    if (i != 0) factors[count++] = factor < 1 ? factor : 1;
  }
  return factors[leastOf(search, block, factors, FINE)];
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
      const float limit = static_cast<float>(absmaxOf(block.x, block.n) * search.ratio);
      if (most) most[index] = limit;
      scale = format.rule == Rule::step ? limit / top : limit;
      if (search.search && limit > 0) {
        block.scale = scale;
        block.absmax = limit;
        scale = static_cast<float>(scale * searchFactor(search, block));
      }
    }
    scales[index] = format.scale == ScaleRule::unrounded ? scale : roundScale(scale, format.scale);
  }
}

}  // namespace
}  // namespace bitlaw::PATH
