"""VCF as text, record by record: how its records compare with a genome, and the sequences that their alleles make.

Records are carried as the bytes they are, so that a file can be written again with nothing changed but what was added.
Whatever a VCF holds is read, in constant memory; `variants` takes single-base variants from it into arrays.
"""

import contextlib
import heapq
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
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
NAMED = 5  # lines that a summary names of those that are wrong in one way
SHOWN = 60  # characters of a value in a message
SHORT = 64  # bp of REF, at most, that is read together with others'
SORT_RUN_RECORDS = 100_000  # held in memory at once while an unsorted file is sorted

_BASES = re.compile(r"[ACGTUacgtu]+")
_CODES = re.compile(r"[ACGTURYSWKMBDHVNacgturyswkmbdhvn]+")
# Symbolic alleles, breakends (of assembly contigs and single ones, too), the missing and the overlapping-deletion
# allele have no sequence.
_WITHOUT_SEQUENCE = re.compile(r"<[^<>]+>|\*|\.|.*[\[\]].*|\.[A-Za-z]+|[A-Za-z]+\.|[A-Za-z]+<[^<>]+>|<[^<>]+>[A-Za-z]+")

# Why an allele has no score; of one with a score: empty, or SWAPPED.
SCORED, SWAPPED = "", "swapped"
HAS_SCORE = (SCORED, SWAPPED)
NO_CONTIG = "no_contig"  # the genome has none of that name
BEYOND_CONTIG = "beyond_contig"
REF_MISMATCH = "ref_mismatch"
NO_SEQUENCE = "no_sequence"  # symbolic alleles, breakends, * and .
INVALID = "invalid"  # an allele that VCF does not have: -, 0, nothing; or a REF that is not bases
AMBIGUOUS = "ambiguous"  # a letter other than A, C, G, T in an allele
SAME_AS_REF = "same_as_ref"
TOO_LONG = "too_long"  # a change of more than half the window
BEYOND_WINDOW = "beyond_window"  # no two windows of one length and one start hold both alleles whole, so near an end
NOT_SNV = "not_snv"  # for a recipe that reads single substitutions only
UNEQUAL_LENGTH = "unequal_length"  # REF and ALT, where a recipe puts one in the place of the other


class Info(NamedTuple):
    """What a VCF's header says of an INFO key."""

    number: str  # of values: A and R, for each allele without and with REF; G, for each genotype; a number; or "."
    type: str  # Integer, Float, Flag, Character or String


class Header(NamedTuple):
    """Of a VCF: its lines without their ends."""

    meta: list[bytes]  # those that begin with ##
    columns: bytes  # the one that begins with #CHROM
    contigs: dict[str, int]  # lengths in bp, where the file says so
    info: dict[str, Info]  # the INFO keys that are declared
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

    @property
    def end(self) -> int:
        """The last base that an index takes it to reach, 1-based: of REF, or what INFO's END says."""
        said = re.search(rb"(?:^|;)END=(\d{1,18})(?:;|$)", self.columns()[7])
        return max(self.position + len(self.reference) - 1, int(said[1]) if said else 0)


class Mismatch(NamedTuple):
    """A REF that is not what the genome has there."""

    record: Record
    genome: str  # the genome's bases in its place


@dataclass
class Odd:
    """Lines of a kind that a reader goes on after: how many, and what is wrong with the first ones."""

    count: int = 0
    first: list[str] = field(default_factory=list)  # each names file, line and value

    def add(self, what: str) -> None:
        """Count one more."""
        self.count += 1
        if self.count <= NAMED:
            self.first.append(what)


class Summary(NamedTuple):
    """Of all records of a file."""

    records: int
    alleles: int  # alternative ones
    mismatches: int
    sorted: bool  # one stretch of lines for each contig, and positions in order in it
    contigs: dict[str, str | None]  # name in the VCF, in order of appearance -> the genome's name
    last: int  # the last base that a record reaches, 1-based
    unreadable: Odd  # lines that are no records
    invalid: Odd  # records with an allele that VCF does not have


