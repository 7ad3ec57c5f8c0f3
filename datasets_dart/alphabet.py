"""The alphabet of DNA: codes, unknown bases, ambiguity letters, RNA, the other strand, one-hot rows and Arrow strings.

A base code is 0, 1, 2, 3 for A, C, G, T (U of RNA is T) and 4, UNKNOWN, for every other letter. Sequence that is mostly
other letters, as a protein is, is refused by whoever reads it.
"""

import logging
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from datasets_dart.errors import InputError
from datasets_dart.files import warn_once

log = logging.getLogger(__name__)

BASES = "ACGT"
A, UNKNOWN = 0, 4
CODES = np.full(256, UNKNOWN, dtype=np.uint8)  # from ASCII, in either case
for _letters in (b"ACGT", b"acgt"):
    CODES[list(_letters)] = range(4)
CODES[list(b"Uu")] = CODES[ord("T")]
# How a code is written. An unknown base is N or, as the original's one-hot rows make of it, A.
LETTERS = {"fixed": np.frombuffer(b"ACGTN", dtype=np.uint8), "paper": np.frombuffer(b"ACGTA", dtype=np.uint8)}
COMPLEMENT_CODES = np.array([3, 2, 1, 0, UNKNOWN], dtype=np.uint8)
COMPLEMENT = bytes.maketrans(b"ACGTacgtUu", b"TGCAtgcaAa")
ONE_HOT = np.vstack([np.eye(4, dtype=np.float32), np.zeros((1, 4), dtype=np.float32)])  # by code
# The bases that each letter may be (IUPAC).
IUPAC = {base: base for base in BASES} | {"U": "T", "R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT", "M": "AC"}
WARNED_SHARE, REFUSED_SHARE = 0.01, 0.5  # of letters that are neither bases nor N
NUCLEOTIDE = np.zeros(256, dtype=bool)  # by ASCII code: a base, U, or N
NUCLEOTIDE[list(b"ACGTUNacgtun")] = True
AS_DNA = np.arange(256, dtype=np.uint8)  # from ASCII to ASCII: T for U, in either case
AS_DNA[list(b"Uu")] = list(b"Tt")
IUPAC |= {"B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG", "N": "ACGT"}


def encode_bases(sequence: str) -> np.ndarray:
    """(length,) uint8 codes of a sequence."""
    return CODES[np.frombuffer(sequence.encode("ascii", "replace"), dtype=np.uint8)]


def decode_bases(codes: np.ndarray, protocol: str = "fixed") -> str:
    """The letters of (length,) codes; an unknown base is N or, in protocol="paper", A."""
    letters: np.ndarray = LETTERS[protocol][codes]
    return letters.tobytes().decode()


def letter_shares(sequence: str) -> tuple[float, float, float]:
    """Shares of lower case and of unknown bases among all letters, and of G and C among known bases; NaN of none."""
    letters = np.frombuffer(sequence.encode("ascii", "replace"), dtype=np.uint8)
    counts = np.bincount(CODES[letters], minlength=5)
    lower = ((letters >= ord("a")) & (letters <= ord("z"))).sum()
    among = len(letters) or np.nan
    known = counts[:UNKNOWN].sum() or np.nan
    return float(lower / among), float(counts[UNKNOWN] / among), float((counts[1] + counts[2]) / known)


def known_bases(sequence: str) -> str:
    """A sequence in upper case, with T for U and N for every letter that is no base."""
    return decode_bases(encode_bases(sequence))


def as_dna(sequence: str) -> str:
    """T for U, in either case; all else as it is."""
    return sequence.replace("U", "T").replace("u", "t")


def checked_bases(source: str, sequences: Iterable[str]) -> list[str]:
    """[`known_bases`] of sequences that belong together, [`check_letters`] of which holds."""
    given = list(sequences)
    check_letters(source, np.frombuffer("".join(given).encode("ascii", "replace"), dtype=np.uint8))
    return [known_bases(sequence) for sequence in given]


def check_letters(source: str, letters: np.ndarray) -> None:
    """Look at (n,) uint8 ASCII codes of sequence, of which N and other letters are read as unknown bases.

    Above 1 % of letters that are none of A, C, G, T, U and N (not counting N) there is a warning, once for a source.
    Raises ValueError naming the source and these letters above a half: a protein, or no sequence at all.
    """
    counts = np.bincount(letters, minlength=256)
    counts[list(b"Nn")] = 0
    other = np.where(NUCLEOTIDE, 0, counts)
    share = other.sum() / max(counts.sum(), 1)
    if share <= WARNED_SHARE:
        return
    commonest = ", ".join(chr(code) for code in np.argsort(-other, kind="stable")[:3] if other[code])
    what = f"{source}: {share:.0%} of the letters are none of A, C, G, T, U and N (such as {commonest})"
    if share > REFUSED_SHARE:
        raise InputError(f"{what}: not DNA or RNA; a protein?")
    warn_once(log, source, f"{what}; they are read as N")


def reverse_complement(sequence: str) -> str:
    """The other strand of a sequence; letters that are no bases stay as they are."""
    return sequence.translate(COMPLEMENT.decode("latin-1"))[::-1]


def reverse_complement_letters(letters: np.ndarray) -> np.ndarray:
    """(..., length) uint8 ASCII codes of the other strand; letters that are no bases stay as they are."""
    return np.take(np.frombuffer(COMPLEMENT, dtype=np.uint8), letters[..., ::-1])


def reverse_complement_codes(codes: np.ndarray) -> np.ndarray:
    """(..., length) uint8 codes of the other strand."""
    return np.take(COMPLEMENT_CODES, codes[..., ::-1])


def one_hot(codes: np.ndarray) -> np.ndarray:
    """(..., 4) float32 in the order A, C, G, T; all zero where a base is unknown."""
    return np.take(ONE_HOT, codes, axis=0)


def one_hot_letters(rows: np.ndarray, protocol: str) -> np.ndarray:
    """(n, length) uint8 ASCII codes of (n, length, 4) one-hot rows; a row of zeros is an unknown base.

    Raises ValueError where a row holds anything but zeros and at most one 1.
    """
    if rows.ndim != 3 or rows.shape[2] != 4:
        raise InputError(f"shape {rows.shape} is not (n, length, 4)")
    ones = rows.sum(axis=2)
    if not (np.isin(rows, (0, 1)).all() and (ones <= 1).all()):
        raise InputError("not one-hot: each base must have a single 1 and otherwise 0")
    return LETTERS[protocol][np.where(ones == 1, rows.argmax(axis=2), UNKNOWN)]


def arrow_strings(letters: np.ndarray) -> pa.Array:
    """(n, length) ASCII codes as n Arrow strings."""
    offsets = np.arange(len(letters) + 1, dtype=np.int32) * letters.shape[1]
    return pa.StringArray.from_buffers(len(letters), pa.py_buffer(offsets), pa.py_buffer(letters.tobytes()))
