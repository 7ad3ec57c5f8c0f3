"""One run of a task: rows of a dataset through a scorer into predictions, metrics and a record.

Scores are kept in shards as they come, so that a run that was killed goes on where it stopped, on any number of
processes.
"""

import os
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from accelerate import PartialState
from accelerate.utils import gather_object
from datasets import Dataset
from tqdm.auto import tqdm

from datasets_dart.errors import InputError
from datasets_dart.files import replacing
from evaluation_dart.records import (
    RESULTS,
    SCHEMA_VERSION,
    SUPERVISED,
    digest,
    fingerprint,
    package_versions,
    predictions_of,
    read_record,
    record_folder,
    task_metrics,
    write_record,
)
from evaluation_dart.scoring.clustering import CLUSTERS, COMPONENTS, SEEDS
from evaluation_dart.scoring.embeddings import EmbeddingRecipe
from evaluation_dart.scoring.likelihoods import Recipe
from evaluation_dart.scoring.rows import (
    Job,
    Score,
    clustered,
    embed_elements,
    predict_activity,
    predict_classes,
    predict_pairs,
    predict_variants,
    score_activity,
    score_pairs,
    score_trials,
    score_variants,
    trial_distances,
    variant_distances,
)
from evaluation_dart.training.supervised import TrainedRecipe

# Rows in a shard: what a kill can cost, and the step of the progress bar. A masked model needs hundreds of passes
# for a likelihood. The environment variable DART_EVAL_SHARD_ROWS sets another number.
SHARD_ROWS = 512
MASKED_SHARD_ROWS = 16

SCORES: dict[str, dict[str, Callable[[Any, Dataset, Job], Score]]] = {
    "regulatory_elements": {"zero_shot_likelihood": score_pairs, **dict.fromkeys(SUPERVISED, predict_pairs)},
    "motif_footprinting": {"zero_shot_likelihood": score_trials, "zero_shot_embedding": trial_distances},
    "cell_type_elements": {"clustering": embed_elements, **dict.fromkeys(SUPERVISED, predict_classes)},
    "chromatin_activity": {
        "zero_shot_likelihood": score_activity,
        **dict.fromkeys(SUPERVISED, predict_activity),
    },
    "variant_effects": {
        "zero_shot_likelihood": score_variants,
        "zero_shot_embedding": variant_distances,
        **dict.fromkeys(SUPERVISED, predict_variants),
    },
}
SEQUENCES = {"regulatory_elements": ("sequence", "control"), "variant_effects": ("sequence1", "sequence2")}


def sequence_columns(task: str) -> tuple[str, ...]:
    """The columns of a task's dataset that a model reads."""
    return SEQUENCES.get(task, ("sequence",))