class Haplotypes(NamedTuple):
    """Windows with the alleles of some records that have a score to get.

    Alternative alleles of a record whose windows have one place are a group, and REF in that place comes first in it.
    """

    sequences: list[str]
    group: np.ndarray  # (n,) which group a sequence is of, ascending
    record: np.ndarray  # (n,) which record it is of: row in `status`
    allele: np.ndarray  # (n,) 0 is REF, 1 the first alternative
    status: list[list[str]]  # of each alternative allele of each record


class Change(NamedTuple):
    """Two alleles without what they have in common, in a genome of which they take the place of some bases."""

    position: int  # 0-based
    replaced: int  # bp of the genome
    reference: str
    alternative: str

    @property
    def longest(self) -> int:
        """bp of the longest of the alleles and the genome's own."""
        return max(self.replaced, len(self.reference), len(self.alternative))

    @property
    def drawn_in(self) -> int:
        """bp of the genome that follow a window and that its shortest allele draws into it."""
        return max(self.replaced - min(len(self.reference), len(self.alternative)), 0)

    @property
    def anchor(self) -> int:
        """1 of an insertion or a deletion, which VCF writes with the base before it; 0 of a substitution."""
        return 0 if self.reference and self.alternative else 1


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
            keys = re.findall(r"(?m)^##INFO=<.*?ID=([^,>]+)(.*)", text_above)
            contigs = re.findall(r"(?m)^##contig=(?=<.*?ID=([^,>]+)).*?[<,]length=(\d+)", text_above)
            lengths = {name: int(length) for name, length in contigs}
            return Header(meta, words, lengths, {key: _info(rest) for key, rest in keys}, Position(offset, line + 1))
        else:
            raise InputError(f"{path}:{line}: the header's line '#CHROM' must come here, not {shown(words, SHOWN)}")
    raise InputError(f"{path}: the header of the VCF has no line '#CHROM'")


def _info(fields: str) -> Info:
    """Number and Type among what follows the ID in a line of the header; "." and String where they are missing."""
    described = re.sub(r'"(?:[^"\\]|\\.)*"', "", fields)  # a Description may say anything
    found = dict(re.findall(r"[,<]\s*(Number|Type)=([^,>]+)", described))
    return Info(found.get("Number", ".").strip(), found.get("Type", "String").strip())


def ignore(_: str) -> None:
    """Where nobody asks which lines are no records."""


def read_records(path: Path, unreadable: Callable[[str], object] = ignore) -> Iterator[Record]:
    """Records in the file's order, whatever their alleles are; blank lines are skipped.

    unreadable: called with what [`split_record`] says of each line that is no record, which is left out.

    Raises ValueError naming file and line where the file ends in the middle of a record.
    """
    for line, text in numbered_lines(path, read_header(path).records):
        words = text.rstrip(b"\r\n")
        if not words:
            continue
        try:
            chrom, position, _, reference, alternatives, *_ = split_record(path, line, words)
        except InputError as error:
            if words == text and words.count(b"\t") < COLUMNS - 1:
                raise InputError(f"{error}: the file ends in the middle of it; is it whole?") from None
            unreadable(str(error))
            continue
        alleles = () if alternatives == b"." else tuple(alternatives.decode(errors="replace").split(","))
        yield Record(line, words, chrom.decode(), int(position), reference.decode(errors="replace"), alleles)


