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

HYENA_BODY float load(const Tensor& t, int dtype, int64_t b, int64_t c, int64_t i) {
  const int64_t offset = b * t.batch_stride + c * t.channel_stride + i * t.stride;
  if (dtype == kFloat32) return fetch(static_cast<const float*>(t.data) + offset);
  const uint16_t raw = fetch(static_cast<const uint16_t*>(t.data) + offset);
  return dtype == kBfloat16 ? bits<float>(static_cast<uint32_t>(raw) << 16) : half_to_float(raw);
}
HYENA_BODY void store(const Tensor& t, int dtype, int64_t b, int64_t c, int64_t i, float value) {
  const int64_t offset = b * t.batch_stride + c * t.channel_stride + i * t.stride;
  if (dtype == kFloat32)
    static_cast<float*>(t.data)[offset] = value;
  else
    static_cast<uint16_t*>(t.data)[offset] = dtype == kBfloat16 ? float_to_bfloat16(value) : float_to_half(value);
}

enum Branch { kGateOut, kGateIn, kValue };  // as they follow each other in `projected`

HYENA_BODY float short_convolved(const Problem& p, int branch, int64_t b, int64_t c, int64_t i) {
  const int64_t channel = branch * p.channels + c;
  const float* weight = p.short_weight + channel * p.taps;
  float sum = fetch(p.short_bias + channel);
  for (int tap = 0; tap < p.taps; tap++) {
    const int64_t from = i - (p.taps - 1 - tap);
    if (from >= 0) sum += fetch(weight + tap) * load(p.projected, p.dtype, b, channel, from);
  }
  return sum;
}
HYENA_BODY bool has_gate_in(const Problem& p) { return p.taps || p.gate_in.data; }
HYENA_BODY bool has_gate_out(const Problem& p) { return p.taps || p.gate_out.data; }
HYENA_BODY float masked(const Problem& p, int64_t b, int64_t i, float value) {
  return p.mask.data ? value * load(p.mask, kFloat32, b, 0, i) : value;
}
HYENA_BODY float value_of(const Problem& p, int64_t b, int64_t c, int64_t i) {
  return p.taps ? short_convolved(p, kValue, b, c, i) : load(p.v, p.dtype, b, c, i);
}
HYENA_BODY float gate_in_of(const Problem& p, int64_t b, int64_t c, int64_t i) {
  return p.taps ? masked(p, b, i, short_convolved(p, kGateIn, b, c, i)) : load(p.gate_in, p.dtype, b, c, i);
}
HYENA_BODY float gate_out_of(const Problem& p, int64_t b, int64_t c, int64_t i) {
  return p.taps ? short_convolved(p, kGateOut, b, c, i) : load(p.gate_out, p.dtype, b, c, i);
}
HYENA_BODY float gated_input(const Problem& p, int64_t b, int64_t c, int64_t i) {
  const float v = value_of(p, b, c, i);
  return has_gate_in(p) ? v * gate_in_of(p, b, c, i) : v;
}
HYENA_BODY float output_gradient(const Problem& p, int64_t b, int64_t c, int64_t i) {
  const float dy = load(p.dy, p.dtype, b, c, i);
  return has_gate_out(p) ? dy * gate_out_of(p, b, c, i) : dy;
}

HYENA_BODY float read(const Problem& p, int source, int64_t b, int64_t c, int64_t i) {
  if (c >= p.channels || i >= p.length) return 0;
  if (source == kInput) return gated_input(p, b, c, i);
  if (source == kOutputGradient) return output_gradient(p, b, c, i);
  return load(p.k, kFloat32, 0, c, i);
}

HYENA_BODY void write(const Problem& p, int sink, int64_t b, int64_t c, int64_t i, float value) {
  if (c >= p.channels || i >= p.length) return;
  if (sink == kKernelGradient) return store(p.dk, kFloat32, 0, c, i, value);
  if (sink == kInputGradient) {
    float du = value + p.skip[c] * output_gradient(p, b, c, i);
    if (has_gate_in(p)) {
      store(p.dgate_in, p.dtype, b, c, i, masked(p, b, i, du * value_of(p, b, c, i)));
      du *= gate_in_of(p, b, c, i);
    }
    return store(p.dv, p.dtype, b, c, i, du);
  }
  const float y = value + p.skip[c] * gated_input(p, b, c, i);
  if (sink == kGateGradient) return store(p.dgate_out, p.dtype, b, c, i, y * load(p.dy, p.dtype, b, c, i));
  store(p.y, p.dtype, b, c, i, has_gate_out(p) ? y * gate_out_of(p, b, c, i) : y);
}

