import gzip
import pickle

import numpy as np
import pysam
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasets_dart.contigs import check_same_build, genome_build
from datasets_dart.formats import fasta as genome_module
from datasets_dart.formats.fasta import open_genome

CONTIGS = {"chr1": "ACGTNacgtnRYKMryk" * 9, "chrUn_1": "TTTTGGGGC", "2": "A" * 61}


def fasta(contigs, width=20):
    lines = []
    for name, bases in contigs.items():
        lines += [f">{name} some text"] + [bases[i : i + width] for i in range(0, len(bases), width)]
    return "\n".join(lines) + "\n"


def write(folder, kind):
    plain = folder / "plain.fa"
    plain.write_text(fasta(CONTIGS))
    path = folder / f"{kind}.fa.gz"
    if kind == "bgzip":
        pysam.tabix_compress(str(plain), str(path))
    elif kind == "gzip":
        path.write_bytes(gzip.compress(plain.read_bytes()))
    else:
        return plain
    return path


@pytest.fixture(params=["plain", "gzip", "bgzip"])
def genome(request, tmp_path):
    return open_genome(write(tmp_path, request.param), tmp_path / "cache")


def test_contigs_and_fetch(genome):
    assert genome.contigs == {name: len(bases) for name, bases in CONTIGS.items()}
    for name, bases in CONTIGS.items():
        assert genome.fetch(name, 0, len(bases)) == bases.upper()
    assert genome.fetch("chr1", 18, 43) == CONTIGS["chr1"].upper()[18:43]
    assert genome.fetch("2", 61, 61) == ""
    again = pickle.loads(pickle.dumps(genome))  # noqa: S301
    assert again.fetch("chrUn_1", 2, 6) == "TTGG"


def test_windows(genome, monkeypatch):
    starts = np.array([40, -30, 150, 3, 3, -500, 10**6])
    padded = "N" * 1000 + CONTIGS["chr1"].upper() + "N" * 2 * 10**6
    expected = [padded[1000 + start : 1050 + start] for start in starts]
    assert [window.tobytes().decode() for window in genome.windows("chr1", starts, 50)] == expected
    monkeypatch.setattr(genome_module, "SPAN", 10)
    monkeypatch.setattr(genome_module, "GAP", 0)
    assert [window.tobytes().decode() for window in genome.windows("chr1", starts, 50)] == expected
    assert genome.windows("2", starts[:0], 50).shape == (0, 50)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(start=st.integers(0, 152), length=st.integers(0, 152))
def test_any_interval(genome, start, length):
    end = min(start + length, len(CONTIGS["chr1"]))
    assert genome.fetch("chr1", start, end) == CONTIGS["chr1"][start:end].upper()


def test_bad_positions(genome):
    with pytest.raises(ValueError, match=r"has no contig 'chr3' \(it has chr1, chrUn_1, 2\)"):
        genome.fetch("chr3", 0, 1)
    for start, end in ((-1, 5), (0, 154), (9, 8)):
        with pytest.raises(ValueError, match=f"chr1:{start}-{end} is not within 0-153"):
            genome.fetch("chr1", start, end)


def test_indexes_are_built_once_and_used(tmp_path):
    plain, bgzip, zipped = (write(tmp_path, kind) for kind in ("plain", "bgzip", "gzip"))
    for path in (plain, bgzip, zipped):
        open_genome(path, tmp_path / "cache")
    built = {path.name for path in tmp_path.iterdir()}
    assert built == {
        "plain.fa",
        "plain.fa.fai",
        "bgzip.fa.gz",
        "bgzip.fa.gz.fai",
        "bgzip.fa.gz.gzi",
        "gzip.fa.gz",
        "cache",
    }
    decompressed = {path.suffix: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "genomes").iterdir()}
    assert decompressed.keys() == {".fa", ".fai"}
    open_genome(zipped, tmp_path / "cache")
    assert {path.suffix: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "genomes").iterdir()} == decompressed


def test_index_goes_to_the_cache_where_the_folder_cannot_be_written(tmp_path, monkeypatch):
    path = write(tmp_path, "plain")
    build = genome_module._build_index

    def refuse(path, fasta, fai, gzi):
        if fai.parent == tmp_path:
            raise PermissionError(13, "Permission denied", str(fai))
        build(path, fasta, fai, gzi)

    monkeypatch.setattr(genome_module, "_build_index", refuse)
    assert open_genome(path, tmp_path / "cache").fetch("2", 0, 3) == "AAA"
    assert not (tmp_path / "plain.fa.fai").exists()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match=r"plain\.fa: has no index .* that fits, and none can be written: .*file"):
        open_genome(path, tmp_path / "file")


