"""Task 5: the two alleles of variants that change chromatin accessibility, and controls (DART-Eval spec section 6)."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import datasets
import numpy as np
import pyarrow as pa

from datasets_dart.alphabet import LETTERS, UNKNOWN, arrow_strings, one_hot_letters
from datasets_dart.base import DartBuilder, DartConfig, Shards, chunks_at, deal, file_input, option
from datasets_dart.contigs import check_same_build, genome_build, numbers_of
from datasets_dart.duplicates import Compared
from datasets_dart.errors import InputError, refuse_rows
from datasets_dart.files import Position, input_file, replacing
from datasets_dart.formats.fasta import Genome, open_genome
from datasets_dart.formats.hdf5 import open_hdf5
from datasets_dart.formats.variants import (
    ALT,
    PUBLISHED,
    REF,
    Layout,
    Variants,
    allele_codes,
    allele_of,
    allele_windows,
    check_agreeing,
    is_numeric,
    numbers,
    on_contigs,
    read_layout,
    read_variants,
    reference_allele,
    reference_bases,
    single_base,
)
from datasets_dart.splits import FOLDS, PAPER, SPLITS, Blocks, assign_windows, read_splits

WINDOW = 2114  # bp, as published
MISMATCHES = ("skip", "refuse", "keep")
OTHER_BUILD = 1 / 3  # of variants with neither allele in the genome; about a half where their build is another
EXAMPLES = 3  # mismatches that a report names
ODD = "with other values than the header says, left out"
AS_GIVEN, BY_REFERENCE = ORIENTATIONS = ("as-given", "by-reference")
CLEAR = 2.0  # standard errors, by Fisher's z, from which a correlation has a sign
THREADS = (
    "github.com/kundajelab/DART-Eval/issues/14, github.com/google-deepmind/alphagenome/issues/45, "
    "github.com/Open-Athena/marin-dna/pull/214 and 245"
)
HDF5_GROUPS = {"caqtl": "Afr.CaQTLS.tsv", "dsqtl": "yoruban.dsqtls.benchmarking.tsv"}
HDF5_ALLELES = ("allele_1_seqs", "allele_2_seqs")


@dataclass
class VariantEffectsConfig(DartConfig):
    """Inputs and options of task 5; see `datasets_dart.load_dart`."""

    ONE_OF: ClassVar[tuple[str, ...]] = ("genome", "processed")
    WITHOUT_COORDINATES: ClassVar[tuple[str, ...]] = ()  # which `variants` has
    FOLDED: ClassVar[tuple[str, ...] | None] = ()

    genome: str = file_input("FASTA: plain, gzip or bgzip")
    variants: str = file_input("table or VCF")
    effect: str | None = option(None, "column of the effect, or INFO key")
    label: str | None = option(None, "column of the label, or INFO key")
    effect_allele: str | None = option(None, "which allele the effect is of: 1, 2, ref, alt, or a column that says so")
    effect_orientation: str | None = option(
        None,
        "of effects of a published table: as-given, of one allele in all rows; or by-reference, of the genome's other",
    )
    mismatch: str | None = option(None, "a variant neither of whose alleles is the genome's base: skip, refuse or keep")
    window: int = option(WINDOW, "bp, where not as published")

    def __post_init__(self) -> None:
        super().__post_init__()
        paper = self.protocol == "paper"
        if self.processed and self.window != WINDOW:
            raise InputError(f"window={self.window}: {self.processed} has windows of {WINDOW} bp")
        self.mismatch = self.mismatch or ("keep" if paper else "skip")
        if self.mismatch not in MISMATCHES or (paper and self.mismatch != "keep"):
            raise InputError(f'mismatch={self.mismatch!r}: one of {", ".join(MISMATCHES)}; keep in protocol="paper"')
        if self.effect_orientation not in (None, *ORIENTATIONS):
            raise InputError(f"effect_orientation={self.effect_orientation!r}: one of {', '.join(ORIENTATIONS)}")
        given = [name for name in ("effect_allele", "effect_orientation") if getattr(self, name) is not None]
        if given and paper:
            raise InputError(
                f'{given[0]}={getattr(self, given[0])!r}: protocol="paper" takes effects as the original does'
            )
        if len(given) > 1:
            raise InputError("effect_allele and effect_orientation say the same of different tables: give one of them")


class Checked(NamedTuple):
    """Single-base variants of a chunk, and how they compare with the genome."""

    variants: Variants
    reference_allele: np.ndarray  # (n,) int8: which allele is the genome's base: 1, 2, 0 for neither, -1 for unknown
    base: np.ndarray  # (n,) uint8 `CODES` of the genome there

    def take(self, rows: np.ndarray) -> "Checked":
        """The rows at these positions."""
        return Checked(self.variants.take(rows), self.reference_allele[rows], self.base[rows])

    def mismatches(self) -> Iterator[tuple[int, str]]:
        """(line, what is wrong) of each variant neither of whose alleles is the genome's base."""
        for row in np.flatnonzero(self.reference_allele == 0).tolist():
            yield int(self.variants.line[row]), f"{self.variants.name(row)}, genome {'ACGTN'[self.base[row]]}"


