// The gated long convolution on a CPU: W channels at a time, one in each lane of a vector.
//
// Right-angle convolution: with w = e^{i pi / 2N}, the circular convolution of u_n w^n and k_n w^n has the causal
// convolution in its real part (times w^n) and what wraps around in its imaginary part; so N >= L points suffice, and
// the product with a conjugated spectrum gives the adjoint, the causal correlation, in the same way.
// Transforms run forward by decimation in frequency and back by decimation in time, so nothing is bit-reversed.
#pragma once

#if defined(_OPENMP)
#include <omp.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
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
constexpr int kColumns = 4;  // columns transformed together: contiguous pieces of 4 * 8 W bytes

template <int R, int S>
void pass(C* __restrict data, int64_t n, int64_t stride, const Twiddle* twiddles, int64_t step) {
  for (int64_t low = 0; low < stride; low++) {
    Twiddle w[R];
    for (int r = 1; r < R; r++) w[r] = twiddles[low * r * step];
    for (int64_t block = low; block < n; block += R * stride) {
      C* q = data + block;
      C v[R];
      v[0] = q[0];
      if constexpr (S < 0) {
        for (int r = 1; r < R; r++) v[r] = q[r * stride];
        butterfly<R, S>(v);
        q[0] = v[0];
        if (low == 0) {
          for (int r = 1; r < R; r++) q[r * stride] = v[r];
        } else {
          for (int r = 1; r < R; r++) q[r * stride] = v[r] * w[r];
        }
      } else {
        if (low == 0) {
          for (int r = 1; r < R; r++) v[r] = q[r * stride];
        } else {
          for (int r = 1; r < R; r++) v[r] = times_conjugate(q[r * stride], w[r]);
        }
        butterfly<R, S>(v);
        for (int r = 0; r < R; r++) q[r * stride] = v[r];
      }
    }
  }
}

template <int S>
void pass(int radix, C* data, int64_t n, int64_t stride, const Twiddle* twiddles, int64_t step) {
  switch (radix) {
    case 2: return pass<2, S>(data, n, stride, twiddles, step);
    case 3: return pass<3, S>(data, n, stride, twiddles, step);
    case 4: return pass<4, S>(data, n, stride, twiddles, step);
    case 5: return pass<5, S>(data, n, stride, twiddles, step);
    default: return pass<8, S>(data, n, stride, twiddles, step);
  }
}

inline void forward(const Transform& t, C* data) {
  int64_t stride = t.n;
  for (int radix : t.radices) {
    stride /= radix;
    pass<-1>(radix, data, t.n, stride, t.twiddles.data(), t.n / (radix * stride));
  }
}

