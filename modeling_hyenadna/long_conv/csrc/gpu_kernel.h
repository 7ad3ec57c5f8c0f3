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
  char* data;
  int stride;  // in bytes
  bool brain;
  HYENA_BODY Line(const Problem& p, const Tensor& t, int64_t b, int64_t c)
      : data(static_cast<char*>(t.data) + (b * t.batch_stride + c * t.channel_stride) * static_cast<int>(sizeof(Raw))),
        stride(static_cast<int>(t.stride) * static_cast<int>(sizeof(Raw))), brain(p.dtype == kBfloat16) {}
  HYENA_BODY Raw* at(int i) const { return reinterpret_cast<Raw*>(data + static_cast<int64_t>(i) * stride); }
  HYENA_BODY float get(int i, bool there) const {  // 0 where it is not
    if constexpr (sizeof(Raw) == sizeof(float)) return fetch(at(i), there);
    const uint16_t raw = static_cast<uint16_t>(fetch(at(i), there));
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
      : line(p, kMixer ? p.projected : t, b, kMixer ? part * p.channels + c : c),
        given(kMixer || t.data) {
    if constexpr (kMixer) {
      const int64_t channel = part * p.channels + c;
#pragma unroll
      for (int tap = 0; tap < kTaps; tap++) weight[tap] = fetch(p.short_weight + channel * kTaps + tap);
      weight[kTaps] = fetch(p.short_bias + channel);
    }
  }
  HYENA_BODY float get(int i, bool there) const {
    if constexpr (!kMixer) {
      const float number = line.get(i, there && given);
      return given ? number : 1;
    }
    float sum = weight[kTaps];
#pragma unroll
    for (int tap = 0; tap < kTaps; tap++) {
      const int from = i - (kTaps - 1 - tap);
      sum += weight[tap] * line.get(from, there && from >= 0);
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
        dy(p, p.dy, b, c), mask(p, p.mask, b, 0), has_mask(p.mask.data), skip(fetch(p.skip + c)) {}
  HYENA_BODY float real(int i, bool there) const {  // whether a token is one, in the mixer
    if constexpr (!kMixer) return 1;
    const float number = mask.get(i, there && has_mask);
    return has_mask ? number : 1;
  }
  HYENA_BODY float gate(int i, bool there) const { return gate_in.get(i, there) * real(i, there); }
  HYENA_BODY float gated(int i, bool there) const { return value.get(i, there) * gate(i, there); }
  HYENA_BODY float gradient(int i, bool there) const { return dy.get(i, there) * gate_out.get(i, there); }
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

HYENA_BODY C* scratch(const Problem& p, int region, int64_t tile) {
  return p.scratch + (region * p.tiles + tile) * points(p) * p.lanes;
}

// Where a tile's points belong: channels from `channel` on, and positions from `left` on, `apart` from point to point.
struct Patch {
  const Problem& p;
  Tile t;
  int64_t batch, channel;
  int apart, left, log_lanes;
  HYENA_BODY int64_t channel_of(int lane) const { return channel + (lane & ((1 << log_lanes) - 1)); }
  HYENA_BODY int64_t nearest(int lane) const { return channel_of(lane) < p.channels ? channel_of(lane) : p.channels - 1; }
  HYENA_BODY int column(int lane) const { return left + (lane >> log_lanes); }
  HYENA_BODY int inside(int lane) const {  // how many of a lane's points are of the tensor
    const int rest = static_cast<int>(p.length) - column(lane);
    return channel_of(lane) < p.channels && rest > 0 ? (rest + apart - 1) / apart : 0;
  }
  HYENA_BODY const Twiddle* twists(int lane) const { return p.plan.twists + column(lane) * t.n; }

  // number(lane)(i, there) at every position i, 0 where there is none, twisted, into shared memory.
  template <class Number>
  HYENA_BODY void twist(const Block& block, Number number) const {
    block.each<kReads>(t, [&](int lane) {
      return [=, found = number(lane), twists = twists(lane), points = inside(lane), first = column(lane), apart = apart](
                 int j) {
        const Twiddle w = fetch(twists + j);
        const float number = found(j * apart + first, j < points), value = j < points ? number : 0;
        return C{value * w.re, value * w.im};
      };
    }, [&](int lane) {
      return [=, t = t, data = block.shared()](int j, C z) { data[t.at(j, lane)] = z; };
    });
  }
  HYENA_BODY void read(const Block& block, int source) const {
    if (source == kKernel) return twist(block, [&](int lane) {
      return [k = Line<float>(p, p.k, 0, nearest(lane))](int i, bool there) { return k.get(i, there); };
    });
    by_kind(p, [&](auto raw, auto mixer) {
      using Numbers = Channel<decltype(raw), decltype(mixer)::kSet>;
      if (source == kInput) return twist(block, [&](int lane) {
        return [c = Numbers(p, batch, nearest(lane))](int i, bool there) { return c.gated(i, there); };
      });
      twist(block, [&](int lane) {
        return [c = Numbers(p, batch, nearest(lane))](int i, bool there) { return c.gradient(i, there); };
      });
    });
  }

  // set(lane)(i, number(lane)(i, there, z)) of the convolution z at every position i.
  template <class Number, class Set>
  HYENA_BODY void untwist(const Block& block, Number number, Set set) const {
    const float scale = 1 / static_cast<float>(points(p));
    block.each<kReads>(t, [&](int lane) {
      return [=, t = t, data = block.shared(), found = number(lane), twists = twists(lane), points = inside(lane),
              first = column(lane), apart = apart](int j) {
        const Twiddle w = fetch(twists + j);
        const C z = data[t.at(j, lane)];
        return found(j * apart + first, j < points, (z.re * w.re + z.im * w.im) * scale);
      };
    }, [&](int lane) {
      return [=, keep = set(lane), points = inside(lane), first = column(lane), apart = apart](int j, auto value) {
        if (j < points) keep(j * apart + first, value);
      };
    });
  }
  HYENA_BODY void write(const Block& block, int sink) const {
    if (sink == kKernelGradient) return untwist(block, [&](int) {
      return [](int, bool, float z) { return z; };
    }, [&](int lane) {
      return [dk = Line<float>(p, p.dk, 0, nearest(lane))](int i, float z) { dk.set(i, z); };
    });
    by_kind(p, [&](auto raw, auto mixer) {
      using Raw = decltype(raw);
      using Numbers = Channel<Raw, decltype(mixer)::kSet>;
      if (sink == kInputGradient) return untwist(block, [&](int lane) {
        return [c = Numbers(p, batch, nearest(lane))](int i, bool there, float z) {
          const float du = z + c.skip * c.gradient(i, there);
          return C{du * c.gate(i, there), du * c.value.get(i, there) * c.real(i, there)};
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
        return [c = Numbers(p, batch, nearest(lane)), output = sink == kOutput](int i, bool there, float z) {
          const float y = z + c.skip * c.gated(i, there);
          return y * (output ? c.gate_out.get(i, there) : c.dy.get(i, there));
        };
      }, [&](int lane) {
        return [line = Line<Raw>(p, out, batch, nearest(lane))](int i, float number) { line.set(i, number); };
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
  HYENA_BODY C* stored(int lane) const { return scratch(p, l.region, tile) + left * p.lanes + lane; }
  HYENA_BODY int apart() const { return p.plan.rows * p.lanes; }
  HYENA_BODY const Twiddle* turns(int lane) const {
    return p.plan.turns + (left + (lane >> log2_of(p.lanes))) * t.n;
  }
  // Tensor to scratch memory.
  HYENA_BODY void in() const {
    patch().read(block, l.task);
    forward(block, t);
    block.each<kReads>(t, [&](int lane) {
      return [=, t = t, data = block.shared(), turns = turns(lane)](int j) { return data[t.at(j, lane)] * fetch(turns + j); };
    }, [&](int lane) {
      return [to = stored(lane), apart = apart()](int j, C z) { to[static_cast<int64_t>(j) * apart] = z; };
    });
  }
  // Scratch memory to tensor.
  HYENA_BODY void out() const {
    block.each<kReads>(t, [&](int lane) {
      return [from = stored(lane), apart = apart(), turns = turns(lane)](int j) {
        return times_conjugate(from[static_cast<int64_t>(j) * apart], fetch(turns + j));
      };
    }, [&](int lane) {
      return [=, t = t, data = block.shared()](int j, C z) { data[t.at(j, lane)] = z; };
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
  HYENA_BODY C* stored(int region, int lane) const { return scratch(p, region, own) + start * p.lanes + lane; }
  // The first point of the kernel's transform, prepared or in the scratch memory, and the points' distance.
  HYENA_BODY C* kernel(int lane) const {
    if (!p.spectrum) return scratch(p, kKernelRegion, tile) + start * p.lanes + lane;
    const int64_t c = channel + lane;
    return p.spectrum + (c / kSpectrumLanes * points(p) + start) * kSpectrumLanes + c % kSpectrumLanes;
  }
  HYENA_BODY int apart() const { return p.spectrum ? kSpectrumLanes : p.lanes; }
  HYENA_BODY void load(int region) const {
    block.each<kCopies>(t, [&](int lane) {
      return [from = stored(region, lane), lanes = p.lanes](int j) { return from[j * lanes]; };
    }, [&](int lane) {
      return [=, t = t, data = block.shared()](int j, C z) { data[t.at(j, lane)] = z; };
    });
  }
  HYENA_BODY void save(int region) const {
    block.each<kCopies>(t, [&](int lane) {
      return [=, t = t, data = block.shared()](int j) { return data[t.at(j, lane)]; };
    }, [&](int lane) {
      return [to = stored(region, lane), lanes = p.lanes](int j, C z) { to[j * lanes] = z; };
    });
  }
  HYENA_BODY void save_kernel() const {
    block.each<kCopies>(t, [&](int lane) {
      return [=, t = t, data = block.shared()](int j) { return data[t.at(j, lane)]; };
    }, [&](int lane) {
      return [to = kernel(lane), apart = apart(), here = !p.spectrum || channel + lane < p.channels](int j, C z) {
        if (here) to[j * apart] = z;
      };
    });
  }
  HYENA_BODY void times_kernel() const {
    block.each<kCopies>(t, [&](int lane) {
      return [k = kernel(lane), apart = apart()](int j) { return k[j * apart]; };
    }, [&](int lane) {
      return [=, t = t, data = block.shared()](int j, C k) { data[t.at(j, lane)] = data[t.at(j, lane)] * k; };
    });
  }
  // With U stored and D at hand: sum D conj(U), store U K, and leave D conj(K).
  struct Three {
    C u, k, sum;
  };
  HYENA_BODY void combine(bool first) const {
    block.each<kReads>(t, [&](int lane) {
      return [=, u = stored(kInputRegion, lane), sum = stored(kSumRegion, lane), k = kernel(lane), lanes = p.lanes,
              apart = apart()](int j) { return Three{u[j * lanes], k[j * apart], sum[j * lanes]}; };
    }, [&](int lane) {
      return [=, u = stored(kInputRegion, lane), sum = stored(kSumRegion, lane), lanes = p.lanes, t = t,
              data = block.shared()](int j, Three z) {
        C& here = data[t.at(j, lane)];
        const C product = times_conjugate(here, z.u);
        sum[j * lanes] = first ? product : z.sum + product;
        u[j * lanes] = z.u * z.k;
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
    const int64_t apart = tiles * points(p) * p.lanes;
    block.each<kReads>(t, [&](int lane) {
      return [=, first = stored(kSumRegion, lane), lanes = p.lanes, slices = p.slices](int j) {
        C sum = first[j * lanes];
        for (int slice = 1; slice < slices; slice++) sum = sum + first[slice * apart + j * lanes];
        return sum;
      };
    }, [&](int lane) {
      return [=, t = t, data = block.shared()](int j, C z) { data[t.at(j, lane)] = z; };
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
