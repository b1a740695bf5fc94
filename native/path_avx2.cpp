// The avx2 path: see path_body.h.
#define PATH avx2
#define PATH_NAME "avx2"
#include "path_body.h"

namespace bitlaw {
extern const Ops avx2Path;
constexpr Ops avx2Path = avx2::table();
}  // namespace bitlaw
