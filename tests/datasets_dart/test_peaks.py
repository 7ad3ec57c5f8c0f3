"""Consensus peaks against the original's output, and what the fixed protocol does otherwise."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_dart.formats.bed import Peaks, Windows, count_overlaps, read_narrowpeak
from datasets_dart.peaks import (
    consensus_windows,
    greedily_disjoint,
    overlaps_any,
    sole_cell_line,
    sole_class,
    summit_windows,
)

FIXTURES = Path(__file__).parents[1] / "fixtures" / "task3"
CELLS = ("GM12878", "HEPG2", "IMR90", "K562", "H1ESC")  # in the original's order


def golden_peaks():
    return [read_narrowpeak(FIXTURES / "narrowpeak" / f"{cell}.narrowPeak") for cell in CELLS]


def golden_table(name):
    return [tuple(line.split("\t")) for line in (FIXTURES / name).read_text().splitlines()[1:]]


def peaks(*summits, chrom="chr1", q=None):
    summit = np.array(summits, dtype=np.int64)
    q_value = np.array(q if q is not None else range(len(summits), 0, -1), dtype=np.float64)
    return Peaks(np.full(len(summit), chrom, dtype=object), summit - 10, summit + 10, summit, q_value)


def windows(*spans, chrom="chr1"):
    start, end = np.array(spans, dtype=np.int64).T
    return Windows(np.full(len(spans), chrom, dtype=object), start, end)


def test_paper_protocol_equals_the_original():
    kept, left_out = consensus_windows(golden_peaks(), "paper")
    assert [(chrom, str(start), str(end)) for chrom, start, end in zip(*kept, strict=True)] == golden_table(
        "accepted_peaks_all.tsv"
    )
    assert left_out == Counter({"overlap a window of a better peak": 1004})


def test_windows_are_accepted_in_the_originals_order():
    every = Peaks(*(np.concatenate(column) for column in zip(*golden_peaks(), strict=True)))
    order = np.argsort(-every.q_value, kind="stable")
    for name in set(every.chrom.tolist()):
        rows = order[every.chrom[order] == name]
        start = every.summit[rows] - 250
        accepted = start[greedily_disjoint(start, 500, touching=True)]
        assert accepted.tolist() == [int(row[2]) for row in golden_table("acceptance_order.tsv") if row[0] == name]


def test_fixed_protocol_keeps_windows_that_touch():
    sets = [peaks(1500, 1000, 2000)]  # the best first; one ends where it starts, one starts where it ends
    assert consensus_windows(sets, "paper")[0].names() == ["chr1:1250-1750", "chr1:1750-2250"]
    assert consensus_windows(sets, "fixed")[0].names() == ["chr1:750-1250", "chr1:1250-1750", "chr1:1750-2250"]


def test_fixed_protocol_does_not_depend_on_the_order_of_the_files():
    sets = [peaks(1000, 5000, q=[3, 3]), peaks(1100, 4900, q=[3, 3])]
    fixed = [consensus_windows(order, "fixed")[0].names() for order in (sets, sets[::-1])]
    assert fixed[0] == fixed[1] == ["chr1:750-1250", "chr1:4650-5150"]
    paper = [consensus_windows(order, "paper")[0].names() for order in (sets, sets[::-1])]
    assert paper == [["chr1:750-1250", "chr1:4750-5250"], ["chr1:850-1350", "chr1:4650-5150"]]


def test_fixed_protocol_leaves_out_what_cannot_be_used_before_it_suppresses_others():
    sets = [peaks(100, 400, 9900, 5000, 5300)]
    kept, left_out = consensus_windows(sets, "fixed", contigs={"chr1": 10_000}, blacklist=windows((5240, 5250)))
    assert kept.names() == ["chr1:150-650"]
    assert left_out == Counter(
        {"run past an end of their contig": 2, "are on the blacklist": 2, "overlap a window of a better peak": 0}
    )
    assert consensus_windows(sets, "fixed", contigs={"chr2": 10_000})[1] == Counter(
        {"are on contigs that the genome does not have": 5, "run past an end of their contig": 0}
    )
    assert "chr1:-150-350" in consensus_windows(sets, "paper", contigs={"chr1": 10_000})[0].names()


@given(st.lists(st.integers(-60, 200), max_size=60), st.integers(1, 30), st.booleans())
def test_greedy_choice_equals_its_definition(starts, width, touching):
    kept = []
    for first in starts:
        if not any((first < a and first + width >= a + (not touching)) or a <= first < a + width for a in kept):
            kept.append(first)
    start = np.array(starts, dtype=np.int64)
    assert start[greedily_disjoint(start, width, touching)].tolist() == kept


spans = st.lists(st.tuples(st.integers(-20, 50), st.integers(1, 20)).map(lambda x: (x[0], sum(x))), max_size=20)


@given(spans, spans)
def test_overlaps_equal_their_definition(ours, others):
    start, end = np.array(ours, dtype=np.int64).reshape(-1, 2).T
    other_start, other_end = np.array(others, dtype=np.int64).reshape(-1, 2).T
    expected = [sum(a < d and c < b for c, d in others) for a, b in ours]
    assert count_overlaps(start, end, other_start, other_end).tolist() == expected


def test_peaks_of_another_genome_are_refused():
    path = FIXTURES / "narrowpeak" / "GM12878.narrowPeak"
    with pytest.raises(
        ValueError, match=r"narrowPeak:1: chrX:67504-67961 is on a contig that the genome does not have"
    ):
        read_narrowpeak(path, {"chr1": 10**6})
    with pytest.raises(
        ValueError, match=r"narrowPeak:1: chrX:67504-67961 ends beyond its contig in the genome: another"
    ):
        read_narrowpeak(path, {"chrX": 67_960})


def test_overlaps_need_the_same_contig():
    assert overlaps_any(windows((0, 10)), windows((5, 6), chrom="chr2")).tolist() == [False]
    assert overlaps_any(windows((0, 10), (10, 20)), windows((5, 10))).tolist() == [True, False]


def test_sole_class():
    positive = np.array([[1, 1, 0, 0], [0, 1, 0, 1]], dtype=bool)
    assert sole_class(positive).tolist() == [0, -1, -1, 1]
    assert sole_cell_line(windows((0, 100), (500, 600)), [peaks(50, 550), peaks(95)]).tolist() == [-1, 0]


def test_summit_windows():
    assert summit_windows(peaks(1057, 5000), 2114).names() == ["chr1:0-2114", "chr1:3943-6057"]


BAD_ROWS = {
    "nine columns": ("chr1\t0\t9\ta\t0\t.\t1\t1\t1\n", r"bad:1: 9 columns where 10 are needed"),
    "no summit": (
        "chr1\t0\t9\ta\t0\t.\t1\t1\t1\t-1\n",
        r"bad: has no peaks with a summit \(column 10\)",
    ),
    "summit outside": (
        "chr1\t0\t9\ta\t0\t.\t1\t1\t1\t9\n",
        r"bad:1: summit '9' \(column 10\) is not within a peak of 9 bp",
    ),
    "no q": ("\nchr1\t0\t9\ta\t0\t.\t1\t1\tnan\t3\n", r"bad:2: q-value 'nan' \(column 9\) is not a number"),
    "comments": ("# nothing\n", r"bad: has no peaks"),
}


@pytest.mark.parametrize("text", BAD_ROWS)
def test_bad_narrowpeak(tmp_path, text):
    content, message = BAD_ROWS[text]
    (tmp_path / "bad").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_narrowpeak(tmp_path / "bad")


def test_peaks_without_a_summit_are_left_out(tmp_path, caplog):
    path = tmp_path / "some"
    path.write_text(
        "".join(f"chr1\t{start}\t{start + 9}\ta\t0\t.\t1\t1\t1\t{at}\n" for start, at in ((0, -1), (50, 4), (90, -1)))
    )
    left_out = Counter()
    assert read_narrowpeak(path, left_out=left_out).summit.tolist() == [54]
    assert left_out == {"have no summit (-1 in column 10)": 2}
    assert not caplog.records
    read_narrowpeak(path)
    assert caplog.messages == [f"{path}: 2 peaks have no summit (-1 in column 10), and are left out: line 1, 3"]
