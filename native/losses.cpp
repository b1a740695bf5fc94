// Losses of the unembedding without their gradient: logits of some rows and columns at a time, in the cache, go into the
// rows' sums of exponentials. Which columns go together depends on the vocabulary alone, so that bits do not change with threads.
#include <algorithm>
#include <cmath>

#include "head.h"
#include "weights.h"

namespace bitlaw {

/** Rows and columns whose logits one task holds at once. */
static constexpr size_t ROW_BLOCK = 96, COLUMN_BLOCK = 512;
/** Columns of one task. */
static constexpr size_t STRIPE = 4096;
/** Lanes of a row's sums. */
static constexpr size_t LANES = 16;

void losses(Engine& engine, const Head& head) {
  const Ops& ops = *engine.ops;
  const size_t rows = head.x.rows, vocab = head.weight.rows;
  LinearRounding rounding;
  rounding.bf16 = head.bf16;
  const auto [kind, values, steps] = holdingOf(ops, rounding, head.x.columns);
  Packed weights = head.kept ? head.kept->packed : Packed{engine.need<uint32_t>(Engine::PANELS, roundUp(vocab, PANEL) * steps), nullptr, nullptr};
  if (!head.kept) packWeights(engine, {head.weight}, {weights}, rounding, {kind, values, steps});

  const size_t blocks = divideUp(rows, ROW_BLOCK), stripes = divideUp(vocab, STRIPE);
  float* tops = engine.need<float>(Engine::PARTIALS, (2 * stripes + 1) * rows);
  float* sums = tops + stripes * rows;
  float* found = sums + stripes * rows;
  engine.pool.run(blocks * stripes, true, [&](size_t task, int thread) {
    // the rows of a stripe follow each other, while its panels are near
    const size_t stripe = task / blocks, block = task % blocks;
    const size_t row = block * rows / blocks, count = (block + 1) * rows / blocks - row;
    uint32_t* packed = engine.need<uint32_t>(thread, Engine::L_ROWS, roundUp(count, 16) * steps);
    float* logits = engine.need<float>(thread, Engine::L_OUT, ROW_BLOCK * COLUMN_BLOCK);
    float* lanes = engine.need<float>(thread, Engine::L_ROWS2, ROW_BLOCK * LANES);
    ops.packRows(kind, head.x, row, count, Rounder(), packed, steps);
    float* top = tops + stripe * rows + row;
    std::fill(top, top + count, -1e30f);
    std::fill(lanes, lanes + ROW_BLOCK * LANES, 0.0f);
    const size_t end = std::min(vocab, (stripe + 1) * STRIPE);
    for (size_t column = stripe * STRIPE; column < end; column += COLUMN_BLOCK) {
      const size_t columns = std::min(COLUMN_BLOCK, end - column);
      Product p{};
      p.rows = packed;
      p.rowStride = steps;
      p.rowCount = count;
      p.panels = weights.panels + column * steps;
      p.panelStride = PANEL * steps;
      p.columns = columns;
      p.steps = steps;
      p.out = logits;
      p.outStride = COLUMN_BLOCK;
      if (head.bias) p.epilogue.bias = head.bias + column;
      ops.product[kind](p);
      ops.sumExp(logits, COLUMN_BLOCK, count, columns, head.softcap, top, lanes);
      for (size_t i = 0; i < count; i++) {
        const size_t target = static_cast<size_t>(head.targets[row + i]);
        if (head.targets[row + i] >= 0 && target >= column && target < column + columns) found[row + i] = logits[i * COLUMN_BLOCK + target - column];
      }
    }
    for (size_t i = 0; i < count; i++) sums[stripe * rows + row + i] = ops.sumLanes(lanes + i * ops.lanes);
  });
  for (size_t row = 0; row < rows; row++) {
    float top = tops[row];
    for (size_t stripe = 1; stripe < stripes; stripe++) top = std::max(top, tops[stripe * rows + row]);
    double sum = 0;
    for (size_t stripe = 0; stripe < stripes; stripe++) sum += sums[stripe * rows + row] * std::exp(static_cast<double>(tops[stripe * rows + row]) - top);
    head.losses[row] = head.targets[row] < 0 ? 0 : top + static_cast<float>(std::log(sum)) - found[row];
  }
}

}  // namespace bitlaw
