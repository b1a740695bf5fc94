// The tile instructions of AMX.
#define PATH amx
#include "tiles_body.h"

namespace bitlaw {
namespace amx {
namespace {

struct Hardware {
  /** Eight tiles of 16 rows of 64 bytes. */
  static void begin() {
    struct alignas(64) {
      uint8_t palette = 1, start = 0, reserved[14] = {};
      uint16_t bytesARow[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } config;
    static_assert(sizeof config == 64);
    _tile_loadconfig(&config);
  }
  static void end() { _tile_release(); }
  // The intrinsics take the numbers of registers as they are spelled.
  template <int T>
  static void zero() {
    if constexpr (T == 0) _tile_zero(0);
    if constexpr (T == 1) _tile_zero(1);
    if constexpr (T == 2) _tile_zero(2);
    if constexpr (T == 3) _tile_zero(3);
  }
  template <int T>
  static void load(const void* from, size_t stride) {
    if constexpr (T == 4) _tile_loadd(4, from, stride);
    if constexpr (T == 5) _tile_loadd(5, from, stride);
    if constexpr (T == 6) _tile_loadd(6, from, stride);
    if constexpr (T == 7) _tile_loadd(7, from, stride);
  }
  template <int T>
  static void store(void* to, size_t stride) {
    if constexpr (T == 0) _tile_stored(0, to, stride);
    if constexpr (T == 1) _tile_stored(1, to, stride);
    if constexpr (T == 2) _tile_stored(2, to, stride);
    if constexpr (T == 3) _tile_stored(3, to, stride);
  }
  template <Kind K, int C, int A, int B>
  static void dot() {
    static_assert(A == 4 + C / 2 && B == 6 + C % 2);
    if constexpr (K == BF16) {
      if constexpr (C == 0) _tile_dpbf16ps(0, 4, 6);
      if constexpr (C == 1) _tile_dpbf16ps(1, 4, 7);
      if constexpr (C == 2) _tile_dpbf16ps(2, 5, 6);
      if constexpr (C == 3) _tile_dpbf16ps(3, 5, 7);
    } else {
      if constexpr (C == 0) _tile_dpbusd(0, 4, 6);
      if constexpr (C == 1) _tile_dpbusd(1, 4, 7);
      if constexpr (C == 2) _tile_dpbusd(2, 5, 6);
      if constexpr (C == 3) _tile_dpbusd(3, 5, 7);
    }
  }
};

}  // namespace
}  // namespace amx

void amxProductBf16(const Product& p) { amx::tileProduct<amx::Hardware, BF16>(p); }
void amxProductInt8(const Product& p) { amx::tileProduct<amx::Hardware, I8>(p); }

}  // namespace bitlaw
