"""Canonical k-mers of many sequences at once: the sketches by which near-duplicates are found."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import sparse

from datasets_dart.alphabet import CODES, UNKNOWN

K = 21
CENTRE = 7  # bases in a k-mer's middle, by which it is in a sample
SHARED = 0.5  # of a sequence's k-mers that another has: a near-duplicate
SAMPLED = 16  # k-mers of an average sequence, at least, in a sample
LEAST_SHARED = 4  # sampled k-mers, below which a share of them says nothing
WHOLE_BASES = 1 << 20  # of all sequences, up to which no sample is taken
COMMON = 200  # sequences that have a k-mer, from which it is a repeat of the genome and shows nothing
BLOCK = 2048  # sequences compared at once
PIECE = 1 << 20  # bases looked through at once
LOOKED_UP = 1 << 16  # k-mers, or other keys, at once
BASES = 1 << 18  # encoded at once: they stay in a processor's cache


class Sketches(NamedTuple):
    """Different canonical k-mers of each of n sequences, by rising row and k-mer."""

    row: np.ndarray  # (m,) int64 or int32
    kmer: np.ndarray  # (m,) uint64
    rows: int  # n
    one_in: int  # of how many k-mers one is here: 1 where all are


def canonical_kmers(codes: np.ndarray, one_in: int = 1, k: int = K) -> tuple[np.ndarray, np.ndarray]:
    """The k-mers of (length,) uint8 base codes, each or its reverse complement, whichever is the lesser number.

    k: odd, `CENTRE` to 31. one_in: 1, or 2, 4, ... for a sample, the same k-mers of every sequence. Returns where each
    starts, (m,) int64, and the k-mers, (m,) uint64, 2 bits a base; those with an unknown base are left out.
    """
    n = len(codes) - k + 1
    if n < 1:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint64)
    unknown = np.concatenate([[0], np.cumsum(codes == UNKNOWN, dtype=np.int32)])
    there = unknown[k:] == unknown[:n]
    if one_in > 1:
        first = (k - CENTRE) // 2
        centre = np.zeros(n, dtype=np.uint16)
        for base in range(first, first + CENTRE):
            centre = (centre << np.uint16(2)) | (codes[base : base + n] & np.uint8(3))
        there &= _chosen(one_in)[centre]
    start = np.flatnonzero(there)
    forward, reverse = np.zeros((2, len(start)), dtype=np.uint64)
    for base in range(k):
        code = codes[start + base].astype(np.uint64)
        forward = (forward << np.uint64(2)) | code
        reverse |= (np.uint64(3) - code) << np.uint64(2 * base)
    return start, np.minimum(forward, reverse)


def looked_up(known: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) int64 where each of (n,) keys is among (k,) rising known ones, k >= 1; (n,) bool whether it is there."""
    place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return place, known[place] == keys


def occurring(known: np.ndarray, pieces: Iterable[np.ndarray], k: int) -> np.ndarray:
    """(m,) bool: which of (m,) rising different canonical k-mers are in any of the pieces, base codes of sequence."""
    found = np.zeros(len(known), dtype=bool)
    for codes in pieces if len(known) else ():
        for first in range(0, len(codes), PIECE):
            _, kmers = canonical_kmers(codes[first : first + PIECE + k - 1], k=k)
            place, there = looked_up(known, kmers)
            found[place[there]] = True
    return found


def sampling_of(rows: int, bases: int) -> int:
    """Of how many k-mers one is kept, a power of two: all of short data, else at least `SAMPLED` a row on average."""
    if bases <= WHOLE_BASES:
        return 1
    return 1 << max(0, int(np.log2(bases / rows / SAMPLED)))


