"""Single-base variants from tables and VCF, and which of their alleles the genome has (DART-Eval spec section 6)."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets_dart.alphabet import CODES, LETTERS, UNKNOWN
from datasets_dart.contigs import BUILDS, check_within, renamed
from datasets_dart.errors import InputError
from datasets_dart.files import Position, numbered_lines, row_chunks, shown
from datasets_dart.formats import tables, vcf
from datasets_dart.formats.bed import CHUNK_ROWS
from datasets_dart.formats.fasta import Genome, window_codes

USED = (("IsUsed", "in_peaks"), ("var.isused",))  # columns that together say what is in the benchmark
LABELS, EFFECTS = ("label", "var.label"), ("beta", "obs.estimate", "obs.beta", "effect")
CHROMBPNET = ("chrombpnet.encsr000emt.variantscore.logfc", "pred.chrombpnet.encsr000emt.varscore.logfc")
NUMERIC = ("pred.", "obs.", "chrombpnet.")  # what the names of columns of numbers begin with
NUMERIC_NAMES = ("pval", "beta", "se", "effect")
TRUE_FALSE = {"true": True, "1": True, "false": False, "0": False, "-1": False}
MISSING = ("", ".", "na", "nan", "none")


class Layout(NamedTuple):
    """Where a file has what. A VCF's columns are those of the text, its INFO keys by name."""

    kind: str  # "caqtl", "dsqtl", "table" or "vcf"
    start: Position  # of the first row
    header: tables.Header | None  # of a table
    label: str | None  # column, or INFO key, and so on
    effect: str | None
    used: tuple[str, ...]
    chrombpnet: str | None
    extra: tuple[str, ...]  # the other columns, kept as they are
    effect_allele: int  # which allele a positive effect, or a positive ChromBPNet score, speaks for: 1 or 2
    build: str | None  # of the genome, where the file says so
    contigs: dict[str, int]  # lengths in bp, where the file says so


class Variants(NamedTuple):
    """Rows of a file, one entry each; a record of a VCF has one for each alternative allele."""

    id: np.ndarray  # (n,) int64, counted from 0
    line: np.ndarray  # (n,) int64, line of the file
    chrom: np.ndarray  # (n,) str objects
    position: np.ndarray  # (n,) int64, 1-based
    allele1: np.ndarray  # (n,) str objects, as written there
    allele2: np.ndarray  # (n,) str objects
    label: np.ndarray  # (n,) bool or None objects
    used: np.ndarray  # (n,) bool: in the benchmark
    effect: np.ndarray  # (n,) float64, NaN where missing
    chrombpnet: np.ndarray  # (n,) float64, NaN where missing
    extra: np.ndarray  # (n, columns) str objects

    def take(self, rows: np.ndarray) -> "Variants":
        """The rows at these positions."""
        return Variants._make(column[rows] for column in self)

    def name(self, row: int) -> str:
        """A variant as messages name it."""
        return f"{self.chrom[row]}:{self.position[row]} {self.allele1[row]}>{self.allele2[row]}"


def read_layout(path: Path, effect: str | None = None, label: str | None = None) -> Layout:
    """Of a VCF, or of a tab-separated table with a header whose first four columns are contig, 1-based position and two
    alleles, whatever they are called. Known are the columns of the published caQTL and dsQTL tables.

    effect, label: names of the columns, or of the VCF's INFO keys, with these.

    Raises ValueError naming file and column where there is no such header, or no such column.
    """
    _, text = next(numbered_lines(path), (1, b""))
    if text.startswith(b"##fileformat=VCF"):
        found = vcf.read_header(path)
        return Layout("vcf", found.records, None, label, effect, (), None, ("rsid",), 2, None, found.contigs)
    header = tables.read_header(path)
    names = [header.names[0].lstrip("#"), *header.names[1:]]
    header = header._replace(names=names)
    if header.separator != "\t" or len(names) < 4 or names[1].isdecimal():
        raise InputError(
            f"{path}:1: {shown(text, 60)} is neither the header of a tab-separated table (contig, position, two "
            "alleles, ...) nor of a VCF"
        )
    rest = names[4:]
    for name in filter(None, (effect, label)):
        if name not in rest:
            raise InputError(f"{path}:1: has no column {name!r} after the first four; it has {', '.join(rest)}")
    label = label or next((name for name in LABELS if name in rest), None)
    effect = effect or next((name for name in EFFECTS if name in rest), None)
    used = next((columns for columns in USED if set(columns) <= set(rest)), ())
    chrombpnet = next((name for name in CHROMBPNET if name in rest), None)
    dsqtl = effect == "obs.estimate" and names[0].startswith("var.")
    kind = "dsqtl" if dsqtl else "caqtl" if names[0] == "chr_hg38" and "IsUsed" in rest else "table"
    build = next((build for build in BUILDS if build in names[0] + names[1]), "hg19" if dsqtl else None)
    extra = tuple(name for name in rest if name not in {label, *used})
    return Layout(kind, header.rows, header, label, effect, used, chrombpnet, extra, 1 if dsqtl else 2, build, {})


