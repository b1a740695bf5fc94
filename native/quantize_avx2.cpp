// Block quantization on the avx2 path: see quantize_table.h.
#define PATH avx2
#include "quantize_table.h"

namespace bitlaw {
extern const QuantizeOps avx2Quantize;
constexpr QuantizeOps avx2Quantize = avx2::quantizeTable();
}  // namespace bitlaw
