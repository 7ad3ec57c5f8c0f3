"""The causal convolution for programs that are to run anywhere: real matrix products, and one length of transform.

ONNX has Fourier transforms, but few of its runtimes do, and onnxruntime takes no real transform of a length that it
learns from the input. Here a transform of N = rows * columns points is a product with a matrix from the left, one with
twiddle factors, and a product with a matrix from the right.
"""

import math
from typing import NamedTuple

import torch
from torch.nn import functional as F


class Complex(NamedTuple):
    """A complex tensor as two real ones: not every runtime has complex numbers."""

    real: torch.Tensor
    imag: torch.Tensor


def causal_convolution(u: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """``y[..., t] = sum_{s <= t} k[..., t - s] u[..., s]`` of (B, D, L) and (D, L), L being a number or a symbol.

    By the right-angle convolution (docs/long_convolution.md) of N points, the least power of two that is no less than
    the longest input: a shorter one costs as much.
    """
    length = u.shape[-1]
    exponent = (longest(length) - 1).bit_length()
    rows, columns = 1 << exponent // 2, 1 << (exponent + 1) // 2
    twist = _roots(torch.arange(rows * columns, device=u.device), 4 * rows * columns, u.dtype)

    def transformed(x: torch.Tensor) -> Complex:
        padded = F.pad(x, (0, rows * columns - length))
        turned = Complex(padded * twist.real, padded * twist.imag)
        return _transform(Complex(*(part.unflatten(-1, (rows, columns)) for part in turned)), rows, columns)

    product = _times(transformed(u), transformed(k))
    turned = Complex(*(part.flatten(-2) for part in _inverse(product, rows, columns)))
    y = turned.real * twist.real + turned.imag * twist.imag
    return y[..., :length] / (rows * columns)


def longest(length: int | torch.SymInt) -> int:
    """`length`, or the upper bound of a length that is a symbol of an export.

    Raises:
        ValueError: if there is no bound.
    """
    if not isinstance(length, torch.SymInt):
        return length
    bound = length.node.shape_env.bound_sympy(length.node.expr).upper
    if not bound.is_Integer:
        raise ValueError(
            "an ONNX program of the long convolution needs an upper bound of the length: "
            'give its dimension as torch.export.Dim("length", max=...)'
        )
    return int(bound)


def _roots(numerators: torch.Tensor, denominator: int, dtype: torch.dtype) -> Complex:
    """e^{2 pi i numerator / denominator}, computed in float64."""
    angle = (numerators % denominator).double() * (2 * math.pi / denominator)
    return Complex(angle.cos().to(dtype), angle.sin().to(dtype))


def _times(a: Complex, b: Complex) -> Complex:
    return Complex(a.real * b.real - a.imag * b.imag, a.real * b.imag + a.imag * b.real)


def _matrices(x: Complex, rows: int, columns: int, sign: int) -> tuple[Complex, Complex, Complex]:
    """The Fourier matrix of `rows` points, the twiddle factors and the Fourier matrix of `columns` points."""
    row, column = (torch.arange(size, device=x.real.device) for size in (rows, columns))
    found = (
        _roots(row[:, None] * row, rows, x.real.dtype),
        _roots(row[:, None] * column, rows * columns, x.real.dtype),
        _roots(column[:, None] * column, columns, x.real.dtype),
    )
    left, twiddles, right = (Complex(roots.real, sign * roots.imag) for roots in found)
    return left, twiddles, right


def _transform(x: Complex, rows: int, columns: int) -> Complex:
    """The transform of (..., rows, columns), n = columns * row + column; frequency f is at (f % rows, f // rows)."""
    left, twiddles, right = _matrices(x, rows, columns, sign=-1)
    return _from_right(_times(_from_left(left, x), twiddles), right)


def _inverse(x: Complex, rows: int, columns: int) -> Complex:
    """The inverse of [`_transform`], times rows * columns."""
    left, twiddles, right = _matrices(x, rows, columns, sign=1)
    return _from_left(left, _times(_from_right(x, right), twiddles))


def _from_left(matrix: Complex, x: Complex) -> Complex:
    return Complex(
        matrix.real @ x.real - matrix.imag @ x.imag,
        matrix.real @ x.imag + matrix.imag @ x.real,
    )


def _from_right(x: Complex, matrix: Complex) -> Complex:
    return Complex(
        x.real @ matrix.real - x.imag @ matrix.imag,
        x.real @ matrix.imag + x.imag @ matrix.real,
    )
