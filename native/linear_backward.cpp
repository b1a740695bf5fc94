// The backward products of a linear layer: dx = dy Qw(w), and dw += dy^T Qa(x). Scales that lie along a reduction
// multiply dy before it is rounded to bf16; others multiply the sums.
#include <algorithm>

#include "linear.h"

namespace bitlaw {

static constexpr size_t ROW_BLOCK = 96;
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
  uint32_t* inputPanels;
  size_t inputSteps;

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

  void inputGradient(size_t row, size_t count, int thread, float* dx, bool accumulate) const;
  void weightGradient(size_t part, size_t column, size_t columns, int thread) const;
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

void Backward::weightGradient(size_t part, size_t column, size_t columns, int thread) const {
  const BackwardPart& p = parts[part];
  const size_t width = x.columns;
  const size_t most = roundUp(divideUp(REDUCTION, ops.perWord[kind]), 16);
  uint32_t* rows = engine.need<uint32_t>(thread, Engine::L_ROWS2, roundUp(columns, 16) * most);
  const bool clipped = rounding.clipped && rounding.weights.bits;
  float* to = clipped ? engine.need<float>(thread, Engine::L_OUT, columns * width) : p.dWeight + column * width;
  float scale = rounding.activations.bits && !xPerRow() && !values ? rowScales[0] : 1;
  Rounder r = readGradient(part, xPerRow() && !values ? rowScales : nullptr, nullptr, false, scale);
  for (size_t row = 0; row < x.rows; row += REDUCTION) {
    size_t count = std::min(REDUCTION, x.rows - row);
    size_t steps = roundUp(divideUp(count, ops.perWord[kind]), 16);
    Product product{};
    packLeftColumns(ops, kind, p.dy, row, count, column, columns, r, rows, steps, product);
    product.panels = inputPanels;
    product.firstStep = row / ops.perWord[kind];
    product.panelStride = PANEL * inputSteps;
    product.columns = width;
    product.out = to;
    product.outStride = width;
    product.epilogue.scale = scale;
    if (!clipped || row > 0) product.epilogue.add = to;
    ops.product[kind](product);
  }
  if (!clipped || x.rows == 0) return;
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
  Backward b{engine, ops, x, parts, rounding, kind, !rounding.bf16, {}, {}, nullptr, {}, 0, nullptr, nullptr, 0};
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

  // Panels: weights with their outputs along the reduction, and x with its rows along it.
  const size_t chunk = 16 * per;
  const size_t panels = divideUp(x.columns, PANEL);
  b.inputSteps = 0;
  for (size_t row = 0; row < x.rows; row += REDUCTION) b.inputSteps += roundUp(divideUp(std::min(REDUCTION, x.rows - row), per), 16);
  b.weightPanels = engine.need<uint32_t>(Engine::PANELS, dx ? panels * PANEL * b.dxSteps : 0);
  b.inputPanels = engine.need<uint32_t>(Engine::PANELS2, wanted ? panels * PANEL * b.inputSteps : 0);
  auto rounderOf = [&](const CodeFormat& format, const float* own) {
    Rounder r;
    if (format.bits) {
      r.scales = own;
      r.perRow = format.perRow;
      r.codeMax = format.largest();
      r.values = b.values;
    }
    r.toBf16 = kind == F32 && rounding.bf16 && !format.bits;
    return r;
  };
  struct Pack { const Source* source; const CodeFormat* format; const float* scales; size_t row; size_t step; uint32_t* to; size_t stride; };
  std::vector<Pack> packs;
  if (dx)
    for (size_t i = 0; i < parts.size(); i++)
      for (size_t row = 0; row < parts[i].weight.rows; row += chunk)
        packs.push_back({&parts[i].weight, &rounding.weights, b.weightScales[i], row, b.stepStart[i] + row / per, b.weightPanels, PANEL * b.dxSteps});
  if (wanted)
    for (size_t row = 0; row < x.rows; row += chunk)
      packs.push_back({&x, &rounding.activations, rowScales, row, row / per, b.inputPanels, PANEL * b.inputSteps});
  engine.pool.run(packs.size(), true, [&](size_t task, int) {
    const Pack& p = packs[task];
    ops.packPanelsDown(kind, *p.source, p.row, std::min(chunk, p.source->rows - p.row), rounderOf(*p.format, p.scales), p.to, p.stride, p.step, 16);
  });

  // All products at once: rows of dx, and rows of each dw.
  struct Task { bool input; size_t part; size_t at; size_t count; };
  std::vector<Task> tasks;
  for (size_t i = 0; i < parts.size(); i++) {
    if (parts[i].dWeight)
      for (size_t at = 0; at < parts[i].weight.rows; at += PANEL) tasks.push_back({false, i, at, std::min(PANEL, parts[i].weight.rows - at)});
  }
  if (dx)
    for (size_t row = 0; row < x.rows; row += ROW_BLOCK) tasks.push_back({true, 0, row, std::min(ROW_BLOCK, x.rows - row)});
  engine.pool.run(tasks.size(), true, [&](size_t task, int thread) {
    const Task& t = tasks[task];
    if (t.input) b.inputGradient(t.at, t.count, thread, dx, accumulate);
    else b.weightGradient(t.part, t.at, t.count, thread);
  });
  for (const auto& part : parts)
    if (part.dBias) biasGradient(engine, part.dy, part.dBias);
}

}  // namespace bitlaw
