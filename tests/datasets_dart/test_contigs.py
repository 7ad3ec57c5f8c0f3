"""One rule of contig names: 1 is chr1, and MT is chrM, in every file that goes with a genome."""

import gzip

import numpy as np
import pyBigWig
import pytest
from datasets import disable_progress_bars
from hypothesis import given
from hypothesis import strategies as st

from datasets_dart import load_dart
from datasets_dart.alphabet import reverse_complement
from datasets_dart.contigs import check_same_build, find_contig, join_contigs, named_contigs, renamed
from datasets_dart.formats.bed import read_narrowpeak
from datasets_dart.formats.bigwig import Signal
from datasets_dart.formats.element_tables import read_windows
from datasets_dart.formats.fasta import open_genome
from datasets_dart.splits import read_splits
from datasets_hyenadna import load_task
from trainer_scripts.genome_windows import GenomeCodes

BASES = "".join(np.random.default_rng(3).choice(list("ACGT"), 6000))

disable_progress_bars()


@pytest.fixture
def genomes(tmp_path):
    """The same genome under UCSC's and under Ensembl's names."""
    for name, contigs in (("ucsc", ("chr5", "chr6", "chrM")), ("ensembl", ("5", "6", "MT"))):
        (tmp_path / f"{name}.fa").write_text("".join(f">{contig}\n{BASES}\n" for contig in contigs))
    return tmp_path / "ucsc.fa", tmp_path / "ensembl.fa"


def test_the_rule():
    assert [find_contig(name, {"chr1", "chrM", "HLA"}) for name in ("1", "chr1", "MT", "M", "HLA", "chrHLA", "2")] == [
        "chr1",
        "chr1",
        "chrM",
        "chrM",
        "HLA",
        "HLA",
        None,
    ]
    joined = join_contigs("a.bed", ["1", "MT", "9"], ["chr1", "chrM", "chr2"])
    assert joined == ({"1": "chr1", "MT": "chrM"}, ["9"], ["chr2"])
    with pytest.raises(ValueError, match=r"a\.bed: has none of the contigs chr1, chr2: it has NC_1: other names"):
        join_contigs("a.bed", ["NC_1"], ["chr1", "chr2"])
    assert renamed(np.array(["1", "x", "1"], dtype=object), {"chr1"}).tolist() == ["chr1", "x", "chr1"]


def test_lengths_are_compared_under_either_name():
    with pytest.raises(ValueError, match=r"a\.bam: 1 has 7 bp .* but 9 bp in g\.fa"):
        check_same_build("a.bam", {"1": 7}, {"chr1": 9}, "g.fa")
    check_same_build("a.bam", {"MT": 16569}, {"chrM": 16571}, "g.fa")  # hg19's chrM is another sequence


@pytest.mark.parametrize("names", [("chr5", "chr6"), ("5", "6")])
def test_rows_are_the_same_whatever_the_files_call_the_contigs(genomes, tmp_path, names):
    test, validation = names
    (tmp_path / "a.bed").write_text(f"{test}\t1000\t1200\n{validation}\t2000\t2100\n")
    (tmp_path / "blocks.bed").write_text(f"{test}\t0\t3000\ttrain\n{validation}\t0\t6000\ttest\n")
    (tmp_path / "peaks.bed").write_text(f"{test}\t2000\t3000\tK562\n{validation}\t2000\t3000\tK562\n")
    alt = reverse_complement(BASES[3000])
    (tmp_path / "v.tsv").write_text(f"chrom\tpos\tref\talt\n{test}\t3001\t{BASES[3000]}\t{alt}\n")
    with pyBigWig.open(str(tmp_path / "K562.bw"), "w") as track:
        track.addHeader([(test, 6000), (validation, 6000)])
        track.addEntries([test, validation], [2400, 2400], ends=[2600, 2600], values=[1.0, 2.0])
    cache = tmp_path / "cache"
    for path, own in zip(genomes, ("chr", ""), strict=True):
        rows = load_dart("regulatory_elements", genome=path, elements=tmp_path / "a.bed", cache_dir=cache)
        assert {split: part["chrom"][:] for split, part in rows.items()} == {
            "validation": [f"{own}6"],
            "test": [f"{own}5"],
        }
        (row,) = rows["test"]
        window = BASES[925:1275]
        assert row["sequence"] == (reverse_complement(window) if row["reverse_complement"] else window)
        rows = load_dart(
            "regulatory_elements",
            genome=path,
            elements=tmp_path / "a.bed",
            splits=tmp_path / "blocks.bed",
            cache_dir=cache,
        )
        assert {split: part["chrom"][:] for split, part in rows.items()} == {"train": [f"{own}5"], "test": [f"{own}6"]}
        activity = load_dart(
            "chromatin_activity",
            genome=path,
            peaks=tmp_path / "peaks.bed",
            signal=tmp_path / "K562.bw",
            cache_dir=cache,
        )
        assert [activity[split]["log_counts"][0] for split in ("test", "validation")] == [np.log1p(200), np.log1p(400)]
        variants = load_dart("variant_effects", genome=path, variants=tmp_path / "v.tsv", cache_dir=cache, split="test")
        assert (variants["chrom"][:], variants["position"][:]) == ([f"{own}5"], [3001])


