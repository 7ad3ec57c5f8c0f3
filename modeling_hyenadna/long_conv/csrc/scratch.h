// Scratch memory of the CPU kernels, kept from call to call: at a million positions, having its pages mapped anew in
// every call costs more than the transforms.
#pragma once

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#endif

#include <cstddef>
#include <cstdlib>
#include <list>
#include <mutex>
#include <new>

namespace hyena {

// A block of at least `bytes`, aligned to a cache line; in huge pages where the system has them, because the columns
// of a transform lie far apart.
class Scratch {
 public:
  explicit Scratch(size_t bytes) : bytes_(rounded(bytes)), data_(pool().take(bytes_)) {}
  ~Scratch() { pool().give_back(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void* data() const { return data_; }

 private:
  static constexpr size_t kLine = 64, kHugePage = size_t{1} << 21, kMostKept = size_t{1} << 30;

  static size_t rounded(size_t bytes) {
    const size_t unit = bytes < kHugePage ? kLine : kHugePage;
    return (bytes + unit - 1) / unit * unit;
  }

  // Blocks that nobody uses, most recent first, `kMostKept` bytes at most.
  class Pool {
   public:
    void* take(size_t bytes) {
      {
        std::lock_guard<std::mutex> lock(mutex_);
        for (auto block = free_.begin(); block != free_.end(); ++block)
          if (block->bytes == bytes) {
            void* data = block->data;
            kept_ -= bytes;
            free_.erase(block);
            return data;
          }
      }
      void* data = std::aligned_alloc(bytes < kHugePage ? kLine : kHugePage, bytes);
      if (!data) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
      if (bytes >= kHugePage) madvise(data, bytes, MADV_HUGEPAGE);
#endif
      return data;
    }
    void give_back(void* data, size_t bytes) {
      std::lock_guard<std::mutex> lock(mutex_);
      free_.push_front({data, bytes});
      kept_ += bytes;
      while (kept_ > kMostKept) {
        kept_ -= free_.back().bytes;
        std::free(free_.back().data);
        free_.pop_back();
      }
    }

   private:
    struct Block {
      void* data;
      size_t bytes;
    };
    std::mutex mutex_;
    std::list<Block> free_;
    size_t kept_ = 0;
  };

  static Pool& pool() {
    static Pool* pool = new Pool;  // never destroyed: other threads may outlive static objects
    return *pool;
  }

  size_t bytes_;
  void* data_;
};

}  // namespace hyena
