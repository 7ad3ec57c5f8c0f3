"""FASTA, plain, bgzip or gzip: random access to a genome through its samtools index, and records one by one."""

import contextlib
import gzip
import logging
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pysam

from datasets_dart.alphabet import AS_DNA, CODES, LETTERS, arrow_strings, check_letters
from datasets_dart.contigs import find_contig, genome_build, rows_by_contig
from datasets_dart.errors import InputError
from datasets_dart.files import (
    Reopened,
    compression,
    default_cache,
    has_mark,
    input_file,
    numbered_lines,
    open_bytes,
    replacing,
    sha256,
)
from datasets_dart.formats.fasta_index import fits
from datasets_dart.outputs import hidden, locked, sweep

log = logging.getLogger(__name__)

FASTA_SUFFIXES = (".fa", ".fna", ".fasta", ".fa.gz", ".fna.gz", ".fasta.gz")
SPAN = 1 << 22  # bp read at once, at most, when windows lie close together
GAP = 1 << 16  # bp between windows from which two reads are cheaper than one; about a bgzip block

SAMPLED_CONTIGS, SAMPLED_PLACES, SAMPLED_BASES = 64, 3, 4096  # whose letters show what a FASTA holds

_UPPER = AS_DNA.copy()
_UPPER[ord("a") : ord("z") + 1] = AS_DNA[ord("A") : ord("Z") + 1]


def read_together(starts: np.ndarray, length: int) -> Iterator[np.ndarray]:
    """Indices of windows [start, start + length) that one read serves, in groups, by start within and between them.

    A group's windows lie less than GAP bp apart and start within SPAN bp.
    """
    order = np.argsort(starts, kind="stable")
    sorted_starts = starts[order]
    gaps = np.flatnonzero(np.diff(sorted_starts) >= length + GAP) + 1
    first = 0
    for end in [*gaps.tolist(), len(order)]:
        while first < end:
            after = first + int(np.searchsorted(sorted_starts[first:end], sorted_starts[first] + SPAN))
            yield order[first:after]
            first = after