def read_variants(
    path: Path, layout: Layout, rows: int = CHUNK_ROWS, position: Position | None = None
) -> Iterator[tuple[Position, Variants]]:
    """Chunks of about `rows` variants, each with the position at which it can be read again. Blank lines are skipped.

    Raises ValueError naming file, line and value: a row of another number of columns than the header, a position that
    is not a whole number >= 1, a label or flag other than true and false (1, and 0 or -1), an effect or a score that is
    neither a number nor missing (empty, ".", NA, NaN).
    """

    def parse(line: int, text: bytes) -> list[tuple[Any, ...]]:
        if not text.rstrip(b"\r\n"):
            return []
        if layout.header is None:
            return _vcf_rows(path, line, text.rstrip(b"\r\n"), layout)
        return [_table_row(path, line, tables.row_of(path, line, text, layout.header), layout)]

    for at, chunk in row_chunks(path, rows, parse, position or layout.start):
        yield at, _variants(at.row, chunk)


def _variants(first: int, parsed: Sequence[tuple[Any, ...]]) -> Variants:
    *columns, extras = zip(*parsed, strict=True)
    kinds = (np.int64, object, np.int64, object, object, object, bool, np.float64, np.float64)
    arrays = [np.array(column, dtype=kind) for column, kind in zip(columns, kinds, strict=True)]
    extra = np.empty((len(parsed), len(extras[0])), dtype=object)
    extra[:] = extras
    return Variants._make([first + np.arange(len(parsed)), *arrays, extra])


def _table_row(path: Path, line: int, row: dict[str, str], layout: Layout) -> tuple[Any, ...]:
    chrom, position, allele1, allele2 = list(row.values())[:4]
    label = _flag(path, line, layout.label, row[layout.label]) if layout.label else None
    flags = [_flag(path, line, name, row[name]) for name in layout.used]
    effect = _number(path, line, layout.effect, row[layout.effect]) if layout.effect else math.nan
    score = _number(path, line, layout.chrombpnet, row[layout.chrombpnet]) if layout.chrombpnet else math.nan
    extra = tuple(row[name] for name in layout.extra)
    return line, chrom, _position(path, line, position), allele1, allele2, label, all(flags), effect, score, extra


def _vcf_rows(path: Path, line: int, text: bytes, layout: Layout) -> list[tuple[Any, ...]]:
    """The variant of each alternative allele of a record."""
    columns = [column.decode(errors="replace") for column in vcf.split_record(path, line, text)]
    chrom, position, name, reference, alternatives, _, _, info, *_ = columns
    at = _position(path, line, position)
    values = dict(item.partition("=")[::2] for item in info.split(";"))
    alleles = alternatives.split(",")

    def value(key: str | None, place: int) -> str:
        given = values.get(key or "", "").split(",")
        return given[place] if len(given) == len(alleles) else given[0]

    rows: list[tuple[Any, ...]] = []
    for place, allele in enumerate(alleles):
        label = _flag(path, line, layout.label, value(layout.label, place))
        effect = _number(path, line, layout.effect, value(layout.effect, place))
        rows.append((line, chrom, at, reference, allele, label, True, effect, math.nan, (name,)))
    return rows


