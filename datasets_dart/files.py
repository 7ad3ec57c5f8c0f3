"""Input files: what they must be, how they are opened, what they are known by."""

import contextlib
import errno
import gzip
import hashlib
import logging
import os
import re
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Generic, Literal, NamedTuple, TypeVar

from datasets_dart.errors import InputError

GZIP_MAGIC = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # of UTF-8, which some spreadsheets and editors write before the text
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# SAM specification section 4.1: the extra gzip field with the size of a BGZF block, and the last block, which is empty
BGZF_SUBFIELD = b"BC\x02\x00"
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")

Row = TypeVar("Row")
Handle = TypeVar("Handle")


class Position(NamedTuple):
    """Where a row starts: byte of the decompressed text after its byte-order mark, line (from 1), row (from 0)."""

    offset: int = 0
    line: int = 1
    row: int = 0


START = Position()


def input_file(path: str | os.PathLike[str]) -> Path:
    """`path` as an absolute Path.

    Raises FileNotFoundError where there is nothing, ValueError for a folder, a pipe, a device or an empty file.
    """
    resolved = Path(path).expanduser().absolute()
    if not resolved.exists():
        missing = [str(own) for own in Path(path).expanduser().parents if not own.is_dir()]
        raise FileNotFoundError(f"{path}: no such file" + (f": there is no folder {missing[-1]}" if missing else ""))
    if resolved.is_dir():
        raise InputError(f"{path}: is a folder, not a file")
    if not resolved.is_file():
        raise InputError(
            f"{path}: is a pipe or a device, which can be read only once: write its contents to a file first"
        )
    if resolved.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty")
    return resolved


def files_by_name(value: str | Sequence[str] | Mapping[str, str], ends: str = "._") -> dict[str, str]:
    """Files by name: a mapping as it is; paths, or what a folder holds, by file names up to the first of `ends`.

    Raises ValueError where two files have one name.
    """
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, str):
        value = sorted(map(str, Path(value).glob("[!.]*"))) if os.path.isdir(value) else [value]
    named: dict[str, str] = {}
    for path in value:
        name = re.split(f"[{ends}]", os.path.basename(path))[0]
        if name in named:
            raise InputError(f"{named[name]} and {path} are both named {name!r}; write NAME=FILE or {{name: path}}")
        named[name] = path
    return named


def compression(path: Path) -> Literal["plain", "gzip", "bgzip"]:
    """How `path` is compressed, from its first bytes whatever its name."""
    with path.open("rb") as file:
        head = file.read(16)
    if not head.startswith(GZIP_MAGIC):
        return "plain"
    return "bgzip" if head[12:16] == BGZF_SUBFIELD else "gzip"


def ends_with(path: Path, end: bytes) -> bool:
    """Whether these are the file's last bytes."""
    with path.open("rb") as file:
        file.seek(-min(len(end), path.stat().st_size), os.SEEK_END)
        return file.read() == end


def has_mark(path: Path) -> bool:
    """Whether text, compressed or not, begins with a byte-order mark; damaged gzip data is for its reader to report."""
    try:
        with open_bytes(path) as file:
            return file.tell() > 0
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return False


def open_bytes(path: Path) -> BinaryIO:
    """`path` for reading, decompressed where it is gzip or bgzip, without a byte-order mark.

    Raises ValueError naming the file where its byte-order mark is that of UTF-16, or a bgzip file has no end mark: its
    blocks may end where rows do, so that nothing else would show that some are missing.
    """
    kind = compression(path)
    if kind == "bgzip" and not ends_with(path, BGZF_END):
        raise InputError(
            f"{path}: lacks the end mark of bgzip, so it seems to be cut short; if it is whole, write it again: "
            "gzip -dc OLD | bgzip > NEW"
        )
    opened = path.open if kind == "plain" else partial(gzip.open, path)
    file: BinaryIO = opened("rb")  # type: ignore[assignment]
    head = file.read(len(BYTE_ORDER_MARK))
    if head.startswith(UTF_16_MARKS):
        file.close()
        raise InputError(f"{path}: is text in UTF-16: save it as UTF-8")
    if head != BYTE_ORDER_MARK:
        file.seek(0)
    return file


