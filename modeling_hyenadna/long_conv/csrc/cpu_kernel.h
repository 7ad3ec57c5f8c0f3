// The gated long convolution on a CPU: W channels at a time, one in each lane of a vector.
//
// Right-angle convolution: with w = e^{i pi / 2N}, the circular convolution of u_n w^n and k_n w^n has the causal
// convolution in its real part (times w^n) and what wraps around in its imaginary part; so N >= L points suffice, and
// the product with a conjugated spectrum gives the adjoint, the causal correlation, in the same way.
// Transforms run forward by decimation in frequency and back by decimation in time, so nothing is bit-reversed.
//
// Tensors lie with their channels side by side, so that a few channels of all positions are spread over every page that
// the tensor has. A block of channels is therefore packed in one sweep over the positions, gated on the way: each vector
// of channels is then contiguous, and is transformed, multiplied and transformed back without touching a tensor. A
// second sweep over the positions writes what came of it.
#pragma once

#if defined(_OPENMP)
#include <omp.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <new>
#include <type_traits>
#include <vector>

#include "cpu_problem.h"
#include "fft.h"
#include "scratch.h"

namespace hyena {
namespace HYENA_ARCH {

constexpr int W = HYENA_LANES;
typedef float Vector __attribute__((vector_size(4 * W)));
typedef float LooseVector __attribute__((vector_size(4 * W), aligned(4)));
using C = Complex<Vector>;

constexpr int kMostTaps = 8;
constexpr int64_t kFirstLevelBytes = 20 << 10;  // of a part of a transform that stays in the first-level cache
constexpr int kTile = 16;             // positions that a sweep does of one group before the next
constexpr int kFewestChannels = 16;   // of a block: a cache line
constexpr int kMostChannels = 64;
constexpr int64_t kPackedBytes = 8 << 20;  // of a block, if it may have more than the fewest channels

#define HYENA_LAMBDA __attribute__((always_inline))
#define HYENA_ONCE inline __attribute__((noinline))  // compiled once, not into every caller

// One pass over n points, Q transforms side by side, from load(point, transform) to store(point, transform, value).
template <int R, int S, int Q, class Load, class Store>
HYENA_INLINE void pass(int64_t n, int64_t stride, const Twiddle* __restrict table, Load load, Store store) {
  for (int64_t block = 0; block < n; block += R * stride)
    for (int q = 0; q < Q; q++) {
      C v[R];
      for (int r = 0; r < R; r++) v[r] = load(block + r * stride, q);
      butterfly<R, S>(v);
      for (int r = 0; r < R; r++) store(block + r * stride, q, v[r]);
    }
  for (int64_t low = 1; low < stride; low++) {
    Twiddle w[R];
    for (int r = 1; r < R; r++) w[r] = table[low * (R - 1) + r - 1];
    for (int64_t block = low; block < n; block += R * stride)
      for (int q = 0; q < Q; q++) {
        C v[R];
        for (int r = 0; r < R; r++) v[r] = load(block + r * stride, q);
        if constexpr (S > 0)
          for (int r = 1; r < R; r++) v[r] = times_conjugate(v[r], w[r]);
        butterfly<R, S>(v);
        if constexpr (S < 0)
          for (int r = 1; r < R; r++) v[r] = v[r] * w[r];
        for (int r = 0; r < R; r++) store(block + r * stride, q, v[r]);
      }
  }
}

template <int R, int S>
void pass_in_place(const Transform& t, const Pass& own, C* data, int64_t n) {
  pass<R, S, 1>(
      n, own.stride, t.table(own), [=](int64_t i, int) HYENA_LAMBDA -> C { return data[i]; },
      [=](int64_t i, int, C z) HYENA_LAMBDA { data[i] = z; });
}

template <int S>
void pass_in_place(const Transform& t, const Pass& own, C* data, int64_t n) {
  switch (own.radix) {
    case 2: return pass_in_place<2, S>(t, own, data, n);
    case 3: return pass_in_place<3, S>(t, own, data, n);
    case 4: return pass_in_place<4, S>(t, own, data, n);
    case 5: return pass_in_place<5, S>(t, own, data, n);
    default: return pass_in_place<8, S>(t, own, data, n);
  }
}

// Passes from `first` to before `end` on n points: forward in this order, inverse in the other. A pass leaves parts that
// are transformed each by itself: once they fit into the first-level cache, one after another.
template <int S>
void passes_in_place(const Transform& t, size_t first, size_t end, C* data, int64_t n) {
  if (first >= end) return;
  const int64_t part = t.passes[first].radix * t.passes[first].stride;
  if (part * static_cast<int64_t>(sizeof(C)) > kFirstLevelBytes) {
    if constexpr (S < 0) pass_in_place<S>(t, t.passes[first], data, n);
    passes_in_place<S>(t, first + 1, end, data, n);
    if constexpr (S > 0) pass_in_place<S>(t, t.passes[first], data, n);
    return;
  }
  for (int64_t from = 0; from < n; from += part) {
    if constexpr (S < 0)
      for (size_t i = first; i < end; i++) pass_in_place<S>(t, t.passes[i], data + from, part);
    else
      for (size_t i = end; i-- > first;) pass_in_place<S>(t, t.passes[i], data + from, part);
  }
}

HYENA_ONCE void forward(const Transform& t, C* data) { passes_in_place<-1>(t, 0, t.passes.size(), data, t.n); }
HYENA_ONCE void inverse(const Transform& t, C* data) { passes_in_place<1>(t, 0, t.passes.size(), data, t.n); }

template <int R>
using Radix = std::integral_constant<int, R>;

// Call f with a radix of two, four or eight, which those of columns are.
template <class F>
HYENA_INLINE void with_power_of_two(int radix, F f) {
  switch (radix) {
    case 2: return f(Radix<2>());
    case 4: return f(Radix<4>());
    default: return f(Radix<8>());
  }
}
// ... or with any.
template <class F>
HYENA_INLINE void with_radix(int radix, F f) {
  switch (radix) {
    case 3: return f(Radix<3>());
    case 5: return f(Radix<5>());
    default: return with_power_of_two(radix, f);
  }
}

// Columns lie far apart, where no hardware looks ahead: each load and store fetches what the next columns need there.

// Twisted u (plan.n vectors) to `out`, as it is if there is one level, or else with its columns transformed.
HYENA_ONCE void columns_in(const Plan& plan, const Vector* __restrict u, C* __restrict out, C* __restrict columns) {
  const int64_t n1 = plan.columns.n, n2 = plan.rows.n;
  if (n1 == 1) {
    for (int64_t i = 0; i < plan.n; i++) out[i] = {u[i] * plan.twist[i].re, u[i] * plan.twist[i].im};
    return;
  }
  const Transform& t = plan.columns;
  const Pass &first = t.passes.front(), &last = t.passes.back();
  for (int64_t low = 0; low < n2; low += kColumns) {
    const Twiddle *twist = plan.twist.data() + low * n1, *roots = plan.roots.data() + low * n1;
    const Vector* from = u + low;
    C* to = out + low;
    with_power_of_two(first.radix, [&](auto radix) HYENA_LAMBDA {
      pass<decltype(radix)::value, -1, kColumns>(
          n1, first.stride, t.table(first),
          [=](int64_t r, int c) HYENA_LAMBDA -> C {
            const Vector x = from[r * n2 + c];
            __builtin_prefetch(from + r * n2 + c + kColumns);
            const Twiddle w = twist[r * kColumns + c];
            return {x * w.re, x * w.im};
          },
          [=](int64_t r, int c, C z) HYENA_LAMBDA { columns[c * n1 + r] = z; });
    });
    for (int c = 0; c < kColumns; c++) passes_in_place<-1>(t, 1, t.passes.size() - 1, columns + c * n1, n1);
    with_power_of_two(last.radix, [&](auto radix) HYENA_LAMBDA {
      pass<decltype(radix)::value, -1, kColumns>(
          n1, 1, t.table(last), [=](int64_t r, int c) HYENA_LAMBDA -> C { return columns[c * n1 + r]; },
          [=](int64_t r, int c, C z) HYENA_LAMBDA {
            __builtin_prefetch(to + r * n2 + c + kColumns, 1);
            to[r * n2 + c] = z * roots[r * kColumns + c];
          });
    });
  }
}

// Back from rows: each of plan.n vectors of `out` becomes what is found + weight * what it was.
HYENA_ONCE void columns_out(const Plan& plan, const C* __restrict in, C* __restrict columns, Vector weight,
                            Vector* __restrict out) {
  const int64_t n1 = plan.columns.n, n2 = plan.rows.n;
  const float scale = 1.0f / plan.n;
  auto untwisted = [=](Twiddle w, C z) HYENA_LAMBDA -> Vector { return (z.re * w.re + z.im * w.im) * scale; };
  if (n1 == 1) {
    for (int64_t i = 0; i < plan.n; i++) out[i] = untwisted(plan.twist[i], in[i]) + weight * out[i];
    return;
  }
  const Transform& t = plan.columns;
  const Pass &first = t.passes.front(), &last = t.passes.back();
  for (int64_t low = 0; low < n2; low += kColumns) {
    const Twiddle *twist = plan.twist.data() + low * n1, *roots = plan.roots.data() + low * n1;
    const C* from = in + low;
    Vector* to = out + low;
    with_power_of_two(last.radix, [&](auto radix) HYENA_LAMBDA {
      pass<decltype(radix)::value, 1, kColumns>(
          n1, 1, t.table(last),
          [=](int64_t r, int c) HYENA_LAMBDA -> C {
            __builtin_prefetch(from + r * n2 + c + kColumns);
            return times_conjugate(from[r * n2 + c], roots[r * kColumns + c]);
          },
          [=](int64_t r, int c, C z) HYENA_LAMBDA { columns[c * n1 + r] = z; });
    });
    for (int c = 0; c < kColumns; c++) passes_in_place<1>(t, 1, t.passes.size() - 1, columns + c * n1, n1);
    with_power_of_two(first.radix, [&](auto radix) HYENA_LAMBDA {
      pass<decltype(radix)::value, 1, kColumns>(
          n1, first.stride, t.table(first), [=](int64_t r, int c) HYENA_LAMBDA -> C { return columns[c * n1 + r]; },
          [=](int64_t r, int c, C z) HYENA_LAMBDA {
            __builtin_prefetch(to + r * n2 + c + kColumns, 1);
            to[r * n2 + c] = untwisted(twist[r * kColumns + c], z) + weight * to[r * n2 + c];
          });
    });
  }
}

// A row of a convolution: its transform times that of the kernel, and back.
HYENA_ONCE void convolve_row(const Transform& t, C* a, const C* b) {
  if (t.passes.empty()) {  // one point
    a[0] = a[0] * b[0];
    return;
  }
  passes_in_place<-1>(t, 0, t.passes.size() - 1, a, t.n);
  with_radix(t.passes.back().radix, [&](auto radix) HYENA_LAMBDA {
    constexpr int R = decltype(radix)::value;
    for (int64_t i = 0; i < t.n; i += R) {
      C v[R];
      for (int r = 0; r < R; r++) v[r] = a[i + r];
      butterfly<R, -1>(v);
      for (int r = 0; r < R; r++) v[r] = v[r] * b[i + r];
      butterfly<R, 1>(v);
      for (int r = 0; r < R; r++) a[i + r] = v[r];
    }
  });
  passes_in_place<1>(t, 0, t.passes.size() - 1, a, t.n);
}

// A row of the gradients: u_hat * k_hat and d_hat * conj(k_hat) back from frequencies, and d_hat * conj(u_hat) in `sum`,
// which may be the kernel's own row.
HYENA_ONCE void gradient_row(const Transform& t, const C* k, C* u, C* d, C* sum, bool first, bool gated) {
  auto multiply = [&](int64_t i, C u_hat, C d_hat, C* u_back, C* d_back) HYENA_LAMBDA {
    const C k_hat = k[i], product = times_conjugate(d_hat, u_hat);
    sum[i] = first ? product : sum[i] + product;
    *u_back = u_hat * k_hat;
    *d_back = times_conjugate(d_hat, k_hat);
  };
  if (t.passes.empty()) return multiply(0, u[0], d[0], u, d);
  const size_t last = t.passes.size() - 1;
  passes_in_place<-1>(t, 0, last, u, t.n);
  passes_in_place<-1>(t, 0, last, d, t.n);
  with_radix(t.passes.back().radix, [&](auto radix) HYENA_LAMBDA {
    constexpr int R = decltype(radix)::value;
    for (int64_t i = 0; i < t.n; i += R) {
      C a[R], b[R];
      for (int r = 0; r < R; r++) a[r] = u[i + r];
      butterfly<R, -1>(a);
      for (int r = 0; r < R; r++) b[r] = d[i + r];
      butterfly<R, -1>(b);
      for (int r = 0; r < R; r++) multiply(i + r, a[r], b[r], a + r, b + r);
      butterfly<R, 1>(b);
      for (int r = 0; r < R; r++) d[i + r] = b[r];
      butterfly<R, 1>(a);
      for (int r = 0; r < R; r++) u[i + r] = a[r];
    }
  });
  if (gated) passes_in_place<1>(t, 0, last, u, t.n);
  passes_in_place<1>(t, 0, last, d, t.n);
}

HYENA_INLINE Vector load(const float* p, int64_t channel_stride, int lanes) {
  if (channel_stride == 1 && lanes == W) return *reinterpret_cast<const LooseVector*>(p);
  Vector v = {};
  for (int lane = 0; lane < lanes; lane++) v[lane] = p[lane * channel_stride];
  return v;
}
HYENA_INLINE void store(float* p, int64_t channel_stride, int lanes, Vector v) {
  if (channel_stride == 1 && lanes == W) {
    *reinterpret_cast<LooseVector*>(p) = v;
    return;
  }
  for (int lane = 0; lane < lanes; lane++) p[lane * channel_stride] = v[lane];
}

// One group of up to W channels of one sequence.
struct View {
  float* data;
  int64_t channel_stride, stride;
  int lanes;
  View(const Strided& t, int64_t batch, int64_t channel, int lanes)
      : data(t.data ? t.data + batch * t.batch_stride + channel * t.channel_stride : nullptr),
        channel_stride(t.channel_stride), stride(t.stride), lanes(lanes) {}
  explicit operator bool() const { return data != nullptr; }
  HYENA_INLINE Vector operator[](int64_t i) const { return load(data + i * stride, channel_stride, lanes); }
  HYENA_INLINE void set(int64_t i, Vector v) const { store(data + i * stride, channel_stride, lanes, v); }
};

inline int threads_for(const Problem& p, int64_t tasks) {
  return static_cast<int>(std::min<int64_t>(p.threads, tasks));
}

inline int thread_number() {
#if defined(_OPENMP)
  return omp_get_thread_num();
#else
  return 0;
#endif
}

inline int lanes_of(const Problem& p, int64_t group) {
  return static_cast<int>(std::min<int64_t>(W, p.channels - group * W));
}

// Buffers of these many bytes for each thread, had before the threads start: an exception must not leave them.
struct Workspace {
  std::vector<std::unique_ptr<Scratch>> buffers;
  size_t count;
  Workspace(int threads, std::initializer_list<size_t> bytes) : count(bytes.size()) {
    for (int thread = 0; thread < threads; thread++)
      for (size_t size : bytes) buffers.push_back(size ? std::make_unique<Scratch>(size) : nullptr);
  }
  template <class T>
  T* get(size_t i) const {
    const auto& buffer = buffers[thread_number() * count + i];
    return buffer ? static_cast<T*>(buffer->data()) : nullptr;
  }
};

// A block of groups of channels: what one thread packs and does at a time.
struct Block {
  int64_t first;  // group
  int groups;
  int64_t pitch;  // vectors from one packed group to the next: a position each, and zeros up to the transform's length
};

struct Blocks {
  int64_t groups, per_block, count, pitch;
  Blocks(const Plan& plan, const Problem& p)
      : groups((p.channels + W - 1) / W), pitch(std::max(p.length, plan.n)) {
    int64_t channels = kMostChannels;
    while (channels > kFewestChannels && (channels * pitch * 4 > kPackedBytes || channels * p.threads > p.channels))
      channels /= 2;
    per_block = std::min<int64_t>(groups, std::max<int64_t>(1, channels / W));
    count = (groups + per_block - 1) / per_block;
  }
  Block operator[](int64_t i) const {
    return {i * per_block, static_cast<int>(std::min(per_block, groups - i * per_block)), pitch};
  }
  size_t packed_bytes() const { return per_block * pitch * sizeof(Vector); }
};

// Something for each group of a block, made without memory of its own.
template <class T>
class ForEachGroup {
 public:
  template <class Make>
  ForEachGroup(const Problem& p, const Block& block, Make make) {
    for (int g = 0; g < block.groups; g++) {
      const int64_t group = block.first + g;
      new (memory_ + g * sizeof(T)) T(make(group * W, lanes_of(p, group)));
    }
  }
  HYENA_INLINE const T& operator[](int g) const { return reinterpret_cast<const T*>(memory_)[g]; }

