"""Tables of text with a header, separated by tabs or commas, with or without quotes."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from datasets_dart.errors import InputError
from datasets_dart.files import Position, numbered_lines, shown


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
