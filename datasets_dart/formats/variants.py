"""Single-base variants from tables and VCF, and how their alleles stand to the genome (DART-Eval spec section 6)."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets_dart.alphabet import CODES, LETTERS, N, window_codes
from datasets_dart.errors import InputError
from datasets_dart.files import numbered_lines
from datasets_dart.formats.bed import CHUNK_ROWS, Position
from datasets_dart.formats.fasta import Genome

USED = (("IsUsed", "in_peaks"), ("var.isused",))  # columns that together say what is in the benchmark
LABELS, EFFECTS = ("label", "var.label"), ("beta", "obs.estimate", "obs.beta", "effect")
CHROMBPNET = ("chrombpnet.encsr000emt.variantscore.logfc", "pred.chrombpnet.encsr000emt.varscore.logfc")
NUMERIC = ("pred.", "obs.", "chrombpnet.")  # what the names of columns of numbers begin with
NUMERIC_NAMES = ("pval", "beta", "se", "effect")
TRUE_FALSE = {"true": True, "1": True, "false": False, "0": False, "-1": False}
MISSING = ("", ".", "na", "nan", "none")
BUILDS = ("hg19", "hg38")


class Layout(NamedTuple):
    """Where a file has what. A VCF's columns are those of the text, its INFO keys by name."""

    kind: str  # "caqtl", "dsqtl", "table" or "vcf"
    start: Position  # of the first row
    names: tuple[str, ...]  # of the columns of a table
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
    allele1: np.ndarray  # (n,) str objects, as they stand there
    allele2: np.ndarray  # (n,) str objects
    label: np.ndarray  # (n,) bool or None objects
    used: np.ndarray  # (n,) bool: in the benchmark
    effect: np.ndarray  # (n,) float64, NaN where missing
    chrombpnet: np.ndarray  # (n,) float64, NaN where missing
    extra: np.ndarray  # (n, columns) str objects

    def take(self, rows: np.ndarray) -> "Variants":
        return Variants(*(column[rows] for column in self))

    def name(self, row: int) -> str:
        return f"{self.chrom[row]}:{self.position[row]} {self.allele1[row]}>{self.allele2[row]}"


def read_layout(path: Path, effect: str | None = None, label: str | None = None) -> Layout:
    """Of a VCF, or of a tab-separated table with a header whose first four columns are contig, 1-based position and two
    alleles, whatever they are called. Known are the columns of the published caQTL and dsQTL tables.

    effect, label: names of the columns, or of the VCF's INFO keys, with these.

    Raises ValueError naming file and column where there is no such header, or no such column.
    """
    line, text = next(numbered_lines(path), (1, b""))
    if text.startswith(b"##fileformat=VCF"):
        return _vcf_layout(path, effect, label)
    names = tuple(name.strip() for name in text.decode(errors="replace").lstrip("#").rstrip("\r\n").split("\t"))
    if len(names) < 4 or names[1].isdecimal():
        raise InputError(
            f"{path}:{line}: {text[:60]!r} is neither the header of a tab-separated table (contig, position, two "
            "alleles, ...) nor of a VCF"
        )
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"{path}:{line}: two columns are called {twice!r}")
    for name in filter(None, (effect, label)):
        if name not in names[4:]:
            raise InputError(
                f"{path}:{line}: has no column {name!r} after the first four; it has {', '.join(names[4:])}"
            )
    rest = names[4:]
    label = label or next((name for name in LABELS if name in rest), None)
    effect = effect or next((name for name in EFFECTS if name in rest), None)
    used = next((columns for columns in USED if set(columns) <= set(rest)), ())
    chrombpnet = next((name for name in CHROMBPNET if name in rest), None)
    dsqtl = effect == "obs.estimate" and names[0].startswith("var.")
    kind = "dsqtl" if dsqtl else "caqtl" if names[0] == "chr_hg38" and "IsUsed" in rest else "table"
    build = next((build for build in BUILDS if build in names[0] + names[1]), "hg19" if dsqtl else None)
    taken = {label, *used}
    extra = tuple(name for name in rest if name not in taken)
    start = Position(len(text), line=2)
    return Layout(kind, start, names, label, effect, used, chrombpnet, extra, 1 if dsqtl else 2, build, {})


def _vcf_layout(path: Path, effect: str | None, label: str | None) -> Layout:
    offset = 0
    contigs: dict[str, int] = {}
    for line, text in numbered_lines(path):
        offset += len(text)
        words = text.decode(errors="replace").strip()
        if words.startswith("##contig=<"):
            fields = dict(item.split("=", 1) for item in words[10:].rstrip(">").split(",") if "=" in item)
            if fields.get("length", "").isdecimal():
                contigs[fields.get("ID", "")] = int(fields["length"])
        elif words.startswith("#CHROM\t"):
            start = Position(offset, line=line + 1)
            return Layout("vcf", start, (), label, effect, (), None, ("rsid",), 2, None, contigs)
        elif not words.startswith("##"):
            break
    raise InputError(f"{path}:{line}: the header of the VCF has no line '#CHROM'")