class Genome(Reopened[pysam.FastaFile]):
    """Contigs of an indexed FASTA, T for the U of RNA. Cheap to pickle: every process opens the file for itself.

    `contigs` maps names to lengths in bp, in file order. A contig may be asked for as "20" or as "chr20" (see
    `datasets_dart.contigs`). Positions are 0-based, half-open.
    """

    def __init__(self, path: Path, fasta: Path, fai: Path, gzi: Path | None) -> None:
        super().__init__(path)  # as the user knows it; `fasta` differs where that was gzip
        self._files = str(fasta), str(fai), str(gzi) if gzi else None
        self.contigs: dict[str, int] = dict(zip(self.handle.references, self.handle.lengths, strict=True))

    def open(self) -> pysam.FastaFile:
        """A new handle of pysam; InputError if it cannot read the file."""
        fasta, fai, gzi = self._files
        try:
            return pysam.FastaFile(fasta, filepath_index=fai, filepath_index_compressed=gzi)
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path}: cannot be read with its index {fai}: {error}") from None

    def contig(self, chrom: str) -> str:
        """The file's name of a contig; raises ValueError naming the file where it has no such contig."""
        found = find_contig(chrom, self.contigs)
        if found is None:
            known = ", ".join(list(self.contigs)[:5]) + (", ..." if len(self.contigs) > 5 else "")
            raise InputError(f"{self.path}: has no contig {chrom!r} (it has {known})")
        return found

    def length(self, chrom: str) -> int:
        """Length in bp; raises ValueError as `contig`."""
        return self.contigs[self.contig(chrom)]

    def fetch(self, chrom: str, start: int, end: int, keep_case: bool = False) -> str:
        """Upper-cased bases [start, end), or as written; raises ValueError unless 0 <= start <= end <= its length."""
        if not 0 <= start <= end <= self.length(chrom):
            raise InputError(f"{self.path}: {chrom}:{start}-{end} is not within 0-{self.length(chrom)}")
        return self._bases(chrom, start, end, keep_case).tobytes().decode()

    def windows(self, chrom: str, starts: np.ndarray, length: int) -> np.ndarray:
        """Upper-cased bases of the windows [start, start + length), N off the contig's ends.

        starts: (n,) int64, any order, may be negative. Returns (n, length) uint8 ASCII codes. Neighbouring windows
        are read together, so that order and overlap cost little; memory beyond the result is bounded.
        """
        windows = np.empty((len(starts), length), dtype=np.uint8)
        for group in read_together(starts, length):
            low, end = int(starts[group[0]]), int(starts[group[-1]]) + length
            span = self._padded(chrom, low, end)
            windows[group] = np.lib.stride_tricks.sliding_window_view(span, length)[starts[group] - low]
        return windows

    def _padded(self, chrom: str, start: int, end: int) -> np.ndarray:
        inside = np.clip([start, end], 0, self.length(chrom))
        span = np.full(end - start, ord("N"), dtype=np.uint8)
        span[inside[0] - start : inside[1] - start] = self._bases(chrom, *inside.tolist())
        return span

    def _bases(self, chrom: str, start: int, end: int, keep_case: bool = False) -> np.ndarray:
        bases = self.handle.fetch(self.contig(chrom), start, end).encode()
        if len(bases) != end - start:
            raise InputError(f"{self.path}: {chrom}:{start}-{end} cannot be read; does the index belong to the file?")
        codes = np.frombuffer(bases, dtype=np.uint8)
        return np.asarray((AS_DNA if keep_case else _UPPER)[codes])

    def sampled_letters(self) -> np.ndarray:
        """(n,) uint8 ASCII codes as written, from up to 64 contigs and three places in each."""
        names = [*self.contigs]
        chosen = np.unique(np.linspace(0, len(names) - 1, SAMPLED_CONTIGS).astype(int)) if names else ()
        found = []
        for name in (names[number] for number in chosen):
            for place in range(1, SAMPLED_PLACES + 1):
                start = max(0, self.contigs[name] * place // (SAMPLED_PLACES + 1) - SAMPLED_BASES // 2)
                found.append(self.handle.fetch(name, start, min(start + SAMPLED_BASES, self.contigs[name])))
        return np.frombuffer("".join(found).encode("ascii", "replace"), dtype=np.uint8)


def open_genome(path: str | os.PathLike[str], cache_dir: str | os.PathLike[str] | None = None) -> Genome:
    """Open a FASTA file: plain or bgzip, or gzip (decompressed once into `cache_dir`).

    An index (.fai, and .gzi for bgzip) that is missing, or does not fit the file as it is now, is built beside the
    file or, where that folder cannot be written, in `cache_dir`, by default the datasets library's cache.

    Raises FileNotFoundError; ValueError, naming file, line and value, for a folder, an empty or a malformed file,
    contigs of several human builds, what is no nucleotides (a protein), and when no index can be written.
    """
    fasta = path = input_file(path)

    def cache() -> Path:
        return Path(cache_dir or default_cache()).expanduser() / "genomes"

    kind = "gzip" if has_mark(path) else compression(path)  # what samtools cannot read as it is
    if kind == "gzip":
        fasta = cache() / f"{sha256(path)[:16]}.fa"
        with locked(hidden(fasta, "lock"), fasta, wait=True):
            sweep(fasta)
            if not fasta.exists():
                _decompress(path, fasta)
    fai, gzi = _index(path, fasta, kind, cache)
    genome = Genome(path, fasta, fai, gzi)
    genome_build(path, genome.contigs)  # refuses a mixture
    check_letters(str(path), genome.sampled_letters())
    return genome


def _index(path: Path, fasta: Path, kind: str, cache: Callable[[], Path]) -> tuple[Path, Path | None]:
    """The index of a FASTA, .fai and for bgzip .gzi: the first that fits, or can be built."""
    beside, refusal = fasta.parent, OSError()

    def folders() -> Iterator[Path]:
        yield beside
        if kind != "gzip":
            yield cache() / sha256(path)[:16]

    for folder in folders():
        fai = folder / f"{fasta.name}.fai"
        gzi = folder / f"{fasta.name}.gzi" if kind == "bgzip" else None
        if fits(fasta, fai, gzi) and not hidden(fai, "lock").exists():
            return fai, gzi
        try:
            with locked(hidden(fai, "lock"), fai, wait=True):
                for index in filter(None, (fai, gzi)):
                    sweep(index)
                if not fits(fasta, fai, gzi):
                    if fai.exists():
                        log.warning("%s does not fit %s: it is made anew", fai, path.name)
                    _build_index(path, fasta, fai, gzi)
            return fai, gzi
        except OSError as error:
            refusal = error
    raise InputError(f"{path}: has no index {path.name}.fai that fits, and none can be written: {refusal}")


def window_codes(genome: Genome, chrom: np.ndarray, start: np.ndarray, length: int) -> np.ndarray:
    """(n, length) uint8 base codes of the windows [start, start + length); chrom: (n,) str objects, start: (n,) int64.

    What is none of A, C, G, T, or lies off the contig, is unknown.
    """
    windows = np.empty((len(start), length), dtype=np.uint8)
    for name, rows in rows_by_contig(chrom).items():
        windows[rows] = genome.windows(name, start[rows], length)
    return CODES[windows]


def window_strings(genome: Genome, chrom: np.ndarray, start: np.ndarray, length: int, protocol: str) -> pa.Array:
    """The windows of `window_codes` as n Arrow strings."""
    return arrow_strings(LETTERS[protocol][window_codes(genome, chrom, start, length)])


def _decompress(path: Path, fasta: Path) -> None:
    with replacing(fasta) as temporary:
        try:
            with open_bytes(path) as source, temporary.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InputError(f"{path}: damaged gzip data: {error}") from None


def _build_index(path: Path, fasta: Path, fai: Path, gzi: Path | None) -> None:
    _check_fasta(path)
    with contextlib.ExitStack() as stack:
        options = ["--fai-idx", str(stack.enter_context(replacing(fai)))]
        if gzi:
            options += ["--gzi-idx", str(stack.enter_context(replacing(gzi)))]
        try:
            pysam.faidx(str(fasta), *options)
        except pysam.utils.SamtoolsError as error:
            raise InputError(f"{path}: samtools cannot index it: {str(error).strip()}") from None


def read_fasta(path: Path) -> Iterator[tuple[int, str, str]]:
    """(line of the header, header without '>', sequence) of each record, without an index; lines of any width.

    Raises ValueError naming the line of a sequence before the first header, or of a header without a sequence.
    """
    at, header, parts = 0, "", list[str]()

    def sequence() -> str:
        if not (joined := "".join(parts)):
            raise InputError(f"{path}:{at}: no sequence below {header[:60]!r}")
        return joined

    for line, text in numbered_lines(path):
        own = text.decode("ascii", "replace").strip()
        if own.startswith(">"):
            if at:
                yield at, header, sequence()
            at, header, parts = line, own[1:], []
        elif own and not at:
            raise InputError(f"{path}:{line}: not FASTA: sequence before the first '>' header: {own[:60]!r}")
        else:
            parts.append(own)
    if at:
        yield at, header, sequence()


def _check_fasta(path: Path) -> None:
    """Raise ValueError naming file, line and value where `path` is no FASTA that can be indexed.

    Stricter than samtools, which lets through headers without a name, repeated names and what are not letters.
    """
    names: dict[str, int] = {}
    name = ""
    width: int | None = None  # of the contig's lines, with their end; None before its first
    last = False  # whether a shorter line has been seen, after which the contig must end
    for line, text in numbered_lines(path):
        if text.startswith(b">"):
            if names and width is None:
                raise InputError(f"{path}:{line}: no sequence since the last header, in line {names[name]}")
            name = text[1:].split(None, 1)[0].decode(errors="replace") if text[1:2].strip() else ""
            if not name:
                raise InputError(f"{path}:{line}: a header without a name: {text[:60]!r}")
            if name in names:
                raise InputError(f"{path}:{line}: contig {name!r} appears a second time, first in line {names[name]}")
            names[name] = line
            width, last = None, False
            continue
        bases = text.rstrip(b"\r\n")
        if not bases:
            last = True
        elif not names:
            raise InputError(f"{path}:{line}: not FASTA: sequence before the first '>' header: {text[:60]!r}")
        elif not (bases.isalpha() or bases.translate(None, b"-*").isalpha()):
            raise InputError(f"{path}:{line}: not a sequence: {text[:60]!r}")
        elif last or (width is not None and len(text) > width):
            raise InputError(f"{path}:{line}: {len(bases)} bases in a line, unlike the lines before it in its contig")
        else:
            width = width or len(text)
            last = len(text) < width
    if not names:
        raise InputError(f"{path}: not FASTA: no '>' header")
    if width is None:
        raise InputError(f"{path}: contig {name!r} in line {names[name]} has no sequence")
