"""One run of a task: rows of a dataset through a scorer into predictions, metrics and a record.

Scores are kept in shards as they come, so that a run that was killed goes on where it stopped, on any number of
processes.
"""

import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from accelerate import PartialState
from accelerate.utils import gather_object
from datasets import Dataset
from tqdm.auto import tqdm

from evaluation_dart.likelihood import Recipe, score_sequences
from evaluation_dart.results import (
    RESULTS,
    SCHEMA_VERSION,
    digest,
    fingerprint,
    package_versions,
    predictions_of,
    read_record,
    record_folder,
    task_metrics,
    write_record,
)

# Pairs in a shard: what a kill can cost, and the step of the progress bar. A masked model needs hundreds of passes
# for a pair. The environment variable DART_EVAL_SHARD_ROWS sets another number.
SHARD_ROWS = 512
MASKED_SHARD_ROWS = 16


def centred_crop(sequence: str, window: int) -> str:
    """The central `window` bases; of an odd rest, the larger half is cut from the right."""
    offset = (len(sequence) - window) // 2
    return sequence[offset : offset + window]


def evaluate_regulatory_elements(
    scorer: Any,
    dataset: Dataset,
    recipe: Recipe,
    output: str | os.PathLike[str],
    *,
    model: dict[str, Any],
    inputs: dict[str, str],
    split: str,
    protocol: str,
    window: int | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """Task 1, zero-shot: score every element and its control; returns the record's folder.

    Args:
        scorer: anything with `log_likelihood(sequences, **options) -> (n,)`: a language model, a baseline.
        dataset: rows of `load_dart("regulatory_elements", ...)`, one split.
        model: `id` and `revision`, and what else the record should say of it.
        inputs: the files behind the dataset by name, with their digests.
        window: bases of the centred crop of sequence and control; None for all.

    Raises:
        ValueError: for a window that is longer than the sequences, or if another record is in the way.
        FileNotFoundError: if the record of this run is there without its predictions.
    """
    length = len(dataset[0]["sequence"])
    if window is not None and not 1 <= window <= length:
        raise ValueError(f"--window {window} is not within the {length} bp of this task's sequences")
    what: dict[str, Any] = {
        "task": "regulatory_elements",
        "split": split,
        "setting": "zero_shot_likelihood",
        "protocol": protocol,
        "recipe": {**recipe._asdict(), "window": window or length},
        "model": model,
        "dataset": {"rows": len(dataset), "fingerprint": digest(inputs), "inputs": inputs},
    }
    identity = fingerprint(what)
    folder = record_folder(output, model["id"], model["revision"], what["task"], what["setting"])
    state = PartialState()
    if _finished(folder, identity, overwrite):
        return folder

    usual = MASKED_SHARD_ROWS if getattr(scorer, "kind", None) == "masked" else SHARD_ROWS
    shard_rows = int(os.environ.get("DART_EVAL_SHARD_ROWS", usual))
    shards = folder / f".shards-{identity[:16]}-{shard_rows}"
    if overwrite and state.is_main_process:
        shutil.rmtree(shards, ignore_errors=True)
    state.wait_for_everyone()
    started = time.perf_counter()
    # gather_object: waits for all, too
    scored = sum(gather_object([score_in_shards(scorer, dataset, recipe, shards, shard_rows, window, **options)]))
    seconds = time.perf_counter() - started
    if state.is_main_process:
        predictions = pa.concat_tables(pq.read_table(path) for path in sorted(shards.glob("*.parquet")))
        record = {
            "schema_version": SCHEMA_VERSION,
            **what,
            "metrics": task_metrics(predictions, what["task"], protocol),
            "versions": package_versions(),
            "device": getattr(scorer, "device_name", "cpu"),
            "processes": state.num_processes,
            "seconds": round(seconds, 3),
            "sequences_per_second": round(2 * scored / seconds, 1),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "fingerprint": identity,
        }
        write_record(folder, record, predictions)
        shutil.rmtree(shards)
    state.wait_for_everyone()
    return folder


def score_in_shards(
    scorer: Any,
    dataset: Dataset,
    recipe: Recipe,
    shards: Path,
    shard_rows: int,
    window: int | None = None,
    **options: Any,
) -> int:
    """Score this process's shards that are not there yet; returns the number of pairs scored now.

    A shard is `shard_rows` rows: id, chrom, start, score, control_score. It appears under its name when it is whole.
    """
    state = PartialState()
    shards.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(dataset), shard_rows)
    missing = [start for start in starts if not (shards / f"{start:010d}.parquet").exists()]
    state.wait_for_everyone()  # all have looked before one writes, so that all share out the same list
    mine = missing[state.process_index :: state.num_processes]
    pairs = [min(shard_rows, len(dataset) - start) for start in mine]
    progress = tqdm(desc="scoring", unit=" pairs", total=sum(pairs), disable=not state.is_main_process)
    for start, count in zip(mine, pairs, strict=True):
        rows = dataset[start : start + shard_rows]
        sequences = [*rows["sequence"], *rows["control"]]
        if window is not None:
            sequences = [centred_crop(sequence, window) for sequence in sequences]
        scores = np.split(score_sequences(scorer, sequences, recipe, **options), 2)
        columns = {name: rows[name] for name in ("id", "chrom", "start")}
        table = pa.table({**columns, "score": scores[0], "control_score": scores[1]})
        unfinished = shards / f".{start:010d}.{state.process_index}"
        pq.write_table(table, unfinished)
        os.replace(unfinished, shards / f"{start:010d}.parquet")
        progress.update(count)
    progress.close()
    return sum(pairs)


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
    raise ValueError(
        f"{folder / RESULTS} is the record of another run (protocol {existing['protocol']}, recipe "
        f"{existing['recipe'].get('name')}, split {existing['split']}, {existing['dataset']['rows']} rows): "
        "give another --output, or --overwrite"
    )
