// The weights of products: how they are held, and packing them for one call or for as long as they are not changed.
#pragma once
#include <memory>

#include "linear.h"

namespace bitlaw {

/** How a product holds its numbers. */
struct Holding {
  Kind kind;
  /** Codes are multiplied back by their scales, and products are of values. */
  bool values;
  /** Words of the reduction. */
  size_t steps;
};

Holding holdingOf(const Ops&, const LinearRounding&, size_t columns);

/** Where packed weights lie: panels, the sums of their codes (I8), and their scales (where they are codes). */
struct Packed {
  uint32_t* panels;
  int32_t* sums;
  float* scales;
};

/** Packs matrices of as many columns, each to its place. */
void packWeights(Engine&, const std::vector<Source>&, const std::vector<Packed>& to, const LinearRounding&, const Holding&);

/** Weights packed once, for the products of one rounding. */
struct KeptWeights {
  const Ops* ops;
  size_t rows, columns;
  LinearRounding rounding;
  Holding holding;
  Packed packed;
  Buffer panels, sums, scales;

  size_t bytes() const { return roundUp(rows, PANEL) * (holding.steps + 2) * 4; }
  /** Whether these are what a product with this rounding packs. */
  bool fits(const Ops&, const Source& weight, const LinearRounding&) const;
};

std::unique_ptr<KeptWeights> keepWeights(Engine&, const Source&, const LinearRounding&);

}  // namespace bitlaw
