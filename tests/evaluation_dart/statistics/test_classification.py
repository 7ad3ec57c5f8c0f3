"""Dataset-level metrics of classifiers against scikit-learn, and their intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, roc_auc_score

from evaluation_dart.statistics.blocks import Blocks, genome_blocks, row_blocks
from evaluation_dart.statistics.classification import (
    accuracy,
    block_confusion,
    confusion,
    f1_macro,
    f1_weighted,
    matthews_correlation,
)
from evaluation_dart.statistics.estimates import interval, metrics_of
from evaluation_dart.statistics.metrics import classification_estimates, label_estimates
from evaluation_dart.statistics.scores import auroc_by_label

CALLS = st.integers(2, 4).flatmap(
    lambda k: st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), min_size=1, max_size=60).map(
        lambda pairs: (k, np.array(pairs))
    )
)


@pytest.mark.filterwarnings("ignore:A single label was found")
@settings(deadline=None)
@given(CALLS)
def test_metrics_are_scikit_learns(case):
    k, pairs = case
    called, label = pairs.T
    counts = confusion(called, label, k)
    assert accuracy(counts) == pytest.approx(accuracy_score(label, called))
    assert matthews_correlation(counts) == pytest.approx(matthews_corrcoef(label, called), abs=1e-12)
    for average, ours in (("macro", f1_macro), ("weighted", f1_weighted)):
        expected = f1_score(label, called, labels=range(k), average=average, zero_division=0)
        assert ours(counts) == pytest.approx(expected)


def test_a_call_that_is_no_class_is_wrong():
    called, label = np.array([0, 1, 9, -1]), np.array([0, 1, 1, 0])
    counts = confusion(called, label, 2)
    assert counts.tolist() == [[1, 0, 1], [0, 1, 1]]
    assert accuracy(counts) == 0.5
    of_blocks = block_confusion(called, label, 2, Blocks(np.array([0, 1, 0, 1]), "blocks"))
    assert of_blocks.tolist() == [[[1, 0, 0], [0, 0, 1]], [[0, 0, 1], [0, 1, 0]]]


def test_mean_of_batches_is_not_the_metric_of_the_test_set():
    """What the original reports (spec 6.0): batches of one class each have a Matthews' correlation of 0."""
    label = np.repeat([0, 1], 64)
    batches = [matthews_correlation(confusion(part, part, 2)) for part in np.split(label, 2)]
    assert np.mean(batches) == 0
    assert matthews_correlation(confusion(label, label, 2)) == 1


def test_intervals_hold_the_value_and_neighbours_widen_them():
    rng = np.random.default_rng(0)
    block = np.repeat(np.arange(20), 50)
    label = rng.integers(2, size=1000)
    called = np.where(rng.random(20)[block] < 0.7, label, 1 - label)  # whole blocks are right or wrong
    of_genome = genome_blocks(np.full(1000, "chr1"), block * 1_000_000)
    rows, blocks = (
        metrics_of(classification_estimates(called, label, ("no", "yes"), own)) for own in (row_blocks(1000), of_genome)
    )
    for metrics in (rows, blocks):
        assert all(metric["low"] < metric["value"] < metric["high"] for metric in metrics.values())
    assert set(rows) == {"accuracy", "mcc", "f1_macro", "f1"}
    assert rows["mcc"]["method"] == "jackknife of 500 groups of single rows, t(499), Fisher's z"
    assert blocks["mcc"]["method"] == "jackknife of 20 1-Mb blocks of the genome, t(19), Fisher's z"
    width = [metrics["mcc"]["high"] - metrics["mcc"]["low"] for metrics in (rows, blocks)]
    assert width[1] > 3 * width[0]
    assert blocks["mcc"]["iid"] == {name: rows["mcc"][name] for name in ("low", "high", "method")}
    with pytest.raises(ValueError, match="label 2 is none of"):
        classification_estimates(called, label + 1, ("no", "yes"), of_genome)


def test_auroc_of_many_labels():
    rng = np.random.default_rng(1)
    scores, labels = rng.integers(0, 9, (300, 70)).astype(float), rng.integers(0, 2, (300, 70))
    labels[:, 3] = 0
    areas = auroc_by_label(scores, labels)
    assert np.isnan(areas[3])
    for column in (0, 1, 69):
        assert areas[column] == pytest.approx(roc_auc_score(labels[:, column], scores[:, column]))
    groups = {"TF": range(3), "HM": [3]}
    blocks = genome_blocks(np.full(300, "chr8"), np.arange(300) * 100_000)
    estimates = label_estimates(scores, labels, groups, blocks)
    assert estimates["median_auroc_TF"].value == np.median(areas[:3])
    # Without a block, the median area is that of the rows that are left
    left = blocks.code != 7
    assert estimates["median_auroc"].without[7] == pytest.approx(
        np.nanmedian(auroc_by_label(scores[left], labels[left]))
    )
    low, high, method = interval(estimates["median_auroc_TF"])
    assert low < np.median(areas[:3]) < high
    assert method == "jackknife of 30 1-Mb blocks of the genome, t(29), logit scale"
    assert metrics_of(estimates)["median_auroc_HM"].method == (
        "not defined: no label has both a positive and a negative row"
    )