def numbered_lines(path: Path, position: Position = START) -> Iterator[tuple[int, bytes]]:
    """(line number, line with its end) from a position on.

    Raises ValueError naming the line at which the compressed data are damaged or cut short.
    """
    line = position.line
    try:
        with open_bytes(path) as file:
            file.seek(file.tell() + position.offset)
            for text in file:
                yield line, text
                line += 1
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip data in line {line}: {error}") from None


def row_chunks(
    path: Path, rows: int, parse: Callable[[int, bytes], list[Row]], position: Position = START
) -> Iterator[tuple[Position, list[Row]]]:
    """Chunks of about `rows` rows from `position` on, each with the position at which it can be read again.

    parse: line number and text -> the rows of a line, none for one that holds no row.
    """
    offset, _, row = position
    chunk: list[Row] = []
    for line, text in numbered_lines(path, position):
        found = parse(line, text)
        if found and not chunk:
            position = Position(offset, line, row)
        chunk += found
        offset, row = offset + len(text), row + len(found)
        if len(chunk) >= rows:
            yield position, chunk
            chunk = []
    if chunk:
        yield position, chunk


def default_cache() -> Path:
    """Where what is made of inputs on the way is kept: the cache of the datasets library."""
    from datasets import config

    return Path(config.HF_DATASETS_CACHE)


class Reopened(Generic[Handle]):
    """A file that every process opens for itself, as a forked one would share its position; cheap to pickle."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: tuple[int, Handle] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_opened": None}

    def open(self) -> Handle:
        """The file, newly opened. Raises ValueError naming it where it is not of its kind."""
        raise NotImplementedError

    @property
    def handle(self) -> Handle:
        """The open file of this process."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), self.open()
        return self._opened[1]


def number_of(text: str | bytes) -> float:
    """The number that a text is; ValueError for what only Python reads as one, such as 1_000."""
    if b"_" in (text if isinstance(text, bytes) else text.encode(errors="replace")) or not text.isascii():
        raise ValueError(f"not a number: {shown(text)}")
    return float(text)


def shown(value: object, most: int = 80) -> str:
    """A value for an error message, text in quotes, cut to about `most` characters."""
    quoted = repr(value.strip()).removeprefix("b") if isinstance(value, str | bytes) else repr(value)
    return quoted if len(quoted) <= most else f"{quoted[: most - 4]}...{quoted[-1]}"


def link_target(path: Path) -> Path:
    """What a link leads to, be it there or not; any other path as it is."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def fsync(*paths: Path) -> None:
    """Wait until files and folders are on the disk."""
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # of file systems that cannot
                raise
        finally:
            os.close(file)


def warn_once(log: logging.Logger, source: object, text: str) -> None:
    """Log a warning of a source, unless the same logger has warned of it in this process."""
    seen = _warned(log.name, str(source))
    if not seen:
        seen.append(text)
        log.warning(text)


@lru_cache(maxsize=256)
def _warned(logger: str, source: str) -> list[str]:
    return []


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A new name in `path`'s folder, which is made if need be; renamed to `path` unless the block raises.

    A link stays a link: the file that it leads to is replaced. What is renamed is on the disk.
    """
    final = link_target(Path(path).expanduser().absolute())
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.name}.{uuid.uuid4().hex}")
    try:
        yield temporary
        fsync(temporary)
        os.replace(temporary, final)
        fsync(final.parent)
    finally:
        temporary.unlink(missing_ok=True)


def batched(items: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """Consecutive items in lists of `size`, of which the last may be shorter."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def write_lines(path: str | os.PathLike[str], lines: Iterable[str]) -> int:
    """Write lines, given without their ends, to a file of UTF-8, whole or not at all; returns their number."""
    written = 0
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for line in lines:
            file.write(f"{line}\n")
            written += 1
    return written


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a file of UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def contents_key(paths: Iterable[str], *options: object) -> str:
    """16 hexadecimal digits that name what is made from these files' contents, in this order, with these options.

    Of a folder of many small texts, which are not read to name a cache, names, sizes and times count.
    """
    contents: list[object] = []
    for path in map(Path, paths):
        if path.is_dir():
            found = ((inside.name, inside.stat()) for inside in path.iterdir())
            contents.append(sorted((name, status.st_size, status.st_mtime_ns) for name, status in found))
        else:
            contents.append(sha256(input_file(path)))
    return hashlib.sha256(repr((contents, *options)).encode()).hexdigest()[:16]


def sha256(path: Path) -> str:
    """SHA-256 of the file's bytes; read once for each (path, size, time of change) in a process."""
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
