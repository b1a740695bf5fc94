// The forward product of a linear layer: operands are rounded while they are packed, scales are applied to the sums.
// Codes of at most 8 bits on both sides multiply as integers; codes with bf16 numbers as bf16; everything else as f32.
#include "linear.h"

#include <algorithm>

namespace bitlaw {

/** Rows of the left operand that one task packs and multiplies. */
static constexpr size_t ROW_BLOCK = 96;

static bool narrow(const CodeFormat& format) { return format.bits > 0 && format.bits <= 8; }

/** What the numbers of a product are held as. */
static Kind kindOf(const CodeFormat& a, const CodeFormat& b, bool bf16, size_t length) {
  if (narrow(a) && narrow(b) && static_cast<double>(length) * a.largest() * b.largest() < 2147483647.0) return I8;
  if (!bf16 || a.bits > 8 || b.bits > 8) return F32;
  return BF16;
}

namespace {
/** The weights of one part, packed. */
struct Packed {
  uint32_t* panels;
  int32_t* sums;
  float* scales;
};
}  // namespace

void linear(Engine& engine, const Source& x, const std::vector<ForwardPart>& parts, const LinearRounding& rounding) {
  const Ops& ops = *engine.ops;
  const Kind kind = kindOf(rounding.activations, rounding.weights, rounding.bf16, x.columns);
  const bool toFloat = !rounding.bf16 && kind == F32;  // values, as the formats store them
  const size_t steps = roundUp(divideUp(x.columns, ops.perWord[kind]), 16);

  size_t outputs = 0;
  for (const auto& part : parts) outputs += roundUp(part.weight.rows, PANEL);
  uint32_t* panels = engine.need<uint32_t>(Engine::PANELS, outputs * steps);
  int32_t* sums = engine.need<int32_t>(Engine::SUMS, outputs);
  float* weightScales = engine.need<float>(Engine::SCALES, outputs + parts.size());
  float* rowScales = engine.need<float>(Engine::SCALES2, x.rows + 1);
  std::vector<Packed> packed;
  for (size_t i = 0, at = 0; i < parts.size(); at += roundUp(parts[i].weight.rows, PANEL), i++) {
    packed.push_back({panels + at * steps, sums + at, weightScales + at + i});
    if (rounding.weights.bits && !rounding.weights.perRow) codeScales(engine, parts[i].weight, rounding.weights, packed[i].scales);
  }
  if (rounding.activations.bits) codeScales(engine, x, rounding.activations, rowScales);

  // Weights: a panel a task.
  std::vector<std::pair<size_t, size_t>> tasks;
  for (size_t i = 0; i < parts.size(); i++)
    for (size_t row = 0; row < parts[i].weight.rows; row += PANEL) tasks.emplace_back(i, row);
  Rounder weightRounder;
  weightRounder.perRow = rounding.weights.perRow;
  if (rounding.weights.bits) weightRounder.codeMax = rounding.weights.largest();
  weightRounder.values = toFloat;
  weightRounder.toBf16 = kind == F32 && rounding.bf16 && !rounding.weights.bits;
  engine.pool.run(tasks.size(), true, [&](size_t task, int) {
    auto [i, row] = tasks[task];
    const Source& weight = parts[i].weight;
    const Packed& to = packed[i];
    size_t rows = std::min(PANEL, weight.rows - row);
    Rounder rounder = weightRounder;
    if (rounding.weights.bits) {
      if (rounder.perRow) {
        ops.rowMax(weight, row, rows, to.scales + row);
        for (size_t r = row; r < row + rows; r++) to.scales[r] = scaleOf(to.scales[r], rounding.weights);
      }
      rounder.scales = to.scales;
    }
    ops.packPanelAcross(kind, weight, row, rows, rounder, to.panels + row * steps, steps, kind == I8 ? to.sums + row : nullptr);
  });

  Rounder rowRounder;
  if (rounding.activations.bits) {
    rowRounder.scales = rowScales;
    rowRounder.perRow = rounding.activations.perRow;
    rowRounder.codeMax = rounding.activations.largest();
    rowRounder.offset = kind == I8;
    rowRounder.values = toFloat;
  }
  rowRounder.toBf16 = kind == F32 && rounding.bf16 && !rounding.activations.bits;

  auto multiply = [&](const uint32_t* rows, size_t row, size_t count, const ForwardPart& part, const Packed& from, size_t column, size_t columns) {
    const size_t stride = part.weight.rows;
    Product p{};
    p.rows = rows;
    p.rowStride = steps;
    p.rowCount = count;
    p.panels = from.panels + column * steps;
    p.panelStride = PANEL * steps;
    p.columns = columns;
    p.steps = steps;
    p.out = part.y + row * stride + column;
    p.outStride = stride;
    Epilogue& e = p.epilogue;
    if (rounding.activations.bits && !toFloat) {
      if (rounding.activations.perRow) e.rowScales = rowScales + row;
      else e.scale *= rowScales[0];
    }
    if (rounding.weights.bits && !toFloat) {
      if (rounding.weights.perRow) e.columnScales = from.scales + column;
      else e.scale *= from.scales[0];
    }
    if (part.bias) e.bias = part.bias + column;
    if (part.residual) e.add = part.residual + row * stride + column;
    if (kind == I8) e.start = from.sums + column;
    ops.product[kind](p);
  };

  const size_t blocks = divideUp(x.rows, ROW_BLOCK);
  if (blocks >= 2 * static_cast<size_t>(engine.pool.threads())) {  // each task packs its rows and multiplies by everything
    engine.pool.run(blocks, true, [&](size_t task, int thread) {
      size_t row = task * ROW_BLOCK;
      size_t count = std::min(ROW_BLOCK, x.rows - row);
      uint32_t* rows = engine.need<uint32_t>(thread, Engine::L_ROWS, ROW_BLOCK * steps);
      ops.packRows(kind, x, row, count, rowRounder, rows, steps);
      for (size_t i = 0; i < parts.size(); i++) multiply(rows, row, count, parts[i], packed[i], 0, parts[i].weight.rows);
    });
    return;
  }
  // Few rows: these are packed first, and the tasks are panels.
  uint32_t* rows = engine.need<uint32_t>(Engine::PANELS2, roundUp(x.rows, 16) * steps);
  engine.pool.run(divideUp(x.rows, 16), true, [&](size_t task, int) {
    size_t row = task * 16;
    ops.packRows(kind, x, row, std::min<size_t>(16, x.rows - row), rowRounder, rows + row * steps, steps);
  });
  engine.pool.run(tasks.size(), true, [&](size_t task, int) {
    auto [i, column] = tasks[task];
    for (size_t row = 0; row < x.rows; row += ROW_BLOCK)
      multiply(rows + row * steps, row, std::min(ROW_BLOCK, x.rows - row), parts[i], packed[i], column, std::min(PANEL, parts[i].weight.rows - column));
  });
}

}  // namespace bitlaw
