// The gated long convolution on a GPU, as what one block of threads does in each launch.
//
// Right-angle convolution as in cpu_kernel.h, but with N >= L points always. Up to what shared memory holds, one block
// computes everything for a few channels; beyond, transforms of N = columns * rows points go through a scratch memory
// in three launches: columns in, rows (with the product by the kernel's transform, and back), columns out. The scratch
// memory holds some channels at a time, whatever the batch.
//
// dskip is not computed: it is the first tap of dk.
//
// Of the whole mixer, v and the gates are the short convolution of `projected`, computed wherever they are needed and
// stored nowhere; the gradients are then those of the short convolution's outputs.
#pragma once

#include <cstring>

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#endif

#include "gpu_block.h"

namespace hyena {
namespace gpu {

enum Source { kInput, kOutputGradient, kKernel };
enum Sink { kOutput, kGateGradient, kInputGradient, kKernelGradient };
enum Task { kTransformKernel, kConvolve, kBackward, kInverse };
enum Region { kKernelRegion, kInputRegion, kGradientRegion, kSumRegion };  // of the scratch memory

constexpr int kSpectrumLanes = 8;

struct Launch {  // one launch: tiles [first, first + tiles) of `lanes` channels
  int task;      // a Source, Sink or Task
  int region;    // that it reads or writes
  int64_t batch, first, tiles;
};

template <class To, class From>
HYENA_BODY To bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "bits are kept");
  To to;
  memcpy(&to, &from, sizeof(To));
  return to;
}

HYENA_BODY float half_to_float(uint16_t half) {
#if defined(__CUDACC__)
  return __half2float(bits<__half>(half));
#else
  return static_cast<float>(bits<_Float16>(half));
#endif
}
HYENA_BODY uint16_t float_to_half(float value) {
#if defined(__CUDACC__)
  return bits<uint16_t>(__float2half_rn(value));
#else
  return bits<uint16_t>(static_cast<_Float16>(value));
#endif
}
HYENA_BODY uint16_t float_to_bfloat16(float value) {  // to the nearest, ties to even
  const uint32_t all = bits<uint32_t>(value);
  if ((all & 0x7fffffff) > 0x7f800000) return 0x7fc0;
  return static_cast<uint16_t>((all + 0x7fff + (all >> 16 & 1)) >> 16);
}

constexpr int kTaps = 3;               // of the short convolution, where it belongs to the kernels
constexpr int kReads = 4, kCopies = 8;  // items that a thread reads at once: of tensors; of the scratch memory

// One channel of one sequence of a tensor of Raw numbers: float, or 16 bits of either kind.
template <class Raw>
struct Line {
  Raw* data;
  int stride;
  bool brain;
  HYENA_BODY Line(void* data, int64_t stride, bool brain)
      : data(static_cast<Raw*>(data)), stride(static_cast<int>(stride)), brain(brain) {}
  HYENA_BODY Line(const Problem& p, const Tensor& t, int64_t b, int64_t c)
      : Line(static_cast<Raw*>(t.data) + b * t.batch_stride + c * t.channel_stride, t.stride, p.dtype == kBfloat16) {}
  HYENA_BODY Raw* at(int i) const { return data + static_cast<int64_t>(i) * stride; }
  HYENA_BODY float operator[](int i) const {
    if constexpr (sizeof(Raw) == sizeof(float)) return fetch(at(i));
    const uint16_t raw = static_cast<uint16_t>(fetch(at(i)));
    return brain ? bits<float>(static_cast<uint32_t>(raw) << 16) : half_to_float(raw);
  }
  HYENA_BODY void set(int i, float value) const {
    if constexpr (sizeof(Raw) == sizeof(float))
      *at(i) = value;
    else
      *at(i) = brain ? float_to_bfloat16(value) : float_to_half(value);
  }
};

enum Part { kGateOut, kGateIn, kValue };  // as they follow each other in `projected`

