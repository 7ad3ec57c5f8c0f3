"""Every single substitution in a stretch of a sequence."""

import numpy as np

from datasets_dart.alphabet import BASES, UNKNOWN, encode_bases


def substitutions(sequence: str, start: int, end: int) -> tuple[list[str], np.ndarray]:
    """Every sequence with one known base of [start, end) replaced.

    Returns:
        m strings, and (m, 2) int64: the position replaced, counted from `start`, and the new base's index.
    """
    places = places_of(sequence[start:end])
    mutants = [sequence[: start + row] + BASES[base] + sequence[start + row + 1 :] for row, base in places.tolist()]
    return mutants, places


def places_of(sequence: str) -> np.ndarray:
    """(m, 2) int64: position and index of the new base of every substitution of a known base."""
    codes = encode_bases(sequence)[:, None]
    return np.argwhere((codes != UNKNOWN) & (codes != np.arange(len(BASES))))