 private:
  static_assert(std::is_trivially_destructible<T>::value, "nothing destroys them");
  alignas(T) unsigned char memory_[sizeof(T) * std::max(1, kMostChannels / W)];
};

// f(group of the block, position), a few positions of one group at a time: they lie in few pages.
template <class F>
HYENA_INLINE void sweep(int64_t length, const Block& block, F f) {
  for (int64_t from = 0; from < length; from += kTile)
    for (int g = 0; g < block.groups; g++)
      for (int64_t i = from; i < std::min<int64_t>(length, from + kTile); i++) f(g, i);
}

inline void fill_with_zeros(Vector* packed, int64_t from, const Block& block) {
  for (int g = 0; g < block.groups; g++)
    std::fill(packed + g * block.pitch + from, packed + (g + 1) * block.pitch, Vector{});
}

// Where a group's gated input and output gate come from, and where their gradients go: given tensors ...
struct GivenSource {
  static constexpr bool kSkipInside = true;  // output() is what is packed, which has the skip connection in it, gated
  View v, gate_in, gate_out, dv, dgate_in, dgate_out;
  GivenSource(const Problem& p, int64_t batch, int64_t channel, int lanes)
      : v(p.v, batch, channel, lanes), gate_in(p.gate_in, batch, channel, lanes),
        gate_out(p.gate_out, batch, channel, lanes), dv(p.dv, batch, channel, lanes),
        dgate_in(p.dgate_in, batch, channel, lanes), dgate_out(p.dgate_out, batch, channel, lanes) {}
  bool gated() const { return bool(gate_out); }
  HYENA_INLINE Vector input(int64_t i) const { return gate_in ? v[i] * gate_in[i] : v[i]; }
  HYENA_INLINE Vector gate(int64_t i) const { return gate_out[i]; }
  HYENA_INLINE Vector output(int64_t i, Vector packed, Vector) const { return gate_out ? packed * gate(i) : packed; }
  HYENA_INLINE void set_input_gradient(int64_t i, Vector du) const {
    if (gate_in) {
      dgate_in.set(i, du * v[i]);
      du *= gate_in[i];
    }
    dv.set(i, du);
  }
  HYENA_INLINE void set_gate_gradient(int64_t i, Vector dgate) const { dgate_out.set(i, dgate); }
};

// ... or the short convolution of a projection, computed where it is needed and never stored.
struct ShortConvolution {
  View projected, before;
  int taps;
  bool usual;  // three taps of a whole vector of channels that lie side by side
  Vector weight[kMostTaps], bias;
  ShortConvolution(const Problem& p, int64_t batch, int64_t channel, int lanes)
      : projected(p.projected, batch, channel, lanes),
        before(p.before, p.reference ? p.reference[batch] : 0, channel, lanes), taps(p.taps),
        usual(taps == 3 && lanes == W && projected.channel_stride == 1), bias(load(p.short_bias + channel, 1, lanes)) {
    for (int tap = 0; tap < taps; tap++) weight[tap] = load(p.short_weight + channel * taps + tap, taps, lanes);
  }
  HYENA_INLINE Vector operator[](int64_t i) const {
    Vector sum = bias;
    if (usual && i >= 2) {  // what the loop below gives
      const float* from = projected.data + (i - 2) * projected.stride;
      for (int tap = 0; tap < 3; tap++, from += projected.stride) sum += weight[tap] * load(from, 1, W);
      return sum;
    }
    for (int tap = 0; tap < taps; tap++) {
      const int64_t from = i - (taps - 1) + tap;
      if (from >= 0)
        sum += weight[tap] * projected[from];
      else if (before)
        sum += weight[tap] * before[from + taps - 1];
    }
    return sum;
  }
};

struct MixerSource {
  static constexpr bool kSkipInside = true;
  ShortConvolution gate_out, gate_in, v;
  View mask, dgate_out, dgate_in, dv;
  MixerSource(const Problem& p, int64_t batch, int64_t channel, int lanes)
      : gate_out(p, batch, channel, lanes), gate_in(p, batch, p.channels + channel, lanes),
        v(p, batch, 2 * p.channels + channel, lanes), mask(p.mask, batch, 0, 1),
        dgate_out(p.dprojected, batch, channel, lanes), dgate_in(p.dprojected, batch, p.channels + channel, lanes),
        dv(p.dprojected, batch, 2 * p.channels + channel, lanes) {}
  bool gated() const { return true; }
  HYENA_INLINE float kept(int64_t i) const { return mask ? mask.data[i * mask.stride] : 1.0f; }
  HYENA_INLINE Vector input(int64_t i) const { return v[i] * gate_in[i] * kept(i); }
  HYENA_INLINE Vector gate(int64_t i) const { return gate_out[i]; }
  HYENA_INLINE Vector output(int64_t i, Vector packed, Vector) const { return packed * gate(i); }
  HYENA_INLINE void set_input_gradient(int64_t i, Vector du) const {
    du *= kept(i);
    dgate_in.set(i, du * v[i]);
    dv.set(i, du * gate_in[i]);
  }
  HYENA_INLINE void set_gate_gradient(int64_t i, Vector dgate) const { dgate_out.set(i, dgate); }
};

// A row that others differ from: what they need of it from `start` on is kept.
struct ReferenceSource : MixerSource {
  static constexpr bool kSkipInside = false;
  View kept_input, kept_convolved;
  int64_t start;
  ReferenceSource(const Problem& p, int64_t batch, int64_t channel, int lanes)
      : MixerSource(p, batch, channel, lanes), kept_input(p.kept_input, batch, channel, lanes),
        kept_convolved(p.kept_convolved, batch, channel, lanes), start(p.start) {}
  HYENA_INLINE Vector output(int64_t i, Vector convolved, Vector skip) const {
    const Vector u = input(i);
    if (i >= start) {
      kept_input.set(i - start, u);
      kept_convolved.set(i - start, convolved);
    }
    return (convolved + skip * u) * gate(i);
  }
};

// One of those others, from `start` on: convolved is the difference, which is zero before.
struct DifferenceSource : MixerSource {
  static constexpr bool kSkipInside = false;
  View kept_input, kept_convolved;
  DifferenceSource(const Problem& p, int64_t batch, int64_t channel, int lanes)
      : MixerSource(p, batch, channel, lanes), kept_input(p.kept_input, p.reference[batch], channel, lanes),
        kept_convolved(p.kept_convolved, p.reference[batch], channel, lanes) {}
  HYENA_INLINE Vector input(int64_t i) const { return MixerSource::input(i) - kept_input[i]; }
  HYENA_INLINE Vector output(int64_t i, Vector convolved, Vector skip) const {
    return (convolved + kept_convolved[i] + skip * MixerSource::input(i)) * gate(i);
  }
};

// A sum of many terms of both signs, whose rounding does not grow with their number.
struct CompensatedSum {
  Vector sum = {}, lost = {};
  HYENA_INLINE void operator+=(Vector term) {
    const Vector corrected = term - lost, next = sum + corrected;
    lost = (next - sum) - corrected;
    sum = next;
  }
};

// The kernel of a block, packed.
HYENA_ONCE void pack_kernel(const Problem& p, const Block& block, Vector* kernel) {
  const ForEachGroup<View> k(p, block, [&](int64_t channel, int lanes) { return View(p.k, 0, channel, lanes); });
  sweep(p.length, block, [&](int g, int64_t i) HYENA_LAMBDA { kernel[g * block.pitch + i] = k[g][i]; });
  fill_with_zeros(kernel, p.length, block);
}

void prepare(const Plan& plan, const Problem& p) {
  const Blocks blocks(plan, p);
  const int threads = threads_for(p, blocks.count);
  const Workspace workspace(threads, {blocks.packed_bytes(), kColumns * plan.columns.n * sizeof(C)});
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t i = 0; i < blocks.count; i++) {
    const Block block = blocks[i];
    Vector* kernel = workspace.get<Vector>(0);
    pack_kernel(p, block, kernel);
    for (int g = 0; g < block.groups; g++) {
      C* out = reinterpret_cast<C*>(p.spectrum) + (block.first + g) * plan.n;
      columns_in(plan, kernel + g * block.pitch, out, workspace.get<C>(1));
      for (int64_t row = 0; row < plan.columns.n; row++) forward(plan.rows, out + row * plan.rows.n);
    }
  }
}

// An output beyond the transform, by its definition.
HYENA_ONCE Vector convolved_at(int64_t t, const Vector* k, const Vector* u) {
  Vector sums[4] = {};
  int64_t s = 0;
  for (; s + 3 <= t; s += 4)
    for (int r = 0; r < 4; r++) sums[r] += k[t - s - r] * u[s + r];
  for (; s <= t; s++) sums[0] += k[t - s] * u[s];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// One packed group: u becomes its convolution, with the skip connection where skip is given. `tail` has room for the
// outputs beyond the transform, which need the packed kernel.
HYENA_ONCE void convolve_group(const Plan& plan, int64_t length, C* spectrum, bool spectrum_is_in_rows, const Vector* kernel,
                           const Vector* skip, Vector* __restrict u, C* data, C* columns, Vector* tail) {
  const int64_t n2 = plan.rows.n;
  for (int64_t t = plan.n; t < length; t++) tail[t - plan.n] = convolved_at(t, kernel, u);
  columns_in(plan, u, data, columns);
  for (int64_t row = 0; row < plan.columns.n; row++) {
    if (spectrum_is_in_rows) forward(plan.rows, spectrum + row * n2);
    convolve_row(plan.rows, data + row * n2, spectrum + row * n2);
  }
  const Vector weight = skip ? *skip : Vector{};
  columns_out(plan, data, columns, weight, u);
  for (int64_t t = plan.n; t < length; t++) u[t] = tail[t - plan.n] + weight * u[t];
}

inline size_t tail_bytes(const Plan& plan, const Problem& p) {
  return std::max<int64_t>(0, p.length - plan.n) * sizeof(Vector);
}

template <class Source>
void run_forward(const Plan& plan, const Problem& p) {
  const Blocks blocks(plan, p);
  const int64_t n = plan.n;
  const bool raw = p.spectrum == nullptr, many = p.batch > 1;
  // With a raw kernel each block transforms it once for all sequences; else all (sequence, block) are independent.
  const int64_t tasks = raw ? blocks.count : blocks.count * p.batch;
  const int threads = threads_for(p, tasks);
  const Workspace workspace(
      threads, {blocks.packed_bytes(), raw || p.length > n ? blocks.packed_bytes() : 0, n * sizeof(C),
                raw ? (many ? blocks.per_block : 1) * n * sizeof(C) : 0, kColumns * plan.columns.n * sizeof(C),
                tail_bytes(plan, p)});
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t task = 0; task < tasks; task++) {
    const Block block = blocks[task % blocks.count];
    Vector *packed = workspace.get<Vector>(0), *kernel = workspace.get<Vector>(1), *tail = workspace.get<Vector>(5);
    C *data = workspace.get<C>(2), *own = workspace.get<C>(3), *columns = workspace.get<C>(4);
    if (kernel) pack_kernel(p, block, kernel);
    const int64_t from = raw ? 0 : task / blocks.count, to = raw ? p.batch : from + 1;
    for (int64_t batch = from; batch < to; batch++) {
      const ForEachGroup<Source> source(
          p, block, [&](int64_t channel, int lanes) { return Source(p, batch, channel, lanes); });
      const ForEachGroup<View> y(p, block, [&](int64_t channel, int lanes) { return View(p.y, batch, channel, lanes); });
      const ForEachGroup<Vector> skip(
          p, block, [&](int64_t channel, int lanes) -> Vector { return load(p.skip + channel, 1, lanes); });
      sweep(p.length, block, [&](int g, int64_t i) HYENA_LAMBDA { packed[g * block.pitch + i] = source[g].input(i); });
      fill_with_zeros(packed, p.length, block);
      for (int g = 0; g < block.groups; g++) {
        C* spectrum = raw ? own + (many ? g * n : 0) : reinterpret_cast<C*>(p.spectrum) + (block.first + g) * n;
        if (raw && batch == 0) columns_in(plan, kernel + g * block.pitch, spectrum, columns);
        convolve_group(plan, p.length, spectrum, raw && batch == 0, kernel + g * block.pitch,
                       Source::kSkipInside ? &skip[g] : nullptr, packed + g * block.pitch, data, columns, tail);
      }
      sweep(p.length, block, [&](int g, int64_t i) HYENA_LAMBDA {
        y[g].set(i, source[g].output(i, packed[g * block.pitch + i], skip[g]));
      });
    }
  }
}

// What the outputs beyond the transform add to the gradients of one packed group; what they are themselves is in `tail`
// after it, and their gradients in the vectors after these.
HYENA_ONCE void gradients_of_tail(const Plan& plan, int64_t length, const Vector* k, const Vector* u, const Vector* d,
                              Vector* dk, Vector* tail) {
  const int64_t count = length - plan.n;
  for (int64_t t = plan.n; t < length; t++) {
    tail[t - plan.n] = convolved_at(t, k, u);
    tail[count + t - plan.n] = d[t];
    for (int64_t j = 0; j <= t; j++) dk[j] += d[t] * u[t - j];
  }
}

template <class Source>
void run_backward(const Plan& plan, const Problem& p) {
  const Blocks blocks(plan, p);
  const int64_t n = plan.n, n2 = plan.rows.n, count = std::max<int64_t>(0, p.length - n);
  const int threads = threads_for(p, blocks.count);
  const bool many = p.batch > 1;  // else the kernel's gradient takes the place of its transform
  const size_t packed = blocks.packed_bytes(), points = n * sizeof(C), all = many ? blocks.per_block * points : points;
  const Workspace workspace(threads, {packed, packed, packed, packed, all, many ? all : 0, points, points,
                                      kColumns * plan.columns.n * sizeof(C), 2 * tail_bytes(plan, p)});
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t task = 0; task < blocks.count; task++) {
    const Block block = blocks[task];
    Vector *u = workspace.get<Vector>(0), *d = workspace.get<Vector>(1), *kernel = workspace.get<Vector>(2);
    Vector *dkernel = workspace.get<Vector>(3), *tail = workspace.get<Vector>(9);
    C *k_hats = workspace.get<C>(4), *sums = workspace.get<C>(many ? 5 : 4);
    C *u_hat = workspace.get<C>(6), *d_hat = workspace.get<C>(7), *columns = workspace.get<C>(8);
    CompensatedSum dskip[std::max(1, kMostChannels / W)];
    const ForEachGroup<Vector> skip(
        p, block, [&](int64_t channel, int lanes) -> Vector { return load(p.skip + channel, 1, lanes); });
    pack_kernel(p, block, kernel);
    fill_with_zeros(dkernel, 0, block);
    for (int64_t batch = 0; batch < p.batch; batch++) {
      const ForEachGroup<Source> source(
          p, block, [&](int64_t channel, int lanes) { return Source(p, batch, channel, lanes); });
      const ForEachGroup<View> dy(
          p, block, [&](int64_t channel, int lanes) { return View(p.dy, batch, channel, lanes); });
      const bool gated = source[0].gated();
      sweep(p.length, block, [&](int g, int64_t i) HYENA_LAMBDA {
        u[g * block.pitch + i] = source[g].input(i);
        d[g * block.pitch + i] = gated ? dy[g][i] * source[g].gate(i) : dy[g][i];
      });
      fill_with_zeros(u, p.length, block);
      fill_with_zeros(d, p.length, block);
      for (int g = 0; g < block.groups; g++) {
        Vector *own_u = u + g * block.pitch, *own_d = d + g * block.pitch;
        const Vector *own_k = kernel + g * block.pitch, own_skip = skip[g];
        C *k_hat = k_hats + (many ? g * n : 0), *sum = sums + (many ? g * n : 0);
        CompensatedSum product = dskip[g];
        for (int64_t i = 0; i < p.length; i++) product += own_d[i] * own_u[i];
        dskip[g] = product;
        gradients_of_tail(plan, p.length, own_k, own_u, own_d, dkernel + g * block.pitch, tail);
        if (batch == 0) columns_in(plan, own_k, k_hat, columns);
        columns_in(plan, own_u, u_hat, columns);
        columns_in(plan, own_d, d_hat, columns);
        for (int64_t row = 0; row < plan.columns.n; row++) {
          if (batch == 0) forward(plan.rows, k_hat + row * n2);
          gradient_row(plan.rows, k_hat + row * n2, u_hat + row * n2, d_hat + row * n2, sum + row * n2, batch == 0, gated);
          if (batch + 1 == p.batch) inverse(plan.rows, sum + row * n2);
        }
        if (gated) columns_out(plan, u_hat, columns, own_skip, own_u);
        columns_out(plan, d_hat, columns, own_skip, own_d);
        for (int64_t t = n; t < p.length; t++) {
          own_u[t] = tail[t - n] + own_skip * own_u[t];
          own_d[t] = own_skip * own_d[t];
        }
        for (int64_t t = n; t < p.length; t++)
          for (int64_t i = 0; i <= t; i++) own_d[i] += own_k[t - i] * tail[count + t - n];
        if (batch + 1 == p.batch) columns_out(plan, sum, columns, Vector{} + 1.0f, dkernel + g * block.pitch);
      }
      sweep(p.length, block, [&](int g, int64_t i) HYENA_LAMBDA {
        if (gated) source[g].set_gate_gradient(i, dy[g][i] * u[g * block.pitch + i]);
        source[g].set_input_gradient(i, d[g * block.pitch + i]);
      });
    }
    const ForEachGroup<View> dk(p, block, [&](int64_t channel, int lanes) { return View(p.dk, 0, channel, lanes); });
    sweep(p.length, block, [&](int g, int64_t i) HYENA_LAMBDA { dk[g].set(i, dkernel[g * block.pitch + i]); });
    for (int g = 0; g < block.groups; g++)
      store(p.dskip + (block.first + g) * W, 1, lanes_of(p, block.first + g), dskip[g].sum);
  }
}

