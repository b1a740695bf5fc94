// Block quantization on the avx2 path: see quantize_body.h.
#define PATH avx2
#include "quantize_body.h"

namespace bitlaw {
extern const QuantizeOps avx2Quantize;
constexpr QuantizeOps avx2Quantize = {avx2::encode, avx2::decode, avx2::encodeMxfp4, avx2::decodeMxfp4, avx2::encodeQ8, avx2::decodeQ8};
}  // namespace bitlaw
