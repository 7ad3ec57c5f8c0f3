"""Results of task 2 motif by motif, and by families of motifs: of one model, and of two on the same backgrounds."""

import os
import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from datasets_dart.errors import InputError
from evaluation_dart.comparison import Comparison, Side
from evaluation_dart.records import Record
from evaluation_dart.report.row_properties import read_rows
from evaluation_dart.report.tables import about
from evaluation_dart.statistics import estimates, significance
from evaluation_dart.statistics.metrics import MotifMetrics, mean_over_backgrounds
from evaluation_dart.tasks.motif_footprinting import TASK, per_motif

MOTIF_COLUMNS = ("motif", "Motif")
FAMILY_COLUMNS = ("family", "TF family", "tf_family")
ABOUT = [("model", pa.string()), ("setting", pa.string())]
MOTIFS = pa.schema(
    [
        *ABOUT,
        ("motif", pa.string()),
        ("family", pa.string()),
        ("trials", pa.int64()),
        ("accuracy", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("p", pa.float64()),
        ("p_bh_over_motifs", pa.float64()),
        ("accuracy_vs_background", pa.float64()),
        ("method", pa.string()),
        ("record", pa.string()),
    ]
)
FAMILIES = pa.schema(
    [
        *ABOUT,
        ("family", pa.string()),
        ("motifs", pa.int64()),
        ("accuracy", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("p", pa.float64()),
        ("p_bh_over_families", pa.float64()),
        ("share_of_motifs_significant_bh", pa.float64()),
        ("method", pa.string()),
        ("record", pa.string()),
    ]
)
DIFFERENCES = pa.schema(
    [
        ("model_a", pa.string()),
        ("model_b", pa.string()),
        ("setting", pa.string()),
        ("motif", pa.string()),
        ("a", pa.float64()),
        ("b", pa.float64()),
        ("difference", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("p", pa.float64()),
        ("p_bh_over_motifs", pa.float64()),
        ("method", pa.string()),
    ]
)


def motif_table(record: Record, families: Mapping[str, str] | None = None) -> pa.Table:
    """One row for each motif (columns: `MOTIFS`): accuracy with its interval, p, and p corrected for all motifs.

    p is of the one-sided signed-rank test of the motif's score above its shuffle's, in which the signs of whole
    backgrounds are turned, both strands at once; `p_bh_over_motifs` is corrected by Benjamini and Hochberg's method.

    Args:
        families: motif -> family, see [`families_of`]; None: what the motifs' names say, see [`stem`].

    Raises:
        InputError: for a record of another task.
    """
    found = motifs_of(record)
    corrected = significance.benjamini_hochberg(found.p_value)
    rows = []
    for number, name in enumerate(found.motif.tolist()):
        low, high, method = estimates.interval(mean_over_backgrounds(found.wins[number]))
        against = None if found.accuracy_vs_background is None else float(found.accuracy_vs_background[number])
        rows.append(
            about(record)
            | {"motif": name, "family": family_of(name, families), "trials": found.n}
            | {"accuracy": float(found.accuracy[number]), "low": low, "high": high, "method": method}
            | {"p": float(found.p_value[number]), "p_bh_over_motifs": float(corrected[number])}
            | {"accuracy_vs_background": against}
        )
    return pa.Table.from_pylist(rows, schema=MOTIFS)


def family_table(record: Record, families: Mapping[str, str] | None = None) -> pa.Table:
    """One row for each family of motifs (columns: `FAMILIES`), the mean over its motifs, larger families first.

    p is of a mean accuracy of 1/2, one-sided, turning the signs of whole backgrounds. Motifs without a family are not
    in it.
    """
    found = motifs_of(record)
    of_motif = np.array([family_of(name, families) or "" for name in found.motif.tolist()])
    significant = significance.benjamini_hochberg(found.p_value) < 0.05
    names, counts = np.unique(of_motif[of_motif != ""], return_counts=True)
    if not len(names):
        raise InputError(f"{record.folder}: none of its motifs, such as {found.motif[0]}, has a family")
    names = names[np.argsort(-counts, kind="stable")]
    wins = np.stack([found.wins[of_motif == name].mean(axis=0) for name in names])
    p = significance.flipped(wins - 0.5)
    corrected = significance.benjamini_hochberg(p)
    rows = []
    for number, name in enumerate(names.tolist()):
        own = of_motif == name
        low, high, method = estimates.interval(mean_over_backgrounds(wins[number]))
        rows.append(
            about(record)
            | {"family": name, "motifs": int(own.sum()), "accuracy": float(wins[number].mean())}
            | {"low": low, "high": high, "method": method}
            | {"p": float(p[number]), "p_bh_over_families": float(corrected[number])}
            | {"share_of_motifs_significant_bh": float(significant[own].mean())}
        )
    return pa.Table.from_pylist(rows, schema=FAMILIES)


def motif_differences(comparison: Comparison) -> pa.Table:
    """One row for each motif of each pair of models on task 2 (columns: `DIFFERENCES`): which model knows which motif.

    p is two-sided, turning the signs of whole backgrounds, both strands at once, and corrected for all motifs of the
    pair by Benjamini and Hochberg's method.

    Raises:
        InputError: where no pair is of task 2, or two models have no motif or other backgrounds.
    """
    rows = []
    for pair in comparison.pairs:
        if pair.a.first.kind == "task" and pair.a.first.task == TASK.name:
            rows += differences_of(pair.a, pair.b)
    if not rows:
        raise InputError(f"none of the pairs is of {TASK.name}, which has motifs")
    return pa.Table.from_pylist(rows, schema=DIFFERENCES)


def differences_of(a: Side, b: Side) -> list[dict[str, object]]:
    """Rows of `DIFFERENCES` of two models; of several seeds, their mean."""
    names, wins = zip(*(mean_wins(own) for own in (a, b)), strict=True)
    shared, *places = np.intersect1d(*names, return_indices=True)
    if not len(shared) or wins[0].shape[1] != wins[1].shape[1]:
        raise InputError(f"{a.label} and {b.label} have no motif, or not the same backgrounds, in common")
    one, two = (own[place] for own, place in zip(wins, places, strict=True))
    p = significance.flipped(one - two, two_sided=True)
    corrected = significance.benjamini_hochberg(p)
    rows: list[dict[str, object]] = []
    for number, name in enumerate(shared.tolist()):
        apart = estimates.difference(mean_over_backgrounds(one[number]), mean_over_backgrounds(two[number]))
        low, high, method = estimates.interval(apart)
        rows.append(
            {"model_a": a.label, "model_b": b.label, "setting": a.first.setting, "motif": name}
            | {"a": float(one[number].mean()), "b": float(two[number].mean()), "difference": float(apart.value)}
            | {"low": low, "high": high, "method": method}
            | {"p": float(p[number]), "p_bh_over_motifs": float(corrected[number])}
        )
    return rows


def mean_wins(side: Side) -> tuple[np.ndarray, np.ndarray]:
    """Motifs, and how often each wins on each background, (motifs, backgrounds): mean over seeds."""
    found = [motifs_of(record) for record in side.records]
    return found[0].motif, np.mean([own.wins for own in found], axis=0)


def motifs_of(record: Record) -> MotifMetrics:
    """A record's results for each motif.

    Raises:
        InputError: for a record of another task.
    """
    if record.kind != "task" or record.task != TASK.name:
        raise InputError(f"{record.folder}: is of {record.task}, not of {TASK.name}")
    return per_motif(record.predictions(), record.protocol)


def families_of(path: str | os.PathLike[str], column: str | None = None) -> dict[str, str]:
    """motif -> family, from a table such as HOCOMOCO's list of motifs.

    Args:
        path: TSV, CSV or Parquet with a column motif (or Motif). column: of the families; by default family or
            TF family.

    Raises:
        InputError: for a column that there is not.
    """
    table = read_rows(path)
    names = [column] if column else list(FAMILY_COLUMNS)
    motif = next((name for name in MOTIF_COLUMNS if name in table.column_names), None)
    family = next((name for name in names if name in table.column_names), None)
    if motif is None or family is None:
        missing = " or ".join(names if motif else MOTIF_COLUMNS)
        raise InputError(f"{path}: no column {missing}; there are {', '.join(table.column_names)}")
    pairs = zip(table[motif].to_pylist(), table[family].to_pylist(), strict=True)
    return {str(name): str(own) for name, own in pairs if own is not None and str(own)}


def family_of(motif: str, families: Mapping[str, str] | None) -> str | None:
    """The family of a motif; None where a table of families does not have it."""
    return stem(motif) if families is None else families.get(motif)


def stem(motif: str) -> str:
    """The gene that a name of HOCOMOCO begins with, without its number: KLF of KLF4.H12CORE.0.P.B."""
    gene = re.split(r"[._]", motif)[0]
    return gene.rstrip("0123456789") or gene
