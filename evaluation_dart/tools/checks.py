"""Checks of a dataset with splits: rows that are in several of them, and shortcuts that give the label away."""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, DatasetDict, load_from_disk
from sklearn.linear_model import LogisticRegression

from datasets_dart.alphabet import check_letters, encode_bases, letter_shares, one_hot
from datasets_dart.duplicates import Compared, count_duplicates
from datasets_dart.errors import InputError
from datasets_dart.files import input_file
from datasets_dart.formats.bed import BED_SUFFIXES
from datasets_dart.formats.element_tables import read_rows, read_windows, table_layout
from datasets_dart.formats.fasta import FASTA_SUFFIXES, open_genome, read_fasta, window_strings
from datasets_dart.formats.tables import read_whole
from datasets_dart.outputs import described, made
from datasets_dart.splits import SPLITS, assign_windows, read_splits
from evaluation_dart.statistics import estimates
from evaluation_dart.statistics.blocks import Blocks, blocks_at

# Names that columns and splits have in tables of others
SEQUENCE, LABEL, SPLIT = ("sequence", "seq", "text", "dna"), ("label", "labels", "target", "class"), ("split", "set")
CHROM, START, END = ("chrom", "chr", "chromosome", "contig"), ("start",), ("end", "stop")
WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "development"),
    "test": ("test", "testing"),
}
SPLIT_OF = {word: split for split, words in WORDS.items() for word in words}
TABLES = (".csv", ".tsv", ".txt", ".parquet", ".csv.gz", ".tsv.gz", ".txt.gz")
SEQLEAK_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
MOST_CLASSES = 10  # of which each is compared with the rest
MOTIF_BASES, MOTIF_ROWS = 100, 20_000  # at either end of a sequence, and rows of a training, of the position motif
ALIGNED_ROWS, IDENTITY, COVERAGE = 2000, 80.0, 0.5  # test rows that are aligned; what of one a hit must have


