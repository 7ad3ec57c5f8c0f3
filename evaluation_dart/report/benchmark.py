"""The published data of DART-Eval by the fingerprints that records have of them (`dataset.fingerprint`).

Only a run on these data is an entry of the benchmark's own boards on the Hub. A fingerprint is put here by a maintainer
who had the data: it is what `results.json` of a whole run on them says, under the names that the files have where they
are published. Several of a task are the same data in several forms (compressed or not, a protocol's own inputs).
"""

BENCHMARK = "dart-eval/dart-eval"  # dataset repository of the tasks on the Hub
FINGERPRINTS: dict[str, tuple[str, ...]] = {
    "regulatory_elements": (),
    "motif_footprinting": (),
    "cell_type_elements": (),
    "chromatin_activity": (),
    "variant_effects": (),
}
# Why a task has none yet
MISSING = {
    "regulatory_elements": "ENCFF420VPZ and GRCh38 without alternative contigs",
    "motif_footprinting": "the official H12CORE motifs and the backgrounds, which are made of task 1's controls",
    "cell_type_elements": "peaks_by_cell_label_unique_dataloader_format.tsv (Synapse syn60581042, with an account)",
    "chromatin_activity": "peaks, nonpeaks and bigWigs of five cell lines (Synapse syn60581041, with an account)",
    "variant_effects": "the two tables of variants (Synapse syn60581045, with an account)",
}


def is_benchmark(dataset: str) -> bool:
    """Whether a dataset repository is the benchmark's own, in any spelling."""
    return dataset.strip().lower() == BENCHMARK


def not_published(task: str, fingerprint: str) -> str | None:
    """Why data of a task are not the published ones as far as this package knows; None where they are."""
    if task not in FINGERPRINTS:
        return f"{task} is not a task of {BENCHMARK}"
    if not FINGERPRINTS[task]:
        return (
            f"the fingerprint of the published data of {task} is not known yet: nobody who had {MISSING[task]} "
            "has put it into evaluation_dart.report.benchmark"
        )
    if fingerprint not in FINGERPRINTS[task]:
        return f"its data have the fingerprint {fingerprint}, not that of the published ones"
    return None
