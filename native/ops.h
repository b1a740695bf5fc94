// The functions that exist once for each instruction path, as a table. Drivers (linear.cpp, attention.cpp …) split the
// work into tasks and call these; they know nothing of instructions.
//
// Products. The left operand ("rows") is row major: each row is `steps` 32-bit words, a word holding the 1, 2 or 4
// numbers next to each other along the reduction; their memory goes on to a multiple of 16 rows. The right operand ("panels") holds 64 output columns a panel: for each
// step 64 words, one a column; the last panel is narrower, a multiple of 16. Steps are padded by zeros to a multiple of 16.
#pragma once
#include <cstddef>
#include <cstdint>

namespace bitlaw {

/** What the numbers of a product are. On paths without bf16 or int8 units they are held wider, with the same results. */
enum Kind { BF16 = 0, I8 = 1, F32 = 2 };

constexpr size_t PANEL = 64;

inline size_t roundUp(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }
inline size_t divideUp(size_t n, size_t by) { return (n + by - 1) / by; }

/** A matrix in the caller's memory: f32, or bf16 bits. */
struct Source {
  const void* data;
  bool bf16;
  /** Numbers from one row to the next. */
  size_t stride;
  size_t rows;
  size_t columns;
  /** Scales that its numbers were rounded by already (one a row, or one): those of its codes. Null: found from the numbers. */
  const float* scales = nullptr;
};

/** How numbers are rounded while they are packed: codes round(x / scale) where scales are given, else as the kind stores them. */
struct Rounder {
  /** One a row of the source, or one in all (perRow false); null: no codes. */
  const float* scales = nullptr;
  bool perRow = false;
  float codeMax = 0;
  /** Codes of rows get +128 (they are unsigned for the int8 units). */
  bool offset = false;
  /** Multiplies each column of the source first (before rounding to bf16); null: none. Not with codes. */
  const float* columnFactors = nullptr;
  /** Multiplies each row of the source; null: none. Not with codes. */
  const float* rowFactors = nullptr;
  /** Round to bf16 also where the kind is F32. */
  bool toBf16 = false;
  /** F32 of codes: multiply them back, so that the value is stored. */
  bool values = false;
};

/** What becomes of the sums of a product: y = sum * scale * rowScales[i] * columnScales[j] + bias[j] + add[i, j]. */
struct Epilogue {
  float scale = 1;
  const float* rowScales = nullptr;
  const float* columnScales = nullptr;
  const float* bias = nullptr;
  /** Laid out as the output, which it may be; null: nothing. */
  const float* add = nullptr;
  /** I8: what each column's integer sum begins with (takes the +128 of the rows away). */
  const int32_t* start = nullptr;
};

struct Product {
  const uint32_t* rows;
  /** Words from row to row. */
  size_t rowStride;
  /** Words from step to step; other than 1 where the path takes rows from panels (see rowsOnly). */
  size_t stepStride = 1;
  size_t rowCount;
  const uint32_t* panels;
  /** Step of the panels that the rows begin with. */
  size_t firstStep;
  /** Words from panel to panel. */
  size_t panelStride;
  size_t columns;
  /** Words of the reduction; a multiple of 16. */
  size_t steps;
  float* out;
  size_t outStride;
  Epilogue epilogue;
};

/** RMS norm or layer norm; backward: out is dx. */
struct Norm {
  const float* x;
  const float* gain;
  const float* bias;
  const float* dy;
  float* out;
  float* saved;
  size_t rows;
  size_t width;
  float eps;
  bool layer;
  bool accumulate;
};

struct Rotation {
  float* x;
  const float* cos;
  const float* sin;
  size_t heads, headSize, pairs, length;
  bool inverse;
};

enum class Curve { silu = 0, gelu = 1, geluTanh = 2, relu = 3 };

struct Activations {
  const float* gate;
  const float* up;
  float* out;
  const float* dOut;
  float* dGate;
  float* dUp;
  Curve kind;
};

struct Loss {
  float loss;
  /** Multiplies what is left of the row. */
  float factor;
};

/** One step of AdamW: rest1 = 1 - beta1, keep = 1 - rate * weight decay; correct1 and correct2 are 1 / (1 - beta^t). */
struct Step {
  float* weight;
  const float* gradient;
  float* m;
  float* v;
  float rate, beta1, beta2, rest1, rest2, eps, keep, correct1, correct2, gradientScale;
};

/** Attention of one call; backward where dOut is given. */
struct Attention {
  const float* q;
  const float* k;
  const float* v;
  float* out;
  float* logSums;
  const float* dOut;
  float* dq;
  float* dk;
  float* dv;
  size_t batch, length, heads, kvHeads, headSize;
  float scale;
  /** 0: none. */
  size_t window;
  const double* slopes;
  /** 0: none. */
  float softcap;
  Kind kind;
  /** The product of that kind. */
  void (*product)(const Product&);
};

struct Ops {
  const char* name;
  /** Left operands must have their words in turn (stepStride 1). */
  bool rowsOnly;
  /** Numbers a word, for each kind. */
  size_t perWord[3];
  void (*product[3])(const Product&);
  /** Multiply-adds of words in registers alone; returns their number. sink: 32 words. */
  double (*spin[3])(size_t rounds, uint32_t* sink);

