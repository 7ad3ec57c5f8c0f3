"""Motifs from MEME files."""

import logging
from collections.abc import Sequence
from itertools import pairwise, takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets_dart.alphabet import BASES, decode_bases
from datasets_dart.errors import InputError
from datasets_dart.files import number_of, numbered_lines, warn_once

log = logging.getLogger(__name__)

SUM_TOLERANCE = 0.02  # of a matrix row about 1; the MEME format says nothing, and files round to 3 decimals or more


class Motif(NamedTuple):
    """One motif of a MEME file."""

    name: str
    probabilities: np.ndarray  # (width, 4) float64, columns A, C, G, T
    line: int  # of its MOTIF line
    last_line: int  # of its last matrix row

    @property
    def consensus(self) -> str:
        """The likeliest base of each position; of equals the first of A, C, G, T."""
        return decode_bases(self.probabilities.argmax(axis=1))


def read_meme(path: Path, protocol: str = "fixed") -> list[Motif]:
    """Motifs of a file in MEME's minimal motif format, in file order; plain or compressed.

    protocol="paper" leaves out the motifs that the original's parser loses. It takes a motif over only on reading a
    further line after the matrix, and does not look at that line itself: the last motif is lost where nothing follows
    it, and so is a motif whose MOTIF line follows the last matrix without a line between.

    Raises ValueError naming file, line and value: no MEME version, another alphabet than ACGT, no motif (in
    protocol="paper": none that is read), a motif without a name, without a matrix or with the name of another, a matrix
    of another width than it says, a row that is not four probabilities.
    """
    lines = [text.decode(errors="replace").strip() for _, text in numbered_lines(path)]
    if not next(filter(None, lines), "").startswith("MEME version"):
        raise InputError(f"{path}:1: not a MEME file: it does not begin with 'MEME version'")
    for line, text in enumerate(lines, 1):
        if text.startswith("ALPHABET=") and text.removeprefix("ALPHABET=").strip() not in (BASES, "DNA"):
            raise InputError(f"{path}:{line}: {text!r}: the alphabet is not ACGT")
    starts = [at for at, text in enumerate(lines) if text.split(None, 1)[:1] == ["MOTIF"]]
    read = [_read_motif(path, lines, at, end) for at, end in pairwise([*starts, len(lines)])]
    motifs = [motif for motif in read if motif is not None]
    if len(motifs) < len(read):
        warn_once(log, path, f"{path}: {len(read) - len(motifs)} motifs of width 0 are left out")
    if not motifs:
        raise InputError(f"{path}: has no motifs")
    first: dict[str, int] = {}
    for motif in motifs:
        if first.setdefault(motif.name, motif.line) != motif.line:
            where = f"{path}:{motif.line}: motif {motif.name!r}"
            raise InputError(f"{where} appears a second time, first in line {first[motif.name]}")
    kept = motifs if protocol == "fixed" else _as_the_original_reads(motifs, len(lines))
    if not kept:
        raise InputError(f'{path}: the original\'s way of reading loses all of its motifs (protocol="paper")')
    return kept


def _read_motif(path: Path, lines: Sequence[str], at: int, end: int) -> Motif | None:
    """The motif whose MOTIF line is `lines[at]`, and which ends before `lines[end]`; None for one of width 0."""
    name = (lines[at].split() + [""])[1]
    if not name:
        raise InputError(f"{path}:{at + 1}: a motif without a name")
    header = next((row for row in range(at, end) if lines[row].startswith("letter-probability")), None)
    if header is None:
        raise InputError(f"{path}:{at + 1}: motif {name!r} has no letter-probability matrix")
    words = lines[header].partition("matrix:")[2].replace("=", " ").split()
    fields = dict(zip(words[::2], words[1::2], strict=False))
    if fields.get("alength", "4") != "4":
        raise InputError(f"{path}:{header + 1}: motif {name!r}: alength= {fields['alength']}, not 4")
    rows = list(takewhile(bool, (_row(path, row + 1, lines[row]) for row in range(header + 1, end))))
    after = header + 1 + len(rows)
    if not rows and fields.get("w") == "0":
        return None
    if not rows or fields.get("w", str(len(rows))) != str(len(rows)):
        width = fields.get("w", "at least 1")
        raise InputError(f"{path}:{after}: motif {name!r} has {len(rows)} matrix rows, where w= {width}")
    return Motif(name, np.array(rows, dtype=np.float64), at + 1, after)


def _row(path: Path, line: int, text: str) -> list[float] | None:
    """Four probabilities, or None where the line does not begin with a number: the matrix has ended."""
    words = text.split()
    try:
        number_of(words[0])
    except (IndexError, ValueError):
        return None
    try:
        row = [number_of(word) for word in words]
    except ValueError:
        row = []
    if len(row) != 4 or not all(0 <= p <= 1 for p in row) or abs(sum(row) - 1) > SUM_TOLERANCE:
        raise InputError(f"{path}:{line}: {text[:60]!r} is not four probabilities that add up to 1")
    return row


def _as_the_original_reads(motifs: Sequence[Motif], lines: int) -> list[Motif]:
    kept: list[Motif] = []
    for motif in motifs:
        swallowed = bool(kept) and motif.line == kept[-1].last_line + 1
        if not swallowed and motif.last_line < lines:
            kept.append(motif)
    return kept
