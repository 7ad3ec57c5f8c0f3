"""Intervals that allow for blocks: values worked out by hand, what they must hold, and when there is none."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evaluation_dart.statistics import estimates, significance
from evaluation_dart.statistics.blocks import Blocks, row_blocks
from evaluation_dart.statistics.estimates import difference, interval, mean_over_seeds, metric

TEN = Blocks(np.repeat(np.arange(10), 10), "blocks")


def test_mean_of_equal_blocks_is_students_interval_of_block_means():
    values = np.random.default_rng(0).normal(size=100)
    of_blocks = values.reshape(10, 10).mean(axis=1)
    low, high = stats.t.interval(0.95, 9, of_blocks.mean(), of_blocks.std(ddof=1) / np.sqrt(10))
    found = metric(estimates.mean(values, TEN))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.method == "jackknife of 10 blocks, t(9)"
    low, high = stats.t.interval(0.95, 99, values.mean(), values.std(ddof=1) / 10)
    assert (found.iid.low, found.iid.high) == pytest.approx((low, high))
    assert found.iid["method"] == "jackknife of 100 single rows, t(99)"
    assert found.honest is None


def test_proportion_on_the_logit_scale():
    success = np.arange(100) % 10 < np.repeat([7, 8, 9, 6, 8, 7, 9, 8, 8, 10], 10)
    left = (80 - success.reshape(10, 10).sum(axis=1)) / 90  # shares without each block
    logits = np.log(left / (1 - left))
    error = np.sqrt(9 / 10 * ((logits - logits.mean()) ** 2).sum())
    ends = np.log(0.8 / 0.2) + np.array([-1, 1]) * stats.t.ppf(0.975, 9) * error
    found = metric(estimates.proportion(success, TEN))
    assert (found.low, found.high) == pytest.approx(tuple(1 / (1 + np.exp(-ends))))
    exact = stats.binomtest(80, 100).proportion_ci()
    assert (found.iid["low"], found.iid["high"]) == pytest.approx((exact.low, exact.high), rel=1e-12)
    assert found.iid["method"] == "exact binomial (Clopper-Pearson)"


@pytest.mark.parametrize(("share", "ends"), [(1.0, (0.6915, 1.0)), (0.0, (0.0, 0.3085))])
def test_at_an_end_blocks_are_the_trials(share, ends):
    found = interval(estimates.proportion(np.full(100, share), TEN))
    assert (found.low, found.high) == pytest.approx(ends, abs=1e-4)  # Clopper-Pearson: 10 of 10
    assert found.method == "Korn-Graubard, 10 blocks as trials"


def test_at_an_end_of_an_area_the_rarer_class_is_the_trials():
    for statistic, fewest in ((estimates.auroc, 12), (estimates.average_precision, 20)):
        positive = np.arange(1000) < fewest
        found = interval(statistic(positive.astype(float), positive, row_blocks(1000)))
        assert (found.low, found.high) == pytest.approx((0.025 ** (1 / fewest), 1.0))  # Clopper-Pearson: all of them
    trials = interval(estimates.auroc(positive.astype(float), positive, row_blocks(1000))).method
    assert trials == "Korn-Graubard, 20 single rows that have the rarer class as trials"
    labels = np.stack([np.arange(1000) < n for n in (12, 20, 30)], axis=1)
    median = estimates.LabelAreas(labels.astype(float), labels.astype(int), row_blocks(1000)).median(range(3))
    assert interval(median).low == pytest.approx(0.025 ** (1 / 20))


def test_no_interval_says_why():
    nine = Blocks(np.repeat(np.arange(9), 10), "1-Mb blocks of the genome")
    found = metric(estimates.mean(np.arange(90.0), nine))
    assert (found.low, found.high) == (None, None)
    assert found.method == "no interval: 9 1-Mb blocks of the genome, fewer than 10"
    positive = np.zeros(100, bool)
    positive[:12] = True  # in two blocks
    found = interval(estimates.auroc(np.arange(100.0), positive, TEN))
    assert found.low is None
    assert found.method == "no interval: the rarer class has 12 rows in 2 blocks; 10 in 5 are needed"
    same = interval(estimates.mean(np.ones(100), TEN))
    assert same.method == "no interval: every block says the same"
    positive = np.arange(100) % 7 == 0  # 15, in all blocks
    assert interval(estimates.auroc(np.arange(100.0), positive, TEN)).low is not None
    assert interval(estimates.average_precision(np.arange(100.0), positive, TEN)).method.endswith("20 in 5 are needed")


def test_median_holds_what_its_share_allows():
    values = np.arange(101.0)
    median = estimates.quantile(values, 0.5, row_blocks(101))
    found, share = interval(median), interval(estimates.proportion(values <= 50, row_blocks(101)))
    assert found.low < 50 < found.high
    assert (found.high - found.low) / 101 == pytest.approx(share.high - share.low, abs=0.03)
    order = stats.quantile_test(values, p=0.5).confidence_interval(0.95)
    assert median.iid()[:2] == (order.low, order.high)
    # Of equal steps the density is the share of a step: half the rows, of standard error 0.05, over 1 / 101
    assert estimates.standard_error(median) == pytest.approx(101 * 0.05, rel=0.05)


def test_seeds_widen_the_interval_of_information():
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1], 50)
    clusters = np.stack([np.where(rng.random(100) < 0.1, 1 - label, label) for _ in range(4)], axis=1)
    blocks = Blocks(rng.permutation(100) % 10, "blocks")
    spread, none = (
        interval(estimates.mutual_information(np.array(by_seed), label, clusters, blocks))
        for by_seed in ([0.2, 0.5, 0.8, 0.5], [0.5, 0.5, 0.5, 0.5])
    )
    assert spread.low < none.low < 0.5 < none.high < spread.high
    assert ", with the spread over 4 seeds, t(" in spread.method


def test_difference_is_that_of_the_differences():
    one, two = np.random.default_rng(1).normal(size=(2, 100))
    paired = difference(estimates.mean(one, TEN), estimates.mean(two, TEN))
    direct = estimates.mean(one - two, TEN)
    assert interval(paired)[:2] == pytest.approx(interval(direct)[:2])
    assert interval(paired).method == "jackknife of 10 blocks, t(9), paired"
    expected = stats.ttest_1samp((one - two).reshape(10, 10).mean(axis=1), 0).pvalue
    assert estimates.p_value(paired) == pytest.approx(expected)
    assert estimates.p_value(paired, two_sided=False) == pytest.approx(
        expected / 2 if paired.value > 0 else 1 - expected / 2
    )
    same = difference(estimates.mean(one, TEN), estimates.mean(one, TEN))
    assert (same.value, interval(same).low) == (0, None)
    assert np.isnan(estimates.p_value(same))


def test_blocks_of_different_rows_meet_by_their_numbers():
    values, blocks = np.arange(110.0), Blocks(np.repeat(np.arange(11), 10), "blocks")
    one, two = (estimates.mean(values[first:], blocks.take(np.arange(first, 110))) for first in (0, 10))
    found = difference(one, two)  # the second lacks block 0
    assert len(found.blocks) == 11
    assert found.without[0] == pytest.approx(one.without[0] - two.value)
    assert found.without[1:] == pytest.approx(one.without[1:] - two.without)


def test_mean_over_seeds_has_both_sources():
    rng = np.random.default_rng(2)
    rows = rng.normal(size=100)
    exact = [estimates.mean(rows + shift, TEN) for shift in (-1.0, 0.0, 1.0)]  # seeds shift all rows alike
    found = mean_over_seeds(exact)
    of_rows = estimates.standard_error(exact[1])
    assert found.value == pytest.approx(rows.mean())
    assert estimates.standard_error(found) == pytest.approx(np.sqrt(of_rows**2 + 1 / 3))
    total = of_rows**2 + 1 / 3
    assert estimates.degrees_of_freedom(found) == pytest.approx(total**2 / (of_rows**4 / 9 + (1 / 3) ** 2 / 2))
    assert interval(found).method.startswith("jackknife of 10 blocks, with the spread over 3 seeds, t(")
    assert mean_over_seeds(exact[:1]) is exact[0]
    lost = mean_over_seeds([exact[0], estimates.no_interval(0.0, 100, "no interval: of some reason")])
    assert interval(lost).method == "no interval: of some reason"
    # Noise of each seed's own on each row is counted once
    noisy = mean_over_seeds([estimates.mean(rows + rng.normal(size=100), TEN) for _ in range(40)])
    assert estimates.standard_error(noisy) == pytest.approx(of_rows, rel=0.25)


def test_paper_has_the_published_interval_and_the_sound_one():
    found = estimates.proportion(np.arange(100) % 3 == 0, TEN)
    published = replace(found, published=estimates.Interval(0.3, 0.4, "as published"))
    shown = metric(published)
    assert (shown.low, shown.high, shown.method) == (0.3, 0.4, "as published")
    assert shown.honest == interval(found)._asdict()


@st.composite
def rows(draw):
    """Scores and classes in blocks of unequal sizes."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    sizes = rng.integers(3, 12, size=draw(st.integers(10, 25)))
    code = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    positive = rng.random(len(code)) < 0.5
    return rng.normal(size=len(code)).round(1) + positive, positive, Blocks(code, "blocks")


