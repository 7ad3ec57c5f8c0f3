"""Counts of rows that repeat others, against a brute-force count."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from datasets_dart import load_dart
from datasets_dart.alphabet import reverse_complement
from datasets_dart.duplicates import (
    Compared,
    Counts,
    Seen,
    count_duplicates,
    counts_of,
    keys_of,
    overlapping,
    repeated,
    said,
    write_counts,
)
from datasets_dart.formats.bed import Windows
from datasets_dart.kmers import K

sequences = st.lists(st.text("ACG", min_size=1, max_size=3) | st.text("acgtu", min_size=1, max_size=3), max_size=12)
intervals = st.lists(st.tuples(st.sampled_from("xy"), st.integers(0, 20), st.integers(1, 5)), max_size=8)


def plain(sequence):
    return sequence.upper().replace("U", "T")


def within(rows):
    """(same, reverse complements) of rows that repeat an earlier one."""
    texts = [plain(row) for row in rows]
    same = [text in texts[:row] for row, text in enumerate(texts)]
    other = [reverse_complement(text) in texts[:row] for row, text in enumerate(texts)]
    return sum(same), sum(one and not two for one, two in zip(other, same, strict=True))


def against(rows, others):
    texts, there = [plain(row) for row in rows], [plain(row) for row in others]
    same = [text in there for text in texts]
    other = [reverse_complement(text) in there for text in texts]
    return sum(same), sum(one and not two for one, two in zip(other, same, strict=True))


@given(sequences, sequences)
def test_counts_are_those_of_a_brute_force_search(train, test):
    data = {
        name: Dataset.from_dict({"sequence": pa.array(rows, pa.string())})
        for name, rows in (("train", train), ("test", test))
    }
    counts = count_duplicates(data, Compared())
    for name, rows in (("train", train), ("test", test)):
        found = counts[name].within
        assert (counts[name].rows, found.same, found.reverse_complement) == (len(rows), *within(rows))
    found = counts["test"].against["train"]
    assert (found.same, found.reverse_complement) == against(test, train)
    assert counts["train"].against == {}


def test_near_duplicates_groups_and_places():
    draw = np.random.default_rng(0)
    one, two, three = ("".join(draw.choice(list("ACGT"), 100)) for _ in range(3))
    train = {
        "sequence": [one, one, two, one[:70] + two[70:]],
        "kind": ["a", "b", "a", "a"],
        "chrom": ["1", "1", "1", "2"],
        "start": [0, 0, 150, 0],
    }
    test = {
        "sequence": [reverse_complement(two), three, three[:5] + one[:80] + three[85:]],
        "kind": ["a", "a", "b"],
        "chrom": ["1", "1", "2"],
        "start": [99, 300, 90],
    }
    data = {"train": Dataset.from_dict(train), "test": Dataset.from_dict(test)}
    counts = count_duplicates(data, Compared(group=("kind",)))
    # one is near the chimera, whose first 70 bases are its own; rows of two kinds are not compared within a split
    assert counts["train"].within == Counts(same=0, reverse_complement=0, near=2, overlapping=0)
    assert count_duplicates(data, Compared())["train"].within == Counts(1, 0, 2, 2)
    assert counts["test"].within == Counts(0, 0, 0, 0)
    assert counts["test"].against == {"train": Counts(same=0, reverse_complement=1, near=1, overlapping=2)}
    assert said(counts) == (
        "train: 4 rows, repeated within: 2 nearly the same. test: 3 rows, repeated within: none; as in train: "
        "1 the reverse complement, 1 nearly the same, 2 overlapping in place"
    )


def test_data_that_are_too_large_are_counted_without_near_duplicates(monkeypatch):
    data = {"test": Dataset.from_dict({"sequence": ["ACGT" * 20] * 3})}
    monkeypatch.setattr("datasets_dart.duplicates.NEAR_ROWS", 2)
    counts = count_duplicates(data, Compared())
    assert counts["test"].within == Counts(2, 0, None, None)
    assert said(counts) == "test: 3 rows, repeated within: 2 the same, near-duplicates not looked for"
    assert count_duplicates(data, Compared(), all_near=True)["test"].within.near == 0


@given(st.lists(st.tuples(st.text("ACGT", max_size=2), st.text("ACGT", max_size=2)), max_size=10))
def test_alleles_are_compared_in_either_order_and_on_either_strand(pairs):
    keys = keys_of([one for one, _ in pairs], [two for _, two in pairs])
    for row, own in enumerate(pairs):
        for other_row, other in enumerate(pairs):
            same = sorted(own) == sorted(other)
            either = sorted(min(text, reverse_complement(text)) for text in own) == sorted(
                min(text, reverse_complement(text)) for text in other
            )
            assert (keys.strand[row] == keys.strand[other_row]) == same
            assert (keys.either[row] == keys.either[other_row]) == either


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2)), max_size=12))
def test_repeated_rows_are_those_that_come_after_an_equal_one(rows):
    names, numbers = np.array([name for name, _ in rows], dtype=object), np.array([n for _, n in rows], dtype=np.int64)
    assert repeated(names, numbers).tolist() == [row in rows[:place] for place, row in enumerate(rows)]


@given(st.lists(st.lists(st.integers(0, 30), max_size=8), max_size=12))
def test_keys_are_new_once(chunks):
    seen, there = Seen(), set()
    for keys in chunks:
        new = seen.are_new(np.array(keys, dtype=np.uint64)).tolist()
        assert new == [key not in there and key not in keys[:at] for at, key in enumerate(keys)]
        there.update(keys)
        lengths = [*map(len, seen.arrays)]
        assert all(one >= 2 * two for one, two in pairwise(lengths))
        assert sum(lengths) == len(there)


@given(intervals, intervals)
def test_overlaps_are_those_of_all_pairs(rows, others):
    def windows(these):
        start = np.array([start for _, start, _ in these], dtype=np.int64)
        length = np.array([length for *_, length in these], dtype=np.int64)
        return Windows(np.array([name for name, *_ in these], dtype=object), start, start + length)

    def shares(one, two):
        return one[0] == two[0] and one[1] < two[1] + two[2] and two[1] < one[1] + one[2]

    inside = [
        any(shares(row, rows[other]) for other in range(len(rows)) if other != place) for place, row in enumerate(rows)
    ]
    assert overlapping(windows(rows)).tolist() == inside
    outside = [any(shares(row, other) for other in others) for row in rows]
    assert overlapping(windows(rows), windows(others)).tolist() == outside


def test_counts_lie_beside_the_rows(tmp_path):
    data = Dataset.from_dict({"sequence": ["A" * K, "T" * K]})
    assert counts_of(data) is None
    counts = count_duplicates({"test": data}, Compared())
    data.save_to_disk(tmp_path / "saved")
    write_counts(tmp_path / "saved", counts)
    found = counts_of(Dataset.load_from_disk(tmp_path / "saved"))
    assert found == {
        "test": {
            "rows": 2,
            "within": {"same": 0, "reverse_complement": 1, "near": 0, "overlapping": None},
            "against": {},
        }
    }


@pytest.mark.parametrize("protocol", ["fixed", "paper"])
def test_an_element_that_comes_twice_is_scored_once(protocol, tmp_path):
    letters = "".join(np.random.default_rng(0).choice(list("ACGT"), 3000))
    (tmp_path / "g.fa").write_text(f">chr20\n{letters}\n>chr1\n{letters[1000:2000]}{letters}\n")
    rows = [("chr20", 500, 1000), ("chr1", 300, 800), ("20", 500, 1000), ("chr20", 1000, 1500), ("chr1", 1500, 2000)]
    (tmp_path / "e.bed").write_text("".join(f"{chrom}\t{start}\t{end}\tA\n" for chrom, start, end in rows))
    inputs = {"genome": tmp_path / "g.fa", "elements": tmp_path / "e.bed", "cache_dir": tmp_path / "cache"}
    data = load_dart("cell_type_elements", labels=["A"], protocol=protocol, **inputs)
    fixed = protocol == "fixed"
    assert data["test"]["id"][:] == ([0, 3] if fixed else [0, 2, 3])
    counts = counts_of(data["test"])
    assert counts["test"]["within"]["same"] == (0 if fixed else 1)
    # chr1:1500-2000 is chr20:500-1000 elsewhere
    assert counts["test"]["against"]["train"]["same"] == (1 if fixed else 2)
    what = "1 at the place of an earlier one, " + ("left out" if fixed else "kept")
    assert what in " ".join(data["test"].info.description.split())
