"""Input files: what they must be, how they are opened, what they are known by."""

import contextlib
import gzip
import hashlib
import os
import uuid
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Literal

from datasets_dart.errors import InputError

GZIP_MAGIC = b"\x1f\x8b"
BGZF_SUBFIELD = b"BC\x02\x00"  # SAM specification section 4.1: the extra gzip field with the size of a BGZF block


def input_file(path: str | os.PathLike[str]) -> Path:
    """`path` as an absolute Path.

    Raises FileNotFoundError where there is nothing, ValueError for a folder or an empty file.
    """
    resolved = Path(path).expanduser().absolute()
    if not resolved.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if resolved.is_dir():
        raise InputError(f"{path}: is a folder, not a file")
    if resolved.is_file() and resolved.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty")
    return resolved


def compression(path: Path) -> Literal["plain", "gzip", "bgzip"]:
    """How `path` is compressed, from its first bytes whatever its name."""
    with path.open("rb") as file:
        head = file.read(16)
    if not head.startswith(GZIP_MAGIC):
        return "plain"
    return "bgzip" if head[12:16] == BGZF_SUBFIELD else "gzip"


def open_bytes(path: Path) -> BinaryIO:
    """`path` for reading, decompressed where it is gzip or bgzip."""
    if compression(path) == "plain":
        return path.open("rb")
    return gzip.open(path, "rb")  # type: ignore[return-value]


def numbered_lines(path: Path, offset: int = 0, line: int = 1) -> Iterator[tuple[int, bytes]]:
    """(line number, line with its end) from byte `offset` of the decompressed text, where line number `line` starts.

    Raises ValueError naming the line at which the compressed data are damaged or cut short.
    """
    with open_bytes(path) as file:
        try:
            file.seek(offset)
            for text in file:
                yield line, text
                line += 1
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InputError(f"{path}: damaged gzip data in line {line}: {error}") from None


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A new name in `path`'s folder, which is made if need be; renamed to `path` unless the block raises."""
    final = Path(path).expanduser().absolute()
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.name}.{uuid.uuid4().hex}")
    try:
        yield temporary
        os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a file of UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def contents_key(paths: Iterable[str], *options: object) -> str:
    """16 hexadecimal digits that name what is made from these files' contents, in this order, with these options."""
    contents = [sha256(input_file(path)) for path in paths]
    return hashlib.sha256(repr((contents, *options)).encode()).hexdigest()[:16]


def sha256(path: Path) -> str:
    """SHA-256 of the file's bytes; read once for each (path, size, time of change) in a process."""
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
