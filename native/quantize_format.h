// What the drivers of block quantization share: a format read from a call's arguments, and work cut into runs of blocks.
#pragma once
#include <algorithm>
#include <vector>

#include "boundary.h"
#include "quantize.h"

namespace bitlaw {

/** Values a task works on, about. */
constexpr size_t TASK = 1 << 16;

/** Calls body(first value, values) for runs of whole blocks that cover n values. */
template <class Body>
void overBlocks(Engine& engine, size_t n, size_t length, Body body, size_t task = TASK) {
  const size_t step = std::max<size_t>(1, task / length) * length;
  engine.pool.run(divideUp(n, step), false, [&](size_t index, int) {
    size_t first = index * step;
    body(first, std::min(step, n - first));
  });
}

/** Fewest values that an index is worth making for. */
constexpr size_t INDEXED = 1 << 15;

/** Tables that a format points into. */
struct Tables {
  std::vector<uint32_t> index;
  alignas(64) double padded[16];
};

/**
 * A format as (rule, scale, length, top, level count, zero, steps, levels, thresholds); book tables empty for other rules.
 * `wide`: of 9 to 16 bits.
 */
BlockFormat formatOf(Arguments& args, Tables& tables, size_t encoded, bool wide = false);

/** An array of bytes, or null where none is given. */
inline uint8_t* bytesOrNull(Arguments& args, const char* name, size_t length) { return args.absent() ? nullptr : args.bytes(name, length); }

}  // namespace bitlaw
