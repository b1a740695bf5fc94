// GPTQ on the avx512bf16 path: see gptq_body.h.
#define PATH avx512bf16
#include "gptq_body.h"

namespace bitlaw {
extern const GptqTables avx512bf16Gptq;
constexpr GptqTables avx512bf16Gptq = {
    {avx512bf16::LANES<float>, avx512bf16::product<float>, avx512bf16::round<float>, avx512bf16::feedback<float>},
    {avx512bf16::LANES<double>, avx512bf16::product<double>, avx512bf16::round<double>, avx512bf16::feedback<double>},
};
}  // namespace bitlaw
