"""Chromatin profiles: 919 binary tracks of DeepSEA over windows of the genome (paper section 4.3, spec 6.3)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.csv

from datasets_dart.alphabet import window_strings
from datasets_dart.errors import InputError
from datasets_dart.files import compression, input_file
from datasets_dart.formats.bed import centred_start
from datasets_dart.formats.fasta import open_genome
from datasets_hyenadna.sequence_files import Columns

COORDINATES = ("Chr_No", "Start", "End")
ROWS = 256
FILE_SPLITS = {"train": "train", "val": "validation", "test": "test"}
GROUP_SIZES = {"DHS": 125, "TF": 690, "HM": 104}  # of the 919, in DeepSEA's order


def label_groups(names: Sequence[str]) -> dict[str, list[int]]:
    """Which labels are transcription factors (TF), DNase hypersensitive sites (DHS) and histone marks (HM).

    By DeepSEA's order where there are 919 of them; else by name: "dnase" or "dhs", and "h2a", "h3k" and "h4k".
    """
    if len(names) == sum(GROUP_SIZES.values()):
        ends = np.cumsum(list(GROUP_SIZES.values())).tolist()
        return {
            group: list(range(end - size, end)) for (group, size), end in zip(GROUP_SIZES.items(), ends, strict=True)
        }
    groups: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        lower = name.lower()
        histone = any(mark in lower for mark in ("h2a", "h2b", "h3k", "h4k"))
        group = "DHS" if "dnase" in lower or "dhs" in lower else "HM" if histone else "TF"
        groups.setdefault(group, []).append(number)
    return groups


class ChromatinProfile:
    """`{train,val,test}_{build}_coords_targets.csv`: Chr_No from 0, Start, End, and a column y_... for each label.

    The window of `window` bp is centred on the interval; off the chromosome it is N (the original's [UNK]). Chromosomes
    23 and 24 are X and Y, which the original cannot read.
    """

    options = ("data", "genome", "build", "window")

    def __init__(self, task: str, index_dir: str, data: str, genome: str, build: str = "hg38", window: int = 1000):
        if task:
            raise InputError(f"chromatin_profile is one task, and has no {task!r}")
        if window < 1:
            raise InputError(f"window={window}: at least 1 bp")
        self.paths = {
            split: Path(data) / f"{word}_{build}_coords_targets.csv{ending}"
            for word, split in FILE_SPLITS.items()
            for ending in ("", ".gz")
            if (Path(data) / f"{word}_{build}_coords_targets.csv{ending}").is_file()
        }
        if not {"train", "test"} <= self.paths.keys():
            raise FileNotFoundError(f"{data}: has no train_{build}_coords_targets.csv and test_... (build=)")
        self.genome_path, self.index_dir, self.window = genome, index_dir, window
        self.names = self._label_names(self.paths["train"])

    @property
    def files(self) -> list[str]:
        return [*map(str, self.paths.values()), self.genome_path]

    @property
    def features(self) -> datasets.Features:
        return datasets.Features(
            {
                "id": datasets.Value("int64"),
                "chrom": datasets.Value("string"),
                "start": datasets.Value("int64"),
                "end": datasets.Value("int64"),
                "sequence": datasets.Value("string"),
                "labels": datasets.List(datasets.ClassLabel(names=["no", "yes"]), length=len(self.names)),
            }
        )

    def shards(self) -> dict[str, list[str]]:
        return {split: [str(path)] for split, path in self.paths.items()}

    def chunks(self, shard: str) -> Iterator[Columns]:
        path = Path(shard)
        genome = open_genome(input_file(self.genome_path), self.index_dir)
        line = 2
        for batch in self._batches(path):
            for first in range(0, len(batch), ROWS):
                part = batch.slice(first, ROWS)
                numbers, starts, ends = (np.array(part.column(name).to_pylist()) for name in COORDINATES)
                for row, number in enumerate(numbers):
                    if number not in range(24) or not 0 <= starts[row] < ends[row]:
                        place = f"Chr_No {number}, {starts[row]}-{ends[row]}"
                        raise InputError(f"{path}:{line + row}: {place} is no interval of chromosomes 0 to 23")
                chrom = np.array([_chromosome(int(number)) for number in numbers], dtype=object)
                for row, name in enumerate(chrom):
                    if name not in genome.contigs or starts[row] >= genome.contigs[name]:
                        raise InputError(f"{path}:{line + row}: {genome.path} has no {name}:{starts[row]}-{ends[row]}")
                window_start = centred_start(starts, ends, self.window)
                labels = np.stack([part.column(name).to_numpy(zero_copy_only=False) for name in self.names], axis=1)
                if not np.isin(labels, (0, 1)).all():
                    row, column = np.argwhere(~np.isin(labels, (0, 1)))[0].tolist()
                    raise InputError(f"{path}:{line + row}: {self.names[column]} is {labels[row, column]}, not 0 or 1")
                yield {
                    "chrom": chrom.tolist(),
                    "start": window_start,
                    "end": window_start + self.window,
                    "sequence": window_strings(genome, chrom, window_start, self.window, "fixed").to_pylist(),
                    "labels": list(labels.astype(np.int64)),
                }
                line += len(part)

    def _batches(self, path: Path) -> Iterator[pa.RecordBatch]:
        try:
            with pa.csv.open_csv(path) as file:
                yield from file
        except pa.ArrowInvalid as error:
            raise InputError(f"{path}: cannot be read: {error}") from None

    def _label_names(self, path: Path) -> list[str]:
        opened = pa.input_stream(path, compression=None if compression(path) == "plain" else "gzip")
        with opened as file:
            header = pa.csv.open_csv(file).schema.names
        if missing := [name for name in COORDINATES if name not in header]:
            raise InputError(f"{path}:1: has no column {missing[0]}")
        names = [name for name in header if name.startswith("y_")]
        if not names:
            raise InputError(f"{path}:1: has no column y_... of labels")
        return names


def _chromosome(number: int) -> str:
    return f"chr{('X', 'Y')[number - 22] if number > 21 else number + 1}"
