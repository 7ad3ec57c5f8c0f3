import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evaluation_dart.statistics.intervals import (
    block_bootstrap_interval,
    exact_interval,
    genome_blocks,
    normal_interval,
)
from evaluation_dart.statistics.metrics import paired_likelihood_metrics


def test_exact_interval_of_textbook_cases():
    # 0 of n: upper end 1 - 0.025 ** (1 / n); n of n mirrors it
    assert exact_interval(0, 10) == pytest.approx((0.0, 1 - 0.025**0.1))
    assert exact_interval(10, 10) == pytest.approx((0.025**0.1, 1.0))
    low, high = exact_interval(7, 10)
    assert stats.binom.sf(6, 10, low) == pytest.approx(0.025)
    assert stats.binom.cdf(7, 10, high) == pytest.approx(0.025)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_exact_interval_holds_the_proportion(case):
    wins, n = case
    low, high = exact_interval(wins, n)
    assert 0 <= low <= wins / n <= high <= 1


def test_normal_interval():
    # DART-Eval's DNABERT-2 accuracy: 1.96 sqrt(0.876 * 0.124 / 4697708)
    low, high = normal_interval(0.876, 2 * 2_348_854)
    assert high - low == pytest.approx(2 * 1.959964 * 1.5206e-4, rel=1e-4)


def test_genome_blocks():
    chrom = np.array(["chr2", "chr1", "chr1", "chr1", "chr2"])
    start = np.array([5, 999_999, 1_000_000, 10, 1_999_999])
    assert genome_blocks(chrom, start).tolist() == [2, 0, 1, 0, 3]


def test_block_bootstrap_resamples_whole_blocks():
    # Ten blocks of equal values, half of them 0, half 1: a replicate is the mean of ten draws of 0 and 1, and the
    # binomial distribution of ten has its 2.5 and 97.5 percent points at 2 and 8
    values, blocks = np.tile(np.repeat([0.0, 1.0], 10), 5), np.repeat(np.arange(10), 10)
    interval = block_bootstrap_interval(lambda v: v.mean(), values, blocks)
    assert interval is not None
    assert tuple(map(float, interval)) == pytest.approx((0.2, 0.8))
    assert block_bootstrap_interval(lambda v: v.mean(), values[:90], blocks[:90]) is None  # nine blocks
    independent = block_bootstrap_interval(lambda v: v.mean(), values, np.arange(100))
    assert 0.38 < independent[0] < 0.45 < 0.55 < independent[1] < 0.62


def test_paired_metrics_by_hand():
    score = np.array([3.0, 1.0, 5.0, 2.0])
    control = np.array([1.0, 1.0, 6.0, -2.0])  # differences 2, 0, -1, 4: one tie, which is wrong
    metrics = paired_likelihood_metrics(score, control, np.array(["a", "a", "b", "b"]), np.array([0, 1, 2, 3]))
    assert metrics["accuracy"]["value"] == 0.5
    assert metrics["accuracy"]["n"] == 4
    assert (metrics["accuracy"]["low"], metrics["accuracy"]["high"]) == exact_interval(2, 4)
    assert metrics["mean_diff"]["value"] == 1.25
    assert metrics["median_diff"]["value"] == 1.0
    assert metrics["q25_diff"]["value"] == -0.25
    assert metrics["wilcoxon_statistic"]["value"] == 5.0  # ranks of 2 and 4 without the tie: 2 + 3
    assert metrics["wilcoxon_p"]["value"] == stats.wilcoxon([2.0, 0.0, -1.0, 4.0], alternative="greater").pvalue


def test_accuracy_by_block():
    # Five blocks of wins, five of losses: the interval is that of ten draws, however many pairs a block has
    score, chrom = np.tile(np.repeat([1.0, -1.0], 50), 5), np.repeat([f"chr{i}" for i in range(10)], 50)
    metrics = paired_likelihood_metrics(score, np.zeros(500), chrom, np.arange(500))
    accuracy, by_block = metrics["accuracy"], metrics["accuracy_by_block"]
    assert accuracy["value"] == by_block["value"] == 0.5
    assert (accuracy["low"], accuracy["high"]) == exact_interval(250, 500)
    assert (by_block["low"], by_block["high"]) == pytest.approx((0.2, 0.8))
    few = paired_likelihood_metrics(score[:100], np.zeros(100), chrom[:100], np.arange(100))["accuracy_by_block"]
    assert few["low"] is None
    assert "fewer than 10 blocks" in few["method"]


def test_paper_interval_is_narrower_and_says_so():
    rng = np.random.default_rng(0)
    score, control = rng.normal(size=(2, 200))
    where = np.array(["chr1"] * 200), np.arange(200)
    fixed = paired_likelihood_metrics(score, control, *where)["accuracy"]
    paper = paired_likelihood_metrics(score, control, *where, protocol="paper")["accuracy"]
    assert fixed["value"] == paper["value"]
    assert (paper["low"], paper["high"]) == normal_interval(paper["value"], 4_697_708)
    assert paper["high"] - paper["low"] < (fixed["high"] - fixed["low"]) / 50
    assert "too narrow" in paper["method"]


def test_all_ties():
    metrics = paired_likelihood_metrics(np.ones(5), np.ones(5), np.array(["c"] * 5), np.arange(5))
    assert metrics["accuracy"]["value"] == 0.0
    assert metrics["wilcoxon_p"]["value"] == 1.0
    assert metrics["mean_diff"]["low"] is None


def test_scores_must_be_finite_and_there():
    where = np.array(["c"] * 2), np.arange(2)
    with pytest.raises(ValueError, match=r"row 1, nan and 1\.0, are not finite"):
        paired_likelihood_metrics(np.array([0.0, np.nan]), np.ones(2), *where)
    with pytest.raises(ValueError, match="no pairs"):
        paired_likelihood_metrics(np.empty(0), np.empty(0), np.empty(0), np.empty(0))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=60), st.integers(0, 3))
def test_intervals_hold_the_value_of_the_accuracy(differences, contigs):
    score = np.array(differences)
    chrom = np.array([f"chr{i % (contigs + 1)}" for i in range(len(score))])
    metrics = paired_likelihood_metrics(score, np.zeros(len(score)), chrom, np.arange(len(score)) * 600_000)
    accuracy = metrics["accuracy"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    for metric in metrics.values():
        assert metric["low"] is None or metric["low"] <= metric["high"]
