"""DART-Eval's tasks as datasets, built from a genome and the user's own files."""

import os
from typing import Any

from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict, Split, config
from datasets.exceptions import DatasetGenerationError

from datasets_dart.regulatory_elements import RegulatoryElements

__all__ = ["load_dart"]

BUILDERS = {"regulatory_elements": RegulatoryElements}
INPUTS = {"regulatory_elements": ("genome", "elements")}
LATER = ("motif_footprinting", "cell_type_elements", "chromatin_activity", "variant_effects")


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
    if missing := [name for name in INPUTS[task] if inputs.get(name) is None]:
        raise ValueError(f"task {task!r} needs {' and '.join(f'{name}=' for name in missing)}")
    if unknown := inputs.keys() - {*INPUTS[task], "window"}:
        raise ValueError(f"task {task!r} has no input {', '.join(sorted(unknown))}")
    paths = {name: os.fspath(inputs.pop(name)) for name in INPUTS[task]}
    cache_dir = os.fspath(cache_dir or config.HF_DATASETS_CACHE)
    builder = BUILDERS[task](
        cache_dir=cache_dir, protocol=protocol, splits=os.fspath(splits), index_dir=cache_dir, **paths, **inputs
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
