// Block quantization on the avx512bf16 path: see quantize_body.h.
#define PATH avx512bf16
#include "quantize_body.h"

namespace bitlaw {
extern const QuantizeOps avx512bf16Quantize;
constexpr QuantizeOps avx512bf16Quantize = {avx512bf16::encode, avx512bf16::decode, avx512bf16::encodeMxfp4, avx512bf16::decodeMxfp4, avx512bf16::encodeQ8, avx512bf16::decodeQ8};
}  // namespace bitlaw