HYENA_BODY int log2_of(int power) {
  int log = 0;
  while (power > 1) power >>= 1, log++;
  return log;
}
HYENA_BODY Tile row_tile(const Problem& p) {
  return {p.plan.rows, log2_of(p.lanes), p.plan.row_radices, p.plan.row_roots};
}
HYENA_BODY Tile column_tile(const Problem& p) {
  return {p.plan.columns, log2_of(p.lanes * p.column_lanes), p.plan.column_radices, p.plan.column_roots};
}
HYENA_BODY int64_t points(const Problem& p) { return static_cast<int64_t>(p.plan.columns) * p.plan.rows; }

HYENA_BODY Twiddle root(const Plan& plan, int64_t j) {
  return multiply(fetch(plan.fine + (j & 1023)), fetch(plan.coarse + (j >> 10)));
}
HYENA_BODY Twiddle twist(const Plan& plan, int64_t i) {
  return multiply(fetch(plan.twist_fine + (i & 1023)), fetch(plan.twist_coarse + (i >> 10)));
}
HYENA_BODY C twisted(const Problem& p, int source, int64_t b, int64_t c, int64_t i) {
  const float value = read(p, source, b, c, i);
  const Twiddle w = twist(p.plan, i);
  return {value * w.re, value * w.im};
}
HYENA_BODY void write_untwisted(const Problem& p, int sink, int64_t b, int64_t c, int64_t i, C z) {
  const Twiddle w = twist(p.plan, i);
  write(p, sink, b, c, i, (z.re * w.re + z.im * w.im) / static_cast<float>(points(p)));
}

HYENA_BODY C* scratch(const Problem& p, int region, int64_t tile) {
  return p.scratch + (region * p.tiles + tile) * points(p) * p.lanes;
}
// Point i of the kernel's transform: prepared, or in the scratch memory.
HYENA_BODY C& kernel_point(const Problem& p, int64_t channel, int64_t tile, int64_t i, int lane) {
  if (!p.spectrum) return scratch(p, kKernelRegion, tile)[i * p.lanes + lane];
  return p.spectrum[(channel / kSpectrumLanes * points(p) + i) * kSpectrumLanes + channel % kSpectrumLanes];
}

// Column transforms: tensor to scratch memory.
HYENA_BODY void columns_in(const Block& block, const Problem& p, const Launch& l) {
  const Plan& plan = p.plan;
  const int64_t blocks = plan.rows / p.column_lanes, tile = block.index / blocks;
  const int64_t left = block.index % blocks * p.column_lanes, channel = (l.first + tile) * p.lanes;
  const Tile t = column_tile(p);
  C *data = block.shared(), *out = scratch(p, l.region, tile);
  block.each(t.items(), [&](int item) {
    const int lane = t.lane(item);
    const int64_t i = static_cast<int64_t>(t.point(item)) * plan.rows + left + lane / p.lanes;
    data[t.at(item)] = twisted(p, l.task, l.batch, channel + lane % p.lanes, i);
  });
  forward(block, t);
  block.each(t.items(), [&](int item) {
    const int lane = t.lane(item), row = t.point(item);
    const Twiddle w = root(plan, plan.order[row] * (left + lane / p.lanes));
    out[(static_cast<int64_t>(row) * plan.rows + left) * p.lanes + lane] = data[t.at(item)] * w;
  });
}

// Column transforms back: scratch memory to tensor.
HYENA_BODY void columns_out(const Block& block, const Problem& p, const Launch& l) {
  const Plan& plan = p.plan;
  const int64_t blocks = plan.rows / p.column_lanes, tile = block.index / blocks;
  const int64_t left = block.index % blocks * p.column_lanes, channel = (l.first + tile) * p.lanes;
  const Tile t = column_tile(p);
  C *data = block.shared(), *in = scratch(p, l.region, tile);
  block.each(t.items(), [&](int item) {
    const int lane = t.lane(item), row = t.point(item);
    const Twiddle w = root(plan, plan.order[row] * (left + lane / p.lanes));
    data[t.at(item)] = times_conjugate(in[(static_cast<int64_t>(row) * plan.rows + left) * p.lanes + lane], w);
  });
  inverse(block, t);
  block.each(t.items(), [&](int item) {
    const int lane = t.lane(item);
    const int64_t i = static_cast<int64_t>(t.point(item)) * plan.rows + left + lane / p.lanes;
    write_untwisted(p, l.task, l.batch, channel + lane % p.lanes, i, data[t.at(item)]);
  });
}

