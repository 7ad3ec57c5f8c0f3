"""Every reader of text gives the same of a file however it is written: byte-order mark, line ends, gzip, quotes."""

import gzip
from itertools import product

import numpy as np
import pyarrow as pa
import pysam
import pytest

from datasets_dart.counts import read_counts
from datasets_dart.differential import read_differential
from datasets_dart.errors import InputError
from datasets_dart.files import number_of
from datasets_dart.formats.bed import read_intervals, read_narrowpeak
from datasets_dart.formats.element_tables import read_windows
from datasets_dart.formats.fasta import open_genome, read_fasta
from datasets_dart.formats.gtf import read_genes
from datasets_dart.formats.meme import read_meme
from datasets_dart.formats.tables import read_batches, read_table, read_whole
from datasets_dart.motif_footprinting import read_backgrounds
from datasets_dart.splits import read_splits

BED = "chr1\t10\t60\ttrain\nchr2\t5\t9\ttest\n"
PEAKS = "chr1\t10\t60\tp\t0\t.\t1\t2\t3\t20\n"
MEME = (
    "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF m\nletter-probability matrix: alength= 4 w= 2\n"
    "1 0 0 0\n0.25 0.25 0.25 0.25\n\nMOTIF n\nletter-probability matrix: alength= 4 w= 1\n0 0 0 1\n"
)
GTF = '#!x\n1\ta\tgene\t11\t60\t.\t+\t.\tgene_id "G1"; gene_biotype "lncRNA";\n'
TABLE = "name,value\nx,1\ny,2\n"
COUNTS = "peak,A_1,B_1\nchr1:10-60,3,4\nchr1:80-90,5,6\n"
RESULTS = "peak,baseMean,log2FoldChange,lfcSE,stat,pvalue,padj\nchr1:10-60,1,2,3,4,0.5,0.25\n"
FASTA = ">one x\nACGTAC\nGT\n>two\nTTTT\n"


def plain(value):
    """Comparable with ==."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {name: plain(own) for name, own in value.items()}
    if isinstance(value, tuple | list):
        return [plain(own) for own in value]
    return value


READERS = {
    "intervals": (BED, ".bed", lambda path: [chunk for _, chunk in read_intervals(path, extra=(3,))]),
    "blocks": (BED, ".bed", read_splits),
    "windows": (BED, ".bed", read_windows),
    "narrowPeak": (PEAKS, ".narrowPeak", read_narrowpeak),
    "MEME": (MEME, ".meme", read_meme),
    "GTF": (GTF, ".gtf", lambda path: list(read_genes(path))),
    "table": (TABLE, ".csv", lambda path: list(read_table(path))),
    "batches": (TABLE, ".csv", lambda path: [batch.to_pydict() for _, batch in read_batches(path, 5)]),
    "typed batches": (
        TABLE,
        ".csv",
        lambda path: [batch.to_pydict() for _, batch in read_batches(path, 5, {"value": pa.int64(), "name": None})],
    ),
    "whole table": (TABLE, ".csv", lambda path: read_whole(path).to_pydict()),
    "counts": (COUNTS, ".csv", lambda path: read_counts([path])),
    "differential": (RESULTS, ".csv", read_differential),
    "FASTA records": (FASTA, ".fa", lambda path: list(read_fasta(path))),
    "FASTA": (FASTA, ".fa", lambda path: {name: open_genome(path).fetch(name, 0, 4) for name in ("one", "two")}),
    "backgrounds": ("ACGT\nTTTT\n", ".txt", read_backgrounds),
}
QUOTED = ("table", "batches", "typed batches", "whole table", "counts", "differential")


def quoted(text: str) -> str:
    return "".join(",".join(f'"{word}"' for word in line.split(",")) + "\n" for line in text.splitlines())


@pytest.mark.parametrize("kind", READERS)
def test_the_same_is_read(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    text, ending, read = READERS[kind]
    (tmp_path / f"plain{ending}").write_text(text)
    expected = plain(read(tmp_path / f"plain{ending}"))
    assert expected
    texts = [text, quoted(text)] if kind in QUOTED else [text]
    for number, (own, mark, crlf, zipped) in enumerate(product(texts, (False, True), (False, True), (False, True))):
        content = (own.replace("\n", "\r\n") if crlf else own).encode("utf-8-sig" if mark else "utf-8")
        path = tmp_path / f"{number}{ending}{'.gz' if zipped else ''}"
        path.write_bytes(gzip.compress(content) if zipped else content)
        assert plain(read(path)) == expected, (mark, crlf, zipped, own)


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf_16_is_refused_by_name(kind, encoding, tmp_path):
    text, ending, read = READERS[kind]
    path = tmp_path / f"x{ending}"
    mark = "" if encoding == "utf-16" else "\ufeff"
    path.write_bytes((mark + text).encode(encoding))
    with pytest.raises(ValueError, match=rf"x{ending}: is text in UTF-16: save it as UTF-8"):
        read(path)


@pytest.mark.parametrize("kind", ["bed", "fasta"])
def test_bgzip_without_its_end_mark_is_refused(tmp_path, kind):
    text, read = {"bed": (BED, read_windows), "fasta": (">chr1\nACGT\n", open_genome)}[kind]
    path = tmp_path / "some.gz"
    with pysam.BGZFile(path, "w") as file:
        file.write(text.encode())
    read(path)
    path.write_bytes(path.read_bytes()[:-28])  # all rows are there, as they are where a download stopped between blocks
    with pytest.raises(InputError, match=r"some\.gz: lacks the end mark of bgzip"):
        read(path)


@pytest.mark.parametrize("text", ["1_0", "\u0661", "x", ""])
def test_what_only_python_reads_as_a_number_is_none(text):
    with pytest.raises(ValueError):
        number_of(text)
    assert number_of(" 1e-3\n") == 0.001
