// What the CPU kernels are given: tensors with strides, and a plan of transforms.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "fft.h"

namespace hyena {

struct Strided {  // (batch, channel, position) floats; data is null where there is no such tensor
  float* data;
  int64_t batch_stride, channel_stride, stride;
};

struct Problem {
  int64_t batch, channels, length;
  int64_t transform_length;  // outputs from here on are computed by their definition
  int32_t threads;
  int32_t taps;     // of the short convolution in front; 0 where v and the gates are given
  Strided v, gate_in, gate_out, k, y, dy, dv, dgate_in, dgate_out, dk;
  // In place of v and the gates: 3 * channels inputs of the short convolution, which gives gate_out, gate_in and v in
  // this order, and the mask (batch, 1, position) of the gated input.
  Strided projected, mask, dprojected;
  float *skip, *dskip, *spectrum, *short_weight, *short_bias, *dshort_weight, *dshort_bias;
  // Of rows that others differ from, from position `start` on: the gated input and its convolution are kept from there.
  // Where there is `reference` (batch), each row is one of the others and begins at `start`: `before` it are the
  // projected inputs (references, 3 * channels, taps - 1), and what was kept is read.
  int64_t start;
  int64_t* reference;
  Strided before, kept_input, kept_convolved;
};

struct Transform {
  int64_t n;
  std::vector<int> radices;       // of the forward passes, in order
  std::vector<Twiddle> twiddles;  // e^{-2 pi i j / n}
  explicit Transform(int64_t n) : n(n), twiddles(n) {
    int64_t rest = n;
    for (int odd : {5, 3})
      while (rest % odd == 0) radices.push_back(odd), rest /= odd;
    int twos = 0;
    while ((int64_t{1} << twos) < rest) twos++;
    // As many eights as possible; what is left over is a 4, two 4s or a 2.
    while (twos > 0) {
      const int step = twos % 3 == 0 || twos > 4 ? 3 : twos >= 2 ? 2 : 1;
      radices.push_back(1 << step);
      twos -= step;
    }
    for (int64_t j = 0; j < n; j++) {
      const double angle = -2 * M_PI * j / n;
      twiddles[j] = {static_cast<float>(std::cos(angle)), static_cast<float>(std::sin(angle))};
    }
  }
};

struct Plan {  // n = columns.n * rows.n points; columns.n is 1 where all fits into the cache
  int64_t n;
  Transform columns, rows;
  std::vector<Twiddle> twist;        // e^{i pi j / 2n}
  std::vector<Twiddle> fine, coarse; // e^{-2 pi i j / n} and e^{-2 pi i 1024 j / n}
  std::vector<int64_t> order;        // frequency of each output of the column transform
  Plan(int64_t n, int64_t column_length)
      : n(n), columns(column_length), rows(n / column_length), twist(n), fine(1024), coarse(n / 1024 + 1),
        order(column_length) {
    auto root_of_unity = [](double turns) -> Twiddle {
      return {static_cast<float>(std::cos(2 * M_PI * turns)), static_cast<float>(std::sin(2 * M_PI * turns))};
    };
    for (int64_t j = 0; j < n; j++) twist[j] = root_of_unity(j / (4.0 * n));
    for (int64_t j = 0; j < 1024; j++) fine[j] = root_of_unity(-static_cast<double>(j) / n);
    for (size_t j = 0; j < coarse.size(); j++) coarse[j] = root_of_unity(-1024.0 * j / n);
    for (int64_t p = 0; p < columns.n; p++) {
      int64_t rest = p, stride = columns.n, frequency = 0, weight = 1;
      for (int radix : columns.radices) {
        stride /= radix;
        frequency += rest / stride * weight;
        rest %= stride;
        weight *= radix;
      }
      order[p] = frequency;
    }
  }
  HYENA_INLINE Twiddle root(int64_t j) const { return multiply(fine[j & 1023], coarse[j >> 10]); }
};

}  // namespace hyena
