"""What a model's numbers are to be read beside: chance, models that know less, and other ways to the same answer."""

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from datasets_dart.errors import InputError
from evaluation_dart.models.kinds import RANDOM_WEIGHTS
from evaluation_dart.records import Record, estimates_of
from evaluation_dart.report.row_properties import as_floats, is_number, row_property
from evaluation_dart.tasks import TASKS
from evaluation_dart.tasks.base import outcomes_permuted, with_columns

PERMUTATIONS = 20
CHANCE_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("task", pa.string()),
        ("setting", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("labels_permuted_mean", pa.float64()),
        ("labels_permuted_least", pa.float64()),
        ("labels_permuted_most", pa.float64()),
        ("permutations", pa.int64()),
        ("record", pa.string()),
    ]
)
PERMUTED, TWIN, MARKOV, KMERS, GC, TRACK = (
    "labels permuted",
    "untrained twin",
    "Markov model",
    "k-mers",
    "GC content",
    "track, such as conservation",
)
MOTIFS, NETWORK, SCRATCH = "motif counts", "network from scratch", "twin without pretraining"
# What a model's id says that it is, where it is a control
IDS = {
    re.compile(r"^ab-initio/kmers-"): KMERS,
    re.compile(r"^ab-initio/gc-content"): GC,
    re.compile(r"^ab-initio/"): NETWORK,
    re.compile(r"^track/"): TRACK,
    re.compile(r"^local/motif-counts-"): MOTIFS,
    re.compile(r"^local/.*-order-\d+$"): MARKOV,
    re.compile(rf"({RANDOM_WEIGHTS}|-random|-untrained)$"): TWIN,
}
# The controls that a board should have, by what its setting needs of a model
EXPECTED = {
    "likelihoods": (PERMUTED, TWIN, MARKOV),
    "tokens": (PERMUTED, TWIN),
    "embeddings": (PERMUTED, TWIN, KMERS, GC),
    "predictions": (PERMUTED, SCRATCH, KMERS, GC),
}


class Chance(NamedTuple):
    """A metric with outcomes of other rows: mean, least and largest over permutations."""

    value: float
    low: float
    high: float
    permutations: int


class Orientation(NamedTuple):
    """How often two signed scores agree in sign.

    Attributes:
        agreeing: rows with the same sign. n: rows where both have one. share: agreeing / n.
    """

    agreeing: int
    n: int

    @property
    def share(self) -> float:
        """Of the rows that have two signs."""
        return self.agreeing / self.n if self.n else float("nan")


def control_kind(record: Mapping[str, Any]) -> str:
    """Which control the model of a record is; "" for a model proper."""
    model = record["model"]
    kind = next((kind for pattern, kind in IDS.items() if pattern.search(str(model["id"]))), "")
    if kind in (MARKOV, MOTIFS) and "parameters" in model:
        return ""  # a language model of such a name
    return SCRATCH if kind == TWIN and record["setting"] == "ab_initio" else kind


def expected_controls(task: str, setting: str) -> tuple[str, ...]:
    """The controls that a board of a task and setting should have."""
    if task not in TASKS or setting not in TASKS[task].settings:
        return (PERMUTED,)
    needs = TASKS[task].settings[setting].needs
    return EXPECTED[needs] + ((TRACK,) if TASKS[task].alleles and needs == "predictions" else ())


def controls_of(records: Iterable[Mapping[str, Any]]) -> dict[Any, tuple[str, ...]]:
    """Board (see [`board_of`]) -> the kinds of controls among its records, in the order in which they come."""
    found: dict[Any, dict[str, None]] = {}
    for record in records:
        kinds = found.setdefault(board_of(record), {})
        if kind := control_kind(record):
            kinds[kind] = None
    return {board: tuple(kinds) for board, kinds in found.items()}


