"""What the builders of all tasks have in common: inputs and options, the cache's name, splits, shards and the report.

A task of DART-Eval is two classes in a file of its own: a `DartConfig` whose fields are its inputs (`file_input`) and
options (`option`), and a `DartBuilder` that says how rows come from them.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import datasets
import numpy as np
import pyarrow as pa
from datasets.builder import Key

from datasets_dart.duplicates import Compared, count_duplicates, repeated, said, write_counts
from datasets_dart.errors import InputError
from datasets_dart.files import Position, contents_key, input_file
from datasets_dart.formats.bed import CHUNK_ROWS
from datasets_dart.formats.fasta import Genome, open_genome
from datasets_dart.formats.hdf5 import SPLIT_GROUPS, Slice, open_hdf5, read_slice, slices
from datasets_dart.progress import counted, is_shown
from datasets_dart.splits import FOLDS, NAMED, PAPER, SPLITS, Blocks, read_splits

PROTOCOLS = ("fixed", "paper")
TABLE_BYTES = 1 << 24  # of sequence in one Arrow table
CITATION = """\
@inproceedings{patel2024darteval,
  title={DART-Eval: A Comprehensive DNA Language Model Evaluation Benchmark on Regulatory DNA},
  author={Patel, Aman and Singhal, Arpita and Wang, Austin and Pampari, Anusri and Kasowski, Maya and Kundaje, Anshul},
  booktitle={Advances in Neural Information Processing Systems, Datasets and Benchmarks Track},
  year={2024}
}"""

Paths = str | Sequence[str] | Mapping[str, str]  # of one file, of several, or of several by name
Shards = dict[str, list[Any]]  # what each split is read from, piece by piece
Chunk = TypeVar("Chunk")


def file_input(help: str, several: bool = False) -> Any:
    """Field of a config: a path, or several with names of their own (of cell lines); "" where it is not given."""
    return field(default="", metadata={"help": help, "file": True, "several": several})


def option(default: Any, help: str) -> Any:
    """Field of a config: what else rows depend on."""
    return field(default=default, metadata={"help": help, "file": False, "several": isinstance(default, tuple)})


@dataclass
class TaskConfig(datasets.BuilderConfig):
    """Inputs and options of a task: the fields with help, which name the cache."""

    protocol: str = option("fixed", "the sound one, or the original with its defects")
    index_dir: str | None = None  # where what is made of the inputs on the way goes, if it cannot lie beside them

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.protocol not in PROTOCOLS:
            raise InputError(f"protocol={self.protocol!r} is not one of {', '.join(PROTOCOLS)}")

    @classmethod
    def inputs(cls) -> dict[str, Field[Any]]:
        """The fields that are inputs or options, by name."""
        return {field.name: field for field in fields(cls) if field.metadata}

    def files(self) -> dict[str, dict[str, str]]:
        """Paths of the files that are given, by input and name."""
        names = [name for name, field in self.inputs().items() if field.metadata["file"]]
        return {name: paths_by_name(getattr(self, name)) for name in names}

    def options(self) -> dict[str, Any]:
        """What else rows depend on, by name."""
        files = self.files()
        return {name: getattr(self, name) for name in self.inputs() if name not in files}

    def create_config_id(self, config_kwargs: Any, custom_features: datasets.Features | None = None) -> str:
        """Name of the cache: the inputs' contents and the options, whatever the files are called."""
        names = {name: list(paths) for name, paths in self.files().items()}
        every = [path for paths in self.files().values() for path in paths.values()]
        return f"{self.protocol}-{contents_key(every, names, self.options(), custom_features)}"