// What a block does with one row of each of `lanes` transforms; the single kernel's is the only row.
struct Row {
  const Block& block;
  const Problem& p;
  int64_t channel, tile, start;  // the first channel, the tile in the scratch memory, the row's first point
  Tile t;
  HYENA_BODY Row(const Block& block, const Problem& p, int64_t channel, int64_t tile, int64_t row)
      : block(block), p(p), channel(channel), tile(tile), start(row * p.plan.rows), t(row_tile(p)) {}
  HYENA_BODY C& stored(int region, int item) const { return scratch(p, region, tile)[start * p.lanes + item]; }
  HYENA_BODY C& kernel(int item) const {
    return kernel_point(p, channel + t.lane(item), tile, start + t.point(item), t.lane(item));
  }
  HYENA_BODY void load(int region) const {
    C* data = block.shared();
    block.each(t.items(), [&](int item) { data[t.at(item)] = stored(region, item); });
  }
  HYENA_BODY void save(int region) const {
    C* data = block.shared();
    block.each(t.items(), [&](int item) { stored(region, item) = data[t.at(item)]; });
  }
  HYENA_BODY void times_kernel() const {
    C* data = block.shared();
    block.each(t.items(), [&](int item) { data[t.at(item)] = data[t.at(item)] * kernel(item); });
  }
  // With U stored and D at hand: sum D conj(U), store U K, and leave D conj(K).
  HYENA_BODY void combine(bool first) const {
    C* data = block.shared();
    block.each(t.items(), [&](int item) {
      const C d = data[t.at(item)], k = kernel(item), u = stored(kInputRegion, item);
      const C product = times_conjugate(d, u);
      C& sum = stored(kSumRegion, item);
      sum = first ? product : sum + product;
      stored(kInputRegion, item) = u * k;
      data[t.at(item)] = times_conjugate(d, k);
    });
  }
};

HYENA_BODY void rows(const Block& block, const Problem& p, const Launch& l) {
  const int64_t tile = block.index / p.plan.columns;
  const Row row(block, p, (l.first + tile) * p.lanes, tile, block.index % p.plan.columns);
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
  HYENA_BODY Whole(const Block& block, const Problem& p, int64_t channel, int64_t tile)
      : Row(block, p, channel, tile, 0) {}
  HYENA_BODY void read_forward(int source, int64_t batch) const {
    C* data = block.shared();
    block.each(t.items(), [&](int item) {
      data[t.at(item)] = twisted(p, source, batch, channel + t.lane(item), t.point(item));
    });
    forward(block, t);
  }
  HYENA_BODY void inverse_write(int sink, int64_t batch) const {
    inverse(block, t);
    C* data = block.shared();
    block.each(t.items(), [&](int item) {
      write_untwisted(p, sink, batch, channel + t.lane(item), t.point(item), data[t.at(item)]);
    });
  }
  HYENA_BODY void prepare() const {
    read_forward(kKernel, 0);
    C* data = block.shared();
    block.each(t.items(), [&](int item) {
      if (!p.spectrum || channel + t.lane(item) < p.channels) kernel(item) = data[t.at(item)];
    });
  }
  HYENA_BODY void convolve(int64_t batch) const {
    read_forward(kInput, batch);
    times_kernel();
    inverse_write(kOutput, batch);
  }
  HYENA_BODY void backward(int64_t batch) const {
    read_forward(kInput, batch);
    save(kInputRegion);
    read_forward(kOutputGradient, batch);
    combine(batch == 0);
    inverse_write(kInputGradient, batch);
    if (!has_gate_out(p)) return;
    load(kInputRegion);
    inverse_write(kGateGradient, batch);
  }
};

HYENA_BODY void whole(const Block& block, const Problem& p, const Launch& l) {
  // With a prepared kernel all sequences are independent; else a block transforms its kernel once for all of them.
  const int64_t tile = block.index % l.tiles;
  const Whole work(block, p, (l.first + tile) * p.lanes, tile);
  if (l.task == kConvolve && p.spectrum) return work.convolve(block.index / l.tiles);
  work.prepare();
  if (l.task == kTransformKernel) return;
  for (int64_t batch = 0; batch < p.batch; batch++)
    l.task == kConvolve ? work.convolve(batch) : work.backward(batch);
  if (l.task == kConvolve) return;
  work.load(kSumRegion);
  work.inverse_write(kKernelGradient, 0);
}

}  // namespace gpu
}  // namespace hyena