  /** Largest magnitude of each row; NaN where one is not finite. */
  void (*rowMax)(const Source&, size_t row0, size_t rows, float* out);
  /** out = code * scale of one row. */
  void (*roundCodes)(const Source&, size_t row, float scale, float codeMax, float* out);
  void (*roundBf16)(const float* x, size_t n, float* out);
  /** Where |round(x / scale)| <= codeMax: to (+)= from, else to (+)= 0; columns0 is where both begin in the row. */
  void (*addUnclipped)(const Source&, size_t row, size_t column0, size_t columns, float scale, float codeMax, const float* from, float* to, bool accumulate);

  /** Rows row0… of the source as left operand: words along the columns. `stride` words a row, padded by zeros. */
  void (*packRows)(Kind, const Source&, size_t row0, size_t rows, const Rounder&, uint32_t* out, size_t stride);
  /** Columns column0… of the source as rows of the left operand: words along source rows row0…row0+rows. */
  void (*packColumns)(Kind, const Source&, size_t row0, size_t rows, size_t column0, size_t columns, const Rounder&, uint32_t* out, size_t stride);
  /** Source rows row0…row0+rows as steps of panels over all its columns; stepStart is where row0 goes (row0 a multiple of perWord). */
  void (*packPanelsDown)(Kind, const Source&, size_t row0, size_t rows, const Rounder&, uint32_t* out, size_t panelStride, size_t stepStart, size_t stepsToPad);
  /** One panel: source rows row0…row0+rows (rows <= 64) as columns, its columns along the reduction. `sums`: of the codes, I8 only. */
  void (*packPanelAcross)(Kind, const Source&, size_t row0, size_t rows, const Rounder&, uint32_t* out, size_t steps, int32_t* sums);

  /** sums (rows, count) of source rows row0… times `count` (1 to 4) rows of floats, which have zeros up to a multiple of 64. */
  void (*dots)(const Source&, size_t row0, size_t rows, const Rounder&, const float* x, size_t stride, size_t count, float* sums);
  void (*norm)(const Norm&, size_t row0, size_t rows);
  /** dGain and dBias are this task's own sums, added to; null: not wanted. */
  void (*normBackward)(const Norm&, size_t row0, size_t rows, float* dGain, float* dBias);
  void (*rotary)(const Rotation&, size_t row0, size_t rows);
  void (*activation)(const Activations&, size_t from, size_t count);
  void (*activationBackward)(const Activations&, size_t from, size_t count);
  void (*logSoftmax)(float* row, size_t n);
  /** The loss of a row of logits, which becomes scale * (softmax - one at the target) but for the factor that is returned. softcap 0: none. */
  Loss (*lossRow)(float* row, size_t n, int32_t target, float softcap, float scale);
  /**
   * Takes the next columns of rows of logits into their sums of exponentials: tops (rows) the largest so far, sums (rows,
   * lanes) of e^(logit - top), to be added up by sumLanes. Logits are capped in place where softcap > 0.
   */
  void (*sumExp)(float* logits, size_t stride, size_t rows, size_t columns, float softcap, float* tops, float* sums);
  float (*sumLanes)(const float* sums);
  size_t lanes;
  void (*adamw)(const Step&, size_t from, size_t count);
  double (*sumSquares)(const float* x, size_t n);

  /** Bytes of scratch of an attention task. */
  size_t (*attentionScratch)(const Attention&);
  /** Queries query0 … of one sequence and one head of keys (with all heads of queries that share it). */
  void (*attention)(const Attention&, size_t sequence, size_t kvHead, size_t query0, size_t queries, void* scratch);
  void (*attentionBackward)(const Attention&, size_t sequence, size_t kvHead, void* scratch);
};

}  // namespace bitlaw
