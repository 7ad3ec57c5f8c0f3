// GELU by its tanh approximation, x (1 + tanh z) / 2 = x sigmoid(2 z) with z = sqrt(2 / pi) (x + 0.044715 x^3), and its
// gradient, each in one pass. A number's result depends on nothing but the number.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "fft.h"

namespace hyena {
namespace HYENA_ARCH {

constexpr int kLanes = HYENA_LANES;
typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));

constexpr float kScale = 1.5957691216057308f;  // 2 sqrt(2 / pi)
constexpr float kCubic = 0.044715f;
constexpr int64_t kElementsOfAThread = 1 << 14;  // fewer are not worth a thread of their own

// e^t to float32's rounding: 2^n e^r with |r| <= log(2) / 2, e^r by a polynomial (Cephes). Where it would overflow or
// come near denormal numbers, that of the nearest t; NaN of NaN.
HYENA_INLINE Floats exponential(Floats t) {
  t = t > 88.0f ? Floats{} + 88.0f : t;
  t = t < -86.0f ? Floats{} - 86.0f : t;
  const Floats to_integer = Floats{} + 12582912.0f;  // 1.5 * 2^23, whose last bits are the integer that is added
  const Floats shifted = t * 1.44269504f + to_integer, n = shifted - to_integer;
  const Floats r = (t - n * 0.693359375f) + n * 2.12194440e-4f;
  Floats p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  return reinterpret_cast<Floats>(reinterpret_cast<Ints>(p) + (reinterpret_cast<Ints>(shifted) << 23));
}

// sigmoid(2 z)
HYENA_INLINE Floats share(Floats x, Floats squared) {
  return 1.0f / (1.0f + exponential(-kScale * x * (1.0f + kCubic * squared)));
}
HYENA_INLINE Floats gelu(Floats x) { return x * share(x, x * x); }
HYENA_INLINE Floats slope(Floats x) {
  const Floats squared = x * x, s = share(x, squared);
  return s + s * (1.0f - s) * x * (kScale * (1.0f + 3 * kCubic * squared));
}

HYENA_INLINE Floats some(const float* from, int64_t count) {
  Floats v = {};
  std::memcpy(&v, from, count * sizeof(float));
  return v;
}

// to = GELU of x, or where there is `dy` its gradient; `to` may be x or dy.
inline void run_gelu(const float* dy, const float* x, float* to, int64_t elements, int threads) {
  threads = static_cast<int>(std::min<int64_t>(threads, std::max<int64_t>(1, elements / kElementsOfAThread)));
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t i = 0; i < elements; i += kLanes) {
    const int64_t count = std::min<int64_t>(kLanes, elements - i);
    if (count == kLanes) {
      const Floats v = some(x + i, kLanes), result = dy ? some(dy + i, kLanes) * slope(v) : gelu(v);
      std::memcpy(to + i, &result, sizeof(result));
    } else {
      const Floats v = some(x + i, count), result = dy ? some(dy + i, count) * slope(v) : gelu(v);
      std::memcpy(to + i, &result, count * sizeof(float));
    }
  }
}

}  // namespace HYENA_ARCH
}  // namespace hyena