def _position(path: Path, line: int, text: str) -> int:
    if not text.isdecimal() or len(text) > 12 or int(text) < 1:
        raise InputError(f"{path}:{line}: {text!r} is not a position (a whole number >= 1)")
    return int(text)


def _flag(path: Path, line: int, name: str | None, text: str) -> bool | None:
    if text.lower() in MISSING:
        return None
    if text.lower() not in TRUE_FALSE:
        raise InputError(f"{path}:{line}: {name} is {text!r}, not True or False, nor 1, 0 or -1")
    return TRUE_FALSE[text.lower()]


def _number(path: Path, line: int, name: str | None, text: str) -> float:
    if text.lower() in MISSING:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.inf
    if math.isinf(value):
        raise InputError(f"{path}:{line}: {name} is {text!r}, not a number")
    return value


def is_numeric(name: str, layout: Layout) -> bool:
    """Whether a column of a table holds numbers, by its name or its role."""
    return name.startswith(NUMERIC) or name in NUMERIC_NAMES or name == layout.effect


def numbers(path: Path, variants: Variants, layout: Layout, name: str) -> np.ndarray:
    """(n,) float64 of an extra column, NaN where missing; raises ValueError naming file, line and value."""
    column = layout.extra.index(name)
    texts = zip(variants.line.tolist(), variants.extra[:, column].tolist(), strict=True)
    return np.array([_number(path, line, name, text) for line, text in texts])


def on_contigs(path: Path, variants: Variants, genome: Genome) -> Variants:
    """The variants with their contigs named as the genome names them.

    Raises ValueError naming file, line and variant on a contig that the genome does not have, or beyond its end.
    """
    chrom = renamed(variants.chrom, genome.contigs)
    check_within(path, variants.line, chrom, variants.position, genome.contigs, variants.name, genome.path)
    return variants._replace(chrom=chrom)


def single_base(variants: Variants) -> np.ndarray:
    """(n,) bool: whether both alleles are one base, A, C, G or T in either case, and differ."""
    one, two = allele_codes(variants)
    return np.asarray((one != two) & (one != UNKNOWN) & (two != UNKNOWN))


def _base(allele: str) -> int:
    return int(CODES[ord(allele)]) if len(allele) == 1 and allele.isascii() else UNKNOWN


def reference_bases(variants: Variants, genome: Genome) -> np.ndarray:
    """(n,) uint8 `CODES` of the genome at the variants."""
    return window_codes(genome, variants.chrom, variants.position - 1, 1)[:, 0]


def reference_allele(variants: Variants, reference: np.ndarray, protocol: str) -> np.ndarray:
    """(n,) int8: which allele is the genome's base: 1, 2, or 0 for neither. reference: (n,) `CODES` of that base.

    protocol="paper" compares letters as the original does, so that an allele in lower case is never the genome's.
    """
    allele1, allele2 = allele_codes(variants)
    if protocol == "paper":
        for column, codes in ((variants.allele1, allele1), (variants.allele2, allele2)):
            codes[[allele != allele.upper() for allele in column.tolist()]] = 255
    return np.select([reference == allele1, reference == allele2], [1, 2], 0).astype(np.int8)


def allele_codes(variants: Variants) -> tuple[np.ndarray, np.ndarray]:
    """(n,) uint8 base codes of both alleles, UNKNOWN for one that is not a single base."""
    columns = variants.allele1.tolist(), variants.allele2.tolist()
    one, two = (np.array([_base(allele) for allele in column], dtype=np.uint8) for column in columns)
    return one, two


def allele_windows(variants: Variants, genome: Genome, window: int, protocol: str) -> tuple[np.ndarray, np.ndarray]:
    """Windows with either allele: two (n, window) uint8 arrays of ASCII codes; the variant is at index window // 2.

    A base that is none of A, C, G, T, or lies off the contig, is N; in protocol="paper" it is written as A.
    """
    codes = window_codes(genome, variants.chrom, variants.position - 1 - window // 2, window)
    both = []
    for alleles in allele_codes(variants):
        codes[:, window // 2] = alleles
        both.append(LETTERS[protocol][codes])
    return both[0], both[1]
