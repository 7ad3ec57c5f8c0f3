"""Embeddings of sequences of any length: one vector a sequence, or one a base; long sequences are read in chunks.

Chunks of `chunk` bases follow one another without overlap, the last one shorter, and each is read for itself: nothing
of one is context of the next. B sequences, T tokens, L bases, C channels.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch

from datasets_dart.errors import InputError
from evaluation_dart.models.language_model import BatchSize, Encoder
from evaluation_dart.recipes import STRANDS
from evaluation_dart.scoring.embeddings import hidden_states, pool
from evaluation_dart.scoring.finite import check_finite
from evaluation_dart.scoring.likelihoods import strands_of

POOLINGS = ("mean", "max", "last")
LONGEST_CHUNK = 32_768  # bp, where the model itself would read more


class RegionRecipe(NamedTuple):
    """How a sequence becomes vectors."""

    pooling: str | None  # over the sequence's own tokens: "mean", "max", or the "last" one; None: a vector a base
    layer: int = -1  # index into the model's hidden states
    strand: str = "forward"  # "reverse" complement, or the "mean" of both vectors
    chunk: int = LONGEST_CHUNK  # bases read at once

    def checked(self) -> "RegionRecipe":
        """Raises ValueError for an unknown pooling or strand."""
        if self.pooling is not None and self.pooling not in POOLINGS:
            raise InputError(f"pooling {self.pooling}: there are {', '.join(POOLINGS)}")
        if self.strand not in STRANDS:
            raise InputError(f"strand {self.strand}: there are {', '.join(STRANDS)}")
        return self


def chunk_length(scorer: Encoder) -> int:
    """Bases that a model reads at once for certain, if each is a token, and `LONGEST_CHUNK` at most."""
    if scorer.max_tokens is None:
        return LONGEST_CHUNK
    return min(LONGEST_CHUNK, scorer.max_tokens - scorer.before - scorer.after)


def embed_sequences(
    scorer: Encoder,
    sequences: Sequence[str],
    recipe: RegionRecipe,
    batch_size: BatchSize = 64,
    names: Sequence[str] | None = None,
) -> list[np.ndarray]:
    """Vectors of each sequence: (C,) float32, or with pooling None (L, C), NaN at a base that no token covers.

    The mean of both strands is that of a base's, or of the pooled, two vectors. A mean over a sequence of several
    chunks is over all their tokens, a maximum over all chunks, and the last token that of the last chunk read.

    Args:
        names: what errors call the sequences; by default their numbers.

    Raises:
        NotFinite: naming model and sequence, for NaN or infinity in a vector of it.
        ValueError: if a chunk is more tokens than the model reads, or has no token to pool, or memory runs out.
    """
    names = names or [f"sequence {number + 1}" for number in range(len(sequences))]
    vectors = [_one_strand(scorer, own, recipe, batch_size, names) for own in strands_of(sequences, recipe.strand)]
    if recipe.pooling is None and recipe.strand != "forward":
        vectors[-1] = [per_base[::-1] for per_base in vectors[-1]]
    if len(vectors) == 1:
        return vectors[0]
    return [(one + two) / 2 for one, two in zip(*vectors, strict=True)]


def _one_strand(
    scorer: Encoder, sequences: Sequence[str], recipe: RegionRecipe, batch_size: BatchSize, names: Sequence[str]
) -> list[np.ndarray]:
    chunks = [
        (row, sequence[start : start + recipe.chunk])
        for row, sequence in enumerate(sequences)
        for start in range(0, len(sequence), recipe.chunk)
    ]
    texts = [text for _, text in chunks]
    found: list[tuple[np.ndarray, int]] = [(np.empty(0), 0)] * len(chunks)

    @torch.inference_mode()
    def vectors_of(rows: Sequence[int], size: int) -> list[tuple[np.ndarray, int]]:
        own_texts = [texts[row] for row in rows]

        def name(number: int) -> str:
            return names[chunks[rows[number]][0]]

        inputs, own = scorer.encode(own_texts)
        with scorer.passing(size, own.shape[1]):
            output = scorer.model(**inputs, output_hidden_states=True)
            states = hidden_states(output, recipe.layer, scorer.name).float()
        if recipe.pooling is None:
            check_finite(torch.where(own[..., None], states, 0).cpu().numpy(), scorer.name, name)
            tokens = scorer.base_tokens(own_texts)
            return [(_per_base(hidden, token), len(token)) for hidden, token in zip(states, tokens, strict=True)]
        counts = own.sum(dim=1).tolist()
        if 0 in counts:
            raise InputError(f"{scorer.name}: no token of its own in {own_texts[counts.index(0)][:50]!r}")
        pooled = pool(states, own, recipe.pooling).cpu().numpy()
        check_finite(pooled, scorer.name, name)
        return list(zip(pooled, counts, strict=True))

    # Of similar length together; of one length only, for models of both directions that would read padding
    pads = scorer.kind == "causal" or scorer.takes_mask
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    for _, group in groupby(order, key=lambda row: 0 if pads else len(texts[row])):
        alike = [*group]

        def run(batch: slice, size: int, alike: list[int] = alike) -> None:
            rows = alike[batch]
            for row, vector in zip(rows, vectors_of(rows, size), strict=True):
                found[row] = vector

        scorer.in_batches(len(alike), len(texts[alike[-1]]), batch_size, run)
    parts: list[list[tuple[np.ndarray, int]]] = [[] for _ in sequences]
    for (row, _), part in zip(chunks, found, strict=True):
        parts[row].append(part)
    return [_joined(part, recipe.pooling) for part in parts]


def _per_base(hidden: torch.Tensor, token: np.ndarray) -> np.ndarray:
    """(L, C) of hidden states (T, C) of the token that covers each base, NaN for none (-1)."""
    vectors: np.ndarray = hidden[torch.as_tensor(np.maximum(token, 0), device=hidden.device)].cpu().numpy()
    vectors[token < 0] = np.nan
    return vectors


def _joined(parts: Sequence[tuple[np.ndarray, int]], pooling: str | None) -> np.ndarray:
    """Of a sequence, from those of its chunks."""
    vectors = [vector for vector, _ in parts]
    if pooling is None:
        return np.concatenate(vectors)
    if pooling == "max":
        return np.asarray(np.stack(vectors).max(axis=0))
    if pooling == "last":
        return vectors[-1]
    weights = np.array([count for _, count in parts], dtype=np.float64)
    return np.average(np.stack(vectors).astype(np.float64), axis=0, weights=weights).astype(np.float32)