def board_of(record: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """What records have in common whose values stand beside one another: task, setting, protocol and data."""
    return str(record["task"]), record["setting"], record["protocol"], record["dataset"]["fingerprint"]


def permuter(record: Record) -> Callable[[pa.Table, np.random.Generator], pa.Table] | None:
    """How outcomes of a record's predictions are permuted; None where that is not known."""
    if record.kind == "task":
        return TASKS.named(record.task).settings[record.setting].permute
    return outcomes_permuted("labels" if record.content.get("groups") else "label")


def chance(record: Record, permutations: int = PERMUTATIONS, seed: int = 0) -> dict[str, Chance]:
    """A record's metrics with the outcomes of its rows permuted, from its predictions only: what chance gives.

    Element and control, or motif and shuffle, change places in half of the pairs; labels, counts and effects become
    those of other rows. Metrics that are not defined in every permutation are left out.
    """
    permute = permuter(record)
    if permute is None:
        return {}
    predictions, rng = without_places(record.predictions()), np.random.default_rng(seed)
    found = [estimates_of(permute(predictions, rng), record.content) for _ in range(permutations)]
    names = [name for name in found[0] if all(name in own and math.isfinite(own[name].value) for own in found)]
    values = {name: np.array([own[name].value for own in found]) for name in names}
    return {
        name: Chance(float(own.mean()), float(own.min()), float(own.max()), permutations)
        for name, own in values.items()
    }


def chance_rows(record: Record) -> list[dict[str, Any]]:
    """Rows of `CHANCE_SCHEMA`: each metric beside its [`chance`], or nothing there where there is no control."""
    about = {name: getattr(record, name) for name in ("task", "setting")} | {"record": record.fingerprint}
    found, rows = chance(record), []
    for name, metric in record.metrics.items():
        row = about | {"model": record.model["id"], "metric": name}
        row |= {key: metric[key] for key in ("value", "low", "high")}
        if name in found:
            mean, least, most, permutations = found[name]
            row |= {"labels_permuted_mean": mean, "labels_permuted_least": least, "labels_permuted_most": most}
            row |= {"permutations": permutations}
        rows.append(row)
    return rows


def without_places(predictions: pa.Table) -> pa.Table:
    """Predictions all at one place: their metrics have the same values, and no intervals, which take long."""
    places = {"chrom": "chr1", "start": 0, "position": 0}
    columns = {
        name: pa.array([value] * predictions.num_rows, predictions[name].type)
        for name, value in places.items()
        if name in predictions.column_names
    }
    return with_columns(predictions, columns)


def orientation(
    record: Record,
    column: str,
    table: str | os.PathLike[str] | None = None,
    on: Sequence[str] | None = None,
    of: str = "effect",
) -> dict[str, Orientation]:
    """How often the signs of the effects of variants agree with those of a column that is known to be turned right.

    Effects that are turned wrong, in all rows or in those of one allele, show here, which no metric of a model can
    tell from a model that is wrong.

    Args:
        column, table, on: signed scores towards the effect allele, such as ChromBPNet's, see [`row_property`].
        of: the column of the predictions whose signs are compared.

    Returns:
        "all", and "allele 1", "allele 2": the rows whose effect is of that allele.

    Raises:
        InputError: for predictions without effects, a column that holds no numbers, or no row with two signs.
    """
    predictions = record.predictions()
    if of not in predictions.column_names or "effect_allele" not in predictions.column_names:
        raise InputError(f"{record.folder}: has no {of} of variants, whose signs could be compared")
    values = row_property(record, predictions, column, table, on=on)
    if not is_number(values):
        raise InputError(f"{record.folder}: column {column!r} does not hold numbers")
    one, two = np.sign(as_floats(predictions[of].combine_chunks())), np.sign(as_floats(values))
    both = np.isfinite(one) & np.isfinite(two) & (one != 0) & (two != 0)
    both &= predictions["used"].to_numpy().astype(bool)
    if not both.any():
        raise InputError(f"{record.folder}: no row has a sign of both {of} and {column}")
    allele = predictions["effect_allele"].to_numpy()
    parts = {"all": both, "allele 1": both & (allele == 1), "allele 2": both & (allele == 2)}
    return {name: Orientation(int((one == two)[own].sum()), int(own.sum())) for name, own in parts.items()}
