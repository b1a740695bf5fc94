// The avx512bf16 path: see path_body.h.
#define PATH avx512bf16
#define PATH_NAME "avx512bf16"
#include "path_body.h"

namespace bitlaw {
extern const Ops avx512bf16Path;
constexpr Ops avx512bf16Path = avx512bf16::table();
}  // namespace bitlaw
