// Products on tile registers (AMX), over the operands of the AVX-512 path: 2 x 2 tiles of 16 x 16 sums, each fed by
// 16 rows and 16 columns of 64 bytes of the reduction. `Tiles` is the hardware's instructions, or their emulation.
#pragma once
#include "product_body.h"

namespace bitlaw::PATH {
namespace {

constexpr size_t TILE = 16;

/** Sums of up to 32 x 32 outputs over the whole reduction, into `sums` (32 x 32 floats or integers). */
template <class Tiles, Kind K>
void tileBlock(const uint32_t* rows, size_t rowStride, size_t rowTiles, const uint32_t* panel, size_t width, size_t columnTiles, size_t steps, uint32_t* sums) {
  Tiles::template zero<0>();
  Tiles::template zero<1>();
  Tiles::template zero<2>();
  Tiles::template zero<3>();
  for (size_t s = 0; s < steps; s += TILE) {
    Tiles::template load<4>(rows + s, rowStride * 4);
    Tiles::template load<6>(panel + s * width, width * 4);
    Tiles::template dot<K, 0, 4, 6>();
    if (columnTiles > 1) {
      Tiles::template load<7>(panel + s * width + TILE, width * 4);
      Tiles::template dot<K, 1, 4, 7>();
    }
    if (rowTiles > 1) {
      Tiles::template load<5>(rows + TILE * rowStride + s, rowStride * 4);
      Tiles::template dot<K, 2, 5, 6>();
      if (columnTiles > 1) Tiles::template dot<K, 3, 5, 7>();
    }
  }
  Tiles::template store<0>(sums, 2 * TILE * 4);
  if (columnTiles > 1) Tiles::template store<1>(sums + TILE, 2 * TILE * 4);
  if (rowTiles > 1) Tiles::template store<2>(sums + 2 * TILE * TILE, 2 * TILE * 4);
  if (rowTiles > 1 && columnTiles > 1) Tiles::template store<3>(sums + 2 * TILE * TILE + TILE, 2 * TILE * 4);
}

/** See Product. Rows are read up to the next multiple of 16 past rowCount: their memory must exist. */
template <class Tiles, Kind K>
void tileProduct(const Product& p) {
  alignas(64) uint32_t sums[4 * TILE * TILE];
  const Epilogue& e = p.epilogue;
  Tiles::begin();
  for (size_t column = 0; column < p.columns; column += PANEL) {
    const size_t left = p.columns - column < PANEL ? p.columns - column : PANEL;
    const size_t width = roundUp(left, TILE);
    const uint32_t* panel = p.panels + column / PANEL * p.panelStride + p.firstStep * width;
    for (size_t part = 0; part < left; part += 2 * TILE)
      for (size_t row = 0; row < p.rowCount; row += 2 * TILE) {
        const size_t height = p.rowCount - row < 2 * TILE ? p.rowCount - row : 2 * TILE;
        const size_t across = left - part < 2 * TILE ? left - part : 2 * TILE;
        tileBlock<Tiles, K>(p.rows + row * p.rowStride, p.rowStride, divideUp(height, TILE), panel + part, width, divideUp(across, TILE), p.steps, sums);
        for (size_t r = 0; r < height; r++) {
          F rowScale = set(e.rowScales ? e.scale * e.rowScales[row + r] : e.scale);
          for (size_t c = 0; c < across; c += W) {
            const size_t j = column + part + c, at = (row + r) * p.outStride + j;
            const int lanes = across - c < W ? static_cast<int>(across - c) : W;
            I raw = loadi(sums + r * 2 * TILE + c);
            F sum = K == I8 ? toFloat(e.start ? _mm512_add_epi32(raw, loadi(e.start + j)) : raw) : asFloat(raw);
            finish(sum, p.out + at, e, e.add ? e.add + at : nullptr, rowScale, j, lanes);
          }
        }
      }
  }
  Tiles::end();
}

}  // namespace
}  // namespace bitlaw::PATH