// v or a gate, of one channel: as it is given, 1 where it is not; or the short convolution of a projection.
template <class Raw, bool kMixer>
struct Branch {
  Line<Raw> line;
  bool given;
  float weight[kTaps + 1];  // and bias
  HYENA_BODY Branch(const Problem& p, int part, const Tensor& t, int64_t b, int64_t c)
      : line(p, kMixer ? p.projected : t.data ? t : p.v, b, kMixer ? part * p.channels + c : c),
        given(kMixer || t.data) {
    if constexpr (kMixer) {
      const int64_t channel = part * p.channels + c;
#pragma unroll
      for (int tap = 0; tap < kTaps; tap++) weight[tap] = fetch(p.short_weight + channel * kTaps + tap);
      weight[kTaps] = fetch(p.short_bias + channel);
    }
  }
  HYENA_BODY float operator[](int i) const {
    if constexpr (!kMixer) {
      const float number = line[i];
      return given ? number : 1;
    }
    float sum = weight[kTaps];
#pragma unroll
    for (int tap = 0; tap < kTaps; tap++) {
      const int from = i - (kTaps - 1 - tap);
      const float number = line[from < 0 ? 0 : from];
      sum += weight[tap] * (from < 0 ? 0 : number);
    }
    return sum;
  }
};

// What is read of one channel of one sequence; what is not used costs nothing.
template <class Raw, bool kMixer>
struct Channel {
  Branch<Raw, kMixer> value, gate_in, gate_out;
  Line<Raw> dy;
  Line<float> mask;
  bool has_mask;
  float skip;
  HYENA_BODY Channel(const Problem& p, int64_t b, int64_t c)
      : value(p, kValue, p.v, b, c), gate_in(p, kGateIn, p.gate_in, b, c), gate_out(p, kGateOut, p.gate_out, b, c),
        dy(p, p.dy, b, c), mask(p.mask.data ? Line<float>(p, p.mask, b, 0) : Line<float>(const_cast<float*>(p.skip), 0, false)),
        has_mask(p.mask.data), skip(fetch(p.skip + c)) {}
  HYENA_BODY float masked(int i, float number) const {
    if constexpr (!kMixer) return number;
    const float real = mask[i];
    return has_mask ? number * real : number;
  }
  HYENA_BODY float gate(int i) const { return masked(i, gate_in[i]); }
  HYENA_BODY float gated(int i) const { return value[i] * gate(i); }
  HYENA_BODY float gradient(int i) const { return dy[i] * gate_out[i]; }
};

// f(Raw(), mixer): with the type of numbers, and whether this is the whole mixer, known when it is compiled.
template <bool value>
struct Flag {
  static constexpr bool kSet = value;
};
template <class F>
HYENA_BODY void by_kind(const Problem& p, F f) {
  if (p.dtype == kFloat32) return p.taps ? f(float(), Flag<true>()) : f(float(), Flag<false>());
  return p.taps ? f(uint16_t(), Flag<true>()) : f(uint16_t(), Flag<false>());
}

HYENA_BODY Tile row_tile(const Problem& p) {
  return {p.plan.rows, log2_of(p.lanes), p.plan.row_radices, p.plan.row_roots};
}
HYENA_BODY Tile column_tile(const Problem& p) {
  return {p.plan.columns, log2_of(p.lanes * p.column_lanes), p.plan.column_radices, p.plan.column_roots};
}
HYENA_BODY bool has_gate_out(const Problem& p) { return p.taps || p.gate_out.data; }
HYENA_BODY int64_t points(const Problem& p) { return static_cast<int64_t>(p.plan.columns) * p.plan.rows; }

HYENA_BODY Twiddle root(const Plan& plan, int j) {
  return multiply(fetch(plan.fine + (j & 1023)), fetch(plan.coarse + (j >> 10)));
}
HYENA_BODY Twiddle twist(const Plan& plan, int i) {
  return multiply(fetch(plan.twist_fine + (i & 1023)), fetch(plan.twist_coarse + (i >> 10)));
}

HYENA_BODY C* scratch(const Problem& p, int region, int64_t tile) {
  return p.scratch + (region * p.tiles + tile) * points(p) * p.lanes;
}

// Where a tile's items belong: channels from `channel` on, positions from `left` on, `apart` from point to point.
struct Patch {
  const Problem& p;
  Tile t;
  int64_t batch, channel;
  int apart, left, log_lanes;
  HYENA_BODY int64_t channel_of(int lane) const { return channel + (lane & ((1 << log_lanes) - 1)); }
  HYENA_BODY bool has(int lane) const { return channel_of(lane) < p.channels; }
  HYENA_BODY int64_t nearest(int lane) const { return has(lane) ? channel_of(lane) : p.channels - 1; }
  HYENA_BODY int position(int item) const { return t.point(item) * apart + left + (t.lane(item) >> log_lanes); }

