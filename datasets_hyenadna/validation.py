"""Which training rows are held out for validation: a function only of the sequence."""

from collections.abc import Iterable

import numpy as np

from datasets_dart.alphabet import reverse_complement
from datasets_dart.splits import is_chosen

SHARE = 0.1


def held_out(sequences: Iterable[str], share: float = SHARE) -> np.ndarray:
    """(n,) bool: about `share` of different sequences; equal ones, and a sequence and its other strand, agree.

    Independent of order, of other rows and of any seed, so that every run and every model has the same split.
    """
    either = (min(sequence, reverse_complement(sequence)) for sequence in sequences)
    return np.array([is_chosen(text, share) for text in either], dtype=bool)
