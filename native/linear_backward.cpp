// The backward products of a linear layer: dx = dy Qw(w), and dw += dy^T Qa(x). Scales that lie along a reduction
// multiply dy before it is rounded to bf16; others multiply the sums. Both products of some rows are made while those
// rows are near: a block of dy is read once from memory, packed along its columns for dx and down its rows for dw.
#include <algorithm>

#include "linear.h"

namespace bitlaw {

/** Rows that one task packs, and whose dx it makes: a whole number of 16 steps on each path. */
static constexpr size_t ROW_BLOCK = 64;
/** Rows of x and dy whose products are summed before they are added to the gradient of the weights. */
static constexpr size_t REDUCTION = 1024;

namespace {
/** What the tasks of one call share. */
struct Backward {
  Engine& engine;
  const Ops& ops;
  const Source& x;
  const std::vector<BackwardPart>& parts;
  const LinearRounding& rounding;
  Kind kind;
  bool values;  // products of values, not of codes
  std::vector<float*> weightScales;
  std::vector<float*> dyScales;
  const float* rowScales;
  std::vector<size_t> stepStart;  // of each part's weights, in the reduction of dx
  size_t dxSteps;
  uint32_t* weightPanels;

  /** x and dy of some rows, with the rows along the reduction. */
  struct Held {
    size_t row, rows;
    uint32_t* input;
    uint32_t* gradient;
  };
  size_t heldSteps;                   // of the panels of Held
  std::vector<size_t> gradientStart;  // of each part, in Held::gradient

  bool xPerRow() const { return rounding.activations.bits && rounding.activations.perRow; }
  bool wPerRow() const { return rounding.weights.bits && rounding.weights.perRow; }

  /** How dy is read where `alongRow` and `alongColumn` factors lie in the reduction; returns the scale that is left for the sums. */
  Rounder readGradient(size_t part, const float* alongRow, const float* alongColumn, bool exactRows, float& scale) const {
    Rounder r;
    const CodeFormat& format = rounding.gradients;
    r.rowFactors = alongRow;
    r.columnFactors = alongColumn;
    if (format.bits) {
      r.scales = dyScales[part];
      r.perRow = format.perRow;
      r.codeMax = format.largest();
      bool exact = !values && format.bits <= 8 && !alongRow && !alongColumn && (!format.perRow || exactRows);
      r.values = !exact;
      if (exact && !format.perRow) scale *= dyScales[part][0];
      if (format.bits > 8 && kind == F32) return r;  // wide codes are never rounded to bf16
    }
    r.toBf16 = kind == F32 && rounding.bf16;
    return r;
  }

