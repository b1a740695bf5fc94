// Block quantization on the portable path: see quantize_table.h.
#define PATH portable
#include "quantize_table.h"

namespace bitlaw {
extern const QuantizeOps portableQuantize;
constexpr QuantizeOps portableQuantize = portable::quantizeTable();
}  // namespace bitlaw
