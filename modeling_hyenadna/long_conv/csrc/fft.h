// Complex arithmetic and butterflies, for the host and for CUDA.
//
// Everything is templated on T, the type of a real number: float in a CUDA thread, a vector of channels on a CPU
// (one transform a lane). Twiddles are float. Direction S is -1 forward (e^{-i...}) and +1 inverse.
#pragma once

#if defined(__CUDACC__)
#define HYENA_INLINE __host__ __device__ __forceinline__
#else
#define HYENA_INLINE inline __attribute__((always_inline))
#endif

namespace hyena {

struct alignas(8) Twiddle {
  float re, im;
};

template <class T>
struct Complex {
  T re, im;
};
template <>
struct alignas(8) Complex<float> {  // read and written in one access by a GPU
  float re, im;
};

template <class T>
HYENA_INLINE Complex<T> operator+(Complex<T> a, Complex<T> b) {
  return {a.re + b.re, a.im + b.im};
}
template <class T>
HYENA_INLINE Complex<T> operator-(Complex<T> a, Complex<T> b) {
  return {a.re - b.re, a.im - b.im};
}
template <class T>
HYENA_INLINE Complex<T> operator*(Complex<T> a, Complex<T> b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
template <class T>
HYENA_INLINE Complex<T> operator*(Complex<T> a, Twiddle w) {
  return {a.re * w.re - a.im * w.im, a.re * w.im + a.im * w.re};
}
HYENA_INLINE Twiddle multiply(Twiddle a, Twiddle b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
template <class T>
HYENA_INLINE Complex<T> times_conjugate(Complex<T> a, Complex<T> b) {
  return {a.re * b.re + a.im * b.im, a.im * b.re - a.re * b.im};
}
template <class T>
HYENA_INLINE Complex<T> times_conjugate(Complex<T> a, Twiddle w) {
  return {a.re * w.re + a.im * w.im, a.im * w.re - a.re * w.im};
}
template <int S, class T>
HYENA_INLINE Complex<T> times_i(Complex<T> a) {  // a * (S i)
  if constexpr (S > 0) return {-a.im, a.re};
  return {a.im, -a.re};
}

template <int S, class T>
HYENA_INLINE void butterfly2(Complex<T>* v) {
  const Complex<T> a = v[0];
  v[0] = a + v[1];
  v[1] = a - v[1];
}

template <int S, class T>
HYENA_INLINE void butterfly3(Complex<T>* v) {
  const float c = -0.5f, s = S * 0.86602540378443865f;
  const Complex<T> sum = v[1] + v[2], difference = v[1] - v[2], first = v[0];
  const Complex<T> middle = {first.re + sum.re * c, first.im + sum.im * c};
  const Complex<T> turned = {-difference.im * s, difference.re * s};
  v[0] = first + sum;
  v[1] = middle + turned;
  v[2] = middle - turned;
}

template <int S, class T>
HYENA_INLINE void butterfly4(Complex<T>& a, Complex<T>& b, Complex<T>& c, Complex<T>& d) {
  const Complex<T> t0 = a + c, t1 = a - c, t2 = b + d, t3 = times_i<S>(b - d);
  a = t0 + t2;
  b = t1 + t3;
  c = t0 - t2;
  d = t1 - t3;
}

template <int S, class T>
HYENA_INLINE void butterfly5(Complex<T>* v) {
  const float c1 = 0.30901699437494745f, c2 = -0.80901699437494745f;
  const float s1 = S * 0.95105651629515357f, s2 = S * 0.58778525229247313f;
  const Complex<T> a = v[1] + v[4], b = v[2] + v[3], c = v[1] - v[4], d = v[2] - v[3], z = v[0];
  const Complex<T> p = {z.re + a.re * c1 + b.re * c2, z.im + a.im * c1 + b.im * c2};
  const Complex<T> q = {z.re + a.re * c2 + b.re * c1, z.im + a.im * c2 + b.im * c1};
  const Complex<T> e = {c.re * s1 + d.re * s2, c.im * s1 + d.im * s2};
  const Complex<T> f = {c.re * s2 - d.re * s1, c.im * s2 - d.im * s1};
  v[0] = z + a + b;
  v[1] = {p.re - e.im, p.im + e.re};
  v[4] = {p.re + e.im, p.im - e.re};
  v[2] = {q.re - f.im, q.im + f.re};
  v[3] = {q.re + f.im, q.im - f.re};
}

template <int S, class T>
HYENA_INLINE void butterfly8(Complex<T>* v) {
  const float h = 0.70710678118654752f;
  Complex<T> a0 = v[0] + v[4], a1 = v[1] + v[5], a2 = v[2] + v[6], a3 = v[3] + v[7];
  Complex<T> b0 = v[0] - v[4], b1 = v[1] - v[5], b2 = v[2] - v[6], b3 = v[3] - v[7];
  b2 = times_i<S>(b2);
  if constexpr (S < 0) {
    b1 = {(b1.re + b1.im) * h, (b1.im - b1.re) * h};
    b3 = {(b3.im - b3.re) * h, (-b3.re - b3.im) * h};
  } else {
    b1 = {(b1.re - b1.im) * h, (b1.im + b1.re) * h};
    b3 = {(-b3.re - b3.im) * h, (b3.re - b3.im) * h};
  }
  butterfly4<S>(a0, a1, a2, a3);
  butterfly4<S>(b0, b1, b2, b3);
  v[0] = a0, v[2] = a1, v[4] = a2, v[6] = a3;
  v[1] = b0, v[3] = b1, v[5] = b2, v[7] = b3;
}

template <int S, class T>
HYENA_INLINE void butterfly16(Complex<T>* v) {
  const float c = 0.92387953251128674f, s = S * 0.38268343236508977f, h = 0.70710678118654752f;
  const Twiddle w1 = {c, s}, w2 = {h, S * h}, w3 = {S * s, S * c};
  for (int i = 0; i < 4; i++) butterfly4<S>(v[i], v[i + 4], v[i + 8], v[i + 12]);
  v[5] = v[5] * w1, v[9] = v[9] * w2, v[13] = v[13] * w3;
  v[6] = v[6] * w2, v[10] = times_i<S>(v[10]), v[14] = times_i<S>(v[14] * w2);
  v[7] = v[7] * w3, v[11] = times_i<S>(v[11] * w2), v[15] = v[15] * Twiddle{-c, -s};
  for (int i = 0; i < 16; i += 4) butterfly4<S>(v[i], v[i + 1], v[i + 2], v[i + 3]);
  // Output 4 a + b stands where b * 4 + a belongs.
  for (int a = 0; a < 4; a++)
    for (int b = 0; b < a; b++) {
      const Complex<T> moved = v[4 * a + b];
      v[4 * a + b] = v[4 * b + a];
      v[4 * b + a] = moved;
    }
}

// A B points as A of B: B transforms of A points, turned by w^{ab}, then A of B. roots: cos and sin of 2 pi ab / A B.
template <int A, int B, int S, class T>
HYENA_INLINE void butterfly_of(Complex<T>* v, const Twiddle* roots);

template <int S, class T>
HYENA_INLINE void butterfly9(Complex<T>* v) {
  const Twiddle roots[] = {{1, 0}, {0.76604444311897804f, 0.64278760968653933f}, {0.17364817766693035f, 0.98480775301220806f},
                           {-0.5f, 0.86602540378443865f}, {-0.93969262078590838f, 0.34202014332566873f}};
  butterfly_of<3, 3, S>(v, roots);
}

template <int S, class T>
HYENA_INLINE void butterfly15(Complex<T>* v) {
  const Twiddle roots[] = {{1, 0},
                           {0.91354545764260090f, 0.40673664307580020f},
                           {0.66913060635885821f, 0.74314482547739424f},
                           {0.30901699437494742f, 0.95105651629515357f},
                           {-0.10452846326765347f, 0.99452189536827333f},
                           {-0.5f, 0.86602540378443865f},
                           {-0.80901699437494742f, 0.58778525229247313f},
                           {-0.97814760073380564f, 0.20791169081775934f},
                           {-0.97814760073380564f, -0.20791169081775934f}};
  butterfly_of<5, 3, S>(v, roots);
}

template <int R, int S, class T>
HYENA_INLINE void butterfly(Complex<T>* v) {
  static_assert(R == 2 || R == 3 || R == 4 || R == 5 || R == 8 || R == 9 || R == 15 || R == 16, "no butterfly of this radix");
  if constexpr (R == 2) butterfly2<S>(v);
  if constexpr (R == 3) butterfly3<S>(v);
  if constexpr (R == 4) butterfly4<S>(v[0], v[1], v[2], v[3]);
  if constexpr (R == 5) butterfly5<S>(v);
  if constexpr (R == 8) butterfly8<S>(v);
  if constexpr (R == 9) butterfly9<S>(v);
  if constexpr (R == 15) butterfly15<S>(v);
  if constexpr (R == 16) butterfly16<S>(v);
}

template <int A, int B, int S, class T>
HYENA_INLINE void butterfly_of(Complex<T>* v, const Twiddle* roots) {
  Complex<T> sums[B][A];
  for (int b = 0; b < B; b++) {
    for (int a = 0; a < A; a++) sums[b][a] = v[B * a + b];
    butterfly<A, S>(sums[b]);
    if (b > 0)
      for (int a = 1; a < A; a++) sums[b][a] = sums[b][a] * Twiddle{roots[a * b].re, S * roots[a * b].im};
  }
  for (int a = 0; a < A; a++) {
    Complex<T> column[B];
    for (int b = 0; b < B; b++) column[b] = sums[b][a];
    butterfly<B, S>(column);
    for (int b = 0; b < B; b++) v[a + A * b] = column[b];
  }
}

}  // namespace hyena
