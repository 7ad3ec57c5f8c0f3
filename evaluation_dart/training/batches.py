"""Which labelled rows a step reads: functions of seed and epoch alone, so that a run can go on anywhere."""

import copy
from typing import Any

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset

from datasets_dart.alphabet import reverse_complement
from datasets_dart.errors import InputError

POOL = 50  # batches whose rows are sorted by length together


def epoch_batches(lengths: np.ndarray, batch_size: int, epoch: int, seed: int, by_length: bool) -> list[np.ndarray]:
    """Row numbers of each batch of an epoch, every row once; the last batch drawn may be smaller.

    Args:
        lengths: (n,) of the rows. by_length: sort each `POOL` batches' worth of the shuffled rows by length, so that
            a batch's rows are about as long as each other; the order of batches is shuffled again.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    if by_length:
        pools = [order[first : first + POOL * batch_size] for first in range(0, len(order), POOL * batch_size)]
        order = np.concatenate([pool[np.argsort(-lengths[pool], kind="stable")] for pool in pools])
    batches = [order[first : first + batch_size] for first in range(0, len(order), batch_size)]
    return [batches[place] for place in rng.permutation(len(batches))] if by_length else batches


def reversed_rows(rows: int, epoch: int, seed: int) -> np.ndarray:
    """(rows,) bool: which rows an epoch shows as their other strand."""
    return np.random.default_rng([seed, epoch, 1]).random(rows) < 0.5


def shares(batch: np.ndarray, process: int, processes: int, forward_rows: int) -> list[np.ndarray]:
    """This process's part of a batch, in forward passes of at most `forward_rows` rows; as many in each process.

    A pass may be empty where the batch does not divide evenly.
    """
    passes = -(-len(batch) // (processes * forward_rows))
    return np.array_split(batch[process::processes], passes)


class LabelledRows:
    """Sequences and labels of a split by row number, cut to their first `max_length` bases.

    Attributes:
        labels: (n,) int64 classes or (n, k) float32 of many labels; lengths: (n,).
        fresh: windows drawn anew each epoch (datasets_hyenadna.species.SpeciesWindows), of which labels follow.
    """

    def __init__(self, rows: Any, max_length: int, label: str = "label", fresh: Any = None):
        self.rows, self.max_length, self.label, self.fresh = rows, max_length, label, fresh
        if not len(rows):
            raise InputError("a split without rows: there is nothing to learn from, or to judge by")
        self.labels = np.array(rows[label][:], dtype=np.float32 if label == "labels" else np.int64)
        lengths = pc.utf8_length(rows.data.column("sequence")).to_numpy()
        self.lengths = np.minimum(lengths, max_length)

    def __len__(self) -> int:
        return len(self.rows)

    def relabelled(self, labels: np.ndarray) -> "LabelledRows":
        """The same rows with `labels[own]` in place of each row's own label."""
        rows = copy.copy(self)
        rows.labels = labels[self.labels]
        return rows

    def read(
        self, rows: np.ndarray, epoch: int | None = None, flip: np.ndarray | None = None
    ) -> tuple[list[str], np.ndarray]:
        """Sequences and labels of these rows; of an epoch's fresh windows where there are any."""
        if self.fresh is not None and epoch is not None:
            columns = self.fresh[(epoch * len(self) + rows).tolist()]
            sequences, labels = columns["sequence"], np.array(columns["label"])
        else:
            sequences, labels = self.rows[rows.tolist()]["sequence"], self.labels[rows]
        sequences = [sequence[: self.max_length] for sequence in sequences]
        if flip is not None:
            sequences = [
                reverse_complement(own) if turned else own for own, turned in zip(sequences, flip, strict=True)
            ]
        return sequences, labels


def limited(rows: Dataset, most: int | None) -> Dataset:
    """At most `most` rows, the same ones every time, in their order."""
    if most is None or len(rows) <= most:
        return rows
    chosen = np.random.default_rng(0).choice(len(rows), most, replace=False)
    return rows.select(np.sort(chosen).tolist()).flatten_indices()
