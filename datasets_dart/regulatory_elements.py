"""Task 1: regulatory elements against their own dinucleotide-shuffled controls (DART-Eval spec section 2)."""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from datasets_dart.alphabet import LETTERS, UNKNOWN, A, arrow_strings, one_hot_letters, reverse_complement_codes
from datasets_dart.base import DartBuilder, DartConfig, Shards, chunks_at, deal, file_input, option, repeats
from datasets_dart.contigs import check_within, numbers_of, renamed
from datasets_dart.errors import InputError, refuse_rows
from datasets_dart.files import START, Position, input_file, numbered_lines
from datasets_dart.formats.bed import Intervals, centred_start, read_intervals
from datasets_dart.formats.fasta import Genome, window_codes
from datasets_dart.formats.hdf5 import Slice
from datasets_dart.options import whole_number
from datasets_dart.shuffling import dinucleotide_shuffle, item_seed, shuffle_known
from datasets_dart.splits import SPLITS, assign_splits

WINDOW = 350  # bp, as published
PROCESSED_HEADER = (  # of the table that the original makes of the element file
    "chr\tinput_start\tinput_end\tccre_start\tccre_end\tccre_relative_start\tccre_relative_end\treverse_complement"
)


class Elements(NamedTuple):
    """Rows of task 1, one entry each: the element [start, end), its window, and the strand that is shown."""

    id: np.ndarray  # (n,) int64, row of the element file
    chrom: np.ndarray  # (n,) str objects
    start: np.ndarray  # (n,) int64
    end: np.ndarray  # (n,) int64
    window_start: np.ndarray  # (n,) int64
    reverse_complement: np.ndarray  # (n,) bool

    def take(self, rows: np.ndarray) -> "Elements":
        """The rows at these positions."""
        return Elements._make(column[rows] for column in self)


Chunk = tuple[Elements, np.ndarray]  # rows and their line numbers


def more_controls(shuffles: int) -> list[str]:
    """The columns of all controls but the first."""
    return [f"control_{number}" for number in range(2, shuffles + 1)]


