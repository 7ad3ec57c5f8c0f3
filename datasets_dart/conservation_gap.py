"""Windows of a genome, and which of their bases are conserved: by intervals, by a track of scores, or by capitals."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from datasets_dart.base import DartBuilder, Shards, WindowsConfig, chunks_at, deal, file_input, option, rows_at_once
from datasets_dart.contigs import contig_ends, find_contig, renamed
from datasets_dart.errors import InputError
from datasets_dart.files import Position, input_file
from datasets_dart.formats.bed import Intervals, centred_start, read_intervals
from datasets_dart.formats.bigwig import Signal
from datasets_dart.options import whole_number
from datasets_dart.splits import SPLITS, assign_splits

LENGTH = 255  # bp, as MarinDNA's validation intervals
BIGWIGS = (".bw", ".bigwig")
NOT_WHOLE = "with a window beyond the contig, left out"


@dataclass
class ConservationGapConfig(WindowsConfig):
    """Inputs and options of conservation_gap; see `datasets_dart.load_dart`."""

    genome: str = file_input("FASTA: plain, gzip or bgzip")
    regions: str = file_input("BED, whose middles are those of the windows")
    conserved: str = file_input("BED of conserved bases, or a bigWig of scores; without it the genome's capitals are")
    threshold: str | None = option(None, "of a bigWig: the least score of a conserved base")
    length: int = option(LENGTH, "bp of a window")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.length = whole_number("length", self.length, 2)
        if self.is_track != (self.threshold is not None):
            raise InputError("give both a bigWig of conservation and a threshold, or neither")
        if self.threshold is not None:
            try:
                self.threshold = str(float(self.threshold))
            except ValueError:
                raise InputError(f"threshold={self.threshold!r} is not a number") from None

    @property
    def is_track(self) -> bool:
        """Whether conservation is a bigWig."""
        return self.conserved.lower().endswith(BIGWIGS)


class ConservationGap(DartBuilder):
    """Windows around regions, with a mark for each base."""

    BUILDER_CONFIG_CLASS = ConservationGapConfig
    NEEDS = (("genome", "regions"),)
    DESCRIPTION = """\
Windows of a genome around the middles of regions, and in `conserved` 1 for each conserved base and 0 for others.
Regions: {config.source}. Protocol: {config.protocol}. Rows: {report}."""

    def columns(self) -> dict[str, Any]:
        """Names and types of the columns."""
        texts, numbers = ("chrom", "sequence", "conserved"), ("id", "start", "end")
        return dict.fromkeys(numbers, "int64") | dict.fromkeys(texts, "string")

    def windows(self, chunk: Intervals) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Contigs, starts and splits of the windows of a chunk: -1 of those in none, -2 beyond a contig."""
        length = self.config.length
        chrom = renamed(chunk.chrom, self.genome.contigs)
        start = centred_start(chunk.start, chunk.end, length)
        split = assign_splits(self.blocks, chrom, start, start + length)
        beyond = (start < 0) | (start + length > contig_ends(chrom, self.genome.contigs))
        return chrom, start, np.where(beyond, -2, split).astype(np.int8)

    def shards(self, report: Counter[str]) -> tuple[Shards, dict[str, Any]]:
        """Pieces of the regions for each split."""
        shards: Shards = {}
        for position, chunk in read_intervals(input_file(self.config.regions), rows=self.chunk_rows):
            split = self.windows(chunk)[2]
            report["in no split, left out"] += int((split == -1).sum())
            report[NOT_WHOLE] += int((split == -2).sum())
            deal(split, position, shards, report)
        return shards, {}

    @property
    def chunk_rows(self) -> int:
        """Rows of a shard."""
        return rows_at_once(self.config.length)

    def rows_of(self, shards: list[Position], split: str) -> Iterator[dict[str, Any]]:
        """Tables of the rows of some pieces."""
        length = self.config.length
        reader = partial(read_pieces, self.config.regions, self.chunk_rows)
        for first, chunk in chunks_at(shards, reader):
            chrom, start, code = self.windows(chunk)
            rows = np.flatnonzero(code == SPLITS.index(split))
            places = [(str(chrom[row]), int(start[row])) for row in rows]
            yield {
                "id": first + rows,
                "chrom": [name for name, _ in places],
                "start": start[rows],
                "end": start[rows] + length,
                "sequence": [self.genome.fetch(name, at, at + length) for name, at in places],
                "conserved": [self.marks(name, at, at + length) for name, at in places],
            }

    def marks(self, chrom: str, start: int, end: int) -> str:
        """1 for each conserved base of [start, end), 0 for others."""
        if self.config.is_track:
            name = find_contig(chrom, self.track.contigs)
            known = 0 if name is None else max(0, min(end, self.track.contigs[name]) - start)
            marked = np.zeros(end - start, dtype=bool)
            if name is not None and known:
                scores = self.track.sums(name, np.arange(start, start + known), 1)
                marked[:known] = scores >= float(str(self.config.threshold))
        elif self.config.conserved:
            marked = np.zeros(end - start, dtype=bool)
            for low, high in self.intervals.get(chrom, []):
                marked[max(low - start, 0) : max(high - start, 0)] = True
        else:
            letters = self.genome.fetch(chrom, start, end, keep_case=True)
            marked = np.array([letter.isupper() for letter in letters])
        return "".join("1" if own else "0" for own in marked.tolist())

    @cached_property
    def track(self) -> Signal:
        """The bigWig of conservation."""
        return Signal(self.config.conserved)

    @cached_property
    def intervals(self) -> dict[str, list[tuple[int, int]]]:
        """The BED of conserved bases, by the genome's contigs."""
        found: dict[str, list[tuple[int, int]]] = {}
        for _, chunk in read_intervals(input_file(self.config.conserved)):
            chrom = renamed(chunk.chrom, self.genome.contigs)
            for name, start, end in zip(chrom, chunk.start.tolist(), chunk.end.tolist(), strict=True):
                found.setdefault(str(name), []).append((start, end))
        if not found.keys() & self.genome.contigs.keys():
            raise InputError(f"{self.config.conserved}: none of its contigs is in {self.genome.path}")
        return found


def read_pieces(regions: str, rows: int, position: Position) -> Iterator[tuple[Position, tuple[int, Intervals]]]:
    """Chunks of a BED from a position on, with the row of the file that is their first."""
    for at, chunk in read_intervals(input_file(regions), position, rows):
        yield at, (at.row, chunk)
