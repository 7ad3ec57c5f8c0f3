"""Baselines that know nothing but local composition: Markov models of DNA, fitted by counting."""

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from datasets_dart.alphabet import BASES, UNKNOWN, encode_bases, reverse_complement_codes
from datasets_dart.errors import InputError
from datasets_dart.files import replacing, sha256

# A chunk of ten million positions keeps the work arrays of counting near 200 MB.
CHUNK = 10_000_000


def context_numbers(codes: np.ndarray, order: int) -> Iterator[np.ndarray]:
    """For j = 0..order, the number of the j bases before each position and its own, base 4, oldest most significant.

    Args:
        codes: (L,) base codes.

    Yields:
        (L,) int64 in [0, 4 ** (j + 1)), or -1 where one of the j + 1 bases is unknown or before the start.
    """
    known = codes < UNKNOWN
    digits = np.where(known, codes, 0).astype(np.int64)
    numbers, valid = digits.copy(), known.copy()
    for j in range(order + 1):
        if j:
            numbers[j:] += digits[:-j] << (2 * j)
            valid[j:] &= known[:-j]
            valid[:j] = False
        yield np.where(valid, numbers, -1)


LONGEST = 14  # bases of context: 4 ** 15 counts of 8 bytes


class MarkovModel:
    """p(base | the k bases before it), from counts, interpolated with all lower orders.

    With n(c, x) the times base x followed context c, c' the context without its oldest base, and strength a:
    ``p(x | c) = (n(c, x) + a p(x | c')) / (n(c) + a)``, ending in ``p(x) = (n(x) + a / 4) / (n + a)``. This is the
    hierarchical Dirichlet language model of MacKay and Peto (1995) with one fixed strength: unseen contexts fall back
    on shorter ones, and no probability is 0.

    Attributes:
        counts: one (4 ** j, 4) array for each order j = 0..k; row c holds n(c, .), contexts numbered in base 4.
        strength: a, in observations.
    """

    def __init__(self, counts: Sequence[np.ndarray], strength: float = 16.0):
        if not strength > 0:
            raise InputError(f"the strength of interpolation must be positive, got {strength}")
        for order, table in enumerate(counts):
            if table.shape != (4**order, 4):
                raise InputError(f"counts of order {order} must have shape {(4**order, 4)}, got {table.shape}")
        self.counts = list(counts)
        self.strength = strength
        probabilities = np.full((1, 4), 0.25)
        self.log_probabilities: list[np.ndarray] = []
        for table in self.counts:
            # Context c of order j has c' = c mod 4 ** (j - 1): the oldest base is the most significant digit.
            lower = probabilities if len(table) == 1 else np.tile(probabilities, (4, 1))
            probabilities = (table + strength * lower) / (table.sum(axis=1, keepdims=True) + strength)
            self.log_probabilities.append(np.log(probabilities))

    @property
    def order(self) -> int:
        """Bases of the longest context."""
        return len(self.counts) - 1

    @classmethod
    def fit(
        cls,
        sequences: Iterable[str | np.ndarray],
        order: int,
        strength: float = 16.0,
        both_strands: bool = False,
    ) -> "MarkovModel":
        """Count bases after each context of 0 to `order` bases; unknown bases break contexts.

        Args:
            sequences: strings, or arrays of base codes (as of [`encode_bases`]).
            both_strands: count the reverse complement of each sequence, too.
        """
        if order < 0:
            raise InputError(f"a Markov model's order must be at least 0, got {order}")
        if order > LONGEST:
            raise InputError(f"a Markov model's order must be at most {LONGEST}, got {order}")
        counts = [np.zeros(4 ** (j + 1), dtype=np.int64) for j in range(order + 1)]
        for sequence in sequences:
            codes = encode_bases(sequence) if isinstance(sequence, str) else sequence
            for strand in (codes, reverse_complement_codes(codes)) if both_strands else (codes,):
                for first in range(0, len(strand), CHUNK):
                    chunk = strand[max(0, first - order) : first + CHUNK]
                    for table, numbers in zip(counts, context_numbers(chunk, order), strict=True):
                        new = numbers[min(first, order) :]
                        table += np.bincount(new[new >= 0], minlength=len(table))
        return cls([table.reshape(-1, 4) for table in counts], strength)

    def at_order(self, order: int) -> "MarkovModel":
        """The model of a lower order, from the same counts."""
        if not 0 <= order <= self.order:
            raise InputError(f"this Markov model has orders 0 to {self.order}, not {order}")
        return MarkovModel(self.counts[: order + 1], self.strength)

    def base_log_likelihoods(self, codes: np.ndarray) -> np.ndarray:
        """Log-probability of each base given up to `order` known bases before it, in nats; NaN for unknown bases.

        Near the start, and after an unknown base, the context is as long as there is.

        Args:
            codes: (L,) base codes.

        Returns:
            (L,) float64.
        """
        scores = np.full(len(codes), np.nan)
        for table, numbers in zip(self.log_probabilities, context_numbers(codes, self.order), strict=True):
            scores = np.where(numbers >= 0, table.reshape(-1)[numbers], scores)
        return scores

    def log_likelihood(self, sequences: Iterable[str]) -> np.ndarray:
        """Log-likelihood of each sequence in nats, (n,) float64.

        As with a causal language model that has no start token, the first base is context and not scored; nor are
        unknown bases. Sums are correctly rounded, so that sequences of the same k-mers have the same likelihood: an
        order 1 model cannot tell a sequence from its dinucleotide shuffle.
        """
        scores = (self.base_log_likelihoods(encode_bases(sequence))[1:] for sequence in sequences)
        return np.array([math.fsum(score[~np.isnan(score)]) for score in scores], dtype=np.float64)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the counts as safetensors, smallest unsigned type that holds them."""
        tensors = {}
        for order, table in enumerate(self.counts):
            dtype = np.uint32 if table.max(initial=0) < 2**32 else np.uint64
            tensors[f"order_{order}"] = np.ascontiguousarray(table, dtype=dtype)
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata={"strength": repr(self.strength), "alphabet": BASES})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "MarkovModel":
        """Read what [`save`] wrote.

        Raises:
            FileNotFoundError: naming the file.
            ValueError: naming the file, if it holds no Markov model.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"no Markov model at {path}")
        try:
            with safe_open(path, framework="numpy") as file:
                strength = float(file.metadata()["strength"])
                counts = [file.get_tensor(f"order_{j}").astype(np.int64) for j in range(len(file.keys()))]
            return cls(counts, strength)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} holds no Markov model: {error}") from error


class MarkovScorer:
    """A Markov model from its file, as a scorer: likelihoods of whole sequences.

    Raises:
        FileNotFoundError, InputError: naming the file, if there is no Markov model in it.
    """

    device_name = "cpu"

    def __init__(self, path: str | os.PathLike[str]):
        self.path, self.name = Path(path), f"markov:{path}"
        self.model = MarkovModel.load(path)

    def describe(self) -> dict[str, Any]:
        """What a record says of the model."""
        name = self.path.name.partition(".")[0]
        return {"id": f"local/{name}-order-{self.model.order}", "revision": sha256(self.path.resolve())[:12]}

    def log_likelihood(self, sequences: Iterable[str], batch_size: int | str = "auto") -> np.ndarray:
        """(n,) float64 in nats, see [`MarkovModel.log_likelihood`]; one sequence is read at a time."""
        return self.model.log_likelihood(sequences)
