// The linear layer's three products as drivers see them: operands with the way each is rounded.
#pragma once
#include <vector>

#include "engine.h"

namespace bitlaw {

/** How a scale is stored. */
enum class ScaleKind { exact = 0, fp16 = 1, bf16 = 2, e8m0 = 3 };

/** Integer codes with one scale a row or a tensor; bits 0: not rounded to codes. */
struct CodeFormat {
  int bits = 0;
  bool perRow = false;
  ScaleKind scale = ScaleKind::exact;
  double absmaxRatio = 1;
  float largest() const { return static_cast<float>((1 << (bits - 1)) - 1); }
};

struct LinearRounding {
  CodeFormat weights, activations, gradients;
  bool clipped = false;
  bool bf16 = false;
};

struct KeptWeights;

struct ForwardPart {
  Source weight;
  /** The weight packed before; null: it is packed now. */
  const KeptWeights* kept;
  const float* bias;
  const float* residual;
  float* y;
};

struct BackwardPart {
  Source weight;
  Source dy;
  float* dWeight;
  float* dBias;
};

void linear(Engine&, const Source& x, const std::vector<ForwardPart>&, const LinearRounding&);
void linearBackward(Engine&, const Source& x, const std::vector<BackwardPart>&, float* dx, bool accumulate, const LinearRounding&);

/** dBias += sums of the columns of dy, rows in order. */
void biasGradient(Engine&, const Source& dy, float* dBias);
/** out (rows, columns) = code * scale of each number; out may be x. */
void roundCodes(Engine&, const Source& x, const CodeFormat&, float* out);

/** Rounds a positive scale to what is stored. */
float roundScale(float scale, ScaleKind kind);
/** The scale of numbers up to absmax. */
float scaleOf(float absmax, const CodeFormat&);
/** Scales of a matrix: one a row, or one. */
void codeScales(Engine&, const Source&, const CodeFormat&, float* scales);

}  // namespace bitlaw
