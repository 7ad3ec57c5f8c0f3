"""VCF as text, record by record: how its records compare with a genome, and the sequences that their alleles make.

Records are carried as the bytes they are, so that a file can be written again with nothing changed but what was added.
Whatever a VCF holds is read, in constant memory; `variants` takes single-base variants from it into arrays.
"""

import contextlib
import heapq
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets_dart.alphabet import IUPAC, LETTERS
from datasets_dart.contigs import contig_ends, find_contig, renamed, rows_by_contig
from datasets_dart.errors import InputError
from datasets_dart.files import Position, batched, numbered_lines, shown
from datasets_dart.formats.fasta import Genome, window_codes

CHUNK_RECORDS = 4096
COLUMNS = 8  # CHROM, POS, ID, REF, ALT, QUAL, FILTER, INFO
SHOWN = 60  # characters of a value in a message
SHORT = 64  # bp of REF, at most, that is read together with others'
SORT_RUN_RECORDS = 100_000  # held in memory at once while an unsorted file is sorted

_BASES = re.compile(rb"[ACGTacgt]+")
_CODES = re.compile(rb"[ACGTRYSWKMBDHVNacgtryswkmbdhvn]+")
# Symbolic alleles, breakends, the missing and the overlapping-deletion allele have no sequence.
_WITHOUT_SEQUENCE = re.compile(rb"<[^<>]+>|\*|\.|.*[\[\]].*|\.[A-Za-z]+|[A-Za-z]+\.")

# Why an allele has no score; of one with a score: empty, or SWAPPED.
SCORED, SWAPPED = "", "swapped"
HAS_SCORE = (SCORED, SWAPPED)
NO_CONTIG = "no_contig"  # the genome has none of that name
BEYOND_CONTIG = "beyond_contig"
REF_MISMATCH = "ref_mismatch"
NO_SEQUENCE = "no_sequence"  # symbolic alleles, breakends, * and .
AMBIGUOUS = "ambiguous"  # a letter other than A, C, G, T in an allele
TOO_LONG = "too_long"  # an allele longer than half the window
UNEQUAL_LENGTH = "unequal_length"  # REF and ALT, where a recipe puts one in the place of the other


class Header(NamedTuple):
    """Of a VCF: its lines without their ends."""

    meta: list[bytes]  # those that begin with ##
    columns: bytes  # the one that begins with #CHROM
    contigs: dict[str, int]  # lengths in bp, where the file says so
    info: frozenset[str]  # INFO keys that are declared
    records: Position  # where they start


class Record(NamedTuple):
    """A line of a VCF file after its header."""

    line: int  # in the file, from 1
    text: bytes  # the whole line, without its end
    chrom: str
    position: int  # 1-based; 0 is a telomere
    reference: str  # REF, as written there
    alternatives: tuple[str, ...]  # ALT, as written there; none where the column is "."

    def columns(self) -> list[bytes]:
        """Its fields, split at tabs."""
        return self.text.split(b"\t")


class Mismatch(NamedTuple):
    """A REF that is not what the genome has there."""

    record: Record
    genome: str  # the genome's bases in its place


class Summary(NamedTuple):
    """Of all records of a file."""

    records: int
    alleles: int  # alternative ones
    mismatches: int
    sorted: bool  # one stretch of lines for each contig, and positions in order in it
    contigs: dict[str, str | None]  # name in the VCF, in order of appearance -> the genome's name


class Haplotypes(NamedTuple):
    """Sequences of the alleles of some records: of each that has a score to get, REF first, then its alternatives."""

    sequences: list[str]
    record: np.ndarray  # (n,) which record a sequence is of: row in `status`
    allele: np.ndarray  # (n,) 0 is REF, 1 the first alternative
    status: list[list[str]]  # of each alternative allele of each record


