"""DART-Eval's tasks as datasets, built from a genome and the user's own files."""

import os
from typing import Any

from datasets import ArrowBasedBuilder, Dataset, DatasetDict, IterableDataset, IterableDatasetDict, Split, config

from datasets_dart.cell_type_elements import CellTypeElements
from datasets_dart.chromatin_activity import ChromatinActivity
from datasets_dart.errors import InputError
from datasets_dart.loading import plain, rows_of
from datasets_dart.motif_footprinting import MotifFootprinting
from datasets_dart.regulatory_elements import RegulatoryElements
from datasets_dart.variant_effects import VariantEffects

__all__ = ["load_dart"]

BUILDERS: dict[str, type[ArrowBasedBuilder]] = {
    "regulatory_elements": RegulatoryElements,
    "motif_footprinting": MotifFootprinting,
    "cell_type_elements": CellTypeElements,
    "chromatin_activity": ChromatinActivity,
    "variant_effects": VariantEffects,
}
INPUTS: dict[str, list[tuple[str, ...]]] = {  # the sets of inputs, one of which must be given
    "regulatory_elements": [("genome", "elements"), ("processed",)],
    "motif_footprinting": [("motifs", "backgrounds"), ("motifs", "genome", "elements"), ("processed",)],
    "cell_type_elements": [("genome", "elements"), ("genome", "peaks"), ("processed",)],
    "chromatin_activity": [("genome", "peaks", "signal"), ("genome", "nonpeaks", "signal"), ("processed",)],
    "variant_effects": [("genome", "variants"), ("processed", "variants")],
}
OPTIONS: dict[str, tuple[str, ...]] = {
    "regulatory_elements": ("window",),
    "motif_footprinting": (),
    "cell_type_elements": ("window", "labels", "counts"),
    "chromatin_activity": ("window", "cell_type", "idr"),
    "variant_effects": ("window", "effect", "label", "mismatch"),
}


def load_dart(
    task: str,
    protocol: str = "fixed",
    split: str | Split | None = None,
    splits: str | os.PathLike[str] = "paper",
    streaming: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
    num_proc: int | None = None,
    **inputs: Any,
) -> Dataset | DatasetDict | IterableDataset | IterableDatasetDict:
    """Rows of a DART-Eval task.

        load_dart("regulatory_elements", genome="hg38.fa", elements="ENCFF420VPZ.bed", split="test")

    task "regulatory_elements": columns id (row of the element file), chrom, start, end (the window), element_start,
    element_end, reverse_complement, sequence, control (the element shuffled within its own flanks); coordinates are
    0-based, half-open. Inputs: `genome=`, FASTA, plain, bgzip or gzip; `elements=`, BED, or the table that the original
    makes of one, compressed or not; `window=` in bp, 350 as published; or `processed=`, the original's data.h5, which
    has neither coordinates nor strands.

    task "motif_footprinting": columns id (row in the original's order), background (row of the background file), motif
    (none in a background as it is), strand (forward, reverse), kind (raw, motif, shuffled), sequence, element (row of
    the element file, where there is one). All in split test. Inputs: `motifs=`, MEME; `backgrounds=`, a file of one
    sequence a line, or `genome=` and `elements=`, of which 100 controls of task 1 are taken, the published ones where
    it is the published file; or `processed=`, the original's table, or its data.h5 with `motifs=`.

    task "cell_type_elements": columns id (row of the element file), chrom, start, end, sequence, label (ClassLabel).
    Inputs: `genome=`; `elements=`, a BED with the cell line in column 4, or one of the original's tables; or `peaks=`,
    the narrowPeak file of each cell line (a dict, or paths named like "K562.narrowPeak"), with `counts=`, tables of
    reads in their consensus windows, for labels by differential accessibility as published, without it by overlap; or
    `processed=`, the original's data.h5, without a genome. `labels=`, the classes in order, by default the published
    cell lines or, of others, the file's, sorted; `window=` in bp, 500 as published.

    task "chromatin_activity": columns id (row of its file), cell_type, category (peaks, idr, nonpeaks), chrom, start,
    end, sequence, log_counts (log(1 + signal) over the central 1000 bp). Inputs: `genome=`; `peaks=`, `idr=`,
    `nonpeaks=`, narrowPeak (windows on the summit), BED or the original's tables; `signal=`, bigWig; each one file, of
    `cell_type=`, or a dict of files by cell type; or `processed=`, the original's data.h5. `window=`, 2114 bp.

    task "variant_effects": columns id (row of the variant file), chrom, position (1-based, as in the table), allele1,
    allele2, sequence1, sequence2 (the window with either, the variant at index window // 2), label, effect, used (in
    the benchmark), reference_allele (1, 2, or 0 for neither), effect_allele (that a positive effect speaks for),
    chrombpnet_logfc (towards the same allele) where the table has it, then the table's other columns. All in split
    test. Inputs: `genome=`; `variants=`, the published caQTL or dsQTL table, any other whose first four columns are
    contig, position and two alleles, or a VCF; `effect=`, `label=`, names of columns (of INFO keys) in such;
    `mismatch=`, "skip" (and count), "refuse" or "keep" a variant neither of whose alleles is the genome's base;
    `window=`, 2114 bp; or, in place of the genome, `processed=`, the original's data.h5. In protocol "fixed" effects
    speak for allele 2, so that those of dsQTLs change their sign; what is not a change of one base, or stands there
    before, is left out.

    protocol: "fixed", where N stays N and an element longer than the window is cut to its centre; or "paper", which
    equals the original bit for bit, its N written as A included.
    splits: "paper", the published chromosomes, or a BED of blocks whose column 4 is train, validation or test. An
    element in no block, or not wholly in one, is left out. Splits without a row are not there.
    split: one split (or a slice, "test[:1000]"), else all as a dict. streaming: rows are made as they are asked for.
    cache_dir, num_proc: as in `datasets.load_dataset`. The cache is named by the contents of the inputs.

    Raises ValueError and FileNotFoundError naming file, line and value at fault; then nothing is left in the cache.
    """
    if task not in BUILDERS:
        raise InputError(f"task {task!r} is unknown: {', '.join(BUILDERS)}")
    given = {name: plain(value) for name, value in inputs.items() if value is not None}
    if not any(given.keys() >= set(names) for names in INPUTS[task]):
        missing = [[f"{name}=" for name in names if name not in given] for names in INPUTS[task]]
        needed = ", or ".join(" and ".join(names) for names in missing)
        raise InputError(f"task {task!r} needs {needed}")
    if unknown := inputs.keys() - {*OPTIONS[task], *(name for names in INPUTS[task] for name in names)}:
        raise InputError(f"task {task!r} has no input {', '.join(sorted(unknown))}")
    cache_dir = os.fspath(cache_dir or config.HF_DATASETS_CACHE)
    builder = BUILDERS[task](
        cache_dir=cache_dir, protocol=protocol, splits=os.fspath(splits), index_dir=cache_dir, **given
    )
    return rows_of(builder, split, streaming, num_proc)