BAD = {
    ">a\nACGT\nAC\nACGT\n": r"bad\.fa:4: 4 bases in a line, unlike",
    ">a\nACGT\nACGTA\n": r"bad\.fa:3: 5 bases in a line, unlike",
    ">a\nACGT\n\nACGT\n": r"bad\.fa:4: 4 bases in a line, unlike",
    "ACGT\n>a\nACGT\n": r"bad\.fa:1: not FASTA: sequence before the first '>' header: b'ACGT\\n'",
    "<html>\n": r"bad\.fa:1: not FASTA",
    "\n\n": r"bad\.fa: not FASTA: no '>' header",
    ">\nACGT\n": r"bad\.fa:1: a header without a name",
    "> a\nACGT\n": r"bad\.fa:1: a header without a name",
    ">a\nACGT\n>a\nACGT\n": r"bad\.fa:3: contig 'a' appears a second time, first in line 1",
    ">a\n>b\nACGT\n": r"bad\.fa:2: no sequence since the last header, in line 1",
    ">b\nACGT\n>a\n": r"bad\.fa: contig 'a' in line 3 has no sequence",
    ">a\nAC1GT\n": r"bad\.fa:2: not a sequence: b'AC1GT\\n'",
    "": r"bad\.fa: the file is empty",
}


@pytest.mark.parametrize("text", BAD)
def test_bad_fasta(tmp_path, text):
    path = tmp_path / "bad.fa"
    path.write_text(text)
    with pytest.raises(ValueError, match=BAD[text]):
        open_genome(path, tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_damaged_gzip(tmp_path):
    path = tmp_path / "bad.fa.gz"
    path.write_bytes(gzip.compress(fasta({"a": "ACGT" * 5000}).encode())[:-20])
    with pytest.raises(ValueError, match=r"bad\.fa\.gz: damaged gzip data"):
        open_genome(path, tmp_path)
    assert not [*tmp_path.glob("genomes/*")]


def texts():
    """A FASTA as a text and its contigs: names, line widths and line ends of many kinds."""
    bases = st.text("ACGTN", min_size=1, max_size=90)
    contigs = st.dictionaries(st.sampled_from(["chr1", "chr2", "chr10", "c"]), bases, min_size=1, max_size=3)
    described = st.sampled_from(["", " some text", " >"])
    end, last = st.sampled_from(["\n", "\r\n"]), st.sampled_from(["", "\n", "\n\n"])

    def text(contigs, width, described, end, last):
        lines = []
        for name, own in contigs.items():
            lines += [f">{name}{described}"] + [own[i : i + width] for i in range(0, len(own), width)]
        return contigs, (end.join(lines) + last).encode()

    return st.builds(text, contigs, st.integers(1, 70), described, end, last)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(texts(), texts(), st.booleans())
def test_an_index_of_another_file_is_made_anew(tmp_path, old, new, compressed):
    path = tmp_path / "g.fa"
    for number, (contigs, text) in enumerate((old, new)):
        path.write_bytes(text)
        if compressed:
            pysam.tabix_compress(str(path), str(tmp_path / "z.fa"), force=True)
            (tmp_path / "z.fa").replace(path)
        if number == 0:
            for index in tmp_path.glob("*.?ai"):
                index.unlink()
        genome = open_genome(path, tmp_path / "cache")
        assert genome.contigs == {name: len(own) for name, own in contigs.items()}
        for name, own in contigs.items():
            assert genome.fetch(name, 0, len(own)) == own
    before = {index: index.stat().st_mtime_ns for index in tmp_path.glob("*.*i")}
    open_genome(path, tmp_path / "cache")
    assert {index: index.stat().st_mtime_ns for index in tmp_path.glob("*.*i")} == before


@pytest.mark.parametrize("damage", [b"", b"nonsense\n", b"chr1\t1\t2\n", b"chr1\t153\t16\t20\t21\t9\n"])
def test_a_damaged_index_is_made_anew(tmp_path, damage):
    path = write(tmp_path, "bgzip")
    whole = open_genome(path).contigs
    for index in ("bgzip.fa.gz.fai", "bgzip.fa.gz.gzi"):
        (tmp_path / index).write_bytes(damage)
        assert open_genome(path).contigs == whole


def test_builds_are_told_by_the_contigs_lengths(tmp_path):
    assert genome_build("a.fa", {"chr20": 63025520, "chrM": 16571}) == "hg19"
    assert genome_build("a.fa", {"20": 64444167, "chr1": 248956422}) == "hg38"
    assert genome_build("a.fa", CONTIGS) is None
    with pytest.raises(ValueError, match=r"a\.fa: mixes genome builds: chr20 of hg19 \(63025520 bp\) and chr1 of hg38"):
        genome_build("a.fa", {"chr20": 63025520, "chr1": 248956422})
    genome = open_genome(write(tmp_path, "plain"))
    check_same_build("b.bw", {"2": 61, "chr20": 63025520}, genome.contigs, genome.path)
    with pytest.raises(
        ValueError, match=r"b\.bw: 2 has 62 bp \(build hg19\), but 61 bp in .*plain\.fa \(build unknown\)"
    ):
        check_same_build("b.bw", {"chr20": 63025520, "2": 62}, genome.contigs, genome.path)
