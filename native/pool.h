// A thread pool whose result never depends on the number of threads: a job is a count of tasks, tasks are claimed in
// any order, and each task writes only its own outputs. With one thread there is no pool and no other thread. A thread
// begins with its own share of neighbouring tasks, so that rows which one kernel has written are read by the next on the
// same core, and takes from the others' shares when that is done.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace bitlaw {

/** Flushes subnormals to zero on this thread while it lives, and restores the control word. */
class FlushSubnormals {
 public:
  explicit FlushSubnormals(bool flush);
  ~FlushSubnormals();
  FlushSubnormals(const FlushSubnormals&) = delete;
  FlushSubnormals& operator=(const FlushSubnormals&) = delete;

 private:
  bool flush_;
  unsigned long saved_;
};

class Pool {
 public:
  /** `threads` counts the calling one. */
  explicit Pool(int threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /**
   * Calls task(index, thread) for every index below `count` and returns when all are done; `thread` (below threads())
   * tells which scratch memory is its own. `flush`: subnormals are zero inside. Not to be called from a task.
   */
  void run(size_t count, bool flush, const std::function<void(size_t index, int thread)>& task);

 private:
  void work(int thread);
  void claim(int thread);

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  const std::function<void(size_t, int)>* task_ = nullptr;
  bool flush_ = false;
  /** Tasks of one thread's share that nobody has claimed. */
  struct alignas(64) Share {
    std::atomic<size_t> next{0};
    size_t end = 0;
  };
  std::vector<Share> shares_;
  std::atomic<int> busy_{0};
  std::atomic<unsigned> generation_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace bitlaw
