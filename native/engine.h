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
 * A packed panel from `firstStep` on as rows of the left operand of `p` (its rowCount columns, p.steps steps): as it lies,
 * or turned into `room` (PANEL x p.steps words) where the path wants rows.
 */
inline void rowsFromPanel(const Ops& ops, const uint32_t* panel, size_t firstStep, Product& p, uint32_t* room) {
  const size_t width = roundUp(p.rowCount, 16);
  const uint32_t* from = panel + firstStep * width;
  p.rows = ops.rowsOnly ? room : from;
  p.rowStride = ops.rowsOnly ? p.steps : 1;
  p.stepStride = ops.rowsOnly ? 1 : width;
  // words are moved as if they were floats
  if (ops.rowsOnly) ops.packColumns(F32, Source{from, false, width, p.steps, width}, 0, p.steps, 0, p.rowCount, Rounder(), room, p.steps);
}

/** The best instruction path of this processor among those compiled, or the one named; null where it cannot run here. */
const Ops* choosePath(const std::string& name);
/** Names of the paths that this processor has, best first. */
std::vector<std::string> pathsHere();

}  // namespace bitlaw