// Gradients of the short convolution, one group of its 3 * channels: those of its outputs, which stand in dprojected,
// are replaced from the left, where none that stands further to the left is needed any more.
inline void short_backward_group(const Problem& p, int64_t group) {
  const int64_t all = 3 * p.channels, channel = group * W;
  const int lanes = static_cast<int>(std::min<int64_t>(W, all - channel));
  CompensatedSum dbias, dweight[kMostTaps];
  for (int64_t batch = 0; batch < p.batch; batch++) {
    const ShortConvolution mixed(p, batch, channel, lanes);
    const View gradients(p.dprojected, batch, channel, lanes);
    for (int64_t i = 0; i < p.length; i++) {
      const Vector g = gradients[i];
      Vector gradient = {};
      dbias += g;
      for (int tap = 0; tap < p.taps; tap++) {
        const int64_t shift = p.taps - 1 - tap;
        if (i >= shift) dweight[tap] += g * mixed.projected[i - shift];
        if (i + shift < p.length) gradient += mixed.weight[tap] * gradients[i + shift];
      }
      gradients.set(i, gradient);
    }
  }
  store(p.dshort_bias + channel, 1, lanes, dbias.sum);
  for (int tap = 0; tap < p.taps; tap++)
    store(p.dshort_weight + channel * p.taps + tap, p.taps, lanes, dweight[tap].sum);
}

inline void run_short_backward(const Problem& p) {
  const int64_t groups = (3 * p.channels + W - 1) / W;
#pragma omp parallel for num_threads(threads_for(p, groups)) schedule(dynamic, 1)
  for (int64_t group = 0; group < groups; group++) short_backward_group(p, group);
}

}  // namespace HYENA_ARCH
}  // namespace hyena
