"""Components of the variance of task 1 with several shuffles: by hand, by scipy, and by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from evaluation_dart.statistics.blocks import row_blocks
from evaluation_dart.statistics.estimates import metric
from evaluation_dart.statistics.shuffles import components, several_shuffles_estimates, share_of_shuffles


def test_components_by_hand():
    # Elements with means 2, 5 and 8; within each the squares are 2, 2 and 8
    outcomes = np.array([[1.0, 3.0], [4.0, 6.0], [6.0, 10.0]])
    found = components(outcomes)
    assert found.of_shuffles == pytest.approx((2 + 2 + 8) / 3)  # 12 / (3 x (2 - 1))
    assert found.of_elements == pytest.approx(9 - 4 / 2)  # the means' variance is 9, of which 4 / 2 is the shuffles'
    assert found.share_of_shuffles == pytest.approx(4 / 11)
    assert share_of_shuffles(outcomes, row_blocks(3)).value == pytest.approx(4 / 11)
    assert share_of_shuffles(np.zeros((3, 2)), row_blocks(3)).why == "not defined: no outcome differs from another"


@settings(max_examples=40, deadline=None)
@given(arrays(float, st.tuples(st.integers(3, 8), st.integers(2, 5)), elements=st.integers(-9, 9).map(float)))
def test_the_ratio_is_that_of_an_analysis_of_variance(outcomes):
    if (outcomes == outcomes[:, :1]).all() or np.ptp(outcomes.mean(axis=1)) < 1e-9:
        return
    found, k = components(outcomes), outcomes.shape[1]
    between = k * outcomes.mean(axis=1).var(ddof=1)
    assert between / found.of_shuffles == pytest.approx(stats.f_oneway(*outcomes).statistic)


def test_accuracies_and_what_shuffles_add_by_hand():
    score = np.array([1.0, 2.0, 3.0, 4.0] * 3)
    controls = np.array([[0.0, 2.0], [1.0, 0.0], [4.0, 5.0], [3.0, 5.0]] * 3)
    found = several_shuffles_estimates(score, controls, row_blocks(12))
    assert found["accuracy"].value == pytest.approx((0.5 + 1 + 0 + 0.5) / 4)
    assert found["mean_diff"].value == pytest.approx((0 + 1.5 - 1.5 + 0) / 4)
    # Within elements 1 and 4 of four the wins differ: 0.5 each; 3 x (0.5 + 0.5) / (12 x 1)
    assert found["accuracy_shuffle_error"].value == pytest.approx(np.sqrt(0.25 / 24))
    # The squares of the differences within elements: 2, 0.5, 0.5, 2
    assert found["mean_diff_shuffle_error"].value == pytest.approx(np.sqrt(15 / 12 / 24))
    variance = np.repeat([[0.5, 1.0, 0.0, 0.5]], 3, axis=0).var(ddof=1)
    assert found["accuracy_shuffle_share"].value == pytest.approx(0.25 / (0.25 + variance - 0.125))
    assert "0.102 of its standard error is the draw of 2 shuffles" in found["accuracy"].note
    assert found["wilcoxon_p"].n == 12


def test_intervals_of_shares_stay_within_them():
    rng = np.random.default_rng(1)
    outcomes = rng.normal(0, 1.0, (30, 1)) + rng.normal(0, 0.3, (30, 2))
    found = metric(share_of_shuffles(outcomes, row_blocks(30)))
    assert 0 < found.low < found.value < found.high < 1
    alike = metric(share_of_shuffles(np.repeat(rng.normal(size=(12, 1)), 3, axis=1), row_blocks(12)))
    assert (alike.value, alike.low, alike.method) == (0, None, "no interval: all of the variance is of one kind")


def test_the_error_of_shuffles_is_what_new_shuffles_show():
    """The spread of the accuracy over draws of the shuffles, the elements being the same."""
    rng = np.random.default_rng(0)
    element = rng.normal(0.3, 1.0, 400)

    def accuracy():
        controls = rng.normal(0.0, 1.0, (400, 3))
        return several_shuffles_estimates(element, controls, row_blocks(400))

    draws = [accuracy() for _ in range(60)]
    spread = np.std([own["accuracy"].value for own in draws], ddof=1)
    assert np.mean([own["accuracy_shuffle_error"].value for own in draws]) == pytest.approx(spread, rel=0.2)


def test_what_has_no_variances():
    with pytest.raises(ValueError, match="5 elements with 1 shuffles: variances need two of each"):
        several_shuffles_estimates(np.zeros(5), np.zeros((5, 1)), row_blocks(5))
    with pytest.raises(ValueError, match="not finite"):
        several_shuffles_estimates(np.zeros(2), np.array([[0, np.nan], [0, 0]]), row_blocks(2))
