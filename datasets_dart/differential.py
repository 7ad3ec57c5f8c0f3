"""Which elements one cell line has more open than the others, by DESeq2's model (spec section 4, steps 4 to 7).

DESeq2 (Love, Huber and Anders 2014) in the form of pydeseq2, which is the extra `deseq`: size factors, dispersions
and the Wald test are the same method as the original's R package; numbers agree to a few per cent, not to the bit.
"""

import os
import warnings
from typing import NamedTuple

import numpy as np

from datasets_dart.counts import CountMatrix
from datasets_dart.errors import InputError, MissingExtra
from datasets_dart.files import input_file, write_lines
from datasets_dart.formats.bed import Windows
from datasets_dart.formats.tables import read_table
from datasets_dart.peaks import sole_class

SIGNIFICANCE = 0.001  # adjusted p-value, as published
FOLD_CHANGE = 1.0  # log2, as published
TOP = 5000  # elements of each cell line in the zero-shot subset, as published
COLUMNS = ("peak", "baseMean", "log2FoldChange", "lfcSE", "stat", "pvalue", "padj")  # of the original's table


class Differential(NamedTuple):
    """One cell line against the others, one entry an element; nan where DESeq2 gives none (no read, or an outlier)."""

    base_mean: np.ndarray  # (n,) float64, mean of the normalised counts
    log2_fold_change: np.ndarray  # (n,) float64, unshrunken; positive: more open in the cell line
    standard_error: np.ndarray  # (n,) float64, of the fold change
    statistic: np.ndarray  # (n,) float64, Wald
    p_value: np.ndarray  # (n,) float64
    adjusted: np.ndarray  # (n,) float64, Benjamini-Hochberg after independent filtering


def differential_accessibility(matrix: CountMatrix, cell: str, num_proc: int | None = None) -> Differential:
    """`cell` against all other samples, design `~condition`, Wald test, on `num_proc` processes, by default one a core.

    About 4 ms of one core an element.

    Raises ValueError where `cell` or the others have no two samples, ImportError naming the extra to install.
    """
    try:
        import pandas
        from pydeseq2.dds import DeseqDataSet
        from pydeseq2.default_inference import DefaultInference
        from pydeseq2.ds import DeseqStats
    except ImportError:
        raise MissingExtra("differential accessibility", "deseq") from None
    ours = np.array([name == cell for name in matrix.cells()], dtype=bool)
    if ours.sum() < 2 or (~ours).sum() < 2:
        raise InputError(f"{cell}: {ours.sum()} samples against {(~ours).sum()} others; each side needs two or more")
    samples = [f"{row}" for row in range(len(ours))]
    counts = pandas.DataFrame(matrix.counts.T, index=samples, columns=[f"{row}" for row in range(len(matrix.counts))])
    metadata = pandas.DataFrame({"condition": np.where(ours, "cell", "other")}, index=samples)
    inference = DefaultInference(n_cpus=num_proc)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the fits' progress; a peak that cannot be fitted comes out as nan
        fitted = DeseqDataSet(counts=counts, metadata=metadata, design="~condition", inference=inference, quiet=True)
        fitted.deseq2()
        tested = DeseqStats(fitted, contrast=["condition", "cell", "other"], inference=inference, quiet=True)
        tested.summary()
    return Differential._make(tested.results_df[name].to_numpy(dtype=np.float64) for name in COLUMNS[1:])


def is_gained(result: Differential) -> np.ndarray:
    """(n,) bool: significantly more open in the cell line; nan is not."""
    return (result.adjusted < SIGNIFICANCE) & (result.log2_fold_change > FOLD_CHANGE)


def sole_gain(results: dict[str, Differential]) -> np.ndarray:
    """(n,) int8: index into `results` of the one cell line that gained each element, -1 where none or several did."""
    return sole_class(np.stack([is_gained(result) for result in results.values()]))


def top_elements(results: dict[str, Differential], protocol: str, top: int = TOP) -> np.ndarray:
    """(n,) int8: index of the cell line for whose zero-shot subset each element is chosen, -1 for none.

    The `top` elements of each cell line with the smallest adjusted p-value, ties in the file's order.
    protocol="paper": of all elements, those that the cell line has lost included; one that several chose is none's.
    protocol="fixed": of those that only this cell line gained, ties by the Wald statistic.
    """
    sole = sole_gain(results)
    chosen = np.zeros((len(results), len(sole)), dtype=bool)
    for code, result in enumerate(results.values()):
        if protocol == "paper":
            order = np.argsort(result.adjusted, kind="stable")  # nan last
            order = order[~np.isnan(result.adjusted[order])]
        else:
            order = np.lexsort((-result.statistic, result.adjusted))
            order = order[sole[order] == code]
        chosen[code, order[:top]] = True
    return sole_class(chosen)


def write_differential(path: str | os.PathLike[str], windows: Windows, result: Differential) -> None:
    """The original's table of one cell line: peak, baseMean, ..., padj, significant; nan as NA."""
    lines = [",".join([*COLUMNS, "significant"])]
    for peak, gained, values in zip(windows.names(), is_gained(result), zip(*result, strict=True), strict=True):
        numbers = ["NA" if np.isnan(value) else repr(float(value)) for value in values]
        lines.append(",".join([peak, *numbers, str(bool(gained))]))
    write_lines(path, lines)


def read_differential(path: str | os.PathLike[str]) -> tuple[list[str], Differential]:
    """Names of the elements and their results from a table of the original's columns, in any order of the columns.

    Its column `significant`, which in the original counts elements lost as well as gained, is not read.
    Raises ValueError naming file, line and value.
    """
    path = input_file(path)
    names, rows = [], []
    for line, row in read_table(path, COLUMNS[1:]):
        try:
            rows.append([float("nan") if row[name] in ("NA", "") else float(row[name]) for name in COLUMNS[1:]])
        except ValueError:
            raise InputError(f"{path}:{line}: not a row of DESeq2 results: {', '.join(row.values())}") from None
        names.append(row.get("peak", next(iter(row.values()))))
    if not rows:
        raise InputError(f"{path}: has no elements")
    return names, Differential(*np.array(rows).T)
