// Packed weights as JavaScript holds them: an External, freed when it is collected.
#pragma once
#include "boundary.h"
#include "weights.h"

namespace bitlaw {

/** The packed weights in `value`, or null where it holds none; an error where a product with this rounding needs others. */
inline const KeptWeights* keptOf(Arguments& args, const Engine& engine, const Napi::Value& value, const Source& weight, const LinearRounding& rounding) {
  if (!value.IsExternal()) return nullptr;
  const KeptWeights* kept = value.As<Napi::External<KeptWeights>>().Data();
  if (!kept->fits(*engine.ops, weight, rounding)) args.fail("kept", "packed from this weight, by these kernels, for this rounding");
  return kept;
}

}  // namespace bitlaw
