// All quantization kernels of one instruction path, as a table. A path's file defines PATH and includes this.
#pragma once
#include "extras_body.h"
#include "ggml_pack_body.h"
#include "micro_body.h"
#include "plain_body.h"
#include "quantize_body.h"
#include "search_body.h"

namespace bitlaw::PATH {
namespace {

constexpr QuantizeOps quantizeTable() {
  QuantizeOps ops{};
  ops.encode = encode;
  ops.decode = decode;
  ops.encodeMxfp4 = encodeMxfp4;
  ops.decodeMxfp4 = decodeMxfp4;
  ops.encodeQ8 = encodeQ8;
  ops.decodeQ8 = decodeQ8;
  ops.encodeHalf = encodeHalf;
  ops.decodeHalf = decodeHalf;
  ops.roundHalf = roundHalf;
  ops.encodeBf16 = encodeBf16;
  ops.encodeWide = encodeWide;
  ops.decodeWide = decodeWide;
  ops.encodeMicro = encodeMicro;
  ops.decodeMicro = decodeMicro;
  ops.encodeNvfp4 = encodeNvfp4;
  ops.decodeNvfp4 = decodeNvfp4;
  ops.roundE4m3 = roundE4m3;
  ops.findScales = findScales;
  ops.rotate = rotate;
  ops.center = center;
  ops.addMeans = addMeans;
  ops.encodeRandomly = encodeRandomly;
  ops.encodeGgml = encodeGgml;
  ops.decodeGgml = decodeGgml;
  return ops;
}

}  // namespace
}  // namespace bitlaw::PATH
