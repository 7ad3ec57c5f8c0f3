"""HyenaDNA's downstream tasks as datasets, built from a genome and the published files (paper section 4, spec 6)."""

import os
from typing import TYPE_CHECKING, Any

from datasets_dart.errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict, Split

__all__ = ["load_task"]


def load_task(
    task: str,
    protocol: str = "fixed",
    split: "str | Split | None" = None,
    streaming: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
    **inputs: Any,
) -> "Dataset | DatasetDict | IterableDataset | IterableDatasetDict":
    """Rows of a downstream task, `family/name`.

        load_task("genomic_benchmarks/human_enhancers_cohn", data="genomic_benchmarks/datasets", genome="hg38.fa")

    Every task has the columns id and sequence (upper case; what is no base is N), and label (ClassLabel), labels or
    biotype. Inputs by family, `data=` being the folder that has a folder for each task:

    - genomic_benchmarks: `{train,test}/{class}.csv.gz`, the published intervals, with `genome=` (a FASTA, or a mapping
      from class to FASTA); or `{train,test}/{class}/*.txt`; or parquet. Classes are in alphabetical order.
    - nucleotide_transformer: FASTA or parquet, `train` and `test`, as on the Hub; the label ends the header.
    - gue: `{train,dev,test}.csv` with the columns sequence and label.
    - chromatin_profile: `{train,val,test}_{build}_coords_targets.csv`, `genome=`, `build=`, `window=` in bp.
    - species: a folder of FASTAs for each species (or one FASTA each), `length=` in bp, `windows=` drawn for each
      split, `species=` in the order of their classes, `splits=`, the chromosomes of validation and test, `seed=`.
    - biotypes: `annotation=`, GTF; `genome=`; `classes=`, how many of the commonest biotypes.

    Args:
        task: `family/name`.
        protocol: "fixed", where a tenth of the training rows, chosen only by their sequence so that equal sequences
            stay together, is held out as split validation, unless the task has one of its own; or "paper", where
            validation IS the test split, on which the original chose its epochs and its hyper-parameters.
        split: one split; None for all as a dict.
        streaming: rows are made as they are asked for.
        cache_dir: as in `datasets.load_dataset`. The cache is named by the contents of the inputs.
        inputs: of the family, by name, as above.

    Raises:
        ValueError: naming file, line and value at fault.
        FileNotFoundError: naming an input that is missing.
    """
    from datasets_dart.files import default_cache
    from datasets_dart.loading import plain, rows_of
    from datasets_hyenadna.builder import FAMILIES, DownstreamTask

    family, _, name = task.partition("/")
    if family not in FAMILIES:
        raise InputError(f"task {task!r} is unknown: a task is FAMILY/NAME, with FAMILY one of {', '.join(FAMILIES)}")
    cache_dir = os.fspath(cache_dir or default_cache())
    given = {key: plain(value) for key, value in inputs.items() if value is not None}
    builder = DownstreamTask(
        cache_dir=cache_dir, family=family, task=name, protocol=protocol, given=given, index_dir=cache_dir
    )
    return rows_of(builder, split, streaming)
