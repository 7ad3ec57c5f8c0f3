"""Statistics without each block, beside the same computed from the rows that are left."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from evaluation_dart.statistics import jackknife
from evaluation_dart.statistics.blocks import Blocks, blocks_at, genome_blocks


@st.composite
def rows(draw):
    """Two columns with ties, classes of which every block has both, and blocks of unequal sizes."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    sizes = rng.integers(4, 12, size=draw(st.integers(3, 8)))
    code = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    one = rng.integers(0, draw(st.integers(2, 40)), size=len(code)).astype(float)
    positive = rng.random(len(code)) < 0.5
    for block in range(len(sizes)):
        positive[np.flatnonzero(code == block)[:2]] = [True, False]
    return one, one + rng.integers(-3, 4, size=len(code)), positive, Blocks(code, "blocks")


def each(statistic, blocks, *columns):
    """The statistic of the rows that are left without each block, in turn."""
    return [statistic(*(column[blocks.code != block] for column in columns)) for block in range(len(blocks))]


@settings(max_examples=60, deadline=None)
@given(rows())
def test_closed_forms_are_those_of_the_rows_left(given_rows):
    one, two, positive, blocks = given_rows
    pairs = {
        "mean": (jackknife.means_without(one, blocks), each(np.mean, blocks, one)),
        "auroc": (jackknife.auroc_without(one, positive, blocks), each(roc_auc_score, blocks, positive, one)),
        "auprc": (
            jackknife.average_precision_without(one, positive, blocks),
            each(average_precision_score, blocks, positive, one),
        ),
        "pearson": (
            jackknife.pearson_without(one, two, blocks),
            each(lambda x, y: np.corrcoef(x, y)[0, 1] if np.ptp(x) and np.ptp(y) else np.nan, blocks, one, two),
        ),
        "spearman": (
            jackknife.spearman_without(one, two, blocks),
            each(
                lambda x, y: (
                    np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1] if np.ptp(x) and np.ptp(y) else np.nan
                ),
                blocks,
                one,
                two,
            ),
        ),
    }
    for name, (ours, rows_left) in pairs.items():
        np.testing.assert_allclose(ours, rows_left, atol=1e-9, err_msg=name)


def test_standard_error_of_a_mean_of_independent_rows():
    values = np.array([1.0, 2.0, 4.0, 9.0])
    error = jackknife.standard_error(jackknife.means_without(values, Blocks(np.arange(4), "rows")))
    assert error == pytest.approx(values.std(ddof=1) / 2)


def test_degrees_of_freedom():
    equal = Blocks(np.repeat(np.arange(10), 7), "blocks")
    assert jackknife.degrees_of_freedom(equal) == pytest.approx(9)
    unequal = Blocks(np.array([0] * 98 + [1, 2]), "blocks")
    assert jackknife.degrees_of_freedom(unequal) == 1


def test_blocks_of_the_genome():
    chrom, start = np.array(["chr2", "chr1", "chr1", "chr2"], object), np.array([999_999, 5, 1_000_000, 10])
    blocks = genome_blocks(chrom, start)
    assert blocks.code.tolist() == [2, 0, 1, 2]
    assert blocks.name == "1-Mb blocks of the genome"
    some = blocks.take(np.array([0, 2]))
    assert (some.code.tolist(), some.numbers.tolist()) == ([1, 0], [1, 2])
    assert some.take(np.array([True, False])).numbers.tolist() == [2]


def test_rows_without_a_place_are_blocks_of_their_own():
    chrom, start = np.array(["chr1", None, "chr1", "chr2"], object), np.array([5.0, 7, 6, np.nan])
    blocks = genome_blocks(chrom, start)
    assert blocks.code.tolist() == [0, 1, 0, 2]
    assert blocks.name == "1-Mb blocks of the genome and 2 single rows"
    assert genome_blocks(np.array(["", ""]), np.array([-1, -1])).name == "single rows"
    assert blocks_at(None, None, 2).twice().code.tolist() == [0, 1, 0, 1]
    assert blocks_at(None, None, 2).twice().name == "single pairs"


def test_many_blocks_are_put_together():
    blocks = Blocks(np.arange(1000) // 2, "blocks")
    groups = blocks.at_most(50)
    assert set(groups.sizes.tolist()) == {20}
    assert groups.name == "groups of blocks"
    assert (groups.code[::2] == groups.code[1::2]).all()  # a block stays whole
    assert blocks.at_most(500) is blocks
