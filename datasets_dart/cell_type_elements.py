"""Task 3: elements that are open in one cell line only, to be told apart (DART-Eval spec section 4)."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from datasets.builder import Key

from datasets_dart.alphabet import LETTERS, window_strings
from datasets_dart.counts import read_counts
from datasets_dart.differential import differential_accessibility, sole_gain
from datasets_dart.errors import InputError
from datasets_dart.files import contents_key, input_file, replacing
from datasets_dart.formats.bed import CHUNK_ROWS, Position
from datasets_dart.formats.element_tables import (
    Layout,
    Rows,
    check_rows,
    chunks_at,
    files_by_name,
    read_rows,
    split_codes,
    table_layout,
)
from datasets_dart.formats.fasta import Genome, open_genome
from datasets_dart.formats.hdf5 import SPLIT_GROUPS, Slice, open_hdf5, read_slice, slices
from datasets_dart.peaks import Windows, consensus_windows, read_narrowpeak, sole_cell_line
from datasets_dart.splits import SPLITS, Blocks, read_splits

WINDOW = 500  # bp, as published
CELL_LINES = ("GM12878", "H1ESC", "HEPG2", "IMR90", "K562")  # in the published order of the classes
MAX_CLASSES = 256
TABLE_BYTES = 1 << 24  # of sequence in one Arrow table
H5_COLUMNS = ("labels", "idxs")

DESCRIPTION = """\
Task 3 of DART-Eval: windows of accessible chromatin that are specific to one cell line, each labelled with it; the task
is to tell the cell lines apart, by clustering embeddings or by classification. Coordinates are 0-based, half-open; `id`
is the row of the element file. Elements: {elements}. Protocol: {protocol}. Rows: {report}."""
CITATION = """\
@inproceedings{patel2024darteval,
  title={DART-Eval: A Comprehensive DNA Language Model Evaluation Benchmark on Regulatory DNA},
  author={Patel, Aman and Singhal, Arpita and Wang, Austin and Pampari, Anusri and Kasowski, Maya and Kundaje, Anshul},
  booktitle={Advances in Neural Information Processing Systems, Datasets and Benchmarks Track},
  year={2024}
}"""


@dataclass
class CellTypeElementsConfig(datasets.BuilderConfig):
    """Inputs and options of task 3; see `datasets_dart.load_dart`. One of elements, peaks and processed is given."""

    genome: str = ""
    elements: str = ""
    peaks: str | Sequence[str] | dict[str, str] = ""  # narrowPeak of each cell line
    counts: str | Sequence[str] = ""  # count matrix of the peaks' consensus windows
    processed: str = ""  # the original's data.h5
    labels: Sequence[str] = ()  # names of the classes, in order
    splits: str = "paper"
    protocol: str = "fixed"
    window: int = WINDOW
    index_dir: str | None = None  # where what is made of the inputs on the way goes

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.protocol not in LETTERS:
            raise InputError(f"protocol={self.protocol!r} is not one of {', '.join(LETTERS)}")
        if self.window < 1 or (self.protocol == "paper" and self.window != WINDOW):
            raise InputError(f'window={self.window}: {WINDOW} bp in protocol="paper", at least 1 bp otherwise')
        if sum(map(bool, (self.elements, self.peaks, self.processed))) != 1:
            raise InputError("task 'cell_type_elements' takes one of elements=, peaks= and processed=")
        if self.counts and not self.peaks:
            raise InputError("counts= goes with peaks=")
        if self.processed and self.splits != "paper":
            raise InputError(f"splits={self.splits}: {self.processed} has its own splits, and no coordinates")
        if len(set(self.labels)) != len(self.labels):
            raise InputError(f"labels={', '.join(self.labels)}: a name stands twice")

    def source(self) -> str:
        """The file names that rows come from, for people to read."""
        files = [self.processed, self.elements, *self.peak_files().values(), *self.count_files()]
        return ", ".join(os.path.basename(path) for path in files if path)

    def peak_files(self) -> dict[str, str]:
        return files_by_name(self.peaks) if self.peaks else {}

    def count_files(self) -> list[str]:
        return [self.counts] if isinstance(self.counts, str) and self.counts else list(self.counts)

    def create_config_id(self, config_kwargs: dict, custom_features: datasets.Features | None = None) -> str:
        """Name of the cache: the inputs' contents and the options, whatever the files are called."""
        peaks = self.peak_files()
        single = [self.genome, self.elements, self.processed] + ([] if self.splits == "paper" else [self.splits])
        files = [path for path in (*single, *peaks.values(), *self.count_files()) if path]
        roles = [bool(path) for path in single], list(peaks), len(self.counts)
        options = self.protocol, self.window, list(self.labels), custom_features
        return f"{self.protocol}-{contents_key(files, roles, *options)}"


