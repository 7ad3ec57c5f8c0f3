import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evaluation_dart.statistics.blocks import genome_blocks, row_blocks
from evaluation_dart.statistics.estimates import metrics_of
from evaluation_dart.statistics.intervals import exact_interval, normal_interval
from evaluation_dart.statistics.metrics import (
    clustering_estimates,
    motif_estimates,
    motif_metrics,
    pair_classification_estimates,
    paired_likelihood_estimates,
    variant_estimates,
)


def paired_likelihood_metrics(score, control, chrom, start, protocol="fixed"):
    return metrics_of(paired_likelihood_estimates(score, control, genome_blocks(chrom, start), protocol))


def test_exact_interval_of_textbook_cases():
    # 0 of n: upper end 1 - 0.025 ** (1 / n); n of n mirrors it
    assert exact_interval(0, 10) == pytest.approx((0.0, 1 - 0.025**0.1))
    assert exact_interval(10, 10) == pytest.approx((0.025**0.1, 1.0))
    low, high = exact_interval(7, 10)
    assert stats.binom.sf(6, 10, low) == pytest.approx(0.025)
    assert stats.binom.cdf(7, 10, high) == pytest.approx(0.025)


@settings(deadline=None)
@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_exact_interval_holds_the_proportion(case):
    wins, n = case
    low, high = exact_interval(wins, n)
    assert 0 <= low <= wins / n <= high <= 1


def test_normal_interval():
    # DART-Eval's DNABERT-2 accuracy: 1.96 sqrt(0.876 * 0.124 / 4697708)
    low, high = normal_interval(0.876, 2 * 2_348_854)
    assert high - low == pytest.approx(2 * 1.959964 * 1.5206e-4, rel=1e-4)


def test_paired_metrics_by_hand():
    score = np.array([3.0, 1.0, 5.0, 2.0])
    control = np.array([1.0, 1.0, 6.0, -2.0])  # differences 2, 0, -1, 4: one tie, which is wrong
    metrics = paired_likelihood_metrics(score, control, np.array(["a", "a", "b", "b"]), np.array([0, 1, 2, 3]))
    assert metrics["accuracy"]["value"] == 0.5
    assert metrics["accuracy"]["n"] == 4
    assert metrics["accuracy"]["low"] is None  # two blocks
    assert (metrics["accuracy"]["iid"]["low"], metrics["accuracy"]["iid"]["high"]) == exact_interval(2, 4)
    assert metrics["mean_diff"]["value"] == 1.25
    assert metrics["median_diff"]["value"] == 1.0
    assert metrics["q25_diff"]["value"] == -0.25
    assert metrics["wilcoxon_statistic"]["value"] == 5.0  # ranks of 2 and 4 without the tie: 2 + 3
    # Signed ranks 2, 0 in one block and -1, 3 in the other: only as they are do the signs give 4
    assert metrics["wilcoxon_p"]["value"] == 1 / 4
    assert metrics["wilcoxon_p"]["method"].endswith("signs turned by 2 1-Mb blocks of the genome")
    paper = paired_likelihood_metrics(score, control, np.array(["a", "a", "b", "b"]), np.array([0, 1, 2, 3]), "paper")
    assert paper["wilcoxon_p"]["value"] == stats.wilcoxon([2.0, 0.0, -1.0, 4.0], alternative="greater").pvalue


def test_accuracy_is_that_of_blocks():
    # Five blocks of wins, five of losses: ten draws, however many pairs a block has
    score, chrom = np.tile(np.repeat([1.0, -1.0], 50), 5), np.repeat([f"chr{i}" for i in range(10)], 50)
    accuracy = paired_likelihood_metrics(score, np.zeros(500), chrom, np.arange(500))["accuracy"]
    assert accuracy["value"] == 0.5
    assert (accuracy["iid"]["low"], accuracy["iid"]["high"]) == exact_interval(250, 500)
    # Without a block the share is 4 or 5 of 9, whose logits are log(4 / 5) and its opposite
    reach = stats.t.ppf(0.975, 9) * np.sqrt(9 / 10 * 10) * np.log(5 / 4)
    assert (accuracy["low"], accuracy["high"]) == pytest.approx((1 / (1 + np.exp(reach)), 1 / (1 + np.exp(-reach))))
    assert accuracy["method"] == "jackknife of 10 1-Mb blocks of the genome, t(9), logit scale"
    few = paired_likelihood_metrics(score[:100], np.zeros(100), chrom[:100], np.arange(100))["accuracy"]
    assert few["low"] is None
    assert few["method"] == "no interval: 2 1-Mb blocks of the genome, fewer than 10"


def test_an_element_and_its_shuffle_are_one_unit():
    rng = np.random.default_rng(0)
    score = rng.normal(size=60)
    found = metrics_of(pair_classification_estimates(score, score, row_blocks(60)))  # each pair half right
    assert found["accuracy"]["value"] == 0.5
    assert found["accuracy"]["n"] == 120
    assert found["accuracy"]["method"] == "Korn-Graubard, 60 single pairs as trials"
    assert found["auroc"]["value"] == 0.5
    assert found["auroc"]["method"].startswith("Korn-Graubard, 60 single pairs")
    assert found["accuracy_paired"]["value"] == 0.0


