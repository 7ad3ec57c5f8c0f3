"""Task 4: how accessible a window's centre is, from the sequence (DART-Eval spec section 5)."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets_dart.base import DartBuilder, DartConfig, Paths, Shards, chunks_at, deal, file_input, option, repeats
from datasets_dart.contigs import check_same_build, contig_ends, join_contigs
from datasets_dart.duplicates import Compared
from datasets_dart.errors import InputError
from datasets_dart.files import Position, input_file
from datasets_dart.formats.bed import Windows
from datasets_dart.formats.bigwig import Signal, log_counts
from datasets_dart.formats.element_tables import Layout, Rows, check_rows, read_rows, table_layout
from datasets_dart.formats.fasta import Genome, window_strings
from datasets_dart.formats.hdf5 import SPLIT_GROUPS, Slice
from datasets_dart.peaks import overlaps_any
from datasets_dart.splits import SPLITS, assign_windows

WINDOW = 2114  # bp, as published: what ChromBPNet reads
COUNTED = 1000  # bp in its centre, whose signal is the target
CATEGORIES = ("peaks", "idr", "nonpeaks")
H5_GROUPS = {"peaks": "peaks", "idr": "idr_peaks", "nonpeaks": "nonpeaks"}


class Source(NamedTuple):
    """One file of windows."""

    cell_type: str
    category: str
    path: Path
    layout: Layout
    signal: Signal


Piece = tuple[int, Position]  # where a shard starts: number of the source, position in it


@dataclass
class ChromatinActivityConfig(DartConfig):
    """Inputs and options of task 4; see `datasets_dart.load_dart`."""

    LEAST_WINDOW = COUNTED

    genome: str = file_input("FASTA: plain, gzip or bgzip")
    peaks: Paths = file_input("narrowPeak, BED or the original's table of each cell type", several=True)
    idr: Paths = file_input("the reproducible peaks of each cell type", several=True)
    nonpeaks: Paths = file_input("background windows of each cell type", several=True)
    signal: Paths = file_input("bigWig of each cell type", several=True)
    cell_type: str = option("", "of single files; by default the name of the signal's file up to a dot or underscore")
    window: int = option(WINDOW, "bp, where not as published")

    def __post_init__(self) -> None:
        super().__post_init__()
        by_cell = {role: self._by_cell(getattr(self, role)) for role in (*CATEGORIES, "signal")}
        self.peaks, self.idr, self.nonpeaks, self.signal = by_cell.values()
        for category in CATEGORIES:
            if unknown := by_cell[category].keys() - by_cell["signal"].keys():
                raise InputError(f"{category}= has the cell types {', '.join(sorted(unknown))}, which signal= lacks")

    def _by_cell(self, paths: Paths) -> dict[str, str]:
        if isinstance(paths, Mapping):
            return dict(paths)
        if isinstance(self.signal, Mapping) and paths:
            raise InputError(f"{paths}: give one file for each cell type, as signal= does")
        name = self.cell_type or os.path.basename(str(self.signal)).replace("_", ".").partition(".")[0]
        return {name: str(paths)} if paths else {}


class ChromatinActivity(DartBuilder):
    """Windows with their log counts from a genome, files of windows and bigWig tracks.

    Files of windows: narrowPeak (centred on the summit), BED (on the interval) or the original's tables.
    """

    BUILDER_CONFIG_CLASS = ChromatinActivityConfig
    NEEDS = (("genome", "peaks", "signal"), ("genome", "nonpeaks", "signal"), ("processed",))
    DESCRIPTION = f"""\
