"""Genes by biotype, for embeddings (paper section 4.4.2 and A.5, spec 6.6)."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import datasets

from datasets_dart.alphabet import reverse_complement
from datasets_dart.errors import InputError
from datasets_dart.files import input_file, numbered_lines
from datasets_dart.formats.fasta import Genome, open_genome
from datasets_hyenadna.sequence_files import Columns, bases

ATTRIBUTE = re.compile(r'(gene_id|gene_biotype|gene_type) "([^"]+)"')
TEST_SHARE = 0.2
ROWS = 32  # genes are long


class Gene(NamedTuple):
    """0-based, half-open."""

    id: str
    biotype: str
    chrom: str
    start: int
    end: int
    strand: str


def read_genes(path: str) -> Iterator[Gene]:
    """Genes of a GTF, Ensembl's (gene_biotype) or GENCODE's (gene_type).

    Raises ValueError naming file, line and what is wrong there.
    """
    for line, text in numbered_lines(input_file(path)):
        if text.startswith(b"#") or not text.strip():
            continue
        fields = text.decode("utf-8", "replace").rstrip("\n").split("\t")
        if len(fields) != 9:
            raise InputError(f"{path}:{line}: {len(fields)} columns where a GTF has 9")
        chrom, _, kind, first, last, _, strand, _, attributes = fields
        if kind != "gene":
            continue
        named = dict(ATTRIBUTE.findall(attributes))
        biotype = named.get("gene_biotype", named.get("gene_type"))
        if "gene_id" not in named or biotype is None:
            raise InputError(f"{path}:{line}: a gene without gene_id or gene_biotype: {attributes[:60]!r}")
        if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
            raise InputError(f"{path}:{line}: {first}-{last} is no interval")
        yield Gene(named["gene_id"], biotype, chrom, int(first) - 1, int(last), strand)


class Biotypes:
    """Whole genes, on their own strand, of the commonest biotypes of an annotation.

    A fifth of the genes, by their names, is split test. (The paper does not say how it split.)
    """

    options = ("annotation", "genome", "classes")

    def __init__(self, task: str, index_dir: str, annotation: str, genome: str, classes: int = 10):
        if task:
            raise InputError(f"biotypes has no task {task!r}")
        self.annotation, self.genome_path, self.index_dir = annotation, genome, index_dir
        common = Counter(gene.biotype for gene in read_genes(annotation)).most_common(classes)
        if len(common) < 2:
            raise InputError(f"{annotation}: genes of two biotypes or more are needed, not of {len(common)}")
        self.classes = sorted(biotype for biotype, _ in common)

    @property
    def files(self) -> list[str]:
        return [self.annotation, self.genome_path]

    @property
    def features(self) -> datasets.Features:
        columns = dict.fromkeys(("id", "chrom", "strand", "sequence"), datasets.Value("string"))
        columns |= dict.fromkeys(("start", "end"), datasets.Value("int64"))
        return datasets.Features(columns | {"label": datasets.ClassLabel(names=self.classes)})

    def shards(self) -> dict[str, list[str]]:
        return {"train": ["train"], "test": ["test"]}

    def chunks(self, shard: str) -> Iterator[Columns]:
        genome = open_genome(input_file(self.genome_path), self.index_dir)
        rows: list[Gene] = []
        for gene in read_genes(self.annotation):
            if gene.biotype in self.classes and gene.chrom in genome.contigs and _split(gene.id) == shard:
                rows.append(gene)
            if len(rows) == ROWS:
                yield self._columns(rows, genome)
                rows = []
        if rows:
            yield self._columns(rows, genome)

    def _columns(self, rows: list[Gene], genome: Genome) -> Columns:
        sequences = []
        for gene in rows:
            forward = bases(genome.fetch(gene.chrom, gene.start, gene.end))
            sequences.append(reverse_complement(forward) if gene.strand == "-" else forward)
        columns: Columns = {name: [getattr(gene, name) for gene in rows] for name in Gene._fields if name != "biotype"}
        return columns | {"sequence": sequences, "label": [self.classes.index(gene.biotype) for gene in rows]}


def _split(gene: str) -> str:
    number = int.from_bytes(hashlib.sha256(gene.encode()).digest()[:8])
    return "test" if number < TEST_SHARE * 2**64 else "train"