def read_variants(
    path: Path, layout: Layout, rows: int = CHUNK_ROWS, position: Position | None = None
) -> Iterator[tuple[Position, Variants]]:
    """Chunks of about `rows` variants, each with the position at which it can be read again. Blank lines are skipped.

    Raises ValueError naming file, line and value: a row of another number of columns than the header, a position that
    is not a whole number >= 1, a label or flag other than true and false (1, and 0 or -1), an effect or a score that is
    neither a number nor missing (empty, ".", NA, NaN).
    """
    position = position or layout.start
    offset, row = position.offset, position.row
    parsed: list[tuple] = []
    for line, text in numbered_lines(path, position.offset, position.line):
        offset += len(text)
        words = text.decode(errors="replace").rstrip("\r\n").split("\t")
        if words == [""]:
            continue
        parse = _vcf_rows if layout.kind == "vcf" else _table_rows
        for values in parse(path, line, words, layout):
            parsed.append((row, line, *values))
            row += 1
        if len(parsed) >= rows:
            yield position, _variants(parsed)
            position, parsed = Position(offset, line + 1, row), []
    if parsed:
        yield position, _variants(parsed)


def _variants(parsed: Sequence[tuple]) -> Variants:
    *columns, extras = zip(*parsed, strict=True)
    kinds = (np.int64, np.int64, object, np.int64, object, object, object, bool, np.float64, np.float64)
    arrays = [np.array(column, dtype=kind) for column, kind in zip(columns, kinds, strict=True)]
    extra = np.empty((len(parsed), len(extras[0])), dtype=object)
    extra[:] = extras
    return Variants._make([*arrays, extra])


def _table_rows(path: Path, line: int, words: list[str], layout: Layout) -> Iterator[tuple]:
    if len(words) != len(layout.names):
        raise InputError(f"{path}:{line}: {len(words)} columns, but {len(layout.names)} in the header")
    row = dict(zip(layout.names, map(str.strip, words), strict=True))
    chrom, position, allele1, allele2 = (row[name] for name in layout.names[:4])
    label = _flag(path, line, layout.label, row[layout.label]) if layout.label else None
    flags = [_flag(path, line, name, row[name]) for name in layout.used]
    effect = _number(path, line, layout.effect, row[layout.effect]) if layout.effect else math.nan
    score = _number(path, line, layout.chrombpnet, row[layout.chrombpnet]) if layout.chrombpnet else math.nan
    extra = tuple(row[name] for name in layout.extra)
    yield chrom, _position(path, line, position), allele1, allele2, label, all(flags), effect, score, extra


def _vcf_rows(path: Path, line: int, words: list[str], layout: Layout) -> Iterator[tuple]:
    if len(words) < 8:
        raise InputError(f"{path}:{line}: {len(words)} columns where a VCF has 8 or more")
    chrom, position, name, reference, alternatives, _, _, info = words[:8]
    values = dict(item.partition("=")[::2] for item in info.split(";"))
    alleles = alternatives.split(",")
    for place, allele in enumerate(alleles):

        def value(key: str | None, place: int = place) -> str:
            given = values.get(key or "", "").split(",")
            return given[place] if len(given) == len(alleles) else given[0]

        label = _flag(path, line, layout.label, value(layout.label))
        effect = _number(path, line, layout.effect, value(layout.effect))
        yield chrom, _position(path, line, position), reference, allele, label, True, effect, math.nan, (name,)


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
    """The variants with their contigs named as the genome names them: "20" and "chr20" are taken for the same.

    Raises ValueError naming file, line and variant on a contig that the genome does not have, or beyond its end.
    """
    names: dict[str, str] = {}
    for row, chrom in enumerate(variants.chrom.tolist()):
        if chrom not in names:
            other = chrom.removeprefix("chr") if chrom.startswith("chr") else f"chr{chrom}"
            names[chrom] = chrom if chrom in genome.contigs or other not in genome.contigs else other
        length = genome.contigs.get(names[chrom])
        if length is None or variants.position[row] > length:
            why = f"is on a contig that {genome.path} does not have"
            if length is not None:
                why = f"is beyond the end of its contig in {genome.path} ({length} bp)"
            raise InputError(f"{path}:{variants.line[row]}: {variants.name(row)} {why}")
    return variants._replace(chrom=np.array([names[chrom] for chrom in variants.chrom.tolist()], dtype=object))


def single_base(variants: Variants) -> np.ndarray:
    """(n,) bool: whether both alleles are one base, A, C, G or T in either case, and differ."""
    pairs = zip(variants.allele1.tolist(), variants.allele2.tolist(), strict=True)
    return np.array([_base(one) != _base(two) and N not in (_base(one), _base(two)) for one, two in pairs], dtype=bool)


def _base(allele: str) -> int:
    return int(CODES[ord(allele.upper())]) if len(allele) == 1 and allele.isascii() else N


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
    """(n,) uint8 codes 0..3 of both alleles of single-base variants."""
    one, two = (
        np.array([_base(allele) for allele in column.tolist()], dtype=np.uint8)
        for column in (variants.allele1, variants.allele2)
    )
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
