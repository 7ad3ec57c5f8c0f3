"""Task 1: regulatory elements against their own dinucleotide-shuffled controls (DART-Eval spec section 2)."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import pyarrow as pa
from datasets.builder import Key

from datasets_dart.alphabet import LETTERS, A, N, arrow_strings, one_hot_letters, window_codes
from datasets_dart.errors import InputError
from datasets_dart.files import input_file, numbered_lines, sha256
from datasets_dart.formats.bed import CHUNK_ROWS, START, Intervals, Position, centred_start, read_intervals
from datasets_dart.formats.fasta import Genome, open_genome
from datasets_dart.formats.hdf5 import SPLIT_GROUPS, Slice, open_hdf5, read_slice, slices
from datasets_dart.shuffling import dinucleotide_shuffle, item_seed, shuffle_known
from datasets_dart.splits import SPLITS, Blocks, assign_splits, read_splits

WINDOW = 350  # bp, as published
PROTOCOLS = ("fixed", "paper")
PROCESSED_HEADER = (  # of the table that the original makes of the element file
    "chr\tinput_start\tinput_end\tccre_start\tccre_end\tccre_relative_start\tccre_relative_end\treverse_complement"
)
TABLE_BYTES = 1 << 24  # of sequence in one Arrow table

DESCRIPTION = """\
Task 1 of DART-Eval: regulatory elements in their flanks, and the same with the element shuffled, its dinucleotides
kept. A model that knows regulatory DNA finds the real one likelier. Coordinates are 0-based, half-open; `id` is the row
of the element file. Elements: {elements}. Protocol: {protocol}. Rows: {report}."""

_COMPLEMENT = np.array([3, 2, 1, 0, N], dtype=np.uint8)


class Elements(NamedTuple):
    """Rows of task 1, one entry each: the element [start, end), its window, and the strand that is shown."""

    id: np.ndarray  # (n,) int64, row of the element file
    chrom: np.ndarray  # (n,) str objects
    start: np.ndarray  # (n,) int64
    end: np.ndarray  # (n,) int64
    window_start: np.ndarray  # (n,) int64
    reverse_complement: np.ndarray  # (n,) bool

    def take(self, rows: np.ndarray) -> "Elements":
        return Elements(*(column[rows] for column in self))


Chunk = tuple[Position, Elements, np.ndarray]  # where it starts, its rows, their line numbers


def pairs(elements: Elements, genome: Genome, protocol: str, window: int = WINDOW) -> tuple[np.ndarray, np.ndarray]:
    """Windows of the elements and of their controls: two (n, window) uint8 arrays of ASCII codes.

    In the control the element, or as much of it as is in the window, is shuffled and its flanks are left alone.
    A base that is none of A, C, G, T, or lies off the contig, is N. protocol="fixed": N stays N, and only the runs of
    bases between N are shuffled, each in place. protocol="paper": N is written as A, on either strand; within the
    element it has become an A before the control is shuffled and complemented.
    """
    sequences = window_codes(genome, elements.chrom, elements.window_start, window)
    controls = sequences.copy()
    for row, (_, chrom, start, end, window_start, _) in enumerate(zip(*elements, strict=True)):
        rng = np.random.default_rng(item_seed(chrom, int(start), int(end)))
        element = controls[row, max(start - window_start, 0) : end - window_start]
        if protocol == "paper":
            element[element == N] = A
            element[:] = dinucleotide_shuffle(element, rng)
        else:
            element[:] = shuffle_known(element, rng)
    reverse = elements.reverse_complement
    for strands in (sequences, controls):
        strands[reverse] = _COMPLEMENT[strands[reverse, ::-1]]
    letters = LETTERS[protocol]
    return letters[sequences], letters[controls]


@lru_cache(maxsize=1)
def strand_draws(rows: int) -> np.ndarray:
    """(rows,) bool: whether each row of an element file is shown as its reverse complement.

    The original's draws: one `np.random.choice([True, False])` a row after `np.random.seed(0)`, here from a generator
    of its own. They depend on a row's place in the file alone, so that every shard agrees.
    """
    draws = np.random.RandomState(0).randint(0, 2, size=rows) == 0
    draws.flags.writeable = False
    return draws


def read_elements(
    path: Path, rows: int, position: Position | None = None, window: int = WINDOW, total: int | None = None
) -> Iterator[Chunk]:
    """Chunks of at most `rows` rows of a BED, or of the table that the original makes of one.

    total: number of rows of the whole file, for `strand_draws`; unknown in a first pass, where all strands are False.
    The original's table has windows, which must be of `window` bp, and strands of its own.
    """
    _, header = next(numbered_lines(path), (1, b""))
    if header.rstrip() != PROCESSED_HEADER.encode():
        for at, chunk in read_intervals(path, position or START, rows):
            ids = np.arange(at.row, at.row + len(chunk.start))
            reverse = strand_draws(total)[ids] if total else np.zeros(len(ids), dtype=bool)
            starts = centred_start(chunk.start, chunk.end, window)
            yield at, Elements(ids, chunk.chrom, chunk.start, chunk.end, starts, reverse), chunk.line
        return
    position = position or Position(len(header), line=2)
    for at, chunk in read_intervals(path, position, rows, columns=(0, 3, 4), extra=(1, 2, 7)):
        ids = np.arange(at.row, at.row + len(chunk.start))
        starts, reverse = _processed_columns(path, chunk, window)
        yield at, Elements(ids, chunk.chrom, chunk.start, chunk.end, starts, reverse), chunk.line


def _processed_columns(path: Path, chunk: Intervals, window: int) -> tuple[np.ndarray, np.ndarray]:
    starts, reverse = [], []
    for line, (start, end, strand) in zip(chunk.line, chunk.extra, strict=True):
        if not (start.isdecimal() and end.isdecimal() and int(end) - int(start) == window):
            raise InputError(f"{path}:{line}: input_start {start}, input_end {end}: not a window of {window} bp")
        if strand not in ("True", "False"):
            raise InputError(f"{path}:{line}: reverse_complement is {strand!r}, not True or False")
        starts.append(int(start))
        reverse.append(strand == "True")
    return np.array(starts, dtype=np.int64), np.array(reverse, dtype=bool)


def check_elements(
    path: Path, elements: Elements, lines: np.ndarray, genome: Genome, protocol: str, window: int = WINDOW
) -> None:
    """Raise ValueError naming file, line and value of the first element that is not in the genome, or that
    protocol="paper" refuses: longer than the window, or with a window that starts before its contig."""

    def refuse(bad: np.ndarray, why: str) -> None:
        if bad.any():
            row = int(np.argmax(bad))
            element = f"{elements.chrom[row]}:{elements.start[row]}-{elements.end[row]}"
            raise InputError(f"{path}:{lines[row]}: {element} {why}")

    names = elements.chrom.tolist()
    refuse(np.array([name not in genome.contigs for name in names]), f"is on a contig that {genome.path} does not have")
    lengths = np.array([genome.contigs[name] for name in names], dtype=np.int64)
    refuse(elements.end > lengths, f"ends beyond its contig in {genome.path}")
    if protocol == "paper":
        refuse(elements.end - elements.start > window, f'is longer than the window, {window} bp (protocol="paper")')
        refuse(elements.window_start < 0, 'has a window that starts before its contig (protocol="paper")')


@dataclass
class RegulatoryElementsConfig(datasets.BuilderConfig):
    """Inputs and options of task 1; see `datasets_dart.load_dart`."""

    genome: str = ""
    elements: str = ""
    processed: str = ""  # the original's data.h5, in place of both
    splits: str = "paper"
    protocol: str = "fixed"
    window: int = WINDOW
    index_dir: str | None = None  # where a decompressed genome and an index go that cannot lie beside it

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.protocol not in PROTOCOLS:
            raise InputError(f"protocol={self.protocol!r} is not one of {', '.join(PROTOCOLS)}")
        if self.window < 1 or (self.protocol == "paper" and self.window != WINDOW):
            raise InputError(f'window={self.window}: {WINDOW} bp in protocol="paper", at least 1 bp otherwise')
        if self.processed and (self.genome or self.elements):
            raise InputError("task 'regulatory_elements' takes genome= and elements=, or processed=")
        if self.processed and (self.splits != "paper" or self.window != WINDOW):
            raise InputError(
                f"splits={self.splits}, window={self.window}: {self.processed} has its own, and no coordinates"
            )

    def create_config_id(self, config_kwargs: dict, custom_features: datasets.Features | None = None) -> str:
        """Name of the cache: the inputs' contents and the options, whatever the files are called."""
        files = [self.processed] if self.processed else [self.genome, self.elements]
        files += [] if self.splits == "paper" else [self.splits]
        contents = [sha256(input_file(path)) for path in files]
        key = hashlib.sha256(repr((contents, self.protocol, self.window, custom_features)).encode()).hexdigest()
        return f"{self.protocol}-{key[:16]}"


