"""Labelled rows of a split, as a training reads them: by row number, with the reverse complement of some."""

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset

from datasets_dart.alphabet import reverse_complement
from datasets_dart.errors import InputError
from evaluation_dart.tasks.base import centred_crop
from evaluation_dart.training.objective import Objective

if TYPE_CHECKING:
    import torch

    from evaluation_dart.training.embedding_cache import EmbeddingCache

# What a network reads: sequences, all first members of the rows before all second ones; or what a cache has of them.
Batch = Sequence[str] | Mapping[str, "torch.Tensor"]


class LabelledRows:
    """Sequences and labels of a split.

    Args:
        rows: a Dataset with the columns of `columns`, the members of a row (a pair has two).
        labels: (n,) int64 classes or float32 log counts, (n, 2) of pairs, (n, k) float32 of many labels.
        max_length: bases that are read of a sequence, from its start. window: bases around its centre.
        fresh: windows drawn anew each epoch (datasets_hyenadna.species.SpeciesWindows), with labels of their own.
        cache: embeddings of the rows, which are read in place of the sequences.
        nonpeaks: which rows of category "nonpeaks" an epoch reads, see [`order.thinned`].

    Attributes:
        lengths: (n,) bases that are read. nonpeak: (n,) bool.

    Raises:
        InputError: for no rows.
    """

    def __init__(
        self,
        rows: Dataset,
        labels: np.ndarray,
        columns: Sequence[str] = ("sequence",),
        *,
        max_length: int | None = None,
        window: int | None = None,
        fresh: Any = None,
        cache: "EmbeddingCache | None" = None,
        nonpeaks: str = "all",
    ):
        if not len(rows):
            raise InputError("a split has no rows: there is nothing to learn from, or to judge by")
        self.rows, self.labels, self.columns, self.max_length, self.window = rows, labels, columns, max_length, window
        self.fresh, self.cache, self.nonpeaks = fresh, cache, nonpeaks
        batches = rows.select_columns([columns[0]]).with_format("arrow").iter(1000)
        lengths = np.concatenate([pc.utf8_length(batch[columns[0]]).to_numpy() for batch in batches])
        self.lengths = np.minimum(lengths, window or max_length or lengths.max())
        self.nonpeak = np.zeros(len(rows), bool)
        if "category" in rows.column_names:
            self.nonpeak = np.array(rows["category"][:]) == "nonpeaks"

    def __len__(self) -> int:
        return len(self.rows)

    def read(
        self,
        rows: np.ndarray,
        epoch: int | None = None,
        flip: np.ndarray | None = None,
        bases: int | None = None,
    ) -> tuple[Batch, np.ndarray]:
        """What a network reads of these rows, and their labels; of an epoch's fresh windows where there are any.

        Args:
            flip: (rows,) bool, which are reverse-complemented. bases: that are read at most, from the start.
        """
        if self.cache is not None:
            from evaluation_dart.training.embedding_cache import stack

            members = zip(*(self.cache[row] for row in rows.tolist()), strict=True)
            return stack([own for member in members for own in member]), self.labels[rows]
        if self.fresh is not None and epoch is not None:
            found = self.fresh[(epoch * len(self) + rows).tolist()]
            labels = np.array(found["label"])
        else:
            found, labels = self.rows[rows.tolist()], self.labels[rows]
        sequences = [self._cut(sequence)[:bases] for column in self.columns for sequence in found[column]]
        if flip is not None:
            turned = zip(sequences, np.tile(flip, len(self.columns)), strict=True)
            sequences = [reverse_complement(own) if other else own for own, other in turned]
        return sequences, labels

    def sequences(self, rows: Sequence[int]) -> list[str]:
        """The sequences of these rows, as [`read`] orders them, whether or not there is a cache."""
        found = self.rows[list(rows)]
        return [self._cut(sequence) for column in self.columns for sequence in found[column]]

    def relabelled(self, labels: np.ndarray) -> "LabelledRows":
        """The same rows with `labels[own]` in place of each row's own label."""
        rows = copy.copy(self)
        rows.labels = labels[self.labels]
        return rows

    def _cut(self, sequence: str) -> str:
        return sequence[: self.max_length] if self.window is None else centred_crop(sequence, self.window)


def labelled_rows(
    dataset: Dataset, columns: Sequence[str], objective: Objective, split: str, **options: Any
) -> LabelledRows:
    """A split's rows with the labels that an objective asks for.

    Args:
        columns: of the dataset, that a model reads. options: of [`LabelledRows`].

    Raises:
        InputError: for no rows, more than one cell type of task 4, a label out of its range, or a log count that is
            not finite, naming the row.
    """
    if not len(dataset):
        raise InputError(f"split {split!r} is empty: there is nothing to learn from")
    if objective.kind == "pairs":
        labels = np.tile([1, 0], (len(dataset), 1))
    elif objective.kind == "classes":
        labels = np.array(dataset["label"][:])
        outside = np.flatnonzero((labels < 0) | (labels >= objective.outputs))
        if len(outside):
            wrong, row = labels[outside[0]], outside[0]
            raise InputError(f"split {split!r}, row {row}: label {wrong} is none of {objective.outputs} classes")
    else:
        cells = sorted(set(dataset["cell_type"][:])) if "cell_type" in dataset.column_names else []
        if len(cells) > 1:
            raise InputError(f"a model is trained for one cell type, not for {', '.join(cells)}: give its files")
        labels = np.array(dataset["log_counts"][:], dtype=np.float32)
        if not np.isfinite(labels).all():
            row = int(np.flatnonzero(~np.isfinite(labels))[0])
            raise InputError(f"split {split!r}, row {row}: log_counts is {labels[row]}")
    return LabelledRows(dataset, labels, columns, **options)


def limited(rows: Dataset, most: int | None) -> Dataset:
    """At most `most` rows, the same ones every time, in their order."""
    if most is None or len(rows) <= most:
        return rows
    chosen = np.random.default_rng(0).choice(len(rows), most, replace=False)
    return rows.select(np.sort(chosen).tolist()).flatten_indices()
