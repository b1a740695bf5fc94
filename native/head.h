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
  /** What follows is of crossEntropy alone: the gradient of (sum of losses) * scale. */
  float scale;
  float* dx;
  float* dWeight;
  float* dBias;
};

/** Losses and gradients. */
void crossEntropy(Engine&, const Head&);
/** Losses alone. */
void losses(Engine&, const Head&);

}  // namespace bitlaw