@dataclass(frozen=True)
class Shortcut:
    """How well one property tells rows apart.

    Attributes:
        property: of the sequence. of: the label, or the pair of splits. value, low, high: area under the ROC curve, 0.5
            of a property that tells nothing, with its 95 % interval where there is one. n: rows. method: of the
            interval.
    """

    property: str
    of: str
    value: float
    low: float | None
    high: float | None
    n: int
    method: str


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes:
        rows: of each split. duplicates: of each split, `datasets_dart.duplicates`. homology: test rows with a relative
            in train, or why it was not looked at. shortcuts: to the label on the test rows. between: what tells the
            splits apart. seqleak: its verdicts, or why there are none. notes: what else was not looked at.
    """

    rows: dict[str, int]
    duplicates: dict[str, Any]
    homology: dict[str, Any]
    shortcuts: list[Shortcut]
    between: list[Shortcut]
    seqleak: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    def content(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def check(
    data: Mapping[str, Dataset],
    compared: Compared | None = None,
    output: str | os.PathLike[str] | None = None,
    inputs: Sequence[Path] = (),
    seqleak: bool = True,
    overwrite: bool = False,
) -> Report:
    """Look for leakage between splits and for shortcuts.

    Args:
        data: splits with a column `sequence`, and `label`, `chrom`, `start` and `end` where they are known.
        compared: what of them is compared, by default the sequence and the interval. output: a parquet file to write,
            one row a sequence, which the linter seqleak reads. inputs: files that the data are of. seqleak: call the
            linter where it is installed. overwrite: replace what is at `output`.

    Raises:
        InputError: for data without rows, or an output that is in the way.
    """
    data = {split: data[split] for split in SPLITS if split in data and len(data[split])}
    if not data:
        raise InputError("the data have no rows in train, validation or test")
    counts = count_duplicates(data, compared or Compared(), all_near=True)
    notes: list[str] = []
    table = linter_table(data)
    if output is not None:
        about = {"step": "check", "inputs": [described(path) for path in inputs], "content": digest_of_table(table)}
        made(output, about, partial(write_table, table), inputs, overwrite=overwrite)
    return Report(
        rows={split: len(rows) for split, rows in data.items()},
        duplicates={split: asdict(own) for split, own in counts.items()},
        homology=homology(data),
        shortcuts=label_shortcuts(data, notes),
        between=split_shortcuts(data),
        seqleak=linted(table, seqleak),
        notes=notes,
    )


def digest_of_table(table: pa.Table) -> str:
    """SHA-256 of the rows."""
    digest = hashlib.sha256(str(table.schema).encode())
    for batch in table.to_batches(max_chunksize=1 << 12):
        digest.update(repr(batch.to_pydict()).encode())
    return digest.hexdigest()


def write_table(table: pa.Table, path: Path) -> dict[str, Any]:
    """Write a parquet file; nothing more is said of it."""
    pq.write_table(table, path)
    return {}


# What is read


def read_data(
    paths: Sequence[Path], genome: Path | None = None, splits: str = "paper", window: int | None = None
) -> DatasetDict:
    """Splits of a saved dataset, of a folder with a file a split, or of tables, FASTA or BED.

    Args:
        paths: one folder or file with all splits, or a file of each, named like train.csv, dev.csv and test.csv.
        genome: FASTA, of a BED. splits: of a BED, "paper" or a BED of blocks. window: bp of the rows of a BED, centred;
            by default its intervals, all of one length.

    Raises:
        FileNotFoundError, InputError: naming the file at fault.
    """
    if len(paths) == 1 and paths[0].is_dir():
        return read_folder(paths[0])
    if any(str(path).endswith(BED_SUFFIXES) for path in paths):
        if len(paths) > 1 or genome is None:
            raise InputError(f"{paths[0]}: a BED is one file, with the genome whose intervals it names")
        return read_bed(paths[0], genome, splits, window)
    parts: dict[str, list[pa.Table]] = {}
    for path in paths:
        table = read_file(input_file(path))
        own = split_word(path) if len(paths) > 1 else ""
        for split, rows in split_table(path, table, own).items():
            parts.setdefault(split, []).append(rows)
    return DatasetDict(
        {split: Dataset(pa.concat_tables(own, promote_options="default")) for split, own in parts.items()}
    )


def read_folder(folder: Path) -> DatasetDict:
    """A dataset of `save_to_disk`, or the files of a folder that are named by split."""
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        try:
            found = load_from_disk(str(folder))
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
            raise InputError(f"{folder}: a saved dataset that cannot be read: {error}") from None
        if isinstance(found, Dataset):
            return DatasetDict(
                {split: Dataset(own) for split, own in split_table(folder, found.data.table, "").items()}
            )
        return DatasetDict({SPLIT_OF[name]: own for name, own in found.items() if name in SPLIT_OF})
    readable = (*FASTA_SUFFIXES, *TABLES)
    files = [path for path in sorted(folder.iterdir()) if path.name.endswith(readable) and split_word(path)]
    if not files:
        raise InputError(f"{folder}: no saved dataset, and no file named by train, validation or test")
    parts: dict[str, list[pa.Table]] = {}
    for path in files:
        for split, rows in split_table(path, read_file(input_file(path)), split_word(path)).items():
            parts.setdefault(split, []).append(rows)
    return DatasetDict({split: Dataset(pa.concat_tables(own)) for split, own in parts.items()})


def split_word(path: Path) -> str:
    """The split that a word of a file's name says, or "" where none does, or several do."""
    words = set(re.split(r"[^a-z]+", path.name.lower()))
    found = {SPLIT_OF[word] for word in words & SPLIT_OF.keys()}
    return found.pop() if len(found) == 1 else ""


def read_file(path: Path) -> pa.Table:
    """A table, or a FASTA, of whose headers entries like label=1 are columns."""
    if not path.name.endswith(FASTA_SUFFIXES):
        return read_whole(path)
    rows = []
    for _, header, sequence in read_fasta(path):
        name, *entries = header.split() or [""]
        rows.append({"id": name, "sequence": sequence} | dict(own.split("=", 1) for own in entries if "=" in own))
    return pa.Table.from_pylist(rows)


