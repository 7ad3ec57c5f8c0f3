"""Metrics that are not defined say why, and rounding does not make a number of them."""

import numpy as np
import pytest

from datasets_dart.errors import InputError
from evaluation_dart.records import completed
from evaluation_dart.scoring.clustering import principal_components
from evaluation_dart.scoring.embeddings import cosine_distance
from evaluation_dart.statistics.blocks import genome_blocks, row_blocks
from evaluation_dart.statistics.estimates import metrics_of
from evaluation_dart.statistics.metric import Metric
from evaluation_dart.statistics.metrics import classification_estimates, variant_estimates
from evaluation_dart.statistics.scores import averaged_spearman, pearson

N = 60
RNG = np.random.default_rng(0)
EFFECT = RNG.standard_normal(N)
BLOCKS = genome_blocks(np.full(N, "chr1", dtype=object), np.arange(1, N + 1) * 100)


@pytest.mark.parametrize("constant", [0.1, 0.0, -1e-300, 1e300, 1 / 3])
def test_a_constant_has_no_correlation(constant):
    for correlation in (pearson, averaged_spearman):
        assert np.isnan(correlation(np.full(N, constant), EFFECT))
        assert np.isnan(correlation(EFFECT, np.full(N, constant)))


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_a_correlation_does_not_depend_on_the_scale(scale):
    other = EFFECT + RNG.standard_normal(N)
    assert pearson(EFFECT * scale, other) == pytest.approx(np.corrcoef(EFFECT, other)[0, 1], rel=1e-12)


def test_scores_of_zero_have_no_direction():
    found = metrics_of(variant_estimates(np.zeros(N), None, EFFECT, BLOCKS))
    assert {name: metric.method for name, metric in found.items()} == {
        "pearson": "not defined: what is correlated is constant over these rows",
        "spearman": "not defined: what is correlated is constant over these rows",
        "direction_accuracy": "not defined: all scores are 0, and have no sign",
    }
    change = np.where(np.arange(N) < 10, 0.0, EFFECT)
    found = metrics_of(variant_estimates(change, None, EFFECT, row_blocks(N)))
    assert (found["direction_accuracy"].value, found["direction_accuracy"].n) == (1.0, N - 10)
    assert found["direction_accuracy"].method.endswith("; 10 scores of 0, which have no sign, left out")


def test_a_record_says_why_a_metric_is_missing():
    what = dict.fromkeys(("task", "split", "setting", "protocol", "recipe", "dataset"), "x") | {"model": {"id": "m"}}
    missing = Metric.undefined("of a constant", 3)
    record = completed(what, {"one": Metric(0.5, None, None, 3, "m"), "two": missing}, "cpu", 1, 1.0)
    assert (list(record["metrics"]), record["undefined"]) == (["one"], {"two": "not defined: of a constant"})
    with pytest.raises(InputError, match=r"^m: no metric has a value: two is not defined: of a constant"):
        completed(what, {"two": missing}, "cpu", 1, 1.0)


def test_too_few_blocks_have_no_interval_and_single_rows_are_named():
    label = np.tile([0, 1], N // 2)
    called = np.where(np.arange(N) < 5, 1 - label, label)
    few = metrics_of(classification_estimates(called, label, ("a", "b"), BLOCKS))
    assert few["mcc"].method == "no interval: 1 1-Mb blocks of the genome, fewer than 10"
    rows = metrics_of(classification_estimates(called, label, ("a", "b"), row_blocks(N)))
    assert rows["mcc"].method == "jackknife of 60 single rows, t(59), Fisher's z"


def test_components_of_vectors_far_from_zero():
    """Mean 1000 times the deviation, in float32: as in float64."""
    vectors = (RNG.standard_normal((200, 8)) * np.arange(1, 9) + 1000 * 8).astype(np.float32)
    exact = vectors.astype(np.float64) - vectors.astype(np.float64).mean(axis=0)
    singular = np.linalg.svd(exact, compute_uv=False)
    np.testing.assert_allclose(np.linalg.norm(principal_components(vectors, 4), axis=0), singular[:4], rtol=1e-8)


def test_a_vector_of_zeros_has_no_angle():
    one = np.ones((3, 4))
    np.testing.assert_allclose(cosine_distance(one, 2 * one), 0, atol=1e-15)
    two = one.copy()
    two[1] = 0
    with pytest.raises(InputError, match=r"^row 1: a vector of zeros has no cosine distance"):
        cosine_distance(one, two)
