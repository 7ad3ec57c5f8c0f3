"""Which windows of a genome are drawn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation_dart.baselines import UNKNOWN, encode_bases, reverse_complement_codes
from trainer_scripts.genome_windows import (
    GenomeCodes,
    as_regions,
    choose_blocks,
    draw_windows,
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
    rng = np.random.default_rng(seed)
    if not (regions[:, 1] - regions[:, 0] >= length).any():
        with pytest.raises(ValueError, match=f"window of {length} bases"):
            draw_windows(np.arange(60), regions, 5, length, rng)
        return
    windows = draw_windows(np.arange(100, 160), regions, 5, length, rng, reverse_complement=False).astype(int) - 100
    assert (np.diff(windows, axis=1) == 1).all()
    for window in windows:
        assert any(start <= window[0] and window[-1] < end for start, end in regions.tolist())


def test_every_start_is_equally_likely():
    regions = as_regions([(0, 3), (5, 10), (20, 21)])
    windows = draw_windows(np.arange(100, 130), regions, 6000, 3, np.random.default_rng(0), reverse_complement=False)
    starts, counts = np.unique(windows[:, 0] - 100, return_counts=True)
    assert starts.tolist() == [0, 5, 6, 7]
    np.testing.assert_allclose(counts, 1500, atol=150)


def test_half_the_windows_are_reverse_complements():
    codes = encode_bases("AACCNGTA")
    windows = draw_windows(codes, as_regions([(0, 8)]), 400, 8, np.random.default_rng(0), max_unknown=1)
    forward = (windows == codes).all(axis=1)
    assert (windows[~forward] == reverse_complement_codes(codes)).all()
    assert 150 < forward.sum() < 250


def test_windows_with_much_unknown_are_not_drawn():
    codes = encode_bases("ACGT" + "N" * 20 + "ACGT")
    windows = draw_windows(codes, as_regions([(0, 28)]), 50, 4, np.random.default_rng(0), max_unknown=0.25)
    assert (windows == UNKNOWN).sum(axis=1).max() == 1
    with pytest.raises(ValueError, match="hardly any window of 4 bases has at most 0% unknown"):
        draw_windows(codes, as_regions([(5, 20)]), 5, 4, np.random.default_rng(0), max_unknown=0)


def test_tiles():
    codes = encode_bases("ACGTNCGTACGTA")
    assert tile_windows(codes, as_regions([(0, 6), (5, 6), (6, 13)]), 3).tolist() == [0, 6, 9]
    assert tile_windows(codes, as_regions([]), 3).tolist() == []


def test_held_out_blocks():
    codes = np.zeros(1000, dtype=np.uint8)
    codes[:500] = UNKNOWN
    blocks = choose_blocks(codes, as_regions([(0, 700), (700, 1000)]), 0.2, 50, np.random.default_rng(0))
    assert len(positions(blocks)) == 200
    assert all(start % 50 == 0 and start >= 500 for start, _ in blocks.tolist())
    with pytest.raises(ValueError, match="no block of 600 known bases"):
        choose_blocks(codes, as_regions([(0, 1000)]), 0.2, 600, np.random.default_rng(0))
