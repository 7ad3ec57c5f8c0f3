"""Task 5: the two alleles of variants that change chromatin accessibility, and controls (DART-Eval spec section 6)."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import pyarrow as pa
from datasets.builder import Key

from datasets_dart.alphabet import LETTERS, N, arrow_strings, one_hot_letters
from datasets_dart.cell_type_elements import CITATION
from datasets_dart.errors import InputError
from datasets_dart.files import contents_key, input_file, replacing
from datasets_dart.formats.bed import CHUNK_ROWS, Position
from datasets_dart.formats.element_tables import chunks_at
from datasets_dart.formats.fasta import Genome, check_same_build, genome_build, open_genome
from datasets_dart.formats.hdf5 import open_hdf5
from datasets_dart.formats.variants import (
    Layout,
    Variants,
    allele_codes,
    allele_windows,
    is_numeric,
    numbers,
    on_contigs,
    read_layout,
    read_variants,
    reference_allele,
    reference_bases,
    single_base,
)
from datasets_dart.splits import SPLITS, Blocks, assign_splits, read_splits

WINDOW = 2114  # bp, as published
TABLE_BYTES = 1 << 24  # of sequence in one Arrow table
MISMATCHES = ("skip", "refuse", "keep")
OTHER_BUILD = 1 / 3  # of variants with neither allele in the genome; about a half where their build is another
EXAMPLES = 3  # mismatches that a report names
HDF5_GROUPS = {"caqtl": "Afr.CaQTLS.tsv", "dsqtl": "yoruban.dsqtls.benchmarking.tsv"}
HDF5_ALLELES = ("allele_1_seqs", "allele_2_seqs")

DESCRIPTION = """\
Task 5 of DART-Eval: a window with either allele of each variant. A model that knows regulatory DNA scores the two
differently where the variant changes chromatin accessibility (`label`), and in the measured direction (`effect`).
`position` is 1-based; `id` is the row of the variant file; `used` says what is in the benchmark. Variants: {variants}.
Protocol: {protocol}; a positive effect, or ChromBPNet score, speaks for allele {effect_allele}. Rows: {report}."""


@dataclass
class VariantEffectsConfig(datasets.BuilderConfig):
    """Inputs and options of task 5; see `datasets_dart.load_dart`."""

    genome: str = ""
    variants: str = ""
    processed: str = ""  # the original's data.h5, in place of the genome
    effect: str | None = None  # name of the column, or of the VCF's INFO key
    label: str | None = None
    mismatch: str | None = None  # what becomes of a variant neither of whose alleles is the genome's base
    splits: str = "paper"
    protocol: str = "fixed"
    window: int = WINDOW
    index_dir: str | None = None  # where a decompressed genome and an index go that cannot lie beside it

    def __post_init__(self) -> None:
        super().__post_init__()
        paper = self.protocol == "paper"
        if self.protocol not in LETTERS:
            raise InputError(f"protocol={self.protocol!r} is not one of {', '.join(LETTERS)}")
        if self.window < 1 or ((paper or self.processed) and self.window != WINDOW):
            raise InputError(
                f'window={self.window}: {WINDOW} bp in protocol="paper" and of processed=, at least 1 bp otherwise'
            )
        self.mismatch = self.mismatch or ("keep" if paper else "skip")
        if self.mismatch not in MISMATCHES or (paper and self.mismatch != "keep"):
            raise InputError(f'mismatch={self.mismatch!r}: one of {", ".join(MISMATCHES)}; keep in protocol="paper"')
        if bool(self.genome) == bool(self.processed):
            raise InputError("task 'variant_effects' takes one of genome= and processed=")

    def create_config_id(self, config_kwargs: dict, custom_features: datasets.Features | None = None) -> str:
        """Name of the cache: the inputs' contents and the options, whatever the files are called."""
        files = [self.genome, self.variants, self.processed, "" if self.splits == "paper" else self.splits]
        options = self.protocol, self.window, self.effect, self.label, self.mismatch, custom_features
        return f"{self.protocol}-{contents_key(filter(None, files), list(map(bool, files)), *options)}"