KINDS = {
    "proportion": lambda score, positive, blocks: estimates.proportion(score > 0, blocks),
    "mean": lambda score, positive, blocks: estimates.mean(score, blocks),
    "quantile": lambda score, positive, blocks: estimates.quantile(score, 0.25, blocks),
    "auroc": estimates.auroc,
    "auprc": estimates.average_precision,
    "pearson": lambda score, positive, blocks: estimates.pearson(score, score + 3 * positive, blocks),
    "spearman": lambda score, positive, blocks: estimates.spearman(score, score + 3 * positive, blocks),
    "f1": lambda score, positive, blocks: estimates.counted("f1", (score > 0).astype(int), positive * 1, 2, blocks),
    "mcc": lambda score, positive, blocks: estimates.counted("mcc", (score > 0).astype(int), positive * 1, 2, blocks),
}


@settings(max_examples=25, deadline=None)
@given(rows(), st.randoms())
@pytest.mark.parametrize("kind", KINDS)
def test_what_every_interval_is(kind, given_rows, random):
    score, positive, blocks = given_rows
    found = metric(KINDS[kind](score, positive, blocks))
    if found.low is not None:
        assert found.low <= found.value <= found.high
    order = np.array(random.sample(range(len(score)), len(score)))
    shuffled = metric(KINDS[kind](score[order], positive[order], Blocks(blocks.code[order], "blocks")))
    ends = [(own.value, own.low or 0, own.high or 0) for own in (found, shuffled)]
    assert ends[0] == pytest.approx(ends[1], rel=1e-7, abs=1e-9)
    if found.low is not None and kind not in ("auprc", "quantile"):  # of which every row once more tells more
        twice = metric(KINDS[kind](np.tile(score, 2), np.tile(positive, 2), Blocks(np.tile(blocks.code, 2), "blocks")))
        assert (twice.low, twice.high) == pytest.approx((found.low, found.high), rel=1e-3, abs=1e-3)