  // line[i] of the nearest position that there is, twisted; 0 beyond.
  template <class Number>
  HYENA_BODY C twisted(bool here, int item, Number number) const {
    const int i = position(item), length = static_cast<int>(p.length);
    const float found = number(i < length ? i : length - 1), value = here && i < length ? found : 0;
    const Twiddle w = twist(p.plan, i);
    return {value * w.re, value * w.im};
  }
  HYENA_BODY void read(const Block& block, int source) const {
    const auto put = [&](int) {
      return [&](int item, C z) { block.shared()[t.at(item)] = z; };
    };
    if (source == kKernel) return block.each<kReads>(t, [&](int lane) {
      const Line<float> k(p, p.k, 0, nearest(lane));
      return [=, here = has(lane)](int item) { return twisted(here, item, [&](int i) { return k[i]; }); };
    }, put);
    by_kind(p, [&](auto raw, auto mixer) {
      using Numbers = Channel<decltype(raw), decltype(mixer)::kSet>;
      if (source == kInput) return block.each<kReads>(t, [&](int lane) {
        const Numbers c(p, batch, nearest(lane));
        return [=, here = has(lane)](int item) { return twisted(here, item, [&](int i) { return c.gated(i); }); };
      }, put);
      block.each<kReads>(t, [&](int lane) {
        const Numbers c(p, batch, nearest(lane));
        return [=, here = has(lane)](int item) { return twisted(here, item, [&](int i) { return c.gradient(i); }); };
      }, put);
    });
  }

  // number(i, z) of the convolution z at position i, and set(i, number), at every position that there is.
  template <class Number, class Set>
  HYENA_BODY void untwist(const Block& block, Number number, Set set) const {
    const float scale = 1 / static_cast<float>(points(p));
    block.each<kReads>(t, [&](int lane) {
      return [=, &block, found = number(lane)](int item) {
        const int i = position(item), length = static_cast<int>(p.length);
        const C z = block.shared()[t.at(item)];
        const Twiddle w = twist(p.plan, i);
        return found(i < length ? i : length - 1, (z.re * w.re + z.im * w.im) * scale);
      };
    }, [&](int lane) {
      return [=, here = has(lane), keep = set(lane)](int item, auto numbers) {
        const int i = position(item);
        if (here && i < p.length) keep(i, numbers);
      };
    });
  }
  HYENA_BODY void write(const Block& block, int sink) const {
    if (sink == kKernelGradient) return untwist(block, [&](int) {
      return [](int, float z) { return z; };
    }, [&](int lane) {
      const Line<float> dk(p, p.dk, 0, nearest(lane));
      return [=](int i, float z) { dk.set(i, z); };
    });
    by_kind(p, [&](auto raw, auto mixer) {
      using Raw = decltype(raw);
      using Numbers = Channel<Raw, decltype(mixer)::kSet>;
      if (sink == kInputGradient) return untwist(block, [&](int lane) {
        const Numbers c(p, batch, nearest(lane));
        return [=](int i, float z) {
          const float du = z + c.skip * c.gradient(i);
          return C{du * c.gate(i), c.masked(i, du * c.value[i])};
        };
      }, [&](int lane) {
        const Line<Raw> dv(p, p.dv, batch, nearest(lane)), dgate_in(p, p.dgate_in, batch, nearest(lane));
        return [=](int i, C found) {
          dv.set(i, found.re);
          if (dgate_in.data) dgate_in.set(i, found.im);
        };
      });
      const Tensor& out = sink == kOutput ? p.y : p.dgate_out;
      untwist(block, [&](int lane) {
        const Numbers c(p, batch, nearest(lane));
        return [=](int i, float z) {
          const float y = z + c.skip * c.gated(i);
          return y * (sink == kOutput ? c.gate_out[i] : c.dy[i]);
        };
      }, [&](int lane) {
        const Line<Raw> line(p, out, batch, nearest(lane));
        return [=](int i, float number) { line.set(i, number); };
      });
    });
  }
};

