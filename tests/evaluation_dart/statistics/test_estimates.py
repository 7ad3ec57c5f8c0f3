"""Intervals that allow for blocks: values worked out by hand, and when there is none."""

import numpy as np
import pytest
from scipy import stats

from evaluation_dart.statistics import estimates, significance
from evaluation_dart.statistics.blocks import Blocks, row_blocks

TEN = Blocks(np.repeat(np.arange(10), 10), "blocks")


def test_mean_of_equal_blocks_is_students_interval_of_block_means():
    values = np.random.default_rng(0).normal(size=100)
    of_blocks = values.reshape(10, 10).mean(axis=1)
    low, high = stats.t.interval(0.95, 9, of_blocks.mean(), of_blocks.std(ddof=1) / np.sqrt(10))
    found = estimates.mean(values, TEN)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.method == "jackknife of 10 blocks, t(9)"


def test_proportion_on_the_logit_scale():
    success = np.arange(100) % 10 < np.repeat([7, 8, 9, 6, 8, 7, 9, 8, 8, 10], 10)
    shares = success.reshape(10, 10).mean(axis=1)
    error = shares.std(ddof=1) / np.sqrt(10) / (0.8 * 0.2)
    ends = np.log(0.8 / 0.2) + np.array([-1, 1]) * stats.t.ppf(0.975, 9) * error
    found = estimates.proportion(success, TEN)
    assert (found.low, found.high) == pytest.approx(tuple(1 / (1 + np.exp(-ends))))


@pytest.mark.parametrize(("share", "ends"), [(1.0, (0.6915, 1.0)), (0.0, (0.0, 0.3085))])
def test_at_an_end_blocks_are_the_trials(share, ends):
    found = estimates.proportion(np.full(100, share), TEN)
    assert (found.low, found.high) == pytest.approx(ends, abs=1e-4)  # Clopper-Pearson: 10 of 10
    assert found.method == "Korn-Graubard, 10 blocks as trials"


def test_no_interval_says_why():
    nine = Blocks(np.repeat(np.arange(9), 10), "1-Mb blocks of the genome")
    assert estimates.mean(np.arange(90.0), nine) == (
        None,
        None,
        "no interval: 9 1-Mb blocks of the genome, fewer than 10",
    )
    positive = np.zeros(100, bool)
    positive[:12] = True  # in two blocks
    found = estimates.auroc(0.5, np.arange(100.0), positive, TEN)
    assert found.low is None
    assert found.method == "no interval: the rarer class has 12 rows in 2 blocks; 10 in 5 are needed"
    same = estimates.mean(np.ones(100), TEN)
    assert same.method == "no interval: every block says the same"


def test_median_holds_what_its_share_allows():
    values = np.arange(101.0)
    found = estimates.quantile(values, 0.5, row_blocks(101))
    share = estimates.proportion(values <= 50, row_blocks(101))
    assert found.low < 50 < found.high
    assert (found.high - found.low) / 101 == pytest.approx(share.high - share.low, abs=0.03)


def test_seeds_widen_the_interval_of_information():
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1], 50)
    clusters = np.stack([np.where(rng.random(100) < 0.1, 1 - label, label) for _ in range(4)], axis=1)
    blocks = Blocks(rng.permutation(100) % 10, "blocks")
    both = estimates.adjusted_mutual_information(np.array([0.4, 0.5, 0.6, 0.5]), label, clusters, blocks)
    rows = estimates.adjusted_mutual_information(np.array([0.5, 0.5, 0.5, 0.5]), label, clusters, blocks)
    assert both.low < rows.low < 0.5 < rows.high < both.high
    assert both.method.endswith("with the spread over 4 seeds")


def test_sign_flips_of_few_blocks_are_all_tried():
    difference = np.array([1.0, 2.0, 3.0, -0.5])
    # Signed ranks 2, 3, 4 and -1 give 8; only all four positive, 10, and these signs reach it.
    assert significance.sign_flip_p(difference, row_blocks(4)) == 2 / 16
    assert significance.sign_flip_p(difference, row_blocks(4), two_sided=True) == 4 / 16
    # As one block they are one draw.
    assert significance.sign_flip_p(difference, Blocks(np.zeros(4, int), "blocks")) == 1 / 2


def test_sign_flips_agree_with_wilcoxon_for_independent_rows():
    difference = np.random.default_rng(3).normal(0.15, 1, size=200)
    expected = stats.wilcoxon(difference, alternative="greater").pvalue
    assert significance.sign_flip_p(difference, row_blocks(200)) == pytest.approx(expected, abs=0.01)


def test_benjamini_hochberg():
    assert significance.benjamini_hochberg(np.array([0.01, 0.04, 0.03, 0.5])) == pytest.approx(
        [0.04, 0.16 / 3, 0.16 / 3, 0.5]
    )
