"""DART-Eval's tasks as datasets, built from a genome and the user's own files."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import ArrowBasedBuilder, Dataset, DatasetDict, IterableDataset, IterableDatasetDict, Split, config
from datasets.exceptions import DatasetGenerationError

from datasets_dart.cell_type_elements import CellTypeElements
from datasets_dart.chromatin_activity import ChromatinActivity
from datasets_dart.motif_footprinting import MotifFootprinting
from datasets_dart.regulatory_elements import RegulatoryElements

__all__ = ["load_dart"]

BUILDERS: dict[str, type[ArrowBasedBuilder]] = {
    "regulatory_elements": RegulatoryElements,
    "motif_footprinting": MotifFootprinting,
    "cell_type_elements": CellTypeElements,
    "chromatin_activity": ChromatinActivity,
}
INPUTS: dict[str, list[tuple[str, ...]]] = {  # the sets of inputs, one of which must be given
    "regulatory_elements": [("genome", "elements")],
    "motif_footprinting": [("motifs", "backgrounds"), ("motifs", "genome", "elements"), ("processed",)],
    "cell_type_elements": [("genome", "elements"), ("genome", "peaks"), ("processed",)],
    "chromatin_activity": [("genome", "peaks", "signal"), ("genome", "nonpeaks", "signal"), ("processed",)],
}
OPTIONS: dict[str, tuple[str, ...]] = {
    "regulatory_elements": ("window",),
    "motif_footprinting": (),
    "cell_type_elements": ("window", "labels", "counts"),
    "chromatin_activity": ("window", "cell_type", "idr"),
}
LATER = ("variant_effects",)


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
    makes of one, compressed or not; `window=` in bp, 350 as published.

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

    protocol: "fixed", where N stays N and an element longer than the window is cut to its centre; or "paper", which
    equals the original bit for bit, its N written as A included.
    splits: "paper", the published chromosomes, or a BED of blocks whose column 4 is train, validation or test. An
    element in no block, or not wholly in one, is left out. Splits without a row are not there.
    split: one split (or a slice, "test[:1000]"), else all as a dict. streaming: rows are made as they are asked for.
    cache_dir, num_proc: as in `datasets.load_dataset`. The cache is named by the contents of the inputs.

    Raises ValueError and FileNotFoundError naming file, line and value at fault; then nothing is left in the cache.
    """
    if task not in BUILDERS:
        known = ", ".join(BUILDERS)
        raise ValueError(f"task {task!r} {'comes with a later version' if task in LATER else 'is unknown'}: {known}")
    given = {name: _plain(value) for name, value in inputs.items() if value is not None}
    if not any(given.keys() >= set(names) for names in INPUTS[task]):
        missing = [[f"{name}=" for name in names if name not in given] for names in INPUTS[task]]
        needed = ", or ".join(" and ".join(names) for names in missing)
        raise ValueError(f"task {task!r} needs {needed}")
    if unknown := inputs.keys() - {*OPTIONS[task], *(name for names in INPUTS[task] for name in names)}:
        raise ValueError(f"task {task!r} has no input {', '.join(sorted(unknown))}")
    cache_dir = os.fspath(cache_dir or config.HF_DATASETS_CACHE)
    builder = BUILDERS[task](
        cache_dir=cache_dir, protocol=protocol, splits=os.fspath(splits), index_dir=cache_dir, **given
    )
    if streaming:
        return builder.as_streaming_dataset(split=split)
    try:
        builder.download_and_prepare(num_proc=num_proc)
    except DatasetGenerationError as error:
        if isinstance(error.__cause__, ValueError | FileNotFoundError):
            raise error.__cause__ from None
        raise
    return builder.as_dataset(split=split)


def _plain(value: Any) -> Any:
    """`value` with every path in it as text: what a builder's options are compared and hashed by."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    return value