@dataclass
class DartConfig(TaskConfig):
    """Inputs and options of one of DART-Eval's tasks; see `datasets_dart.load_dart`."""

    ONE_OF: ClassVar[tuple[str, ...]] = ()  # inputs of which exactly one is given
    WITHOUT_COORDINATES: ClassVar[tuple[str, ...]] = ("processed",)  # inputs whose rows cannot be split by blocks
    LEAST_WINDOW: ClassVar[int] = 1  # bp
    # Of a task whose published rows are all for testing: inputs without coordinates that splits="folds" takes
    FOLDED: ClassVar[tuple[str, ...] | None] = None

    splits: str = option("paper", '"paper", BED of blocks named train, validation, test; tasks 2 and 5: "folds"')
    processed: str = file_input("the original's own data.h5 or table")

    def __post_init__(self) -> None:
        super().__post_init__()
        if "window" in self.inputs():
            window, published = self.window, self.inputs()["window"].default
            if window < self.LEAST_WINDOW or (self.protocol == "paper" and window != published):
                raise InputError(
                    f'window={window}: {published} bp in protocol="paper", at least {self.LEAST_WINDOW} bp otherwise'
                )
        if self.ONE_OF and sum(bool(getattr(self, name)) for name in self.ONE_OF) != 1:
            *others, last = self.ONE_OF
            raise InputError(f"this task takes exactly one of the inputs {', '.join(others)} and {last}")
        folds = self.splits == FOLDS
        if folds and self.FOLDED is None:
            raise InputError(f'splits="{FOLDS}": this task has validation rows of its own (splits="{PAPER}")')
        if folds and self.protocol == "paper":
            raise InputError(f'splits="{FOLDS}": in protocol="paper" all rows are for testing, as published')
        for name in self.WITHOUT_COORDINATES:
            path = getattr(self, name)
            if path and self.splits != PAPER and not (folds and name in (self.FOLDED or ())):
                raise InputError(f"splits={self.splits}: {path} has no coordinates")

    def files(self) -> dict[str, dict[str, str]]:
        """Input files by option and name."""
        return super().files() | ({} if self.splits in NAMED else {"splits": {"": self.splits}})

    def sources(self) -> list[str]:
        """Paths of the files that rows come from: all but the genome and the blocks."""
        roles = [paths for name, paths in self.files().items() if name not in ("genome", "splits")]
        return [path for paths in roles for path in paths.values()]

    @property
    def source(self) -> str:
        """The names of `sources`, for people to read."""
        return ", ".join(map(os.path.basename, self.sources()))


@dataclass
class WindowsConfig(DartConfig):
    """Inputs and options of a task whose rows are windows of a genome, none of which is processed already."""

    WITHOUT_COORDINATES: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.processed:
            raise InputError(f"processed={self.processed!r}: this task has windows of a genome only")


def paths_by_name(value: Paths) -> dict[str, str]:
    """Paths of an input by name; by number where they have none."""
    if isinstance(value, str):
        return {"0": value} if value else {}
    return dict(value) if isinstance(value, Mapping) else {str(number): path for number, path in enumerate(value)}


