"""In which order training reads its rows, epoch by epoch (DART-Eval spec sections 1.7 and 5c): row numbers alone.

Nothing here depends on the number of processes, nor on what was drawn before: epoch and seed say it all, so that a run
that was killed goes on with the same rows.
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

import numpy as np
from torch.utils.data import Sampler

from datasets_dart.errors import InputError

NONPEAK_SHARE = 10  # one in ten nonpeaks is seen in an epoch of task 4
THINNINGS = ("all", "first_block", "block", "stride")


def thinned(n: int, epoch: int, how: str) -> np.ndarray:
    """Which of n nonpeaks an epoch sees: row numbers.

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

    Always the stream of which the least part is done; at equal parts, the shorter one.
    """
    heap = [(0.0, 0, length, stream) for stream, length in enumerate(lengths) if length]
    heapify(heap)
    steps = []
    while heap:
        _, done, length, stream = heappop(heap)
        steps.append((stream, done))
        if done + 1 < length:
            heappush(heap, ((done + 1) / length, done + 1, length, stream))
    return np.array(steps, dtype=np.int64).reshape(-1, 2)


def epoch_rows(
    nonpeak: np.ndarray, epoch: int, nonpeaks: str = "all", shuffle: bool = True, seed: int = 0
) -> np.ndarray:
    """The rows of an epoch in their order: (m,) row numbers.

    Args:
        nonpeak: (n,) bool, which rows are nonpeaks of task 4; none in the other tasks. nonpeaks: see [`thinned`].
        shuffle: else the order of the file; there, of peaks and nonpeaks [`interleaved`].
    """
    streams = [np.flatnonzero(~nonpeak), np.flatnonzero(nonpeak)]
    streams[1] = streams[1][thinned(len(streams[1]), epoch, nonpeaks)]
    if shuffle:
        return np.random.default_rng([seed, epoch]).permutation(np.concatenate(streams))
    return np.array([streams[stream][row] for stream, row in interleaved([*map(len, streams)])], dtype=np.int64)


class EpochOrder(Sampler[tuple[int, bool]]):
    """Yields (row, whether it is reverse-complemented) in the order of [`epoch_rows`]."""

    def __init__(self, nonpeak: np.ndarray, nonpeaks: str, shuffle: bool, reverse_complement: bool, seed: int):
        self.nonpeak, self.nonpeaks, self.shuffle = nonpeak, nonpeaks, shuffle
        self.reverse_complement, self.seed, self.epoch = reverse_complement, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def rows(self) -> np.ndarray:
        return epoch_rows(self.nonpeak, self.epoch, self.nonpeaks, self.shuffle, self.seed)

    def __len__(self) -> int:
        return len(self.rows())

    def __iter__(self) -> Iterator[tuple[int, bool]]:
        rows = self.rows()
        flips = np.zeros(len(rows), bool)
        if self.reverse_complement:
            flips = np.random.default_rng([self.seed, self.epoch, 1]).random(len(rows)) < 0.5
        yield from zip(rows.tolist(), flips.tolist(), strict=True)
