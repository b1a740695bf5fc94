// All kernels of one instruction path, as a table: a constant, so that no code of the path runs before it is chosen. A path's file defines PATH and PATH_NAME and includes this.
#pragma once
#include "attention_body.h"
#include "dots_body.h"
#include "pack_body.h"
#include "product_body.h"
#include "scores_body.h"
#include "vector_body.h"

namespace bitlaw::PATH {
namespace {

constexpr Ops table() {
  Ops ops{};
  ops.name = PATH_NAME;
  ops.perWord[BF16] = Words<BF16>::PER;
  ops.perWord[I8] = Words<I8>::PER;
  ops.perWord[F32] = Words<F32>::PER;
#if defined(__AVX512BF16__)
  ops.product[BF16] = product<Bf16Units>;
  ops.spin[BF16] = spin<Bf16Units>;
#else
  ops.product[BF16] = product<FloatUnits>;
  ops.spin[BF16] = spin<FloatUnits>;
#endif
  ops.product[I8] = product<Int8Units>;
  ops.product[F32] = product<FloatUnits>;
  ops.spin[I8] = spin<Int8Units>;
  ops.spin[F32] = spin<FloatUnits>;
  ops.rowMax = rowMax;
  ops.roundCodes = roundCodes;
  ops.roundBf16 = roundToBf16;
  ops.addUnclipped = addUnclipped;
  ops.packRows = packRowsOf;
  ops.packColumns = packColumnsOf;
  ops.packPanelsDown = packPanelsDownOf;
  ops.packPanelAcross = packPanelAcrossOf;
  ops.dots = dots;
  ops.norm = norm;
  ops.normBackward = normBackward;
  ops.rotary = rotary;
  ops.activation = activation;
  ops.activationBackward = activationBackward;
  ops.logSoftmax = logSoftmax;
  ops.lossRow = lossRow;
  ops.sumExp = sumExp;
  ops.sumLanes = sumLanes;
  ops.lanes = W;
  ops.adamw = adamw;
  ops.sumSquares = sumSquares;
  ops.attentionScratch = attentionScratch;
  ops.attention = attention;
  ops.attentionBackward = attentionBackward;
  return ops;
}

}  // namespace
}  // namespace bitlaw::PATH