class Checked(NamedTuple):
    """Single-base variants of a chunk, and how they stand to the genome."""

    variants: Variants
    reference_allele: np.ndarray  # (n,) int8: which allele is the genome's base: 1, 2, 0 for neither, -1 for unknown
    base: np.ndarray  # (n,) uint8 `CODES` of the genome there

    def take(self, rows: np.ndarray) -> "Checked":
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
    one_base = single_base(chunk)
    early = chunk.position <= WINDOW // 2
    for bad, why in ((~one_base, "is not a change of one base"), (early, "has a window that starts before its contig")):
        if protocol == "paper" and bad.any():
            row = int(np.argmax(bad))
            raise InputError(f'{path}:{chunk.line[row]}: {chunk.name(row)} {why} (protocol="paper")')
    chunk = chunk.take(np.flatnonzero(one_base))
    if genome is None:
        return Checked(chunk, np.full(len(chunk.id), -1, dtype=np.int8), np.full(len(chunk.id), N, dtype=np.uint8))
    chunk = on_contigs(path, chunk, genome)
    base = reference_bases(chunk, genome)
    return Checked(chunk, reference_allele(chunk, base, protocol), base)


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


def window_splits(
    variants: Variants, blocks: dict[str, Blocks] | None, genome: Genome | None, window: int
) -> np.ndarray:
    """(n,) int8 index into SPLITS of what holds the whole window, as far as it is on its contig; -1 for none.

    Without blocks, as published, all are for testing.
    """
    if blocks is None:
        return np.full(len(variants.id), SPLITS.index("test"), dtype=np.int8)
    start = variants.position - 1 - window // 2
    end = start + window
    if genome is not None:
        end = np.minimum(end, np.array([genome.length(name) for name in variants.chrom.tolist()], dtype=np.int64))
    return assign_splits(blocks, variants.chrom, np.maximum(start, 0), end)


def list_mismatches(variants: str, genome: str, output: str | os.PathLike[str]) -> tuple[int, int]:
    """Write a table of line and variant of all variants neither of whose alleles is the genome's base.

    Returns how many variants there are, and how many of them are in the table.
    """
    path, opened = input_file(variants), open_genome(genome)
    total = found = 0
    with replacing(output) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write("line\tvariant\n")
        for _, chunk in read_variants(path, read_layout(path)):
            total += len(chunk.id)
            for line, what in check_alleles(path, chunk, opened, "fixed").mismatches():
                file.write(f"{line}\t{what}\n")
                found += 1
    return total, found