def split_record(path: Path, line: int, text: bytes) -> list[bytes]:
    """The first 8 columns of a record; then, in one piece, the rest of the line.

    Raises ValueError naming file, line and value: fewer than 8 columns, a contig without a name, a position that is
    not a whole number >= 0, a NUL byte.
    """
    columns = text.split(b"\t", COLUMNS)
    if len(columns) < COLUMNS:
        raise InputError(f"{path}:{line}: {len(columns)} tab-separated columns where a VCF has {COLUMNS} or more")
    chrom, position = columns[:2]
    if not chrom or not chrom.isascii() or chrom.startswith(b"#"):
        raise InputError(f"{path}:{line}: {shown(chrom, SHOWN)} is not the name of a contig")
    if b"\0" in text:  # at which programs of C end the line
        raise InputError(f"{path}:{line}: a NUL byte in the record")
    if not position.isdigit() or len(position) > 12:
        raise InputError(f"{path}:{line}: {shown(position, SHOWN)} is not a position (a whole number >= 0)")
    return columns


def summarise(
    path: Path, genome: Genome, mismatch: Callable[[Mismatch], None] = lambda _: None, new_key: str = ""
) -> Summary:
    """Read all records once, and compare every REF with the genome; `mismatch` is called for each that differs.

    new_key: what INFO keys begin with that no record may have yet, though the header does not declare them.

    Raises ValueError as [`read_records`], and naming the first line where not one line is a record.
    """
    taken = re.compile(rb"(?:^|;)(%b(?:_\w+)?)(?:=|;|$)" % new_key.encode())
    records = alleles = mismatches = last = 0
    in_order = True
    contigs: dict[str, str | None] = {}
    unreadable, invalid = Odd(), Odd()
    before = ("", 0)
    for chunk in batched(read_records(path, unreadable.add), CHUNK_RECORDS):
        for record in chunk:
            if record.chrom not in contigs:
                contigs[record.chrom] = find_contig(record.chrom, genome.contigs)
            elif record.chrom != before[0] or record.position < before[1]:
                in_order = False
            before = record.chrom, record.position
            records += 1
            alleles += len(record.alternatives)
            if why := invalid_allele(record):
                invalid.add(f"{path}:{record.line}: {why}")
            last = max(last, record.end)
            if new_key and (found := taken.search(record.columns()[7])):
                raise InputError(
                    f"{path}:{record.line}: the INFO key {found[1].decode()} already exists; choose another name for "
                    "the new ones"
                )
        for record, bases in zip(chunk, reference_bases(chunk, genome), strict=True):
            if bases is not None and _CODES.fullmatch(record.reference) and not same_bases(record.reference, bases):
                mismatches += 1
                mismatch(Mismatch(record, bases))
    if unreadable.count and not records:
        raise InputError(unreadable.first[0])
    return Summary(records, alleles, mismatches, in_order, contigs, last, unreadable, invalid)


def invalid_allele(record: Record) -> str | None:
    """What VCF does not have among the alleles of a record: the first, in words."""
    if not _CODES.fullmatch(record.reference):
        return f"REF {shown(record.reference, SHOWN)} is not bases"
    for allele in record.alternatives:
        if not (_CODES.fullmatch(allele) or _WITHOUT_SEQUENCE.fullmatch(allele)):
            return f"ALT {shown(allele, SHOWN)} is neither bases nor a symbol of the VCF format"
    return None


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
    """Whether an allele is what the genome has; an ambiguity code of either agrees with what it may be."""
    allele = letters(allele)
    return allele == genome or (
        len(allele) == len(genome)
        and all(
            one == two or set(IUPAC.get(one, "")) & set(IUPAC.get(two, ""))
            for one, two in zip(allele, genome, strict=True)
        )
    )


def letters(allele: str) -> str:
    """An allele in upper case, with T for U."""
    return allele.upper().replace("U", "T")