def read_header(path: Path) -> Header:
    """Raises ValueError naming file and line where `path` is no VCF (BCF among others) or lacks its #CHROM line."""
    meta: list[bytes] = []
    offset = 0
    for line, text in numbered_lines(path):
        words = text.rstrip(b"\r\n")
        offset += len(text)
        if line == 1 and words.startswith(b"BCF"):
            raise InputError(f"{path}: is a BCF; write it as text first: bcftools view -Oz -o out.vcf.gz {path.name}")
        if line == 1 and not words.startswith(b"##fileformat=VCF"):
            raise InputError(f"{path}:1: not a VCF, which begins with ##fileformat=VCF: {shown(words, SHOWN)}")
        if words.startswith(b"##"):
            meta.append(words)
        elif words.startswith(b"#CHROM\t"):
            if len(words.split(b"\t")) < COLUMNS:
                raise InputError(f"{path}:{line}: a VCF has {COLUMNS} columns or more: {shown(words, SHOWN)}")
            text_above = b"\n".join(meta).decode(errors="replace")
            info = re.findall(r"(?m)^##INFO=<.*?ID=([^,>]+)", text_above)
            contigs = re.findall(r"(?m)^##contig=(?=<.*?ID=([^,>]+)).*?[<,]length=(\d+)", text_above)
            lengths = {name: int(length) for name, length in contigs}
            return Header(meta, words, lengths, frozenset(info), Position(offset, line + 1))
        else:
            raise InputError(f"{path}:{line}: the header's line '#CHROM' must come here, not {shown(words, SHOWN)}")
    raise InputError(f"{path}: the header of the VCF has no line '#CHROM'")


def read_records(path: Path) -> Iterator[Record]:
    """Records in the file's order; blank lines are skipped.

    Raises ValueError as `split_record`, and for a REF that is not bases, or an ALT that is neither bases nor a symbol
    of the VCF specification.
    """
    for line, text in numbered_lines(path, read_header(path).records):
        words = text.rstrip(b"\r\n")
        if not words:
            continue
        chrom, position, _, reference, alternatives, *_ = split_record(path, line, words)
        if not _CODES.fullmatch(reference):
            raise InputError(f"{path}:{line}: REF {shown(reference, SHOWN)} is not bases")
        alleles = () if alternatives == b"." else tuple(alternatives.split(b","))
        for allele in alleles:
            if not (_CODES.fullmatch(allele) or _WITHOUT_SEQUENCE.fullmatch(allele)):
                raise InputError(
                    f"{path}:{line}: ALT {shown(allele, SHOWN)} is neither bases nor a symbol of the VCF format"
                )
        texts = tuple(allele.decode(errors="replace") for allele in alleles)
        yield Record(line, words, chrom.decode(), int(position), reference.decode(), texts)


def split_record(path: Path, line: int, text: bytes) -> list[bytes]:
    """The first 8 columns of a record; then, in one piece, the rest of the line.

    Raises ValueError naming file, line and value: fewer than 8 columns, a contig without a name, a position that is
    not a whole number >= 0.
    """
    columns = text.split(b"\t", COLUMNS)
    if len(columns) < COLUMNS:
        raise InputError(f"{path}:{line}: {len(columns)} tab-separated columns where a VCF has {COLUMNS} or more")
    chrom, position = columns[:2]
    if not chrom or not chrom.isascii() or chrom.startswith(b"#"):
        raise InputError(f"{path}:{line}: {shown(chrom, SHOWN)} is not the name of a contig")
    if not position.isdigit() or len(position) > 12:
        raise InputError(f"{path}:{line}: {shown(position, SHOWN)} is not a position (a whole number >= 0)")
    return columns


