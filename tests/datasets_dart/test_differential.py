"""Differential accessibility, and which elements are chosen by it."""

from pathlib import Path

import numpy as np
import pytest

from datasets_dart.counts import CountMatrix
from datasets_dart.differential import (
    Differential,
    differential_accessibility,
    is_gained,
    read_differential,
    sole_gain,
    top_elements,
    write_differential,
)
from datasets_dart.formats.bed import Windows

CELLS = ("A", "B", "C")


def matrix(peaks=240):
    """Negative-binomial counts, three samples of each of three cell lines: peaks 0-19 open in A alone, 20-39 in A and
    B, 40-59 closed in A, 60-64 without a read."""
    rng = np.random.default_rng(7)
    start = np.arange(peaks) * 1000
    windows = Windows(np.full(peaks, "chr1", dtype=object), start, start + 500)
    mean = np.repeat(rng.gamma(4, 40, size=(peaks, 1)), 9, axis=1)
    mean[:20, :3] *= 8
    mean[20:40, :6] *= 8
    mean[40:60, :3] /= 8
    depth = rng.uniform(0.5, 2, size=9)
    counts = rng.negative_binomial(20, 20 / (20 + mean * depth))
    counts[60:65] = 0
    return CountMatrix(windows, [f"{cell}_{n}" for cell in CELLS for n in range(3)], counts)


def result(adjusted, change, statistic=None):
    values = np.zeros(len(adjusted))
    statistic = values if statistic is None else np.array(statistic, dtype=float)
    return Differential(values, np.array(change, dtype=float), values, statistic, values, np.array(adjusted))


def test_results_agree_with_those_of_r():
    pytest.importorskip("pydeseq2")
    folder = Path(__file__).parents[1] / "fixtures" / "task3" / "deseq2"
    counts = np.loadtxt(folder / "counts.csv", delimiter=",", dtype=np.int64)
    samples = [f"{cell}_{n}" for cell in "AB" for n in range(50)]
    ours = differential_accessibility(matrix(10)._replace(samples=samples, counts=counts), "B", 1)
    names, theirs = read_differential(folder / "results.csv")
    assert names == [f"gene{n}" for n in range(1, 11)]
    for name, tolerance in {"base_mean": 1e-9, "log2_fold_change": 0.02, "standard_error": 0.02}.items():
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=tolerance)
    np.testing.assert_allclose(np.log(ours.adjusted), np.log(theirs.adjusted), rtol=0.03)
    assert is_gained(ours).tolist() == is_gained(theirs).tolist()


def test_the_cell_line_that_gained_is_found():
    pytest.importorskip("pydeseq2")
    counts = matrix()
    results = {cell: differential_accessibility(counts, cell, 1) for cell in CELLS}
    alone = sole_gain(results)
    assert (alone[:20] == 0).all()
    assert (alone[20:40] != 0).mean() > 0.9
    assert (alone[40:60] != 0).all()
    assert (alone[60:] == -1).mean() > 0.95
    assert np.isnan(results["A"].adjusted[60:65]).all()
    np.testing.assert_allclose(results["A"].log2_fold_change[:20].mean(), 3, atol=0.4)


def test_too_few_samples_are_refused():
    pytest.importorskip("pydeseq2")
    counts = matrix()
    one = counts._replace(samples=["A_1"] + [f"B_{n}" for n in range(8)])
    with pytest.raises(ValueError, match="A: 1 samples against 8 others; each side needs two or more"):
        differential_accessibility(one, "A", 1)


def test_elements_lost_are_not_gained():
    lost = result([1e-9, 1e-9, 1e-3, np.nan, 1e-9], [-3, 3, 3, 3, 1])
    assert is_gained(lost).tolist() == [False, True, False, False, False]


def test_the_zero_shot_subset_of_the_original_holds_elements_lost():
    results = {
        "A": result([1e-9, 1e-8, 1e-7, 1e-6, 0.5, np.nan], [-3, 3, 3, 3, 3, 3], [-9, 8, 7, 6, 1, 0]),
        "B": result([1e-6, 1e-8, 0.5, 0.5, 1e-9, np.nan], [3, 3, 3, 3, 3, 3], [5, 8, 1, 1, 9, 0]),
    }
    assert top_elements(results, "paper", top=2).tolist() == [0, -1, -1, -1, 1, -1]
    assert top_elements(results, "fixed", top=2).tolist() == [1, -1, 0, 0, 1, -1]


def test_tables_are_read_back_and_the_column_significant_is_not_believed(tmp_path):
    windows = Windows(np.array(["chr1", "chr1"], dtype=object), np.array([0, 500]), np.array([500, 1000]))
    written = result([1e-9, np.nan], [-2.5, 0.1])
    write_differential(tmp_path / "A.csv", windows, written)
    names, read = read_differential(tmp_path / "A.csv")
    assert names == ["chr1:0-500", "chr1:500-1000"]
    np.testing.assert_equal(tuple(read), tuple(written))
    assert Path(tmp_path / "A.csv").read_text().splitlines()[2] == "chr1:500-1000,0.0,0.1,0.0,0.0,0.0,NA,False"
    header = '"peak","baseMean","log2FoldChange","lfcSE","stat","pvalue","padj","significant"'
    (tmp_path / "R.csv").write_text(f'{header}\n"chr1:0-500",9,-3,1,2,1e-6,1e-5,"yes"\n')
    assert is_gained(read_differential(tmp_path / "R.csv")[1]).tolist() == [False]


def test_bad_tables(tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("peak,baseMean\n")
    with pytest.raises(ValueError, match=r"bad\.csv:1: has no column log2FoldChange, lfcSE, stat, pvalue, padj"):
        read_differential(bad)
    bad.write_text("peak,baseMean,log2FoldChange,lfcSE,stat,pvalue,padj\nchr1:0-1,1,2,3,x,5,6\n")
    with pytest.raises(ValueError, match=r"bad\.csv:2: not a row of DESeq2 results"):
        read_differential(bad)
