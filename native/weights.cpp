// Packing of weights: a panel of 64 rows a task.
#include "weights.h"

#include <algorithm>

namespace bitlaw {

static bool narrow(const CodeFormat& format) { return format.bits > 0 && format.bits <= 8; }

static bool same(const CodeFormat& a, const CodeFormat& b) {
  return a.bits == b.bits && a.perRow == b.perRow && a.scale == b.scale && a.absmaxRatio == b.absmaxRatio;
}

Holding holdingOf(const Ops& ops, const LinearRounding& rounding, size_t columns) {
  const CodeFormat &a = rounding.activations, &b = rounding.weights;
  Kind kind = BF16;
  if (narrow(a) && narrow(b) && static_cast<double>(columns) * a.largest() * b.largest() < 2147483647.0) kind = I8;
  else if (!rounding.bf16 || a.bits > 8 || b.bits > 8) kind = F32;
  return {kind, !rounding.bf16 && kind == F32, roundUp(divideUp(columns, ops.perWord[kind]), 16)};
}

void packWeights(Engine& engine, const std::vector<Source>& weights, const std::vector<Packed>& to, const LinearRounding& rounding,
                 const Holding& holding) {
  const Ops& ops = *engine.ops;
  const CodeFormat& format = rounding.weights;
  std::vector<std::pair<size_t, size_t>> tasks;
  for (size_t i = 0; i < weights.size(); i++) {
    if (format.bits && (!format.perRow || weights[i].scales)) codeScales(engine, weights[i], format, to[i].scales);
    for (size_t row = 0; row < weights[i].rows; row += PANEL) tasks.emplace_back(i, row);
  }
  Rounder common;
  common.perRow = format.perRow;
  if (format.bits) common.codeMax = format.largest();
  common.values = holding.values;
  common.toBf16 = holding.kind == F32 && rounding.bf16 && !format.bits;
  engine.pool.run(tasks.size(), true, [&](size_t task, int) {
    const auto [i, row] = tasks[task];
    const size_t rows = std::min(PANEL, weights[i].rows - row);
    Rounder rounder = common;
    if (format.bits) {
      rounder.scales = to[i].scales;
      if (format.perRow && !weights[i].scales) {
        ops.rowMax(weights[i], row, rows, to[i].scales + row);
        for (size_t r = row; r < row + rows; r++) to[i].scales[r] = scaleOf(to[i].scales[r], format);
      }
    }
    ops.packPanelAcross(holding.kind, weights[i], row, rows, rounder, to[i].panels + row * holding.steps, holding.steps,
                        holding.kind == I8 ? to[i].sums + row : nullptr);
  });
}

bool KeptWeights::fits(const Ops& path, const Source& weight, const LinearRounding& r) const {
  const Holding needed = holdingOf(path, r, weight.columns);
  return ops == &path && weight.rows == rows && weight.columns == columns && needed.kind == holding.kind && needed.values == holding.values &&
         r.bf16 == rounding.bf16 && same(r.weights, rounding.weights);
}

std::unique_ptr<KeptWeights> keepWeights(Engine& engine, const Source& weight, const LinearRounding& rounding) {
  auto kept = std::make_unique<KeptWeights>();
  const Holding holding = holdingOf(*engine.ops, rounding, weight.columns);
  const size_t rows = roundUp(weight.rows, PANEL);
  kept->ops = engine.ops;
  kept->rows = weight.rows;
  kept->columns = weight.columns;
  kept->rounding = rounding;
  kept->holding = holding;
  kept->packed = {kept->panels.need<uint32_t>(rows * holding.steps), kept->sums.need<int32_t>(rows), kept->scales.need<float>(rows + 1)};
  packWeights(engine, {weight}, {kept->packed}, rounding, holding);
  return kept;
}

}  // namespace bitlaw
