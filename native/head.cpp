// Cross-entropy of the unembedding with its gradient, logits a block of rows at a time; the gradient of the logits of some
// hundred rows is kept, packed, for the gradient of the weights, never all of them.
#include "head.h"

#include <algorithm>

namespace bitlaw {

/** Rows whose logits one task holds: a multiple of perWord. */
static constexpr size_t ROW_BLOCK = 24;
/** Numbers of logit gradients that are kept at once. */
static constexpr size_t KEPT = 4 << 20;

void crossEntropy(Engine& engine, const Head& head) {
  const Ops& ops = *engine.ops;
  const Kind kind = head.bf16 ? BF16 : F32;
  const size_t per = ops.perWord[kind];
  const size_t rows = head.x.rows, width = head.x.columns, vocab = head.weight.rows;
  const size_t widthWords = roundUp(divideUp(width, per), 16), vocabWords = roundUp(divideUp(vocab, per), 16);
  const Rounder plain;

  uint32_t* across = engine.need<uint32_t>(Engine::PANELS, roundUp(vocab, PANEL) * widthWords);
  engine.pool.run(divideUp(vocab, PANEL), true, [&](size_t task, int) {
    size_t row = task * PANEL;
    ops.packPanelAcross(kind, head.weight, row, std::min(PANEL, vocab - row), plain, across + row * widthWords, widthWords, nullptr);
  });
  const size_t widthPanels = roundUp(width, PANEL);
  uint32_t* down = engine.need<uint32_t>(Engine::PANELS2, widthPanels * vocabWords);
  engine.pool.run(vocabWords / 16, true, [&](size_t task, int) {
    size_t row = std::min(task * 16 * per, vocab);
    ops.packPanelsDown(kind, head.weight, row, std::min(16 * per, vocab - row), plain, down, PANEL * vocabWords, task * 16, 16);
  });

  // Rows that are held together: a number of the shape alone, as sums over rows are made piece by piece.
  const size_t held = std::clamp(KEPT / std::max<size_t>(vocab, 1) / ROW_BLOCK * ROW_BLOCK, 4 * ROW_BLOCK, 42 * ROW_BLOCK);
  const size_t heldWords = roundUp(divideUp(held, per), 16);
  uint32_t* kept = head.dWeight ? engine.need<uint32_t>(Engine::KEPT, roundUp(vocab, PANEL) * heldWords) : nullptr;
  float* biasSums = head.dBias ? engine.need<float>(Engine::PARTIALS, divideUp(held, ROW_BLOCK) * vocab) : nullptr;
  uint32_t* inputs = head.dWeight ? engine.need<uint32_t>(Engine::ROWS, widthPanels * heldWords) : nullptr;

  for (size_t first = 0; first < rows; first += held) {
    const size_t here = std::min(held, rows - first);
    engine.pool.run(divideUp(here, ROW_BLOCK), true, [&](size_t task, int thread) {
      const size_t row = first + task * ROW_BLOCK, count = std::min(ROW_BLOCK, first + here - row);
      uint32_t* packed = engine.need<uint32_t>(thread, Engine::L_ROWS, roundUp(ROW_BLOCK, 16) * widthWords);
      float* logits = engine.need<float>(thread, Engine::L_OUT, ROW_BLOCK * vocab);
      ops.packRows(kind, head.x, row, count, plain, packed, widthWords);
      Product p{};
      p.rows = packed;
      p.rowStride = widthWords;
      p.rowCount = count;
      p.panels = across;
      p.panelStride = PANEL * widthWords;
      p.columns = vocab;
      p.steps = widthWords;
      p.out = logits;
      p.outStride = vocab;
      p.epilogue.bias = head.bias;
      ops.product[kind](p);
      float factors[ROW_BLOCK];
      for (size_t i = 0; i < count; i++) {
        Loss loss = ops.lossRow(logits + i * vocab, vocab, head.targets[row + i], head.softcap, head.scale);
        head.losses[row + i] = loss.loss;
        factors[i] = loss.factor;
      }
      if (head.dBias) {
        float* sums = biasSums + task * vocab;
        std::fill(sums, sums + vocab, 0.0f);
        for (size_t i = 0; i < count; i++)
          for (size_t o = 0; o < vocab; o++) sums[o] += logits[i * vocab + o] * factors[i];
      }
      uint32_t* gradients = engine.need<uint32_t>(thread, Engine::L_ROWS2, roundUp(ROW_BLOCK, 16) * vocabWords);
      const Source scores{logits, false, vocab, count, vocab};
      Rounder scaled;
      scaled.rowFactors = factors;
      ops.packRows(kind, scores, 0, count, scaled, gradients, vocabWords);
      if (kept) {
        const size_t step = (row - first) / per, steps = row + count == first + here ? roundUp(divideUp(here, per), 16) - step : count / per;
        ops.packPanelsDown(kind, scores, 0, count, scaled, kept, PANEL * heldWords, step, steps);
      }
      p.rows = gradients;
      p.rowStride = vocabWords;
      p.panels = down;
      p.panelStride = PANEL * vocabWords;
      p.columns = width;
      p.steps = vocabWords;
      p.out = head.dx + row * width;
      p.outStride = width;
      p.epilogue = Epilogue{};
      ops.product[kind](p);
    });
    if (head.dBias)
      for (size_t block = 0; block < divideUp(here, ROW_BLOCK); block++)
        for (size_t o = 0; o < vocab; o++) head.dBias[o] += biasSums[block * vocab + o];
    if (!head.dWeight) continue;

    const size_t words = roundUp(divideUp(here, per), 16);
    engine.pool.run(words / 16, true, [&](size_t task, int) {
      size_t row = std::min(task * 16 * per, here);
      ops.packPanelsDown(kind, Source{static_cast<const char*>(head.x.data) + first * width * 4, false, width, here, width}, row,
                         std::min(16 * per, here - row), plain, inputs, PANEL * words, task * 16, 16);
    });
    engine.pool.run(divideUp(vocab, PANEL), true, [&](size_t task, int thread) {
      const size_t output = task * PANEL;
      Product p{};
      p.rowCount = std::min(PANEL, vocab - output);
      p.steps = words;
      rowsFromPanel(ops, kept + output * heldWords, 0, p, engine.need<uint32_t>(thread, Engine::L_ROWS2, ops.rowsOnly ? PANEL * words : 0));
      p.panels = inputs;
      p.panelStride = PANEL * words;
      p.columns = width;
      p.out = head.dWeight + output * width;
      p.outStride = width;
      p.epilogue.add = p.out;
      ops.product[kind](p);
    });
  }
}

}  // namespace bitlaw
