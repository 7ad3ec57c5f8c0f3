"""Task 4: how accessible a window's centre is, from the sequence (DART-Eval spec section 5)."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import pyarrow as pa
from datasets.builder import Key

from datasets_dart.alphabet import LETTERS, window_strings
from datasets_dart.cell_type_elements import CITATION
from datasets_dart.counts import check_build
from datasets_dart.errors import InputError
from datasets_dart.files import contents_key, input_file
from datasets_dart.formats.bed import CHUNK_ROWS, Position
from datasets_dart.formats.bigwig import Signal, log_counts
from datasets_dart.formats.element_tables import (
    Layout,
    Rows,
    check_rows,
    chunks_at,
    read_rows,
    split_codes,
    table_layout,
)
from datasets_dart.formats.fasta import Genome, open_genome
from datasets_dart.formats.hdf5 import SPLIT_GROUPS, Slice, open_hdf5, read_slice, slices
from datasets_dart.peaks import Windows, overlaps_any
from datasets_dart.splits import SPLITS, Blocks, read_splits

WINDOW = 2114  # bp, as published: what ChromBPNet reads
COUNTED = 1000  # bp in its centre, whose signal is the target
CATEGORIES = ("peaks", "idr", "nonpeaks")
H5_GROUPS = {"peaks": "peaks", "idr": "idr_peaks", "nonpeaks": "nonpeaks"}
H5_COLUMNS = ("counts", "idxs")
TABLE_BYTES = 1 << 24  # of sequence in one Arrow table

DESCRIPTION = """\
Task 4 of DART-Eval: log(1 + signal) over the central {counted} bp of windows of {window} bp, in peaks of accessibility,
in the reproducible ones among them (idr) and in background windows (nonpeaks). Coordinates are 0-based, half-open; `id`
is the row of its file, so that cell_type, category and id together name a row. Cell types: {cells}. Protocol:
{protocol}. Rows: {report}."""

Paths = str | dict[str, str]  # of one cell type, or by cell type


class Source(NamedTuple):
    """One file of windows."""

    cell_type: str
    category: str
    path: Path
    layout: Layout
    signal: Signal


class Piece(NamedTuple):
    """Where a shard starts."""

    source: int
    position: Position


@dataclass
class ChromatinActivityConfig(datasets.BuilderConfig):
    """Inputs and options of task 4; see `datasets_dart.load_dart`."""

    genome: str = ""
    peaks: Paths = ""
    idr: Paths = ""
    nonpeaks: Paths = ""
    signal: Paths = ""
    processed: str = ""  # the original's data.h5
    cell_type: str = ""  # of single files; by default the signal's file name up to the first dot or underscore
    splits: str = "paper"
    protocol: str = "fixed"
    window: int = WINDOW
    index_dir: str | None = None  # where a decompressed genome and an index go that cannot lie beside it

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.protocol not in LETTERS:
            raise InputError(f"protocol={self.protocol!r} is not one of {', '.join(LETTERS)}")
        if self.window < COUNTED or (self.protocol == "paper" and self.window != WINDOW):
            raise InputError(f'window={self.window}: {WINDOW} bp in protocol="paper", at least {COUNTED} bp otherwise')
        if self.processed and self.splits != "paper":
            raise InputError(f"splits={self.splits}: {self.processed} has its own splits, and no coordinates")
        signals = self.by_cell(self.signal)
        for category in CATEGORIES:
            if unknown := self.by_cell(getattr(self, category)).keys() - signals.keys():
                raise InputError(f"{category}= of {', '.join(sorted(unknown))}, which signal= does not have")

    def by_cell(self, paths: Paths) -> dict[str, str]:
        if isinstance(paths, Mapping):
            return dict(paths)
        if isinstance(self.signal, Mapping) and paths:
            raise InputError(f"{paths}: give a file of each cell type, as signal= does")
        name = self.cell_type or os.path.basename(str(self.signal)).replace("_", ".").partition(".")[0]
        return {name: paths} if paths else {}

    def create_config_id(self, config_kwargs: dict, custom_features: datasets.Features | None = None) -> str:
        """Name of the cache: the inputs' contents and the options, whatever the files are called."""
        single = [path for path in (self.genome, self.processed) if path]
        single += [] if self.splits == "paper" else [self.splits]
        by_cell = [(role, cell, path) for role in (*CATEGORIES, "signal") for cell, path in self._items(role)]
        roles = [bool(self.genome), bool(self.processed)], [(role, cell) for role, cell, _ in by_cell]
        files = [*single, *(path for *_, path in by_cell)]
        return f"{self.protocol}-{contents_key(files, roles, self.protocol, self.window, custom_features)}"

    def _items(self, role: str) -> list[tuple[str, str]]:
        return sorted(self.by_cell(getattr(self, role)).items())


