"""Markov models against hand-computed values and their own definition."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_dart.alphabet import encode_bases, reverse_complement_codes
from evaluation_dart.models import markov as baselines
from evaluation_dart.models.markov import MarkovModel

dna = st.text(alphabet="ACGTN", max_size=40)


def test_codes():
    assert encode_bases("ACGTNacgtn-R").tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 4, 4]
    assert encode_bases("").tolist() == []
    assert reverse_complement_codes(encode_bases("AACGN")).tolist() == encode_bases("NCGTT").tolist()


def test_order_1_by_hand():
    # AACAN: A 3, C 1; after A: A 1, C 1; after C: A 1.
    model = MarkovModel.fit(["AACAN"], order=1, strength=2.0)
    assert model.counts[0].tolist() == [[3, 1, 0, 0]]
    assert model.counts[1].tolist() == [[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    p = [(3 + 0.5) / 6, (1 + 0.5) / 6, 0.5 / 6, 0.5 / 6]
    after_a = [(1 + 2 * p[0]) / 4, (1 + 2 * p[1]) / 4, 2 * p[2] / 4, 2 * p[3] / 4]
    np.testing.assert_allclose(np.exp(model.log_probabilities[0]), [p], rtol=1e-15)
    np.testing.assert_allclose(np.exp(model.log_probabilities[1][0]), after_a, rtol=1e-15)
    np.testing.assert_allclose(np.exp(model.log_probabilities[1][3]), p, rtol=1e-15)
    # ACGNT: A is context, C follows A, G follows C (seen once, with A), N unscored, T follows nothing known.
    expected = math.log(after_a[1]) + math.log(2 * p[2] / 3) + math.log(p[3])
    assert model.log_likelihood(["ACGNT"]) == pytest.approx([expected], rel=1e-14)
    assert model.log_likelihood(["ACGNT"]).dtype == np.float64


def test_oldest_base_is_the_one_backed_off():
    model = MarkovModel.fit(["CAG"], order=2, strength=1.0)
    # After CA comes G: row 4 * C + A = 4. Context TA is unseen, and falls back on A.
    assert model.counts[2][4].tolist() == [0, 0, 1, 0]
    np.testing.assert_array_equal(model.log_probabilities[2][12], model.log_probabilities[1][0])


def test_sequences_without_scored_bases():
    model = MarkovModel.fit(["ACGT"], order=3)
    assert model.log_likelihood(["", "A", "NNN"]).tolist() == [0, 0, 0]


@given(dna, st.integers(0, 4), st.floats(0.1, 50))
def test_probabilities_sum_to_one(sequence, order, strength):
    model = MarkovModel.fit([sequence], order, strength)
    for table in model.log_probabilities:
        np.testing.assert_allclose(np.exp(table).sum(axis=1), 1, rtol=1e-12)


@given(st.lists(dna, max_size=4), st.integers(0, 4))
def test_counts_are_those_of_the_definition(sequences, order):
    model = MarkovModel.fit(sequences, order)
    for j, table in enumerate(model.counts):
        expected = np.zeros_like(table)
        for sequence in sequences:
            for i in range(j, len(sequence)):
                word = sequence[i - j : i + 1]
                if "N" not in word:
                    digits = ["ACGT".index(base) for base in word]
                    context = sum(digit * 4**power for power, digit in enumerate(reversed(digits[:-1])))
                    expected[context, digits[-1]] += 1
        np.testing.assert_array_equal(table, expected)


@given(dna)
def test_both_strands_score_a_sequence_of_order_0_as_its_reverse_complement(sequence):
    model = MarkovModel.fit([sequence], order=0, both_strands=True)
    table = model.counts[0][0]
    assert (table[0], table[1]) == (table[3], table[2])


def test_chunks_do_not_change_counts(monkeypatch):
    sequence = "".join(np.random.default_rng(0).choice(list("ACGTN"), size=300))
    whole = MarkovModel.fit([sequence], order=3)
    monkeypatch.setattr(baselines, "CHUNK", 7)
    for expected, table in zip(whole.counts, MarkovModel.fit([sequence], order=3).counts, strict=True):
        np.testing.assert_array_equal(table, expected)


def test_lower_order_of_the_same_counts():
    sequences = ["ACGTTGCANACGTAGCTA", "GGCATTA"]
    model, expected = MarkovModel.fit(sequences, order=4).at_order(2), MarkovModel.fit(sequences, order=2)
    assert model.order == 2
    np.testing.assert_array_equal(model.log_probabilities[2], expected.log_probabilities[2])
    with pytest.raises(ValueError, match="orders 0 to 2, not 3"):
        model.at_order(3)


def test_same_dinucleotides_have_the_same_likelihood():
    model = MarkovModel.fit(["ACGTTGCANACGTAGCTAGGATCAACTTGA"], order=1)
    first, second = "ACAGATACCAG" * 30, "ATACAGACCAG" * 30
    assert sorted(pairwise(first)) == sorted(pairwise(second))
    assert model.log_likelihood([first]) == model.log_likelihood([second])


def test_save_and_load(tmp_path):
    model = MarkovModel.fit(["ACGTTGCANACGTAGCTA"], order=2, strength=3.5)
    model.save(tmp_path / "m" / "markov.safetensors")
    loaded = MarkovModel.load(tmp_path / "m" / "markov.safetensors")
    assert loaded.strength == 3.5
    assert loaded.log_likelihood(["ACGTNNGCA"]) == model.log_likelihood(["ACGTNNGCA"])
    assert [file.name for file in (tmp_path / "m").iterdir()] == ["markov.safetensors"]


def test_bad_input(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors"):
        MarkovModel.load(tmp_path / "nothing.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"not a model")
    with pytest.raises(ValueError, match=r"bad\.safetensors holds no Markov model"):
        MarkovModel.load(tmp_path / "bad.safetensors")
    with pytest.raises(ValueError, match="at least 0, got -1"):
        MarkovModel.fit(["ACGT"], order=-1)
    with pytest.raises(ValueError, match="must be positive, got 0"):
        MarkovModel.fit(["ACGT"], order=1, strength=0)