def pairs(
    elements: Elements, genome: Genome, protocol: str, window: int = WINDOW, shuffle: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Windows of the elements and of their controls: two (n, window) uint8 arrays of ASCII codes.

    In the control the element, or as much of it as is in the window, is shuffled and its flanks are kept; `shuffle` is
    which of its shuffles it is, 0 the original's.
    A base that is none of A, C, G, T, or lies off the contig, is N. protocol="fixed": N stays N, and only the runs of
    bases between N are shuffled, each in place. protocol="paper": N is written as A, on either strand; within the
    element it has become an A before the control is shuffled and complemented.
    """
    sequences = window_codes(genome, elements.chrom, elements.window_start, window)
    controls = sequences.copy()
    for row, (_, chrom, start, end, window_start, _) in enumerate(zip(*elements, strict=True)):
        rng = np.random.default_rng(item_seed(chrom, int(start), int(end), shuffle))
        element = controls[row, max(start - window_start, 0) : end - window_start]
        if protocol == "paper":
            element[element == UNKNOWN] = A
            element[:] = dinucleotide_shuffle(element, rng)
        else:
            element[:] = shuffle_known(element, rng)
    reverse = elements.reverse_complement
    for strands in (sequences, controls):
        strands[reverse] = reverse_complement_codes(strands[reverse])
    letters = LETTERS[protocol]
    return letters[sequences], letters[controls]


@lru_cache(maxsize=1)
def strand_draws(rows: int) -> np.ndarray:
    """(rows,) bool: whether each row of an element file is shown as its reverse complement.

    The original's draws: one `np.random.choice([True, False])` a row after `np.random.seed(0)`, here from a generator
    of its own. They depend only on a row's place in the file, so that every shard agrees.
    """
    draws: np.ndarray = np.random.RandomState(0).randint(0, 2, size=rows) == 0
    draws.flags.writeable = False
    return draws


def read_elements(
    path: Path,
    rows: int,
    position: Position | None = None,
    window: int = WINDOW,
    total: int | None = None,
    contigs: Collection[str] = (),
) -> Iterator[tuple[Position, Chunk]]:
    """Chunks of at most `rows` rows of a BED, or of the table that the original makes of one.

    total: number of rows of the whole file, for `strand_draws`; unknown in a first pass, where all strands are False.
    contigs: the genome's, under whose names the rows come.
    The original's table has windows, which must be of `window` bp, and strands of its own.
    """
    _, header = next(numbered_lines(path), (1, b""))
    is_table = header.rstrip() == PROCESSED_HEADER.encode()
    first = Position(len(header), line=2) if is_table else START
    columns, extra = ((0, 3, 4), (1, 2, 7)) if is_table else ((0, 1, 2), ())
    for at, chunk in read_intervals(path, position or first, rows, columns, extra):
        ids = at.row + np.arange(len(chunk.start))
        if is_table:
            starts, reverse = _processed_columns(path, chunk, window)
        else:
            starts = centred_start(chunk.start, chunk.end, window)
            reverse = strand_draws(total)[ids] if total else np.zeros(len(ids), dtype=bool)
        chrom = renamed(chunk.chrom, contigs)
        yield at, (Elements(ids, chrom, chunk.start, chunk.end, starts, reverse), chunk.line)


def _processed_columns(path: Path, chunk: Intervals, window: int) -> tuple[np.ndarray, np.ndarray]:
    starts, ends, strands = (np.array(column, dtype=object) for column in zip(*chunk.extra, strict=True))
    spans = [
        start.isdecimal() and end.isdecimal() and int(end) - int(start) == window
        for start, end in zip(starts, ends, strict=True)
    ]
    refuse_rows(
        path,
        chunk.line,
        ~np.array(spans, dtype=bool),
        lambda row: f"input_start {starts[row]}, input_end {ends[row]}: not a window of {window} bp",
    )
    known = np.isin(strands.astype(str), ("True", "False"))
    refuse_rows(path, chunk.line, ~known, lambda row: f"reverse_complement is {strands[row]!r}, not True or False")
    return starts.astype(np.int64), strands == "True"


def check_elements(
    path: Path, elements: Elements, lines: np.ndarray, genome: Genome, protocol: str, window: int = WINDOW
) -> None:
    """Raise ValueError naming file, line and value of the first element that is not in the genome, or that
    protocol="paper" refuses: longer than the window, or with a window that starts before its contig."""

    def name(row: int) -> str:
        return f"{elements.chrom[row]}:{elements.start[row]}-{elements.end[row]}"

    check_within(path, lines, elements.chrom, elements.end, genome.contigs, name, genome.path)
    if protocol == "paper":
        long, early = elements.end - elements.start > window, elements.window_start < 0
        refuse_rows(
            path, lines, long, lambda row: f'{name(row)} is longer than the window, {window} bp (protocol="paper")'
        )
        refuse_rows(
            path, lines, early, lambda row: f'{name(row)} has a window that starts before its contig (protocol="paper")'
        )


@dataclass
class RegulatoryElementsConfig(DartConfig):
    """Inputs and options of task 1; see `datasets_dart.load_dart`."""

    ONE_OF: ClassVar[tuple[str, ...]] = ("elements", "processed")

    genome: str = file_input("FASTA: plain, gzip or bgzip")
    elements: str = file_input("BED of elements, or the original's table of them; plain, gzip or bgzip")
    window: int = option(WINDOW, "bp, where not as published")
    shuffles: int = option(1, "controls of each element")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.shuffles = whole_number("shuffles", self.shuffles, 1)
        if self.shuffles > 1 and (self.protocol == "paper" or self.processed):
            raise InputError(
                f'shuffles={self.shuffles}: protocol="paper" and processed= have one control of an element'
            )

    def options(self) -> dict[str, Any]:
        """What rows depend on; one shuffle, as there always was, is not named, so that caches keep their names."""
        return {name: value for name, value in super().options().items() if (name, value) != ("shuffles", 1)}


class RegulatoryElements(DartBuilder):
    """Element/control pairs from a genome and an element file."""

    BUILDER_CONFIG_CLASS = RegulatoryElementsConfig
    NEEDS = (("genome", "elements"), ("processed",))
    DESCRIPTION = """\
Task 1 of DART-Eval: regulatory elements in their flanks, and the same with the element shuffled, its dinucleotides
kept. A model that knows regulatory DNA finds the real one likelier. Coordinates are 0-based, half-open; `id` is the row
of the element file. Elements: {config.source}. Protocol: {config.protocol}. Rows: {report}."""
    H5_COLUMNS = ("idxs",)

    def columns(self) -> dict[str, Any]:
        """Names and types of the columns."""
        return {
            "id": "int64",
            "chrom": "string",
            "start": "int64",
            "end": "int64",
            "element_start": "int64",
            "element_end": "int64",
            "reverse_complement": "bool",
            "sequence": "string",
            "control": "string",
        } | dict.fromkeys(more_controls(self.config.shuffles), "string")

    def shards(self, report: Counter[str]) -> tuple[Shards, dict[str, Any]]:
        """Pieces of work for each split, with what `rows_of` takes beside them; `report` counts what is left out."""
        config, genome = self.config, self.genome
        path = input_file(config.elements)
        shards: Shards = {}
        seen: list[tuple[np.ndarray, ...]] = []
        contigs: dict[str, int] = {}
        reader = read_elements(path, self.chunk_rows, None, config.window, None, genome.contigs)
        for position, (elements, lines) in reader:
            code = assign_splits(self.blocks, elements.chrom, elements.start, elements.end)
            used = np.flatnonzero(code >= 0)
            check_elements(path, elements.take(used), lines[used], genome, config.protocol, config.window)
            report["in no split, left out"] += len(code) - len(used)
            deal(code, position, shards, report)
            chrom = numbers_of(elements.chrom[used], contigs)
            seen.append((code[used], elements.id[used], chrom, elements.window_start[used]))
        total = report.total()  # each row is counted once
        columns = [np.concatenate(own) for own in zip(*seen, strict=True)]
        seen.clear()  # before copies of the columns are made
        again = repeats(report, config.protocol, *columns) if columns else ()
        return shards, {"total": total, "again": np.array(again, dtype=np.int64)}

    def rows_of(self, shards: list[Position], split: str, total: int, again: np.ndarray) -> Iterator[dict[str, Any]]:
        """Tables of the rows of some pieces of one split."""
        config, genome = self.config, self.genome
        reader = partial(
            read_elements,
            input_file(config.elements),
            self.chunk_rows,
            window=config.window,
            total=total,
            contigs=genome.contigs,
        )
        for elements, _ in chunks_at(shards, reader):
            code = assign_splits(self.blocks, elements.chrom, elements.start, elements.end)
            own = (code == SPLITS.index(split)) & ~np.isin(elements.id, again)
            elements = elements.take(np.flatnonzero(own))
            sequences, controls = pairs(elements, genome, config.protocol, config.window)
            more = {
                name: arrow_strings(pairs(elements, genome, config.protocol, config.window, number)[1])
                for number, name in enumerate(more_controls(config.shuffles), 1)
            }
            yield more | {
                "id": elements.id,
                "chrom": elements.chrom,
                "start": elements.window_start,
                "end": elements.window_start + config.window,
                "element_start": elements.start,
                "element_end": elements.end,
                "reverse_complement": elements.reverse_complement,
                "sequence": arrow_strings(sequences),
                "control": arrow_strings(controls),
            }

    def h5_columns(self, file: Any, piece: Slice, arrays: tuple[np.ndarray, ...]) -> dict[str, Any]:
        """The original's arrays hold neither coordinates nor strands; id is the row of its table."""
        group = file[piece.group]
        if "ctrls" not in group or group["ctrls"].shape != group["seqs"].shape:
            raise InputError(f"{file.filename}: /{piece.group} has no ctrls of the shape of its seqs")
        controls = one_hot_letters(group["ctrls"][piece.first : piece.last], self.config.protocol)
        return {"id": arrays[0], "control": arrow_strings(controls)}