def evaluate(
    scorer: Any,
    dataset: Dataset,
    task: str,
    setting: str,
    recipe: Recipe | EmbeddingRecipe | TrainedRecipe | None,
    output: str | os.PathLike[str],
    *,
    model: dict[str, Any],
    inputs: dict[str, str],
    split: str,
    protocol: str,
    window: int | None = None,
    subset: str = "all",
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """Score every row of a task's dataset and write the record of it; returns the record's folder.

    Args:
        scorer: a language model, or a baseline with what the setting needs: `log_likelihood(sequences, **options)
            -> (n,)`, `allele_log_likelihoods(...)`, `embed(sequences, ...) -> (n, C)`.
        dataset: rows of `load_dart(task, ...)`, one split. subset: which of them, for the record.
        recipe: of [`likelihood.RECIPES`]; for embeddings, of [`scoring.embedding_recipe`]; how it was
            trained; None for a column or table.
        model: `id` and `revision`, and what else the record should say of it.
        inputs: the files behind the dataset by name, with their digests.
        window: bases of the centred crop of all sequences; None for all.

    Raises:
        ValueError: for a window that is longer than the sequences, or if another record is in the way.
        FileNotFoundError: if the record of this run is there without its predictions.
    """
    length = len(dataset[0][sequence_columns(task)[0]])
    if window is not None and not 1 <= window <= length:
        raise InputError(f"--window {window} is not within the {length} bp of this task's sequences")
    described: dict[str, Any] = {"name": "column"} if recipe is None else recipe.described(task)
    described["window"] = window or length
    if setting == "clustering":
        described |= {"components": COMPONENTS, "clusters": CLUSTERS, "seeds": len(SEEDS)}
    what: dict[str, Any] = {
        "task": task,
        "split": split,
        "setting": setting,
        "protocol": protocol,
        "recipe": described,
        "model": model,
        "dataset": {"rows": len(dataset), "subset": subset, "fingerprint": digest(inputs), "inputs": inputs},
    }
    identity = fingerprint(what)
    folder = record_folder(output, model["id"], model["revision"], task, setting)
    state = PartialState()
    if _finished(folder, identity, overwrite):
        return folder

    passes = setting == "zero_shot_likelihood" and getattr(scorer, "kind", None) == "masked"
    usual = MASKED_SHARD_ROWS if passes else SHARD_ROWS
    shard_rows = int(os.environ.get("DART_EVAL_SHARD_ROWS", usual))
    shards = folder / f".shards-{identity[:16]}-{shard_rows}"
    if overwrite and state.is_main_process:
        shutil.rmtree(shards, ignore_errors=True)
    state.wait_for_everyone()
    started = time.perf_counter()
    prepare = partial(SCORES[task][setting], scorer, dataset, Job(recipe, window, options))
    # gather_object: waits for all, too
    scored = sum(gather_object([score_in_shards(prepare, len(dataset), shards, shard_rows)]))
    seconds = time.perf_counter() - started
    if state.is_main_process:
        predictions = pa.concat_tables(pq.read_table(path) for path in sorted(shards.glob("*.parquet")))
        if setting == "clustering":
            predictions = clustered(predictions)
        record = {
            "schema_version": SCHEMA_VERSION,
            **what,
            "metrics": task_metrics(predictions, what),
            "versions": package_versions(),
            "device": getattr(scorer, "device_name", "cpu"),
            "processes": state.num_processes,
            "seconds": round(seconds, 3),
            "sequences_per_second": round(len(sequence_columns(task)) * scored / seconds, 1),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "fingerprint": identity,
        }
        write_record(folder, record, predictions)
        shutil.rmtree(shards)
    state.wait_for_everyone()
    return folder


def score_in_shards(
    prepare: Callable[[], Score], rows: int, shards: Path, shard_rows: int, quiet: bool = False
) -> int:
    """Score this process's shards of `rows` rows that are not there yet; returns the number of rows scored now.

    A shard is `shard_rows` rows of predictions. It appears under its name when it is whole. `prepare` is called only
    if there is something to score.
    """
    state = PartialState()
    shards.mkdir(parents=True, exist_ok=True)
    starts = range(0, rows, shard_rows)
    missing = [start for start in starts if not (shards / f"{start:010d}.parquet").exists()]
    state.wait_for_everyone()  # all have looked before one writes, so that all share out the same list
    mine = [
        range(start, min(start + shard_rows, rows)) for start in missing[state.process_index :: state.num_processes]
    ]
    if not mine:
        return 0
    score = prepare()
    total = sum(map(len, mine))
    with tqdm(desc="scoring", unit=" rows", total=total, disable=quiet or not state.is_main_process) as progress:
        for shard in mine:
            with replacing(shards / f"{shard.start:010d}.parquet") as unfinished:
                pq.write_table(pa.table(score(shard)), unfinished)
            progress.update(len(shard))
    return total


def _finished(folder: Path, identity: str, overwrite: bool) -> bool:
    """Whether this very run is already recorded.

    Raises:
        ValueError: if the folder holds the record of another run, which would be lost, or other predictions.
        FileNotFoundError: if it holds no predictions.
    """
    if overwrite or not (folder / RESULTS).exists():
        return False
    existing = read_record(folder)
    if existing["fingerprint"] == identity:
        predictions_of(folder, existing)
        return True
    raise InputError(
        f"{folder / RESULTS} is the record of another run (protocol {existing['protocol']}, recipe "
        f"{existing['recipe'].get('name')}, split {existing['split']}, {existing['dataset']['rows']} rows): "
        "give another --output, or --overwrite"
    )
