// A format of blocks from a call's arguments, and the index of its code book.
#include "quantize_format.h"

#include <cmath>
#include <cstring>

namespace bitlaw {

/** The index of a book, places of equal width in the logarithm: as few as leave one threshold in each; empty where none do. */
static std::vector<uint32_t> indexOf(const double* thresholds, int count, BlockFormat& format) {
  double least = 1;
  for (int j = 0; j < count - 1; j++)
    if (std::fabs(thresholds[j]) > 1e-11) least = std::min(least, std::fabs(thresholds[j]));
  const float below = static_cast<float>(least / 2), above = 2;
  uint32_t low, high;
  std::memcpy(&low, &below, 4);
  std::memcpy(&high, &above, 4);
  low &= 0xff800000u;
  // A value estimated in float may fall into the place next to its own: places are looked at a little wider than they are.
  const double slack = 1e-6;
  for (int shift = 18; shift >= 12; shift--) {
    const uint32_t places = ((high - low) >> shift) + 1;
    std::vector<uint32_t> index(2 * places);
    bool fits = true;
    for (uint32_t p = 0; p < 2 * places && fits; p++) {
      const uint32_t place = p % places, startBits = low + (place << shift), endBits = low + ((place + 1) << shift);
      float start, end;
      std::memcpy(&start, &startBits, 4);
      std::memcpy(&end, &endBits, 4);
      double from = place == 0 ? 0 : start * (1 - slack), to = place == places - 1 ? 1e300 : end * (1 + slack);
      if (p >= places) std::swap(from, to), from = -from, to = -to;
      const double* first = std::lower_bound(thresholds, thresholds + count - 1, from);
      const double* last = std::upper_bound(first, thresholds + count - 1, to);
      if (last - first > 1) fits = false;
      const float threshold = last > first ? static_cast<float>(*first) : 1e38f;
      uint32_t bits;
      std::memcpy(&bits, &threshold, 4);
      index[p] = (bits & 0xffffff00u) | static_cast<uint32_t>(first - thresholds);
    }
    if (!fits) continue;
    format.indexLow = low;
    format.indexHigh = high;
    format.indexShift = shift;
    return index;
  }
  return {};
}

BlockFormat formatOf(Arguments& args, Tables& tables, size_t encoded, bool wide) {
  BlockFormat format{};
  size_t rule = args.count("rule"), scale = args.count("scale");
  if (rule > 3) args.fail("rule", "0 to 3");
  if (scale > 7) args.fail("scale", "0 to 7");
  format.rule = static_cast<Rule>(rule);
  format.scale = static_cast<ScaleRule>(scale);
  format.length = args.count("length");
  if (format.length < 1) args.fail("length", "at least 1");
  size_t top = args.count("top");
  if (top < 1 || top > (wide ? 32767 : 255)) args.fail("top", "1 to 255");
  format.top = static_cast<int>(top);
  size_t count = args.count("levels"), zero = args.count("zero"), steps = args.count("steps");
  if (format.rule == Rule::book && (count < 2 || count > (wide ? 65536 : 256) || zero >= count || steps > (wide ? 32767 : 127)))
    args.fail("levels", "2 to 256");
  format.count = static_cast<int>(count);
  format.zero = static_cast<int>(zero);
  format.steps = static_cast<int>(steps);
  format.levels = args.floats("levels", count);
  double* thresholds = args.doublesOrNull("thresholds", count > 0 ? count - 1 : 0);
  if (format.rule == Rule::book && !thresholds) args.fail("thresholds", "given");
  format.thresholds = thresholds;
  for (size_t j = 0; j < 16; j++) tables.padded[j] = thresholds && j + 1 < count ? thresholds[j] : HUGE_VAL;
  format.padded = tables.padded;
  if (encoded >= INDEXED && format.rule == Rule::book && count > 16 && steps == 0) {
    tables.index = indexOf(thresholds, format.count, format);
    format.index = tables.index.empty() ? nullptr : tables.index.data();
  }
  return format;
}

}  // namespace bitlaw