def split_table(path: Path, table: pa.Table, split: str) -> dict[str, pa.Table]:
    """The rows of each split, under our names of the columns; all are of `split` unless that is "".

    Raises:
        InputError: naming what is missing, or a split that there is not.
    """
    names = {name.lower(): name for name in table.column_names[::-1]}
    found = {
        own: next((names[name] for name in known if name in names), None)
        for own, known in (("sequence", SEQUENCE), ("label", LABEL), ("split", SPLIT))
    }
    places = [next((names[name] for name in known if name in names), None) for known in (CHROM, START, END)]
    if found["sequence"] is None or (found["split"] is None and not split):
        missing = "sequence" if found["sequence"] is None else "split"
        raise InputError(f"{path}: has no column {missing}: {', '.join(table.column_names)}")
    columns = {"sequence": table[found["sequence"]]} | ({"label": table[found["label"]]} if found["label"] else {})
    if None not in places:
        columns |= dict(zip(("chrom", "start", "end"), (table[name] for name in places), strict=True))
    if not pa.types.is_string(columns["sequence"].type) or columns["sequence"].null_count:
        raise InputError(f"{path}: column {found['sequence']} is not of sequences in every row")
    texts = columns["sequence"].to_pylist()
    if "" in texts:
        raise InputError(f"{path}: row {texts.index('')}: no sequence")
    check_letters(str(path), np.frombuffer("".join(texts).encode("ascii", "replace"), dtype=np.uint8))
    rows = pa.table(columns)
    if split:
        return {split: rows}
    given = [str(word).lower() for word in table[found["split"]].to_pylist()]
    if "none" in given:
        raise InputError(f"{path}: row {given.index('none')} is in no split")
    if unknown := sorted(set(given) - SPLIT_OF.keys()):
        raise InputError(f"{path}: split {unknown[0]!r} is none of {', '.join(SPLIT_OF)}")
    numbers = np.array([SPLIT_OF[word] for word in given])
    return {own: rows.filter(pa.array(numbers == own)) for own in SPLITS if (numbers == own).any()}


def read_bed(path: Path, genome: Path, splits: str, window: int | None) -> DatasetDict:
    """Windows of a BED's intervals, of the splits that hold them; column 4 is the label where there is one."""
    path, opened = input_file(path), open_genome(genome)
    layout = table_layout(path)
    if window is None:
        intervals = read_windows(path, opened.contigs)
        lengths = np.unique(intervals.end - intervals.start)
        if len(lengths) > 1:
            raise InputError(f"{path}: its intervals are of {lengths[0]} to {lengths[-1]} bp: name one window")
        window = int(lengths[0])
    blocks = read_splits(splits, opened.contigs)
    parts: dict[str, list[pa.Table]] = {}
    for _, rows in read_rows(path, layout, window, 1 << 14, contigs=opened.contigs):
        code = assign_windows(blocks, rows.chrom, rows.start, window, opened.contigs)
        for number in np.unique(code[code >= 0]).tolist():
            own = rows.take(np.flatnonzero(code == number))
            columns = {"sequence": window_strings(opened, own.chrom, own.start, window, "fixed")}
            columns |= {"chrom": pa.array(own.chrom), "start": own.start, "end": own.start + window}
            columns |= {"label": pa.array(own.label)} if layout.label is not None else {}
            parts.setdefault(SPLITS[number], []).append(pa.table(columns))
    return DatasetDict({split: Dataset(pa.concat_tables(own)) for split, own in parts.items()})


def rows_of_task(rows: Mapping[str, Dataset]) -> DatasetDict:
    """Rows of a task with one sequence and, where it has classes, its label.

    Of pairs of an element and its control both are rows, labelled 1 and 0; of motifs, those on the forward strand,
    labelled by kind; of variants, the window with allele 1; of activity, the category is the label.
    """
    return DatasetDict({split: Dataset(_labelled(own.with_format("arrow")[:])) for split, own in rows.items()})


