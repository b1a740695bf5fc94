// The thread pool: workers wait a few microseconds in a loop, as jobs follow each other closely, and sleep after that.
#include "pool.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bitlaw {

#if defined(__x86_64__)
FlushSubnormals::FlushSubnormals(bool flush) : flush_(flush), saved_(_mm_getcsr()) {
  if (flush_) _mm_setcsr(static_cast<unsigned>(saved_) | 0x8040);  // FTZ and DAZ
}
FlushSubnormals::~FlushSubnormals() {
  if (flush_) _mm_setcsr(static_cast<unsigned>(saved_));
}
static void pause() { _mm_pause(); }
#elif defined(__aarch64__)
FlushSubnormals::FlushSubnormals(bool flush) : flush_(flush), saved_(0) {
  if (!flush_) return;
  asm volatile("mrs %0, fpcr" : "=r"(saved_));
  asm volatile("msr fpcr, %0" : : "r"(saved_ | (1ul << 24)));
}
FlushSubnormals::~FlushSubnormals() {
  if (flush_) asm volatile("msr fpcr, %0" : : "r"(saved_));
}
static void pause() { asm volatile("yield"); }
#else
FlushSubnormals::FlushSubnormals(bool flush) : flush_(flush), saved_(0) {}
FlushSubnormals::~FlushSubnormals() {}
static void pause() {}
#endif

static constexpr int SPINS = 2000;

Pool::Pool(int threads) : shares_(static_cast<size_t>(threads < 1 ? 1 : threads)) {
  for (int thread = 1; thread < threads; thread++) workers_.emplace_back([this, thread] { work(thread); });
}

Pool::~Pool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
    generation_++;
  }
  wake_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void Pool::claim(int thread) {
  FlushSubnormals guard(flush_);
  for (size_t i = 0; i < shares_.size(); i++) {
    Share& share = shares_[(static_cast<size_t>(thread) + i) % shares_.size()];
    for (size_t index = share.next.fetch_add(1); index < share.end; index = share.next.fetch_add(1)) (*task_)(index, thread);
  }
}

void Pool::work(int thread) {
  unsigned seen = 0;
  for (;;) {
    for (int spin = 0; spin < SPINS && generation_.load(std::memory_order_acquire) == seen; spin++) pause();
    if (generation_.load(std::memory_order_acquire) == seen) {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return generation_.load(std::memory_order_acquire) != seen; });
    }
    seen = generation_.load(std::memory_order_acquire);
    if (stop_) return;
    claim(thread);
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

void Pool::run(size_t count, bool flush, const std::function<void(size_t, int)>& task) {
  if (count == 0) return;
  if (workers_.empty() || count == 1) {
    FlushSubnormals guard(flush);
    for (size_t index = 0; index < count; index++) task(index, 0);
    return;
  }
  task_ = &task;
  flush_ = flush;
  for (size_t i = 0; i < shares_.size(); i++) {
    shares_[i].next = i * count / shares_.size();
    shares_[i].end = (i + 1) * count / shares_.size();
  }
  busy_ = static_cast<int>(workers_.size());
  {
    std::lock_guard<std::mutex> lock(mutex_);
    generation_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  claim(0);
  for (int spin = 0; busy_.load(std::memory_order_acquire) > 0; spin++) {
    if (spin < SPINS) pause();
    else std::this_thread::yield();
  }
}

}  // namespace bitlaw