def test_readers_take_the_genomes_names(genomes, tmp_path):
    genome = open_genome(genomes[0])
    assert genome.fetch("5", 10, 20) == genome.fetch("chr5", 10, 20) == BASES[10:20]
    assert genome.length("MT") == 6000
    (tmp_path / "a.narrowPeak").write_text("5\t100\t200\tp\t0\t.\t1\t9\t3\t50\n")
    assert read_narrowpeak(tmp_path / "a.narrowPeak", genome.contigs).chrom.tolist() == ["chr5"]
    (tmp_path / "blacklist.bed").write_text("MT\t0\t100\n5\t0\t9\n")
    assert read_windows(tmp_path / "blacklist.bed", genome.contigs).chrom.tolist() == ["chrM", "chr5"]
    (tmp_path / "other.bed").write_text("NC_000005.10\t0\t100\ttest\n")
    for read in (read_windows, read_splits):
        with pytest.raises(ValueError, match=r"other\.bed: has none of the contigs chr5, chr6, chrM: it has NC_000005"):
            read(tmp_path / "other.bed", genome.contigs)
    with pyBigWig.open(str(tmp_path / "a.bw"), "w") as track:
        track.addHeader([("MT", 6000)])
        track.addEntries(["MT"], [0], ends=[10], values=[2.0])
    assert Signal(tmp_path / "a.bw").sums("chrM", np.array([5]), 20).tolist() == [10.0]
    codes = GenomeCodes.from_fasta(str(genomes[0]), ["5", "MT"])
    assert list(codes.offsets) == ["chr5", "chrM"]
    assert codes.whole(["MT"]).tolist() == [[6000, 12000]]
    assert codes.regions(str(tmp_path / "blacklist.bed")).tolist() == [[0, 9], [6000, 6100]]


def test_an_annotation_of_ensembl_goes_with_a_genome_of_ucsc(genomes, tmp_path):
    def gtf(*contigs):
        lines = []
        for number in range(40):
            attributes = f'gene_id "G{number}"; gene_biotype "{("lncRNA", "miRNA")[number % 2]}"'
            contig = contigs[number % len(contigs)]
            lines.append(f"{contig}\tx\tgene\t{number + 1}\t{number + 30}\t.\t+\t.\t{attributes};\n")
        (tmp_path / "genes.gtf.gz").write_bytes(gzip.compress("".join(lines).encode()))
        return load_task(
            "biotypes", annotation=tmp_path / "genes.gtf.gz", genome=genomes[0], cache_dir=tmp_path / "cache"
        )

    task = gtf("5", "6")
    assert sum(map(len, task.values())) == 40
    assert {row["chrom"] for part in task.values() for row in part} == {"chr5", "chr6"}
    task = gtf("5", "KI270")
    assert sum(map(len, task.values())) == 20
    assert "20 genes on 1 contigs that the genome does not have" in task["test"].info.description
    with pytest.raises(ValueError, match=r"genes\.gtf\.gz: has none of the contigs chr5, chr6, chrM: it has KI270"):
        gtf("KI270")


CHROMOSOMES = [*map(str, range(1, 23)), "X", "Y", "M"]
STYLES = {
    "UCSC": lambda name: f"chr{name}",
    "Ensembl": lambda name: "MT" if name == "M" else name,
    "bare": lambda name: name,
    "chrMT": lambda name: "chrMT" if name == "M" else f"chr{name}",
}
styles = st.sampled_from(sorted(STYLES))


@given(st.sets(st.sampled_from(CHROMOSOMES)), st.sets(st.sampled_from(CHROMOSOMES)), styles, styles)
def test_a_join_is_the_same_in_every_style(here, there, one, two):
    """None is lost, none is joined to another, and no contig in common is an error unless a side is empty."""
    names = {STYLES[one](name): name for name in here}
    others = {STYLES[two](name): name for name in there}
    if not here & there and here and there:
        with pytest.raises(ValueError, match=r"^x: has none of the contigs"):
            join_contigs("x", names, others)
        return
    joined = join_contigs("x", names, others)
    assert {names[name]: others[other] for name, other in joined.names.items()} == {name: name for name in here & there}
    assert {names[name] for name in joined.only_here} == here - there
    assert {others[name] for name in joined.only_there} == there - here


@given(
    st.lists(st.sampled_from(CHROMOSOMES), min_size=1, unique=True), styles, styles, st.sampled_from([",", ", ", " ,"])
)
def test_an_option_names_contigs_in_any_style(chosen, one, two, comma):
    contigs = [STYLES[two](name) for name in CHROMOSOMES]
    text = comma.join(STYLES[one](name) for name in chosen)
    assert named_contigs("test", text.split(","), contigs) == [STYLES[two](name) for name in chosen]
    with pytest.raises(ValueError, match=r"^test: there is no contig 'chr_1'; there are "):
        named_contigs("test", f"{text}{comma}chr_1".split(","), contigs)