// Columns `left` and on, of a tile of channels: a block's share of the column transforms.
struct Columns {
  const Block& block;
  const Problem& p;
  const Launch& l;
  int tile, left;
  Tile t;
  HYENA_BODY Columns(const Block& block, const Problem& p, const Launch& l)
      : block(block), p(p), l(l), t(column_tile(p)) {
    const int blocks = p.plan.rows / p.column_lanes, index = static_cast<int>(block.index);
    tile = index / blocks, left = index % blocks * p.column_lanes;
  }
  HYENA_BODY Patch patch() const {
    return {p, t, l.batch, (l.first + tile) * p.lanes, p.plan.rows, left, log2_of(p.lanes)};
  }
  HYENA_BODY C* stored(int item) const {
    return scratch(p, l.region, tile) + (static_cast<int64_t>(t.point(item)) * p.plan.rows + left) * p.lanes + t.lane(item);
  }
  HYENA_BODY Twiddle turn(int item) const {
    return root(p.plan, p.plan.order[t.point(item)] * (left + (t.lane(item) >> log2_of(p.lanes))));
  }
  // Tensor to scratch memory.
  HYENA_BODY void in() const {
    patch().read(block, l.task);
    forward(block, t);
    block.each<kReads>(t, [&](int) {
      return [this](int item) { return block.shared()[t.at(item)] * turn(item); };
    }, [&](int) {
      return [this](int item, C z) { *stored(item) = z; };
    });
  }
  // Scratch memory to tensor.
  HYENA_BODY void out() const {
    block.each<kReads>(t, [&](int) {
      return [this](int item) { return times_conjugate(*stored(item), turn(item)); };
    }, [&](int) {
      return [this](int item, C z) { block.shared()[t.at(item)] = z; };
    });
    inverse(block, t);
    patch().write(block, l.task);
  }
};
HYENA_BODY void columns_in(const Block& block, const Problem& p, const Launch& l) { Columns(block, p, l).in(); }
HYENA_BODY void columns_out(const Block& block, const Problem& p, const Launch& l) { Columns(block, p, l).out(); }

// What a block does with one row of each of `lanes` transforms; the single kernel's is the only row.
struct Row {
  const Block& block;
  const Problem& p;
  int64_t channel;  // the first
  int tile, own;    // in the scratch memory: of the kernel; of what only this block reads and writes
  int64_t start;    // the row's first point
  Tile t;
  HYENA_BODY Row(const Block& block, const Problem& p, int64_t channel, int tile, int own, int row)
      : block(block), p(p), channel(channel), tile(tile), own(own), start(static_cast<int64_t>(row) * p.plan.rows),
        t(row_tile(p)) {}
  HYENA_BODY C* stored(int region) const { return scratch(p, region, own) + start * p.lanes; }
  // The first point of the kernel's transform, prepared or in the scratch memory, and the points' distance.
  HYENA_BODY C* kernel(int lane) const {
    if (!p.spectrum) return scratch(p, kKernelRegion, tile) + start * p.lanes + lane;
    const int64_t c = channel + lane;
    return p.spectrum + (c / kSpectrumLanes * points(p) + start) * kSpectrumLanes + c % kSpectrumLanes;
  }
  HYENA_BODY int apart() const { return p.spectrum ? kSpectrumLanes : p.lanes; }
  HYENA_BODY void load(int region) const {
    const C* from = stored(region);
    block.each<kCopies>(t, [&](int) { return [=](int item) { return from[item]; }; }, [&](int) {
      return [this](int item, C z) { block.shared()[t.at(item)] = z; };
    });
  }
  HYENA_BODY void save(int region) const {
    C* to = stored(region);
    block.each<kCopies>(t, [&](int) { return [this](int item) { return block.shared()[t.at(item)]; }; }, [&](int) {
      return [=](int item, C z) { to[item] = z; };
    });
  }
  HYENA_BODY void save_kernel() const {
    block.each<kCopies>(t, [&](int) { return [this](int item) { return block.shared()[t.at(item)]; }; }, [&](int lane) {
      return [this, to = kernel(lane), here = !p.spectrum || channel + lane < p.channels](int item, C z) {
        if (here) to[t.point(item) * apart()] = z;
      };
    });
  }
  HYENA_BODY void times_kernel() const {
    block.each<kCopies>(t, [&](int lane) {
      return [this, k = kernel(lane)](int item) { return k[t.point(item) * apart()]; };
    }, [&](int) {
      return [this](int item, C k) { block.shared()[t.at(item)] = block.shared()[t.at(item)] * k; };
    });
  }
  // With U stored and D at hand: sum D conj(U), store U K, and leave D conj(K).
  struct Three {
    C u, k, sum;
  };
  HYENA_BODY void combine(bool first) const {
    C *u = stored(kInputRegion), *sum = stored(kSumRegion);
    block.each<kReads>(t, [&](int lane) {
      return [=, k = kernel(lane)](int item) { return Three{u[item], k[t.point(item) * apart()], sum[item]}; };
    }, [&](int) {
      return [=](int item, Three z) {
        C& here = block.shared()[t.at(item)];
        const C product = times_conjugate(here, z.u);
        sum[item] = first ? product : z.sum + product;
        u[item] = z.u * z.k;
        here = times_conjugate(here, z.k);
      };
    });
  }
};

