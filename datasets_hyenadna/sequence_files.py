"""Files of labelled sequences: FASTA, CSV, parquet and folders of texts. Chunks of columns come out, in file order."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from datasets_dart.alphabet import CODES, LETTERS
from datasets_dart.errors import InputError
from datasets_dart.files import input_file, numbered_lines

ROWS = 1024
Columns = dict[str, Any]
PLURALS = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}


def bases(sequence: str) -> str:
    """Upper case, and N for whatever is none of A, C, G, T (as `datasets_dart` writes it)."""
    codes = CODES[np.frombuffer(sequence.upper().encode("ascii", "replace"), dtype=np.uint8)]
    return LETTERS["fixed"][codes].tobytes().decode()


def task_folder(data: str, task: str) -> Path:
    """The folder of a task: `data/task`, or `data` where that is already it.

    Raises FileNotFoundError naming what was looked for.
    """
    folder = Path(data).expanduser().absolute()
    for candidate in (folder / task, folder):
        if candidate.is_dir() and candidate.name == Path(task).name:
            return candidate
    raise FileNotFoundError(f"{folder / task}: no such folder")


def split_files(folder: Path, suffixes: Sequence[str]) -> dict[str, list[Path]]:
    """Files of each split, by the word of the split in the file's own name (not anywhere in its path)."""
    words = {word: split for split, words in PLURALS.items() for word in words}
    found: dict[str, list[Path]] = {}
    for path in sorted([*folder.glob("*"), *folder.glob("data/*")]):
        kind = "".join(suffix for suffix in path.suffixes if suffix in (*suffixes, ".gz"))
        if kind.removesuffix(".gz") in suffixes and (word := re.match(r"[a-z]+", path.name)) and word[0] in words:
            found.setdefault(words[word[0]], []).append(path)
    return found


def read_fasta(path: Path) -> Iterator[tuple[int, str, str]]:
    """(line of the header, header without '>', sequence) of each record.

    Raises ValueError naming the line of a sequence before the first header, or of a header without a sequence.
    """
    at, header, parts = 0, "", list[str]()
    for line, text in numbered_lines(input_file(path)):
        own = text.decode("ascii", "replace").strip()
        if not own.startswith(">"):
            if own and not at:
                raise InputError(f"{path}:{line}: not FASTA: sequence before the first '>' header: {own[:60]!r}")
            parts.append(own)
            continue
        if at:
            yield at, header, _joined(path, at, header, parts)
        at, header, parts = line, own[1:], []
    if at:
        yield at, header, _joined(path, at, header, parts)


def _joined(path: Path, line: int, header: str, parts: list[str]) -> str:
    if not (sequence := "".join(parts)):
        raise InputError(f"{path}:{line}: no sequence below {header[:60]!r}")
    return sequence


def fasta_chunks(path: Path, classes: int) -> Iterator[Columns]:
    """Columns name, sequence, label of a FASTA whose headers end with the class, one digit."""

    def columns() -> Columns:
        names, sequences, labels = zip(*rows, strict=True)
        return {"name": list(names), "sequence": list(sequences), "label": list(labels)}

    rows: list[tuple[str, str, int]] = []
    for line, header, sequence in read_fasta(path):
        digit = header.rstrip()[-1:]
        if not digit.isdigit() or int(digit) >= classes:
            raise InputError(f"{path}:{line}: header {header[-60:]!r} does not end with a class, 0 to {classes - 1}")
        rows.append((header, bases(sequence), int(digit)))
        if len(rows) == ROWS:
            yield columns()
            rows.clear()
    if rows:
        yield columns()


def table_chunks(path: Path, classes: int | None, where: tuple[str, str] | None = None) -> Iterator[Columns]:
    """Columns sequence and label (and name, where there is one) of a CSV or parquet file.

    The sequence may be called sequence, seq or text; rows may be limited to those `where` (column, value) holds.

    Raises ValueError naming file, row and value: a column that is missing, a label that is none of the classes.
    """
    row = 0
    for table in _tables(path):
        sequence = next((name for name in ("sequence", "seq", "text") if name in table.column_names), None)
        if sequence is None or "label" not in table.column_names:
            raise InputError(f"{path}: needs columns sequence and label, has {', '.join(table.column_names)}")
        kept = list(range(len(table)))
        if where is not None and where[0] in table.column_names:
            kept = [i for i, value in enumerate(table.column(where[0]).to_pylist()) if value == where[1]]
        labels, texts = table.column("label").to_pylist(), table.column(sequence).to_pylist()
        for i in kept:
            if not isinstance(labels[i], int) or labels[i] < 0 or (classes is not None and labels[i] >= classes):
                raise InputError(f"{path}: row {row + i}: label {labels[i]!r} is none of the classes 0, 1, ...")
            if not isinstance(texts[i], str) or not texts[i]:
                raise InputError(f"{path}: row {row + i}: no sequence: {texts[i]!r}")
        columns = {"sequence": [bases(texts[i]) for i in kept], "label": [labels[i] for i in kept]}
        if "name" in table.column_names:
            names = table.column("name").to_pylist()
            columns["name"] = [names[i] for i in kept]
        row += len(table)
        if columns["label"]:
            yield columns


def _tables(path: Path) -> Iterator[pa.Table]:
    input_file(path)
    try:
        if path.suffix == ".parquet":
            for batch in pq.ParquetFile(path).iter_batches(ROWS):
                yield pa.Table.from_batches([batch])
        else:
            with pa.csv.open_csv(path) as file:
                for batch in file:
                    yield from (pa.Table.from_batches([batch.slice(i, ROWS)]) for i in range(0, len(batch), ROWS))
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def number_of_classes(files: Sequence[Path]) -> int:
    """1 + the largest label of the tables."""
    return 1 + max(max(columns["label"]) for path in files for columns in table_chunks(path, None))


def text_chunks(folder: Path, label: int) -> Iterator[Columns]:
    """Columns sequence, label and name of a folder of texts of one class, by name; numbers in their order."""
    paths = sorted(folder.glob("*.txt"), key=lambda path: (len(path.stem), path.stem))
    for first in range(0, len(paths), ROWS):
        chunk = paths[first : first + ROWS]
        texts = [path.read_text().strip() for path in chunk]
        for path, text in zip(chunk, texts, strict=True):
            if not text.isalpha():
                raise InputError(f"{path}: not a sequence: {text[:60]!r}")
        names = [path.stem for path in chunk]
        yield {"sequence": [bases(text) for text in texts], "label": [label] * len(chunk), "name": names}
