"""Tables with a header: tabs or commas, quotes, and the byte-order mark, which every reader leaves out."""

import codecs
import gzip

import pytest

from datasets_dart.counts import read_counts
from datasets_dart.formats.bed import read_intervals, read_narrowpeak
from datasets_dart.formats.element_tables import read_windows, table_layout
from datasets_dart.formats.fasta import open_genome, read_fasta
from datasets_dart.formats.gtf import read_genes
from datasets_dart.formats.meme import read_meme
from datasets_dart.formats.tables import read_batches, read_table
from datasets_dart.formats.variants import read_layout, read_variants
from datasets_dart.formats.vcf import read_header, read_records

MEME = "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF m\nletter-probability matrix: alength= 4 w= 1\n1 0 0 0\n"
VCF = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\nchr1\t1\t.\tA\tC\t.\t.\t.\n"
GENE = 'chr1\tx\tgene\t1\t2\t.\t+\t.\tgene_id "G"; gene_biotype "b";\n'
READERS = {  # text of a file -> what is read of it
    "bed": ("chr1\t1\t2\n", lambda path: next(read_intervals(path))[1].chrom.tolist()),
    "narrowPeak": ("chr1\t1\t9\tp\t0\t.\t1\t9\t3\t5\n", lambda path: read_narrowpeak(path).chrom.tolist()),
    "windows": ("chrom\tstart\tend\nchr1\t1\t2\n", lambda path: read_windows(path).names()),
    "vcf": (VCF, lambda path: (read_header(path).columns, [*read_records(path)])),
    "variants": ("chrom\tpos\tref\talt\nchr1\t1\tA\tC\n", lambda path: variants(path).allele1.tolist()),
    "variants in VCF": (VCF, lambda path: variants(path).chrom.tolist()),
    "counts": ("peak,K562_1\nchr1:1-2,3\n", lambda path: read_counts([path]).counts.tolist()),
    "meme": (MEME, lambda path: [motif.name for motif in read_meme(path)]),
    "fasta": (">chr1\nACGT\n", lambda path: [*read_fasta(path)]),
    "genome": (">chr1\nACGT\n", lambda path: open_genome(path, path.parent / "cache").fetch("chr1", 0, 4)),
    "gtf": (GENE, lambda path: [*read_genes(path)]),
    "csv": ("sequence,label\nACGT,1\n", lambda path: [batch.to_pylist() for _, batch in read_batches(path, 9)]),
}


def variants(path):
    layout = read_layout(path)
    position, rows = next(read_variants(path, layout))
    assert next(read_variants(path, layout, position=position))[1].chrom.tolist() == rows.chrom.tolist()
    return rows


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", READERS)
def test_a_byte_order_mark_makes_no_difference(tmp_path, kind, compressed):
    text, read = READERS[kind]
    found = []
    for number, start in enumerate((b"", codecs.BOM_UTF8)):
        path = tmp_path / f"{number}.csv"
        path.write_bytes(gzip.compress(start + text.encode()) if compressed else start + text.encode())
        found.append(read(path))
    assert found[0] == found[1]


@pytest.mark.parametrize("separator", ["\t", ","])
def test_quotes_are_left_out_and_lines_are_named(tmp_path, separator):
    path = tmp_path / "t.txt"
    rows = [['"a"', "b"], ["1", f'"x{separator}y"'], [], ["2", '"say ""z"""']]
    path.write_text("\r\n".join(separator.join(row) for row in rows))
    assert list(read_table(path, ["b"])) == [(2, {"a": "1", "b": f"x{separator}y"}), (4, {"a": "2", "b": 'say "z"'})]
    with pytest.raises(ValueError, match=r"t\.txt:1: has no column c, d; it has a, b"):
        list(read_table(path, ["c", "a", "d"]))
    path.write_text(f"a{separator}b\n1{separator}2\n1\n")
    with pytest.raises(ValueError, match=r"t\.txt:3: 1 columns, but 2 in the header"):
        list(read_table(path))
    path.write_text(f"a{separator}a\n")
    with pytest.raises(ValueError, match=r"t\.txt:1: two columns are called 'a'"):
        list(read_table(path))


def test_a_quoted_header_is_the_same_layout(tmp_path):
    names = ["var.chrom", "var.pos", "var.allele1", "var.allele2", "var.label", "var.isused", "obs.estimate"]
    for name, header in (("plain", names), ("quoted", [f'"{name}"' for name in names])):
        (tmp_path / name).write_text("\t".join(header) + "\nchr1\t1\tA\tC\t1\tTrue\t0.5\n")
    plain, quoted = (read_layout(tmp_path / name) for name in ("plain", "quoted"))
    assert (quoted.kind, quoted.effect, quoted.effect_allele) == ("dsqtl", "obs.estimate", 1)
    assert quoted._replace(start=plain.start, header=plain.header) == plain
    (tmp_path / "elements").write_text('"chr"\t"start"\t"end"\t"label"\nchr1\t1\t2\tK562\n')
    assert table_layout(tmp_path / "elements").label == 3


def test_columns_of_a_csv_are_of_their_types(tmp_path):
    import pyarrow as pa

    path = tmp_path / "t.csv"
    path.write_text("region,start,other\n1,5,x\nX,6,y\n2,7,z\n")
    batches = list(read_batches(path, 2, {"region": pa.string(), "start": None}))
    assert [(before, batch.to_pydict()) for before, batch in batches] == [
        (0, {"region": ["1", "X"], "start": [5, 6]}),
        (2, {"region": ["2"], "start": [7]}),
    ]
    with pytest.raises(ValueError, match=r"t\.csv:1: has no column end"):
        list(read_batches(path, 2, {"end": None}))
    with pytest.raises(ValueError, match=r"t\.csv: cannot be read: .*invalid value 'X'"):
        list(read_batches(path, 2, {"region": pa.int64()}))