HYENA_BODY void rows(const Block& block, const Problem& p, const Launch& l) {
  const int index = static_cast<int>(block.index), tile = index / p.plan.columns;
  const Row row(block, p, (l.first + tile) * p.lanes, tile, tile, index % p.plan.columns);
  if (l.task == kBackward) {
    row.load(kInputRegion);
    forward(block, row.t);
    row.save(kInputRegion);
    row.load(kGradientRegion);
    forward(block, row.t);
    row.combine(l.batch == 0);
    inverse(block, row.t);
    row.save(kGradientRegion);
    if (!has_gate_out(p)) return;
    row.load(kInputRegion);
    inverse(block, row.t);
    row.save(kInputRegion);
    return;
  }
  row.load(l.region);
  if (l.task != kInverse) forward(block, row.t);
  if (l.task == kConvolve) row.times_kernel();
  if (l.task != kTransformKernel) inverse(block, row.t);
  row.save(l.region);
}

// Everything for `lanes` channels, in shared memory.
struct Whole : Row {
  HYENA_BODY Whole(const Block& block, const Problem& p, int64_t channel, int tile, int own)
      : Row(block, p, channel, tile, own, 0) {}
  HYENA_BODY Patch patch(int64_t batch) const { return {p, t, batch, channel, 1, 0, t.log_lanes}; }
  HYENA_BODY void read_forward(int source, int64_t batch) const {
    patch(batch).read(block, source);
    forward(block, t);
  }
  HYENA_BODY void inverse_write(int sink, int64_t batch) const {
    inverse(block, t);
    patch(batch).write(block, sink);
  }
  HYENA_BODY void prepare() const {
    read_forward(kKernel, 0);
    save_kernel();
  }
  HYENA_BODY void convolve(int64_t batch) const {
    read_forward(kInput, batch);
    times_kernel();
    inverse_write(kOutput, batch);
  }
  HYENA_BODY void backward(int64_t batch, bool first) const {
    read_forward(kInput, batch);
    save(kInputRegion);
    read_forward(kOutputGradient, batch);
    combine(first);
    inverse_write(kInputGradient, batch);
    if (!has_gate_out(p)) return;
    load(kInputRegion);
    inverse_write(kGateGradient, batch);
  }
  // The sums of all slices of the batch, in their order.
  HYENA_BODY void kernel_gradient(int tiles) const {
    const C* first = stored(kSumRegion);
    const int64_t apart = tiles * points(p) * p.lanes;
    block.each<kReads>(t, [&](int) {
      return [=](int item) {
        C sum = first[item];
        for (int slice = 1; slice < p.slices; slice++) sum = sum + first[slice * apart + item];
        return sum;
      };
    }, [&](int) {
      return [this](int item, C z) { block.shared()[t.at(item)] = z; };
    });
    inverse_write(kKernelGradient, 0);
  }
};

// A block for each tile of channels; for each sequence too in a convolution, for each slice of the batch in a backward.
HYENA_BODY void whole(const Block& block, const Problem& p, const Launch& l) {
  const int index = static_cast<int>(block.index), tiles = static_cast<int>(l.tiles), tile = index % tiles;
  const Whole work(block, p, (l.first + tile) * p.lanes, tile, index);
  if (l.task == kTransformKernel) return work.prepare();
  if (l.task == kConvolve) return work.convolve(index / tiles);
  if (l.task == kInverse) return work.kernel_gradient(tiles);
  const int slice = index / tiles;
  for (int64_t batch = slice; batch < p.batch; batch += p.slices) work.backward(batch, batch == slice);
}

}  // namespace gpu
}  // namespace hyena
