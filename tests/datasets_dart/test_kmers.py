"""Canonical k-mers, samples of them, and the nearest sequence, against definitions written out."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_dart.alphabet import encode_bases, reverse_complement
from datasets_dart.kmers import COMMON, K, canonical_kmers, nearest, sampling_of, sketched

bases = st.text("ACGT", max_size=90)


def kmers_of(sequence, k):
    """(start, number) by the definition."""
    found = []
    for start in range(len(sequence) - k + 1):
        kmer = sequence[start : start + k]
        if set(kmer) <= set("ACGT"):
            digits = (kmer, reverse_complement(kmer))
            found.append((start, min(int(text.translate(str.maketrans("ACGT", "0123")), 4) for text in digits)))
    return found


@given(st.text("ACGTN", max_size=70), st.sampled_from([7, 11, 21, 31]))
def test_kmers_are_those_of_the_definition(sequence, k):
    start, kmer = canonical_kmers(encode_bases(sequence), k=k)
    assert list(zip(start.tolist(), kmer.tolist(), strict=True)) == kmers_of(sequence, k)


@given(st.text("ACGTN", min_size=K, max_size=120), st.sampled_from([1, 2, 4, 16]))
def test_a_sample_has_the_same_kmers_on_either_strand(sequence, one_in):
    _, forward = canonical_kmers(encode_bases(sequence), one_in)
    _, reverse = canonical_kmers(encode_bases(reverse_complement(sequence)), one_in)
    assert sorted(forward.tolist()) == sorted(reverse.tolist())
    assert set(forward.tolist()) <= {kmer for _, kmer in kmers_of(sequence, K)}


def test_a_sample_is_of_the_size_that_is_asked_for():
    sequence = "".join(np.random.default_rng(0).choice(list("ACGT"), 40_000))
    whole = len(canonical_kmers(encode_bases(sequence))[0])
    assert whole == 40_000 - K + 1
    for one_in in (2, 4, 16):
        assert len(canonical_kmers(encode_bases(sequence), one_in)[0]) == pytest.approx(whole / one_in, rel=0.1)
    assert [sampling_of(10, 3500), sampling_of(2_000_000, 700_000_000), sampling_of(60_000, 4_200_000)] == [1, 16, 4]


@given(st.lists(bases, max_size=6), st.lists(bases, max_size=6), st.data())
def test_the_nearest_sequence_is_that_of_a_brute_force_search(queries, references, data):
    for sequence in data.draw(st.lists(st.sampled_from(queries), max_size=4)) if queries else ():
        cut = data.draw(st.integers(0, len(sequence)))
        references.append(reverse_complement(sequence[cut:]) + sequence[:cut])
    share, row = nearest(sketched(queries), sketched(references))
    own = [{kmer for _, kmer in kmers_of(query, K)} for query in queries]
    other = [{kmer for _, kmer in kmers_of(reference, K)} for reference in references]
    for number, kmers in enumerate(own):
        counts = [len(kmers & there) for there in other]
        best = max(counts, default=0)
        assert row[number] == (counts.index(best) if best else -1)
        assert share[number] == pytest.approx(best / len(kmers) if kmers else 0)


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8), st.sampled_from([1, 2, 3]))
def test_kmers_that_only_one_sequence_or_too_many_have_are_not_looked_up(letters, common):
    pieces = {letter: "".join(np.random.default_rng(ord(letter)).choice(list("ACGT"), K)) for letter in "abcdefgh"}
    sequences = ["N".join(pieces[letter] for letter in letters[:size]) for size in range(1, len(letters) + 1)]
    with patch("datasets_dart.kmers.COMMON", common):
        share, row = nearest(sketched(sequences), sketched(sequences), themselves=True)
    held = [set(letters[:size]) for size in range(1, len(letters) + 1)]
    known = {letter for letter in letters if sum(letter in own for own in held) <= common}
    for number, own in enumerate(held):
        counts = [len(own & other & known) * (at != number) for at, other in enumerate(held)]
        assert share[number] == pytest.approx(max(counts) / len(own))
        assert row[number] == (counts.index(max(counts)) if max(counts) else -1)


def test_a_sequence_is_not_its_own_nearest_and_repeats_of_the_genome_show_nothing():
    one, two = ("".join(np.random.default_rng(seed).choice(list("ACGT"), 100)) for seed in (1, 2))
    sketches = sketched([one, two, one[:60] + two[60:]])
    share, row = nearest(sketches, sketches, themselves=True)
    assert row.tolist() == [2, 2, 0]
    assert share.tolist() == pytest.approx([40 / 80, 20 / 80, 40 / 80])
    share, row = nearest(sketched([one]), sketched([one + "A" * number for number in range(COMMON + 1)]))
    assert (share[0], row[0]) == (0, -1)
