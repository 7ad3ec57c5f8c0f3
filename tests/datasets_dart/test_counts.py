"""The count matrix: reads and fragments in windows, and tables of them."""

import gzip

import numpy as np
import pysam
import pytest

from datasets_dart.counts import CountMatrix, count_fragments, count_reads, read_counts, write_counts
from datasets_dart.formats.bed import Windows

CONTIGS = {"chr1": 5000, "chr2": 3000}
WINDOWS = Windows(
    np.array(["chr1", "chr2", "chr1"], dtype=object), np.array([100, 100, 300]), np.array([200, 200, 400])
)
PAIR, REVERSE, FIRST, SECOND = 0x3, 0x10, 0x40, 0x80
READS = [  # name, flag, contig, position, mate's position, template length; 50 bp each
    ("pair", PAIR | FIRST, 0, 110, 350, 290),  # both windows of chr1
    ("pair", PAIR | REVERSE | SECOND, 0, 350, 110, -290),
    ("inner", PAIR | FIRST, 0, 120, 140, 70),  # both mates in the first window
    ("inner", PAIR | REVERSE | SECOND, 0, 140, 120, -70),
    ("duplicate", PAIR | FIRST | 0x400, 0, 120, 140, 70),
    ("secondary", 0x100, 0, 150, -1, 0),
    ("failed", 0x200, 0, 150, -1, 0),
    ("single", 0, 0, 199, -1, 0),
    ("outside", 0, 0, 200, -1, 0),  # starts where the window ends
    ("before", 0, 0, 50, -1, 0),  # ends where it starts
    ("unmapped", 0x4 | 0x1, 0, 150, 150, 0),  # placed beside its mate
    ("other", 0, 1, 60, -1, 0),
]


@pytest.fixture
def bam(tmp_path):
    path = tmp_path / "GM12878_1.bam"
    header = {"SQ": [{"SN": name, "LN": length} for name, length in CONTIGS.items()]}
    with pysam.AlignmentFile(str(path), "wb", header=header) as file:
        for name, flag, contig, position, mate, length in READS:
            read = pysam.AlignedSegment()
            read.query_name, read.flag, read.reference_id, read.reference_start = name, flag, contig, position
            read.query_sequence = "A" * 50
            if not flag & 0x4:
                read.cigartuples = [(0, 50)]
            if mate >= 0:
                read.next_reference_id, read.next_reference_start, read.template_length = contig, mate, length
            file.write(read)
    return path


def test_paper_counts_reads_and_fixed_counts_fragments(bam):
    assert count_reads(bam, WINDOWS, "paper").tolist() == [7, 1, 1]
    assert count_reads(bam, WINDOWS, "fixed").tolist() == [3, 1, 1]


def test_batches_make_no_difference(bam, monkeypatch):
    monkeypatch.setattr("datasets_dart.counts.BATCH", 2)
    assert count_reads(bam, WINDOWS, "fixed", CONTIGS).tolist() == [3, 1, 1]


def test_another_build_is_refused(bam):
    with pytest.raises(ValueError, match=r"GM12878_1\.bam: chr2 has 3000 bp .*, but 3001 bp in the genome"):
        count_reads(bam, WINDOWS, "fixed", {"chr1": 5000, "chr2": 3001})
    elsewhere = WINDOWS._replace(chrom=np.array(["7", "8", "7"], dtype=object))
    with pytest.raises(ValueError, match=r"GM12878_1\.bam: has none of the contigs 7, 8"):
        count_reads(bam, elsewhere, "fixed")