def test_strands_of_a_background_are_one_draw_of_a_motif():
    """Two motifs, twelve backgrounds, both strands alike: one motif always wins, the other half the time."""
    background, motif, strand, kind = (
        column.reshape(-1)
        for column in np.meshgrid(np.arange(12), ["A", "B"], ["+", "-"], ["motif", "shuffled"], indexing="ij")
    )
    wins = np.where(motif == "A", 1.0, np.where(background % 2 == 0, 1.0, -1.0))
    score = np.where(kind == "motif", wins * (1 + background), 0.0)
    found = motif_metrics(background, motif, strand, kind, score, distances=True)
    assert found.accuracy.tolist() == [1.0, 0.5]
    assert found.p_value[0] == 1 / 2**12  # of 12 backgrounds, not of 24 trials
    metrics = metrics_of(motif_estimates(found))
    assert metrics["accuracy"]["value"] == 0.75
    assert metrics["accuracy"]["method"] == "jackknife of 12 backgrounds, t(11), logit scale"
    assert metrics["accuracy"]["iid"] is None
    assert metrics["q00_accuracy"]["low"] is None
    assert metrics["q00_accuracy"]["method"].startswith("no interval: chance spreads motifs apart")
    assert metrics["share_significant_bh"]["value"] == 0.5
    paper = motif_metrics(background, motif, strand, kind, score, distances=True, protocol="paper")
    assert paper.p_value[0] == stats.wilcoxon(np.repeat(np.arange(1, 13), 2), alternative="greater").pvalue
    accuracy = metrics_of(motif_estimates(paper, "paper"))["accuracy"]
    assert accuracy["honest"] == {name: metrics["accuracy"][name] for name in ("low", "high", "method")}


def test_mann_whitney_is_by_blocks():
    rng = np.random.default_rng(1)
    positive = np.arange(400) % 4 == 0
    change, where = rng.normal(size=400) + positive, np.arange(400) * 50_000
    blocks = genome_blocks(np.full(400, "chr1"), where)
    fixed = metrics_of(variant_estimates(change, positive, None, blocks))["mannwhitney_p"]
    assert fixed["method"].endswith("by DeLong's error of 20 1-Mb blocks of the genome, t(19)")
    assert 0 < fixed["value"] < 0.05
    paper = metrics_of(variant_estimates(change, positive, None, blocks, protocol="paper"))["mannwhitney_p"]
    expected = stats.mannwhitneyu(np.abs(change[positive]), np.abs(change[~positive]), alternative="greater").pvalue
    assert paper["value"] == expected
    few = metrics_of(variant_estimates(change, positive, None, genome_blocks(np.full(400, "chr1"), np.arange(400))))
    assert few["mannwhitney_p"]["method"] == "not defined: 1 1-Mb blocks of the genome, fewer than 10"


def test_information_has_the_published_interval_and_the_sound_one():
    rng = np.random.default_rng(0)
    label = np.repeat(["a", "b"], 100)
    clusters = np.stack([np.where(rng.random(200) < 0.2, 1 - (label == "a"), label == "a") for _ in range(5)], axis=1)
    blocks = genome_blocks(np.full(200, "chr1"), rng.permutation(200) * 100_000)
    fixed, paper = (
        metrics_of(clustering_estimates(label, clusters, blocks, protocol))["adjusted_mutual_information"]
        for protocol in ("fixed", "paper")
    )
    assert paper["honest"] == {name: fixed[name] for name in ("low", "high", "method")}
    assert "with the spread over 5 seeds" in fixed["method"]
    assert paper["method"].startswith("largest distance to the 2.5 and 97.5 % quantiles over 5 seeds, as published")


def test_paper_interval_is_narrower_and_says_so():
    rng = np.random.default_rng(0)
    score, control = rng.normal(size=(2, 200))
    where = np.array(["chr1"] * 200), np.arange(200) * 1_000_000
    fixed = paired_likelihood_metrics(score, control, *where)["accuracy"]
    paper = paired_likelihood_metrics(score, control, *where, protocol="paper")["accuracy"]
    assert fixed["value"] == paper["value"]
    assert (paper["low"], paper["high"]) == normal_interval(paper["value"], 4_697_708)
    assert paper["high"] - paper["low"] < (fixed["high"] - fixed["low"]) / 50
    assert "too narrow" in paper["method"]
    assert paper["honest"] == {name: fixed[name] for name in ("low", "high", "method")}


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
    assert accuracy["iid"]["low"] <= accuracy["value"] <= accuracy["iid"]["high"]
    for metric in metrics.values():
        assert metric["low"] is None or metric["low"] <= metric["value"] <= metric["high"]
