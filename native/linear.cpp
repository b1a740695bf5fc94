// The forward product of a linear layer: operands are rounded while they are packed, scales are applied to the sums.
// Codes of at most 8 bits on both sides multiply as integers; codes with bf16 numbers as bf16; everything else as f32.
#include <algorithm>

#include "weights.h"

namespace bitlaw {

/** Rows of the left operand that one task packs and multiplies. */
static constexpr size_t ROW_BLOCK = 96;

/** Rows whose products read the weights from where they lie. */
static constexpr size_t FEW = 4;

/** Products of at most FEW rows. */
static void linearFew(Engine& engine, const Source& x, const std::vector<ForwardPart>& parts, const LinearRounding& rounding, const Holding& holding) {
  const Ops& ops = *engine.ops;
  const CodeFormat &format = rounding.weights, &inputs = rounding.activations;
  const size_t stride = roundUp(x.columns, PANEL);
  float* rowScales = engine.need<float>(Engine::SCALES2, x.rows + 1);
  Rounder rowRounder;
  if (inputs.bits) {
    codeScales(engine, x, inputs, rowScales);
    rowRounder.scales = rowScales;
    rowRounder.perRow = inputs.perRow;
    rowRounder.codeMax = inputs.largest();
    rowRounder.values = holding.values;
  }
  rowRounder.toBf16 = rounding.bf16 && !inputs.bits;
  uint32_t* rows = engine.need<uint32_t>(Engine::PANELS2, FEW * stride);
  {
    FlushSubnormals guard(true);
    ops.packRows(F32, x, 0, x.rows, rowRounder, rows, stride);
  }
  size_t outputs = 0;
  for (const auto& part : parts) outputs += part.weight.rows + 1;
  float* scales = engine.need<float>(Engine::SCALES, outputs);
  for (const auto& part : parts) {
    if (format.bits) codeScales(engine, part.weight, format, scales);
    Rounder weightRounder;
    if (format.bits) {
      weightRounder.scales = scales;
      weightRounder.perRow = format.perRow;
      weightRounder.codeMax = format.largest();
      weightRounder.values = holding.values;
    }
    weightRounder.toBf16 = rounding.bf16 && !format.bits;
    engine.pool.run(divideUp(part.weight.rows, PANEL), true, [&](size_t task, int) {
      const size_t first = task * PANEL, count = std::min(PANEL, part.weight.rows - first);
      float sums[PANEL * FEW];
      ops.dots(part.weight, first, count, weightRounder, reinterpret_cast<const float*>(rows), stride, x.rows, sums);
      for (size_t r = 0; r < x.rows; r++)
        for (size_t i = 0; i < count; i++) {
          const size_t at = r * part.weight.rows + first + i;
          float y = sums[i * x.rows + r];
          if (inputs.bits && !holding.values) y *= rowScales[inputs.perRow ? r : 0];
          if (format.bits && !holding.values) y *= scales[format.perRow ? first + i : 0];
          if (part.bias) y += part.bias[first + i];
          if (part.residual) y += part.residual[at];
          part.y[at] = y;
        }
    });
    scales += part.weight.rows + 1;
  }
}

void linear(Engine& engine, const Source& x, const std::vector<ForwardPart>& parts, const LinearRounding& rounding) {
  const Ops& ops = *engine.ops;
  const Holding holding = holdingOf(ops, rounding, x.columns);
  const Kind kind = holding.kind;
  const bool toFloat = holding.values;
  const size_t steps = holding.steps;
  const bool anyKept = std::any_of(parts.begin(), parts.end(), [](const ForwardPart& part) { return part.kept != nullptr; });
  if (x.rows > 0 && x.rows <= FEW && kind != I8 && !anyKept) {
    linearFew(engine, x, parts, rounding, holding);
    return;
  }

  size_t outputs = 0;
  for (const auto& part : parts) outputs += part.kept ? 0 : roundUp(part.weight.rows, PANEL);
  uint32_t* panels = engine.need<uint32_t>(Engine::PANELS, outputs * steps);
  int32_t* sums = engine.need<int32_t>(Engine::SUMS, outputs);
  float* weightScales = engine.need<float>(Engine::SCALES, outputs + parts.size());
  float* rowScales = engine.need<float>(Engine::SCALES2, x.rows + 1);
  std::vector<Packed> packed, places;
  std::vector<Source> weights;
  for (size_t i = 0, at = 0; i < parts.size(); i++) {
    packed.push_back(parts[i].kept ? parts[i].kept->packed : Packed{panels + at * steps, sums + at, weightScales + at + i});
    if (parts[i].kept) continue;
    weights.push_back(parts[i].weight);
    places.push_back(packed[i]);
    at += roundUp(parts[i].weight.rows, PANEL);
  }
  packWeights(engine, weights, places, rounding, holding);
  if (rounding.activations.bits) codeScales(engine, x, rounding.activations, rowScales);

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

  const size_t threads = static_cast<size_t>(engine.pool.threads());
  if (divideUp(x.rows, ROW_BLOCK) >= 2 * threads) {  // each task packs its rows and multiplies by everything
    // nearly equal blocks, as many for each thread
    const size_t blocks = roundUp(divideUp(x.rows, ROW_BLOCK), threads);
    engine.pool.run(blocks, true, [&](size_t task, int thread) {
      size_t row = task * x.rows / blocks;
      size_t count = (task + 1) * x.rows / blocks - row;
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
  std::vector<std::pair<size_t, size_t>> tasks;
  for (size_t i = 0; i < parts.size(); i++)
    for (size_t column = 0; column < parts[i].weight.rows; column += PANEL) tasks.emplace_back(i, column);
  engine.pool.run(tasks.size(), true, [&](size_t task, int) {
    auto [i, column] = tasks[task];
    for (size_t row = 0; row < x.rows; row += ROW_BLOCK)
      multiply(rows + row * steps, row, std::min(ROW_BLOCK, x.rows - row), parts[i], packed[i], column, std::min(PANEL, parts[i].weight.rows - column));
  });
}

}  // namespace bitlaw