def elements_from_peaks(config: CellTypeElementsConfig, contigs: dict[str, int]) -> Path:
    """A BED of consensus windows with the cell line that each belongs to, kept in the cache under its inputs' contents.

    With counts=, a window belongs to the cell line that alone gained accessibility (DESeq2's model), as published;
    without, to the one whose peaks alone overlap it, which needs no reads but is not the published definition.

    Raises ValueError where there are fewer than two cell lines, where the count matrix is not one of the consensus
    windows, or where no window belongs to one cell line alone.
    """
    files = config.peak_files()
    if len(files) < 2:
        raise InputError(f"peaks={', '.join(files.values())}: two or more cell lines are needed")
    counts = config.count_files()
    cache = Path(config.index_dir or datasets.config.HF_DATASETS_CACHE).expanduser() / "cell_type_elements"
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
    path: str | os.PathLike[str], windows: Windows, label: np.ndarray, left_out: Counter[str] | None = None
) -> int:
    """Write the windows that have a label as BED with it in column 4, in the order given; returns their number.

    label: (n,) str objects, "" for none. left_out: how many windows were left out before, by reason: comments.
    Raises ValueError where none has a label, or where a window to be written starts before its contig (as one in
    protocol="paper" may).
    """
    rows = np.flatnonzero(label != "")
    if not len(rows):
        raise InputError(f"none of {len(label)} windows belongs to one cell line alone")
    if (windows.start[rows] < 0).any():
        first = windows.take(rows[windows.start[rows] < 0]).names()[0]
        raise InputError(f'the window {first} starts before its contig; protocol="fixed" leaves such windows out')
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for reason, count in (left_out or Counter()).items():
            file.write(f"# {count} windows {reason}, left out\n")
        for row in rows.tolist():
            file.write(f"{windows.chrom[row]}\t{windows.start[row]}\t{windows.end[row]}\t{label[row]}\n")
    return len(rows)


