"""The original's HDF5 files of sequences; reading them needs the extra `hdf5`."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from datasets_dart.alphabet import arrow_strings, one_hot_letters
from datasets_dart.errors import InputError, MissingExtra
from datasets_dart.files import input_file

if TYPE_CHECKING:
    import h5py

SPLIT_GROUPS = {"train": "train", "validation": "val", "test": "test"}


class Slice(NamedTuple):
    """Rows [first, last) of one group of an HDF5 file."""

    group: str
    first: int
    last: int


def open_hdf5(path: str | Path) -> "h5py.File":
    """Raises ValueError for another kind of file, FileNotFoundError, ImportError naming the extra to install."""
    try:
        import h5py
    except ImportError:
        raise MissingExtra("reading HDF5 files", "hdf5") from None
    path = input_file(path)
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path}: not an HDF5 file, or a damaged one: {error}") from None


def slices(file: "h5py.File", group: str, columns: tuple[str, ...], length: int, rows: int) -> list[Slice]:
    """Pieces of at most `rows` rows of a group with the one-hot `seqs` and the given other columns.

    Raises ValueError naming file and dataset where one is missing or of another shape.
    """
    here = file[group]
    if missing := [name for name in ("seqs", *columns) if name not in here]:
        raise InputError(f"{file.filename}: /{group} has no {', '.join(missing)}")
    shape = here["seqs"].shape
    if len(shape) != 3 or shape[1:] != (length, 4):
        raise InputError(f"{file.filename}: /{group}/seqs has shape {shape}, not (n, {length}, 4)")
    for name in columns:
        if here[name].shape != shape[:1]:
            raise InputError(f"{file.filename}: /{group}/{name} has shape {here[name].shape}, not {shape[:1]}")
    return [Slice(group, first, min(first + rows, shape[0])) for first in range(0, shape[0], rows)]


def read_slice(file: "h5py.File", piece: Slice, columns: tuple[str, ...], protocol: str) -> tuple[pa.Array, ...]:
    """Sequences of a piece as Arrow strings, then its other columns as arrays."""
    here = file[piece.group]
    rows = slice(piece.first, piece.last)
    try:
        sequences = arrow_strings(one_hot_letters(here["seqs"][rows], protocol))
    except ValueError as error:
        raise InputError(f"{file.filename}: /{piece.group}/seqs[{piece.first}:{piece.last}]: {error}") from None
    return sequences, *(np.asarray(here[name][rows]) for name in columns)