def check_alleles(path: Path, chunk: Variants, genome: Genome | None, protocol: str) -> Checked:
    """The single-base variants of a chunk against the genome, their contigs named as it names them.

    Raises ValueError naming file, line and variant that is not within the genome; in protocol="paper" also one that is
    not a change of one base, or whose window starts before its contig: the original fails on both.
    """
    chunk = chunk.take(np.flatnonzero(~chunk.odd))
    one_base = single_base(chunk)
    early = chunk.position <= WINDOW // 2
    if protocol == "paper":
        what = 'is not a change of one base (protocol="paper")'
        refuse_rows(path, chunk.line, ~one_base, lambda row: f"{chunk.name(row)} {what}")
        where = 'has a window that starts before its contig (protocol="paper")'
        refuse_rows(path, chunk.line, early, lambda row: f"{chunk.name(row)} {where}")
    chunk = chunk.take(np.flatnonzero(one_base))
    if genome is None:
        return Checked(
            chunk, np.full(len(chunk.id), -1, dtype=np.int8), np.full(len(chunk.id), UNKNOWN, dtype=np.uint8)
        )
    chunk = on_contigs(path, chunk, genome)
    base = reference_bases(chunk, genome)
    return Checked(chunk, reference_allele(chunk, base, protocol), base)


class Agreement(NamedTuple):
    """Pearson correlation of effects with the ChromBPNet scores of their table, over positive variants."""

    r: float  # NaN of fewer than 4
    n: int

    @property
    def sign(self) -> int:
        """1 or -1 where it is clear; 0 where it is not."""
        if self.n < 4 or np.isnan(self.r):
            return 0
        errors = np.arctanh(np.clip(self.r, -1 + 1e-12, 1 - 1e-12)) * np.sqrt(self.n - 3)
        return 0 if abs(errors) < CLEAR else int(np.sign(errors))

    def __str__(self) -> str:
        return f"{self.r:.2f} (n {self.n})"


def agreement(effect: np.ndarray, score: np.ndarray) -> Agreement:
    """Of those of (n,) effects and (n,) scores that are there."""
    there = ~(np.isnan(effect) | np.isnan(score))
    varied = there.sum() > 3 and np.ptp(effect[there]) > 0 and np.ptp(score[there]) > 0
    return Agreement(float(np.corrcoef(effect[there], score[there])[0, 1]) if varied else np.nan, int(there.sum()))


def duplicates(chrom: np.ndarray, position: np.ndarray, alleles: np.ndarray, used: np.ndarray) -> np.ndarray:
    """(n,) bool: whether a variant is the same as another, its alleles in either order, that is kept in its stead: the
    first in the benchmark or, if none is, the first.

    chrom: (n,) numbers of contigs; position: (n,); alleles: (n, 2) codes 0..3; used: (n,) bool, in the benchmark.
    """
    low, high = np.sort(alleles, axis=1).T.astype(np.int64)
    key = (chrom.astype(np.int64) << 40) + (position << 4) + (low << 2) + high
    order = np.lexsort((np.arange(len(key)), ~used, key))
    again = np.zeros(len(key), dtype=bool)
    again[order[1:]] = key[order[1:]] == key[order[:-1]]
    return again


def contradictions(key: np.ndarray, again: np.ndarray, effect: np.ndarray, label: np.ndarray, first: np.ndarray) -> int:
    """How many duplicates have another label than the variant that is kept or, with alleles in its order, another
    effect.

    key: (n, columns), the same of duplicates; again: (n,) bool, as of [`duplicates`]; first: (n,) code of allele 1.
    """
    wanted = set(map(tuple, key[again].tolist()))
    rows = np.flatnonzero(~again).tolist() if wanted else []
    kept = {found: row for row in rows if (found := tuple(key[row].tolist())) in wanted}
    count = 0
    for row in np.flatnonzero(again).tolist():
        other = kept[tuple(key[row].tolist())]
        same = np.array_equal(effect[[row]], effect[[other]], equal_nan=True) or first[row] != first[other]
        count += not same or label[row] != label[other]
    return count


