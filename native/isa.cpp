// Which instruction paths this processor has, of those that the compiler could build.
#include <string>
#include <vector>

#include "engine.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(BITLAW_HAS_AMX) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace bitlaw {

extern const Ops portablePath;
#if defined(BITLAW_HAS_AVX2)
extern const Ops avx2Path;
#endif
#if defined(BITLAW_HAS_AVX512BF16)
extern const Ops avx512bf16Path;
#endif
#if defined(BITLAW_HAS_AMX)
void amxProductBf16(const Product&);
void amxProductInt8(const Product&);
#endif
#if defined(BITLAW_HAS_AVX512BF16)
void emulatedProductBf16(const Product&);
void emulatedProductInt8(const Product&);
#endif

namespace {

#if defined(__x86_64__)
struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};
Registers cpuid(unsigned leaf, unsigned subleaf) {
  Registers r;
  __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d);
  return r;
}
bool bit(unsigned word, int n) { return (word >> n) & 1; }

/** Register sets that the operating system saves: SSE and AVX (0x6), AVX-512 (0xe0), AMX (0x60000). */
unsigned long savedState() {
  if (!bit(cpuid(1, 0).c, 27)) return 0;  // no OSXSAVE
  unsigned low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low | static_cast<unsigned long>(high) << 32;
}

[[maybe_unused]] bool hasAvx2() {
  Registers one = cpuid(1, 0);
  return (savedState() & 0x6) == 0x6 && bit(one.c, 12) && bit(one.c, 29) && bit(cpuid(7, 0).b, 5);  // FMA, F16C, AVX2
}
[[maybe_unused]] bool hasAvx512Bf16() {
  Registers seven = cpuid(7, 0);
  bool foundation = bit(seven.b, 16) && bit(seven.b, 17) && bit(seven.b, 30) && bit(seven.b, 31);  // F, DQ, BW, VL
  return hasAvx2() && (savedState() & 0xe6) == 0xe6 && foundation && bit(seven.c, 11) && bit(cpuid(7, 1).a, 5);  // VNNI, BF16
}
[[maybe_unused]] bool hasAmx() {
  unsigned d = cpuid(7, 0).d;
  if (!hasAvx512Bf16() || (savedState() & 0x60000) != 0x60000 || !bit(d, 22) || !bit(d, 24) || !bit(d, 25)) return false;
#if defined(BITLAW_HAS_AMX) && defined(__linux__)
  constexpr long ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18;  // the kernel grants tile registers on request
  return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0;
#else
  return false;
#endif
}
#endif

#if defined(BITLAW_HAS_AVX512BF16)
/** The AVX-512 path with other products. */
[[maybe_unused]] Ops withTiles(const char* name, void (*bf16)(const Product&), void (*int8)(const Product&)) {
  Ops ops = avx512bf16Path;
  ops.name = name;
  ops.rowsOnly = true;
  ops.product[BF16] = bf16;
  ops.product[I8] = int8;
  return ops;
}
#endif

std::vector<const Ops*> paths() {
  std::vector<const Ops*> here;
#if defined(BITLAW_HAS_AMX)
  static const Ops amxPath = withTiles("amx", amxProductBf16, amxProductInt8);
  if (hasAmx()) here.push_back(&amxPath);
#endif
#if defined(BITLAW_HAS_AVX512BF16)
  if (hasAvx512Bf16()) here.push_back(&avx512bf16Path);
#endif
#if defined(BITLAW_HAS_AVX2)
  if (hasAvx2()) here.push_back(&avx2Path);
#endif
  here.push_back(&portablePath);
  return here;
}

}  // namespace

std::vector<std::string> pathsHere() {
  std::vector<std::string> names;
  for (const Ops* ops : paths()) names.emplace_back(ops->name);
  return names;
}

const Ops* choosePath(const std::string& name) {
#if defined(BITLAW_HAS_AVX512BF16)
  static const Ops emulatedPath = withTiles("amx-emulated", emulatedProductBf16, emulatedProductInt8);
  if (name == emulatedPath.name && hasAvx512Bf16()) return &emulatedPath;  // for tests
#endif
  for (const Ops* ops : paths())
    if (name.empty() || name == ops->name) return ops;
  return nullptr;
}

}  // namespace bitlaw
