"""Single-base variants from tables and VCF, and which of their alleles the genome has (DART-Eval spec section 6)."""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets_dart.alphabet import CODES, LETTERS, UNKNOWN
from datasets_dart.contigs import BUILDS, check_within, renamed
from datasets_dart.errors import InputError, refuse_rows
from datasets_dart.files import Position, number_of, numbered_lines, row_chunks, shown
from datasets_dart.formats import tables, vcf
from datasets_dart.formats.bed import CHUNK_ROWS
from datasets_dart.formats.fasta import Genome, window_codes

USED = (("isused", "in_peaks"), ("var.isused",))  # columns that together say what is in the benchmark
LABELS, EFFECTS = ("label", "var.label"), ("beta", "obs.estimate", "obs.beta", "effect")
CHROMBPNET = ("chrombpnet.encsr000emt.variantscore.logfc", "pred.chrombpnet.encsr000emt.varscore.logfc")
NUMERIC = ("pred.", "obs.", "chrombpnet.")  # what the names of columns of numbers begin with
NUMERIC_NAMES = ("pval", "beta", "se", "effect")
FROM_0 = ("start", "chromstart", "chrom_start", "pos0", "position0", "start0")  # names of columns that may count so
TRUE_FALSE = {"true": True, "1": True, "false": False, "0": False, "-1": False}
MISSING = ("", ".", "na", "nan", "none")
# The published tables: the columns by which each is known, those that no other table has by accident, and the allele
# that its effects are of.
PUBLISHED = {
    "caqtl": (["chr_hg38", "pos_hg38", "allele1", "allele2", "label", "isused", "in_peaks"], ("isused", "in_peaks"), 2),
    "dsqtl": (
        ["var.chrom", "var.pos", "var.allele1", "var.allele2", "var.label", "var.isused", "obs.estimate"],
        ("var.chrom", "var.pos", "var.allele1", "var.allele2", "var.isused", "obs.estimate"),
        1,
    ),
}
REF, ALT = "ref", "alt"
# What a column of REF or ALT, or of the allele that an effect is of, is called
_REF = re.compile(r"(?:.*[._ -])?(?:ref|reference)(?:[._ -].*|_?allele)?")
_ALT = re.compile(r"(?:.*[._ -])?(?:alt|alternative|alternate)(?:[._ -].*|_?allele)?")
_OF_EFFECT = re.compile(r"(?:.*[._ -])?(?:(?:effect|tested|risk|coded)[._ -]?allele|ea)")


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
    info: dict[str, vcf.Info]  # of a VCF
    effect_of: str = ""  # what says row by row which allele the effect is of: a column; or "ref" or "alt", the genome
    agreeing: tuple[str, ...] = ()  # columns that must name the allele that the effect is taken for


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
    odd: np.ndarray  # (n,) bool: its record has other values than its VCF's header says
    extra: np.ndarray  # (n, columns) str objects

    def take(self, rows: np.ndarray) -> "Variants":
        """The rows at these positions."""
        return Variants._make(column[rows] for column in self)

    def name(self, row: int) -> str:
        """A variant as messages name it."""
        return f"{self.chrom[row]}:{self.position[row]} {self.allele1[row]}>{self.allele2[row]}"


def read_layout(
    path: Path, effect: str | None = None, label: str | None = None, effect_allele: str | None = None
) -> Layout:
    """Of a VCF, or of a tab-separated table with a header whose first four columns are contig, 1-based position and two
    alleles, whatever they are called. Known, by all their columns, are the published caQTL and dsQTL tables.

    effect, label: names of the columns, or of the VCF's INFO keys, with these.
    effect_allele: which allele the effect is of: 1 or 2, by order; "ref" or "alt", which is the genome's base or is
    not; the name of one of the two columns of alleles, or of a column that says in each row which it is. By default
    the published tables and VCFs are known, and the names of the columns of alleles tell of others.

    Raises ValueError naming file and column: no such header, no such column, or INFO key in the header; an effect whose
    allele the header does not say, or a table between two layouts.
    """
    _, text = next(numbered_lines(path), (1, b""))
    if text.startswith(b"##fileformat=VCF"):
        return _vcf_layout(path, effect, label, effect_allele)
    header = tables.read_header(path)
    names = [header.names[0].lstrip("#"), *header.names[1:]]
    header = header._replace(names=names)
    if header.separator != "\t" or len(names) < 4 or names[1].isdecimal():
        raise InputError(
            f"{path}:1: {shown(text, 60)} is neither the header of a tab-separated table (contig, position, two "
            "alleles, ...) nor of a VCF"
        )
    if names[1].lower() in FROM_0:
        raise InputError(
            f"{path}:1: are the positions in column {names[1]!r} counted from 0, as such a column's are in BED, or "
            "from 1? Write them from 1, in a column named pos"
        )
    rest = names[4:]
    for name in filter(None, (effect, label)):
        if name not in rest:
            raise InputError(f"{path}:1: has no column {name!r} after the first four; it has {', '.join(rest)}")
    known = {name.lower(): name for name in rest}
    label = label or _first(known, LABELS)
    effect = effect or _first(known, EFFECTS)
    used = next((tuple(known[name] for name in names) for names in USED if known.keys() >= set(names)), ())
    kind = _published(path, [name.lower() for name in names], effect if effect_allele is None else None)
    allele, effect_of, agreeing = _of_which_allele(path, names, kind, effect, effect_allele)
    build = next((build for build in BUILDS if build in names[0] + names[1]), "hg19" if kind == "dsqtl" else None)
    extra = tuple(name for name in rest if name not in {label, *used})
    return Layout(
        kind,
        header.rows,
        header,
        label,
        effect,
        used,
        _first(known, CHROMBPNET),
        extra,
        allele,
        build,
        {},
        {},
        effect_of,
        agreeing,
    )


