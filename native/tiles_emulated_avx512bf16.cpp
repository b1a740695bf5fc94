// The tile instructions of AMX written out, so that the AMX path's blocking and edges are tested on processors without it.
#define PATH emulated
#include "tiles_body.h"

namespace bitlaw {
namespace emulated {
namespace {

thread_local uint32_t tiles[8][TILE][TILE];

struct Emulation {
  static void begin() {}
  static void end() {}
  template <int T>
  static void zero() { std::memset(tiles[T], 0, sizeof tiles[T]); }
  template <int T>
  static void load(const void* from, size_t stride) {
    for (size_t r = 0; r < TILE; r++) std::memcpy(tiles[T][r], static_cast<const char*>(from) + r * stride, 64);
  }
  template <int T>
  static void store(void* to, size_t stride) {
    for (size_t r = 0; r < TILE; r++) std::memcpy(static_cast<char*>(to) + r * stride, tiles[T][r], 64);
  }
  template <Kind K, int C, int A, int B>
  static void dot() {
    for (size_t m = 0; m < TILE; m++)
      for (size_t k = 0; k < TILE; k++)
        for (size_t n = 0; n < TILE; n++) {
          uint32_t a = tiles[A][m][k], b = tiles[B][k][n], c = tiles[C][m][n];
          if constexpr (K == BF16) {
            float sum;
            std::memcpy(&sum, &c, 4);
            for (int half = 0; half < 2; half++)
              sum += fromBf16(static_cast<uint16_t>(a >> 16 * half)) * fromBf16(static_cast<uint16_t>(b >> 16 * half));
            std::memcpy(&tiles[C][m][n], &sum, 4);
          } else {
            for (int i = 0; i < 4; i++)
              c += static_cast<uint32_t>(static_cast<int32_t>(static_cast<uint8_t>(a >> 8 * i)) * static_cast<int8_t>(b >> 8 * i));
            tiles[C][m][n] = c;
          }
        }
  }
};

}  // namespace
}  // namespace emulated

void emulatedProductBf16(const Product& p) { emulated::tileProduct<emulated::Emulation, BF16>(p); }
void emulatedProductInt8(const Product& p) { emulated::tileProduct<emulated::Emulation, I8>(p); }

}  // namespace bitlaw
