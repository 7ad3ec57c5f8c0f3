"""GenomicBenchmarks: eight tasks of classifying genomic sequences (paper section 4.2, spec 6.1)."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from datasets_dart.alphabet import known_bases, reverse_complement
from datasets_dart.errors import InputError
from datasets_dart.files import input_file
from datasets_dart.formats.fasta import open_genome
from datasets_dart.formats.tables import read_batches
from datasets_hyenadna.family import Family
from datasets_hyenadna.sequence_files import ROWS, Columns, split_files, table_chunks, task_folder, text_chunks

TASKS = (
    "dummy_mouse_enhancers_ensembl",
    "demo_coding_vs_intergenomic_seqs",
    "demo_human_or_worm",
    "human_enhancers_cohn",
    "human_enhancers_ensembl",
    "human_ensembl_regulatory",
    "human_nontata_promoters",
    "human_ocr_ensembl",
)
INTERVAL_COLUMNS = {"region": pa.string(), "start": pa.int64(), "end": pa.int64(), "strand": pa.string()}
# Parquet on the Hub has numbers for classes and no names.
REGULATORY = ("enhancer", "ocr", "promoter")


class GenomicBenchmarks(Family):
    """One task from its folder, in whichever of the three published forms that is.

    The classes are numbered in alphabetical order; the original takes them as the file system lists them, which may
    differ between the splits (spec 6.1).
    """

    def __init__(self, task: str, index_dir: str, data: str, genome: str | Mapping[str, str] | None = None):
        if task not in TASKS:
            raise InputError(f"genomic_benchmarks has no task {task!r}: {', '.join(TASKS)}")
        self.folder, self.index_dir = task_folder(data, task), index_dir
        shards = split_files(self.folder, (".parquet",))
        classes: tuple[str, ...] = REGULATORY if task == "human_ensembl_regulatory" else ("0", "1")
        if not shards:
            folders = {split: self.folder / split for split in ("train", "test") if (self.folder / split).is_dir()}
            names = {entry.name.partition(".")[0] for folder in folders.values() for entry in folder.iterdir()}
            classes = tuple(sorted(name for name in names if name))
            shards = {split: [_of_class(folder, name) for name in classes] for split, folder in folders.items()}
        if not {"train", "test"} <= shards.keys():
            raise InputError(f"{self.folder}: has neither train/ and test/ nor train and test in parquet")
        genomes = genome if isinstance(genome, Mapping) else dict.fromkeys(classes, genome or "")
        if isinstance(genome, Mapping):
            self.contig = ("label", "chrom")
        self.genome_paths = {name: path for name, path in genomes.items() if path}
        super().__init__(shards, classes, dict.fromkeys(self.genome_paths.values()))

    def columns(self) -> dict[str, Any]:
        """Names and types of the columns."""
        return super().columns() | {"chrom": "string", "start": "int64", "end": "int64", "strand": "string"}

    def chunks(self, shard: Path) -> Iterator[Columns]:
        """Columns of a shard, some rows at a time."""
        if shard.suffix == ".parquet":
            return table_chunks(shard, len(self.classes))
        name = shard.name.partition(".")[0]
        label = self.classes.index(name)
        return text_chunks(shard, label) if shard.is_dir() else self._interval_chunks(shard, name, label)

    def _interval_chunks(self, path: Path, name: str, label: int) -> Iterator[Columns]:
        """Intervals, 0-based and half-open, as sequences of their own strand."""
        if name not in self.genome_paths:
            raise InputError(f"{self.folder}: holds intervals: class {name} needs its genome")
        genome = open_genome(input_file(self.genome_paths[name]), self.index_dir)
        for before, batch in read_batches(path, ROWS, INTERVAL_COLUMNS):
            columns = {name: batch.column(name).to_pylist() for name in INTERVAL_COLUMNS}
            chroms, sequences = [], []
            for row, (region, start, end, strand) in enumerate(zip(*columns.values(), strict=True)):
                try:
                    chroms.append(genome.contig(region))
                    forward = known_bases(genome.fetch(region, start, end))
                except (ValueError, TypeError) as error:
                    raise InputError(f"{path}:{before + row + 2}: {error}") from None
                sequences.append(reverse_complement(forward) if strand == "-" else forward)
            del columns["region"]
            yield columns | {"sequence": sequences, "label": [label] * len(chroms), "chrom": chroms}


def _of_class(folder: Path, name: str) -> Path:
    for ending in (".csv.gz", ".csv", ""):
        if (path := folder / f"{name}{ending}").exists():
            return path
    raise FileNotFoundError(f"{folder / name}.csv.gz: no such file; only the other split has this class")
