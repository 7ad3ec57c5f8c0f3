"""Which windows of a genome are drawn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_dart.alphabet import UNKNOWN, encode_bases, reverse_complement_codes
from trainer_scripts.genome_windows import (
    GenomeCodes,
    apart_from,
    as_regions,
    base_codes,
    choose_blocks,
    draw_windows,
    epoch_windows,
    original_spans,
    subtract_regions,
    tile_windows,
)

pairs = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=6)


def positions(regions: np.ndarray) -> set[int]:
    return {position for start, end in regions.tolist() for position in range(start, end)}


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "g.fa"
    path.write_text(">one\nACGTACGTAC\n>two\nNNNNNggggg\n>three\nTTTT\n")
    return str(path)


def test_codes_and_regions(fasta, tmp_path):
    genome = GenomeCodes.from_fasta(fasta, ["one", "two"])
    assert genome.codes.tolist() == encode_bases("ACGTACGTACNNNNNGGGGG").tolist()
    assert genome.whole().tolist() == [[0, 10], [10, 20]]
    bed = tmp_path / "r.bed"
    bed.write_text("two\t1\t3\nthree\t0\t4\none\t8\t10\n")
    assert genome.regions(str(bed)).tolist() == [[8, 10], [11, 13]]
    # A margin stays within its contig.
    assert genome.regions(str(bed), margin=2).tolist() == [[6, 10], [10, 15]]
    assert genome.bed_lines(genome.regions(str(bed))) == "one\t8\t10\ntwo\t1\t3\n"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("four\t0\t1\n", r"r\.bed:2: .*g\.fa has no contig 'four'"),
        ("one\t5\t11\n", r"r\.bed:2: one ends at 10, before 11"),
    ],
)
def test_a_bed_of_another_genome(fasta, tmp_path, row, message):
    bed = tmp_path / "r.bed"
    bed.write_text("one\t0\t1\n" + row)
    with pytest.raises(ValueError, match=message):
        GenomeCodes.from_fasta(fasta).regions(str(bed))


def test_a_contig_that_is_not_there(fasta):
    with pytest.raises(ValueError, match=r"g\.fa.*'chrX'"):
        GenomeCodes.from_fasta(fasta, ["chrX"])


@given(pairs, pairs)
def test_subtraction_is_that_of_sets(kept, removed):
    a, b = as_regions(kept), as_regions(removed)
    left = subtract_regions(a, b)
    assert positions(left) == positions(a) - positions(b)
    assert (left[:, 0] < left[:, 1]).all()


@given(pairs, pairs, st.integers(1, 12), st.integers(0, 2**32))
def test_no_window_touches_what_was_cut_out(kept, removed, length, seed):
    # Base codes stand in for positions: a window is a stretch of consecutive numbers inside one region.
    regions = subtract_regions(as_regions(kept), as_regions(removed))
    if not (regions[:, 1] - regions[:, 0] >= length).any():
        with pytest.raises(ValueError, match=f"window of {length} bases"):
            draw_windows(np.arange(60), regions, np.arange(5), length, seed)
        return
    positions_as_codes = np.arange(100, 160)
    windows = draw_windows(positions_as_codes, regions, np.arange(5), length, seed, reverse_complement=False)
    windows = windows.astype(int) - 100
    assert (np.diff(windows, axis=1) == 1).all()
    for window in windows:
        assert any(start <= window[0] and window[-1] < end for start, end in regions.tolist())


def test_every_start_is_equally_likely():
    regions = as_regions([(0, 3), (5, 10), (20, 21)])
    windows = draw_windows(np.arange(100, 130), regions, np.arange(6000), 3, 0, reverse_complement=False)
    starts, counts = np.unique(windows[:, 0] - 100, return_counts=True)
    assert starts.tolist() == [0, 5, 6, 7]
    np.testing.assert_allclose(counts, 1500, atol=150)


def test_half_the_windows_are_reverse_complements():
    codes = encode_bases("AACCNGTA")
    windows = draw_windows(codes, as_regions([(0, 8)]), np.arange(400), 8, 0, max_unknown=1)
    forward = (windows == codes).all(axis=1)
    assert (windows[~forward] == reverse_complement_codes(codes)).all()
    assert 150 < forward.sum() < 250


def test_windows_with_much_unknown_are_not_drawn():
    codes = encode_bases("ACGT" + "N" * 20 + "ACGT")
    windows = draw_windows(codes, as_regions([(0, 28)]), np.arange(50), 4, 0, max_unknown=0.25)
    assert (windows == UNKNOWN).sum(axis=1).max() == 1
    with pytest.raises(ValueError, match="hardly any window of 4 bases has at most 0% unknown"):
        draw_windows(codes, as_regions([(5, 20)]), np.arange(5), 4, 0, max_unknown=0)


def test_tiles():
    codes = encode_bases("ACGTNCGTACGTA")
    assert tile_windows(codes, as_regions([(0, 6), (5, 6), (6, 13)]), 3).tolist() == [0, 6, 9]
    assert tile_windows(codes, as_regions([]), 3).tolist() == []
    assert tile_windows(codes, as_regions([(3, 13)]), 5, max_unknown=0.2).tolist() == [3, 8]
    assert tile_windows(codes, as_regions([(3, 13)]), 5, max_unknown=0.19).tolist() == [8]


def test_held_out_blocks():
    codes = np.zeros(1000, dtype=np.uint8)
    codes[:500] = UNKNOWN
    blocks = choose_blocks(codes, as_regions([(0, 700), (700, 1000)]), 0.2, 50, np.random.default_rng(0))
    assert len(positions(blocks)) == 200
    assert all(start % 50 == 0 and start >= 500 for start, _ in blocks.tolist())
    for fraction in (0, 1, 2, np.nan):
        with pytest.raises(ValueError, match="cannot be held out"):
            choose_blocks(codes, as_regions([(0, 1000)]), fraction, 50, np.random.default_rng(0))
    with pytest.raises(ValueError, match="no block of 600 known bases"):
        choose_blocks(codes, as_regions([(0, 1000)]), 0.2, 600, np.random.default_rng(0))


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=20), st.integers(0, 2**32), st.booleans())
def test_a_window_is_a_function_of_seed_and_number(numbers, seed, both_strands):
    codes = np.random.default_rng(0).integers(0, 4, 500).astype(np.uint8)
    regions, spans = as_regions([(0, 200), (300, 500)]), np.array([[0, 16], [100, 116], [480, 490]])
    for draw in (
        lambda chosen: draw_windows(codes, regions, chosen, 16, seed, reverse_complement=both_strands),
        lambda chosen: epoch_windows(codes, spans, chosen, 16, seed, reverse_complement=both_strands),
    ):
        together = draw(np.array(numbers))
        for number, window in zip(numbers, together, strict=True):
            assert (draw(np.array([number]))[0] == window).all()


spans_in_contigs = st.lists(
    st.tuples(st.sampled_from([0, 40]), st.integers(0, 39), st.integers(1, 40)).map(
        lambda it: (it[0] + it[1], min(it[0] + 40, it[0] + it[1] + it[2]))
    ),
    min_size=1,
    max_size=8,
)


@given(spans_in_contigs, st.integers(1, 50))
def test_the_original_windows(intervals, length):
    contigs = as_regions([(0, 40), (40, 80)])
    spans = original_spans(np.array(intervals), contigs, length)
    for (start, end), (first, last) in zip(intervals, spans.tolist(), strict=True):
        low = 40 * (start // 40)
        if end - start >= length:
            assert (first, last) == (start, start + length)
            continue
        missing = length - (end - start)
        left, right = start - missing // 2, end + missing - missing // 2
        assert (first, last) == (max(low, left), min(low + 40, right))


@given(spans_in_contigs, pairs)
def test_spans_apart_from_regions(spans, removed):
    regions = as_regions(removed)
    expected = [not positions(np.array([span])) & positions(regions) for span in spans]
    assert apart_from(np.array(spans), regions).tolist() == expected


@given(st.integers(1, 7), st.integers(0, 2**32), st.integers(0, 5))
def test_an_epoch_has_every_interval_once(intervals, seed, epoch):
    codes = np.arange(100, 170, dtype=np.uint8)
    spans = np.stack([10 * np.arange(intervals), 10 * np.arange(intervals) + 10], axis=1)
    windows = epoch_windows(codes, spans, epoch * intervals + np.arange(intervals), 10, seed)
    assert sorted(windows[:, 0].tolist()) == [100 + 10 * i for i in range(intervals)]
    assert (np.diff(windows.astype(int), axis=1) == 1).all()


def test_a_short_window_is_filled_on_the_left():
    codes = encode_bases("ACGTACGT")
    assert epoch_windows(codes, np.array([[5, 8]]), np.array([0]), 5, 0).tolist() == [[4, 4, 1, 2, 3]]
    reverse = {
        tuple(row)
        for row in epoch_windows(codes, np.array([[5, 8]]), np.arange(20), 5, 0, reverse_complement=True).tolist()
    }
    assert reverse == {(4, 4, 1, 2, 3), (0, 1, 2, 4, 4)}


def test_soft_masked_bases(tmp_path):
    assert base_codes("ACgtnN").tolist() == [0, 1, 2, 3, 4, 4]
    assert base_codes("ACgtnN", "unknown").tolist() == [0, 1, 4, 4, 4, 4]
    assert base_codes("ACgtnN", "ignore").tolist() == [0, 1, 10, 11, 4, 4]
    (tmp_path / "g.fa").write_text(">one\nACgt\nnN\n")
    genome = GenomeCodes.from_fasta(str(tmp_path / "g.fa"), soft_masked="ignore")
    assert genome.codes.tolist() == [0, 1, 10, 11, 4, 4]
    flipped = draw_windows(genome.codes, genome.whole(), np.arange(20), 6, 0, max_unknown=1)
    assert {tuple(row) for row in flipped.tolist()} == {(0, 1, 10, 11, 4, 4), (4, 4, 8, 9, 2, 3)}


def test_splits_in_the_fourth_column(fasta, tmp_path):
    bed = tmp_path / "sequences.bed"
    bed.write_text("one\t0\t4\ttrain\ntwo\t0\t5\tvalid\none\t2\t6\ttrain\nthree\t0\t4\ttest\n")
    genome = GenomeCodes.from_fasta(fasta)
    assert genome.intervals(str(bed), split="train").tolist() == [[0, 4], [2, 6]]
    assert genome.regions(str(bed), split="train").tolist() == [[0, 6]]
    assert genome.regions(str(bed), split="validation").tolist() == [[10, 15]]
    assert genome.regions(str(bed), split="test").tolist() == [[20, 24]]
    bed.write_text("one\t0\t4\ttrain\none\t4\t6\tdev\n")
    with pytest.raises(ValueError, match=r"sequences\.bed:2: split 'dev' is not one of train, valid"):
        genome.regions(str(bed), split="train")