@lru_cache(maxsize=8)
def _chosen(one_in: int) -> np.ndarray:
    """(4 ** CENTRE,) bool: the middles that a sample has, about one in so many; both strands of one, or neither."""
    both = np.arange(4**CENTRE, dtype=np.uint64)
    digits = both[:, None] >> np.arange(0, 2 * CENTRE, 2, dtype=np.uint64) & np.uint64(3)
    other = ((np.uint64(3) - digits) << np.arange(0, 2 * CENTRE, 2, dtype=np.uint64)[::-1]).sum(axis=1)
    draws = np.random.default_rng(0).permutation(4**CENTRE)
    return np.asarray(draws[np.minimum(both, other).astype(np.int64)] < 4**CENTRE // one_in)


def sketched(sequences: Sequence[str], one_in: int = 1) -> Sketches:
    """Sketches of sequences in either case, T or U; a sampled k-mer is in all of them or in none."""
    return Sketches(*distinct_kmers(sequences, K, one_in), len(sequences), one_in)


def distinct_kmers(sequences: Sequence[str], k: int = K, one_in: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Row, (m,) int64, and canonical k-mer, (m,) uint64, of each different k-mer of each sequence, by row and k-mer."""
    rows, kmers = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.uint64)]
    first = 0
    while first < len(sequences):
        last, bases = first, 0
        while last < len(sequences) and (last == first or bases + len(sequences[last]) <= BASES):
            bases += len(sequences[last])
            last += 1
        text = "-".join(sequences[first:last]).encode("ascii", "replace")
        start, kmer = canonical_kmers(CODES[np.frombuffer(text, dtype=np.uint8)], one_in, k)
        ends = np.cumsum([len(sequence) + 1 for sequence in sequences[first:last]])
        row = np.searchsorted(ends, start, side="right")
        order = np.lexsort((kmer, row))
        row, kmer = row[order], kmer[order]
        new = np.ones(len(row), dtype=bool)
        new[1:] = (row[1:] != row[:-1]) | (kmer[1:] != kmer[:-1])
        rows.append(row[new] + first)
        kmers.append(kmer[new])
        first = last
    return np.concatenate(rows), np.concatenate(kmers)


def nearest(queries: Sketches, references: Sketches, themselves: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The reference that has most of each query's k-mers: (n,) share of them, 0 to 1, and (n,) int64 its row, -1: none.

    themselves: the two are the same, and no sequence is its own reference. K-mers that more than `COMMON` references
    have count among a query's own, but are not looked up. The first reference of equal ones.
    """
    share, row = np.zeros(queries.rows), np.full(queries.rows, -1, dtype=np.int64)
    known = shared_kmers(references, least=2 if themselves else 1)
    if not len(known):
        return share, row
    index = occurrences(references, known).T.tocsr()
    asked = occurrences(queries, known)
    own = np.bincount(queries.row, minlength=queries.rows)
    for first in range(0, queries.rows, BLOCK):
        shared = (asked[first : first + BLOCK] @ index).tocoo()
        here, there, count = shared.coords[0] + first, shared.coords[1], shared.data
        if themselves:
            other = here != there
            here, there, count = here[other], there[other], count[other]
        order = np.lexsort((there, -count, here))
        here, there, count = here[order], there[order], count[order]
        best = np.ones(len(here), dtype=bool)
        best[1:] = here[1:] != here[:-1]
        share[here[best]] = count[best] / own[here[best]]
        row[here[best]] = there[best]
    return share, row


def shared_kmers(sketches: Sketches, least: int) -> np.ndarray:
    """(k,) uint64: the rising k-mers that at least so many sequences have, and at most `COMMON`."""
    ordered = np.sort(sketches.kmer)

    def with_others(number: int) -> np.ndarray:
        begins = ordered[: max(0, len(ordered) - number)]
        return np.asarray(begins[begins == ordered[number:]])

    return np.setdiff1d(with_others(least - 1), with_others(COMMON))


def occurrences(sketches: Sketches, known: np.ndarray) -> sparse.csr_array:
    """(n, k) float32: 1 where a sequence has a k-mer of the known ones, (k,) rising."""
    rows, places = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for first in range(0, len(sketches.kmer), LOOKED_UP):
        kmer = sketches.kmer[first : first + LOOKED_UP]
        place, found = looked_up(known, kmer)
        rows.append(sketches.row[first : first + LOOKED_UP][found])
        places.append(place[found])
    row, place = np.concatenate(rows), np.concatenate(places)
    return sparse.csr_array((np.ones(len(row), dtype=np.float32), (row, place)), (sketches.rows, len(known)))
