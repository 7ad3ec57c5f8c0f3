"""VCF as text: records, REF against the genome, and windows with alleles in them."""

from pathlib import Path

import numpy as np
import pysam
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasets_dart.contigs import find_contig
from datasets_dart.formats import vcf
from datasets_dart.formats.fasta import open_genome
from datasets_dart.formats.vcf import (
    Record,
    haplotypes,
    read_header,
    read_records,
    sort_records,
    summarise,
)

HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
CONTIGS = {"chr1": "ACGTTGCAAGGCTTAACCGT" * 10, "chr2": "GATTACAGATTACA", "chr3": "ACGRNacgtACGTACGT"}


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    fasta = tmp_path_factory.mktemp("genome") / "g.fa"
    fasta.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in CONTIGS.items()))
    return open_genome(fasta)


def record(chrom, position, reference, *alternatives):
    text = "\t".join([chrom, str(position), ".", reference, ",".join(alternatives) or ".", ".", ".", "."])
    return Record(1, text.encode(), chrom, position, reference, alternatives)


def write(tmp_path, *lines, name="in.vcf"):
    path = tmp_path / name
    path.write_bytes((HEADER + "".join(f"{line}\n" for line in lines)).encode())
    return path


@given(
    chrom=st.sampled_from(["chr1", "chr2"]),
    window=st.integers(4, 60),
    start=st.integers(0, 199),
    length=st.integers(1, 12),
    allele=st.text("ACGT", min_size=1, max_size=12),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
def test_windows_are_of_the_haplotype(genome, chrom, window, start, length, allele):
    contig = CONTIGS[chrom]
    start = min(start, len(contig) - 1)
    reference = contig[start : start + length]
    cut = haplotypes([record(chrom, start + 1, reference, allele)], genome, window)
    if max(len(reference), len(allele)) > window // 2:
        assert (cut.sequences, cut.status) == ([], [["too_long"]])
        return
    assert (cut.status, cut.record.tolist(), cut.allele.tolist()) == ([[""]], [0, 0], [0, 1])
    for here, sequence in zip((reference, allele), cut.sequences, strict=True):
        haplotype = contig[:start] + here + contig[start + len(reference) :]
        first = max(0, min(start + len(reference) // 2 - window // 2, len(haplotype) - window))
        assert sequence == haplotype[first : first + window]


def test_alleles_of_a_record_share_their_window(genome):
    cut = haplotypes([record("chr1", 101, "A", "C", "AGG", "G"), record("chr1", 101, "ACGT", "A")], genome, 20)
    contig = CONTIGS["chr1"]
    assert cut.record.tolist() == [0, 0, 0, 0, 1, 1]
    left = contig[90:100]
    for allele, sequence in zip(["A", "C", "AGG", "G"], cut.sequences[:4], strict=True):
        assert sequence == (left + allele + contig[101:])[:20]
    assert cut.sequences[5] == contig[92:100] + "A" + contig[104:115]


def test_letters_of_the_genome_that_are_no_bases_are_n(genome):
    (reference, alternative) = haplotypes([record("chr3", 6, "a", "t")], genome, 10).sequences
    assert (reference, alternative) == ("ACGNNACGTA", "ACGNNTCGTA")


def test_what_has_no_score_says_why(genome):
    records = [
        record("chr9", 1, "A", "C"),
        record("chr2", 14, "AC", "A"),
        record("chr2", 0, "N", "A"),
        record("chr2", 1, "A", "C"),
        record("chr2", 1, "G", "<DEL>", "*", "G[chr1:5[", ".", "N", "C", "C" * 9),
        record("chr2", 1, "G"),
        record("chr3", 4, "A", "C"),  # the genome has R, for A or G
        record("chr3", 4, "C", "A"),
        record("chr3", 4, "R", "A"),
    ]
    assert haplotypes(records, genome, 12).status == [
        ["no_contig"],
        ["beyond_contig"],
        ["beyond_contig"],
        ["ref_mismatch"],
        ["no_sequence", "no_sequence", "no_sequence", "no_sequence", "ambiguous", "", "too_long"],
        [],
        [""],
        ["ref_mismatch"],
        ["ambiguous"],
    ]
    (statuses,) = haplotypes([record("chr2", 1, "GA", "G", "TT")], genome, 12, substitutions=True).status
    assert statuses == ["unequal_length", ""]


def test_swapped_alleles_take_the_place_of_the_one_that_is_there(genome):
    """The genome has GATT; a record with REF GTT and ALT GA, of which GA is there."""
    contig = CONTIGS["chr2"]
    cut = haplotypes([record("chr2", 1, "GTT", "C", "GA")], genome, 8, swap=True)
    assert cut.status == [["swapped", "swapped"]]
    assert cut.sequences == [("GTT" + contig[2:])[:8], ("C" + contig[2:])[:8], contig[:8]]
    assert haplotypes([record("chr2", 1, "GTT", "C")], genome, 8, swap=True).status == [["ref_mismatch"]]


def test_contigs_by_either_name(genome, tmp_path):
    assert [find_contig(name, genome.contigs) for name in ("chr1", "1", "chr7", "MT")] == ["chr1", "chr1", None, None]
    fasta = tmp_path / "ensembl.fa"
    fasta.write_text(">1\nACGT\n>MT\nACGT\n")
    names = [find_contig(name, open_genome(fasta).contigs) for name in ("chr1", "1", "chrM", "M")]
    assert names == ["1", "1", "MT", "MT"]


def test_summary_counts_and_lists_mismatches(genome, tmp_path):
    lines = ("chr1\t1\t.\tA\tC,G\t.\t.\t.", "chr1\t2\t.\tT\tC\t.\t.\t.", "chr2\t1\t.\tGATT\t.\t.\t.\t.")
    found = []
    summary = summarise(write(tmp_path, *lines), genome, found.append)
    assert summary == (3, 3, 1, True, {"chr1": "chr1", "chr2": "chr2"})
    assert [(mismatch.record.line, mismatch.genome) for mismatch in found] == [(4, "C")]
    for other in (lines[::-1], (lines[0], lines[2], lines[1])):
        assert not summarise(write(tmp_path, *other), genome).sorted


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("compress", [False, True])
def test_records_are_read_as_they_stand(tmp_path, ending, compress):
    lines = ["chr1\t5\trs1\tA\tC,<DEL>\t9.5\tPASS\tAF=0.5\tGT\t0/1", "", "chr1\t6\t.\tac\tg\t.\t.\t."]
    path = tmp_path / "in.vcf"
    path.write_bytes((HEADER.replace("\n", ending) + ending.join(lines)).encode())
    if compress:
        pysam.tabix_compress(str(path), f"{path}.gz")
        path = tmp_path / "in.vcf.gz"
    one, two = read_records(path)
    assert one == (3, lines[0].encode(), "chr1", 5, "A", ("C", "<DEL>"))
    assert (two.line, two.reference, two.alternatives) == (5, "ac", ("g",))
    assert read_header(path).meta == [b"##fileformat=VCFv4.2"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("chr1 5 . A C . . .", "1 tab-separated columns where a VCF has 8 or more"),
        ("chr1\t5.5\t.\tA\tC\t.\t.\t.", "'5.5' is not a position"),
        ("chr1\t-1\t.\tA\tC\t.\t.\t.", "'-1' is not a position"),
        ("\t5\t.\tA\tC\t.\t.\t.", "'' is not the name of a contig"),
        ("chr1\t5\t.\t-\tC\t.\t.\t.", "REF '-' is not bases"),
        ("chr1\t5\t.\tA\t\t.\t.\t.", "ALT '' is neither bases nor a symbol"),
        ("chr1\t5\t.\tA\tC/T\t.\t.\t.", "ALT 'C/T' is neither"),
        ("chr1\t5\t.\tA\tC,\t.\t.\t.", "ALT '' is neither"),
    ],
)
def test_bad_records(tmp_path, line, message):
    path = write(tmp_path, "chr1\t4\t.\tA\tC\t.\t.\t.", line)
    with pytest.raises(ValueError) as error:
        list(read_records(path))
    assert str(error.value).startswith(f"{path}:4: {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"chr1\t5\t.\tA\tC\n", ":1: not a VCF, which begins with ##fileformat=VCF"),
        (b"##fileformat=VCFv4.2\nchr1\t5\t.\tA\tC\n", ":2: the header's line '#CHROM' must come here"),
        (b"##fileformat=VCFv4.2\n", ": the header of the VCF has no line '#CHROM'"),
        (b"##fileformat=VCFv4.2\n#CHROM\tPOS\n", ":2: a VCF has 8 columns or more"),
        (b"BCF\x02\x02\x00", ": is a BCF; write it as text first"),
    ],
)
def test_bad_headers(tmp_path, text, message):
    path = tmp_path / "in.vcf"
    path.write_bytes(text)
    with pytest.raises(ValueError) as error:
        read_header(path)
    assert str(error.value).startswith(f"{path}{message}")


def test_sorting_in_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(vcf, "SORT_RUN_RECORDS", 3)
    rng = np.random.default_rng(0)
    lines = [f"chr{rng.integers(1, 3)}\t{rng.integers(1, 9)}\t{row}\tA\tC\t.\t.\t." for row in range(20)]
    path, target = write(tmp_path, *lines), tmp_path / "sorted.vcf"
    sort_records(path, target, ["chr2", "chr1"])
    expected = sorted(lines, key=lambda line: (line[:4] != "chr2", int(line.split("\t")[1])))
    assert target.read_text() == HEADER + "".join(f"{line}\n" for line in expected)
    assert sorted(file.name for file in Path(tmp_path).iterdir()) == ["in.vcf", "sorted.vcf"]
