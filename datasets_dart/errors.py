"""Faults that are expected: what a command reports in one line, without a traceback."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


class InputError(ValueError):
    """An input that cannot be used; the message names the file, line and value at fault."""


class MissingExtra(ImportError):
    """An optional package that is not installed; the message names the extra that has it."""

    def __init__(self, purpose: str, extra: str):
        super().__init__(f"{purpose} needs more packages: pip install 'hyenadna-dart[{extra}]'")


def refuse_rows(
    path: str | os.PathLike[str], lines: "np.ndarray", bad: "np.ndarray", why: Callable[[int], str]
) -> None:
    """Raise InputError naming file and line, and why, for the first row of a file that is bad.

    lines: (n,) int64, line numbers; bad: (n,) bool; why: of a row's number.
    """
    if bad.any():
        row = int(bad.argmax())
        raise InputError(f"{path}:{lines[row]}: {why(row)}")
