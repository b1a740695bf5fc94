// GPTQ on the avx2 path: see gptq_body.h.
#define PATH avx2
#include "gptq_body.h"

namespace bitlaw {
extern const GptqTables avx2Gptq;
constexpr GptqTables avx2Gptq = {
    {avx2::LANES<float>, avx2::product<float>, avx2::round<float>, avx2::feedback<float>},
    {avx2::LANES<double>, avx2::product<double>, avx2::round<double>, avx2::feedback<double>},
};
}  // namespace bitlaw
