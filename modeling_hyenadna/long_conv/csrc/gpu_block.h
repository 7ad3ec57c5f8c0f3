// A block of threads, and the transforms that it computes together in shared memory.
//
// Kernels are written as phases: block.each(count, f) runs f(0), ..., f(count - 1) on all threads and waits for them;
// block.each(tile, get, put) runs put(lane)(j, get(lane)(j)) for every point j of every lane of a tile, a few gets before
// their puts, so that a thread waits for several reads of memory at once; get(lane) and put(lane) hold what is the lane's.
// On a GPU those are strided loops and a barrier. On a CPU the threads of a phase run one after another in random order,
// on shared memory that begins as NaN, so that a missing barrier shows in the result.
#pragma once

#include <cstdint>

#include "gpu_problem.h"

#if defined(__CUDACC__)
#define HYENA_BODY __device__ __forceinline__
#else
#include <algorithm>
#include <limits>
#include <numeric>
#include <random>
#include <vector>
#define HYENA_BODY inline
#endif

namespace hyena {
namespace gpu {

constexpr int kMostThreads = 256, kBlocks = 3;  // threads of a block; blocks that share a processor's registers

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

// n points of 2**log_lanes transforms side by side. After every 16 points one is left out, so that the threads of the
// last passes, 16 points apart, meet different banks of shared memory.
struct Tile {
  int n, log_lanes;
  uint64_t radices;
  const Twiddle* roots;
  HYENA_BODY int items() const { return n << log_lanes; }
  HYENA_BODY int lane(int item) const { return item & ((1 << log_lanes) - 1); }
  HYENA_BODY int point(int item) const { return item >> log_lanes; }
  HYENA_BODY int at(int point, int lane) const { return ((point + (point >> 4)) << log_lanes) + lane; }
};

#if defined(__CUDACC__)
extern __shared__ C shared_memory[];

struct Block {
  int64_t index = blockIdx.x;
  __device__ C* shared() const { return shared_memory; }
  template <class F>
  __device__ __forceinline__ void each(int count, F f) const {
#pragma unroll 1
    for (int item = threadIdx.x; item < count; item += blockDim.x) f(item);
    __syncthreads();
  }
  // A block's threads are a multiple of a tile's lanes, so a thread stays in its lane.
  template <int kAtOnce, class Get, class Put>
  __device__ __forceinline__ void each(const Tile& tile, Get get, Put put) const {
    const int lane = tile.lane(threadIdx.x), step = blockDim.x >> tile.log_lanes;
    const auto read = get(lane);
    const auto write = put(lane);
    int j = tile.point(threadIdx.x);
#pragma unroll 1
    for (; j + (kAtOnce - 1) * step < tile.n; j += kAtOnce * step) {
      decltype(read(0)) held[kAtOnce];
#pragma unroll
      for (int k = 0; k < kAtOnce; k++) held[k] = read(j + k * step);
#pragma unroll
      for (int k = 0; k < kAtOnce; k++) write(j + k * step, held[k]);
    }
#pragma unroll 1
    for (; j < tile.n; j += step) write(j, read(j));
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
  template <class F>
  void each(int count, F f) const {
    std::shuffle(order.begin(), order.end(), random);
    for (int thread : order)
      for (int item = thread; item < count; item += static_cast<int>(order.size())) f(item);
  }
  template <int kAtOnce, class Get, class Put>
  void each(const Tile& tile, Get get, Put put) const {
    each(tile.items(), [&](int item) {
      const int lane = tile.lane(item), j = tile.point(item);
      put(lane)(j, get(lane)(j));
    });
  }
};
#endif

inline int64_t shared_bytes(int64_t points, int64_t lanes) { return (points + points / 16 + 1) * lanes * sizeof(C); }

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

// The butterflies of radix R, in place: decimation in frequency forward, in time back, so nothing is bit-reversed. An odd
// radix comes first, and leaves powers of two: then r strides are so far from a point wherever it lies.
template <int R, int S>
HYENA_BODY void pass(const Block& block, const Tile& tile, int stride) {
  C* data = block.shared();
  const int step = tile.n / (R * stride), log_stride = log2_of(stride);
  block.each(tile.items() / R, [&](int item) {
    const int lane = tile.lane(item), j = tile.point(item);
    const int low = R % 2 ? j : j & (stride - 1);
    const int first = R % 2 ? j : ((j >> log_stride) * R << log_stride) + low;
    const int at = tile.at(first, lane);
    const auto place = [&](int r) { return R % 2 ? tile.at(first + r * stride, lane) : at + tile.at(r * stride, 0); };
    C v[R];
#pragma unroll
    for (int r = 0; r < R; r++) v[r] = data[place(r)];
    if (S > 0 && stride > 1) turn<R, S>(v, tile.roots, low * step);
    butterfly<R, S>(v);
    if (S < 0 && stride > 1) turn<R, S>(v, tile.roots, low * step);
#pragma unroll
    for (int r = 0; r < R; r++) data[place(r)] = v[r];
  });
}

template <int S>
HYENA_BODY void pass(const Block& block, const Tile& tile, int radix, int stride) {
  switch (radix) {
    case 2: return pass<2, S>(block, tile, stride);
    case 3: return pass<3, S>(block, tile, stride);
    case 4: return pass<4, S>(block, tile, stride);
    case 5: return pass<5, S>(block, tile, stride);
    case 8: return pass<8, S>(block, tile, stride);
    case 9: return pass<9, S>(block, tile, stride);
    case 15: return pass<15, S>(block, tile, stride);
    default: return pass<16, S>(block, tile, stride);
  }
}

HYENA_BODY void forward(const Block& block, Tile tile) {
  int stride = tile.n;
  for (uint64_t rest = tile.radices; rest; rest >>= 8) {
    stride /= static_cast<int>(rest & 255);
    pass<-1>(block, tile, static_cast<int>(rest & 255), stride);
  }
}

HYENA_BODY void inverse(const Block& block, Tile tile) {
  int stride = 1;
  for (int shift = 56; shift >= 0; shift -= 8) {
    const int radix = static_cast<int>(tile.radices >> shift & 255);
    if (radix == 0) continue;
    pass<1>(block, tile, radix, stride);
    stride *= radix;
  }
}

}  // namespace gpu
}  // namespace hyena
