"""Files of labelled sequences: FASTA, CSV, parquet and folders of texts. Chunks of columns come out, in file order."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from datasets_dart.alphabet import checked_bases
from datasets_dart.errors import InputError
from datasets_dart.files import batched, input_file
from datasets_dart.formats.fasta import read_fasta
from datasets_dart.formats.tables import read_batches

ROWS = 1024
Columns = dict[str, Any]
PLURALS = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}


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


def fasta_chunks(path: Path, classes: int) -> Iterator[Columns]:
    """Columns name, sequence, label of a FASTA whose headers end with the class, one digit."""
    for rows in batched(read_fasta(input_file(path)), ROWS):
        labels = []
        for line, header, _ in rows:
            digit = header.rstrip()[-1:]
            if not digit.isdigit() or int(digit) >= classes:
                raise InputError(
                    f"{path}:{line}: header {header[-60:]!r} does not end with a class, 0 to {classes - 1}"
                )
            labels.append(int(digit))
        sequences = checked_bases(str(path), (sequence for *_, sequence in rows))
        yield {"name": [header for _, header, _ in rows], "sequence": sequences, "label": labels}


def table_chunks(path: Path, classes: int | None, where: tuple[str, str] | None = None) -> Iterator[Columns]:
    """Columns sequence and label (and name, where there is one) of a CSV or parquet file.

    The sequence may be called sequence, seq or text; rows may be limited to those `where` (column, value) holds.

    Raises ValueError naming file, row and value: a column that is missing, a label that is none of the classes; naming
    what there is where no row has the value asked for.
    """
    seen: dict[str, int] = {}  # values of the column asked for -> rows
    for before, table in read_batches(input_file(path), ROWS):
        names = table.schema.names
        sequence = next((name for name in ("sequence", "seq", "text") if name in names), None)
        if sequence is None or "label" not in names:
            raise InputError(f"{path}: needs columns sequence and label, has {', '.join(names)}")
        numbers = np.arange(before, before + len(table))
        if where is not None and where[0] in names:
            for value in table[where[0]].to_pylist():
                seen[str(value)] = seen.get(str(value), 0) + 1
            kept = pc.equal(table[where[0]], where[1])
            table, numbers = table.filter(kept), numbers[np.array(kept)]
        labels, texts = table["label"].to_pylist(), table[sequence].to_pylist()
        for row, label, text in zip(numbers, labels, texts, strict=True):
            if not isinstance(label, int) or label < 0 or (classes is not None and label >= classes):
                raise InputError(f"{path}: row {row}: label {label!r} is none of the classes 0, 1, ...")
            if not isinstance(text, str) or not text:
                raise InputError(f"{path}: row {row}: no sequence: {text!r}")
        columns = {"sequence": checked_bases(str(path), texts), "label": labels}
        if "name" in names:
            columns["name"] = table["name"].to_pylist()
        if texts:
            yield columns
    if where is not None and seen and where[1] not in seen:
        raise InputError(f"{path}: no row has {where[0]} {where[1]!r}; there are {', '.join(sorted(seen))}")


def number_of_classes(files: Sequence[Path]) -> int:
    """1 + the largest label of the tables."""
    return 1 + max(int(max(columns["label"])) for path in files for columns in table_chunks(path, None))


def text_chunks(folder: Path, label: int) -> Iterator[Columns]:
    """Columns sequence, label and name of a folder of texts of one class, by name; numbers in their order."""
    paths = sorted(folder.glob("*.txt"), key=lambda path: (len(path.stem), path.stem))
    for chunk in batched(paths, ROWS):
        texts = [path.read_text(encoding="utf-8-sig").strip() for path in chunk]
        for path, text in zip(chunk, texts, strict=True):
            if not text.isalpha():
                raise InputError(f"{path}: not a sequence: {text[:60]!r}")
        sequences, names = checked_bases(str(folder), texts), [path.stem for path in chunk]
        yield {"sequence": sequences, "label": [label] * len(chunk), "name": names}
