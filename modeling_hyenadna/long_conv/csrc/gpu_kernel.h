// The gated long convolution on a GPU, as what one block of threads does in each launch.
//
// Right-angle convolution as in cpu_kernel.h, but with N >= L points always. Of short inputs one block computes
// everything for a few channels, in shared memory; transforms of more points, N = columns * rows, go through a scratch
// memory in three launches: columns in, rows (with the product by the kernel's transform, and back), columns out. The
// scratch memory holds some channels at a time, whatever the batch.
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
enum Target { kOutput, kGateGradient, kInputGradient, kKernelGradient };
enum Task { kTransformKernel, kConvolve, kBackward, kInverse };
enum Region { kKernelRegion, kInputRegion, kGradientRegion, kSumRegion };  // of the scratch memory

constexpr int kSpectrumLanes = 8;

struct Launch {  // one launch: tiles [first, first + tiles) of `lanes` channels
  int task;      // a Source, Target or Task
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

constexpr int kTaps = 3;  // of the short convolution, where it belongs to the kernels

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

  // Of a number at every position, what is to be transformed; number(i, there) is 0 where there is none.
  template <class Number>
  HYENA_BODY auto twisted(int lane, Number number) const {
    return [=, twists = twists(lane), points = inside(lane), left = column(lane), apart = apart](int first, int offset) {
      const int j = first + offset;
      const Twiddle w = fetch(twists + j);
      const float found = number(j * apart + left, j < points), value = j < points ? found : 0;
      return C{value * w.re, value * w.im};
    };
  }
  // work(get) with what reads a source.
  template <class Work>
  HYENA_BODY void reading(int source, Work work) const {
    if (source == kKernel) return work([&](int lane) {
      return twisted(lane, [k = Line<float>(p, p.k, 0, nearest(lane))](int i, bool there) { return k.get(i, there); });
    });
    by_kind(p, [&](auto raw, auto mixer) {
      using Numbers = Channel<decltype(raw), decltype(mixer)::kSet>;
      if (source == kInput) return work([&](int lane) {
        return twisted(lane, [c = Numbers(p, batch, nearest(lane))](int i, bool there) { return c.gated(i, there); });
      });
      work([&](int lane) {
        return twisted(lane, [c = Numbers(p, batch, nearest(lane))](int i, bool there) { return c.gradient(i, there); });
      });
    });
  }

