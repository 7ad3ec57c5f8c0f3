// A block of threads, and the transforms that it computes together in shared memory.
//
// Kernels are written as phases: block.lanes(tile, f, make...) runs f on every thread, with the thread's share of the
// points of its lane and what make(lane) gives, and waits for all. On a GPU that ends in a barrier. On a CPU the threads
// of a phase run one after another in random order, on shared memory that begins as NaN, so that a missing barrier shows.
#pragma once

#include <cstdint>

#include "gpu_problem.h"

#if defined(__CUDACC__)
#define HYENA_BODY __device__ __forceinline__
#define HYENA_APART __device__ __noinline__
#else
#include <algorithm>
#include <limits>
#include <numeric>
#include <random>
#include <vector>
#define HYENA_BODY inline
#define HYENA_APART inline
#endif

namespace hyena {
namespace gpu {

constexpr int kMostThreads = 256;  // of a block

// What no launch writes that reads it goes through the read-only cache. A number that is not there is 0: its read is
// skipped without a branch, so that it holds up no other.
HYENA_BODY float fetch(const float* from, bool there = true) {
#if defined(__CUDACC__)
  float number;
  asm("{ .reg .pred p; setp.ne.s32 p, %2, 0; mov.f32 %0, 0f00000000; @p ld.global.nc.f32 %0, [%1]; }"
      : "=f"(number)
      : "l"(from), "r"(static_cast<int>(there)));
  return number;
#else
  return there ? *from : 0;
#endif
}
HYENA_BODY uint16_t fetch(const uint16_t* from, bool there = true) {
#if defined(__CUDACC__)
  uint16_t number;
  asm("{ .reg .pred p; setp.ne.s32 p, %2, 0; mov.b16 %0, 0; @p ld.global.nc.u16 %0, [%1]; }"
      : "=h"(number)
      : "l"(from), "r"(static_cast<int>(there)));
  return number;
#else
  return there ? *from : uint16_t{0};
#endif
}
HYENA_BODY Twiddle fetch(const Twiddle* from) {
#if defined(__CUDACC__)
  const float2 w = __ldg(reinterpret_cast<const float2*>(from));
  return {w.x, w.y};
#else
  return *from;
#endif
}

HYENA_BODY int log2_of(int power) {
#if defined(__CUDACC__)
  return 31 - __clz(power);
#else
  int log = 0;
  while (power > 1) power >>= 1, log++;
  return log;
#endif
}

// n points of 2**log_lanes transforms side by side.
struct Tile {
  int n, log_lanes;
  uint64_t radices;
  const Twiddle* roots;
  HYENA_BODY int lane(int item) const { return item & ((1 << log_lanes) - 1); }
  HYENA_BODY int point(int item) const { return item >> log_lanes; }
  HYENA_BODY int passes() const {
    int count = 0;
    for (uint64_t rest = radices; rest; rest >>= 8) count++;
    return count;
  }
  HYENA_BODY int radix(int pass) const { return static_cast<int>(radices >> 8 * pass & 255); }
};

#if defined(__CUDACC__)
extern __shared__ C shared_memory[];

struct Block {
  int64_t index = blockIdx.x;
  __device__ C* shared() const { return shared_memory; }
  // A block's threads are a multiple of a tile's lanes, so a thread stays in its lane.
  template <class F, class... Make>
  __device__ __forceinline__ void lanes(const Tile& tile, F f, const Make&... make) const {
    const int lane = tile.lane(threadIdx.x);
    f(tile.point(threadIdx.x), static_cast<int>(blockDim.x >> tile.log_lanes), make(lane)...);
    __syncthreads();
  }
};
#else
struct Block {
  int64_t index;
  mutable std::vector<C> memory;
  mutable std::vector<int> order;
  mutable std::mt19937 random;
  Block(int64_t index, int threads, int64_t shared_bytes)
      : index(index), memory(shared_bytes / sizeof(C), C{std::numeric_limits<float>::quiet_NaN(), 0}),
        order(threads), random(static_cast<unsigned>(index)) {
    std::iota(order.begin(), order.end(), 0);
  }
  C* shared() const { return memory.data(); }
  template <class F, class... Make>
  void lanes(const Tile& tile, F f, const Make&... make) const {
    std::shuffle(order.begin(), order.end(), random);
    for (int thread : order)
      f(tile.point(thread), static_cast<int>(order.size()) >> tile.log_lanes, make(tile.lane(thread))...);
  }
};
#endif

// What a phase reads is called with a point, as the first of a butterfly and an offset. What it writes to is a Sink:
// number(first, offset, z) may read, set(first, offset, number) stores; a few numbers are made before they are stored,
// so that a thread waits for several reads at once.
constexpr int kAtOnce = 4;

template <class Number, class Set>
struct Sink {
  Number number;
  Set set;
};
template <class Number, class Set>
HYENA_BODY Sink<Number, Set> sink(Number number, Set set) {
  return {number, set};
}
template <class Set>
HYENA_BODY auto storing(Set set) {
  return sink([](int, int, C z) { return z; }, set);
}

// A lane of shared memory. After every 16 points one is left out, so that the threads of the last passes, 16 points
// apart, meet different banks. Offsets are multiples of a power of two beyond which `first` does not reach, or of 16.
struct Shared {
  C* data;
  int log_lanes;
  HYENA_BODY C& place(int first, int offset) const {
    return data[(first + (first >> 4) << log_lanes) + (offset + (offset >> 4) << log_lanes)];
  }
  HYENA_BODY C operator()(int first, int offset) const { return place(first, offset); }
  HYENA_BODY C number(int, int, C z) const { return z; }
  HYENA_BODY void set(int first, int offset, C z) const { place(first, offset) = z; }
};
inline int64_t shared_bytes(int64_t points, int64_t lanes) { return (points + points / 16 + 1) * lanes * sizeof(C); }
struct SharedLanes {
  C* data;
  int log_lanes;
  HYENA_BODY SharedLanes(const Block& block, const Tile& tile) : data(block.shared()), log_lanes(tile.log_lanes) {}
  HYENA_BODY Shared operator()(int lane) const { return {data + lane, log_lanes}; }
};

template <int R, class Write>
HYENA_BODY void store(const Write& write, int first, int stride, const C* v) {
#pragma unroll
  for (int r = 0; r < R; r += kAtOnce) {
    decltype(write.number(0, 0, C{})) held[kAtOnce];
#pragma unroll
    for (int k = 0; k < kAtOnce; k++)
      if (r + k < R) held[k] = write.number(first, (r + k) * stride, v[r + k]);
#pragma unroll
    for (int k = 0; k < kAtOnce; k++)
      if (r + k < R) write.set(first, (r + k) * stride, held[k]);
  }
}

template <class Get, class Put>
HYENA_BODY void copy(const Block& block, const Tile& tile, const Get& get, const Put& put) {
  block.lanes(tile, [&](int j, int step, const auto& read, const auto& write) {
#pragma unroll 1
    for (; j + (kAtOnce - 1) * step < tile.n; j += kAtOnce * step) {
      decltype(write.number(0, 0, C{})) held[kAtOnce];
#pragma unroll
      for (int k = 0; k < kAtOnce; k++) held[k] = write.number(j + k * step, 0, read(j + k * step, 0));
#pragma unroll
      for (int k = 0; k < kAtOnce; k++) write.set(j + k * step, 0, held[k]);
    }
#pragma unroll 1
    for (; j < tile.n; j += step) write.set(j, 0, write.number(j, 0, read(j, 0)));
  }, get, put);
}

// v[r] times roots[j r], conjugated back: powers of two are looked up, the others are products, because each squaring
// would double the rounding error.
template <int R, int S>
HYENA_BODY void turn(C* v, const Twiddle* roots, int j) {
  Twiddle w[R];
#pragma unroll
  for (int bit = 1; bit < R; bit *= 2) {
    w[bit] = fetch(roots + j * bit);
#pragma unroll
    for (int r = 1; r < R; r++) {
      if (r < bit || r >= 2 * bit) continue;
      if (r > bit) w[r] = multiply(w[bit], w[r - bit]);
      v[r] = S > 0 ? times_conjugate(v[r], w[r]) : v[r] * w[r];
    }
  }
}

// The butterflies of radix R: decimation in frequency forward, in time back, so nothing is bit-reversed. An odd radix
// comes first, and leaves powers of two.
template <int R, int S, class Get, class Put>
HYENA_BODY void pass(const Block& block, const Tile& tile, int stride, const Get& get, const Put& put) {
  const int count = tile.n / R, step = count / stride, log_stride = log2_of(stride);
  block.lanes(tile, [&](int thread, int threads, const auto& read, const auto& write) {
#pragma unroll 1
    for (int j = thread; j < count; j += threads) {
      const int low = R % 2 ? j : j & (stride - 1);
      const int first = R % 2 ? j : ((j >> log_stride) * R << log_stride) + low;
      C v[R];
#pragma unroll
      for (int r = 0; r < R; r++) v[r] = read(first, r * stride);
      if (S > 0 && stride > 1) turn<R, S>(v, tile.roots, low * step);
      butterfly<R, S>(v);
      if (S < 0 && stride > 1) turn<R, S>(v, tile.roots, low * step);
      store<R>(write, first, stride, v);
    }
  }, get, put);
}

// The last pass forward, middle.number and middle.set, and the first pass back.
template <int R, class Get, class Middle, class Put>
HYENA_BODY void passes(const Block& block, const Tile& tile, const Get& get, const Middle& middle, const Put& put) {
  block.lanes(tile, [&](int thread, int threads, const auto& read, const auto& between, const auto& write) {
#pragma unroll 1
    for (int j = thread; j < tile.n / R; j += threads) {
      C v[R];
#pragma unroll
      for (int r = 0; r < R; r++) v[r] = read(j * R, r);
      butterfly<R, -1>(v);
#pragma unroll
      for (int r = 0; r < R; r += kAtOnce) {
        decltype(between.number(0, 0, C{})) held[kAtOnce];
#pragma unroll
        for (int k = 0; k < kAtOnce; k++)
          if (r + k < R) held[k] = between.number(j * R, r + k, v[r + k]);
#pragma unroll
        for (int k = 0; k < kAtOnce; k++)
          if (r + k < R) v[r + k] = between.set(j * R, r + k, held[k]);
      }
      butterfly<R, 1>(v);
      store<R>(write, j * R, 1, v);
    }
  }, get, middle, put);
}

template <int S, class Get, class Put>
HYENA_BODY void even_pass(const Block& block, const Tile& tile, int radix, int stride, const Get& get, const Put& put) {
  if (radix == 16) return pass<16, S>(block, tile, stride, get, put);
  pass<8, S>(block, tile, stride, get, put);
}
template <int S, class Get, class Put>
HYENA_BODY void any_pass(const Block& block, const Tile& tile, int radix, int stride, const Get& get, const Put& put) {
  if (radix == 3) return pass<3, S>(block, tile, stride, get, put);
  if (radix == 5) return pass<5, S>(block, tile, stride, get, put);
  if (radix == 9) return pass<9, S>(block, tile, stride, get, put);
  if (radix == 15) return pass<15, S>(block, tile, stride, get, put);
  even_pass<S>(block, tile, radix, stride, get, put);
}
// In shared memory; apart, because its code is long and called from many places.
template <int S>
HYENA_APART void shared_pass(const Block& block, Tile tile, int radix, int stride) {
  const SharedLanes shared(block, tile);
  if (radix == 2) return pass<2, S>(block, tile, stride, shared, shared);
  if (radix == 4) return pass<4, S>(block, tile, stride, shared, shared);
  any_pass<S>(block, tile, radix, stride, shared, shared);
}

// The passes from `first` until `end`, in shared memory.
HYENA_BODY void forward(const Block& block, const Tile& tile, int first, int end) {
  int stride = tile.n;
  for (int i = 0; i < end; i++) {
    stride /= tile.radix(i);
    if (i >= first) shared_pass<-1>(block, tile, tile.radix(i), stride);
  }
}
HYENA_BODY void inverse(const Block& block, const Tile& tile, int first, int end) {
  int stride = 1;
  for (int i = tile.passes() - 1; i >= first; i--) {
    if (i < end) shared_pass<1>(block, tile, tile.radix(i), stride);
    stride *= tile.radix(i);
  }
}

// Reading and writing are one with the pass beside them, where its radix is one that comes often: `enter` is the first
// pass forward from get, `leave` all passes back until `end` and the last to put; at the other end of a transform,
// `finish` is all passes forward from `first` and the last to put, `begin_back` the first pass back from get. What they
// give is the pass that is next forward, or the end of those that are left back.
HYENA_BODY bool joins(int radix) { return radix > 4 || radix == 3; }  // as the first
HYENA_BODY bool ends(int radix) { return radix == 8 || radix == 16; }  // as the last
template <class Get>
HYENA_BODY int enter(const Block& block, const Tile& tile, const Get& get) {
  const SharedLanes shared(block, tile);
  const int radix = tile.radix(0);
  if (joins(radix)) {
    any_pass<-1>(block, tile, radix, tile.n / radix, get, shared);
    return 1;
  }
  copy(block, tile, get, shared);
  return 0;
}
template <class Put>
HYENA_BODY void leave(const Block& block, const Tile& tile, int end, const Put& put) {
  const SharedLanes shared(block, tile);
  const int radix = tile.radix(0);
  const bool joined = joins(radix) && end > 0;
  inverse(block, tile, joined ? 1 : 0, end);
  if (joined) return any_pass<1>(block, tile, radix, tile.n / radix, shared, put);
  copy(block, tile, shared, put);
}
template <class Put>
HYENA_BODY void finish(const Block& block, const Tile& tile, int first, const Put& put) {
  const SharedLanes shared(block, tile);
  const int last = tile.passes() - 1;
  const bool joined = last >= first && ends(tile.radix(last));
  forward(block, tile, first, joined ? last : last + 1);
  if (joined) return even_pass<-1>(block, tile, tile.radix(last), 1, shared, put);
  copy(block, tile, shared, put);
}
template <class Get>
HYENA_BODY int begin_back(const Block& block, const Tile& tile, const Get& get) {
  const SharedLanes shared(block, tile);
  const int last = tile.passes() - 1;
  if (last >= 0 && ends(tile.radix(last))) {
    even_pass<1>(block, tile, tile.radix(last), 1, get, shared);
    return last;
  }
  copy(block, tile, get, shared);
  return last + 1;
}
// From pass `first` on to the frequencies, middle.number and middle.set at each, and back; the end for `inverse`.
template <class Middle>
HYENA_BODY int turn_back(const Block& block, const Tile& tile, int first, const Middle& middle) {
  const SharedLanes shared(block, tile);
  const int last = tile.passes() - 1;
  if (last >= first && ends(tile.radix(last))) {
    forward(block, tile, first, last);
    if (tile.radix(last) == 16)
      passes<16>(block, tile, shared, middle, shared);
    else
      passes<8>(block, tile, shared, middle, shared);
    return last;
  }
  forward(block, tile, first, last + 1);
  block.lanes(tile, [&](int j, int step, const Shared& at, const auto& between) {
#pragma unroll 1
    for (; j < tile.n; j += step) at.set(j, 0, between.set(j, 0, between.number(j, 0, at(j, 0))));
  }, shared, middle);
  return last + 1;
}

}  // namespace gpu
}  // namespace hyena