def test_sign_flips_of_few_blocks_are_all_tried():
    difference = np.array([1.0, 2.0, 3.0, -0.5])
    # Signed ranks 2, 3, 4 and -1 give 8; only all four positive, 10, and these signs reach it.
    assert significance.sign_flip_p(difference, row_blocks(4)) == 2 / 16
    assert significance.sign_flip_p(difference, row_blocks(4), two_sided=True) == 4 / 16
    # As one block they are one draw.
    assert significance.sign_flip_p(difference, Blocks(np.zeros(4, int), "blocks")) == 1 / 2


def test_sign_flips_agree_with_wilcoxon_for_independent_rows():
    difference = np.random.default_rng(3).normal(0.15, 1, size=200).round(1)
    assert (difference == 0).any()
    expected = stats.wilcoxon(difference, alternative="greater")
    assert significance.sign_flip_p(difference, row_blocks(200)) == pytest.approx(expected.pvalue, abs=0.01)
    turned_round = significance.sign_flip_p(difference[::-1], row_blocks(200))
    assert turned_round == significance.sign_flip_p(difference, row_blocks(200))
    assert significance.signed_ranks(difference).clip(0).sum() == expected.statistic


def test_benjamini_hochberg():
    assert significance.benjamini_hochberg(np.array([0.01, 0.04, 0.03, 0.5])) == pytest.approx(
        [0.04, 0.16 / 3, 0.16 / 3, 0.5]
    )
