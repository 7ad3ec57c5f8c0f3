// The C++ operator for another processor against its definition in double: prints the largest error, relative to the
// largest value, of each output, for "B D L N" of every line of standard input. N: points of the transform. And of GELU
// and its gradient.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "cpu_problem.h"

extern "C" int hyena_forward(int, const hyena::Problem*);
extern "C" int hyena_backward(int, const hyena::Problem*);
extern "C" void hyena_gelu(int, const float*, const float*, float*, int64_t, int);

namespace {

struct Tensor {
  std::vector<float> values;
  hyena::Strided strided;
  Tensor(int64_t batch, int64_t channels, int64_t length, unsigned seed) : values(batch * channels * length) {
    unsigned state = seed;
    for (float& value : values) {
      state = state * 1664525u + 1013904223u;
      value = (state >> 8) / 8388608.0f - 1.0f;
    }
    strided = {values.data(), channels * length, 1, channels};  // channels side by side
  }
};

double error(const Tensor& found, const std::vector<double>& expected) {
  double largest = 0, difference = 0;
  for (size_t i = 0; i < expected.size(); i++) {
    largest = std::max(largest, std::abs(expected[i]));
    difference = std::max(difference, std::abs(found.values[i] - expected[i]));
  }
  return difference / largest;
}

void compare(int64_t batch, int64_t channels, int64_t length, int64_t points) {
  Tensor v(batch, channels, length, 1), in(batch, channels, length, 2), out(batch, channels, length, 3);
  Tensor k(1, channels, length, 4), dy(batch, channels, length, 5), skip(1, channels, 1, 6), dskip(1, channels, 1, 7);
  Tensor y = v, dv = v, din = v, dout = v, dk = k;
  for (Tensor* written : {&y, &dv, &din, &dout, &dk}) written->strided.data = written->values.data();
  hyena::Problem p = {};
  p.batch = batch, p.channels = channels, p.length = length, p.transform_length = points, p.threads = 1;
  p.v = v.strided, p.gate_in = in.strided, p.gate_out = out.strided, p.k = k.strided, p.y = y.strided;
  p.dy = dy.strided, p.dv = dv.strided, p.dgate_in = din.strided, p.dgate_out = dout.strided, p.dk = dk.strided;
  p.dk.batch_stride = p.k.batch_stride = 0;
  p.skip = skip.values.data(), p.dskip = dskip.values.data();
  hyena_forward(2, &p);
  hyena_backward(2, &p);
  std::vector<double> ey(y.values.size()), edv(ey.size()), edin(ey.size()), edout(ey.size()), edk(k.values.size());
  for (int64_t b = 0; b < batch; b++)
    for (int64_t c = 0; c < channels; c++) {
      auto at = [&](int64_t i) { return (b * length + i) * channels + c; };
      for (int64_t t = 0; t < length; t++) {
        double convolved = 0, correlated = 0;
        for (int64_t s = 0; s <= t; s++)
          convolved += double(k.values[(t - s) * channels + c]) * v.values[at(s)] * in.values[at(s)];
        for (int64_t s = t; s < length; s++)
          correlated += double(k.values[(s - t) * channels + c]) * dy.values[at(s)] * out.values[at(s)];
        const double u = double(v.values[at(t)]) * in.values[at(t)], g = double(dy.values[at(t)]) * out.values[at(t)];
        const double sum = convolved + skip.values[c] * u, du = correlated + skip.values[c] * g;
        ey[at(t)] = sum * out.values[at(t)];
        edout[at(t)] = sum * dy.values[at(t)];
        edv[at(t)] = du * in.values[at(t)];
        edin[at(t)] = du * v.values[at(t)];
        for (int64_t s = 0; s <= t; s++) edk[(t - s) * channels + c] += g * v.values[at(s)] * in.values[at(s)];
      }
    }
  std::vector<double> gelu(y.values.size()), slope(gelu.size());
  for (size_t i = 0; i < gelu.size(); i++) {
    const double x = v.values[i], scale = std::sqrt(2 / M_PI), tanh = std::tanh(scale * (x + 0.044715 * x * x * x));
    gelu[i] = x * (1 + tanh) / 2;
    slope[i] = dy.values[i] * (1 + tanh + x * (1 - tanh * tanh) * scale * (1 + 3 * 0.044715 * x * x)) / 2;
  }
  Tensor of = v, back = v;
  hyena_gelu(2, nullptr, v.values.data(), of.values.data(), of.values.size(), 1);
  hyena_gelu(2, dy.values.data(), v.values.data(), back.values.data(), back.values.size(), 1);
  for (double own : {error(y, ey), error(dv, edv), error(din, edin), error(dout, edout), error(dk, edk)})
    std::printf("%g ", own);
  std::printf("%g %g\n", error(of, gelu), error(back, slope));
}

}  // namespace

int main() {
  long long batch, channels, length, points;
  while (std::scanf("%lld %lld %lld %lld", &batch, &channels, &length, &points) == 4)
    compare(batch, channels, length, points);
}
