"""NaN and infinity are errors that name model and row."""

import numpy as np
import pytest

from evaluation_dart.scoring.finite import NotFinite, check_finite, stored_as

NAMES = ("chr1:0-5", "chr1:5-10")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(2,), (2, 3), (2, 3, 4)])
def test_model_and_row_are_named(value, shape):
    values = np.zeros(shape)
    check_finite(values, "model", NAMES.__getitem__)
    values[1] = value
    with pytest.raises(NotFinite, match=rf"^model: computes {value} for chr1:5-10: its weights or activations"):
        check_finite(values, "model", NAMES.__getitem__)


def test_no_rows():
    check_finite(np.empty(0), "model", NAMES.__getitem__)
    check_finite(np.empty((0, 3)), "model", NAMES.__getitem__)


def test_a_number_that_half_precision_cannot_hold():
    values = np.array([[1.0, 2.0], [3.0, 65520.0]], np.float32)
    np.testing.assert_array_equal(stored_as(values[:1], "float16", NAMES.__getitem__), [[1, 2]])
    with pytest.raises(ValueError, match=r"^chr1:5-10: float16 cannot hold 65520; float32 can"):
        stored_as(values, "float16", NAMES.__getitem__)