class CellTypeElements(datasets.ArrowBasedBuilder):
    """Labelled windows from a genome and an element table (or peaks), split by contig or by blocks.

    The table is read once to check it, to collect its classes and to cut it into shards, each of which is then read
    again on its own. VERSION is raised whenever the same inputs give other rows.
    """

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = CellTypeElementsConfig

    def _info(self) -> datasets.DatasetInfo:
        names = self.config.labels or CELL_LINES  # until a table has others
        return datasets.DatasetInfo(description=__doc__, citation=CITATION, features=features(names))

    def _describe(self, names: Sequence[str], report: Counter[str]) -> None:
        config = self.config
        self.info.features = features(names)
        counted = "; ".join(f"{count} {what}" for what, count in report.items() if count or what.startswith("of "))
        self.info.description = DESCRIPTION.format(elements=config.source(), protocol=config.protocol, report=counted)

    def _split_generators(
        self, dl_manager: datasets.DownloadManager | datasets.StreamingDownloadManager
    ) -> list[datasets.SplitGenerator]:
        config = self.config
        rows = max(1, min(CHUNK_ROWS, TABLE_BYTES // config.window))
        if config.processed:
            return self._processed_splits(rows)
        blocks = read_splits(config.splits)
        genome = open_genome(config.genome, config.index_dir)
        path = input_file(config.elements) if config.elements else elements_from_peaks(config, genome.contigs)
        layout = table_layout(path)
        if layout.label is None:
            raise InputError(f"{path}: has no column with the cell line of each element (BED: column 4)")
        shards: dict[int, list[Position]] = {code: [] for code in range(len(SPLITS))}
        report = Counter() if config.elements else comments(path)
        seen: list[Rows] = []
        for position, chunk in read_rows(path, layout, config.window, rows):
            code = split_codes(chunk, config.window, blocks, genome)
            used = np.flatnonzero(code >= 0)
            check_rows(path, chunk.take(used), layout, genome, config.protocol)
            report["in no split, left out"] += len(code) - len(used)
            seen.append(chunk.take(used))
            for split in np.unique(code[used]).tolist():
                report[f"in {SPLITS[split]}"] += int((code == split).sum())
                shards[split].append(position)
        if not any(shards.values()):
            raise InputError(f"{path}: none of its elements lies in a split ({config.splits})")
        rows_used = Rows(*(np.concatenate(column) for column in zip(*seen, strict=True)))
        names = class_names(path, rows_used, config.labels)
        refuse_contradictions(path, rows_used)
        named = _named(rows_used.label, names)
        for name in names:
            report[f"of {name}"] = int((named == name).sum())
        self._describe(names, report)
        shared: dict[str, Any] = {"path": path, "layout": layout, "genome": genome, "blocks": blocks, "rows": rows}
        shared["names"] = tuple(names)  # a list would be taken for shards
        return [
            datasets.SplitGenerator(name=SPLITS[code], gen_kwargs={"shards": shards[code], "split": code, **shared})
            for code in shards
            if shards[code]
        ]

    def _processed_splits(self, rows: int) -> list[datasets.SplitGenerator]:
        config = self.config
        names = config.labels or CELL_LINES
        report: Counter[str] = Counter()
        generators = []
        with open_hdf5(config.processed) as file:
            for split, group in SPLIT_GROUPS.items():
                pieces = slices(file, group, H5_COLUMNS, config.window, rows) if group in file else []
                if pieces:
                    report[f"in {split}"] = pieces[-1].last
                    kwargs = {"shards": pieces, "path": input_file(config.processed), "names": tuple(names)}
                    generators.append(datasets.SplitGenerator(name=split, gen_kwargs=kwargs))
        if not generators:
            raise InputError(f"{config.processed}: has none of the groups {', '.join(SPLIT_GROUPS.values())}")
        self._describe(names, report)
        return generators

    def _generate_tables(self, shards: list[Any], **source: Any) -> Iterator[tuple[Key, pa.Table]]:
        tables = self._processed_tables if isinstance(shards[0], Slice) else self._element_tables
        for shard, columns in enumerate(tables(shards, **source)):
            yield Key(shard, 0), pa.table(columns, schema=self.info.features.arrow_schema)

    def _element_tables(
        self,
        shards: list[Position],
        split: int,
        path: Path,
        layout: Layout,
        genome: Genome,
        blocks: dict[str, Blocks],
        rows: int,
        names: Sequence[str],
    ) -> Iterator[dict[str, Any]]:
        window = self.config.window
        codes = {name: code for code, name in enumerate(names)}
        for chunk in chunks_at(shards, partial(read_rows, path, layout, window, rows)):
            here = chunk.take(np.flatnonzero(split_codes(chunk, window, blocks, genome) == split))
            yield {
                "id": here.id,
                "chrom": here.chrom,
                "start": here.start,
                "end": here.start + window,
                "sequence": window_strings(genome, here.chrom, here.start, window, self.config.protocol),
                "label": [codes[label] for label in _named(here.label, names).tolist()],
            }

    def _processed_tables(self, shards: list[Slice], path: Path, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        with open_hdf5(path) as file:
            for piece in shards:
                sequences, labels, ids = read_slice(file, piece, H5_COLUMNS, self.config.protocol)
                if (labels >= len(names)).any():
                    raise InputError(f"{path}: /{piece.group}/labels has {labels.max()}, of {len(names)} classes")
                nothing = pa.nulls(len(labels))  # the file has no coordinates
                yield {"id": ids, "chrom": nothing, "start": nothing, "end": nothing} | {
                    "sequence": sequences,
                    "label": labels,
                }


def comments(path: Path) -> Counter[str]:
    """What `write_elements` was told was left out."""
    with path.open(encoding="utf-8") as file:
        lines = [line[2:].strip().partition(" ") for line in takewhile(lambda line: line.startswith("# "), file)]
    return Counter({what: int(count) for count, _, what in lines})


def features(names: Sequence[str]) -> datasets.Features:
    """Columns of task 3 with these classes."""
    columns = {"id": "int64", "chrom": "string", "start": "int64", "end": "int64", "sequence": "string"}
    typed = {name: datasets.Value(kind) for name, kind in columns.items()}
    return datasets.Features({**typed, "label": datasets.ClassLabel(names=list(names))})


def class_names(path: Path, rows: Rows, labels: Sequence[str] = ()) -> list[str]:
    """Names of the classes: `labels`; or the published cell lines where the table has no others, numbers among them
    standing for their places; or the table's names, sorted.

    Raises ValueError naming file, line and value where a label is missing or is none of `labels`, where one of `labels`
    has no element, or where there are too many to be cell lines.
    """
    found, first = np.unique(rows.label.astype(str), return_index=True)
    names = list(labels) or list(CELL_LINES)
    known = set(_named(found.astype(object), names).tolist()) <= set(names)
    if not labels and not known:
        names = found.tolist()
    if "" in found or len(names) > MAX_CLASSES:
        row = int(first[found == ""][0]) if "" in found else 0
        what = "has no cell line" if "" in found else f"{len(names)} names in the label column are no cell lines:"
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
    """Raise ValueError naming both lines where one window stands with two cell lines: it is specific to neither."""
    chrom = np.unique(rows.chrom.astype(str), return_inverse=True)[1]
    label = np.unique(rows.label.astype(str), return_inverse=True)[1]
    order = np.lexsort((rows.line, rows.start, chrom))
    before, after = order[:-1], order[1:]
    twice = (
        (chrom[before] == chrom[after]) & (rows.start[before] == rows.start[after]) & (label[before] != label[after])
    )
    if twice.any():
        one, two = before[np.argmax(twice)], after[np.argmax(twice)]
        raise InputError(
            f"{path}:{rows.line[two]}: {rows.chrom[two]}:{rows.start[two]} is {rows.label[two]!r} here and "
            f"{rows.label[one]!r} in line {rows.line[one]}"
        )
