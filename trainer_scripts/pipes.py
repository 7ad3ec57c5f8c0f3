"""Pipes among the words of a command line: `<(...)`, `-`, /dev/stdin and named pipes, each copied once to a file.

What is read is looked at more than once (its digest, its header, its rows), which a pipe does not allow.
"""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from datasets_dart.errors import InputError

STANDARD_INPUT = ("-", "/dev/stdin", "/dev/fd/0")
# Options whose values are written, or are no files
NOT_READ = (
    "--output",
    "--output-dir",
    "--logo",
    "--training",
    "--cache",
    "--cache-dir",
    "--index-dir",
    "--download",
    "--log-file",
)

_COPIES: dict[str, str] = {}  # path of a copy -> the word that it stands for


@contextmanager
def pipes_copied(words: list[str]) -> Iterator[list[str]]:
    """The words, with the path of a temporary copy in place of each pipe; the copies are removed at the end.

    Raises InputError naming the pipe where there is no room for it, or several processes would share it.
    """
    with ExitStack() as folders:
        copies: dict[str, str] = {}
        found: list[str] = []
        for before, word in pairwise(["", *words]):
            option = word if word.startswith("--") else before  # whose value the word is or has, if any's
            name, equals, value = word.rpartition("=")
            if option.partition("=")[0].replace("_", "-") in NOT_READ or not _is_pipe(value):
                found.append(word)
                continue
            if value not in copies:
                folder = folders.enter_context(TemporaryDirectory(prefix="hyenadna-"))
                copies[value] = _copy(value, Path(folder))
                _COPIES[copies[value]] = value
            found.append(f"{name}{equals}{copies[value]}")
        try:
            yield found
        finally:
            for path in copies.values():
                del _COPIES[path]


def as_given(text: str) -> str:
    """A message with the pipes' own names in place of their copies'."""
    for path, word in _COPIES.items():
        text = text.replace(path, word)
    return text


@contextmanager
def errors_as_given() -> Iterator[None]:
    """While a program runs on the words: its errors name the pipes and not their copies."""
    try:
        yield
    except (InputError, OSError) as error:
        text = as_given(str(error))
        if text == str(error):
            raise
        raise InputError(text) from error


def _is_pipe(word: str) -> bool:
    if word in STANDARD_INPUT:
        return True
    try:
        mode = os.stat(word).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _copy(pipe: str, folder: Path) -> str:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError(f"{pipe}: is a pipe, which several processes cannot read: write it to a file first")
    named = Path(pipe).exists() and not pipe.startswith("/dev/")
    copy = folder / (Path(pipe).name if named else "stdin" if pipe in STANDARD_INPUT else "pipe")
    try:
        with open("/dev/stdin" if pipe == "-" else pipe, "rb") as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except OSError as error:
        raise InputError(f"{pipe}: cannot be copied to {copy}: {error.strerror}") from None
    return str(copy)