def test_contigs_under_other_names_are_the_same(bam, tmp_path):
    bare = WINDOWS._replace(chrom=np.array(["1", "2", "1"], dtype=object))
    assert count_reads(bam, bare, "fixed").tolist() == count_reads(bam, WINDOWS, "fixed").tolist()
    (tmp_path / "fragments.bed").write_text("chr1\t150\t350\nchr2\t0\t100\n")
    assert count_fragments(tmp_path / "fragments.bed", bare).tolist() == [1, 0, 1]
    (tmp_path / "fragments.bed").write_text("chr7\t150\t350\n")
    with pytest.raises(ValueError, match=r"fragments\.bed: has none of the contigs 1, 2: it has chr7"):
        count_fragments(tmp_path / "fragments.bed", bare)


def test_what_is_no_alignment_file_is_refused(tmp_path):
    (tmp_path / "x.bam").write_text("chr1\t1\t2\n")
    with pytest.raises(ValueError, match=r"x\.bam: file does not contain alignment data"):
        count_reads(tmp_path / "x.bam", WINDOWS, "fixed")
    with pytest.raises(FileNotFoundError):
        count_reads(tmp_path / "y.bam", WINDOWS, "fixed")


def test_fragments(tmp_path):
    path = tmp_path / "fragments.tsv.gz"
    path.write_bytes(
        gzip.compress(b"# made here\nchr1\t150\t350\tAAAC-1\t2\nchr2\t0\t100\tAAAC-1\t1\nchrM\t1\t2\tA\t1\n")
    )
    assert count_fragments(path, WINDOWS).tolist() == [1, 0, 1]


def matrix(samples, counts):
    return CountMatrix(WINDOWS, samples, np.array(counts))


def test_tables_join_by_peak_and_samples_are_known_by_their_own_names(tmp_path):
    write_counts(tmp_path / "a.csv", matrix(["K562_1", "H1ESC_a"], [[1, 2], [3, 4], [5, 6]]))
    (tmp_path / "overlap.tsv").write_text("peak\tK562_2\nchr1:300-400\t9\nchr1:100-200\t7\nchr2:100-200\t8\n")
    joined = read_counts([tmp_path / "a.csv", tmp_path / "overlap.tsv"])
    assert joined.windows.names() == WINDOWS.names() == ["chr1:100-200", "chr2:100-200", "chr1:300-400"]
    assert joined.samples == ["K562_1", "H1ESC_a", "K562_2"]
    assert joined.cells() == ["K562", "H1ESC", "K562"]
    assert joined.counts.tolist() == [[1, 2, 7], [3, 4, 8], [5, 6, 9]]


BAD_TABLES = {
    "header": ("chrom,K562_1\n", r"bad\.csv:1: not a count table"),
    "twice": (
        "peak,K562_1\nchr1:1-2,3\nchr1:1-2,4\n",
        r"bad\.csv:3: peak chr1:1-2 appears a second time, first in line 2",
    ),
    "fraction": ("peak,K562_1\nchr1:1-2,3.5\n", r"bad\.csv:2: not a peak and 1 counts .*: 'chr1:1-2,3\.5'"),
    "name": ("peak,K562_1\nchr1_1_2,3\n", r"bad\.csv:2: 'chr1_1_2' is not chrom:start-end"),
    "nothing": ("peak,K562_1\n", r"bad\.csv: has no peaks"),
}


@pytest.mark.parametrize("table", BAD_TABLES)
def test_bad_tables(tmp_path, table):
    content, message = BAD_TABLES[table]
    (tmp_path / "bad.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_counts([tmp_path / "bad.csv"])


def test_tables_that_do_not_go_together(tmp_path):
    write_counts(tmp_path / "a.csv", matrix(["K562_1"], [[1], [3], [5]]))
    (tmp_path / "b.csv").write_text("peak,K562_2\nchr1:100-200,7\n")
    with pytest.raises(ValueError, match=r"b\.csv: peak chr1:300-400 is in only one of this file and .*a\.csv"):
        read_counts([tmp_path / "a.csv", tmp_path / "b.csv"])
    with pytest.raises(ValueError, match=r"a\.csv:1: sample 'K562_1' appears a second time"):
        read_counts([tmp_path / "a.csv", tmp_path / "a.csv"])