class RegulatoryElements(datasets.ArrowBasedBuilder):
    """Element/control pairs from a genome and an element file, split by contig or by blocks.

    The element file is read once to check it and to cut it into shards; each shard is then read again, on its own,
    so that memory does not grow with the file. VERSION is raised whenever the same inputs give other rows.
    """

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = RegulatoryElementsConfig

    def _info(self) -> datasets.DatasetInfo:
        columns = {"id": "int64", "chrom": "string", "start": "int64", "end": "int64"}
        columns |= {"element_start": "int64", "element_end": "int64", "reverse_complement": "bool"}
        columns |= {"sequence": "string", "control": "string"}
        return datasets.DatasetInfo(
            description=__doc__,
            features=datasets.Features({name: datasets.Value(kind) for name, kind in columns.items()}),
        )

    def _split_generators(
        self, dl_manager: datasets.DownloadManager | datasets.StreamingDownloadManager
    ) -> list[datasets.SplitGenerator]:
        config = self.config
        if config.processed:
            return self._processed_splits()
        path = input_file(config.elements)
        blocks = read_splits(config.splits)
        genome = open_genome(config.genome, config.index_dir)
        rows = max(1, min(CHUNK_ROWS, TABLE_BYTES // config.window))
        shards: dict[int, list[Position]] = {code: [] for code in range(len(SPLITS))}
        total = 0
        report: Counter[str] = Counter()
        for position, elements, lines in read_elements(path, rows, window=config.window):
            total += len(lines)
            code = assign_splits(blocks, elements.chrom, elements.start, elements.end)
            used = np.flatnonzero(code >= 0)
            check_elements(path, elements.take(used), lines[used], genome, config.protocol, config.window)
            report["in no split, left out"] += len(code) - len(used)
            for split in np.unique(code[used]).tolist():
                shards[split].append(position)
                report[f"in {SPLITS[split]}"] += int((code == split).sum())
        if total == 0:
            raise InputError(f"{path}: has no elements")
        if not any(shards.values()):
            raise InputError(f"{path}: none of its {total} elements lies in a split ({config.splits})")
        self._describe(path, report)
        shared = {"path": path, "genome": genome, "blocks": blocks, "rows": rows, "total": total}
        return [
            datasets.SplitGenerator(name=SPLITS[split], gen_kwargs={"shards": shards[split], "split": split, **shared})
            for split in shards
            if shards[split]
        ]

    def _describe(self, path: Path, report: Counter[str]) -> None:
        counted = "; ".join(f"{count} {what}" for what, count in report.items() if count)
        self.info.description = DESCRIPTION.format(elements=path.name, protocol=self.config.protocol, report=counted)

    def _processed_splits(self) -> list[datasets.SplitGenerator]:
        path = input_file(self.config.processed)
        generators = []
        report: Counter[str] = Counter()
        with open_hdf5(path) as file:
            for split, group in SPLIT_GROUPS.items():
                pieces = slices(file, group, ("idxs",), WINDOW, CHUNK_ROWS) if group in file else []
                if pieces and ("ctrls" not in file[group] or file[group]["ctrls"].shape != file[group]["seqs"].shape):
                    raise InputError(f"{path}: /{group} has no ctrls of the shape of its seqs")
                if pieces:
                    report[f"in {split}"] = pieces[-1].last
                    generators.append(datasets.SplitGenerator(name=split, gen_kwargs={"shards": pieces, "path": path}))
        if not generators:
            raise InputError(f"{path}: has none of the groups {', '.join(SPLIT_GROUPS.values())}")
        self._describe(path, report)
        return generators

    def _generate_tables(self, shards: list[Any], **source: Any) -> Iterator[tuple[Key, pa.Table]]:
        tables = self._processed_tables if isinstance(shards[0], Slice) else self._element_tables
        for shard, columns in enumerate(tables(shards, **source)):
            yield Key(shard, 0), pa.table(columns, schema=self.info.features.arrow_schema)

    def _processed_tables(self, shards: list[Slice], path: Path) -> Iterator[dict[str, Any]]:
        """Rows of the original's arrays, which hold neither coordinates nor strands; id is the row of its table."""
        with open_hdf5(path) as file:
            for piece in shards:
                sequences, ids = read_slice(file, piece, ("idxs",), self.config.protocol)
                controls = one_hot_letters(file[piece.group]["ctrls"][piece.first : piece.last], self.config.protocol)
                columns: dict[str, Any] = dict.fromkeys(self.info.features, pa.nulls(len(ids)))
                yield columns | {"id": ids, "sequence": sequences, "control": arrow_strings(controls)}

    def _element_tables(
        self,
        shards: list[Position],
        split: int,
        path: Path,
        genome: Genome,
        blocks: dict[str, Blocks],
        rows: int,
        total: int,
    ) -> Iterator[dict[str, Any]]:
        config = self.config
        chunks: Iterator[Chunk] = iter(())
        for position in shards:
            chunk = next(chunks, None)
            if chunk is None or chunk[0] != position:  # not the one after the last: seek, which is slow in gzip
                chunks = read_elements(path, rows, position, config.window, total)
                chunk = next(chunks)
            elements = chunk[1]
            code = assign_splits(blocks, elements.chrom, elements.start, elements.end)
            elements = elements.take(np.flatnonzero(code == split))
            sequences, controls = pairs(elements, genome, config.protocol, config.window)
            yield {
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
