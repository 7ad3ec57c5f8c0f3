// What the CUDA kernels are given. Plain data, filled by cuda_backend.py.
#pragma once

#include <cstdint>

#include "fft.h"

namespace hyena {
namespace gpu {

using C = Complex<float>;

enum Dtype : int32_t { kFloat32 = 0, kBfloat16 = 1, kFloat16 = 2 };

struct Tensor {  // (batch, channel, position); data is null where there is no such tensor
  void* data;
  int64_t batch_stride, channel_stride, stride;
};

// n = columns * rows points; columns is 1 where a whole transform fits into shared memory.
struct Plan {
  int32_t columns, rows;
  uint64_t column_radices, row_radices;  // of the forward passes, in order, a byte each; an odd one first
  const Twiddle *column_roots, *row_roots;  // e^{-2 pi i j / columns}, e^{-2 pi i j / rows}
  const Twiddle* turns;   // (rows, columns): e^{-2 pi i f c / n} of column c and the frequency f of a column's output
  const Twiddle* twists;  // (rows, columns): e^{i pi t / 2n} of the position t = j rows + c of column c's point j
};

struct Problem {
  int64_t batch, channels, length;
  int32_t device, dtype;         // dtype is that of projected or v and the gates, y, gradients; all else is float32
  int32_t lanes, column_lanes;   // powers of two: channels, and adjacent columns of each, transformed side by side
  int32_t column_threads, row_threads;  // of a block, of columns and of rows
  int32_t shared_limit;                 // bytes of shared memory that a block may have
  int64_t tiles;                 // groups of `lanes` channels, or slices of them, that a region of scratch memory holds
  int32_t slices;                // of the batch, that one block's transforms go backward through side by side
  int32_t taps;                  // of the short convolution: 3; 0 where v and the gates are given as they are
  Tensor v, gate_in, gate_out, y, dy, dv, dgate_in, dgate_out, k, dk;
  Tensor projected, mask;  // (batch, 3 channels, position): what becomes gate_out, gate_in and v; mask (batch, 1, position)
  const float *short_weight, *short_bias;  // (3 channels, taps) and (3 channels)
  const float* skip;
  C* spectrum;  // of a prepared kernel: (channels / 8 rounded up, n, 8); null where k is to be transformed
  C* scratch;   // regions of (tiles, n, lanes) points
  Plan plan;
  void* stream;
};

}  // namespace gpu
}  // namespace hyena
