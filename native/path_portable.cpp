// The portable path: see path_body.h.
#define PATH portable
#define PATH_NAME "portable"
#include "path_body.h"

namespace bitlaw {
extern const Ops portablePath;
constexpr Ops portablePath = portable::table();
}  // namespace bitlaw
