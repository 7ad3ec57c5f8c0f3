"""Damaged and arbitrary files: every parser reads them or says in a ValueError or OSError which file it is.

Files are valid ones with bytes changed, cut, doubled or put in, compressed or not, and arbitrary bytes.
"""

import gzip
import io
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers.utils import logging

from datasets_dart.formats.bed import read_intervals
from datasets_dart.formats.fasta import open_genome
from datasets_dart.formats.meme import read_meme
from datasets_dart.formats.variants import on_contigs, read_layout, read_variants
from datasets_dart.formats.vcf import haplotypes, read_header, read_records, summarise
from evaluation_dart.models.language_model import load_language_model
from modeling_hyenadna.convert_checkpoint import config_of_original, read_lightning_checkpoint

FIXTURES = Path(__file__).parent / "fixtures"
FASTA = b">chr1 first\nACGTNacgtRYKM\nACGTACGTACGTA\nAC\n>chr2\nGATTACA\n"
BED = b"# comment\ntrack name=x\nchr1\t0\t10\tone\t5\t+\nchr2\t3\t7\ttwo\t1\t-\n"
VCF = (
    b"##fileformat=VCFv4.2\n##contig=<ID=chr1,length=28>\n##INFO=<ID=AF,Number=A,Type=Float,Description=\"x\">\n"
    b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    b"chr1\t1\trs1\tA\tC,G\t.\t.\tAF=0.5\nchr1\t2\t.\tCGT\tC\t9\tPASS\t.\nchr2\t1\t.\tG\t<DEL>\t.\t.\t.\n"
)  # fmt: skip
TABLE = b"chrom\tpos\tref\talt\tbeta\tlabel\nchr1\t1\tA\tC\t0.5\tTrue\n2\t3\tT\tG\t.\tFalse\n"
MEME = b"MOTIF".join((FIXTURES / "task2" / "motifs.meme").read_bytes().split(b"MOTIF")[:3])

FEW = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def damaged(draw: Callable, valid: bytes) -> bytes:
    """`valid` with up to three changes, or arbitrary bytes; plain, gzip, or gzip that is cut short or changed."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 12)))
        new = draw(st.sampled_from([b"", b"\n", b"\r\n", b"\t", b">", b"-1", b"\x00", b"\xff\xfe", b"1e9", b",", b"."]))
        data[at:end] = draw(st.sampled_from([new, bytes(data[at:end]) * 2, draw(st.binary(max_size=8))]))
    if draw(st.integers(0, 9)) == 0:
        data = bytearray(draw(st.binary(max_size=60)))
    if draw(st.integers(0, 4)) == 0:
        data = bytearray(gzip.compress(bytes(data), mtime=0))
        if data and draw(st.booleans()):
            at = draw(st.integers(0, len(data) - 1))
            data[at:] = draw(st.sampled_from([b"", bytes([data[at] ^ 0x55]) + bytes(data[at + 1 :])]))
    return bytes(data)


def tried(read: Callable[[Path], object], data: bytes, name: str) -> None:
    """Fails for any exception but a ValueError or OSError that names the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        try:
            read(path)
        except (ValueError, OSError) as error:
            message = str(error)
        else:
            return
        assert name in message


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    path.write_bytes(FASTA.replace(b"AC\n>", b"ACGT\n>").replace(b"ACGTACGTACGTA\nACGT", b"ACGTACGTACGTA\nACGT"))
    return open_genome(path)


@given(data=damaged(FASTA))
@FEW
def test_fasta(data):
    def read(path):
        found = open_genome(path, cache_dir=path.parent / "cache")
        for name, length in found.contigs.items():
            assert len(found.fetch(name, 0, length)) == length
            assert found.windows(name, np.array([-3, length - 2]), 5).shape == (2, 5)

    tried(read, data, "g.fa")


@given(data=damaged(BED))
@FEW
def test_bed(data):
    def read(path):
        for _, chunk in read_intervals(path, extra=(3,)):
            assert (chunk.start < chunk.end).all()

    tried(read, data, "regions.bed")


