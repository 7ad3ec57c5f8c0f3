"""What a model computes is checked where it leaves the package: NaN and infinity are errors that name model and row.

A value that is missing for a known reason (a base that no token covers, an allele that is more tokens) is set to NaN
after this check, by the code that knows the reason, so that no reason is ever guessed from a NaN.
"""

from collections.abc import Callable

import numpy as np

from datasets_dart.errors import InputError


class NotFinite(InputError):
    """A model gave NaN or infinity; the message names the model and the row."""


def check_finite(values: np.ndarray, model: str, name: Callable[[int], object]) -> None:
    """Raise NotFinite naming the model, and the first row with NaN or infinity among its values.

    values: (n, ...) floating-point numbers; name: what to call a row, from its number.
    """
    bad = _bad_rows(values)
    if bad.any():
        row = int(bad.argmax())
        own = np.ravel(values[row])
        value = own[~np.isfinite(own)][0]
        raise NotFinite(f"{model}: computes {value} for {name(row)}: its weights or activations are not finite")


def stored_as(values: np.ndarray, dtype: str, name: Callable[[int], object]) -> np.ndarray:
    """(n, ...) values in another type; NaN stays NaN.

    Raises InputError naming the first row with a finite value that the type cannot hold.
    """
    with np.errstate(over="ignore"):
        stored = values.astype(dtype)
    lost = np.isfinite(values) & ~np.isfinite(stored)
    if lost.any():
        row = int(np.argwhere(lost)[0, 0])
        value = values[row][lost[row]].flat[0] if values.ndim > 1 else values[row]
        raise InputError(f"{name(row)}: {dtype} cannot hold {value:g}; float32 can")
    return stored


def _bad_rows(values: np.ndarray) -> np.ndarray:
    """(n,) bool: whether a row has NaN or infinity among its values."""
    if values.ndim == 1:
        return np.asarray(~np.isfinite(values))
    return np.asarray(~np.isfinite(values).all(axis=tuple(range(1, values.ndim))))
