// Block quantization on the avx512bf16 path: see quantize_table.h.
#define PATH avx512bf16
#include "quantize_table.h"

namespace bitlaw {
extern const QuantizeOps avx512bf16Quantize;
constexpr QuantizeOps avx512bf16Quantize = avx512bf16::quantizeTable();
}  // namespace bitlaw
