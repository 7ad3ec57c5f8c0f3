"""Genes of GTF annotations, Ensembl's and GENCODE's."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from datasets_dart.errors import InputError
from datasets_dart.files import numbered_lines

ATTRIBUTE = re.compile(r'(gene_id|gene_biotype|gene_type) "([^"]+)"')


class Gene(NamedTuple):
    """0-based, half-open."""

    id: str
    biotype: str
    chrom: str
    start: int
    end: int
    strand: str


def read_genes(path: Path) -> Iterator[Gene]:
    """Genes of a GTF, Ensembl's (gene_biotype) or GENCODE's (gene_type).

    Raises ValueError naming file, line and what is wrong there.
    """
    for line, text in numbered_lines(path):
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
            raise InputError(f"{path}:{line}: {first}-{last} is not an interval")
        yield Gene(named["gene_id"], biotype, chrom, int(first) - 1, int(last), strand)