def _first(known: dict[str, str], names: Sequence[str]) -> str | None:
    """The first of `names` that a table has, as it writes it."""
    return next((known[name] for name in names if name in known), None)


def _published(path: Path, names: Sequence[str], effect: str | None) -> str:
    """Which table one is, by all its columns; refused is one with an effect that is between two."""
    whole = [kind for kind, (columns, *_) in PUBLISHED.items() if set(columns) <= set(names)]
    if len(whole) == 1:
        return whole[0]
    partly = [kind for kind, (_, marks, _) in PUBLISHED.items() if set(marks) & set(names)]
    if effect is None or not partly:
        return "table"
    kind = partly[0]
    columns, _, allele = PUBLISHED[kind]
    lacks = [name for name in columns if name not in names]
    what = f"lacks {', '.join(lacks)} of it" if lacks else f"has all columns of {' and '.join(whole)}"
    raise InputError(
        f"{path}:1: is neither the published {kind} table, whose effects are of allele {allele}, as it {what}, nor a "
        "table of another kind, whose effects would be of allele 2: say which allele the effect is of (effect_allele)"
    )


def _of_which_allele(
    path: Path, names: Sequence[str], kind: str, effect: str | None, given: str | None
) -> tuple[int, str, tuple[str, ...]]:
    """Of the effect of a table: its allele, what says so row by row, and the columns that must agree."""
    if given in ("1", "2"):
        return int(given), "", ()
    if given in (REF, ALT):
        return 2, given, ()
    if given in names[2:4]:
        return 1 + names[2:4].index(given), "", ()
    if given is not None:
        if given not in names[4:]:
            raise InputError(
                f"{path}:1: effect_allele {given!r}: is none of 1, 2, ref and alt, and no column of alleles; "
                f"it has {', '.join(names[2:])}"
            )
        return 2, given, ()
    if kind in PUBLISHED:
        return PUBLISHED[kind][2], "", ()
    if effect is None:
        return 2, "", ()
    named = tuple(name for name in names[4:] if _OF_EFFECT.fullmatch(name.lower()))
    if named:
        return 2, named[0], named[1:]
    one, two = (name.lower() for name in names[2:4])
    agreeing = tuple(name for name in names[4:] if _ALT.fullmatch(name.lower()))
    for allele, ref, alt in ((2, one, two), (1, two, one)):
        if _REF.fullmatch(ref) and _ALT.fullmatch(alt):
            return allele, "", agreeing
    raise InputError(
        f"{path}:1: which allele is {effect} the effect of, that of column {names[2]!r} or of {names[3]!r}? Say so "
        "(effect_allele: 1, 2, ref, alt or the name of a column)"
    )


def _vcf_layout(path: Path, effect: str | None, label: str | None, effect_allele: str | None) -> Layout:
    found = vcf.read_header(path)
    for what, key in (("effect", effect), ("label", label)):
        if key is not None:
            _check_info(path, what, key, found.info)
    if effect_allele not in (None, "1", "2", REF, ALT):
        raise InputError(f"{path}: effect_allele {effect_allele!r}: in a VCF one of 1, 2, ref and alt")
    allele = 1 if effect_allele in ("1", REF) else 2
    return Layout(
        "vcf", found.records, None, label, effect, (), None, ("rsid",), allele, None, found.contigs, found.info
    )


def _check_info(path: Path, what: str, key: str, info: dict[str, vcf.Info]) -> None:
    """Raise InputError where an INFO key is not in the header, or gives alleles no value of their own."""
    if key not in info:
        there = ", ".join(info) or "none"
        raise InputError(f"{path}: has no INFO key {key!r} in its header; it has {there}")
    number, kind = info[key]
    if what == "effect" and kind not in ("Integer", "Float"):
        raise InputError(f"{path}: INFO key {key} is of type {kind}, and an effect is a number")
    if number not in ("A", "R", ".", "1") and not (what == "label" and kind == "Flag"):
        raise InputError(f"{path}: INFO key {key} has Number={number}, which gives an allele no {what} of its own")


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
    kinds = (np.int64, object, np.int64, object, object, object, bool, np.float64, np.float64, bool)
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
    return (
        line,
        chrom,
        _position(path, line, position),
        allele1,
        allele2,
        label,
        all(flags),
        effect,
        score,
        False,
        extra,
    )