def _labelled(table: pa.Table) -> pa.Table:
    names = table.column_names
    if "control" in names:
        kept = [name for name in ("chrom", "start", "end") if name in names]
        both = []
        for number, column in enumerate(("control", "sequence")):
            own = table.select(kept).append_column("sequence", table[column].cast(pa.string()))
            both.append(own.append_column("label", pa.array([number] * len(table))))
        return pa.concat_tables(both)
    if "kind" in names:
        wanted = pa.array(
            [
                kind != "raw" and strand == "forward"
                for kind, strand in zip(*_lists(table, "kind", "strand"), strict=True)
            ]
        )
        return table.filter(wanted).rename_columns({"kind": "label"}).select(["sequence", "label"])
    if "sequence1" in names:
        columns = {"sequence": table["sequence1"], "label": table["label"]}
        half = np.array([len(sequence) for sequence in table["sequence1"].to_pylist()]) // 2
        start = np.array(table["position"]) - 1 - half
        columns |= {"chrom": table["chrom"], "start": pa.array(start), "end": pa.array(start + 2 * half)}
        return pa.table(columns)
    if "category" in names:
        return table.append_column("label", table["category"])
    return table


def _lists(table: pa.Table, *names: str) -> list[list[Any]]:
    return [table[name].to_pylist() for name in names]


# Shortcuts


def properties(sequences: Sequence[str]) -> dict[str, np.ndarray]:
    """Properties that no model is needed for, (n,) float64 each: length in bases, shares of lower case, of letters that
    are no bases, and of G and C among the bases."""
    length = np.array([len(sequence) for sequence in sequences], dtype=np.float64)
    shares = np.nan_to_num([letter_shares(sequence) for sequence in sequences]).reshape(-1, 3)
    return {"length": length} | dict(zip(("lower case", "N", "GC"), shares.T, strict=True))


def column(rows: Dataset, name: str) -> pa.ChunkedArray:
    """A column of a dataset."""
    return rows.select_columns([name]).with_format("arrow")[:][name]


def places(rows: Dataset) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Contigs and starts of rows, for blocks; None where they have none."""
    if not {"chrom", "start"} <= set(rows.column_names):
        return None, None
    chrom, start = (column(rows, name) for name in ("chrom", "start"))
    if chrom.null_count or start.null_count:
        return None, None
    return np.array(chrom.to_pylist(), dtype=object), np.array(start)


def area(name: str, of: str, score: np.ndarray, positive: np.ndarray, blocks: Blocks) -> Shortcut | None:
    """A property's area under the ROC curve with its interval; None where there is only one class."""
    if positive.all() or not positive.any():
        return None
    found = estimates.metric(estimates.auroc(score, positive, blocks))
    return Shortcut(name, of, found.value, found.low, found.high, len(score), found.method)


def label_shortcuts(data: Mapping[str, Dataset], notes: list[str]) -> list[Shortcut]:
    """What tells the label of the test rows: each property by itself, and a motif at fixed positions, learned on the
    training rows. Without test rows, of the last split that there is."""
    split = "test" if "test" in data else list(data)[-1]
    rows = data[split]
    if "label" not in rows.column_names:
        notes.append("shortcuts: the data have no labels")
        return []
    labels = label_names(rows)
    classes = list(dict.fromkeys(sorted(label for label in labels if label is not None)))
    if not 2 <= len(classes) <= MOST_CLASSES:
        notes.append(f"shortcuts: {len(classes)} different labels, where 2 to {MOST_CLASSES} can be compared")
        return []
    there = np.array([label is not None for label in labels])
    own = rows.select(np.flatnonzero(there).tolist())
    labels = [label for label in labels if label is not None]
    scores: dict[str, Mapping[str, np.ndarray]] = {
        name: dict.fromkeys(classes, values) for name, values in properties(own["sequence"][:]).items()
    }
    if "train" in data and split != "train" and "label" in data["train"].column_names:
        scores["position motif"] = position_motif(data["train"], own, classes)
    else:
        notes.append("position motif: there are no training rows to learn it on")
    blocks = blocks_at(*places(own), len(own))
    shown = classes[1:] if len(classes) == 2 else classes
    found = []
    for name, by_class in scores.items():
        for label in shown:
            positive = np.array([one == label for one in labels])
            shortcut = area(name, f"label {label}", by_class[label], positive, blocks)
            found += [] if shortcut is None else [shortcut]
    return found


