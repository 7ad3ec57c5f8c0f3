"""Dinucleotide-preserving shuffles, as DART-Eval draws its controls (DART-Eval spec section 2)."""

import hashlib

import numpy as np


def item_seed(chrom: str, start: int, end: int, seed: int = 0) -> int:
    """Seed of one element's shuffle: a function only of the data set's seed and the element's interval."""
    digest = hashlib.sha256(repr((seed, chrom, start, end)).encode()).hexdigest()
    return int(digest, 16) % 2**128


def dinucleotide_shuffle(bases: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random sequence with the first base, the last base and every dinucleotide count of `bases`.

    bases: (n,) uint8 codes 0..3 for A, C, G, T; n may be 0. Returns the same shape and dtype. A random Eulerian path
    (Altschul and Erickson 1985): every base's successors are permuted, but for its last one, so that the walk cannot
    strand. Draws from `rng` base by base in the order A, C, G, T: bit-exact with the original.
    """
    if len(bases) < 2:
        return bases.copy()
    successors = []
    for base in range(4):
        after = bases[1:][bases[:-1] == base]
        if len(after) > 2:  # a permutation of fewer entries draws nothing
            after[:-1] = after[rng.permutation(len(after) - 1)]
        successors.append(iter(after.tolist()))
    base = int(bases[0])
    walk = [base]
    for _ in range(len(bases) - 1):
        base = next(successors[base])
        walk.append(base)
    return np.array(walk, dtype=bases.dtype)


def shuffle_known(bases: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`dinucleotide_shuffle` of each run of known bases (codes 0..3) in turn, from left to right.

    Every other code (N) keeps its place, so it neither moves nor counts as a base. Without any, the result and the
    draws are those of `dinucleotide_shuffle`.
    """
    known = bases < 4
    if known.all():
        return dinucleotide_shuffle(bases, rng)
    shuffled = bases.copy()
    for start, end in np.flatnonzero(np.diff(known, prepend=False, append=False)).reshape(-1, 2):
        shuffled[start:end] = dinucleotide_shuffle(bases[start:end], rng)
    return shuffled
