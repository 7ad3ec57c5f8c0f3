"""The one alphabet: codes, RNA, other strands and one-hot rows agree with each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_dart.alphabet import (
    IUPAC,
    decode_bases,
    encode_bases,
    known_bases,
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