def haplotypes(
    records: Sequence[Record],
    genome: Genome,
    window: int,
    swap: bool = False,
    variants: str = "any",
    ends: str = "moved",
) -> Haplotypes:
    """Windows of `window` bp of the genome with each allele in its place.

    A window starts window // 2 before the middle of the bases that are replaced, as `bcftools norm` writes them: see
    [`normalised`]. It is moved, and on contigs that are shorter than `window` made smaller, so that REF's and ALT's
    have one start and one length within their contigs: an insertion pushes bases out at the right end, a deletion draws
    them in. Letters of the genome other than A, C, G, T are N.

    swap: where REF is not the genome's but an alternative allele is, all alleles of the record take the place of that
    one; their status is SWAPPED. Scores are then still those of the record's own REF and ALT.
    variants: which have windows: "any", those "as long as REF", or "SNVs" (as `bcftools norm` writes them).
    ends: a window that goes beyond its contig is "moved" into it; or stays, filled with "N" there; or is "left out".
    """
    status: list[list[str]] = []
    places: list[tuple[int, int, Change, int, int]] = []  # record, allele, change, start and length of the windows
    for row, (record, bases) in enumerate(zip(records, reference_bases(records, genome), strict=True)):
        present, everywhere, state = _present(record, bases, genome, swap)
        states = []
        for number, allele in enumerate(record.alternatives, start=1):
            found = everywhere or _without_window(allele)
            if not found:
                change = _change(record, allele, present, genome)
                length = genome.length(record.chrom)
                start, width = (
                    window_of(change, length, window) if ends == "moved" else (centred(change, window), window)
                )
                found = _unfit(change, start, width, variants) or state
                inside = 0 <= start <= length - width - change.drawn_in
                if ends == "left out" and not inside and found in HAS_SCORE:
                    found = BEYOND_WINDOW
            if found in HAS_SCORE:
                places.append((row, number, change, start, width))
            states.append(found)
        status.append(states)
    # What follows a window in the genome is read with it, as far as a deletion may draw it in.
    drawn_in = (change.drawn_in for _, _, change, _, _ in places)
    chrom = np.array([records[row].chrom for row, *_ in places], dtype=object)
    starts = np.array([start for *_, start, _ in places], dtype=np.int64)
    codes = window_codes(genome, chrom, starts, window + max(drawn_in, default=0))
    groups: dict[tuple[int, int, str], list[tuple[int, str]]] = {}  # record, start, REF's window -> alternative alleles
    for (row, number, change, start, width), span in zip(places, LETTERS["fixed"][codes], strict=True):
        reference, alternative = _in_place(span.tobytes().decode(), start, width, change)
        groups.setdefault((row, start, reference), []).append((number, alternative))
    rows = [
        (group, row, number, sequence)
        for group, ((row, _, reference), alternatives) in enumerate(groups.items())
        for number, sequence in [(0, reference), *alternatives]
    ]
    group, record_row, allele_number = (np.array([own[at] for own in rows], dtype=np.int64) for at in range(3))
    return Haplotypes([sequence for *_, sequence in rows], group, record_row, allele_number, status)


def normalised(genome: Genome, chrom: str, position: int, reference: str, alternative: str) -> Change:
    """Two alleles of which REF is the genome's, without what they have in common: first their ends, then their starts.

    An insertion or a deletion is moved to the left as far as the bases before it allow, as `bcftools norm` does. What
    is neither one nor a substitution stays where it is.

    position: 0-based; alleles: of A, C, G, T, in upper case.
    """
    end = in_common(reference[::-1], alternative[::-1])
    reference, alternative = reference[: len(reference) - end], alternative[: len(alternative) - end]
    start = in_common(reference, alternative)
    position, reference, alternative = position + start, reference[start:], alternative[start:]
    if bool(reference) == bool(alternative):
        return Change(position, len(reference), reference, alternative)
    unit = reference or alternative
    moved = _room_to_the_left(genome, chrom, position, unit)
    turn = len(unit) - moved % len(unit)
    unit = unit[turn:] + unit[:turn]
    return Change(position - moved, len(reference), unit if reference else "", unit if alternative else "")


def in_common(one: str, two: str) -> int:
    """How many letters two texts have in common at their starts."""
    shortest = min(len(one), len(two))
    return next((place for place in range(shortest) if one[place] != two[place]), shortest)


