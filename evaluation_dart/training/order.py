"""Which rows a step reads, epoch by epoch (DART-Eval spec sections 1.7 and 5c): row numbers and nothing else.

Everything is a function of seed and epoch. Nothing depends on the number of processes or on what was drawn before, so
that a run that was killed resumes with the same rows.
"""

import numpy as np

from datasets_dart.errors import InputError
from evaluation_dart.training.recipe import STRATEGIES, SupervisedTraining, Training

NONPEAK_SHARE = 10  # one in ten nonpeaks is read in an epoch of task 4
THINNINGS = ("all", "first_block", "block", "stride")
POOL = 50  # batches whose rows are sorted by length together


def thinned(n: int, epoch: int, how: str) -> np.ndarray:
    """Which of n nonpeaks an epoch reads: row numbers.

    "block": the (epoch mod 10)th tenth of the file, what the original's probing means to do; "first_block": the first
    tenth in every epoch, what it does (spec section 11); "stride": every tenth row, from epoch mod 10, as in its
    fine-tuning; "all".
    """
    if how == "all":
        return np.arange(n)
    turn = epoch % NONPEAK_SHARE
    if how == "stride":
        return np.arange(turn, n, NONPEAK_SHARE)
    if how not in THINNINGS:
        raise InputError(f"nonpeaks {how!r}: there are {', '.join(THINNINGS)}")
    bounds = np.round(np.linspace(0, n, NONPEAK_SHARE + 1)).astype(int)  # halves to even, as the original
    block = turn if how == "block" else 0
    return np.arange(bounds[block], bounds[block + 1])


def interleaved(lengths: list[int]) -> np.ndarray:
    """Stream and row of each step when streams are read side by side in proportion to their lengths: (sum, 2).

    Always from the stream of which the smallest part has been read; at equal parts, from the shorter one.
    """
    stream, total = np.repeat(np.arange(len(lengths)), lengths), np.repeat(lengths, lengths)
    row = np.concatenate([np.arange(length) for length in lengths])
    return np.stack([stream, row], axis=1)[np.lexsort((stream, total, row, row / total))]


def epoch_rows(
    nonpeak: np.ndarray, epoch: int, nonpeaks: str = "all", rng: np.random.Generator | None = None
) -> np.ndarray:
    """The rows of an epoch in their order: (m,) row numbers.

    Args:
        nonpeak: (n,) bool, which rows are nonpeaks of task 4; none in the other tasks. nonpeaks: see [`thinned`].
        rng: shuffles; without one, the order is that of the file, with peaks and nonpeaks [`interleaved`].
    """
    streams = [np.flatnonzero(~nonpeak), np.flatnonzero(nonpeak)]
    streams[1] = streams[1][thinned(len(streams[1]), epoch, nonpeaks)]
    if rng is not None:
        return rng.permutation(np.concatenate(streams))
    return np.array([streams[stream][row] for stream, row in interleaved([*map(len, streams)])], dtype=np.int64)


def epoch_batches(
    lengths: np.ndarray, nonpeak: np.ndarray, training: Training, epoch: int, nonpeaks: str = "all"
) -> list[np.ndarray]:
    """Row numbers of each batch of an epoch, every row of [`epoch_rows`] once; the last batch drawn may be smaller.

    By length, each `POOL` batches' worth of the shuffled rows is sorted by length, so that a batch's rows have similar
    lengths, and the order of the batches is shuffled again.

    Args:
        lengths: (n,) of all rows.
    """
    if training.train_sampling_strategy not in STRATEGIES:
        raise InputError(
            f"train_sampling_strategy {training.train_sampling_strategy!r}: there are {', '.join(STRATEGIES)}"
        )
    rng = None if training.train_sampling_strategy == "sequential" else np.random.default_rng([training.seed, epoch])
    order, size = epoch_rows(nonpeak, epoch, nonpeaks, rng), training.batch_size
    grouped = training.train_sampling_strategy == "group_by_length"
    if grouped:
        pools = np.split(order, range(POOL * size, len(order), POOL * size))
        order = np.concatenate([pool[np.argsort(-lengths[pool], kind="stable")] for pool in pools])
    batches = np.split(order, range(size, len(order), size))
    return [batches[place] for place in rng.permutation(len(batches))] if grouped and rng is not None else batches


def steps_of(nonpeak: np.ndarray, training: Training, nonpeaks: str = "all") -> int:
    """Steps of a whole training, unless it stops early."""
    few = int(nonpeak.sum())
    rows = [len(nonpeak) - few + len(thinned(few, epoch, nonpeaks)) for epoch in range(training.num_train_epochs)]
    steps = sum(-(-own // training.batch_size) for own in rows)
    return steps if training.max_steps < 0 else min(steps, training.max_steps)


def judged_batches(nonpeak: np.ndarray, training: SupervisedTraining) -> list[np.ndarray]:
    """The batches whose mean losses make up the validation loss of the original: rows in the file's order.

    Of task 4, fine-tuning reads peaks and nonpeaks apart, and probing [`interleaved`] (spec section 1.7).
    """
    assert training.loss_rows is not None
    streams = [np.flatnonzero(~nonpeak), np.flatnonzero(nonpeak)]
    if training.nonpeaks == "first_block":
        streams = [epoch_rows(nonpeak, 0)]
    size = training.loss_rows
    return [batch for rows in streams if len(rows) for batch in np.split(rows, range(size, len(rows), size))]


def reversed_rows(rows: int, epoch: int, seed: int) -> np.ndarray:
    """(rows,) bool: which rows an epoch reads from the other strand."""
    return np.random.default_rng([seed, epoch, 1]).random(rows) < 0.5


def shares(batch: np.ndarray, process: int, processes: int, forward_rows: int) -> list[np.ndarray]:
    """This process's part of a batch, in forward passes of at most `forward_rows` rows; as many in each process.

    A pass may be empty where the batch does not divide evenly.
    """
    passes = -(-len(batch) // (processes * forward_rows))
    return np.array_split(batch[process::processes], passes)