def summarise(path: Path, genome: Genome, mismatch: Callable[[Mismatch], None] = lambda _: None) -> Summary:
    """Read all records once, and compare every REF with the genome; `mismatch` is called for each that differs.

    Raises ValueError as [`read_records`].
    """
    records = alleles = mismatches = 0
    in_order = True
    contigs: dict[str, str | None] = {}
    before = ("", 0)
    for chunk in batched(read_records(path), CHUNK_RECORDS):
        for record in chunk:
            if record.chrom not in contigs:
                contigs[record.chrom] = find_contig(record.chrom, genome.contigs)
            elif record.chrom != before[0] or record.position < before[1]:
                in_order = False
            before = record.chrom, record.position
            records += 1
            alleles += len(record.alternatives)
        for record, bases in zip(chunk, reference_bases(chunk, genome), strict=True):
            if bases is not None and not same_bases(record.reference, bases):
                mismatches += 1
                mismatch(Mismatch(record, bases))
    return Summary(records, alleles, mismatches, in_order, contigs)


def reference_bases(records: Sequence[Record], genome: Genome) -> list[str | None]:
    """The genome's upper-case letters at each REF; None on a contig it does not have, or beyond its ends."""
    bases: list[str | None] = [None] * len(records)
    chrom = renamed(np.array([record.chrom for record in records], dtype=object), genome.contigs)
    start = np.array([record.position - 1 for record in records], dtype=np.int64)
    length = np.array([len(record.reference) for record in records], dtype=np.int64)
    inside = (start >= 0) & (start + length <= contig_ends(chrom, genome.contigs))
    for row in np.flatnonzero(inside & (length > SHORT)).tolist():
        bases[row] = genome.fetch(chrom[row], int(start[row]), int(start[row] + length[row]))
    for name, rows in rows_by_contig(chrom).items():
        short = rows[inside[rows] & (length[rows] <= SHORT)]
        windows = genome.windows(name, start[short], SHORT)
        for row, window in zip(short.tolist(), windows, strict=True):
            bases[row] = window[: length[row]].tobytes().decode()
    return bases


def same_bases(allele: str, genome: str) -> bool:
    """Whether an allele is what the genome has; an ambiguity code of the genome agrees with what it may be."""
    allele = allele.upper()
    return allele == genome or (
        len(allele) == len(genome)
        and all(one == two or one in IUPAC.get(two, "") for one, two in zip(allele, genome, strict=True))
    )


def haplotypes(
    records: Sequence[Record], genome: Genome, window: int, swap: bool = False, substitutions: bool = False
) -> Haplotypes:
    """Windows of `window` bp of the genome with each allele in its place.

    A window starts window // 2 before the middle of what it replaces, and is shifted where it would leave the contig,
    so that only of contigs shorter than the window it is shorter, too. All alleles of a record have the same start
    (away from the contig's end) and the same length: an insertion pushes bases out at the right end, a deletion draws
    them in. Letters of the genome other than A, C, G, T are N.

    swap: where REF is not the genome's but an alternative allele is, all alleles of the record take the place of that
    one; their status is SWAPPED. Scores are then still those of the record's own REF and ALT.
    substitutions: only of alleles as long as REF.
    """
    status: list[list[str]] = []
    replaced: dict[int, int] = {}  # row -> how many bases of the genome the alleles take the place of
    for row, (record, bases) in enumerate(zip(records, reference_bases(records, genome), strict=True)):
        states, length = _statuses(record, bases, genome, window, swap, substitutions)
        status.append(states)
        if any(state in HAS_SCORE for state in states):
            replaced[row] = length
    alleles = [
        (row, number, allele.upper().encode())
        for row in replaced
        for number, allele in enumerate((records[row].reference, *records[row].alternatives))
        if number == 0 or status[row][number - 1] in HAS_SCORE
    ]
    # The genome around a record is read once, with as many bp more on either side as its alleles' windows may reach.
    pad = max((abs(len(allele) - replaced[row]) for row, _, allele in alleles), default=0)
    first = {
        row: _window_start(records[row], length, genome.length(records[row].chrom), window) - pad
        for row, length in replaced.items()
    }
    chrom = np.array([records[row].chrom for row in replaced], dtype=object)
    codes = window_codes(genome, chrom, np.array([*first.values()], dtype=np.int64), window + 2 * pad)
    spans = {row: letters.tobytes() for row, letters in zip(replaced, LETTERS["fixed"][codes], strict=True)}
    sequences = []
    for row, _, allele in alleles:
        position = records[row].position - 1
        length = genome.length(records[row].chrom) + len(allele) - replaced[row]
        start = _window_start(records[row], replaced[row], length, window)
        rest = min(window, length) - (position - start) - len(allele)  # bases to the right of the allele
        left, right = position - first[row], position - first[row] + replaced[row]
        span = spans[row]
        sequences.append((span[start - first[row] : left] + allele + span[right : right + rest]).decode())
    owner, number = (np.array([allele[column] for allele in alleles], dtype=np.int64) for column in range(2))
    return Haplotypes(sequences, owner, number, status)


