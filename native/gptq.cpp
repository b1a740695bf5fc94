// GPTQ of a whole matrix on all threads, the Hessian it needs, and a layer's output error. Rows are independent of each
// other and lie in the lanes of vectors; columns are taken in blocks, so that nearly all arithmetic is one kind of product.
// The order of every sum is fixed by the shapes, not by the threads.
#include "gptq.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "boundary.h"

namespace bitlaw {

extern const GptqTables portableGptq;
#if defined(BITLAW_HAS_AVX2)
extern const GptqTables avx2Gptq;
#endif
#if defined(BITLAW_HAS_AVX512BF16)
extern const GptqTables avx512bf16Gptq;
#endif

const GptqTables& gptqTables(const std::string& path) {
#if defined(BITLAW_HAS_AVX512BF16)
  if (path == "amx" || path == "avx512bf16") return avx512bf16Gptq;
#endif
#if defined(BITLAW_HAS_AVX2)
  if (path != "portable") return avx2Gptq;
#endif
  return portableGptq;
}

namespace {

template <class T>
const GptqOps<T>& opsOf(const Engine& engine);
template <>
const GptqOps<float>& opsOf<float>(const Engine& engine) { return gptqTables(engine.ops->name).single; }
template <>
const GptqOps<double>& opsOf<double>(const Engine& engine) { return gptqTables(engine.ops->name).exact; }

/** Memory of one call, aligned to pages and not cleared. */
template <class T>
struct Memory {
  explicit Memory(size_t count) : data(buffer.need<T>(count)) {}
  Buffer buffer;
  T* data;
};

/** Rows of the triangle that are factored at once; a multiple of every path's lanes. */
constexpr size_t BLOCK = 64;

/** Inputs whose products are summed before they are added to the Hessian. */
constexpr size_t CHUNK = 1024;

/** hessian (columns, columns) += 2 X'X. */
template <class T>
void addToHessian(Engine& engine, const float* x, size_t rows, size_t columns, double* hessian) {
  const auto& ops = opsOf<T>(engine);
  const size_t lanes = ops.lanes, tiles = divideUp(columns, lanes);
  Memory<T> packed(tiles * lanes * std::min(rows, CHUNK));
  for (size_t first = 0; first < rows; first += CHUNK) {
    const size_t count = std::min(CHUNK, rows - first);
    engine.pool.run(tiles, false, [&](size_t tile, int) {
      T* to = packed.data + tile * lanes * count;
      const size_t from = tile * lanes, width = std::min(lanes, columns - from);
      for (size_t k = 0; k < count; k++, to += lanes) {
        const float* row = x + (first + k) * columns + from;
        for (size_t i = 0; i < width; i++) to[i] = static_cast<T>(row[i]);
        for (size_t i = width; i < lanes; i++) to[i] = 0;
      }
    });
    engine.pool.run(tiles, false, [&](size_t tile, int) {
      T sums[MAX_LANES * MAX_LANES];
      // The longest rows of the triangle first, so that no thread is left with one at the end.
      for (size_t other = tile; other < tiles; other++) {
        ops.product(packed.data + tile * lanes * count, lanes, packed.data + other * lanes * count, count, lanes, sums, false);
        const size_t height = std::min(lanes, columns - tile * lanes), width = std::min(lanes, columns - other * lanes);
        for (size_t i = 0; i < height; i++) {
          double* row = hessian + (tile * lanes + i) * columns + other * lanes;
          for (size_t j = 0; j < width; j++) row[j] += 2.0 * static_cast<double>(sums[i * lanes + j]);
        }
      }
    });
  }
  // The lower triangle is the upper one.
  engine.pool.run(tiles, false, [&](size_t tile, int) {
    for (size_t other = 0; other < tile; other++)
      for (size_t i = tile * lanes; i < std::min(columns, (tile + 1) * lanes); i++)
        for (size_t j = other * lanes; j < (other + 1) * lanes; j++) hessian[i * columns + j] = hessian[j * columns + i];
  });
}

/** A factor S with S'S = G, where G is the Hessian with its order reversed: tile t holds columns t * lanes…, row after row. */
template <class T>
struct Factor {
  size_t size, padded, lanes;
  Memory<T> data;
  Factor(size_t n, size_t width) : size(n), padded(roundUp(n, BLOCK)), lanes(width), data(padded * padded) {}
  T* row(size_t tile, size_t k) const { return data.data + (tile * padded + k) * lanes; }
  T at(size_t k, size_t i) const { return row(i / lanes, k)[i % lanes]; }
};

/** Factors hessian[order][order], reversed, plus `damp` on the diagonal, zeros of which count as 1; false: not positive definite. */
template <class T>
bool factorize(Engine& engine, const double* hessian, size_t n, const int32_t* order, double damp, Factor<T>& factor) {
  const auto& ops = opsOf<T>(engine);
  const size_t lanes = ops.lanes, padded = factor.padded, tiles = padded / lanes, perBlock = BLOCK / lanes;
  auto column = [&](size_t i) { return order ? static_cast<size_t>(order[n - 1 - i]) : n - 1 - i; };
  T square[BLOCK * BLOCK];
  for (size_t block = 0; block < padded; block += BLOCK) {
    // C = G[block rows][tile] - sum over earlier rows k of S[k][block] S[k][tile], for all tiles from this block on.
    auto reduce = [&](size_t tile) {
      T sums[BLOCK * MAX_LANES];
      std::fill_n(sums, BLOCK * lanes, T(0));
      for (size_t part = 0; part < perBlock && block > 0; part++)
        ops.product(factor.row(block / lanes + part, 0), lanes, factor.row(tile, 0), block, lanes, sums + part * lanes * lanes, false);
      for (size_t i = 0; i < BLOCK; i++)
        for (size_t j = 0; j < lanes; j++) {
          const size_t r = block + i, c = tile * lanes + j;
          double value = r == c ? 1 : 0;
          if (r < n && c < n) {
            const size_t from = column(r);
            value = hessian[from * n + column(c)];
            if (r == c) value = (value == 0 ? 1 : value) + damp;
          }
          factor.row(tile, r)[j] = static_cast<T>(value - static_cast<double>(sums[i * lanes + j]));
        }
    };
    engine.pool.run(perBlock, false, [&](size_t part, int) { reduce(block / lanes + part); });
    for (size_t i = 0; i < BLOCK; i++)
      for (size_t j = i; j < BLOCK; j++) square[i * BLOCK + j] = factor.at(block + i, block + j);
    for (size_t i = 0; i < BLOCK; i++) {
      const T pivot = square[i * BLOCK + i];
      if (!(pivot > 0)) return false;
      const T root = std::sqrt(pivot);
      for (size_t j = i; j < BLOCK; j++) square[i * BLOCK + j] /= root;
      for (size_t r = i + 1; r < BLOCK; r++)
        for (size_t j = r; j < BLOCK; j++) square[r * BLOCK + j] -= square[i * BLOCK + r] * square[i * BLOCK + j];
    }
    for (size_t i = 0; i < BLOCK; i++)
      for (size_t j = 0; j < BLOCK; j++) factor.row((block + j) / lanes, block + i)[j % lanes] = j < i ? T(0) : square[i * BLOCK + j];
    const size_t next = block / lanes + perBlock;
    engine.pool.run(tiles - next, false, [&](size_t index, int) {
      const size_t tile = next + index;
      reduce(tile);
      // Rows of S: forward substitution with the block's own triangle.
      for (size_t i = 0; i < BLOCK; i++) {
        T* row = factor.row(tile, block + i);
        const T root = square[i * BLOCK + i];
        for (size_t j = 0; j < lanes; j++) row[j] /= root;
        for (size_t r = i + 1; r < BLOCK; r++) {
          T* later = factor.row(tile, block + r);
          const T share = square[i * BLOCK + r];
          for (size_t j = 0; j < lanes; j++) later[j] -= share * row[j];
        }
      }
    });
  }
  return true;
}

/** A positive number as a type with `bits` of mantissa stores it; `least` is the unit of the subnormals. */
double roundMantissa(double x, int bits, double least, double largest) {
  if (!(x > 0)) return x;
  int exponent;
  std::frexp(x, &exponent);
  const double unit = std::max(std::ldexp(1.0, exponent - 1 - bits), least);
  return std::min(std::nearbyint(x / unit) * unit, largest);
}

double roundedScale(double x, GridScale kind) {
  switch (kind) {
    case GridScale::fp16: return roundMantissa(x, 10, std::ldexp(1.0, -24), 65504);
    case GridScale::bf16: return roundMantissa(x, 7, std::ldexp(1.0, -133), 3.3895313892515355e38);
    case GridScale::fp32: return roundMantissa(x, 23, std::ldexp(1.0, -149), 3.4028234663852886e38);
    default: return x;
  }
}

/** Scale and zero point of a group from its least and largest weight, 0 included. */
void fitGroup(const GptqGrid& grid, double low, double high, double& scale, double& zero) {
  zero = 0;
  if (grid.kind != GridKind::affine) {
    const double size = std::max(-low, high);
    const int half = grid.last / 2;
    scale = roundedScale(grid.kind == GridKind::step ? size / half : size, grid.scale);
    if (grid.kind == GridKind::step) zero = half;
    return;
  }
  if (grid.symmetric) {
    high = std::max(-low, high);
    if (low < 0) low = -high;
  }
  if (low == 0 && high == 0) {
    low = -1;
    high = 1;
  }
  scale = roundedScale((high - low) / grid.last, grid.scale);
  if (grid.symmetric) zero = (grid.last + 1) / 2;
  else if (scale > 0) zero = std::min<double>(grid.last, std::max(0.0, std::nearbyint(-low / scale)));
}

struct GptqCall {
  const float* weight;
  const double* hessian;
  size_t rows, columns;
  const int32_t* order;
  double damp;
  GptqGrid grid;
  /** Columns that share a scale. */
  size_t group;
  /** Scales are given, or found before any update (of a static group: with dead columns as zeros). */
  bool fixed, early, rowScales;
  /** Scales from the weights as they were when their block of columns began; `block` columns. */
  bool stale;
  size_t block;
  uint8_t* codes;
  double* scales;
  uint8_t* zeros;
};

/** Fills scales and zeros of the groups of stored columns from the weights as they are. */
void fitEarly(Engine& engine, const GptqCall& call, const std::vector<uint8_t>& dead) {
  const size_t groups = divideUp(call.columns, call.group);
  engine.pool.run(call.rows, false, [&](size_t row, int) {
    const float* weights = call.weight + row * call.columns;
    for (size_t g = 0; g < groups; g++) {
      double low = 0, high = 0, scale, zero;
      for (size_t c = g * call.group; c < std::min(call.columns, (g + 1) * call.group); c++) {
        const double w = dead[c] && !call.rowScales ? 0 : weights[c];
        low = std::min(low, w);
        high = std::max(high, w);
      }
      fitGroup(call.grid, low, high, scale, zero);
      call.scales[row * groups + g] = scale;
      call.zeros[row * groups + g] = static_cast<uint8_t>(zero);
    }
  });
}

/** Runs GPTQ; gives twice the sum of squares of the output error (undamped), or nan where the Hessian is not positive definite. */
template <class T>
double solve(Engine& engine, const GptqCall& call) {
  const auto& ops = opsOf<T>(engine);
  const size_t n = call.columns, lanes = ops.lanes, tiles = divideUp(call.rows, lanes), groups = divideUp(n, call.group);
  std::vector<uint8_t> dead(n);
  double trace = 0;
  for (size_t i = 0; i < n; i++) {
    const double d = call.hessian[i * n + i];
    dead[i] = d == 0;
    trace += d == 0 ? 1 : d;
  }
  const double damp = call.damp * trace / static_cast<double>(n);
  Factor<T> factor(n, lanes);
  if (!factorize(engine, call.hessian, n, call.order, damp, factor)) return std::nan("");
  if (call.early && !call.fixed) fitEarly(engine, call, dead);
  auto stored = [&](size_t place) { return call.order ? static_cast<size_t>(call.order[place]) : place; };

  // factors[p][i]: what the difference of column p adds to column first + i, over the pivot of that column.
  const size_t block = call.block, width = roundUp(block, 8);
  Memory<T> factors(n * width);
  // differences of all columns so far: tile after tile, column after column.
  Memory<T> differences(tiles * n * lanes);
  struct Scratch {
    std::vector<T> now, original, trial;
  };
  std::vector<Scratch> scratch(static_cast<size_t>(engine.pool.threads()));
  for (auto& s : scratch) {
    s.now.resize(width * lanes);
    s.original.resize(block * lanes);
    s.trial.resize(width * lanes);
  }
  std::vector<double> lost(tiles, 0.0);
  std::vector<double> scaleOf(tiles * lanes), zeroOf(tiles * lanes);  // of the group that is open

  for (size_t first = 0; first < n; first += block) {
    const size_t count = std::min(block, n - first), end = first + count;
    engine.pool.run(divideUp(end, 64), false, [&](size_t index, int) {
      for (size_t p = index * 64; p < std::min(end, (index + 1) * 64); p++) {
        T* line = factors.data + p * width;
        const size_t i = n - 1 - p;
        const T* from = factor.row(i / lanes, 0) + i % lanes;
        for (size_t j = 0; j < width; j++) {
          const size_t q = first + j;
          line[j] = j < count && q > p ? from[(n - 1 - q) * lanes] / factor.at(n - 1 - q, n - 1 - q) : T(0);
        }
      }
    });
    engine.pool.run(tiles, false, [&](size_t tile, int thread) {
      Scratch& s = scratch[static_cast<size_t>(thread)];
      T* now = s.now.data();
      const size_t row0 = tile * lanes, height = std::min(lanes, call.rows - row0);
      T* difference = differences.data + tile * n * lanes;
      for (size_t j = 0; j < count; j++) {
        const size_t c = stored(first + j);
        T* to = s.original.data() + j * lanes;
        for (size_t lane = 0; lane < lanes; lane++)
          to[lane] = lane < height && !dead[c] ? static_cast<T>(call.weight[(row0 + lane) * n + c]) : T(0);
      }
      std::fill_n(now, width * lanes, T(0));
      std::copy_n(s.original.data(), count * lanes, now);
      if (first > 0) ops.product(factors.data, width, difference, first, width, now, true);

      // Weights as they would be if columns from..to were not rounded: what scales are found from.
      auto unrounded = [&](size_t from, size_t to) {
        T* trial = s.trial.data();
        std::copy_n(now + from * lanes, (to - from) * lanes, trial + from * lanes);
        T step[MAX_LANES];
        for (size_t j = from; j < to; j++) {
          for (size_t lane = 0; lane < lanes; lane++) step[lane] = s.original[j * lanes + lane] - trial[j * lanes + lane];
          ops.feedback(step, factors.data + (first + j) * width + j + 1, to - j - 1, trial + (j + 1) * lanes);
        }
      };
      if (call.stale) unrounded(0, count);
      T scales[MAX_LANES] = {}, zeros[MAX_LANES] = {};
      if (!call.early)
        for (size_t lane = 0; lane < lanes; lane++) {
          scales[lane] = static_cast<T>(scaleOf[row0 + lane]);
          zeros[lane] = static_cast<T>(zeroOf[row0 + lane]);
        }
      double sum = 0;
      for (size_t j = 0; j < count; j++) {
        const size_t place = first + j, column = stored(place);
        if (call.early) {
          const size_t g = column / call.group;
          for (size_t lane = 0; lane < height; lane++) {
            scales[lane] = static_cast<T>(call.scales[(row0 + lane) * groups + g]);
            zeros[lane] = static_cast<T>(call.zeros[(row0 + lane) * groups + g]);
          }
        } else if (place % call.group == 0) {
          const size_t last = std::min(j + call.group, count);
          if (!call.stale) unrounded(j, last);
          for (size_t lane = 0; lane < lanes; lane++) {
            double low = 0, high = 0, scale, zero;
            for (size_t i = j; i < last; i++) {
              const double w = static_cast<double>(s.trial[i * lanes + lane]);
              low = std::min(low, w);
              high = std::max(high, w);
            }
            fitGroup(call.grid, low, high, scale, zero);
            scales[lane] = static_cast<T>(scale);
            zeros[lane] = static_cast<T>(zero);
            scaleOf[row0 + lane] = scale;
            zeroOf[row0 + lane] = zero;
            if (lane < height) {
              call.scales[(row0 + lane) * groups + place / call.group] = scale;
              call.zeros[(row0 + lane) * groups + place / call.group] = static_cast<uint8_t>(zero);
            }
          }
        }
        uint8_t codes[MAX_LANES];
        T values[MAX_LANES];
        ops.round(call.grid, now + j * lanes, scales, zeros, codes, values);
        for (size_t lane = 0; lane < height; lane++) call.codes[(row0 + lane) * n + column] = codes[lane];
        T* d = difference + place * lanes;
        const double pivot = static_cast<double>(factor.at(n - 1 - place, n - 1 - place));
        double squares = 0, removed = 0;
        for (size_t lane = 0; lane < lanes; lane++) {
          d[lane] = s.original[j * lanes + lane] - values[lane];
          if (lane >= height) continue;
          const double e = static_cast<double>(now[j * lanes + lane] - values[lane]);
          squares += e * e;
          removed += static_cast<double>(d[lane]) * static_cast<double>(d[lane]);
        }
        sum += squares * pivot * pivot - damp * removed - (dead[column] ? removed : 0);
        ops.feedback(d, factors.data + place * width + j + 1, count - j - 1, now + (j + 1) * lanes);
      }
      lost[tile] += sum;
    });
  }
  double total = 0;
  for (double each : lost) total += each;
  return total;
}

/** Sum over rows of d H d', d = difference of two matrices (rows, columns). */
template <class T>
double quadraticForm(Engine& engine, const float* a, const float* b, const double* hessian, size_t rows, size_t columns) {
  const auto& ops = opsOf<T>(engine);
  const size_t lanes = ops.lanes, tiles = divideUp(rows, lanes), width = roundUp(columns, 8);
  Memory<T> matrix(columns * width);
  engine.pool.run(columns, false, [&](size_t i, int) {
    for (size_t j = 0; j < width; j++) matrix.data[i * width + j] = j < columns ? static_cast<T>(hessian[i * columns + j]) : T(0);
  });
  std::vector<double> sums(tiles, 0.0);
  engine.pool.run(tiles, false, [&](size_t tile, int) {
    std::vector<T> difference(columns * lanes), product(width * lanes);
    const size_t row0 = tile * lanes, height = std::min(lanes, rows - row0);
    for (size_t c = 0; c < columns; c++)
      for (size_t lane = 0; lane < lanes; lane++) {
        const size_t at = (row0 + lane) * columns + c;
        difference[c * lanes + lane] = lane < height ? static_cast<T>(a[at]) - static_cast<T>(b[at]) : T(0);
      }
    ops.product(matrix.data, width, difference.data(), columns, width, product.data(), false);
    double sum = 0;
    for (size_t i = 0; i < columns * lanes; i++) sum += static_cast<double>(difference[i]) * static_cast<double>(product[i]);
    sums[tile] = sum;
  });
  double total = 0;
  for (double each : sums) total += each;
  return total;
}

}  // namespace

/** hessianAdd(engine, exact, rows, columns, x, hessian) */
static void hessianAdd(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  const bool exact = args.flag();
  size_t rows = args.count("rows"), columns = args.count("columns");
  const float* x = args.floats("x", rows * columns);
  double* hessian = args.doublesOrNull("hessian", columns * columns);
  if (!hessian) args.fail("hessian", "a Float64Array");
  if (exact) addToHessian<double>(engine, x, rows, columns, hessian);
  else addToHessian<float>(engine, x, rows, columns, hessian);
}

/** outputError(engine, exact, rows, columns, a, b, hessian) -> sum of (a - b) hessian (a - b)' */
static Napi::Value outputError(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  const bool exact = args.flag();
  size_t rows = args.count("rows"), columns = args.count("columns");
  const float* a = args.floats("a", rows * columns);
  const float* b = args.floats("b", rows * columns);
  const double* hessian = args.doublesOrNull("hessian", columns * columns);
  if (!hessian) args.fail("hessian", "a Float64Array");
  double error = exact ? quadraticForm<double>(engine, a, b, hessian, rows, columns) : quadraticForm<float>(engine, a, b, hessian, rows, columns);
  return Napi::Number::New(info.Env(), error);
}

/**
 * gptq(engine, exact, rows, columns, weight, hessian, order | null, damp, kind, symmetric, last, scale, levels | null,
 * thresholds | null, group, early, fixed, rowScales, stale, block, codes, scales, zeros) -> error
 */
static Napi::Value gptqCall(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Engine& engine = args.engine();
  GptqCall call{};
  const bool exact = args.flag();
  call.rows = args.count("rows");
  call.columns = args.count("columns");
  const size_t size = call.rows * call.columns;
  call.weight = args.floats("weight", size);
  call.hessian = args.doublesOrNull("hessian", call.columns * call.columns);
  if (!call.hessian) args.fail("hessian", "a Float64Array");
  call.order = args.absent() ? nullptr : args.ints("order", call.columns);
  if (call.order)
    for (size_t i = 0; i < call.columns; i++)
      if (call.order[i] < 0 || static_cast<size_t>(call.order[i]) >= call.columns) args.fail("order", "columns of the matrix");
  call.damp = args.number("damp");
  const size_t kind = args.count("kind");
  call.grid.symmetric = args.flag();
  const size_t last = args.count("last"), scale = args.count("scale");
  if (kind > 2 || last < 1 || last > 255 || scale > 3) args.fail("grid", "one of the kinds, with 2 to 256 codes");
  call.grid.kind = static_cast<GridKind>(kind);
  call.grid.last = static_cast<int>(last);
  call.grid.scale = static_cast<GridScale>(scale);
  call.grid.levels = args.doublesOrNull("levels", last + 1);
  call.grid.thresholds = args.doublesOrNull("thresholds", last);
  if (call.grid.kind == GridKind::book && (!call.grid.levels || !call.grid.thresholds)) args.fail("levels and thresholds", "given");
  call.group = args.count("group");
  call.early = args.flag();
  call.fixed = args.flag();
  call.rowScales = args.flag();
  call.stale = args.flag();
  call.block = args.count("block");
  const bool whole = call.early || (call.group > 0 && call.block % call.group == 0);
  if (call.group < 1 || call.block < 1 || !whole) args.fail("block", "whole groups of columns");
  const size_t groups = divideUp(call.columns, call.group);
  call.codes = args.bytes("codes", size);
  call.scales = args.doublesOrNull("scales", call.rows * groups);
  if (!call.scales) args.fail("scales", "a Float64Array");
  call.zeros = args.bytes("zeros", call.rows * groups);
  double error = exact ? solve<double>(engine, call) : solve<float>(engine, call);
  return Napi::Number::New(info.Env(), error);
}

void registerGptq(Napi::Env env, Napi::Object exports) {
  exports["hessianAdd"] = Napi::Function::New<hessianAdd>(env);
  exports["outputError"] = Napi::Function::New<outputError>(env);
  exports["gptq"] = Napi::Function::New<gptqCall>(env);
}

}  // namespace bitlaw
