"""Windows of a genome as columns of sequences, without a Python object for each."""

import numpy as np
import pyarrow as pa

from datasets_dart.alphabet import CODES, LETTERS
from datasets_dart.formats.fasta import Genome


def window_codes(genome: Genome, chrom: np.ndarray, start: np.ndarray, length: int) -> np.ndarray:
    """(n, length) uint8 base codes of the windows [start, start + length); chrom: (n,) str objects, start: (n,) int64.

    What is none of A, C, G, T, or lies off the contig, is unknown.
    """
    windows = np.empty((len(start), length), dtype=np.uint8)
    for name in dict.fromkeys(chrom.tolist()):
        rows = np.flatnonzero(chrom == name)
        windows[rows] = genome.windows(name, start[rows], length)
    return CODES[windows]


def window_strings(genome: Genome, chrom: np.ndarray, start: np.ndarray, length: int, protocol: str) -> pa.Array:
    """The windows of `window_codes` as n Arrow strings."""
    return arrow_strings(LETTERS[protocol][window_codes(genome, chrom, start, length)])


def arrow_strings(letters: np.ndarray) -> pa.Array:
    """(n, length) ASCII codes as n Arrow strings."""
    offsets = np.arange(len(letters) + 1, dtype=np.int32) * letters.shape[1]
    return pa.StringArray.from_buffers(len(letters), pa.py_buffer(offsets), pa.py_buffer(letters.tobytes()))
