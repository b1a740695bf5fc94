// The unembedding with its loss.
#pragma once
#include "engine.h"

namespace bitlaw {

struct KeptWeights;

struct Head {
  Source x;
  Source weight;
  /** The weight packed before; null: it is packed now. */
  const KeptWeights* kept;
  const float* bias;
  const int32_t* targets;
  float* losses;
  float softcap;
  bool bf16;
  /** Backward: the gradient of (sum of losses) * scale. */
  bool gradient;
  float scale;
  float* dx;
  float* dWeight;
  float* dBias;
};

void crossEntropy(Engine&, const Head&);
/** The losses alone. */
void losses(Engine&, const Head&);

}  // namespace bitlaw
