"""Background windows with the peaks' GC content."""

import numpy as np
import pytest

from datasets_dart.formats.bed import Windows
from datasets_dart.formats.fasta import open_genome
from datasets_dart.gc_matching import gc_fractions, gc_matched_negatives, match_gc
from datasets_dart.peaks import overlaps_any


@pytest.fixture
def genome(tmp_path):
    """Two contigs whose GC content rises and falls, one with a run of N."""
    rng = np.random.default_rng(3)
    with (tmp_path / "g.fa").open("w") as file:
        for name, length in (("chr1", 60_000), ("chr2", 30_000)):
            gc = 0.5 + 0.25 * np.sin(np.arange(length) / 2000)
            bases = np.where(rng.random(length) < gc, rng.choice(list("GC"), length), rng.choice(list("AT"), length))
            if name == "chr1":
                bases[20_000:20_100] = "N"
            file.write(f">{name}\n{''.join(bases)}\n")
    return open_genome(tmp_path / "g.fa")


def some_peaks(width=200):
    start = np.array([1000, 3000, 3100, 9000, 15_000, 500, 7000])
    return Windows(np.array(["chr1"] * 5 + ["chr2"] * 2, dtype=object), start, start + width)


def test_gc_fractions_equal_the_definition(genome, monkeypatch):
    monkeypatch.setattr("datasets_dart.gc_matching.SPAN", 700)
    start = np.arange(0, 59_900, 137)
    expected = []
    for first in start.tolist():
        bases = genome.windows("chr1", np.array([first]), 300).tobytes().decode()
        expected.append(np.nan if "N" in bases else (bases.count("G") + bases.count("C")) / 300)
    np.testing.assert_array_equal(gc_fractions(genome, "chr1", start, 300), expected)


def test_negatives_match_the_peaks_and_keep_away_from_them(genome):
    peaks = some_peaks()
    blacklist = Windows(np.array(["chr2"], dtype=object), np.array([10_000]), np.array([13_000]))
    found, peak, report = gc_matched_negatives(genome, peaks, 200, ratio=2, stride=50, avoid=[blacklist])
    assert not overlaps_any(found, peaks).any()
    assert not overlaps_any(found, blacklist).any()
    assert (found.chrom == "chr1").sum() == 10
    assert (found.chrom == "chr2").sum() == 4
    assert not any(report.values())
    assert len(set(found.names())) == 14
    assert np.bincount(peak).tolist() == [2] * 7
    assert (found.chrom == peaks.chrom[peak]).all()
    for name in ("chr1", "chr2"):
        ours = gc_fractions(genome, name, np.sort(peaks.start[peaks.chrom == name]), 200)
        theirs = gc_fractions(genome, name, found.start[found.chrom == name], 200)
        np.testing.assert_allclose(np.sort(np.repeat(ours, 2)), np.sort(theirs), atol=0.025)
    again, *_ = gc_matched_negatives(genome, peaks, 200, ratio=2, stride=50, avoid=[blacklist])
    assert again.names() == found.names()
    other, *_ = gc_matched_negatives(genome, peaks, 200, ratio=2, stride=50, avoid=[blacklist], seed=1)
    assert other.names() != found.names()
    alone, *_ = gc_matched_negatives(genome, peaks.take(np.arange(5)), 200, ratio=2, stride=50)
    assert alone.names() == [name for name in found.names() if name.startswith("chr1:")]


def test_negatives_are_in_their_peaks_split(genome):
    peaks = some_peaks()

    def part_of(windows: Windows) -> np.ndarray:
        """Of chr1, its first 8,000 bases and the others; of chr2 nothing."""
        return np.where(windows.chrom == "chr2", -1, (windows.start >= 8000).astype(int))

    found, peak, report = gc_matched_negatives(genome, peaks, 200, ratio=3, stride=50, part_of=part_of)
    assert not any(report.values())
    assert np.bincount(peak, minlength=7).tolist() == [3] * 5 + [0, 0]
    assert (part_of(found) == part_of(peaks)[peak]).all()


def test_what_is_not_found_is_reported(genome):
    start = np.array([19_950, -10, 1000])
    peaks = Windows(np.array(["chr1"] * 3, dtype=object), start, start + 200)
    found, _, report = gc_matched_negatives(genome, peaks, 200, ratio=60, stride=5000)
    assert report["peak has an N or runs past an end of its contig: not matched"] == 2
    assert len(found.start) + report["no free candidate with the peak's GC"] == 60
    everywhere = Windows(np.array(["chr1"], dtype=object), np.array([0]), np.array([60_000]))
    with pytest.raises(ValueError, match=r"g\.fa: has no window of 200 bp away from the peaks"):
        gc_matched_negatives(genome, peaks, 200, avoid=[everywhere])
    with pytest.raises(ValueError, match=r"g\.fa: has no contig 'chr3'"):
        gc_matched_negatives(genome, peaks._replace(chrom=np.array(["chr3"] * 3, dtype=object)), 200)


def test_matches_are_exact_first_and_nearest_then():
    rng = np.random.default_rng(0)
    candidates = np.array([0.40, 0.40, 0.42, 0.50])
    assert sorted(match_gc(np.array([0.40, 0.41, 0.403]), candidates, 0.02, rng)) == [0, 1, 2]
    assert match_gc(np.array([0.50, 0.50]), candidates, 0.02, rng).tolist().count(-1) == 1
    assert match_gc(np.array([0.46]), candidates, 0.02, rng).tolist() == [-1]
    assert match_gc(np.array([0.46]), candidates, 0.04, rng).tolist() == [2]