def window_splits(
    variants: Variants, blocks: dict[str, Blocks] | None, genome: Genome | None, window: int
) -> np.ndarray:
    """(n,) int8 index into SPLITS of what holds the whole window, as far as it is on its contig; -1 for none.

    Without blocks, as published, all are for testing.
    """
    if blocks is None:
        return np.full(len(variants.id), SPLITS.index("test"), dtype=np.int8)
    contigs = {} if genome is None else genome.contigs
    return assign_windows(blocks, variants.chrom, variants.position - 1 - window // 2, window, contigs)


def list_mismatches(variants: str, genome: str, output: str | os.PathLike[str]) -> tuple[int, int]:
    """Write a table of line and variant of all variants neither of whose alleles is the genome's base.

    Returns how many variants there are, and how many of them are in the table.
    """
    path, opened = input_file(variants), open_genome(genome)
    total = found = 0
    with replacing(output) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write("line\tvariant\n")
        for _, chunk in read_variants(path, read_layout(path, effect_allele="2")):
            total += len(chunk.id)
            for line, what in check_alleles(path, chunk, opened, "fixed").mismatches():
                file.write(f"{line}\t{what}\n")
                found += 1
    return total, found


class VariantEffects(DartBuilder):
    """Windows with either allele of each variant; some 30 bytes of each are kept to find duplicates."""

    VERSION = datasets.Version("1.2.0")
    BUILDER_CONFIG_CLASS = VariantEffectsConfig
    NEEDS = (("genome", "variants"), ("processed", "variants"))
    SEQUENCES = 2

    DESCRIPTION = """\
Task 5 of DART-Eval: a window with either allele of each variant. A model that knows regulatory DNA scores the two
differently where the variant changes chromatin accessibility (`label`), and in the measured direction (`effect`).
`position` is 1-based; `id` is the row of the variant file; `used` says what is in the benchmark. Variants:
{config.source}. Protocol: {config.protocol}; a positive effect, or ChromBPNet score, favours allele
{task.effect_allele}. Rows: {report}."""

    def columns(self) -> dict[str, Any]:
        """Names and types of the columns."""
        columns = {
            "id": "int64",
            "chrom": "string",
            "position": "int64",
            "allele1": "string",
            "allele2": "string",
            "sequence1": "string",
            "sequence2": "string",
            "label": "bool",
            "effect": "float64",
            "used": "bool",
            "reference_allele": "int8",
            "effect_allele": "int8",
        }
        if self.layout.chrombpnet:
            columns["chrombpnet_logfc"] = "float64"
        for name in self.layout.extra:  # under its own name, unless that is taken
            kind = "float64" if is_numeric(name, self.layout) else "string"
            columns[f"table.{name}" if name in columns else name] = kind
        return columns

    def compared(self) -> Compared:
        """Both alleles of a variant, in whichever order."""
        return Compared(sequences=("sequence1", "sequence2"))

    @cached_property
    def layout(self) -> Layout:
        """Which columns of the configured table hold what."""
        config = self.config
        return read_layout(input_file(config.variants), config.effect, config.label, config.effect_allele)

    @cached_property
    def reference(self) -> Genome | None:
        """The genome, unless the windows are the original's; raises ValueError where it is of another build."""
        if self.config.processed:
            return None
        genome, path = self.genome, input_file(self.config.variants)
        check_same_build(path, self.layout.contigs, genome.contigs, genome.path)
        build = genome_build(genome.path, genome.contigs)
        if self.layout.build and build and self.layout.build != build:
            raise InputError(f"{path}: its positions are on {self.layout.build}, but {genome.path} is {build}")
        return genome

    @cached_property
    def split_blocks(self) -> dict[str, Blocks] | None:
        """Blocks, or None for the published split, in which all variants are for testing."""
        splits = self.config.splits
        names = [f"chr{name}" for name in (*range(1, 23), "X", "Y")] if splits == FOLDS else ()
        contigs = self.reference.contigs if self.reference else names
        return None if splits == PAPER else read_splits(splits, contigs)

    @property
    def effect_allele(self) -> int:
        """The allele that a positive effect favours."""
        return 2 if self.config.protocol == "fixed" else self.layout.effect_allele

    def shards(self, report: Counter[str]) -> tuple[Shards, dict[str, Any]]:
        """Where the chunks of each split start, and the ids of duplicates.

        Raises ValueError: see `check_alleles`; naming the first mismatch with mismatch="refuse"; where a third of the
        variants have neither allele in the genome, or none is left.
        """
        config, path = self.config, input_file(self.config.variants)
        shards: Shards = {}
        in_splits: Counter[str] = Counter()
        contigs: dict[str, int] = {}
        seen: list[tuple[np.ndarray, ...]] = []
        examples: list[str] = []
        odd: list[str] = []
        mismatches = 0
        for position, chunk in read_variants(path, self.layout, self.chunk_rows):
            here = check_alleles(path, chunk, self.reference, config.protocol)
            report["in the file"] += len(chunk.id)
            report[ODD] += int(chunk.odd.sum())
            if chunk.odd.any() and len(odd) < EXAMPLES:
                odd += [f"line {line}" for line in np.unique(chunk.line[chunk.odd])[: EXAMPLES - len(odd)].tolist()]
            report["not a change of one base, left out"] += int((~chunk.odd).sum()) - len(here.variants.id)
            report["with allele 2 as the genome's base"] += int((here.reference_allele == 2).sum())
            for line, what in here.mismatches():
                mismatches += 1
                if config.mismatch == "refuse":
                    raise InputError(f'{path}:{line}: neither allele is the genome\'s base: {what} (mismatch="refuse")')
                if len(examples) < EXAMPLES:
                    examples.append(f"line {line}: {what}")
            here = self._kept(here)
            variants = here.variants
            check_agreeing(path, variants, self.layout)
            other = self._other_allele(here)
            code = window_splits(variants, self.split_blocks, self.reference, config.window)
            report["in no split, left out"] += int((code < 0).sum())
            deal(code, position, shards, in_splits)
            kept = np.flatnonzero(code >= 0)
            variants, other = variants.take(kept), other[kept]
            chroms = numbers_of(variants.chrom, contigs)
            alleles = np.stack(allele_codes(variants), axis=1)
            label = np.array([-1 if value is None else value for value in variants.label.tolist()], dtype=np.int8)
            columns = chroms, variants.position, alleles, variants.used, variants.id, label, variants.effect
            seen.append((*columns, variants.chrombpnet, other))
        total = report["in the file"]
        if mismatches > total * OTHER_BUILD and config.protocol == "fixed":
            raise InputError(
                f"{path}: {mismatches} of {total} variants have neither allele in {config.genome}, "
                f"which may be of another build, or the positions counted from 0 ({'; '.join(examples)})"
            )
        if mismatches:
            left_out = ", left out" if config.mismatch == "skip" else ""
            report[f"with neither allele in the genome{left_out} ({'; '.join(examples)})"] = mismatches
        if not shards:
            raise InputError(f"{path}: no variant is left in a split ({config.splits}): {dict(report)}")
        chroms, positions, alleles, used, ids, label, effect, chrombpnet, other = (
            np.concatenate(columns) for columns in zip(*seen, strict=True)
        )
        if odd:
            report[f"{ODD} ({', '.join(odd)})"] = report.pop(ODD)
        again = duplicates(chroms, positions, alleles, used) & (config.protocol == "fixed")
        report["are duplicates, left out"] = int(again.sum())
        report["duplicates with another effect or label than the one that is kept"] = contradictions(
            np.stack([chroms, positions, *np.sort(alleles, axis=1).T], axis=1), again, effect, label, alleles[:, 0]
        )
        if config.processed:
            self._check_hdf5(total)
        if self.layout.effect:
            report[f"without a value of {self.layout.effect}, kept"] = int((~again & np.isnan(effect)).sum())
        report["are kept"] = int((~again).sum())
        report["of these in the benchmark"] = int((used & ~again).sum())
        for name, value in (("positive", 1), ("controls", 0)):
            report[f"{name} in the benchmark"] = int((used & ~again & (label == value)).sum())
        report["positive without an effect"] = int((used & ~again & (label == 1) & np.isnan(effect)).sum())
        positive = (label == 1) if (label >= 0).any() else np.ones(len(label), dtype=bool)
        turn = self._turns(report, effect, chrombpnet, positive & ~again, other)
        return shards, {"repeated": ids[again], "turn": turn}

    def _other_allele(self, here: Checked) -> np.ndarray:
        """(n,) int8: 1 where an effect is of the other allele than the layout says, 0 where it is not, -1 unknown.

        By a column that says so; or if it is of the allele that the genome does not have (with effect_allele "ref",
        that it has); or, without a genome, if the original's data.h5 has it with the other sign.
        """
        layout, variants = self.layout, here.variants
        if layout.effect_of not in ("", REF, ALT):
            own = allele_of(input_file(self.config.variants), variants, layout)
        elif self.config.processed:
            return self._turned_in_hdf5(variants)
        else:
            genome = here.reference_allele
            own = np.where(genome > 0, genome if layout.effect_of == REF else 3 - genome, 0)
        return np.where(own > 0, own != layout.effect_allele, -1).astype(np.int8)

    def _turned_in_hdf5(self, variants: Variants) -> np.ndarray:
        """(n,) int8: 1 where effect_size of the original's data.h5 is that of the table with the other sign, else 0; -1
        where it has none."""
        with open_hdf5(self.config.processed) as file:
            group = file.get(HDF5_GROUPS.get(self.layout.kind, ""), {})
            if "effect_size" not in group:
                return np.full(len(variants.id), -1, dtype=np.int8)
            there = np.asarray(group["effect_size"][variants.id], dtype=np.float64)
        turned: np.ndarray = np.isclose(there, -variants.effect, rtol=1e-5) & (variants.effect != 0)
        return turned.astype(np.int8)

    def _turns(
        self, report: Counter[str], effect: np.ndarray, score: np.ndarray, positive: np.ndarray, other: np.ndarray
    ) -> bool:
        """Whether effects change their sign where `_other_allele` says so; what that rests on goes into the report.

        Raises ValueError where the table does not say.
        """
        config, layout = self.config, self.layout
        if config.protocol == "paper" or layout.effect is None:
            return False
        if config.processed and not (other == 1).any():
            other = np.full(len(other), -1, dtype=np.int8)
        measured = ~np.isnan(effect)
        if layout.effect_of:
            report[f"of the effects turned, as they are of the other allele by {layout.effect_of}"] = int(
                (measured & (other == 1)).sum()
            )
            return True
        if layout.kind not in PUBLISHED:
            return False
        if config.effect_orientation is None:
            turn, why = self._by_chrombpnet(effect, score, positive, other)
        else:
            turn, why = config.effect_orientation == BY_REFERENCE, f"effect_orientation {config.effect_orientation}"
            if turn and (other < 0).all():
                raise InputError(f"effect_orientation={BY_REFERENCE!r}: takes a genome")
        report[f"of the effects turned, to be of allele {layout.effect_allele} in all rows: {why}"] = int(
            (measured & (other == 1)).sum() if turn else 0
        )
        return turn

    def _by_chrombpnet(
        self, effect: np.ndarray, score: np.ndarray, positive: np.ndarray, other: np.ndarray
    ) -> tuple[bool, str]:
        """Whether a published table's effects are those of the allele that the genome does not have, and why.

        Its ChromBPNet scores are of one allele in all rows. Where the effects correlate with them in the rows in which
        this is not the genome's base, and inversely in the others, there the effects are of the genome's other allele.
        """
        path, layout = self.config.variants, self.layout
        alleles = (3 - layout.effect_allele, layout.effect_allele)
        if layout.chrombpnet is None or (other < 0).all():
            lacks = "has no ChromBPNet scores" if layout.chrombpnet is None else "is read without a genome"
            if layout.kind == "caqtl":
                raise InputError(
                    f"{path}: {lacks}, so that nothing shows whether its effects are of allele {alleles[1]} in all "
                    f"rows or of the allele that the genome does not have ({THREADS}): say effect_orientation, "
                    f"{' or '.join(ORIENTATIONS)}"
                )
            return False, f"the table {lacks}, and is taken as given"
        same, turned = (
            agreement(effect[positive & (other == place)], score[positive & (other == place)]) for place in (0, 1)
        )
        said = (
            f"{own} where allele {allele} is the genome's base"
            for allele, own in zip(alleles, (same, turned), strict=True)
        )
        why = f"Pearson r with the table's ChromBPNet scores is {' and '.join(said)}"
        if same.sign < 0:
            raise InputError(
                f"{path}: {why}, so that effects and scores are not of one allele: say effect_orientation, "
                f"{' or '.join(ORIENTATIONS)} ({THREADS})"
            )
        return same.sign > 0 > turned.sign, why

    def _kept(self, here: Checked, repeated: Sequence[int] | np.ndarray = ()) -> Checked:
        skipped = (here.reference_allele == 0) & (self.config.mismatch == "skip")
        return here.take(np.flatnonzero(~skipped & ~np.isin(here.variants.id, repeated)))

    def rows_of(self, shards: list[Position], split: str, repeated: np.ndarray, turn: bool) -> Iterator[dict[str, Any]]:
        """Tables of the rows of some pieces of one split."""
        config, path, layout = self.config, input_file(self.config.variants), self.layout
        sign = 1 if self.effect_allele == layout.effect_allele else -1
        for chunk in chunks_at(shards, partial(read_variants, path, layout, self.chunk_rows)):
            here = self._kept(check_alleles(path, chunk, self.reference, config.protocol), repeated)
            code = window_splits(here.variants, self.split_blocks, self.reference, config.window)
            here = here.take(np.flatnonzero(code == SPLITS.index(split)))
            variants = here.variants
            signs = np.select([self._other_allele(here) == 1], [-1.0], 1.0) if turn else np.ones(len(variants.id))
            if turn and layout.effect_of:
                signs[self._other_allele(here) < 0] = np.nan
            effect = sign * signs * variants.effect
            if self.reference is None:
                one, two = self._hdf5_windows(variants)
            else:
                one, two = allele_windows(variants, self.reference, config.window, config.protocol)
            case = str.upper if config.protocol == "fixed" else str
            columns: dict[str, Any] = {
                "id": variants.id,
                "chrom": variants.chrom,
                "position": variants.position,
                "allele1": [case(allele) for allele in variants.allele1],
                "allele2": [case(allele) for allele in variants.allele2],
                "sequence1": arrow_strings(one),
                "sequence2": arrow_strings(two),
                "label": variants.label,
                "effect": pa.array(effect, from_pandas=True),
                "used": variants.used,
                "reference_allele": pa.array(here.reference_allele, mask=here.reference_allele < 0),
                "effect_allele": np.full(len(variants.id), self.effect_allele, dtype=np.int8),
            }
            if layout.chrombpnet:
                columns["chrombpnet_logfc"] = pa.array(sign * variants.chrombpnet, from_pandas=True)
            others = list(self.info.features)[len(columns) :]
            for index, (name, column) in enumerate(zip(layout.extra, others, strict=True)):
                values = numbers(path, variants, layout, name) if is_numeric(name, layout) else variants.extra[:, index]
                columns[column] = pa.array(values, from_pandas=True)
            yield columns

    # The original's arrays take the genome's place, not the table's.
    processed_shards = shards

    def processed_rows(self, shards: list[Any], split: str, **given: Any) -> Iterator[dict[str, Any]]:
        """Tables of the rows of some pieces of a processed file."""
        return self.rows_of(shards, split, **given)

    def _check_hdf5(self, total: int) -> None:
        group = HDF5_GROUPS.get(self.layout.kind)
        shape = (total, WINDOW, 4)
        with open_hdf5(self.config.processed) as file:
            for name in HDF5_ALLELES:
                if group is None or f"{group}/{name}" not in file or file[group][name].shape != shape:
                    raise InputError(
                        f"{self.config.processed}: has no /{group}/{name} of shape {shape}, "
                        f"which {self.config.variants} would go with"
                    )

    def _hdf5_windows(self, variants: Variants) -> tuple[np.ndarray, np.ndarray]:
        """The two windows of each variant from the original's arrays, whose rows are the table's."""
        windows = []
        with open_hdf5(self.config.processed) as file:
            group = file[HDF5_GROUPS[self.layout.kind]]
            for name, codes in zip(HDF5_ALLELES, allele_codes(variants), strict=True):
                letters = one_hot_letters(group[name][variants.id], self.config.protocol)
                wrong = letters[:, WINDOW // 2] != LETTERS["fixed"][codes]
                if wrong.any():
                    row = int(np.argmax(wrong))
                    raise InputError(
                        f"{self.config.processed}: {group.name}/{name}[{variants.id[row]}] has not the allele of "
                        f"{self.config.variants}:{variants.line[row]}: {variants.name(row)}"
                    )
                windows.append(letters)
        return windows[0], windows[1]
