"""GenomicBenchmarks: eight tasks of telling kinds of genomic sequence apart (paper section 4.2, spec 6.1)."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.csv

from datasets_dart.alphabet import reverse_complement
from datasets_dart.errors import InputError
from datasets_dart.files import input_file
from datasets_dart.formats.fasta import Genome, open_genome
from datasets_hyenadna.sequence_files import ROWS, Columns, bases, split_files, table_chunks, task_folder, text_chunks

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
INTERVAL_COLUMNS = ("region", "start", "end", "strand")
# Parquet on the Hub has numbers for classes and no names.
REGULATORY = ("enhancer", "ocr", "promoter")


class GenomicBenchmarks:
    """One task from its folder, in whichever of the three published forms that is.

    The classes are numbered in alphabetical order; the original takes them as the file system lists them, which may
    differ between the splits (spec 6.1).
    """

    options = ("data", "genome")

    def __init__(self, task: str, index_dir: str, data: str, genome: str | Mapping[str, str] | None = None):
        if task not in TASKS:
            raise InputError(f"genomic_benchmarks has no task {task!r}: {', '.join(TASKS)}")
        self.folder, self.genome, self.index_dir = task_folder(data, task), genome, index_dir
        self.parquet = split_files(self.folder, (".parquet",))
        folders = {split: self.folder / split for split in ("train", "test") if (self.folder / split).is_dir()}
        names = {entry.name.partition(".")[0] for folder in folders.values() for entry in folder.iterdir()}
        self.classes = tuple(sorted(name for name in names if name))
        self.shards_ = {split: [*map(str, paths)] for split, paths in self.parquet.items()}
        if self.parquet:
            self.classes = REGULATORY if task == "human_ensembl_regulatory" else ("0", "1")
        for split, folder in folders.items() if not self.parquet else ():
            self.shards_[split] = [str(self._of_class(folder, name)) for name in self.classes]
        if not {"train", "test"} <= self.shards_.keys():
            raise InputError(f"{self.folder}: has neither train/ and test/ nor train and test in parquet")
        self.genomes: dict[str, Genome] = {}

    @property
    def files(self) -> list[str]:
        genomes = self.genome.values() if isinstance(self.genome, Mapping) else [self.genome]
        return [path for paths in self.shards_.values() for path in paths] + [path for path in genomes if path]

    @property
    def features(self) -> datasets.Features:
        columns: dict[str, Any] = {"id": datasets.Value("int64"), "sequence": datasets.Value("string")}
        columns |= {"label": datasets.ClassLabel(names=list(self.classes))}
        columns |= {"chrom": datasets.Value("string"), "start": datasets.Value("int64")}
        return datasets.Features(columns | {"end": datasets.Value("int64"), "strand": datasets.Value("string")})

    def shards(self) -> dict[str, list[str]]:
        return self.shards_

    def chunks(self, shard: str) -> Iterator[Columns]:
        path = Path(shard)
        if self.parquet:
            yield from table_chunks(path, len(self.classes))
            return
        label = self.classes.index(path.name.partition(".")[0])
        yield from text_chunks(path, label) if path.is_dir() else self._interval_chunks(path, label)

    def _of_class(self, folder: Path, name: str) -> Path:
        for ending in (".csv.gz", ".csv", ""):
            if (path := folder / f"{name}{ending}").exists():
                return path
        raise FileNotFoundError(f"{folder / name}.csv.gz: no such file; the class is in the other split alone")

    def _interval_chunks(self, path: Path, label: int) -> Iterator[Columns]:
        """Intervals, 0-based and half-open, as sequences of their own strand."""
        genome = self._genome(self.classes[label])
        try:
            table = pa.csv.read_csv(
                path, convert_options=pa.csv.ConvertOptions(column_types={"region": pa.string(), "strand": pa.string()})
            )
        except pa.ArrowInvalid as error:
            raise InputError(f"{path}: cannot be read: {error}") from None
        if missing := [name for name in INTERVAL_COLUMNS if name not in table.column_names]:
            raise InputError(f"{path}: has no column {missing[0]}; it has {', '.join(table.column_names)}")
        region, start, end, strand = (table.column(name).to_pylist() for name in INTERVAL_COLUMNS)
        for first in range(0, len(table), ROWS):
            rows = range(first, min(first + ROWS, len(table)))
            chroms = [_contig(genome, path, row + 2, region[row]) for row in rows]
            sequences = []
            for chrom, row in zip(chroms, rows, strict=True):
                try:
                    forward = bases(genome.fetch(chrom, start[row], end[row]))
                except (ValueError, TypeError) as error:
                    raise InputError(f"{path}:{row + 2}: {error}") from None
                sequences.append(reverse_complement(forward) if strand[row] == "-" else forward)
            yield {
                "sequence": sequences,
                "label": [label] * len(rows),
                "chrom": chroms,
                **{
                    name: values[first : rows.stop]
                    for name, values in (("start", start), ("end", end), ("strand", strand))
                },
            }

    def _genome(self, name: str) -> Genome:
        path = self.genome.get(name) if isinstance(self.genome, Mapping) else self.genome
        if not path:
            raise InputError(f"{self.folder}: holds intervals: class {name} needs genome=")
        if path not in self.genomes:
            self.genomes[path] = open_genome(input_file(path), self.index_dir)
        return self.genomes[path]


def _contig(genome: Genome, path: Path, line: int, region: str) -> str:
    """The contig's name in the genome, which may be without "chr", or with it."""
    mitochondrial = {"chrM": "MT", "MT": "chrM"}.get(region, region)
    for name in (region, f"chr{region}", region.removeprefix("chr"), mitochondrial):
        if name in genome.contigs:
            return name
    raise InputError(f"{path}:{line}: {genome.path} has no contig {region!r}")