inline void inverse(const Transform& t, C* data) {
  int64_t stride = 1;
  for (auto radix = t.radices.rbegin(); radix != t.radices.rend(); ++radix) {
    pass<1>(*radix, data, t.n, stride, t.twiddles.data(), t.n / (*radix * stride));
    stride *= *radix;
  }
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

// Twisted forward transform of real(i), 0 <= i < points, zero beyond; columns of it if there are two levels.
template <class Real>
void transform(const Plan& plan, int64_t points, Real real, C* out, C* columns) {
  const int64_t n1 = plan.columns.n, n2 = plan.rows.n;
  auto twisted = [&](int64_t i) -> C {
    if (i >= points) return C{};
    const Vector u = real(i);
    return {u * plan.twist[i].re, u * plan.twist[i].im};
  };
  if (n1 == 1) {
    for (int64_t i = 0; i < plan.n; i++) out[i] = twisted(i);
    return;
  }
  for (int64_t low = 0; low < n2; low += kColumns) {
    for (int64_t r = 0; r < n1; r++)
      for (int c = 0; c < kColumns; c++) columns[c * n1 + r] = twisted(r * n2 + low + c);
    for (int c = 0; c < kColumns; c++) forward(plan.columns, columns + c * n1);
    for (int64_t p = 0; p < n1; p++)
      for (int c = 0; c < kColumns; c++)
        out[p * n2 + low + c] = columns[c * n1 + p] * plan.root((low + c) * plan.order[p]);
  }
}

// Back from rows to emit(i, value) for 0 <= i < points.
template <class Emit>
void untransform(const Plan& plan, int64_t points, C* in, C* columns, Emit emit) {
  const int64_t n1 = plan.columns.n, n2 = plan.rows.n;
  const float scale = 1.0f / plan.n;
  auto untwisted = [&](int64_t i, C z) -> Vector {
    return (z.re * plan.twist[i].re + z.im * plan.twist[i].im) * scale;
  };
  if (n1 == 1) {
    for (int64_t i = 0; i < points; i++) emit(i, untwisted(i, in[i]));
    return;
  }
  for (int64_t low = 0; low < n2; low += kColumns) {
    for (int64_t p = 0; p < n1; p++)
      for (int c = 0; c < kColumns; c++)
        columns[c * n1 + p] = times_conjugate(in[p * n2 + low + c], plan.root((low + c) * plan.order[p]));
    for (int c = 0; c < kColumns; c++) inverse(plan.columns, columns + c * n1);
    for (int64_t r = 0; r < n1; r++)
      for (int c = 0; c < kColumns; c++) {
        const int64_t i = r * n2 + low + c;
        if (i < points) emit(i, untwisted(i, columns[c * n1 + r]));
      }
  }
}

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

// `count` buffers of `points` for each thread, had before the threads start: an exception must not leave them.
struct Workspace {
  std::vector<std::unique_ptr<Scratch>> buffers;
  int64_t count;
  Workspace(int threads, int64_t count, int64_t points, int64_t columns) : count(count + 1) {
    for (int thread = 0; thread < threads; thread++) {
      for (int64_t i = 0; i < count; i++) buffers.push_back(std::make_unique<Scratch>(points * sizeof(C)));
      buffers.push_back(std::make_unique<Scratch>(kColumns * columns * sizeof(C)));
    }
  }
  C* get(int64_t i) const { return static_cast<C*>(buffers[thread_number() * count + i]->data()); }
  C* columns() const { return get(count - 1); }
};

// Where a group's gated input and output gate come from, and where their gradients go: given tensors ...
struct GivenSource {
  View v, gate_in, gate_out, dv, dgate_in, dgate_out;
  GivenSource(const Problem& p, int64_t batch, int64_t channel, int lanes)
      : v(p.v, batch, channel, lanes), gate_in(p.gate_in, batch, channel, lanes),
        gate_out(p.gate_out, batch, channel, lanes), dv(p.dv, batch, channel, lanes),
        dgate_in(p.dgate_in, batch, channel, lanes), dgate_out(p.dgate_out, batch, channel, lanes) {}
  bool gated() const { return bool(gate_out); }
  HYENA_INLINE Vector input(int64_t i) const { return gate_in ? v[i] * gate_in[i] : v[i]; }
  HYENA_INLINE Vector gate(int64_t i) const { return gate_out[i]; }
  HYENA_INLINE Vector output(int64_t i, Vector convolved, Vector skip) const {
    const Vector result = convolved + skip * input(i);
    return gate_out ? result * gate(i) : result;
  }
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
  Vector weight[kMostTaps], bias;
  ShortConvolution(const Problem& p, int64_t batch, int64_t channel, int lanes)
      : projected(p.projected, batch, channel, lanes),
        before(p.before, p.reference ? p.reference[batch] : 0, channel, lanes), taps(p.taps),
        bias(load(p.short_bias + channel, 1, lanes)) {
    for (int tap = 0; tap < taps; tap++) weight[tap] = load(p.short_weight + channel * taps + tap, taps, lanes);
  }
  HYENA_INLINE Vector operator[](int64_t i) const {
    Vector sum = bias;
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
  HYENA_INLINE Vector output(int64_t i, Vector convolved, Vector skip) const {
    return (convolved + skip * input(i)) * gate(i);
  }
  HYENA_INLINE void set_input_gradient(int64_t i, Vector du) const {
    du *= kept(i);
    dgate_in.set(i, du * v[i]);
    dv.set(i, du * gate_in[i]);
  }
  HYENA_INLINE void set_gate_gradient(int64_t i, Vector dgate) const { dgate_out.set(i, dgate); }
};

// A row that others differ from: what they need of it from `start` on is kept.
struct ReferenceSource : MixerSource {
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

void transform_kernel(const Plan& plan, const Problem& p, int64_t group, C* out, C* columns) {
  const View k(p.k, 0, group * W, lanes_of(p, group));
  transform(plan, std::min(p.length, plan.n), [&](int64_t i) { return k[i]; }, out, columns);
  for (int64_t row = 0; row < plan.columns.n; row++) forward(plan.rows, out + row * plan.rows.n);
}

void prepare(const Plan& plan, const Problem& p) {
  const int64_t groups = (p.channels + W - 1) / W;
  const int threads = threads_for(p, groups);
  const Workspace workspace(threads, 0, 0, plan.columns.n);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t group = 0; group < groups; group++)
    transform_kernel(plan, p, group, reinterpret_cast<C*>(p.spectrum) + group * plan.n, workspace.columns());
}

template <class Source>
void forward_group(const Plan& plan, const Problem& p, int64_t batch, int64_t group, const C* spectrum, C* data,
                   C* columns) {
  const int lanes = lanes_of(p, group);
  const int64_t channel = group * W, head = std::min(p.length, plan.n), n2 = plan.rows.n;
  const Source source(p, batch, channel, lanes);
  const View y(p.y, batch, channel, lanes), k(p.k, 0, channel, lanes);
  const Vector skip = load(p.skip + channel, 1, lanes);
  auto input = [&](int64_t i) { return source.input(i); };
  auto output = [&](int64_t i, Vector convolved) { y.set(i, source.output(i, convolved, skip)); };
  transform(plan, head, input, data, columns);
  for (int64_t row = 0; row < plan.columns.n; row++) {
    C* a = data + row * n2;
    const C* b = spectrum + row * n2;
    forward(plan.rows, a);
    for (int64_t i = 0; i < n2; i++) a[i] = a[i] * b[i];
    inverse(plan.rows, a);
  }
  untransform(plan, head, data, columns, output);
  for (int64_t t = head; t < p.length; t++) {  // the few outputs beyond the transform, by their definition
    Vector sum0 = {}, sum1 = {};
    int64_t s = 0;
    for (; s + 1 <= t; s += 2) {
      sum0 += k[t - s] * input(s);
      sum1 += k[t - s - 1] * input(s + 1);
    }
    if (s <= t) sum0 += k[t - s] * input(s);
    output(t, sum0 + sum1);
  }
}

template <class Source>
void run_forward(const Plan& plan, const Problem& p) {
  const int64_t groups = (p.channels + W - 1) / W, n = plan.n;
  const bool raw = p.spectrum == nullptr;
  // With a raw kernel each group transforms it once for all sequences; else all (sequence, group) are independent.
  const int64_t tasks = raw ? groups : groups * p.batch;
  const int threads = threads_for(p, tasks);
  const Workspace workspace(threads, raw ? 2 : 1, n, plan.columns.n);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t task = 0; task < tasks; task++) {
    const int64_t group = task % groups;
    C *data = workspace.get(0), *columns = workspace.columns();
    if (!raw) {
      const C* spectrum = reinterpret_cast<const C*>(p.spectrum) + group * n;
      forward_group<Source>(plan, p, task / groups, group, spectrum, data, columns);
      continue;
    }
    C* spectrum = workspace.get(1);
    transform_kernel(plan, p, group, spectrum, columns);
    for (int64_t batch = 0; batch < p.batch; batch++)
      forward_group<Source>(plan, p, batch, group, spectrum, data, columns);
  }
}

// dk_hat may be kernel itself if there is one sequence alone: each point is then read before it is replaced.
template <class Source>
void backward_group(const Plan& plan, const Problem& p, int64_t group, C* kernel, C* u_hat, C* d_hat, C* dk_hat,
                    C* columns) {
  const int lanes = lanes_of(p, group);
  const int64_t channel = group * W, n = plan.n, head = std::min(p.length, n), n2 = plan.rows.n;
  const Vector skip = load(p.skip + channel, 1, lanes);
  const View k(p.k, 0, channel, lanes), dk(p.dk, 0, channel, lanes);
  CompensatedSum dskip;
  transform_kernel(plan, p, group, kernel, columns);
  for (int64_t j = 0; j < p.length; j++) dk.set(j, Vector{});

  for (int64_t batch = 0; batch < p.batch; batch++) {
    const Source source(p, batch, channel, lanes);
    const View dy(p.dy, batch, channel, lanes);
    auto input = [&](int64_t i) { return source.input(i); };
    auto output_gradient = [&](int64_t i) -> Vector { return source.gated() ? dy[i] * source.gate(i) : dy[i]; };

    transform(plan, head, input, u_hat, columns);
    transform(plan, head, output_gradient, d_hat, columns);
    for (int64_t row = 0; row < plan.columns.n; row++) {
      C *u = u_hat + row * n2, *d = d_hat + row * n2, *sum = dk_hat + row * n2;
      const C* kernel_row = kernel + row * n2;
      forward(plan.rows, u);
      forward(plan.rows, d);
      for (int64_t i = 0; i < n2; i++) {
        const C b = kernel_row[i], product = times_conjugate(d[i], u[i]);
        sum[i] = batch == 0 ? product : sum[i] + product;
        u[i] = u[i] * b;
        d[i] = times_conjugate(d[i], b);
      }
      if (source.gated()) inverse(plan.rows, u);
      inverse(plan.rows, d);
    }
    auto gate_gradient = [&](int64_t i, Vector convolved) {
      source.set_gate_gradient(i, dy[i] * (convolved + skip * input(i)));
    };
    if (source.gated()) untransform(plan, head, u_hat, columns, gate_gradient);
    auto input_gradient = [&](int64_t i, Vector correlated) {
      for (int64_t t = std::max(head, i + 1); t < p.length; t++) correlated += k[t - i] * output_gradient(t);
      const Vector g = output_gradient(i);
      dskip += g * input(i);
      source.set_input_gradient(i, correlated + skip * g);
    };
    untransform(plan, head, d_hat, columns, input_gradient);
    for (int64_t t = head; t < p.length; t++) {
      const Vector g = output_gradient(t);
      Vector convolved = {};
      for (int64_t j = 0; j <= t; j++) {
        const Vector u = input(t - j);
        dk.set(j, dk[j] + g * u);
        convolved += k[j] * u;
      }
      if (source.gated()) gate_gradient(t, convolved);
      input_gradient(t, k[0] * g);
    }
  }
  for (int64_t row = 0; row < plan.columns.n; row++) inverse(plan.rows, dk_hat + row * n2);
  untransform(plan, head, dk_hat, columns, [&](int64_t j, Vector value) { dk.set(j, dk[j] + value); });
  store(p.dskip + channel, 1, lanes, dskip.sum);
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

template <class Source>
void run_backward(const Plan& plan, const Problem& p) {
  const int64_t groups = (p.channels + W - 1) / W;
  const int threads = threads_for(p, groups);
  const int sum = p.batch == 1 ? 0 : 3;  // where the kernel's gradient is summed
  const Workspace workspace(threads, sum == 0 ? 3 : 4, plan.n, plan.columns.n);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t group = 0; group < groups; group++)
    backward_group<Source>(plan, p, group, workspace.get(0), workspace.get(1), workspace.get(2), workspace.get(sum),
                           workspace.columns());
}

inline void run_short_backward(const Problem& p) {
  const int64_t groups = (3 * p.channels + W - 1) / W;
#pragma omp parallel for num_threads(threads_for(p, groups)) schedule(dynamic, 1)
  for (int64_t group = 0; group < groups; group++) short_backward_group(p, group);
}

}  // namespace HYENA_ARCH
}  // namespace hyena
