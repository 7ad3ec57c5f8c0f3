"""Predictions made elsewhere (Enformer, a trained ChromBPNet, CADD): from a table, or a column of the variants' own.

The table has one row for each row of the dataset, with the columns that name a row (`id`; in task 4 `cell_type`,
`category` and `id`) and the columns of the predictions that the task has (`score`, `control_score`; `logit_{class}`;
`prediction`; `score1`, `score2`). Further rows and columns are passed over.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datasets_dart.errors import InputError
from datasets_dart.files import input_file, sha256
from datasets_dart.formats.tables import read_whole


class PredictionTable:
    """Rows of a table by what names them; suffixes: .tsv, .csv, either with .gz, and .parquet.

    Raises:
        FileNotFoundError: naming the file. InputError: if it cannot be read.
    """

    device_name = "as given"

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.name = f"table:{path}"
        self.table = read_whole(input_file(path))
        self.row_of: dict[tuple[str, ...], int] = {}
        self.keys: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        """What a record says of the table."""
        return {"id": f"table/{self.path.name.partition('.')[0]}", "revision": sha256(self.path.resolve())[:12]}

    def columns(self, batch: Mapping[str, Sequence[Any]], keys: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
        """Predictions of the rows of a batch of the dataset, (n,) float64 each.

        Raises:
            InputError: naming a column, or a row that the table lacks or has no number for.
        """
        self.index(tuple(keys), names)
        wanted = list(zip(*(map(str, batch[name]) for name in keys), strict=True))
        if absent := [name for name in wanted if name not in self.row_of]:
            raise InputError(f"{self.path}: no prediction for {self.shown(absent[0])}")
        rows = [self.row_of[name] for name in wanted]
        found = {name: self.numbers(name)[rows] for name in names}
        for name, values in found.items():
            if not np.isfinite(values).all():
                bad = int(np.flatnonzero(~np.isfinite(values))[0])
                raise InputError(f"{self.path}: {name} of {self.shown(wanted[bad])} is {values[bad]}")
        return found

    def index(self, keys: tuple[str, ...], names: Sequence[str]) -> None:
        """Find the rows by their names, once."""
        if absent := [name for name in (*keys, *names) if name not in self.table.column_names]:
            raise InputError(f"{self.path}: no column {absent[0]!r}; there must be {', '.join((*keys, *names))}")
        if keys == self.keys:
            return
        self.keys, self.row_of = keys, {}
        for number, key in enumerate(zip(*(map(str, self.table[name].to_pylist()) for name in keys), strict=True)):
            if key in self.row_of:
                raise InputError(f"{self.path}: {self.shown(key)} occurs a second time in row {number + 1}")
            self.row_of[key] = number

    def numbers(self, name: str) -> np.ndarray:
        """A column of numbers."""
        try:
            return np.asarray(pc.cast(self.table[name], pa.float64()))
        except pa.ArrowInvalid as error:
            raise InputError(f"{self.path}: column {name!r} does not hold numbers: {error}") from None

    def shown(self, key: tuple[str, ...]) -> str:
        """A row's name for a message."""
        return ", ".join(f"{name} {value}" for name, value in zip(self.keys, key, strict=True))


class VariantColumn:
    """A predictor's own column of the variant table, such as ChromBPNet's."""

    device_name = "as given"

    def __init__(self, column: str):
        self.column, self.name = column, f"column:{column}"

    def describe(self) -> dict[str, Any]:
        """What a record says of the column."""
        return {"id": f"table/{self.column}", "revision": "as-given"}

    def columns(self, batch: Mapping[str, Sequence[Any]], keys: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
        """Its scores speak for the effect allele, as the effects do. NaN where a variant that is not used has none.

        Raises:
            InputError: if the table has no such column, or holds no variants.
        """
        if tuple(names) != ("score1", "score2"):
            raise InputError(f"{self.name}: a column is of a table of variants")
        if self.column not in batch:
            raise InputError(f"the variants have no column {self.column!r}; there are {', '.join(batch)}")
        change, allele = np.array(batch[self.column], dtype=np.float64), np.array(batch["effect_allele"])
        return {name: np.where(allele == number, change, 0.0) for number, name in enumerate(names, 1)}