def label_names(rows: Dataset) -> list[str | None]:
    """Labels as texts."""
    kind, values = rows.features["label"], rows["label"][:]
    if isinstance(kind, ClassLabel):
        return [None if value is None else str(kind.int2str(value)) for value in values]
    return [None if value is None else str(value) for value in values]


def position_motif(train: Dataset, test: Dataset, classes: Sequence[str]) -> dict[str, np.ndarray]:
    """For each class, (n,) how likely it is by the bases at either end of a test row alone: logistic regression of at
    most `MOTIF_ROWS` training rows."""
    known = [row for row, label in enumerate(label_names(train)) if label in set(classes)]
    if len(known) > MOTIF_ROWS:
        known = np.sort(np.random.default_rng(0).choice(known, MOTIF_ROWS, replace=False)).tolist()
    rows = train.select(known)
    labels = label_names(rows)
    if len(set(labels)) < 2:
        return {label: np.zeros(len(test)) for label in classes}
    model = LogisticRegression(C=0.1, max_iter=200).fit(ends(rows["sequence"][:]), labels)
    likely = model.predict_proba(ends(test["sequence"][:]))
    column = {label: number for number, label in enumerate(model.classes_.tolist())}
    return {label: likely[:, column[label]] if label in column else np.zeros(len(test)) for label in classes}


def ends(sequences: Sequence[str]) -> np.ndarray:
    """(n, 8 * MOTIF_BASES) float32: the first and last bases of each sequence, one-hot, zero beyond its ends."""
    codes = np.full((len(sequences), 2 * MOTIF_BASES), 4, dtype=np.uint8)
    for row, sequence in enumerate(sequences):
        own = encode_bases(sequence)
        first, last = own[:MOTIF_BASES], own[-MOTIF_BASES:]
        codes[row, : len(first)] = first
        codes[row, 2 * MOTIF_BASES - len(last) :] = last
    return one_hot(codes).reshape(len(sequences), -1)


def split_shortcuts(data: Mapping[str, Dataset]) -> list[Shortcut]:
    """What tells each later split from each earlier one: each property by itself."""
    found = []
    values = {split: properties(rows["sequence"][:]) for split, rows in data.items()}
    where = {split: places(rows) for split, rows in data.items()}
    names = list(data)
    for number, later in enumerate(names):
        for earlier in names[:number]:
            positive = np.repeat([False, True], [len(data[earlier]), len(data[later])])
            both = [where[earlier], where[later]]
            joined: Any = (None, None)
            if all(own[0] is not None for own in both):
                joined = tuple(np.concatenate(own) for own in zip(*both, strict=True))
            blocks = blocks_at(joined[0], joined[1], len(positive))
            for name in values[later]:
                score = np.concatenate([values[earlier][name], values[later][name]])
                shortcut = area(name, f"{later} and not {earlier}", score, positive, blocks)
                found += [] if shortcut is None else [shortcut]
    return found


# What other programs find