def _room_to_the_left(genome: Genome, chrom: str, position: int, unit: str) -> int:
    """How many bp an insertion or deletion of `unit` can be moved to the left without another sequence coming out."""
    moved, step = 0, SHORT
    while moved < position:
        step = min(2 * step, position - moved)
        bases = genome.fetch(chrom, position - moved - step, position - moved)[::-1]
        turn = moved % len(unit)
        expected = (unit[::-1] * (step // len(unit) + 2))[turn : turn + step]
        same = in_common(bases, expected)
        moved += same
        if same < step:
            break
    return moved


def window_of(change: Change, length: int, window: int) -> tuple[int, int]:
    """Start and length of the windows in which both alleles of a change are read, on a contig of `length` bp.

    They begin window // 2 before the middle of the bases that are replaced, with the base before an insertion or a
    deletion among these.
    """
    shortest = length - change.replaced + min(len(change.reference), len(change.alternative))
    width = min(window, shortest)
    return min(max(centred(change, window), 0), shortest - width), width


def centred(change: Change, window: int) -> int:
    """Start of a window half of which lies before the middle of a change, wherever its contig ends."""
    return change.position - change.anchor + (change.replaced + change.anchor) // 2 - window // 2


def _in_place(span: str, start: int, width: int, change: Change) -> list[str]:
    """The windows with either allele, of the genome's bases from `start` on."""
    before, after = span[: change.position - start], span[change.position - start + change.replaced :]
    return [(before + allele + after)[:width] for allele in (change.reference, change.alternative)]


def _present(record: Record, bases: str | None, genome: Genome, swap: bool) -> tuple[str, str, str]:
    """Of a record: the allele that the genome has, why no allele has a score, and the status of those that have one."""
    reference = record.reference
    if not _CODES.fullmatch(reference):
        return "", INVALID, SCORED
    if bases is None:
        return "", BEYOND_CONTIG if find_contig(record.chrom, genome.contigs) else NO_CONTIG, SCORED
    if not _BASES.fullmatch(reference):
        return "", AMBIGUOUS, SCORED
    if same_bases(reference, bases):
        return reference, "", SCORED
    present = _present_alternative(record, genome) if swap else None
    return present or "", "" if present else REF_MISMATCH, SWAPPED


def _without_window(allele: str) -> str:
    """Why an allele has no sequence to cut a window from."""
    if _WITHOUT_SEQUENCE.fullmatch(allele):
        return NO_SEQUENCE
    if not _CODES.fullmatch(allele):
        return INVALID
    return "" if _BASES.fullmatch(allele) else AMBIGUOUS


def _change(record: Record, allele: str, present: str, genome: Genome) -> Change:
    """REF and an alternative allele in the place of the allele that the genome has."""
    position, reference, alternative = record.position - 1, letters(record.reference), letters(allele)
    if present == record.reference:
        return normalised(genome, record.chrom, position, reference, alternative)
    if present == allele:
        turned = normalised(genome, record.chrom, position, alternative, reference)
        return turned._replace(reference=turned.alternative, alternative=turned.reference)
    return Change(position, len(present), reference, alternative)


def _unfit(change: Change, start: int, width: int, variants: str) -> str:
    """Why a change is not to be read in its windows."""
    lengths = {len(change.reference), len(change.alternative)}
    if change.reference == change.alternative:
        return SAME_AS_REF
    if change.longest + change.anchor > width // 2:
        return TOO_LONG
    if variants == "SNVs" and (lengths != {1} or change.replaced != 1):
        return NOT_SNV
    if variants == "as long as REF" and len(lengths) > 1:
        return UNEQUAL_LENGTH
    return BEYOND_WINDOW if change.position + change.longest > start + width else ""


def _present_alternative(record: Record, genome: Genome) -> str | None:
    """The first alternative allele that the genome has in REF's place."""
    for allele in record.alternatives:
        if _BASES.fullmatch(allele):
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
