"""Tables of text with a header, separated by tabs or commas, with or without quotes."""

import csv
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from datasets_dart.errors import InputError
from datasets_dart.files import Position, numbered_lines, open_bytes, shown


class Header(NamedTuple):
    """The first line of a table."""

    names: list[str]  # of its columns
    separator: str  # tab, or comma where the line has no tab
    rows: Position  # where they start


def read_header(path: Path) -> Header:
    """Raises ValueError naming file and column where two columns have one name."""
    _, text = next(numbered_lines(path), (1, b""))
    separator = "\t" if b"\t" in text else ","
    names = [name.strip() for name in split_line(path, 1, text, separator)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"{path}:1: two columns are called {twice!r}")
    return Header(names, separator, Position(len(text), line=2))


def split_line(path: Path, line: int, text: bytes, separator: str) -> list[str]:
    """The fields of a line, without the quotes around them. Raises ValueError naming file and line."""
    words = text.decode(errors="replace").rstrip("\r\n")
    if '"' not in words:
        return words.split(separator)
    try:
        return next(csv.reader([words], delimiter=separator))
    except csv.Error as error:
        raise InputError(f"{path}:{line}: {error}: {shown(text)}") from None


def read_table(path: Path, needed: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, values by column) of each row; blank lines are skipped.

    Raises ValueError naming file, line and value: a column of `needed` that is missing, a row of another number of
    columns than the header.
    """
    header = read_header(path)
    if missing := [name for name in needed if name not in header.names]:
        raise InputError(f"{path}:1: has no column {', '.join(missing)}; it has {', '.join(header.names)}")
    for line, text in numbered_lines(path, header.rows):
        if text.strip():
            yield line, row_of(path, line, text, header)


def row_of(path: Path, line: int, text: bytes, header: Header) -> dict[str, str]:
    """Values by column of a line of a table. Raises ValueError naming file and line."""
    fields = split_line(path, line, text, header.separator)
    if len(fields) != len(header.names):
        raise InputError(f"{path}:{line}: {len(fields)} columns, but {len(header.names)} in the header")
    return dict(zip(header.names, map(str.strip, fields), strict=True))


def read_batches(
    path: Path, rows: int, columns: Mapping[str, pa.DataType | None] | None = None
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """(rows before it, batch) of at most `rows` rows of a CSV, compressed or not, or a parquet file.

    columns: those to read of a CSV and their types, None for the type that a column seems to have; by default all.

    Raises ValueError naming the file: a column that is missing, a value that is not of its column's type.
    """
    row = 0
    try:
        if path.suffix == ".parquet":
            batches: Iterator[pa.RecordBatch] = pq.ParquetFile(path).iter_batches(rows)
        else:
            if missing := [name for name in columns or () if name not in read_header(path).names]:
                raise InputError(f"{path}:1: has no column {', '.join(missing)}")
            types = {name: kind for name, kind in (columns or {}).items() if kind is not None}
            options = pa.csv.ConvertOptions(column_types=types, include_columns=list(columns or ()))
            batches = pa.csv.open_csv(open_bytes(path), convert_options=options)
        for batch in batches:
            for first in range(0, len(batch), rows):
                yield row, (part := batch.slice(first, rows))
                row += len(part)
    except (pa.ArrowInvalid, OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def read_whole(path: Path) -> pa.Table:
    """A table, of text or parquet, with the types that its columns seem to have.

    Raises ValueError naming the file.
    """
    try:
        if path.suffix == ".parquet":
            return pq.read_table(path)
        options = pa.csv.ParseOptions(delimiter=read_header(path).separator)
        return pa.csv.read_csv(open_bytes(path), parse_options=options)
    except (pa.ArrowInvalid, OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