def _vcf_rows(path: Path, line: int, text: bytes, layout: Layout) -> list[tuple[Any, ...]]:
    """The variant of each alternative allele of a record."""
    columns = [column.decode(errors="replace") for column in vcf.split_record(path, line, text)]
    chrom, position, name, reference, alternatives, _, _, info, *_ = columns
    at = _position(path, line, position)
    values: dict[str, str] = {}  # those of a key that occurs twice joined by what no value has, a semicolon
    for key, _, value in (item.partition("=") for item in info.split(";")):
        values[key] = f"{values[key]};{value}" if key in values else value
    alleles = alternatives.split(",")
    rows: list[tuple[Any, ...]] = []
    for place, allele in enumerate(alleles):
        try:
            label = _flag(
                path, line, layout.label, _info_value(values, layout, layout.label, place, len(alleles), True)
            )
            effect = _number(path, line, layout.effect, _info_value(values, layout, layout.effect, place, len(alleles)))
            odd = False
        except InputError:
            label, effect, odd = None, math.nan, True
        rows.append((line, chrom, at, reference, allele, label, True, effect, math.nan, odd, (name,)))
    if any(row[-2] for row in rows):  # what is wrong with one allele's value is the record's
        rows = [(*row[:-2], True, row[-1]) for row in rows]
    return rows


def _info_value(
    values: dict[str, str], layout: Layout, key: str | None, place: int, alleles: int, shared: bool = False
) -> str:
    """What a record says of an alternative allele under a key, by the key's Number; empty where it says nothing.

    shared: whether one value for a record is that of each of its alleles.

    Raises ValueError where there are other values than the header says, or one for several alleles.
    """
    if key is None or (key not in values and layout.info[key].type != "Flag"):
        return ""
    number, kind = layout.info[key]
    if kind == "Flag":
        return str(int(key in values))
    given = values[key].split(",")
    if ";" in values[key]:
        raise InputError(f"{key} occurs twice")
    if given == ["."]:
        return ""
    expected = {"A": alleles, "R": alleles + 1, "1": 1}.get(number, alleles)
    if len(given) != expected or (number == "1" and alleles > 1 and not shared):
        raise InputError(f"{len(given)} values of {key} where there are {expected}")
    return given[0] if number == "1" else given[place + (number == "R")]


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
        value = number_of(text)
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


def allele_of(path: Path, variants: Variants, layout: Layout) -> np.ndarray:
    """(n,) int8: 1 or 2, the allele of each effect by the column that says so, and 0 where the effect is missing.

    Raises ValueError naming file, line and value that is neither of the alleles, nor 1 or 2.
    """
    texts = [text.upper() for text in variants.extra[:, layout.extra.index(layout.effect_of)].tolist()]
    alleles = zip(variants.allele1.tolist(), variants.allele2.tolist(), texts, strict=True)
    own = np.array([1 if t in (a.upper(), "1") else 2 if t in (b.upper(), "2") else 0 for a, b, t in alleles], np.int8)
    bad = (own == 0) & ~np.isnan(variants.effect)
    refuse_rows(
        path,
        variants.line,
        bad,
        lambda row: f"{layout.effect_of} is {texts[row]!r}, neither allele of {variants.name(row)}",
    )
    return np.where(np.isnan(variants.effect), 0, own)


def check_agreeing(path: Path, variants: Variants, layout: Layout) -> None:
    """Raise ValueError naming file, line and columns where another column names another allele than the effect's."""
    if not layout.agreeing or layout.effect is None:
        return
    if layout.effect_of:
        own = allele_of(path, variants, layout)
    else:
        own = np.full(len(variants.id), layout.effect_allele, dtype=np.int8)
    expected = np.where(own == 1, variants.allele1, variants.allele2)
    counted = (own > 0) & ~np.isnan(variants.effect)
    for name in layout.agreeing:
        texts = variants.extra[:, layout.extra.index(name)]
        bad = [
            _base(text) < UNKNOWN and _base(text) != _base(mine)
            for text, mine in zip(texts.tolist(), expected.tolist(), strict=True)
        ]
        rows = np.flatnonzero(counted & np.array(bad, dtype=bool)).tolist()
        for row in rows:
            raise InputError(
                f"{path}:{variants.line[row]}: {variants.name(row)}: {layout.effect} would be the effect of "
                f"{expected[row]}, but {name} is {texts[row]}: name the column of its allele (effect_allele)"
            )


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
