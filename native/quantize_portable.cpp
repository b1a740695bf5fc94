// Block quantization on the portable path: see quantize_body.h.
#define PATH portable
#include "quantize_body.h"

namespace bitlaw {
extern const QuantizeOps portableQuantize;
constexpr QuantizeOps portableQuantize = {portable::encode, portable::decode, portable::encodeMxfp4, portable::decodeMxfp4, portable::encodeQ8, portable::decodeQ8};
}  // namespace bitlaw