class VariantEffects(datasets.ArrowBasedBuilder):
    """Windows with either allele of each variant.

    The variant file is read once to check it and to cut it into shards (which keeps some 30 bytes of each variant, to
    find duplicates); each shard is then read again on its own. VERSION is raised whenever the same inputs give other
    rows.
    """

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = VariantEffectsConfig

    def _info(self) -> datasets.DatasetInfo:
        layout = self._layout()
        columns = {"id": "int64", "chrom": "string", "position": "int64", "allele1": "string", "allele2": "string"}
        columns |= {"sequence1": "string", "sequence2": "string", "label": "bool", "effect": "float64", "used": "bool"}
        columns |= {"reference_allele": "int8", "effect_allele": "int8"}
        if layout.chrombpnet:
            columns["chrombpnet_logfc"] = "float64"
        # The table's other columns under their own names, except where that is taken.
        self._extra = {name: f"table.{name}" if name in columns else name for name in layout.extra}
        columns |= {here: "float64" if is_numeric(name, layout) else "string" for name, here in self._extra.items()}
        return datasets.DatasetInfo(
            description=__doc__,
            citation=CITATION,
            features=datasets.Features({name: datasets.Value(kind) for name, kind in columns.items()}),
        )

    def _layout(self) -> Layout:
        return read_layout(input_file(self.config.variants), self.config.effect, self.config.label)

    def _split_generators(
        self, dl_manager: datasets.DownloadManager | datasets.StreamingDownloadManager
    ) -> list[datasets.SplitGenerator]:
        config = self.config
        path, layout = input_file(config.variants), self._layout()
        genome = None
        if config.genome:
            genome = open_genome(config.genome, config.index_dir)
            check_same_build(path, layout.contigs, genome)
            build = genome_build(genome.path, genome.contigs)
            if layout.build and build and layout.build != build:
                raise InputError(f"{path}: its positions are on {layout.build}, but {genome.path} is {build}")
        source: dict[str, Any] = {"path": path, "layout": layout, "genome": genome}
        source["blocks"] = None if config.splits == "paper" else read_splits(config.splits)
        source["rows"] = max(1, min(CHUNK_ROWS, TABLE_BYTES // (2 * config.window)))
        shards, repeated, report = self._survey(**source)
        self.info.description = DESCRIPTION.format(
            variants=os.path.basename(config.variants),
            protocol=config.protocol,
            effect_allele=self._effect_allele(layout),
            report="; ".join(f"{count} {what}" for what, count in report.items() if count),
        )
        return [
            datasets.SplitGenerator(
                name=SPLITS[code],
                gen_kwargs={"shards": shards[code], "split": code, "repeated": repeated, **source},
            )
            for code in sorted(shards)
        ]

    def _effect_allele(self, layout: Layout) -> int:
        return 2 if self.config.protocol == "fixed" else layout.effect_allele

    def _survey(
        self, path: Path, layout: Layout, genome: Genome | None, blocks: dict[str, Blocks] | None, rows: int
    ) -> tuple[dict[int, list[Position]], np.ndarray, Counter[str]]:
        """Where the chunks of each split start, the ids of variants that stand there before, and counts for people.

        Raises ValueError: see `check_alleles`; naming the first mismatch with mismatch="refuse"; where a third of the
        variants have neither allele in the genome, or none is left.
        """
        config = self.config
        shards: dict[int, list[Position]] = {}
        contigs: dict[str, int] = {}
        seen: list[tuple[np.ndarray, ...]] = []
        report: Counter[str] = Counter()
        examples: list[str] = []
        for position, chunk in read_variants(path, layout, rows):
            here = check_alleles(path, chunk, genome, config.protocol)
            report["in the file"] += len(chunk.id)
            report["not a change of one base, left out"] += len(chunk.id) - len(here.variants.id)
            report["with allele 2 as the genome's base"] += int((here.reference_allele == 2).sum())
            report["mismatches"] += int((here.reference_allele == 0).sum())
            for line, what in here.mismatches():
                if config.mismatch == "refuse":
                    raise InputError(f'{path}:{line}: neither allele is the genome\'s base: {what} (mismatch="refuse")')
                if len(examples) < EXAMPLES:
                    examples.append(f"line {line}: {what}")
            here = here.take(self._kept(here, np.empty(0, dtype=np.int64)))
            variants = here.variants
            code = window_splits(variants, blocks, genome, config.window)
            report["in no split, left out"] += int((code < 0).sum())
            variants, code = variants.take(np.flatnonzero(code >= 0)), code[code >= 0]
            for split in np.unique(code).tolist():
                shards.setdefault(split, []).append(position)
            chroms = np.array([contigs.setdefault(name, len(contigs)) for name in variants.chrom.tolist()], dtype=int)
            alleles = np.stack(allele_codes(variants), axis=1)
            label = np.array([-1 if value is None else value for value in variants.label.tolist()], dtype=np.int8)
            seen.append((chroms, variants.position, alleles, variants.used, variants.id, label, variants.effect))
        mismatches, total = report.pop("mismatches", 0), report["in the file"]
        if mismatches > total * OTHER_BUILD and config.protocol == "fixed":
            raise InputError(
                f"{path}: {mismatches} of {total} variants have neither allele in {config.genome}, "
                f"which may be of another build ({'; '.join(examples)})"
            )
        if mismatches:
            left_out = ", left out" if config.mismatch == "skip" else ""
            report[f"with neither allele in the genome{left_out} ({'; '.join(examples)})"] = mismatches
        if not shards:
            raise InputError(f"{path}: no variant is left in a split ({config.splits}): {dict(report)}")
        chroms, positions, alleles, used, ids, label, effect = (
            np.concatenate(columns) for columns in zip(*seen, strict=True)
        )
        again = duplicates(chroms, positions, alleles, used) & (config.protocol == "fixed")
        report["stand there before, left out"] = int(again.sum())
        if config.processed:
            self._check_hdf5(layout, total)
        report["are kept"] = int((~again).sum())
        report["of these in the benchmark"] = int((used & ~again).sum())
        for name, value in (("positive", 1), ("controls", 0)):
            report[f"{name} in the benchmark"] = int((used & ~again & (label == value)).sum())
        report["positive without an effect"] = int((used & ~again & (label == 1) & np.isnan(effect)).sum())
        return shards, ids[again], report

    def _kept(self, here: Checked, repeated: np.ndarray) -> np.ndarray:
        skipped = (here.reference_allele == 0) & (self.config.mismatch == "skip")
        return np.flatnonzero(~skipped & ~np.isin(here.variants.id, repeated))

    def _generate_tables(
        self,
        shards: list[Position],
        split: int,
        repeated: np.ndarray,
        path: Path,
        layout: Layout,
        genome: Genome | None,
        blocks: dict[str, Blocks] | None,
        rows: int,
    ) -> Iterator[tuple[Key, pa.Table]]:
        config = self.config
        effect_allele = self._effect_allele(layout)
        sign = 1 if effect_allele == layout.effect_allele else -1
        for shard, chunk in enumerate(chunks_at(shards, partial(read_variants, path, layout, rows))):
            here = check_alleles(path, chunk, genome, config.protocol)
            here = here.take(self._kept(here, repeated))
            here = here.take(np.flatnonzero(window_splits(here.variants, blocks, genome, config.window) == split))
            variants = here.variants
            if genome is None:
                one, two = self._hdf5_windows(path, layout, variants)
            else:
                one, two = allele_windows(variants, genome, config.window, config.protocol)
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
                "effect": pa.array(sign * variants.effect, from_pandas=True),
                "used": variants.used,
                "reference_allele": pa.array(here.reference_allele, mask=here.reference_allele < 0),
                "effect_allele": np.full(len(variants.id), effect_allele, dtype=np.int8),
            }
            if layout.chrombpnet:
                columns["chrombpnet_logfc"] = pa.array(sign * variants.chrombpnet, from_pandas=True)
            for index, (name, column) in enumerate(self._extra.items()):
                values = numbers(path, variants, layout, name) if is_numeric(name, layout) else variants.extra[:, index]
                columns[column] = pa.array(values, from_pandas=True)
            yield Key(shard, 0), pa.table(columns, schema=self.info.features.arrow_schema)

    def _check_hdf5(self, layout: Layout, total: int) -> None:
        group = HDF5_GROUPS.get(layout.kind)
        shape = (total, WINDOW, 4)
        with open_hdf5(self.config.processed) as file:
            for name in HDF5_ALLELES:
                if group is None or f"{group}/{name}" not in file or file[group][name].shape != shape:
                    raise InputError(
                        f"{self.config.processed}: has no /{group}/{name} of shape {shape}, "
                        f"which {self.config.variants} would go with"
                    )

    def _hdf5_windows(self, path: Path, layout: Layout, variants: Variants) -> tuple[np.ndarray, np.ndarray]:
        """The two windows of each variant from the original's arrays, whose rows are the table's."""
        windows = []
        with open_hdf5(self.config.processed) as file:
            group = file[HDF5_GROUPS[layout.kind]]
            for name, codes in zip(HDF5_ALLELES, allele_codes(variants), strict=True):
                letters = one_hot_letters(group[name][variants.id], self.config.protocol)
                wrong = letters[:, WINDOW // 2] != LETTERS["fixed"][codes]
                if wrong.any():
                    row = int(np.argmax(wrong))
                    raise InputError(
                        f"{self.config.processed}: {group.name}/{name}[{variants.id[row]}] has not the allele of "
                        f"{path}:{variants.line[row]}: {variants.name(row)}"
                    )
                windows.append(letters)
        return windows[0], windows[1]
