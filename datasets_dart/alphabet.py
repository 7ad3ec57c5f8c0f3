"""Windows of a genome as sequences of letters, and columns of sequences without a Python object for each."""

import numpy as np
import pyarrow as pa

from datasets_dart.errors import InputError
from datasets_dart.formats.fasta import Genome

A, N = 0, 4
CODES = np.full(256, N, dtype=np.uint8)  # from ASCII to 0..3 for A, C, G, T and 4 for every other letter
CODES[list(b"ACGT")] = range(4)
COMPLEMENT = str.maketrans("ACGTacgt", "TGCAtgca")
# What a base that is none of A, C, G, T is shown as: itself unknown, or, as the original's one-hot rows make of it, A.
LETTERS = {"fixed": np.frombuffer(b"ACGTN", dtype=np.uint8), "paper": np.frombuffer(b"ACGTA", dtype=np.uint8)}


def reverse_complement(sequence: str) -> str:
    """The other strand; letters that are no base stay as they are."""
    return sequence.translate(COMPLEMENT)[::-1]


def window_codes(genome: Genome, chrom: np.ndarray, start: np.ndarray, length: int) -> np.ndarray:
    """(n, length) uint8 `CODES` of the windows [start, start + length); chrom: (n,) str objects, start: (n,) int64.

    What is none of A, C, G, T, or lies off the contig, is N.
    """
    windows = np.empty((len(start), length), dtype=np.uint8)
    for name in dict.fromkeys(chrom.tolist()):
        rows = np.flatnonzero(chrom == name)
        windows[rows] = genome.windows(name, start[rows], length)
    return CODES[windows]


def window_strings(genome: Genome, chrom: np.ndarray, start: np.ndarray, length: int, protocol: str) -> pa.Array:
    """The windows of `window_codes` as n Arrow strings."""
    return arrow_strings(LETTERS[protocol][window_codes(genome, chrom, start, length)])


def one_hot_letters(one_hot: np.ndarray, protocol: str) -> np.ndarray:
    """(n, length) uint8 ASCII codes of (n, length, 4) one-hot rows in the order A, C, G, T; rows of zeros as above.

    Raises ValueError where a row holds anything but zeros and at most one 1.
    """
    if one_hot.ndim != 3 or one_hot.shape[2] != 4:
        raise InputError(f"shape {one_hot.shape} is not (n, length, 4)")
    ones = one_hot.sum(axis=2)
    if not (np.isin(one_hot, (0, 1)).all() and (ones <= 1).all()):
        raise InputError("not one-hot: a base has other values than 0 and one 1")
    return LETTERS[protocol][np.where(ones == 1, one_hot.argmax(axis=2), N)]


def arrow_strings(letters: np.ndarray) -> pa.Array:
    """(n, length) ASCII codes as n Arrow strings."""
    offsets = np.arange(len(letters) + 1, dtype=np.int32) * letters.shape[1]
    return pa.StringArray.from_buffers(len(letters), pa.py_buffer(offsets), pa.py_buffer(letters.tobytes()))