def _window_start(record: Record, replaced: int, length: int, window: int) -> int:
    """Start of the window in a haplotype of `length` bp, whose alleles take the place of `replaced` bp."""
    centre = record.position - 1 + replaced // 2
    return min(max(centre - window // 2, 0), max(length - window, 0))


def _statuses(
    record: Record, bases: str | None, genome: Genome, window: int, swap: bool, substitutions: bool
) -> tuple[list[str], int]:
    """Status of each alternative allele, and how many bases of the genome the alleles take the place of."""
    present: str | None = record.reference  # the allele that the genome has
    state = SCORED
    if bases is not None and not same_bases(record.reference, bases):
        present, state = _present_alternative(record, genome) if swap else None, SWAPPED
    length = len(present or "")
    everywhere = ""
    if bases is None:
        everywhere = BEYOND_CONTIG if find_contig(record.chrom, genome.contigs) else NO_CONTIG
    elif present is None:
        everywhere = REF_MISMATCH
    elif not _BASES.fullmatch(record.reference.encode()):
        everywhere = AMBIGUOUS
    elif max(len(record.reference), length) > window // 2:
        everywhere = TOO_LONG
    wanted = len(record.reference) if substitutions else None
    return [everywhere or _allele_status(allele, window, wanted) or state for allele in record.alternatives], length


def _allele_status(allele: str, window: int, wanted: int | None) -> str:
    """Why an allele has no score; `wanted`: the only length that has one."""
    text = allele.encode()
    if _WITHOUT_SEQUENCE.fullmatch(text):
        return NO_SEQUENCE
    if not _BASES.fullmatch(text):
        return AMBIGUOUS
    if len(text) > window // 2:
        return TOO_LONG
    return SCORED if wanted in (None, len(text)) else UNEQUAL_LENGTH


def _present_alternative(record: Record, genome: Genome) -> str | None:
    """The first alternative allele that the genome has in REF's place."""
    for allele in record.alternatives:
        if _BASES.fullmatch(allele.encode()):
            (bases,) = reference_bases([record._replace(reference=allele)], genome)
            if bases is not None and same_bases(allele, bases):
                return allele
    return None


def sort_records(path: Path, target: Path, contigs: Sequence[str]) -> None:
    """Write `path` to `target`, plain, with its records in order of `contigs` and position, equal ones as they come.

    Runs of `SORT_RUN_RECORDS` are sorted in memory, and merged from unnamed files in the folder of `target`.
    """
    rank = {name: number for number, name in enumerate(contigs)}

    def key(text: bytes) -> tuple[int, int]:
        chrom, position, _ = text.split(b"\t", 2)
        return rank[chrom.decode()], int(position)

    header = read_header(path)
    with contextlib.ExitStack() as opened, target.open("wb") as file:
        runs = []
        for chunk in batched(read_records(path), SORT_RUN_RECORDS):
            run = opened.enter_context(tempfile.TemporaryFile(dir=target.parent))
            lines = sorted((record.text + b"\n" for record in chunk), key=key)
            run.writelines(lines)
            run.seek(0)
            runs.append(run)
        file.write(b"\n".join([*header.meta, header.columns]) + b"\n")
        merged = heapq.merge(*runs, key=key)
        file.writelines(merged)