class ChromatinActivity(datasets.ArrowBasedBuilder):
    """Windows with their log counts from a genome, files of windows and bigWig tracks, split by contig or by blocks.

    Files of windows: narrowPeak (centred on the summit), BED (on the interval) or the original's tables. Each is read
    once to check it and to cut it into shards, each of which is then read again on its own. VERSION is raised whenever
    the same inputs give other rows.
    """

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = ChromatinActivityConfig

    def _info(self) -> datasets.DatasetInfo:
        columns = {"id": "int64", "cell_type": "string", "category": "string", "chrom": "string"}
        columns |= {"start": "int64", "end": "int64", "sequence": "string", "log_counts": "float64"}
        return datasets.DatasetInfo(
            description=__doc__,
            citation=CITATION,
            features=datasets.Features({name: datasets.Value(kind) for name, kind in columns.items()}),
        )

    def _describe(self, cells: list[str], report: Counter[str]) -> None:
        counted = "; ".join(f"{count} {what}" for what, count in report.items() if count)
        self.info.description = DESCRIPTION.format(
            counted=COUNTED,
            window=self.config.window,
            cells=", ".join(cells),
            protocol=self.config.protocol,
            report=counted,
        )

    def _split_generators(
        self, dl_manager: datasets.DownloadManager | datasets.StreamingDownloadManager
    ) -> list[datasets.SplitGenerator]:
        config = self.config
        rows = max(1, min(CHUNK_ROWS, TABLE_BYTES // config.window))
        if config.processed:
            return self._processed_splits(rows)
        blocks = read_splits(config.splits)
        genome = open_genome(config.genome, config.index_dir)
        sources = tuple(self._sources())  # a list would be taken for shards
        report: Counter[str] = Counter()
        shards: dict[int, list[Piece]] = {code: [] for code in range(len(SPLITS))}
        for cell in dict.fromkeys(source.cell_type for source in sources):
            windows: dict[str, Windows] = {}
            for number, source in enumerate(sources):
                if source.cell_type == cell:
                    windows[source.category] = self._scan(number, source, genome, blocks, rows, shards, report)
            if "peaks" in windows and "nonpeaks" in windows:
                overlapping = int(overlaps_any(windows["nonpeaks"], windows["peaks"]).sum())
                report[f"nonpeaks of {cell} overlap a peak's counted bases, kept"] += overlapping
        self._describe(list(dict.fromkeys(source.cell_type for source in sources)), report)
        shared = {"sources": sources, "genome": genome, "blocks": blocks, "rows": rows}
        return [
            datasets.SplitGenerator(name=SPLITS[code], gen_kwargs={"shards": shards[code], "split": code, **shared})
            for code in shards
            if shards[code]
        ]

    def _sources(self) -> list[Source]:
        config = self.config
        signals = {cell: Signal(path) for cell, path in config.by_cell(config.signal).items()}
        sources = []
        for cell, signal in signals.items():
            for category in CATEGORIES:
                if given := config.by_cell(getattr(config, category)).get(cell):
                    path = input_file(given)
                    sources.append(Source(cell, category, path, table_layout(path), signal))
        if not sources:
            raise InputError("task 'chromatin_activity' needs one of peaks=, idr= and nonpeaks= for a signal=")
        return sources

    def _scan(
        self,
        number: int,
        source: Source,
        genome: Genome,
        blocks: dict[str, Blocks],
        rows: int,
        shards: dict[int, list[Piece]],
        report: Counter[str],
    ) -> Windows:
        """Check a file, append its pieces to the shards and its counts to the report; the counted parts that are used.

        Raises ValueError where no row of the file is in a split: the category would be empty.
        """
        window, protocol = self.config.window, self.config.protocol
        what = f"{source.cell_type} {source.category}"
        used_rows = []
        for position, chunk in read_rows(source.path, source.layout, window, rows):
            code = split_codes(chunk, window, blocks, genome)
            check_rows(source.path, chunk.take(np.flatnonzero(code >= 0)), source.layout, genome, protocol)
            whole = counted_on_contig(chunk, window, genome, protocol)
            report[f"{what} in no split, left out"] += int((code < 0).sum())
            report[f"{what} with counted bases off their contig, left out"] += int(((code >= 0) & ~whole).sum())
            code[~whole] = -1
            used_rows.append(chunk.take(np.flatnonzero(code >= 0)))
            for split in np.unique(code[code >= 0]).tolist():
                report[f"{what} in {SPLITS[split]}"] += int((code == split).sum())
                shards[split].append(Piece(number, position))
        chrom = np.concatenate([used.chrom for used in used_rows])
        start = np.concatenate([used.start for used in used_rows]) + (window - COUNTED) // 2
        if not len(start):
            raise InputError(f"{source.path}: none of its windows lies in a split ({self.config.splits})")
        used = set(chrom.tolist())
        check_build(source.signal.path, source.signal.contigs, genome.contigs, used)
        if absent := used - source.signal.contigs.keys():
            raise InputError(f"{source.signal.path}: has no contig {', '.join(sorted(absent))}, as {source.path} has")
        return Windows(chrom, start, start + COUNTED)

    def _processed_splits(self, rows: int) -> list[datasets.SplitGenerator]:
        config = self.config
        path = input_file(config.processed)
        report: Counter[str] = Counter()
        generators = []
        with open_hdf5(path) as file:
            cells = sorted(file)
            for split, group in SPLIT_GROUPS.items():
                pieces: list[Slice] = []
                for cell in cells:
                    for category, name in H5_GROUPS.items():
                        if (where := f"{cell}/{group}/{name}") in file:
                            found = slices(file, where, H5_COLUMNS, config.window, rows)
                            report[f"{cell} {category} in {split}"] += found[-1].last if found else 0
                            pieces += found
                if pieces:
                    generators.append(datasets.SplitGenerator(name=split, gen_kwargs={"shards": pieces, "path": path}))
        if not generators:
            raise InputError(f"{path}: has no group {{cell}}/{{train,val,test}}/{{{','.join(H5_GROUPS.values())}}}")
        self._describe(cells, report)
        return generators

    def _generate_tables(self, shards: list[Any], **source: Any) -> Iterator[tuple[Key, pa.Table]]:
        tables = self._processed_tables if isinstance(shards[0], Slice) else self._window_tables
        for shard, columns in enumerate(tables(shards, **source)):
            yield Key(shard, 0), pa.table(columns, schema=self.info.features.arrow_schema)

    def _window_tables(
        self,
        shards: list[Piece],
        split: int,
        sources: tuple[Source, ...],
        genome: Genome,
        blocks: dict[str, Blocks],
        rows: int,
    ) -> Iterator[dict[str, Any]]:
        window, protocol = self.config.window, self.config.protocol
        for number, source in enumerate(sources):
            positions = [piece.position for piece in shards if piece.source == number]
            for chunk in chunks_at(positions, partial(read_rows, source.path, source.layout, window, rows)):
                code = split_codes(chunk, window, blocks, genome)
                here = chunk.take(np.flatnonzero((code == split) & counted_on_contig(chunk, window, genome, protocol)))
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

    def _processed_tables(self, shards: list[Slice], path: Path) -> Iterator[dict[str, Any]]:
        categories = {group: category for category, group in H5_GROUPS.items()}
        with open_hdf5(path) as file:
            for piece in shards:
                cell, _, group = piece.group.split("/")
                sequences, counts, ids = read_slice(file, piece, H5_COLUMNS, self.config.protocol)
                nothing = pa.nulls(len(ids))  # the file has no coordinates
                yield {
                    "id": ids,
                    "cell_type": [cell] * len(ids),
                    "category": [categories[group]] * len(ids),
                    "chrom": nothing,
                    "start": nothing,
                    "end": nothing,
                    "sequence": sequences,
                    "log_counts": counts.astype(np.float64),
                }


def counted_on_contig(rows: Rows, window: int, genome: Genome, protocol: str) -> np.ndarray:
    """(n,) bool: whether the counted bases of each row's window lie on its contig.

    protocol="paper": always, as there signal off the contig is zero.
    """
    if protocol == "paper":
        return np.ones(len(rows.start), dtype=bool)
    start = rows.start + (window - COUNTED) // 2
    ends = np.array([genome.contigs.get(name, np.iinfo(np.int64).max) for name in rows.chrom.tolist()], dtype=np.int64)
    return (start >= 0) & (start + COUNTED <= ends)
