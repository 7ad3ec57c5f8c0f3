"""Composition of a sequence as features of a linear model: k-mer frequencies and GC content."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from datasets_dart.alphabet import encode_bases, letter_shares
from datasets_dart.errors import InputError
from evaluation_dart.models.markov import context_numbers

LONGEST = 8  # k-mers


def strand_classes(k: int) -> np.ndarray:
    """For each k-mer, the number of its class with its reverse complement: (4 ** k,) int64.

    There are (4 ** k + palindromes) / 2 classes, numbered in the order of their smaller member.
    """
    numbers = np.arange(4**k)
    reverse = np.zeros_like(numbers)
    for place in range(k):
        reverse |= (3 - (numbers >> (2 * place) & 3)) << (2 * (k - 1 - place))
    return np.unique(np.minimum(numbers, reverse), return_inverse=True)[1]


def kmer_frequencies(sequences: Sequence[str], k: int) -> np.ndarray:
    """Share of each k-mer, both strands together, among those without unknown bases: (n, classes) float64.

    0 throughout for a sequence that has none.
    """
    classes = strand_classes(k)
    counts = np.zeros((len(sequences), classes.max() + 1))
    for row, sequence in zip(counts, sequences, strict=True):
        *_, numbers = context_numbers(encode_bases(sequence), k - 1)
        row += np.bincount(classes[numbers[numbers >= 0]], minlength=len(row))
    return np.asarray(counts / counts.sum(axis=1, keepdims=True).clip(min=1))


def gc_content(sequences: Sequence[str]) -> np.ndarray:
    """Share of G and C among known bases: (n, 1) float64, 0 where there are none."""
    return np.nan_to_num([letter_shares(sequence)[2] for sequence in sequences]).reshape(-1, 1)


class Kmers:
    """Frequencies of k-mers as a scorer: embeddings without a model.

    Raises:
        InputError: for a length that is not from 1 to 8.
    """

    device_name = "cpu"

    def __init__(self, k: str):
        if not k.isdecimal() or not 1 <= int(k) <= LONGEST:
            raise InputError(f"model kmers:{k}: there are kmers:1 to kmers:{LONGEST}")
        self.name, self.k = f"kmers:{k}", int(k)

    def describe(self) -> dict[str, Any]:
        """What a record says of the features."""
        return {"id": f"ab-initio/kmers-{self.k}", "revision": "from-scratch"}

    def embed(self, sequences: Sequence[str]) -> np.ndarray:
        """(n, classes of k-mers) float64."""
        return kmer_frequencies(sequences, self.k)


class GCContent:
    """GC content as a scorer: embeddings of one number without a model."""

    device_name = "cpu"
    name = "gc"

    def describe(self) -> dict[str, Any]:
        """What a record says of the feature."""
        return {"id": "ab-initio/gc-content", "revision": "from-scratch"}

    def embed(self, sequences: Sequence[str]) -> np.ndarray:
        """(n, 1) float64."""
        return gc_content(sequences)
