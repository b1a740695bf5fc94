// The searches of ggml's block types, compiled once for each instruction path: those of src/formats/ggml-minima.ts and
// ggml-scales.ts, operation for operation in double, for eight sub-blocks at once, one a lane. A sum stays in its lane, so
// its order is that of the definition. Each step is a function of its own: inlined, they take a compiler very long.
#pragma once
#include "search_body.h"

namespace bitlaw::PATH {
namespace {

typedef double D __attribute__((vector_size(64)));
typedef int64_t Q __attribute__((vector_size(64)));
constexpr int SUBS = 8;

inline D same(double x) { return D{x, x, x, x, x, x, x, x}; }

constexpr double ROUNDER = 6755399441055744.0;  // 1.5 * 2^52

/** The largest integer not above, of numbers below 2^51. */
inline D floorOf(const D& x) {
  const D near = (x + ROUNDER) - ROUNDER;
  return near - (near > x ? same(1) : same(0));
}
/** The nearest integer, ties up. */
inline D nearestOf(const D& x) {
  const D near = (x + ROUNDER) - ROUNDER, above = near + (near < x ? same(1) : same(0));
  return above - (above - 0.5 > x ? same(1) : same(0));
}
inline D clampOf(const D& x, double low, double high) {
  const D least = x < low ? same(low) : x;
  return least > high ? same(high) : least;
}
inline double nearestHalf(double x) { return std::copysign(roundWide(std::fabs(x), ScaleRule::fp16), x); }

/** Values and weights of a super-block, lane l of row g * n + i being value i of sub-block g * 8 + l. */
struct Lanes {
  int n, groups;
  D v[32], w[32];
};

/** Codes 0 … top of one group for value = scale * code - min; returns the squared errors, weighed. */
__attribute__((noinline)) D placeAbove(const D* v, const D* w, int n, const D& scale, const D& min, double top, D* codes) {
  const D inverse = scale > 0 ? 1.0 / scale : same(0), most = same(top), zero = same(0);
  D error = zero;
  for (int i = 0; i < n; i++) {
    const D place = (v[i] + min) * inverse + 0.5, down = floorOf(place);
    const D code = place > 0 ? (place >= top ? most : down) : zero;
    codes[i] = code;
    const D off = v[i] - scale * code + min;
    error += w[i] * off * off;
  }
  return error;
}

/** Scales and minima (at least 0) of one group by themselves. */
__attribute__((noinline)) void fitAbove(const D* v, const D* w, int n, double top, D& bestScale, D& bestMin) {
  D low = same(0), high = v[0], mass = same(0), sum = same(0), codes[32];
  for (int i = 0; i < n; i++) {
    low = v[i] < low ? v[i] : low;
    high = v[i] > high ? v[i] : high;
    mass += w[i];
    sum += w[i] * v[i];
  }
  D least = same(HUGE_VAL);
  bestScale = bestMin = same(0);
  const double spread = top < 8 ? 0.35 : 0.12;
  for (int lower = 0; lower <= 4; lower += 2)
    for (int upper = 0; upper <= 4; upper += 2) {
      D min = -low * (1 - lower * spread / 4), scale = (high * (1 - upper * spread / 6) + min) / top;
      D error = placeAbove(v, w, n, scale, min, top, codes);
      Q better = error < least;
      least = better ? error : least;
      bestScale = better ? scale : bestScale;
      bestMin = better ? min : bestMin;
      D ones = same(0), squares = same(0), product = same(0);
      for (int i = 0; i < n; i++) {
        ones += w[i] * codes[i];
        squares += w[i] * codes[i] * codes[i];
        product += w[i] * codes[i] * v[i];
      }
      const D determinant = mass * squares - ones * ones;
      scale = (mass * product - ones * sum) / determinant;
      min = (ones * product - squares * sum) / determinant;
      const Q below = min < 0;
      scale = below ? product / squares : scale;
      min = below ? same(0) : min;
      error = placeAbove(v, w, n, scale, min, top, codes);
      better = (error < least) & (determinant > 0) & (scale > 0);
      least = better ? error : least;
      bestScale = better ? scale : bestScale;
      bestMin = better ? min : bestMin;
    }
  const Q flat = high <= low;
  bestScale = flat ? same(0) : bestScale;
  bestMin = flat ? -low : bestMin;
}

/** Sums over a sub-block: of codes, of their squares, of values, of both multiplied. */
struct Sums {
  D codes, squares, values, product;
};

__attribute__((noinline)) Sums sumUp(const D* v, const D* w, int n, const D* codes) {
  Sums s{same(0), same(0), same(0), same(0)};
  for (int i = 0; i < n; i++) {
    s.codes += w[i] * codes[i];
    s.squares += w[i] * codes[i] * codes[i];
    s.values += w[i] * v[i];
    s.product += w[i] * codes[i] * v[i];
  }
  return s;
}

/** Integers that suit a group's codes best: scales near the wanted ones, each with its best minimum. */
__attribute__((noinline)) void chooseIntegers(const Sums& sums, const D& mass, double d, double dmin, const D& wanted, double limit, D& scales, D& mins) {
  const D centre = d > 0 ? nearestOf(clampOf(wanted / d, 0, limit)) : same(0);
  D least = same(HUGE_VAL);
  for (int k = -2; k <= 2; k++) {
    const D s = centre + k, scale = d * s;
    const D m = dmin > 0 ? nearestOf(clampOf((scale * sums.codes - sums.values) / mass / dmin, 0, limit)) : same(0), min = dmin * m;
    const D error = scale * (scale * sums.squares - 2.0 * sums.product - 2.0 * min * sums.codes) + min * (2.0 * sums.values + mass * min);
    const Q better = (error < least) & (s >= 0) & (s <= limit);
    least = better ? error : least;
    scales = better ? s : scales;
    mins = better ? m : mins;
  }
}

/** A fitted super-block: fp16 numbers, small integers a sub-block, codes in the lanes' layout. */
struct Fitted {
  double d, dmin;
  D scales[2], mins[2], codes[32];
};

/** Fits value = d * scale * code - dmin * min, scale and min integers 0 … limit. */
inline void fitMinima(const Lanes& lanes, double top, double limit, Fitted& best) {
  const int n = lanes.n, groups = lanes.groups, count = groups * SUBS;
  Sums first[2], sums[2];
  D wanted[2], deep[2], mass[2], scales[2] = {}, mins[2] = {};
  double largest = 0, deepest = 0;
  for (int g = 0; g < groups; g++) {
    const D *v = lanes.v + g * n, *w = lanes.w + g * n;
    mass[g] = same(0);
    for (int i = 0; i < n; i++) mass[g] += w[i];
    fitAbove(v, w, n, top, wanted[g], deep[g]);
    placeAbove(v, w, n, wanted[g], deep[g], top, best.codes);
    first[g] = sumUp(v, w, n, best.codes);
    for (int l = 0; l < SUBS; l++) {
      largest = wanted[g][l] > largest ? wanted[g][l] : largest;
      deepest = deep[g][l] > deepest ? deep[g][l] : deepest;
    }
  }
  best.d = best.dmin = 0;
  for (int g = 0; g < groups; g++) best.scales[g] = best.mins[g] = same(0);
  static const double STARTS[5][2] = {{1, 1}, {0.96, 1}, {1, 0.96}, {0.96, 0.96}, {1.03, 1.03}};
  double least = HUGE_VAL;
  for (const auto& start : STARTS) {
    double d = nearestHalf(largest * start[0] / limit), dmin = nearestHalf(deepest * start[1] / limit), previous = HUGE_VAL;
    for (int g = 0; g < groups; g++) sums[g] = first[g];
    for (int round = 0; round < 4; round++) {
      double error = 0;
      for (int g = 0; g < groups; g++) {
        const D *v = lanes.v + g * n, *w = lanes.w + g * n;
        chooseIntegers(sums[g], mass[g], d, dmin, wanted[g], limit, scales[g], mins[g]);
        const D found = placeAbove(v, w, n, d * scales[g], dmin * mins[g], top, best.codes);
        for (int l = 0; l < SUBS; l++) error += found[l];
        sums[g] = sumUp(v, w, n, best.codes);
      }
      if (!(error < previous)) break;
      previous = error;
      if (error < least) {
        least = error;
        best.d = d;
        best.dmin = dmin;
        for (int g = 0; g < groups; g++) best.scales[g] = scales[g], best.mins[g] = mins[g];
      }
      double aa = 0, ab = 0, bb = 0, av = 0, bv = 0;
      for (int b = 0; b < count; b++) {
        const int g = b / SUBS, l = b % SUBS;
        const double s = scales[g][l], m = mins[g][l];
        aa += s * s * sums[g].squares[l];
        ab -= s * m * sums[g].codes[l];
        bb += m * m * mass[g][l];
        av += s * sums[g].product[l];
        bv -= m * sums[g].values[l];
      }
      const double determinant = aa * bb - ab * ab;
      if (determinant <= 0) break;
      d = nearestHalf((av * bb - bv * ab) / determinant);
      dmin = nearestHalf((bv * aa - av * ab) / determinant);
      if (!(d > 0 && dmin >= 0)) break;
    }
  }
  // One step in each integer, with codes chosen anew.
  for (int g = 0; g < groups; g++) {
    const D *v = lanes.v + g * n, *w = lanes.w + g * n;
    const D s0 = best.scales[g], m0 = best.mins[g];
    D* codes = best.codes + g * n;
    D nearest = placeAbove(v, w, n, best.d * s0, best.dmin * m0, top, codes);
    for (int ds = -1; ds <= 1; ds++)
      for (int dm = -1; dm <= 1; dm++) {
        if (ds == 0 && dm == 0) continue;
        const D s = s0 + ds, m = m0 + dm;
        const D error = placeAbove(v, w, n, best.d * s, best.dmin * m, top, codes);
        const Q better = (error < nearest) & (s >= 0) & (s <= limit) & (m >= 0) & (m <= limit);
        nearest = better ? error : nearest;
        best.scales[g] = better ? s : best.scales[g];
        best.mins[g] = better ? m : best.mins[g];
      }
    placeAbove(v, w, n, best.d * best.scales[g], best.dmin * best.mins[g], top, codes);
  }
}

/** Levels that codes stand for: first, first + 1 …, or a table of 16. */
struct Ladder {
  double first, last;
  const double* table;
};

/** Codes of one group for value = scale * level; levels besides; returns the squared errors, weighed. */
__attribute__((noinline)) D placeOn(const D* v, const D* w, int n, const D& scale, const Ladder& ladder, D* codes, D* levels) {
  const D inverse = scale == 0 ? same(0) : 1.0 / scale, zero = same(0), most = same(ladder.last);
  D error = zero;
  for (int i = 0; i < n; i++) {
    const D u = v[i] * inverse;
    D code, level;
    if (ladder.table) {
      code = zero;
      level = same(ladder.table[0]);
      for (int j = 0; j < 15; j++) {
        const Q above = u > (ladder.table[j] + ladder.table[j + 1]) / 2;
        code += above ? same(1) : zero;
        level = above ? same(ladder.table[j + 1]) : level;
      }
    } else {
      const D place = u - ladder.first + 0.5, down = floorOf(place);
      code = place > 0 ? (place >= ladder.last ? most : down) : zero;
      level = code + ladder.first;
    }
    codes[i] = code;
    levels[i] = level;
    const D off = v[i] - scale * level;
    error += w[i] * off * off;
  }
  return error;
}

inline double lastLevel(const Ladder& ladder) { return ladder.table ? ladder.table[15] : ladder.first + ladder.last; }

/** Scales (of either sign) of one group by themselves. */
__attribute__((noinline)) D fitScale(const D* v, const D* w, int n, const Ladder& ladder) {
  static const double REACHES[6] = {1, 0.76, 0.82, 0.88, 0.94, 1.06};
  D extreme = same(0), most = same(0), best = same(0), least = same(HUGE_VAL), codes[32], levels[32];
  for (int i = 0; i < n; i++) {
    const D size = v[i] < 0 ? -v[i] : v[i];
    const Q larger = size > most;
    most = larger ? size : most;
    extreme = larger ? v[i] : extreme;
  }
  const double ends[2] = {ladder.table ? ladder.table[0] : ladder.first, lastLevel(ladder)};
  for (double end : ends)
    for (double reach : REACHES) {
      D scale = extreme / (end * reach);
      placeOn(v, w, n, scale, ladder, codes, levels);
      D product = same(0), square = same(0);
      for (int i = 0; i < n; i++) {
        product += w[i] * levels[i] * v[i];
        square += w[i] * levels[i] * levels[i];
      }
      scale = square == 0 ? same(0) : product / square;
      const D error = placeOn(v, w, n, scale, ladder, codes, levels);
      const Q better = error < least;
      least = better ? error : least;
      best = better ? scale : best;
    }
  return extreme == 0 ? same(0) : best;
}

/** Fits value = d * scale * level, scale an integer from low to high. */
inline void fitScales(const Lanes& lanes, const Ladder& ladder, double low, double high, Fitted& best) {
  const int n = lanes.n, groups = lanes.groups, count = groups * SUBS;
  D wanted[2], scales[2] = {}, codes[32], levels[32];
  double extreme = 0;
  for (int g = 0; g < groups; g++) {
    wanted[g] = fitScale(lanes.v + g * n, lanes.w + g * n, n, ladder);
    for (int l = 0; l < SUBS; l++)
      if (std::fabs(wanted[g][l]) > std::fabs(extreme)) extreme = wanted[g][l];
  }
  best.d = 0;
  for (int g = 0; g < groups; g++) best.scales[g] = same(0);
  for (int i = 0; i < groups * n; i++) best.codes[i] = same(0);
  double least = HUGE_VAL;
  const double starts[3] = {extreme / low, extreme / low * 1.04, extreme / high};
  for (double start : starts) {
    double d = nearestHalf(start);
    for (int round = 0; round < 3; round++) {
      double error = 0;
      for (int g = 0; g < groups; g++) {
        const D *v = lanes.v + g * n, *w = lanes.w + g * n;
        const D centre = d == 0 ? same(0) : nearestOf(clampOf(wanted[g] / d, low, high));
        D nearest = same(HUGE_VAL);
        for (int k = -1; k <= 1; k++) {
          const D s = centre + k;
          const D found = placeOn(v, w, n, d * s, ladder, codes + g * n, levels + g * n);
          const Q better = (found < nearest) & (s >= low) & (s <= high);
          nearest = better ? found : nearest;
          scales[g] = better ? s : scales[g];
        }
        placeOn(v, w, n, d * scales[g], ladder, codes + g * n, levels + g * n);
        for (int l = 0; l < SUBS; l++) error += nearest[l];
      }
      if (!(error < least)) break;
      least = error;
      best.d = d;
      for (int g = 0; g < groups; g++) best.scales[g] = scales[g];
      std::memcpy(best.codes, codes, sizeof(D) * static_cast<size_t>(groups * n));
      D products[32], squares[32];
      for (int i = 0; i < groups * n; i++) {
        const D unit = scales[i / n] * levels[i];
        products[i] = lanes.w[i] * unit * lanes.v[i];
        squares[i] = lanes.w[i] * unit * unit;
      }
      double product = 0, square = 0;
      for (int b = 0; b < count; b++)
        for (int i = b / SUBS * n; i < (b / SUBS + 1) * n; i++) {
          product += products[i][b % SUBS];
          square += squares[i][b % SUBS];
        }
      d = nearestHalf(square == 0 ? 0 : product / square);
    }
  }
}

/** Fits value = d * level to eight blocks at once, one a lane: an fp16 number each, and codes. */
inline void fitAlone(const Lanes& lanes, const Ladder& ladder, D& bestD, D* bestCodes) {
  const int n = lanes.n;
  const D wanted = fitScale(lanes.v, lanes.w, n, ladder);
  D codes[32], levels[32], least = same(HUGE_VAL);
  bestD = same(0);
  for (int i = 0; i < n; i++) bestCodes[i] = same(0);
  const double shares[2] = {1, 1.04};
  for (double share : shares) {
    D d;
    for (int l = 0; l < SUBS; l++) d[l] = nearestHalf(wanted[l] * share);
    Q going = d == d;
    for (int round = 0; round < 3; round++) {
      const D error = placeOn(lanes.v, lanes.w, n, d, ladder, codes, levels);
      going = going & (error < least);
      least = going ? error : least;
      bestD = going ? d : bestD;
      D product = same(0), square = same(0);
      for (int i = 0; i < n; i++) {
        bestCodes[i] = going ? codes[i] : bestCodes[i];
        product += lanes.w[i] * levels[i] * lanes.v[i];
        square += lanes.w[i] * levels[i] * levels[i];
      }
      for (int l = 0; l < SUBS; l++) d[l] = nearestHalf(square[l] == 0 ? 0 : product[l] / square[l]);
    }
  }
}

}  // namespace
}  // namespace bitlaw::PATH
