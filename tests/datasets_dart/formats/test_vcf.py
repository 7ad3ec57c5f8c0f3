"""VCF as text: records, REF against the genome, and windows with alleles in them."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pysam
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasets_dart.contigs import find_contig
from datasets_dart.errors import InputError
from datasets_dart.formats import vcf
from datasets_dart.formats.fasta import open_genome
from datasets_dart.formats.vcf import (
    Odd,
    Record,
    haplotypes,
    normalised,
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
    window=st.integers(4, 260),
    start=st.integers(0, 199),
    length=st.integers(1, 12),
    allele=st.text("ACGT", min_size=1, max_size=12),
)
@settings(max_examples=300, deadline=None)
def test_windows_are_of_the_haplotypes_at_one_start_and_of_one_length(genome, chrom, window, start, length, allele):
    contig = CONTIGS[chrom]
    start = min(start, len(contig) - 1)
    reference = contig[start : start + length]
    cut = haplotypes([record(chrom, start + 1, reference, allele)], genome, window)
    wholes = contig, contig[:start] + allele + contig[start + len(reference) :]
    shortest = min(map(len, wholes))
    change = normalised(genome, chrom, start, reference, allele)
    if allele == reference:
        assert cut.status == [["same_as_ref"]]
    elif change.longest + change.anchor > min(window, shortest) // 2:
        assert cut.status == [["too_long"]]
    elif cut.status == [["beyond_window"]]:
        # The longer allele reaches beyond the end of the shorter haplotype.
        assert change.position + change.longest > shortest
    else:
        assert cut.status == [[""]]
        assert [len(sequence) for sequence in cut.sequences] == [min(window, shortest)] * 2
        assert any(
            [whole[first : first + len(sequence)] for whole in wholes] == cut.sequences
            for sequence in cut.sequences[:1]
            for first in range(shortest - len(sequence) + 1)
        )
        return
    assert cut.sequences == []


REPEATS = st.lists(st.tuples(st.sampled_from(["A", "AC", "CAG", "ACGT", "GATTA"]), st.integers(1, 6)), min_size=2)


def of_repeats(parts):
    return "".join(unit * times for unit, times in parts)


def equivalents(contig, start, length, inserted):
    """All records of one haplotype: moved to the right as far as it goes, and padded at either end."""
    whole = contig[:start] + inserted + contig[start + length :]
    for first in range(max(0, start - 6), min(start + 9, len(contig))):
        for end in range(first + 1, min(first + 12, len(contig)) + 1):
            rest = len(contig) - end
            if (
                contig[:first] == whole[:first]
                and rest + first < len(whole)
                and contig[end:] == whole[len(whole) - rest :]
            ):
                yield first, contig[first:end], whole[first : len(whole) - rest]


@given(
    parts=REPEATS.filter(lambda parts: len(of_repeats(parts)) > 8),
    start=st.integers(0, 100),
    length=st.integers(0, 6),
    inserted=st.text("ACG", max_size=6),
    window=st.integers(6, 40),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
def test_every_record_of_a_haplotype_has_one_score(tmp_path_factory, parts, start, length, inserted, window):
    contig = of_repeats(parts)
    start = start % len(contig)
    length = min(length, len(contig) - start)
    records = [
        record("c", first + 1, reference, alternative)
        for first, reference, alternative in equivalents(contig, start, length, inserted)
    ]
    fasta = tmp_path_factory.mktemp("repeats") / "g.fa"
    fasta.write_text(f">c\n{contig}\n")
    cut = haplotypes(records, open_genome(fasta), window)
    assert len({status for (status,) in cut.status}) <= 1
    assert len(set(zip(cut.sequences[::2], cut.sequences[1::2], strict=True))) <= 1


@pytest.mark.skipif(shutil.which("bcftools") is None, reason="bcftools, which this compares with, is not installed")
def test_changes_are_those_of_bcftools_norm(tmp_path):
    rng = np.random.default_rng(0)
    contig = "".join(str(rng.choice(["A", "AC", "CAG", "ACGT", "GATTA"])) * int(rng.integers(1, 9)) for _ in range(60))
    fasta = tmp_path / "g.fa"
    fasta.write_text(f">c\n{contig}\n")
    records = []
    while len(records) < 400:
        start, length = int(rng.integers(0, len(contig) - 12)), int(rng.integers(1, 6))
        reference = contig[start : start + length]
        inserted = (
            contig[start : start + int(rng.integers(1, 6))] if rng.random() < 0.5 else "".join(rng.choice([*"ACG"], 2))
        )
        if inserted != reference:
            records.append((start, reference, inserted))
    lines = [f"c\t{start + 1}\t{row}\t{one}\t{two}\t.\t.\t." for row, (start, one, two) in enumerate(records)]
    header = HEADER.replace("#CHROM", f"##contig=<ID=c,length={len(contig)}>\n#CHROM")
    (tmp_path / "in.vcf").write_text(header + "".join(f"{line}\n" for line in lines))
    command = ["bcftools", "norm", "-f", str(fasta), str(tmp_path / "in.vcf")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    genome = open_genome(fasta)
    normal = [line.split("\t")[:5] for line in done.stdout.splitlines() if not line.startswith("#")]
    assert len(normal) == len(records)
    for _, position, row, reference, alternative in normal:
        ours = normalised(genome, "c", *records[int(row)])
        assert ours == normalised(genome, "c", int(position) - 1, reference, alternative)
        if ours.position:
            assert (ours.position - ours.anchor, ours.replaced + ours.anchor) == (int(position) - 1, len(reference))


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
    (statuses,) = haplotypes([record("chr2", 1, "GA", "G", "TT")], genome, 12, variants="as long as REF").status
    assert statuses == ["unequal_length", ""]
    one = record("chr2", 1, "GA", "CA", "G", "TT", "GAA")  # the first is an SNV, written with a base too many
    assert haplotypes([one], genome, 12, variants="SNVs").status == [["", "not_snv", "not_snv", "not_snv"]]


def test_windows_beyond_the_ends_of_a_contig(genome):
    """Moved into it, filled with N as biofoundation and TraitGym do, or left out as Carbon does."""
    contig = CONTIGS["chr2"]
    length = len(contig)
    others = ["ACGT".replace(base, "")[0] for base in contig]
    records = [record("chr2", place + 1, contig[place], others[place]) for place in range(length)]
    moved, filled, left_out = (haplotypes(records, genome, 8, ends=ends) for ends in ("moved", "N", "left out"))
    assert moved.sequences[0] == contig[:8]
    assert filled.sequences[0] == "NNNN" + contig[:4]
    assert filled.sequences[2 * length - 2] == contig[-5:] + "NNN"
    assert all(sequence[4] == contig[place] for place, sequence in enumerate(filled.sequences[::2]))
    inside = [place - 4 >= 0 and place + 4 <= length for place in range(length)]
    assert [states == [""] for states in left_out.status] == inside
    assert {state for states in left_out.status for state in states} == {"", "beyond_window"}
    at = records[length - 5 : length - 3]
    deletions = [record("chr2", own.position, contig[own.position - 1 : own.position + 1], own.reference) for own in at]
    # Of TT>T, the first T is deleted, and the contig's last base drawn in; of TA>T, a base beyond it
    assert haplotypes(deletions, genome, 8, ends="left out").status == [[""], ["beyond_window"]]


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
    assert summary == (3, 3, 1, True, {"chr1": "chr1", "chr2": "chr2"}, 4, Odd(), Odd())
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
        ("chr1\t5.5\t.\tA\tC\t.\t.\t.", "'5.5' is not a position (a whole number >= 0)"),
        ("chr1\t-1\t.\tA\tC\t.\t.\t.", "'-1' is not a position (a whole number >= 0)"),
        ("\t5\t.\tA\tC\t.\t.\t.", "'' is not the name of a contig"),
    ],
)
def test_lines_that_are_no_records_cost_themselves(tmp_path, genome, line, message):
    path = write(tmp_path, "chr1\t5\t.\tT\tC\t.\t.\t.", line, "chr1\t6\t.\tT\tC\t.\t.\t.")
    assert [record.line for record in read_records(path)] == [3, 5]
    assert summarise(path, genome).unreadable == Odd(1, [f"{path}:4: {message}"])
    path = write(tmp_path, line)
    with pytest.raises(InputError, match=re.escape(f"{path}:3: {message}")):
        summarise(path, genome)


def test_a_file_that_ends_in_a_record(tmp_path):
    path = write(tmp_path, "chr1\t5\t.\tT\tC\t.\t.\t.")
    path.write_bytes(path.read_bytes() + b"chr1\t6\t.\tT")
    with pytest.raises(InputError, match=r"in.vcf:4: 4 tab-separated columns .*ends in the middle of it"):
        list(read_records(path))


@pytest.mark.parametrize(
    ("reference", "alternative", "status"),
    [
        ("T", "T<ctg1>", "no_sequence"),
        ("T", "<ctg1>T", "no_sequence"),
        ("T", "]<ctg1>:1]T", "no_sequence"),
        ("T", "T[<ctg1>:7[", "no_sequence"),
        ("T", ".T", "no_sequence"),
        ("T", "<*>", "no_sequence"),
        ("T", "-", "invalid"),
        ("T", "0", "invalid"),
        ("T", "", "invalid"),
        ("T", "C/A", "invalid"),
        ("T", "<DEL", "invalid"),
        ("T", "R", "ambiguous"),
        ("Y", "C", "ambiguous"),
        ("T", "t", "same_as_ref"),
        ("T", "u", "same_as_ref"),
        ("U", "C", ""),
        ("*", "C", "invalid"),
        ("-", "C", "invalid"),
        ("", "C", "invalid"),
        ("<DEL>", "C", "invalid"),
    ],
)
def test_odd_alleles_cost_themselves(tmp_path, genome, reference, alternative, status):
    path = write(tmp_path, f"chr1\t5\t.\t{reference}\t{alternative},G\t.\t.\t.", "chr1\t6\t.\tG\tC\t.\t.\t.")
    found = summarise(path, genome)
    assert (found.records, found.mismatches) == (2, 0)
    assert found.invalid.count == (status == "invalid")
    (odd, other), fine = haplotypes([*read_records(path)], genome, 40).status
    assert (odd, fine) == (status, [""])
    assert other == (status if reference not in ("T", "U") else "")


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
