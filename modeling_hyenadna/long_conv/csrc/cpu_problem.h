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

// How a transform is cut, by what an instruction set has: a butterfly of radix 8 needs more than 16 registers.
struct Shape {
  int radix;          // the largest that is usual: 4 or 8
  int64_t one_level;  // points up to which a transform is not cut into columns and rows
  bool operator==(const Shape& other) const { return radix == other.radix && one_level == other.one_level; }
};

inline Twiddle root_of_unity(double turns) {
  return {static_cast<float>(std::cos(2 * M_PI * turns)), static_cast<float>(std::sin(2 * M_PI * turns))};
}

// Many roots e^{2 pi i j / n}, rounded once, from two short tables.
class Roots {
 public:
  explicit Roots(int64_t n) : re_(2 * kFine + n / kFine), im_(re_.size()) {
    for (size_t j = 0; j < re_.size(); j++) {
      const double turns = j < kFine ? static_cast<double>(j) / n : static_cast<double>((j - kFine) * kFine) / n;
      re_[j] = std::cos(2 * M_PI * turns);
      im_[j] = std::sin(2 * M_PI * turns);
    }
  }
  Twiddle operator[](int64_t j) const {
    const size_t a = j % kFine, b = kFine + j / kFine;
    return {static_cast<float>(re_[a] * re_[b] - im_[a] * im_[b]), static_cast<float>(re_[a] * im_[b] + im_[a] * re_[b])};
  }

 private:
  static constexpr size_t kFine = 1024;
  std::vector<double> re_, im_;
};

struct Pass {
  int radix;
  int64_t stride;
  size_t first_twiddle;  // of stride * (radix - 1): e^{-2 pi i low r / (radix stride)} at low * (radix - 1) + r - 1
};

struct Transform {
  int64_t n;
  std::vector<Pass> passes;       // of the forward transform, in order
  std::vector<Twiddle> twiddles;
  std::vector<int64_t> order;     // frequency of each output
  Transform(int64_t n, int largest) : n(n), order(n) {
    std::vector<int> radices = radices_of(n, largest);
    int64_t stride = n;
    for (int radix : radices) {
      stride /= radix;
      passes.push_back({radix, stride, twiddles.size()});
      for (int64_t low = 0; low < stride; low++)
        for (int r = 1; r < radix; r++) twiddles.push_back(root_of_unity(-static_cast<double>(low * r) / (radix * stride)));
    }
    for (int64_t p = 0; p < n; p++) {
      int64_t rest = p, weight = 1;
      order[p] = 0;
      for (const Pass& pass : passes) {
        order[p] += rest / pass.stride * weight;
        rest %= pass.stride;
        weight *= pass.radix;
      }
    }
  }
  const Twiddle* table(const Pass& pass) const { return twiddles.data() + pass.first_twiddle; }

 private:
  static std::vector<int> radices_of(int64_t rest, int largest) {
    std::vector<int> radices;
    for (int odd : {5, 3})
      while (rest % odd == 0) radices.push_back(odd), rest /= odd;
    int twos = 0;
    while ((int64_t{1} << twos) < rest) twos++;
    while (twos > 0) {
      // As many eights as possible, and what is left over is a 4, two 4s or a 2; or fours, and one 8 if need be.
      const bool eight = largest == 8 ? twos % 3 == 0 || twos > 4 : twos % 2 == 1 && twos > 1;
      const int step = eight ? 3 : twos >= 2 ? 2 : 1;
      radices.push_back(1 << step);
      twos -= step;
    }
    return radices;
  }
};

constexpr int kColumns = 4;  // columns transformed together

struct Plan {  // n = columns.n * rows.n points; columns.n is 1 where there is one level
  int64_t n;
  Shape shape;
  Transform columns, rows;
  // e^{i pi j / 2n} of each point j, and e^{-2 pi i j f / n} of each column j and frequency f of it, in the order in which
  // they are used: [j / kColumns][row or output][j % kColumns].
  std::vector<Twiddle> twist, roots;
  Plan(int64_t n, Shape shape)
      : n(n), shape(shape), columns(column_length(n, shape), shape.radix), rows(n / columns.n, shape.radix), twist(n),
        roots(columns.n == 1 ? 0 : n) {
    const Roots quarter(4 * n);
    if (columns.n == 1) {
      for (int64_t j = 0; j < n; j++) twist[j] = quarter[j];
      return;
    }
    int64_t at = 0;
    for (int64_t low = 0; low < rows.n; low += kColumns)
      for (int64_t row = 0; row < columns.n; row++)
        for (int64_t column = low; column < low + kColumns; column++, at++) {
          twist[at] = quarter[row * rows.n + column];
          const Twiddle root = quarter[4 * (column * columns.order[row] % n)];
          roots[at] = {root.re, -root.im};
        }
  }

 private:
  // A power of two near the square root (of four, where that is the radix) that leaves rows of whole groups of columns.
  static int64_t column_length(int64_t n, Shape shape) {
    if (n <= shape.one_level) return 1;
    int64_t columns = 1;
    while (columns * columns < n) columns *= 2;
    while (n % columns || n / columns % kColumns || (shape.radix == 4 && !is_power_of_four(columns))) columns /= 2;
    return columns < 16 ? 1 : columns;  // of two passes at least
  }
  static bool is_power_of_four(int64_t n) {
    while (n % 4 == 0) n /= 4;
    return n == 1;
  }
};

}  // namespace hyena