@given(data=damaged(VCF), window=st.integers(2, 40))
@FEW
def test_vcf(genome, data, window):
    def read(path):
        read_header(path)
        records = list(read_records(path))
        summary = summarise(path, genome)
        assert (summary.records, summary.alleles) == (len(records), sum(len(r.alternatives) for r in records))
        for swap in (False, True):
            cut = haplotypes(records, genome, window, swap)
            assert [len(states) for states in cut.status] == [len(record.alternatives) for record in records]
            assert all(0 < len(sequence) <= window for sequence in cut.sequences)

    tried(read, data, "in.vcf")


@given(data=st.one_of(damaged(TABLE), damaged(VCF)))
@FEW
def test_tables_of_variants(genome, data):
    def read(path):
        layout = read_layout(path)
        for _, variants in read_variants(path, layout):
            on_contigs(path, variants, genome)

    tried(read, data, "variants.tsv")


@given(data=damaged(MEME), protocol=st.sampled_from(["fixed", "paper"]))
@FEW
def test_meme(data, protocol):
    def read(path):
        for motif in read_meme(path, protocol):
            assert len(motif.consensus) == len(motif.probabilities)

    tried(read, data, "m.meme")


@given(
    at=st.integers(0, (FIXTURES / "lightning_ckpt" / "weights.ckpt").stat().st_size - 1),
    change=st.binary(max_size=6),
    cut=st.booleans(),
)
@settings(FEW, max_examples=25)
def test_lightning_checkpoints(at, change, cut):
    original = (FIXTURES / "lightning_ckpt" / "weights.ckpt").read_bytes()
    data = original[:at] + change + (b"" if cut else original[at + len(change) :])
    tried(read_lightning_checkpoint, data, "weights.ckpt")


@given(data=damaged((FIXTURES / "lightning_ckpt" / "config.json").read_bytes()))
@settings(FEW, max_examples=60)
def test_configs_of_checkpoints(data):
    tried(config_of_original, data, "config.json")


@given(
    name=st.sampled_from(["config.json", "tokenizer_config.json", "model.safetensors"]),
    place=st.floats(0, 1),
    change=st.sampled_from([b"", b"\x00", b"{", b'"', b"9", b"\xff", b"null", b"-"]),
    length=st.integers(0, 10),
    cut=st.booleans(),
)
@settings(FEW, max_examples=25)
def test_folders_of_models(name, place, change, length, cut):
    logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model-of-the-test"
        shutil.copytree(FIXTURES / "model" / "small_d32_l2_s130", model)
        data = (model / name).read_bytes()
        # Of the weights, the part that is not numbers: changed numbers are other weights, and cannot be told.
        header = int.from_bytes(data[:8], "little") + 8 if name.endswith(".safetensors") else len(data)
        at = int(place * header)
        (model / name).write_bytes(data[:at] + change + (b"" if cut else data[at + length :]))
        try:
            load_language_model(model, device="cpu")
        except (ValueError, OSError) as error:
            message = str(error)
        else:
            return
        assert "model-of-the-test" in message


def test_the_valid_files_are_read(tmp_path):
    """What is damaged above is read when it is whole."""
    for name, data in (("g.fa", FASTA), ("b.bed", BED), ("v.vcf", VCF), ("t.tsv", TABLE), ("m.meme", MEME)):
        (tmp_path / name).write_bytes(data)
    assert open_genome(tmp_path / "g.fa").contigs == {"chr1": 28, "chr2": 7}
    assert sum(len(chunk.start) for _, chunk in read_intervals(tmp_path / "b.bed")) == 2
    assert len(list(read_records(tmp_path / "v.vcf"))) == 3
    assert sum(len(v.line) for _, v in read_variants(tmp_path / "t.tsv", read_layout(tmp_path / "t.tsv"))) == 2
    assert len(read_meme(tmp_path / "m.meme")) > 1
    assert json.loads((FIXTURES / "model" / "small_d32_l2_s130" / "config.json").read_text())
    assert io.BytesIO(gzip.compress(FASTA)).read(2) == b"\x1f\x8b"