def rows_at_once(length: int) -> int:
    """Rows of one table whose sequences have `length` bp together: CHUNK_ROWS, or fewer where they are long."""
    return max(1, min(CHUNK_ROWS, TABLE_BYTES // length))


def gathered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in the same order, in tables of CHUNK_ROWS rows or more, or of TABLE_BYTES: every table of a file
    takes some kilobytes of memory for as long as the file is open."""
    few: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        few.append(table)
        rows, size = rows + len(table), size + table.nbytes
        if rows >= CHUNK_ROWS or size >= TABLE_BYTES:
            yield pa.concat_tables(few).combine_chunks()
            few, rows, size = [], 0, 0
    if few:
        yield pa.concat_tables(few).combine_chunks()


class TaskBuilder(datasets.ArrowBasedBuilder):
    """Rows of a task. VERSION is raised whenever the same inputs give other rows."""

    VERSION = datasets.Version("1.1.0")
    DESCRIPTION: ClassVar[str]  # of the rows, with {task}, {config} and {report}, for people to read
    preparing: int | None = None  # the process that writes the rows

    def columns(self) -> dict[str, Any]:
        """Name of each column and its type: a name of Arrow's, or a feature."""
        raise NotImplementedError

    def split_sources(self, report: Counter[str]) -> Mapping[str, dict[str, Any]]:
        """What `tables` is called with for each split that has rows; what is left out is counted in the report."""
        raise NotImplementedError

    def tables(self, *args: Any, **source: Any) -> Iterator[dict[str, Any] | pa.Table]:
        """Chunks of rows, as tables or as their columns; a column that is left out is null."""
        raise NotImplementedError

    def compared(self) -> Compared:
        """What of the rows is compared to count duplicates."""
        return Compared()

    def features(self) -> datasets.Features:
        """Features of the rows."""
        return datasets.Features(
            {name: datasets.Value(kind) if isinstance(kind, str) else kind for name, kind in self.columns().items()}
        )

    def table(self, columns: Mapping[str, Any]) -> pa.Table:
        """Rows of the features' types, null where there is no column."""
        schema = self.info.features.arrow_schema
        nothing = pa.nulls(len(next(iter(columns.values()))))
        return pa.table({name: columns.get(name, nothing) for name in schema.names}, schema=schema)

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(description=__doc__, citation=CITATION, features=self.features())

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        report: Counter[str] = Counter()
        sources = self.split_sources(report)
        counted = "; ".join(f"{count} {what}" for what, count in report.items() if count or what.startswith("of "))
        self.info.features = self.features()
        self.info.description = self.DESCRIPTION.format(task=self, config=self.config, report=counted or "nothing")
        return [datasets.SplitGenerator(name=split, gen_kwargs=sources[split]) for split in SPLITS if split in sources]

    def _download_and_prepare(self, dl_manager: Any, verification_mode: Any, **options: Any) -> None:
        """Rows as Arrow files, with counts of duplicates beside them and in the description."""
        self.preparing = os.getpid()
        super()._download_and_prepare(dl_manager, verification_mode, **options)
        if empty := [split for split, info in self.info.splits.items() if not info.num_examples]:
            raise InputError(f"no row is in split {' or '.join(empty)}: there are too few rows, or all were left out")
        if options.get("file_format") in (None, "arrow"):
            rows = {split: self._as_dataset(split, in_memory=False) for split in self.info.splits}
            counts = count_duplicates(rows, self.compared())
            write_counts(Path(self._output_dir), counts)
            self.info.description += f"\nDuplicates: {said(counts)}."

    def _generate_tables(self, **source: Any) -> Iterator[tuple[Key, pa.Table]]:
        tables, pieces = self.tables(**source), source.get("shards")
        # Rows that are streamed have no bar, and of several processes each only lines in the log
        if pieces and self.preparing is not None and (os.getpid() == self.preparing or not is_shown()):
            tables = counted(tables, f"rows of {source.get('split', 'a split')}", "pieces", len(pieces))
        whole = (rows if isinstance(rows, pa.Table) else self.table(rows) for rows in tables)
        for number, rows in enumerate(gathered(whole)):
            yield Key(number, 0), rows


class DartBuilder(TaskBuilder):
    """Rows of one of DART-Eval's tasks, split by contig or by blocks.

    Files are read once to check them and to cut them into shards, each of which is then read again on its own, so that
    memory does not grow with them.
    """

    NEEDS: ClassVar[tuple[tuple[str, ...], ...]]  # sets of inputs, one of which must be given
    SEQUENCES: ClassVar[int] = 1  # of a row
    H5_COLUMNS: ClassVar[tuple[str, ...]] = ()  # beside the sequences of a data.h5, those that a task reads

    def shards(self, report: Counter[str]) -> tuple[Shards, dict[str, Any]]:
        """Shards of each split, and what else is passed to `rows_of`."""
        raise NotImplementedError

    def rows_of(self, *args: Any, **given: Any) -> Iterator[dict[str, Any]]:
        """Columns of the rows of each shard; called with `shards`, `split` and what else `shards` gave."""
        raise NotImplementedError

    @cached_property
    def genome(self) -> Genome:
        """The configured genome, opened."""
        return open_genome(self.config.genome, self.config.index_dir)

    @cached_property
    def blocks(self) -> dict[str, Blocks]:
        """Blocks of the configured splits, by split."""
        return read_splits(self.config.splits, self.genome.contigs)

    @property
    def chunk_rows(self) -> int:
        """Rows of a shard."""
        window: int = self.config.window
        return rows_at_once(self.SEQUENCES * window)

    def split_sources(self, report: Counter[str]) -> Mapping[str, dict[str, Any]]:
        """Of each split that has rows, what its tables are made from."""
        shards, given = (self.processed_shards if self.config.processed else self.shards)(report)
        found = {split: pieces for split, pieces in shards.items() if pieces}
        if not found:
            total = report.total()
            why = f"none of its {total} rows lies in a split ({self.config.splits})" if total else "has no rows"
            raise InputError(f"{', '.join(self.config.sources())}: {why}")
        return {split: {"shards": pieces, "split": split} | given for split, pieces in found.items()}

    def tables(self, *args: Any, **source: Any) -> Iterator[dict[str, Any] | pa.Table]:
        """Tables of one split."""
        return (self.processed_rows if self.config.processed else self.rows_of)(**source)

    def h5_groups(self, file: Any, split: str) -> list[str]:
        """The groups of the original's data.h5 that hold a split's rows, of those that are there."""
        return [SPLIT_GROUPS[split]] if SPLIT_GROUPS[split] in file else []

    def h5_columns(self, file: Any, piece: Slice, arrays: tuple[np.ndarray, ...]) -> dict[str, Any]:
        """Columns of a piece, beside its sequences, from the arrays H5_COLUMNS."""
        raise NotImplementedError

    def processed_shards(self, report: Counter[str]) -> tuple[Shards, dict[str, Any]]:
        """Pieces of the original's data.h5, which has splits of its own and no coordinates."""
        path = input_file(self.config.processed)
        shards: Shards = {}
        with open_hdf5(path) as file:
            for split in SPLITS:
                for group in self.h5_groups(file, split):
                    pieces = slices(file, group, self.H5_COLUMNS, self.config.window, self.chunk_rows)
                    report[f"in {split}"] += pieces[-1].last if pieces else 0
                    shards.setdefault(split, []).extend(pieces)
        return shards, {}

    def processed_rows(self, shards: list[Any], split: str, **given: Any) -> Iterator[dict[str, Any]]:
        """Columns of each piece of the original's data.h5."""
        with open_hdf5(self.config.processed) as file:
            for piece in shards:
                sequences, *arrays = read_slice(file, piece, self.H5_COLUMNS, self.config.protocol)
                yield {"sequence": sequences} | self.h5_columns(file, piece, tuple(arrays))


def repeats(
    report: Counter[str], protocol: str, splits: np.ndarray, ids: np.ndarray, *columns: np.ndarray, what: str = ""
) -> np.ndarray:
    """Ids of rows that are the same as an earlier one in all of some columns; in protocol="fixed" they are left out.

    splits: (n,) int8, index into SPLITS of each row, from which those left out are taken away in the report. ids and
    columns: (n,), of each row.
    """
    again = repeated(*columns)
    if protocol == "paper":
        report[f"{what}at the place of an earlier one, kept"] += int(again.sum())
        return ids[:0]
    for split in np.unique(splits[again]).tolist():
        report[f"{what}in {SPLITS[split]}"] -= int((splits[again] == split).sum())
    report[f"{what}at the place of an earlier one, left out"] += int(again.sum())
    left_out: np.ndarray = ids[again]
    return left_out


def deal(code: np.ndarray, piece: Any, shards: Shards, report: Counter[str], what: str = "") -> None:
    """Append a piece of a file to the shards of each split that it has rows of, and count them.

    code: (n,) int8, index into SPLITS of each row, -1 for none.
    """
    for split in np.unique(code[code >= 0]).tolist():
        shards.setdefault(SPLITS[split], []).append(piece)
        report[f"{what}in {SPLITS[split]}"] += int((code == split).sum())


def chunks_at(
    positions: Sequence[Position], reader: Callable[[Position], Iterator[tuple[Position, Chunk]]]
) -> Iterator[Chunk]:
    """The chunk at each position; the file is read on while they follow each other, as seeking in gzip is slow."""
    chunks: Iterator[tuple[Position, Chunk]] = iter(())
    for position in positions:
        chunk = next(chunks, None)
        if chunk is None or chunk[0] != position:
            chunks = reader(position)
            chunk = next(chunks)
        yield chunk[1]