  // Of a transform, number(i, there, convolution) and keep(i, number) at every position i.
  template <class Number, class Keep>
  HYENA_BODY auto untwisted(int lane, Number number, Keep keep) const {
    const int points = inside(lane), left = column(lane), apart = this->apart;
    const float scale = 1 / static_cast<float>(hyena::gpu::points(p));
    return sink([=, twists = twists(lane)](int first, int offset, C z) {
      const int j = first + offset;
      const Twiddle w = fetch(twists + j);
      return number(j * apart + left, j < points, (z.re * w.re + z.im * w.im) * scale);
    }, [=](int first, int offset, auto found) {
      const int j = first + offset;
      if (j < points) keep(j * apart + left, found);
    });
  }
  // work(put) with what writes to a target.
  template <class Work>
  HYENA_BODY void writing(int target, Work work) const {
    if (target == kKernelGradient) return work([&](int lane) {
      return untwisted(lane, [](int, bool, float z) { return z; },
                       [dk = Line<float>(p, p.dk, 0, nearest(lane))](int i, float z) { dk.set(i, z); });
    });
    by_kind(p, [&](auto raw, auto mixer) {
      using Raw = decltype(raw);
      using Numbers = Channel<Raw, decltype(mixer)::kSet>;
      if (target == kInputGradient) return work([&](int lane) {
        const Line<Raw> dv(p, p.dv, batch, nearest(lane)), dgate_in(p, p.dgate_in, batch, nearest(lane));
        return untwisted(lane, [c = Numbers(p, batch, nearest(lane))](int i, bool there, float z) {
          const float du = z + c.skip * c.gradient(i, there);
          return C{du * c.gate(i, there), du * c.value.get(i, there) * c.real(i, there)};
        }, [=, given = p.taps || p.dgate_in.data](int i, C found) {
          dv.set(i, found.re);
          if (given) dgate_in.set(i, found.im);
        });
      });
      work([&, &out = target == kOutput ? p.y : p.dgate_out](int lane) {
        const Numbers c(p, batch, nearest(lane));
        return untwisted(lane, [c, output = target == kOutput](int i, bool there, float z) {
          const float y = z + c.skip * c.gated(i, there);
          return y * (output ? c.gate_out.get(i, there) : c.dy.get(i, there));
        }, [line = Line<Raw>(p, out, batch, nearest(lane))](int i, float number) { line.set(i, number); });
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
    // Blocks that run together read channels that lie side by side.
    const int index = static_cast<int>(block.index), tiles = static_cast<int>(l.tiles);
    tile = index % tiles, left = index / tiles * p.column_lanes;
  }
  HYENA_BODY Patch patch() const {
    return {p, t, l.batch, (l.first + tile) * p.lanes, p.plan.rows, left, log2_of(p.lanes)};
  }
  HYENA_BODY C* stored(int lane) const { return scratch(p, l.region, tile) + left * p.lanes + lane; }
  HYENA_BODY int64_t apart() const { return static_cast<int64_t>(p.plan.rows) * p.lanes; }
  HYENA_BODY const Twiddle* turns(int lane) const { return p.plan.turns + (left + (lane >> log2_of(p.lanes))) * t.n; }
  // Tensor to scratch memory.
  HYENA_BODY void in() const {
    patch().reading(l.task, [&](const auto& get) { copy(block, t, get, SharedLanes(block, t)); });
    finish(block, t, 0, [&](int lane) {
      return sink([turns = turns(lane)](int first, int offset, C z) { return z * fetch(turns + first + offset); },
                  [to = stored(lane), apart = apart()](int first, int offset, C z) { to[(first + offset) * apart] = z; });
    });
  }
  // Scratch memory to tensor.
  HYENA_BODY void out() const {
    const int end = begin_back(block, t, [&](int lane) {
      return [from = stored(lane), apart = apart(), turns = turns(lane)](int first, int offset) {
        return times_conjugate(from[(first + offset) * apart], fetch(turns + first + offset));
      };
    });
    inverse(block, t, 0, end);
    patch().writing(l.task, [&](const auto& put) { copy(block, t, SharedLanes(block, t), put); });
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

  // What reads and writes a region, and the kernel's transform.
  HYENA_BODY auto from(int region) const {
    return [=](int lane) {
      return [at = stored(region, lane), lanes = p.lanes](int first, int offset) { return at[(first + offset) * lanes]; };
    };
  }
  HYENA_BODY auto to(int region) const {
    return [=](int lane) {
      return storing([at = stored(region, lane), lanes = p.lanes](int first, int offset, C z) {
        at[(first + offset) * lanes] = z;
      });
    };
  }
  HYENA_BODY auto to_kernel() const {
    return [=](int lane) {
      const bool here = !p.spectrum || channel + lane < p.channels;
      return storing([=, at = kernel(lane), apart = apart()](int first, int offset, C z) {
        if (here) at[(first + offset) * apart] = z;
      });
    };
  }
  HYENA_BODY auto times_kernel() const {
    return [=](int lane) {
      return sink([at = kernel(lane), apart = apart()](int first, int offset, C z) {
        return z * at[(first + offset) * apart];
      }, [](int, int, C z) { return z; });
    };
  }
  // With U stored and D at hand: sum D conj(U), store U K, and leave D conj(K).
  struct Three {
    C product, uk, dk;
  };
  HYENA_BODY auto combine(bool begins) const {
    return [=](int lane) {
      C *u = stored(kInputRegion, lane), *sum = stored(kSumRegion, lane);
      const int lanes = p.lanes;
      return sink([=, k = kernel(lane), apart = apart()](int first, int offset, C d) {
        const C here = u[(first + offset) * lanes], spectrum = k[(first + offset) * apart];
        const C before = sum[(first + offset) * lanes], product = times_conjugate(d, here);
        return Three{begins ? product : before + product, here * spectrum, times_conjugate(d, spectrum)};
      }, [=](int first, int offset, Three found) {
        sum[(first + offset) * lanes] = found.product;
        u[(first + offset) * lanes] = found.uk;
        return found.dk;
      });
    };
  }
};

HYENA_BODY void rows(const Block& block, const Problem& p, const Launch& l) {
  const int index = static_cast<int>(block.index), tile = index / p.plan.columns;
  const Row row(block, p, (l.first + tile) * p.lanes, tile, tile, index % p.plan.columns);
  // Backward: the input forward, the gradient there and back, the input back for the gate's gradient.
  const int ways = l.task != kBackward ? 1 : has_gate_out(p) ? 3 : 2;
#pragma unroll 1
  for (int way = 0; way < ways; way++) {
    const bool forth = l.task == kBackward ? way < 2 : l.task != kInverse;
    const bool back = l.task == kBackward ? way > 0 : l.task != kTransformKernel;
    const int region = l.task == kBackward ? way == 1 ? kGradientRegion : kInputRegion : l.region;
    const int next = forth ? enter(block, row.t, row.from(region)) : begin_back(block, row.t, row.from(region));
    if (!back) {
      finish(block, row.t, next, row.to(region));
      continue;
    }
    int end = next;
    if (forth && l.task == kConvolve) end = turn_back(block, row.t, next, row.times_kernel());
    if (forth && l.task == kBackward) end = turn_back(block, row.t, next, row.combine(l.batch == 0));
    leave(block, row.t, end, row.to(region));
  }
}

// Everything for `lanes` channels, in shared memory.
struct Whole : Row {
  HYENA_BODY Whole(const Block& block, const Problem& p, int64_t channel, int tile, int own)
      : Row(block, p, channel, tile, own, 0) {}
  HYENA_BODY Patch patch(int64_t batch) const { return {p, t, batch, channel, 1, 0, t.log_lanes}; }
  HYENA_BODY void read(int source, int64_t batch) const {
    patch(batch).reading(source, [&](const auto& get) { copy(block, t, get, SharedLanes(block, t)); });
  }
  HYENA_BODY void write(int end, int target, int64_t batch) const {
    inverse(block, t, 0, end);
    patch(batch).writing(target, [&](const auto& put) { copy(block, t, SharedLanes(block, t), put); });
  }
  HYENA_BODY void prepare() const {
    read(kKernel, 0);
    finish(block, t, 0, to_kernel());
  }
  HYENA_BODY void convolve(int64_t batch) const {
    read(kInput, batch);
    write(turn_back(block, t, 0, times_kernel()), kOutput, batch);
  }
  HYENA_BODY void backward(int64_t batch, bool begins) const {
    read(kInput, batch);
    finish(block, t, 0, to(kInputRegion));
    read(kOutputGradient, batch);
    write(turn_back(block, t, 0, combine(begins)), kInputGradient, batch);
    if (has_gate_out(p)) write(begin_back(block, t, from(kInputRegion)), kGateGradient, batch);
  }
  // The sums of all slices of the batch, in their order.
  HYENA_BODY void kernel_gradient(int tiles) const {
    const int64_t apart = tiles * points(p) * p.lanes;
    const auto sums = [=](int lane) {
      return [=, at = stored(kSumRegion, lane), lanes = p.lanes, slices = p.slices](int first, int offset) {
        C sum = at[(first + offset) * lanes];
        for (int slice = 1; slice < slices; slice++) sum = sum + at[slice * apart + (first + offset) * lanes];
        return sum;
      };
    };
    write(begin_back(block, t, sums), kKernelGradient, 0);
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
