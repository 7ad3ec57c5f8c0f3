"""The one alphabet: codes, RNA, other strands and one-hot rows agree with each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_dart.alphabet import (
    IUPAC,
    check_letters,
    checked_bases,
    decode_bases,
    encode_bases,
    known_bases,
    letter_shares,
    one_hot,
    one_hot_letters,
    reverse_complement,
    reverse_complement_codes,
    reverse_complement_letters,
)


def test_u_is_t_and_every_other_letter_is_unknown():
    assert encode_bases("ACGTUacgtuNR-").tolist() == [0, 1, 2, 3, 3, 0, 1, 2, 3, 3, 4, 4, 4]
    assert known_bases("acgUuRé*") == "ACGTTNNN"
    assert decode_bases(encode_bases("ANT"), "paper") == "AAT"
    assert reverse_complement("AUGn") == "nCAT"
    assert IUPAC["U"] == "T"
    assert set("".join(IUPAC.values())) == set("ACGT")


@given(st.text("ACGTNacgtn", max_size=30))
def test_all_forms_of_the_other_strand_agree(sequence):
    codes = encode_bases(sequence)
    assert decode_bases(reverse_complement_codes(codes)) == known_bases(reverse_complement(sequence))
    letters = np.frombuffer(sequence.encode(), dtype=np.uint8)
    assert reverse_complement_letters(letters).tobytes().decode() == reverse_complement(sequence)
    assert reverse_complement(reverse_complement(sequence)) == sequence


def test_one_hot_rows_are_read_back():
    codes = np.stack([encode_bases("ACGTN"), encode_bases("NNTTA")])
    rows = one_hot(codes)
    assert rows.dtype == np.float32
    assert rows[0].tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert [row.tobytes() for row in one_hot_letters(rows, "fixed")] == [b"ACGTN", b"NNTTA"]
    with pytest.raises(ValueError, match="not one-hot"):
        one_hot_letters(rows + rows, "fixed")


@given(st.text("ACGTUNacgtunRYKMacgt", max_size=60))
def test_what_is_read_is_dna(sequence):
    try:
        (read,) = checked_bases("source", [sequence])
    except ValueError:
        assert sum(letter in "RYKM" for letter in sequence) > sum(letter in "ACGTUacgtu" for letter in sequence)
        return
    assert len(read) == len(sequence)
    assert set(read) <= set("ACGTN")
    assert read == known_bases(sequence.replace("u", "t").replace("U", "T"))


@pytest.mark.parametrize(
    ("others", "said"), [(0, ""), (1, ""), (2, "x.fa: 2% of the letters are none of A, C, G, T, U")]
)
def test_more_than_one_percent_of_other_letters_are_said_once(others, said, caplog, tmp_path):
    source = f"{tmp_path}/x.fa"
    letters = np.frombuffer((b"ACGU" * 50)[: 100 - others] + b"R" * others + b"N" * 900, dtype=np.uint8)
    for _ in range(2):
        check_letters(source, letters)
    assert [record.getMessage().replace(f"{tmp_path}/", "")[: len(said)] for record in caplog.records] == [said] * bool(
        said
    )


def test_a_protein_is_refused():
    with pytest.raises(
        ValueError, match=r"^p\.fa: 100% of the letters are none of A, C, G, T, U and N \(such as L, M, K\)"
    ):
        checked_bases("p.fa", ["MKLLVM", "MKLL", "N" * 100])


def test_shares_of_letters():
    assert letter_shares("ACgtUNnR") == (3 / 8, 3 / 8, 2 / 5)  # A, C, g, t and U are known, C and g strong
    assert np.isnan(letter_shares("")).all()
    assert letter_shares("NN")[:2] == (0, 1)
    assert np.isnan(letter_shares("NN")[2])
