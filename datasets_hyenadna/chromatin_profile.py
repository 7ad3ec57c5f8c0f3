"""Chromatin profiles: 919 binary tracks of DeepSEA over windows of the genome (paper section 4.3, spec 6.3)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa

from datasets_dart.contigs import contig_ends, renamed
from datasets_dart.errors import InputError, refuse_rows
from datasets_dart.files import input_file
from datasets_dart.formats.bed import centred_start
from datasets_dart.formats.fasta import open_genome, window_strings
from datasets_dart.formats.tables import read_batches, read_header
from datasets_hyenadna.family import Family
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


class ChromatinProfile(Family):
    """`{train,val,test}_{build}_coords_targets.csv`: Chr_No from 0, Start, End, and a column y_... for each label.

    The window of `window` bp is centred on the interval; off the chromosome it is N (the original's [UNK]). Chromosomes
    23 and 24 are X and Y, which the original cannot read.
    """

    def __init__(self, task: str, index_dir: str, data: str, genome: str, build: str = "hg38", window: int = 1000):
        if task:
            raise InputError(f"chromatin_profile is one task, and has no {task!r}")
        if window < 1:
            raise InputError(f"window={window}: at least 1 bp")
        paths: dict[str, list[Path]] = {}
        for word, split in FILE_SPLITS.items():
            names = (f"{word}_{build}_coords_targets.csv{ending}" for ending in ("", ".gz"))
            if found := [Path(data) / name for name in names if (Path(data) / name).is_file()]:
                paths[split] = found[:1]
        if not {"train", "test"} <= paths.keys():
            raise FileNotFoundError(f"{data}: has no train_{build}_coords_targets.csv and test_... (build=)")
        self.genome_path, self.index_dir, self.window = genome, index_dir, window
        super().__init__(paths, ("no", "yes"), [genome])
        (first,) = paths["train"]
        self.names = [name for name in read_header(first).names if name.startswith("y_")]  # of the labels
        if not self.names:
            raise InputError(f"{first}:1: has no column y_... of labels")

    def columns(self) -> dict[str, Any]:
        """Names and types of the columns."""
        labels = datasets.List(datasets.ClassLabel(names=list(self.classes)), length=len(self.names))
        columns = {"id": "int64", "chrom": "string", "start": "int64", "end": "int64", "sequence": "string"}
        return columns | {"labels": labels}

    def chunks(self, shard: Path) -> Iterator[Columns]:
        """Columns of a shard, some rows at a time."""
        genome = open_genome(input_file(self.genome_path), self.index_dir)
        types = dict.fromkeys(COORDINATES, pa.int64()) | dict.fromkeys(self.names)
        for before, batch in read_batches(shard, ROWS, types):
            numbers, starts, ends = (np.array(batch.column(name)) for name in COORDINATES)
            chrom = np.array([_chromosome(number) for number in numbers.tolist()], dtype=object)
            bad = ~((numbers >= 0) & (numbers <= 23) & (starts >= 0) & (starts < ends))
            chrom = renamed(chrom, genome.contigs)
            outside = starts >= contig_ends(chrom, genome.contigs)
            spans = [f"{start}-{end}" for start, end in zip(starts, ends, strict=True)]
            lines = before + 2 + np.arange(len(batch))
            what = "is no interval of chromosomes 0 to 23"
            whys = [f"Chr_No {number}, {span} {what}" for number, span in zip(numbers, spans, strict=True)]
            refuse_rows(shard, lines, bad, whys.__getitem__)
            whys = [f"{genome.path} has no {name}:{span}" for name, span in zip(chrom, spans, strict=True)]
            refuse_rows(shard, lines, outside, whys.__getitem__)
            window_start = centred_start(starts, ends, self.window)
            labels = np.stack([np.array(batch.column(name)) for name in self.names], axis=1)
            wrong = np.argwhere(~np.isin(labels, (0, 1)))
            if len(wrong):
                row, column = wrong[0].tolist()
                raise InputError(f"{shard}:{lines[row]}: {self.names[column]} is {labels[row, column]}, not 0 or 1")
            yield {
                "chrom": chrom.tolist(),
                "start": window_start,
                "end": window_start + self.window,
                "sequence": window_strings(genome, chrom, window_start, self.window, "fixed").to_pylist(),
                "labels": list(labels.astype(np.int64)),
            }


def _chromosome(number: int) -> str:
    return f"chr{('X', 'Y')[number - 22] if number in (22, 23) else number + 1}"
