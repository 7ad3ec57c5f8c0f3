from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from datasets_dart.shuffling import dinucleotide_shuffle, item_seed, shuffle_known

SEEDS = st.integers(0, 2**128 - 1)


def codes(sequence):
    return np.array(["ACGTN".index(base) for base in sequence], dtype=np.uint8)


def letters(bases):
    return "".join("ACGTN"[base] for base in bases)


def test_check_vectors_of_the_original():
    seed = item_seed("chr1", 100, 300)
    assert seed == 67637373747330768182824201092341973190
    shuffled = dinucleotide_shuffle(codes("ACGTTGCAAGGCTATCCGATAGGACCTTAACG"), np.random.default_rng(seed))
    assert letters(shuffled) == "AAGATACGGTTTCAGCGGCTGAACCTATACCG"


@given(st.lists(st.integers(0, 3), max_size=400), SEEDS)
def test_ends_and_dinucleotide_counts_are_kept(bases, seed):
    bases = np.array(bases, dtype=np.uint8)
    before = bases.copy()
    shuffled = dinucleotide_shuffle(bases, np.random.default_rng(seed))
    assert (shuffled.dtype, shuffled.shape) == (bases.dtype, bases.shape)
    assert Counter(pairwise(shuffled)) == Counter(pairwise(bases))
    for ends in (slice(None, 1), slice(-1, None)):
        np.testing.assert_array_equal(shuffled[ends], bases[ends])
    np.testing.assert_array_equal(bases, before)


@given(st.lists(st.integers(0, 3), max_size=100), SEEDS)
def test_without_n_both_shuffles_are_one(bases, seed):
    bases = np.array(bases, dtype=np.uint8)
    both = (shuffle(bases, np.random.default_rng(seed)) for shuffle in (dinucleotide_shuffle, shuffle_known))
    np.testing.assert_array_equal(*both)


@given(st.text("ACGTN", max_size=200), SEEDS)
def test_n_keeps_its_place_and_parts_the_runs(sequence, seed):
    shuffled = letters(shuffle_known(codes(sequence), np.random.default_rng(seed)))
    assert [len(run) for run in shuffled.split("N")] == [len(run) for run in sequence.split("N")]
    for run, original in zip(shuffled.split("N"), sequence.split("N"), strict=True):
        assert Counter(pairwise(run)) == Counter(pairwise(original))
        assert (run[:1], run[-1:]) == (original[:1], original[-1:])
