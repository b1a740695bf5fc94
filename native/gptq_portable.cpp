// GPTQ on the portable path: see gptq_body.h.
#define PATH portable
#include "gptq_body.h"

namespace bitlaw {
extern const GptqTables portableGptq;
constexpr GptqTables portableGptq = {
    {portable::LANES<float>, portable::product<float>, portable::round<float>, portable::feedback<float>},
    {portable::LANES<double>, portable::product<double>, portable::round<double>, portable::feedback<double>},
};
}  // namespace bitlaw
