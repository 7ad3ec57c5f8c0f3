"""Task 3: elements that are open in only one cell line, to be distinguished (DART-Eval spec section 4)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import datasets
import numpy as np

from datasets_dart.base import DartBuilder, DartConfig, Paths, Shards, chunks_at, deal, file_input, option, repeats
from datasets_dart.contigs import numbers_of
from datasets_dart.counts import read_counts
from datasets_dart.differential import differential_accessibility, sole_gain
from datasets_dart.duplicates import first_rows
from datasets_dart.errors import InputError
from datasets_dart.files import contents_key, default_cache, files_by_name, input_file, write_lines
from datasets_dart.formats.bed import Windows, read_narrowpeak
from datasets_dart.formats.element_tables import (
    Rows,
    check_rows,
    read_rows,
    table_layout,
)
from datasets_dart.formats.fasta import window_strings
from datasets_dart.formats.hdf5 import Slice
from datasets_dart.peaks import consensus_windows, sole_cell_line
from datasets_dart.splits import SPLITS, assign_windows

WINDOW = 500  # bp, as published
CELL_LINES = ("GM12878", "H1ESC", "HEPG2", "IMR90", "K562")  # in the published order of the classes
MAX_CLASSES = 256


@dataclass
class CellTypeElementsConfig(DartConfig):
    """Inputs and options of task 3; see `datasets_dart.load_dart`."""

    ONE_OF: ClassVar[tuple[str, ...]] = ("elements", "peaks", "processed")

    genome: str = file_input("FASTA: plain, gzip or bgzip")
    elements: str = file_input("BED with the cell line in column 4, or one of the original's tables")
    peaks: Paths = file_input("narrowPeak of each cell line", several=True)
    counts: Paths = file_input("tables of reads in the peaks' consensus windows", several=True)
    labels: Sequence[str] = option((), "the classes, in order")
    window: int = option(WINDOW, "bp, where not as published")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peaks = files_by_name(self.peaks) if self.peaks else {}
        self.labels = tuple(self.labels)
        if self.counts and not self.peaks:
            raise InputError("counts= needs peaks=")
        if len(set(self.labels)) != len(self.labels):
            raise InputError(f"labels={', '.join(self.labels)}: a name is repeated")


def elements_from_peaks(config: CellTypeElementsConfig, contigs: dict[str, int]) -> Path:
    """A BED of consensus windows with the cell line that each belongs to, kept in the cache under its inputs' contents.

    With counts=, a window belongs to the only cell line that gained accessibility (DESeq2's model), as published;
    without, to the only one whose peaks overlap it, which needs no reads but is not the published definition.

    Raises ValueError where there are fewer than two cell lines, where the count matrix is not one of the consensus
    windows, or where no window belongs to only one cell line.
    """
    files, counts = config.files()["peaks"], list(config.files()["counts"].values())
    if len(files) < 2:
        raise InputError(f"peaks={', '.join(files.values())}: two or more cell lines are needed")
    cache = Path(config.index_dir or default_cache()).expanduser() / "cell_type_elements"
    key = contents_key([*files.values(), *counts], list(files), config.protocol, config.window, sorted(contigs.items()))
    path = cache / f"{key}.bed"
    if path.exists():
        return path
    peaks = [read_narrowpeak(input_file(file), contigs) for file in files.values()]
    windows, left_out = consensus_windows(peaks, config.protocol, config.window, contigs)
    if counts:
        matrix = read_counts(counts)
        if set(matrix.windows.names()) != set(windows.names()):
            raise InputError(f"{', '.join(counts)}: the peaks are not the consensus windows of {', '.join(files)}")
        windows, names = matrix.windows, sorted(set(matrix.cells()))
        label = sole_gain({cell: differential_accessibility(matrix, cell) for cell in names})
    else:
        names, label = list(files), sole_cell_line(windows, peaks)
    left_out["belong to no cell line or to several"] = int((label < 0).sum())
    write_elements(path, windows, np.array([*names, ""], dtype=object)[label], left_out)
    return path


def write_elements(
    path: str | PathLike[str], windows: Windows, label: np.ndarray, left_out: Counter[str] | None = None
) -> int:
    """Write the windows that have a label as BED with it in column 4, in the order given; returns their number.

    label: (n,) str objects, "" for none. left_out: how many windows were left out before, by reason: comments.
    Raises ValueError where none has a label, or where a window to be written starts before its contig (as one in
    protocol="paper" may).
    """
    rows = np.flatnonzero(label != "")
    if not len(rows):
        raise InputError(f"none of {len(label)} windows belongs to only one cell line")
    if (windows.start[rows] < 0).any():
        first = windows.take(rows[windows.start[rows] < 0]).names()[0]
        raise InputError(f'the window {first} starts before its contig; protocol="fixed" leaves such windows out')
    notes = [f"# {count} windows {reason}, left out" for reason, count in (left_out or {}).items()]
    chosen = zip(windows.chrom[rows], windows.start[rows], windows.end[rows], label[rows], strict=True)
    write_lines(path, [*notes, *("\t".join(map(str, row)) for row in chosen)])
    return len(rows)


class CellTypeElements(DartBuilder):
    """Labelled windows from a genome and an element table, or peaks; the classes are collected from the table."""

    BUILDER_CONFIG_CLASS = CellTypeElementsConfig
    NEEDS = (("genome", "elements"), ("genome", "peaks"), ("processed",))
    DESCRIPTION = """\
Task 3 of DART-Eval: windows of accessible chromatin that are specific to one cell line, each labelled with it; the task
is to distinguish the cell lines, by clustering embeddings or by classification. Coordinates are 0-based, half-open;
`id` is the row of the element file. Elements: {config.source}. Protocol: {config.protocol}. Rows: {report}."""
    H5_COLUMNS = ("labels", "idxs")
    names: tuple[str, ...] = ()  # of the classes, where the table has others than the published cell lines

    def columns(self) -> dict[str, Any]:
        """Names and types of the columns."""
        return {
            "id": "int64",
            "chrom": "string",
            "start": "int64",
            "end": "int64",
            "sequence": "string",
            "label": datasets.ClassLabel(names=list(self.classes())),
        }

    def classes(self) -> Sequence[str]:
        """Names of the cell lines, in the order of their codes."""
        return self.names or self.config.labels or CELL_LINES

    def shards(self, report: Counter[str]) -> tuple[Shards, dict[str, Any]]:
        """Pieces of work for each split, with what `rows_of` takes beside them; `report` counts what is left out."""
        config, genome = self.config, self.genome
        path = input_file(config.elements) if config.elements else elements_from_peaks(config, genome.contigs)
        layout = table_layout(path)
        if layout.label is None:
            raise InputError(f"{path}: has no column with the cell line of each element (BED: column 4)")
        if not config.elements:
            report.update(comments(path))
        shards: Shards = {}
        seen: list[Rows] = []
        codes: list[np.ndarray] = []
        for position, chunk in read_rows(path, layout, config.window, self.chunk_rows, None, genome.contigs):
            code = assign_windows(self.blocks, chunk.chrom, chunk.start, config.window, genome.contigs)
            used = chunk.take(np.flatnonzero(code >= 0))
            check_rows(path, used, layout, genome, config.protocol)
            report["in no split, left out"] += len(code) - len(used.id)
            seen.append(used)
            codes.append(code[code >= 0])
            deal(code, position, shards, report)
        again = np.empty(0, dtype=np.int64)
        if shards:
            used = Rows._make(np.concatenate(column) for column in zip(*seen, strict=True))
            seen.clear()  # before copies of the columns are made
            self.names = tuple(class_names(path, used, config.labels))
            refuse_contradictions(path, used)
            again = repeats(report, config.protocol, np.concatenate(codes), used.id, used.chrom, used.start)
            named = _named(used.label[~np.isin(used.id, again)], self.names)
            for name in self.names:
                report[f"of {name}"] = int((named == name).sum())
        return shards, {"path": path, "again": again}

    def rows_of(self, shards: list[Any], split: str, path: Path, again: np.ndarray) -> Iterator[dict[str, Any]]:
        """Tables of the rows of some pieces of one split."""
        window, genome = self.config.window, self.genome
        codes = {name: code for code, name in enumerate(self.names)}
        reader = partial(read_rows, path, table_layout(path), window, self.chunk_rows, contigs=genome.contigs)
        for chunk in chunks_at(shards, reader):
            code = assign_windows(self.blocks, chunk.chrom, chunk.start, window, genome.contigs)
            here = chunk.take(np.flatnonzero((code == SPLITS.index(split)) & ~np.isin(chunk.id, again)))
            yield {
                "id": here.id,
                "chrom": here.chrom,
                "start": here.start,
                "end": here.start + window,
                "sequence": window_strings(genome, here.chrom, here.start, window, self.config.protocol),
                "label": [codes[label] for label in _named(here.label, self.names).tolist()],
            }

    def h5_columns(self, file: Any, piece: Slice, arrays: tuple[np.ndarray, ...]) -> dict[str, Any]:
        """Columns of a piece of an original HDF5 file."""
        labels, ids = arrays
        if (labels >= len(self.classes())).any():
            where = f"{file.filename}: /{piece.group}/labels"
            raise InputError(f"{where} has the label {labels.max()}, but there are {len(self.classes())} classes")
        return {"id": ids, "label": labels}


def comments(path: Path) -> Counter[str]:
    """How many windows were left out, as `write_elements` wrote it."""
    with path.open(encoding="utf-8") as file:
        lines = [line[2:].strip().partition(" ") for line in takewhile(lambda line: line.startswith("# "), file)]
    return Counter({what: int(count) for count, _, what in lines})


def class_names(path: Path, rows: Rows, labels: Sequence[str] = ()) -> list[str]:
    """Names of the classes: `labels`; or the published cell lines where the table has no others, which it may also give
    as numbers; or the table's names, sorted.

    Raises ValueError naming file, line and value where a label is missing or is none of `labels`, where one of `labels`
    has no element, or where there are too many to be cell lines.
    """
    labelled: dict[str, int] = {}
    _, first = np.unique(numbers_of(rows.label, labelled), return_index=True)
    order = np.argsort([*labelled])
    found, first = np.array([*labelled])[order], first[order]
    names = list(labels) or list(CELL_LINES)
    known = set(_named(found.astype(object), names).tolist()) <= set(names)
    if not labels and not known:
        names = found.tolist()
    if "" in found or len(names) > MAX_CLASSES:
        row = int(first[found == ""][0]) if "" in found else 0
        what = "has no cell line" if "" in found else f"{len(names)} names in the label column are not cell lines:"
        raise InputError(f"{path}:{rows.line[row]}: {what} {rows.label[row]!r}")
    for name, row in zip(_named(found.astype(object), names).tolist(), first.tolist(), strict=True):
        if name not in names:
            raise InputError(f"{path}:{rows.line[row]}: cell line {name!r} is not one of {', '.join(names)}")
    if labels and (empty := [name for name in names if name not in _named(rows.label, names)]):
        raise InputError(f"{path}: has no element of {', '.join(empty)} in any split; leave it out of labels=")
    return names


def _named(label: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """`label` with the numbers 0, 1, ... in place of names turned into these."""
    numbered = {str(code): name for code, name in enumerate(names)}
    return np.array([name if name in names else numbered.get(name, name) for name in label.tolist()], dtype=object)


def refuse_contradictions(path: Path, rows: Rows) -> None:
    """Raise ValueError naming both lines where one window has two cell lines: it is specific to neither."""
    label = numbers_of(rows.label, {})
    first = first_rows(rows.chrom, rows.start)
    for row in np.flatnonzero(label != label[first])[:1]:
        place, there = f"{rows.chrom[row]}:{rows.start[row]}", first[row]
        here = f"{path}:{rows.line[row]}: {place} is {rows.label[row]!r} here"
        raise InputError(f"{here} and {rows.label[there]!r} in line {rows.line[there]}")
