"""Calibration: scores, curves and errors by hand, and against scikit-learn."""

import numpy as np
import pytest
from scipy.special import logit, softmax
from sklearn.metrics import brier_score_loss

from evaluation_dart.statistics import calibration, estimates
from evaluation_dart.statistics.blocks import column_blocks, row_blocks


def test_by_hand():
    probability = np.array([0.1, 0.1, 0.6, 0.8])
    calls = calibration.binary_calls(logit(probability), np.array([0, 1, 1, 1]), row_blocks(4))
    assert calibration.brier(calls).value == pytest.approx((0.01 + 0.81 + 0.16 + 0.04) / 4)
    assert calibration.brier(calls).higher_is_better is False
    assert calibration.binned(probability, 2).tolist() == [0, 0, 1, 1]
    # Predicted 0.1 and observed 0.5; predicted 0.7 and observed 1
    assert calibration.calibration_error(calls, 2).value == pytest.approx((0.4 + 0.3) / 2)
    first, second = calibration.calibration_curve(calls, 2)
    assert (first["n"], first["predicted"], first["observed"]) == (2, pytest.approx(0.1), 0.5)
    assert (second["from"], second["to"]) == (pytest.approx(0.6), pytest.approx(0.8))
    assert (second["low"], second["method"]) == (None, "no interval: 2 single rows, fewer than 10")


def test_equal_probabilities_are_in_one_bin():
    assert calibration.binned(np.array([0.5, 0.5, 0.5, 0.2]), 10).tolist() == [1, 1, 1, 0]
    assert calibration.binned(np.full(5, 0.3)).tolist() == [0] * 5


@pytest.mark.parametrize("k", [2, 4])
def test_as_scikit_learn(k):
    rng = np.random.default_rng(0)
    logits, label = rng.normal(0, 2, (200, k)), rng.integers(k, size=200)
    calls = calibration.class_calls(logits, label, row_blocks(200))
    p = softmax(logits, axis=1)
    expected = brier_score_loss(label, p[:, 1]) if k == 2 else brier_score_loss(label, p, labels=range(k))
    assert calibration.brier(calls).value == pytest.approx(expected)
    if k == 4:
        assert calls.probability == pytest.approx(p.max(axis=1))
        assert (calls.happened == (p.argmax(axis=1) == label)).all()


def test_intervals_leave_out_blocks():
    rng = np.random.default_rng(0)
    blocks = column_blocks(np.arange(300) % 30, "values of block")
    p = rng.uniform(size=300)
    calls = calibration.binary_calls(logit(p), rng.uniform(size=300) < p, blocks)
    low, high, method = estimates.interval(calibration.brier(calls))
    assert low < calibration.brier(calls).value < high
    assert method.startswith("jackknife of 30 values of block")
    rows = calibration.calibration_curve(calls)
    assert [row["n"] for row in rows] == [30] * 10
    assert all(row["low"] <= row["observed"] <= row["high"] for row in rows)
    assert calibration.calibration_error(calls).why.startswith("no interval: a mean of absolute differences")