def homology(data: Mapping[str, Dataset]) -> dict[str, Any]:
    """Test rows with an alignment of 80 % identity over half of them or more in train, by BLASTN or MMseqs2."""
    if not {"train", "test"} <= data.keys():
        return {"looked_at": False, "why": "there are not both train and test"}
    program = next((name for name in ("blastn", "mmseqs") if shutil.which(name)), None)
    if program is None or (program == "blastn" and not shutil.which("makeblastdb")):
        return {"looked_at": False, "why": "neither BLAST+ (blastn, makeblastdb) nor MMseqs2 (mmseqs) is installed"}
    test = data["test"]
    chosen = np.arange(len(test))
    if len(test) > ALIGNED_ROWS:
        chosen = np.sort(np.random.default_rng(0).choice(len(test), ALIGNED_ROWS, replace=False))
    queries = [test[int(row)]["sequence"] for row in chosen]
    with tempfile.TemporaryDirectory() as folder:
        query, target, hits = (Path(folder, name) for name in ("test.fa", "train.fa", "hits.tsv"))
        for path, sequences in ((query, queries), (target, data["train"]["sequence"][:])):
            path.write_text("".join(f">{row}\n{sequence.upper()}\n" for row, sequence in enumerate(sequences)))
        for words in alignment(program, query, target, hits, Path(folder)):
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                said = (done.stderr or done.stdout).strip().splitlines()
                return {"looked_at": False, "why": f"{words[0]} failed: {said[-1] if said else done.returncode}"}
        found = set()
        for line in hits.read_text().splitlines():
            name, identity, length = line.split("\t")[:3]
            if float(identity) >= IDENTITY and float(length) >= COVERAGE * len(queries[int(name)]):
                found.add(int(name))
    return {"looked_at": True, "program": program, "rows": len(queries), "related": len(found)}


def alignment(program: str, query: Path, target: Path, hits: Path, folder: Path) -> list[list[str]]:
    """The command lines that write query, % identity and length of each hit."""
    if program == "blastn":
        made_of = ["makeblastdb", "-in", str(target), "-dbtype", "nucl", "-out", str(folder / "train")]
        form = ["-outfmt", "6 qseqid pident length", "-evalue", "1e-5", "-max_target_seqs", "5", "-dust", "no"]
        return [made_of, ["blastn", "-query", str(query), "-db", str(folder / "train"), *form, "-out", str(hits)]]
    form = ["--search-type", "3", "--format-output", "query,pident,alnlen", "-v", "1"]
    return [["mmseqs", "easy-search", str(query), str(target), str(hits), str(folder / "work"), *form]]


def linter_table(data: Mapping[str, Dataset]) -> pa.Table:
    """One row a sequence, as seqleak reads it: id, split (train, dev, test), sequence, and label, chrom, start and end
    where all splits have them."""
    columns = [
        name
        for name in ("label", "chrom", "start", "end")
        if all(name in rows.column_names and not column(rows, name).null_count for rows in data.values())
    ]
    parts = []
    for split, rows in data.items():
        table: dict[str, Any] = {"id": [f"{split}_{row}" for row in range(len(rows))]}
        table |= {"split": [SEQLEAK_SPLITS[split]] * len(rows), "sequence": rows["sequence"][:]}
        for name in columns:
            table[name] = label_names(rows) if name == "label" else rows[name][:]
        parts.append(pa.table(table))
    return pa.concat_tables(parts, promote_options="permissive")


def linted(table: pa.Table, wanted: bool) -> dict[str, Any]:
    """The verdicts of the linter seqleak on the table, where it is installed; why there are none, otherwise."""
    if not wanted:
        return {"called": False, "why": "it was not wanted"}
    if importlib.util.find_spec("seqleak") is None:
        return {"called": False, "why": "it is not installed (extra `seqleak`)"}
    if "label" not in table.column_names:
        return {"called": False, "why": "it needs labels"}
    with tempfile.TemporaryDirectory() as folder:
        data, out = Path(folder, "data.parquet"), Path(folder, "report.json")
        pq.write_table(table, data)
        words = [sys.executable, "-m", "seqleak", "audit", "--data", str(data), "--out", str(out), "--quiet"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode or not out.is_file():
            said = (done.stderr or done.stdout).strip().splitlines()
            return {"called": False, "why": f"it failed: {said[-1] if said else done.returncode}"}
        report = json.loads(out.read_text(encoding="utf-8"))
    checks = {
        name: {"status": own["status"], "value": own.get("value"), "why": own.get("reason", "")}
        for name, own in report["checks"].items()
    }
    version = report["tool"].get("version")
    return {"called": True, "version": version, "verdict": report["verdict"]["status"], "checks": checks}
