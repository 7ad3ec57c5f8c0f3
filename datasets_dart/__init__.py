"""DART-Eval's tasks as datasets, built from a genome and the user's own files."""

import os
from typing import TYPE_CHECKING, Any

from datasets_dart.errors import InputError
from datasets_dart.registry import EntryPoints

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict, Split

    from datasets_dart.base import TaskBuilder

__all__ = ["BUILDERS", "load_dart"]

# name of a task -> its builder, of every installed package; each is imported when it is asked for
BUILDERS: "EntryPoints[type[TaskBuilder]]" = EntryPoints("datasets_dart.tasks", "task")


def load_dart(
    task: str,
    protocol: str = "fixed",
    split: "str | Split | None" = None,
    splits: str | os.PathLike[str] = "paper",
    streaming: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
    num_proc: int | None = None,
    **inputs: Any,
) -> "Dataset | DatasetDict | IterableDataset | IterableDatasetDict":
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
    the benchmark), reference_allele (1, 2, or 0 for neither), effect_allele (which a positive effect favours),
    chrombpnet_logfc (towards the same allele) where the table has it, then the table's other columns. All in split
    test. Inputs: `genome=`; `variants=`, the published caQTL or dsQTL table, any other whose first four columns are
    contig, position and two alleles, or a VCF; `effect=`, `label=`, names of its columns (of a VCF, INFO keys);
    `effect_allele=`, which allele the effect is of, where the file does not say: 1, 2, "ref", "alt" or a column that
    says so; `effect_orientation=`, of a published table's effects: "as-given", or "by-reference", of the allele that
    the genome does not have (by default as the table's ChromBPNet scores show);
    `mismatch=`, "skip" (and count), "refuse" or "keep" a variant neither of whose alleles is the genome's base;
    `window=`, 2114 bp; or, in place of the genome, `processed=`, the original's data.h5. In protocol "fixed" a positive
    effect favours allele 2, so that effects of dsQTLs change their sign; what is not a change of one base, and
    duplicates, are left out.

    Contigs may be named with or without "chr" in any input: rows come under the genome's names.

    Args:
        task: one of the above, or of `BUILDERS`, which has those of other packages too.
        protocol: "fixed", where N stays N and an element longer than the window is cut to its centre; or "paper", which
            equals the original bit for bit, its N written as A included.
        split: one split (or a slice, "test[:1000]"); None for all as a dict.
        splits: "paper", the published chromosomes, or a BED of blocks whose column 4 is train, validation or test. An
            element that is not wholly in one block is left out. Splits without rows are left out. The published rows of
            motif_footprinting and variant_effects are all for testing; "folds" sets some aside as split validation, to
            develop models on: a fifth of the backgrounds, by a digest of their sequence, and the variants of chr6 and
            chr21. Split test is then the others.
        streaming: rows are made as they are asked for.
        cache_dir: as in `datasets.load_dataset`. The cache is named by the contents of the inputs.
        num_proc: as in `datasets.load_dataset`.
        inputs: of the task, by name, as above.

    Raises:
        ValueError: naming file, line and value at fault; then nothing is left in the cache.
        FileNotFoundError: naming an input that is missing.
    """
    from datasets_dart.files import default_cache
    from datasets_dart.loading import plain, rows_of

    builder = BUILDERS.named(task)
    given = {name: plain(value) for name, value in inputs.items() if value is not None}
    if not any(given.keys() >= set(names) for names in builder.NEEDS):
        missing = [[name for name in names if name not in given] for names in builder.NEEDS]
        needed = ", or ".join(" and ".join(names) for names in missing)
        raise InputError(f"task {task!r} lacks inputs: {needed}")
    if unknown := inputs.keys() - builder.BUILDER_CONFIG_CLASS.inputs().keys():
        raise InputError(f"task {task!r} has no input {', '.join(sorted(unknown))}")
    cache_dir = os.fspath(cache_dir or default_cache())
    made = builder(cache_dir=cache_dir, protocol=protocol, splits=os.fspath(splits), index_dir=cache_dir, **given)
    return rows_of(made, split, streaming, num_proc)
