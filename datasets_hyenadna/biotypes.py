"""Genes by biotype, for embeddings (paper section 4.4.2 and A.5, spec 6.6)."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from datasets_dart.alphabet import known_bases, reverse_complement
from datasets_dart.contigs import join_contigs
from datasets_dart.errors import InputError
from datasets_dart.files import batched, input_file
from datasets_dart.formats.fasta import open_genome
from datasets_dart.formats.gtf import Gene, read_genes
from datasets_dart.splits import is_chosen
from datasets_hyenadna.family import Family
from datasets_hyenadna.sequence_files import Columns

TEST_SHARE = 0.2
ROWS = 32  # genes are long


class Biotypes(Family):
    """Whole genes, on their own strand, of the commonest biotypes of an annotation.

    A fifth of the genes, by their names, is split test. (The paper does not say how it split.) Genes on contigs that
    the genome does not have are left out.
    """

    def __init__(self, task: str, index_dir: str, annotation: str, genome: str, classes: int = 10):
        if task:
            raise InputError(f"biotypes has no task {task!r}")
        self.annotation = input_file(annotation)
        self.genome = open_genome(input_file(genome), index_dir)
        biotypes: Counter[str] = Counter()
        contigs: Counter[str] = Counter()
        for gene in read_genes(self.annotation):
            biotypes[gene.biotype] += 1
            contigs[gene.chrom] += 1
        common = [biotype for biotype, _ in biotypes.most_common(classes)]
        if len(common) < 2:
            raise InputError(f"{annotation}: genes of two biotypes or more are needed, not of {len(common)}")
        joined = join_contigs(annotation, contigs, self.genome.contigs)
        self.contigs = joined.names
        super().__init__({"train": ["train"], "test": ["test"]}, sorted(common), [annotation, genome])
        self.left_out[f"genes on {len(joined.only_here)} contigs that the genome does not have"] = sum(
            contigs[name] for name in joined.only_here
        )

    def columns(self) -> dict[str, Any]:
        """Names and types of the columns."""
        columns = {"id": "string", "chrom": "string", "strand": "string", "sequence": "string"}
        return columns | {"start": "int64", "end": "int64", "label": super().columns()["label"]}

    def chunks(self, shard: str) -> Iterator[Columns]:
        """Columns of a shard, some rows at a time."""
        genes = (
            gene._replace(chrom=self.contigs[gene.chrom])
            for gene in read_genes(self.annotation)
            if gene.biotype in self.classes and gene.chrom in self.contigs
            if is_chosen(gene.id, TEST_SHARE) == (shard == "test")
        )
        for rows in batched(genes, ROWS):
            sequences = []
            for gene in rows:
                forward = known_bases(self.genome.fetch(gene.chrom, gene.start, gene.end))
                sequences.append(reverse_complement(forward) if gene.strand == "-" else forward)
            columns: Columns = {name: [getattr(gene, name) for gene in rows] for name in Gene._fields}
            labels = [self.classes.index(biotype) for biotype in columns.pop("biotype")]
            yield columns | {"sequence": sequences, "label": labels}
