"""Which training rows are held out for validation: a function only of the sequence."""

import hashlib
from collections.abc import Iterable

import numpy as np

from datasets_dart.alphabet import reverse_complement

SHARE = 0.1


def held_out(sequences: Iterable[str], share: float = SHARE) -> np.ndarray:
    """(n,) bool: about `share` of different sequences; equal ones, and a sequence and its other strand, agree.

    Independent of order, of other rows and of any seed, so that every run and every model has the same split.
    """
    threshold = int(share * 2**64)
    return np.array([_number(sequence) < threshold for sequence in sequences], dtype=bool)


def _number(sequence: str) -> int:
    either = min(sequence, reverse_complement(sequence))
    return int.from_bytes(hashlib.sha256(either.encode()).digest()[:8])
