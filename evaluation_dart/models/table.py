"""Predictions made elsewhere (Enformer, a trained ChromBPNet, CADD), scored from a table.

The table has one row for each row of the dataset, with the columns that name a row (`id`; in task 4 `cell_type`,
`category` and `id`) and the columns of the predictions that the task has (`score`, `control_score`; `logit_{class}`;
`prediction`; `score1`, `score2`). Further rows and columns are passed over.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset

from datasets_dart.errors import InputError
from evaluation_dart.records import KEYS

SUFFIXES = (".tsv", ".tsv.gz", ".csv", ".csv.gz", ".parquet")


class PredictionTable:
    """Rows of a table by what names them.

    Raises:
        FileNotFoundError: naming the file. ValueError: naming file, column and row at fault.
    """

    device_name = "as given"

    def __init__(self, path: str | os.PathLike[str], dataset: Dataset, task: str):
        self.path = Path(path)
        table = read_table(self.path)
        self.keys, self.scores = KEYS.get(task, ("id",)), score_columns(dataset, task)
        if absent := [name for name in (*self.keys, *self.scores) if name not in table.column_names]:
            raise InputError(
                f"{self.path}: no column {absent[0]!r}; {task} needs {', '.join((*self.keys, *self.scores))}"
            )
        named = zip(*(map(str, table[name].to_pylist()) for name in self.keys), strict=True)
        self.row_of: dict[tuple[str, ...], int] = {}
        for number, key in enumerate(named):
            if key in self.row_of:
                raise InputError(f"{self.path}: {self._named(key)} stands there a second time, in row {number + 1}")
            self.row_of[key] = number
        self.values: dict[str, np.ndarray] = {}
        for name in self.scores:
            try:
                column = pc.cast(table[name], pa.float64())
            except pa.ArrowInvalid as error:
                raise InputError(f"{self.path}: column {name!r} is not of numbers: {error}") from None
            self.values[name] = column.to_numpy()

    def columns(self, batch: Mapping[str, Sequence]) -> dict[str, np.ndarray]:
        """Predictions of the rows of a batch of the dataset.

        Raises:
            ValueError: naming a row that the table does not have, or has no number for.
        """
        wanted = list(zip(*(map(str, batch[name]) for name in self.keys), strict=True))
        if absent := [name for name in wanted if name not in self.row_of]:
            raise InputError(f"{self.path}: no prediction for {self._named(absent[0])}")
        rows = np.array([self.row_of[name] for name in wanted])
        found = {name: values[rows] for name, values in self.values.items()}
        for name, values in found.items():
            if not np.isfinite(values).all():
                bad = int(np.flatnonzero(~np.isfinite(values))[0])
                raise InputError(f"{self.path}: {name} of {self._named(wanted[bad])} is {values[bad]}")
        return found

    def _named(self, name: tuple[str, ...]) -> str:
        return ", ".join(f"{key} {value}" for key, value in zip(self.keys, name, strict=True))


def score_columns(dataset: Dataset, task: str) -> tuple[str, ...]:
    """The columns of a task's supervised predictions."""
    if task == "cell_type_elements":
        feature = dataset.features["label"]
        names = feature.names if isinstance(feature, ClassLabel) else sorted(set(dataset["label"][:]))
        return tuple(f"logit_{name}" for name in names)
    return {
        "regulatory_elements": ("score", "control_score"),
        "chromatin_activity": ("prediction",),
        "variant_effects": ("score1", "score2"),
    }[task]


def read_table(path: Path) -> pa.Table:
    """A table by the suffix of its name: tab- or comma-separated text with a header, plain or gzip, or Parquet.

    Raises:
        FileNotFoundError, ValueError: naming the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        if path.suffix == ".parquet":
            return pq.read_table(path)
        delimiter = "," if ".csv" in path.suffixes else "\t"
        return pyarrow.csv.read_csv(path, parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter))
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: {error}") from None
