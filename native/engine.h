// What one set of kernels holds: its instruction path, its thread pool, and memory that grows to the largest call and stays.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "ops.h"
#include "pool.h"

namespace bitlaw {

/** Memory aligned to cache lines, kept from call to call; its contents are not. */
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept : data_(other.data_), size_(other.size_) { other.data_ = nullptr; other.size_ = 0; }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { std::free(data_); }
  template <class T>
  T* need(size_t count) {
    size_t bytes = (count * sizeof(T) + 4095) / 4096 * 4096 + 4096;
    if (bytes > size_) {
      std::free(data_);
      size_ = 0;
      data_ = std::aligned_alloc(4096, bytes);
      if (!data_) throw std::bad_alloc();
      size_ = bytes;
    }
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

struct Engine {
  Engine(int threads, const Ops* path) : pool(threads), ops(path), local(static_cast<size_t>(threads)) {}
  Pool pool;
  const Ops* ops;
  /** Shared by the tasks of a call. */
  enum Shared { PANELS, PANELS2, SCALES, SCALES2, SUMS, PARTIALS, ROWS, KEPT, SHARED };
  Buffer shared[SHARED];
  /** Scratch of each thread. */
  enum Local { L_ROWS, L_ROWS2, L_STRIP, L_OUT, LOCAL };
  struct Scratch {
    Buffer buffers[LOCAL];
  };
  std::vector<Scratch> local;

  template <class T>
  T* need(Shared which, size_t count) { return shared[which].need<T>(count); }
  template <class T>
  T* need(int thread, Local which, size_t count) { return local[static_cast<size_t>(thread)].buffers[which].need<T>(count); }
};

/**
 * Packs columns column0 … (at most PANEL, a multiple of PANEL in) of source rows row0 … as rows of the left operand of `p`,
 * their words along the source's rows: transposed where the path wants rows, else as a panel, which needs no turning.
 */
inline void packLeftColumns(const Ops& ops, Kind kind, const Source& s, size_t row0, size_t rows, size_t column0, size_t columns,
                            const Rounder& rounder, uint32_t* out, size_t steps, Product& p) {
  p.rows = out;
  p.rowCount = columns;
  p.steps = steps;
  if (ops.rowsOnly) {
    ops.packColumns(kind, s, row0, rows, column0, columns, rounder, out, steps);
    p.rowStride = steps;
    return;
  }
  Source part = s;
  part.data = static_cast<const char*>(s.data) + column0 * (s.bf16 ? 2 : 4);
  part.columns = columns;
  ops.packPanelsDown(kind, part, row0, rows, rounder, out, 0, 0, steps);
  p.rowStride = 1;
  p.stepStride = roundUp(columns, 16);
}

/** The best instruction path of this processor among those compiled, or the one named; null where it cannot run here. */
const Ops* choosePath(const std::string& name);
/** Names of the paths that this processor has, best first. */
std::vector<std::string> pathsHere();

}  // namespace bitlaw