Task 4 of DART-Eval: log(1 + signal) over the central {COUNTED} bp of windows of {{config.window}} bp, in peaks of
accessibility, in the reproducible ones among them (idr) and in background windows (nonpeaks). Coordinates are 0-based,
half-open; `id` is the row of its file, so that cell_type, category and id together name a row. Made of:
{{config.source}}. Protocol: {{config.protocol}}. Rows: {{report}}."""
    H5_COLUMNS = ("counts", "idxs")

    def columns(self) -> dict[str, Any]:
        """Names and types of the columns."""
        return {
            "id": "int64",
            "cell_type": "string",
            "category": "string",
            "chrom": "string",
            "start": "int64",
            "end": "int64",
            "sequence": "string",
            "log_counts": "float64",
        }

    @cached_property
    def sources(self) -> list[Source]:
        """Files of peaks or elements, with their cell and kind."""
        files = self.config.files()
        sources = []
        for cell, track in files["signal"].items():
            signal = Signal(track, nan_is_nothing=self.config.protocol == "paper")
            for category in CATEGORIES:
                if cell in files[category]:
                    path = input_file(files[category][cell])
                    sources.append(Source(cell, category, path, table_layout(path), signal))
        return sources

    def shards(self, report: Counter[str]) -> tuple[Shards, dict[str, Any]]:
        """Pieces of work for each split, with what `rows_of` takes beside them; `report` counts what is left out."""
        shards: Shards = {}
        windows: dict[tuple[str, str], Windows] = {}
        again: dict[int, np.ndarray] = {}
        for number, source in enumerate(self.sources):
            windows[source.cell_type, source.category], again[number] = self._scan(number, source, shards, report)
        for cell in dict.fromkeys(cell for cell, _ in windows):
            if {(cell, "peaks"), (cell, "nonpeaks")} <= windows.keys():
                overlapping = overlaps_any(windows[cell, "nonpeaks"], windows[cell, "peaks"]).sum()
                report[f"nonpeaks of {cell} overlap a peak's counted bases, kept"] += int(overlapping)
        return shards, {"again": again}

    def _scan(self, number: int, source: Source, shards: Shards, report: Counter[str]) -> tuple[Windows, np.ndarray]:
        """Check a file, append its pieces to the shards and its counts to the report.

        Returns the counted parts that are used, and the ids of rows that are left out as they repeat others.

        Raises ValueError where no row of the file is in a split: the category would be empty.
        """
        window, protocol, genome = self.config.window, self.config.protocol, self.genome
        what = f"{source.cell_type} {source.category} "
        used_rows, codes = [], []
        for position, chunk in read_rows(source.path, source.layout, window, self.chunk_rows, None, genome.contigs):
            code = assign_windows(self.blocks, chunk.chrom, chunk.start, window, genome.contigs)
            check_rows(source.path, chunk.take(np.flatnonzero(code >= 0)), source.layout, genome, protocol)
            whole = counted_on_contig(chunk, window, genome, protocol)
            report[f"{what}in no split, left out"] += int((code < 0).sum())
            report[f"{what}with counted bases off their contig, left out"] += int(((code >= 0) & ~whole).sum())
            code[~whole] = -1
            used_rows.append(chunk.take(np.flatnonzero(code >= 0)))
            codes.append(code[code >= 0])
            deal(code, (number, position), shards, report, what)
        ids, chrom, start = map(
            np.concatenate, zip(*((used.id, used.chrom, used.start) for used in used_rows), strict=True)
        )
        if not len(start):
            raise InputError(f"{source.path}: none of its windows lies in a split ({self.config.splits})")
        path, contigs = source.signal.path, source.signal.contigs
        joined = join_contigs(path, contigs, set(chrom.tolist()))
        check_same_build(path, {name: contigs[name] for name in joined.names}, genome.contigs, genome.path)
        if joined.only_there:
            raise InputError(f"{path}: has no contig {', '.join(sorted(joined.only_there))}, as {source.path} has")
        again = repeats(report, protocol, np.concatenate(codes), ids, chrom, start, what=what)
        once = ~np.isin(ids, again)
        first = start[once] + (window - COUNTED) // 2
        return Windows(chrom[once], first, first + COUNTED), again

    def compared(self) -> Compared:
        """Windows of one cell and category: reproducible peaks are peaks, and cells share peaks."""
        return Compared(group=("cell_type", "category"))

    def rows_of(self, shards: list[Piece], split: str, again: dict[int, np.ndarray]) -> Iterator[dict[str, Any]]:
        """Tables of the rows of some pieces of one split."""
        window, protocol, genome = self.config.window, self.config.protocol, self.genome
        for number, source in enumerate(self.sources):
            positions = [position for source_number, position in shards if source_number == number]
            reader = partial(read_rows, source.path, source.layout, window, self.chunk_rows, contigs=genome.contigs)
            for chunk in chunks_at(positions, reader):
                code = assign_windows(self.blocks, chunk.chrom, chunk.start, window, genome.contigs)
                used = (code == SPLITS.index(split)) & counted_on_contig(chunk, window, genome, protocol)
                used &= ~np.isin(chunk.id, again[number])
                here = chunk.take(np.flatnonzero(used))
                yield {
                    "id": here.id,
                    "cell_type": [source.cell_type] * len(here.id),
                    "category": [source.category] * len(here.id),
                    "chrom": here.chrom,
                    "start": here.start,
                    "end": here.start + window,
                    "sequence": window_strings(genome, here.chrom, here.start, window, protocol),
                    "log_counts": log_counts(source.signal, here.chrom, here.start + (window - COUNTED) // 2, COUNTED),
                }

    def h5_groups(self, file: Any, split: str) -> list[str]:
        """Names of the groups that hold a split."""
        names = [f"{cell}/{SPLIT_GROUPS[split]}/{name}" for cell in sorted(file) for name in H5_GROUPS.values()]
        return [name for name in names if name in file]

    def h5_columns(self, file: Any, piece: Slice, arrays: tuple[np.ndarray, ...]) -> dict[str, Any]:
        """Columns of a piece of an original HDF5 file."""
        counts, ids = arrays
        cell, _, group = piece.group.split("/")
        category = next(category for category, name in H5_GROUPS.items() if name == group)
        return {
            "id": ids,
            "cell_type": [cell] * len(ids),
            "category": [category] * len(ids),
            "log_counts": counts.astype(np.float64),
        }


def counted_on_contig(rows: Rows, window: int, genome: Genome, protocol: str) -> np.ndarray:
    """(n,) bool: whether the counted bases of each row's window lie on its contig.

    protocol="paper": always, as there signal off the contig is zero.
    """
    if protocol == "paper":
        return np.ones(len(rows.start), dtype=bool)
    start = rows.start + (window - COUNTED) // 2
    ends = contig_ends(rows.chrom, genome.contigs, np.iinfo(np.int64).max)
    return np.asarray((start >= 0) & (start + COUNTED <= ends))