  void hold(const Held& held, size_t row, size_t count) const;
  void inputGradient(size_t row, size_t count, int thread, float* dx, bool accumulate) const;
  void weightGradient(const Held& held, size_t part, size_t column, size_t columns, int thread) const;
};

void Backward::inputGradient(size_t row, size_t count, int thread, float* dx, bool accumulate) const {
  const size_t width = x.columns;
  uint32_t* rows = engine.need<uint32_t>(thread, Engine::L_ROWS, ROW_BLOCK * dxSteps);
  float* to = dx + row * width;
  if (rounding.clipped && rounding.activations.bits) to = engine.need<float>(thread, Engine::L_OUT, ROW_BLOCK * width);
  const bool wTensor = rounding.weights.bits && !wPerRow() && !values;
  const bool apart = wTensor || rounding.gradients.bits;  // each part has its own scale on its sums
  for (size_t i = 0; i < parts.size(); i++) {
    float scale = wTensor ? weightScales[i][0] : 1;
    Rounder r = readGradient(i, nullptr, wPerRow() && !values ? weightScales[i] : nullptr, true, scale);
    size_t end = i + 1 < parts.size() ? stepStart[i + 1] : dxSteps;
    Source dy = parts[i].dy;
    // packRows pads each row up to its stride, so a part's words are packed apart and then are where they belong.
    for (size_t c = 0; c < count; c++) ops.packRows(kind, dy, row + c, 1, r, rows + c * dxSteps + stepStart[i], end - stepStart[i]);
    if (!apart && i + 1 < parts.size()) continue;
    size_t first = apart ? stepStart[i] : 0;
    Product p{};
    p.rows = rows + first;
    p.rowStride = dxSteps;
    p.rowCount = count;
    p.panels = weightPanels;
    p.firstStep = first;
    p.panelStride = PANEL * dxSteps;
    p.columns = width;
    p.steps = end - first;
    p.out = to;
    p.outStride = width;
    p.epilogue.scale = scale;
    if (r.scales && r.perRow && !r.values) p.epilogue.rowScales = r.scales + row;
    if ((apart && i > 0) || (accumulate && to == dx + row * width)) p.epilogue.add = to;
    ops.product[kind](p);
  }
  if (to == dx + row * width) return;
  for (size_t i = 0; i < count; i++) {
    float scale = rowScales[rounding.activations.perRow ? row + i : 0];
    ops.addUnclipped(x, row + i, 0, width, scale, rounding.activations.largest(), to + i * width, dx + (row + i) * width, accumulate);
  }
}

/** Packs rows row … of x and of every dy whose weights are trained. */
void Backward::hold(const Held& held, size_t row, size_t count) const {
  const size_t first = row - held.row, step = first / ops.perWord[kind];
  const size_t steps = first + count == held.rows ? roundUp(divideUp(held.rows, ops.perWord[kind]), 16) - step : divideUp(count, ops.perWord[kind]);
  Rounder inputs;
  if (rounding.activations.bits) {
    inputs.scales = rowScales;
    inputs.perRow = rounding.activations.perRow;
    inputs.codeMax = rounding.activations.largest();
    inputs.values = values;
  }
  inputs.toBf16 = kind == F32 && rounding.bf16 && !rounding.activations.bits;
  ops.packPanelsDown(kind, x, row, count, inputs, held.input, PANEL * heldSteps, step, steps);
  for (size_t part = 0; part < parts.size(); part++) {
    if (!parts[part].dWeight) continue;
    float scale = 1;
    const Rounder r = readGradient(part, xPerRow() && !values ? rowScales : nullptr, nullptr, false, scale);
    ops.packPanelsDown(kind, parts[part].dy, row, count, r, held.gradient + gradientStart[part], PANEL * heldSteps, step, steps);
  }
}

void Backward::weightGradient(const Held& held, size_t part, size_t column, size_t columns, int thread) const {
  const BackwardPart& p = parts[part];
  const size_t width = x.columns;
  const bool clipped = rounding.clipped && rounding.weights.bits;
  float* to = clipped ? engine.need<float>(thread, Engine::L_OUT, columns * width) : p.dWeight + column * width;
  float scale = rounding.activations.bits && !xPerRow() && !values ? rowScales[0] : 1;
  readGradient(part, xPerRow() && !values ? rowScales : nullptr, nullptr, false, scale);
  for (size_t row = 0; row < held.rows; row += REDUCTION) {
    const size_t step = row / ops.perWord[kind];
    Product product{};
    product.steps = roundUp(divideUp(std::min(REDUCTION, held.rows - row), ops.perWord[kind]), 16);
    product.rowCount = columns;
    rowsFromPanel(ops, held.gradient + gradientStart[part] + column / PANEL * PANEL * heldSteps, step, product,
                  engine.need<uint32_t>(thread, Engine::L_ROWS2, ops.rowsOnly ? PANEL * product.steps : 0));
    product.panels = held.input;
    product.firstStep = step;
    product.panelStride = PANEL * heldSteps;
    product.columns = width;
    product.out = to;
    product.outStride = width;
    product.epilogue.scale = scale;
    if (!clipped || row > 0) product.epilogue.add = to;
    ops.product[kind](product);
  }
  if (!clipped) return;
  for (size_t i = 0; i < columns; i++) {
    float own = weightScales[part][wPerRow() ? column + i : 0];
    ops.addUnclipped(p.weight, column + i, 0, width, own, rounding.weights.largest(), to + i * width, p.dWeight + (column + i) * width, true);
  }
}

}  // namespace

void biasGradient(Engine& engine, const Source& dy, float* dBias) {
  engine.pool.run(divideUp(dy.columns, PANEL), true, [&](size_t task, int) {
    const size_t column = task * PANEL, columns = std::min(PANEL, dy.columns - column);
    double sums[PANEL] = {};
    for (size_t row = 0; row < dy.rows; row++) {
      const float* from = static_cast<const float*>(dy.data) + row * dy.stride + column;
      for (size_t i = 0; i < columns; i++) sums[i] += static_cast<double>(from[i]);
    }
    for (size_t i = 0; i < columns; i++) dBias[column + i] += static_cast<float>(sums[i]);
  });
}

void linearBackward(Engine& engine, const Source& x, const std::vector<BackwardPart>& parts, float* dx, bool accumulate, const LinearRounding& rounding) {
  const Ops& ops = *engine.ops;
  const bool wide = rounding.weights.bits > 8 || rounding.activations.bits > 8 || rounding.gradients.bits > 8;
  const Kind kind = !rounding.bf16 || wide ? F32 : BF16;
  Backward b{engine, ops, x, parts, rounding, kind, !rounding.bf16, {}, {}, nullptr, {}, 0, nullptr, 0, {}};
  const size_t per = ops.perWord[kind];

  size_t outputs = 0;
  bool wanted = false;
  for (const auto& part : parts) {
    b.stepStart.push_back(b.dxSteps);
    b.dxSteps += roundUp(divideUp(part.weight.rows, per), 16);
    outputs += part.weight.rows;
    wanted = wanted || part.dWeight;
  }
  float* scales = engine.need<float>(Engine::SCALES, outputs + parts.size() + (rounding.gradients.bits ? parts.size() * (x.rows + 1) : 0));
  for (const auto& part : parts) {
    b.weightScales.push_back(scales);
    if (rounding.weights.bits) codeScales(engine, part.weight, rounding.weights, scales);
    scales += part.weight.rows + 1;
  }
  for (const auto& part : parts) {
    b.dyScales.push_back(scales);
    if (!rounding.gradients.bits) continue;
    codeScales(engine, part.dy, rounding.gradients, scales);
    scales += x.rows + 1;
  }
  float* rowScales = engine.need<float>(Engine::SCALES2, x.rows + 1);
  if (rounding.activations.bits) codeScales(engine, x, rounding.activations, rowScales);
  b.rowScales = rowScales;

  // Weights with their outputs along the reduction.
  const size_t chunk = 16 * per;
  b.weightPanels = engine.need<uint32_t>(Engine::PANELS, dx ? roundUp(x.columns, PANEL) * b.dxSteps : 0);
  Rounder weightRounder;
  if (rounding.weights.bits) {
    weightRounder.perRow = rounding.weights.perRow;
    weightRounder.codeMax = rounding.weights.largest();
    weightRounder.values = b.values;
  }
  weightRounder.toBf16 = kind == F32 && rounding.bf16 && !rounding.weights.bits;
  struct Pack { size_t part, row; };
  std::vector<Pack> packs;
  if (dx)
    for (size_t i = 0; i < parts.size(); i++)
      for (size_t row = 0; row < parts[i].weight.rows; row += chunk) packs.push_back({i, row});
  engine.pool.run(packs.size(), true, [&](size_t task, int) {
    const auto [part, row] = packs[task];
    const Source& weight = parts[part].weight;
    Rounder r = weightRounder;
    if (rounding.weights.bits) r.scales = b.weightScales[part];
    ops.packPanelsDown(kind, weight, row, std::min(chunk, weight.rows - row), r, b.weightPanels, PANEL * b.dxSteps, b.stepStart[part] + row / per, 16);
  });

  // The rows in stretches: while one is read and packed and its dx is made, dw of the one before it is.
  const size_t stretch = REDUCTION * std::max(1, engine.pool.threads() / 2);
  b.heldSteps = wanted ? roundUp(divideUp(std::min(stretch, x.rows), per), 16) : 0;
  size_t gradientWords = 0;
  for (const auto& part : parts) {
    b.gradientStart.push_back(gradientWords);
    if (part.dWeight) gradientWords += roundUp(part.weight.rows, PANEL) * b.heldSteps;
  }
  const size_t inputWords = roundUp(x.columns, PANEL) * b.heldSteps;
  uint32_t* room = engine.need<uint32_t>(Engine::PANELS2, wanted ? 2 * (inputWords + gradientWords) : 0);
  struct Task { size_t part, column, columns; };
  std::vector<Task> tasks;
  for (size_t i = 0; i < parts.size(); i++)
    if (parts[i].dWeight)
      for (size_t at = 0; at < parts[i].weight.rows; at += PANEL) tasks.push_back({i, at, std::min(PANEL, parts[i].weight.rows - at)});
  Backward::Held last{0, 0, nullptr, nullptr};
  for (size_t row = 0; row < x.rows || last.rows > 0; row += stretch) {
    const size_t count = row < x.rows ? std::min(stretch, x.rows - row) : 0;
    uint32_t* here = room + (row / stretch % 2) * (inputWords + gradientWords);
    const Backward::Held held{row, count, here, here + inputWords};
    const size_t before = last.rows > 0 ? tasks.size() : 0;
    engine.pool.run(before + divideUp(count, ROW_BLOCK), true, [&](size_t task, int thread) {
      if (task < before) {
        b.weightGradient(last, tasks[task].part, tasks[task].column, tasks[task].columns, thread);
        return;
      }
      const size_t first = row + (task - before) * ROW_BLOCK, rows = std::min(ROW_BLOCK, row + count - first);
      if (dx) b.inputGradient(first, rows, thread, dx, accumulate);  // reads rows from end to end, as memory likes it
      if (wanted) b.hold(held, first, rows);
    });
    last = wanted ? held : Backward::Held{0, 0, nullptr, nullptr};
  }
  for (const auto& part : parts)
    if (part.dBias) biasGradient(engine, part.dy, part.dBias);
}

}  // namespace bitlaw
