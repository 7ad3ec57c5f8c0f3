"""One run: a model on a task, from its arguments to predictions, metrics and a record.

`evaluate` is what the commands and the studies call. Scores are kept in shards as they come, so that a run that was
killed goes on where it stopped, on any number of processes.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from accelerate import PartialState
from datasets import Dataset, are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from datasets_dart import BUILDERS, load_dart
from datasets_dart.duplicates import counts_of
from datasets_dart.errors import InputError
from datasets_dart.files import warn_once
from datasets_dart.outputs import LOCK, locked, remove, sweep_folder
from evaluation_dart.inputs import described_inputs
from evaluation_dart.models.kinds import is_trained_kind
from evaluation_dart.models.language_model import Encoder, LanguageModel, largest_batch
from evaluation_dart.models.loading import load_scorer
from evaluation_dart.models.protocols import NEEDS, RowPredictor, abilities
from evaluation_dart.pretraining import Source, pretraining_of, rows_inside
from evaluation_dart.pretraining import described as described_sources
from evaluation_dart.recipes import MASKED, NOT_SCORED, WHOLE, Recipe, recipe_named
from evaluation_dart.records import (
    RESULTS,
    RUN,
    Record,
    all_metrics,
    check_record_place,
    completed,
    digest,
    fingerprint,
    flattened,
    load_record,
    predictions_of,
    read_record,
    record_folder,
    remeasure,
    write_record,
)
from evaluation_dart.scoring.alike import reads_alike
from evaluation_dart.scoring.embeddings import ORIGINAL_BATCH
from evaluation_dart.scoring.finite import check_finite
from evaluation_dart.scoring.rows import embedding_recipe
from evaluation_dart.shards import NULLS, all_shards, part_rows, read_shard, score_in_shards
from evaluation_dart.spec import RunSpec
from evaluation_dart.tasks import SUPERVISED, Job, Setting, Task, task_named
from evaluation_dart.tasks.base import CHROMOSOMES, MEGABASES, Columns, Score
from evaluation_dart.training.accelerators import check_common, gathered, in_first_process, process_state
from evaluation_dart.workload import announce

logger = logging.getLogger(__name__)

# Rows in a shard, at most: what a kill can cost (see [`part_rows`]). A masked model needs hundreds of passes for a
# likelihood. The environment variable DART_EVAL_SHARD_ROWS sets another number.
SHARD_ROWS, MASKED_SHARD_ROWS = 512, 16
SMALL_TEST_ROWS = 1024  # of budget "small"
Loaded = dict[tuple[Any, ...], Any]  # datasets and models by what they are, shared by the runs of a suite


def evaluate(
    model: Any,
    task: str = "regulatory_elements",
    setting: str | None = None,
    *,
    protocol: str = "fixed",
    recipe: str | None = None,
    layer: int = -1,
    split: str = "test",
    splits: str | os.PathLike[str] = "paper",
    window: int | None = None,
    limit: int | None = None,
    sample_seed: int | None = None,
    blocks: str | None = None,
    batch_size: int | str = "auto",
    seed: int = 0,
    output: str | os.PathLike[str] = "results",
    overwrite: bool = False,
    method: str | None = None,
    budget: str = "full",
    training: str | os.PathLike[str] = "training",
    trained: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    revision: str | None = None,
    device: str | None = None,
    dtype: str = "float32",
    trust_remote_code: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
    num_proc: int | None = None,
    pretrained_on: str | list[str] | None = None,
    **inputs: Any,
) -> Record:
    """Score a model on a task; returns the record, which lies below `output` with its predictions.

        evaluate("org/model", "regulatory_elements", genome="hg38.fa", elements="ccres.bed")
        evaluate(load_scorer(model=model, tokenizer=tokenizer), "variant_effects", genome=..., variants=...)

    The same call goes on with a run that was killed, and reads the record of one that is done.

    Args:
        model: a name (see `load_scorer`), or a scorer.
        task: a name, see `TASKS`.
        setting: of the task; None for its first.
        protocol: "fixed", the sound one, or "paper", the original with its defects.
        recipe: of likelihoods, a name (`RECIPES`); None for the task's.
        layer: of embeddings and probes, an index into the hidden states; -1 is the last.
        split: "train", "validation" or "test".
        splits: "paper"; a BED of blocks with these names; or, of motif_footprinting and variant_effects, "folds", which
            sets rows aside for validation.
        window: only the central so many bases of each sequence; None for all.
        limit: only so many rows: the first or, with `sample_seed`, rows at random.
        sample_seed: of the rows that `limit` draws.
        blocks: which rows intervals and tests take as alike: "1Mb" of the genome, "chromosomes", or a column of the
            predictions, whose equal values are one block; None for the setting's.
        batch_size: rows in a forward pass; "auto" for as many as fit.
        seed: of what is drawn: random weights, new heads, the order of training rows.
        output: folder of records.
        overwrite: replace a record, and start anew.
        method: of settings that train: "cnn" or "linear" (probed), "lora" or "full" (finetuned).
        budget: of settings that train: "full", or "small" of few rows and steps.
        training: folder that trainings are kept in.
        trained: of variant_effects, the folder of a training of chromatin_activity.
        cache: folder to keep embeddings in.
        hyperparameters: of settings that train, values in place of the paper's.
        revision: branch, tag or commit of a model on the Hub.
        device: "cpu", "cuda:0", ...; None for a GPU if there is one.
        dtype: of the model's weights: "float32", "bfloat16" or "float16"; or "int8" (docs/quantisation.md).
        trust_remote_code: run the code that a model's repository brings.
        cache_dir: cache of the datasets library.
        num_proc: processes that build the dataset.
        pretrained_on: what the model has read, where its card does not say it (`evaluation_dart.pretraining`): "hg38",
            "hg38:chr1,chr2", "hg38:FILE.bed", a BED of the test's build, a FASTA; or several.
        inputs: of the task's builder, by name (`TASKS[task].inputs`).

    Raises:
        InputError: naming the input or argument at fault.
        OSError: if there is no such file or model.
    """
    arguments = {name: value for name, value in locals().items() if name not in ("model", "inputs")}
    scorer = None if isinstance(model, str | os.PathLike) else model
    spec = RunSpec.of({**arguments, **inputs, "model": os.fspath(model) if scorer is None else scorer.name})
    if scorer is not None and (revision, device, dtype, trust_remote_code) != (None, None, "float32", False):
        raise InputError("revision, device, dtype and trust_remote_code are of a model that is loaded by its name")
    return run(spec, scorer)


def run(spec: RunSpec, scorer: Any = None, loaded: Loaded | None = None) -> Record:
    """[`evaluate`] by a [`RunSpec`].

    Args:
        scorer: the model, where it is in memory already. loaded: keeps datasets and models for runs that share them.
    """
    loaded = {} if loaded is None else loaded
    task = task_named(spec.task)
    setting = task.settings[spec.chosen_setting]
    state = process_state(spec.device)
    device = spec.device or str(state.device)

    def rows_of(split: str) -> Dataset:
        key = ("rows", spec.task, str(spec.inputs), spec.protocol, spec.splits, split)
        with state.main_process_first():
            return once(loaded, key, partial(load_rows, spec, split))

    # The model first: what is wrong with it shows before a whole genome is read.
    trains = scorer is None and is_trained(spec)
    recipe: Any = None
    if not trains:
        scorer = scorer or load_model(spec, setting, device, loaded)
        recipe = recipe_of(spec, task, setting, scorer)
    small = trains and spec.budget == "small" and spec.limit is None
    limit, sample_seed = (SMALL_TEST_ROWS, 0) if small else (spec.limit, spec.sample_seed)
    dataset, subset = drawn(rows_of(spec.split), limit, sample_seed)
    inputs = described_inputs(**spec.inputs, splits=spec.splits)
    described = None
    if trains:
        scorer, described, recipe = train(spec, task, rows_of, inputs, device)
    elif setting.needs != "tokens":  # whose rows are of several lengths; those that cannot be read have no value
        passes = passes_of(scorer, task, recipe, dataset[0], spec.window, len(dataset))
        note_passes(scorer, task, recipe, passes)
    return evaluate_rows(scorer, dataset, spec, recipe, inputs=inputs, subset=subset, described=described)


def evaluate_rows(
    scorer: Any,
    dataset: Dataset,
    spec: RunSpec,
    recipe: Any = None,
    *,
    inputs: Mapping[str, str],
    subset: str = "all",
    described: Mapping[str, Any] | None = None,
) -> Record:
    """Score every row of a dataset and write the record, unless this very run is recorded already.

    Args:
        recipe: of likelihoods, of embeddings, or of the training; None for a table, a column or a track. inputs: the
            files behind the dataset, with their digests. subset: which rows it has. described: what the record says of
            the model; by default what the scorer says.

    Raises:
        InputError: for a window longer than the sequences, or if another record is in the way.
        FileNotFoundError: if the record of this run has lost its predictions.
    """
    task = task_named(spec.task)
    setting, job = task.settings[spec.chosen_setting], Job(recipe, spec.window, spec.batch_size)
    choices = (MEGABASES, CHROMOSOMES, *setting.columns) if setting.blocks == MEGABASES else (setting.blocks,)
    if spec.blocks not in (None, *choices):
        raise InputError(f"blocks {spec.blocks}: of {spec.task} there are {', '.join(choices)}")
    length = len(dataset[0][next(iter(task.columns))])
    if spec.window is not None and not 1 <= spec.window <= length:
        raise InputError(f"window {spec.window} is not within the {length} bp of this task's sequences")
    sources = sources_of(spec, scorer)
    counts = counts_of(dataset)
    about: dict[str, Any] = {"report": " ".join(dataset.info.description.split())} if dataset.info.description else {}
    about |= {"duplicates": counts[spec.split]} if counts and spec.split in counts else {}
    about |= {"in_pretraining": rows_inside(dataset, sources, spec.inputs.get("genome"), next(iter(task.columns)))}
    what = {
        "kind": "task",
        "task": spec.task,
        "split": spec.split,
        "setting": spec.chosen_setting,
        "protocol": spec.protocol,
        "recipe": ({"name": "column"} if recipe is None else recipe.described(task.alleles))
        | {"window": spec.window or length}
        | dict(setting.described),
        "model": dict(described or scorer.describe()) | {"pretrained_on": described_sources(sources)},
        "dataset": {"rows": len(dataset), "subset": subset, "fingerprint": digest(inputs), "inputs": dict(inputs)}
        | about,
        "spec": spec.recorded(),
        "blocks": spec.blocks or setting.blocks,
    }
    identity = fingerprint(what)
    folder = record_folder(spec.output, what)
    state = PartialState()
    check_common(folder)
    if not spec.overwrite and in_first_process(lambda: is_finished(folder, what)):
        if state.is_main_process:
            tidy_record(folder)
            if spec.blocks is not None and read_record(folder).get("blocks") != spec.blocks:
                remeasure(folder, spec.blocks)
        state.wait_for_everyone()
        return load_record(folder)
    passes = len(dataset) * len(task.columns)
    if setting.needs in ("likelihoods", "embeddings"):
        passes = passes_of(scorer, task, recipe, dataset[0], spec.window, len(dataset))
    masked = setting.needs == "likelihoods" and isinstance(scorer, LanguageModel) and scorer.kind == "masked"
    step = None
    if isinstance(scorer, Encoder):
        auto = job.batch_size == "auto"
        step = largest_batch(scorer.device, spec.window or length) if auto else int(job.batch_size)
    tokens = passes * (spec.window or length) / len(dataset)
    usual = part_rows(MASKED_SHARD_ROWS if masked else SHARD_ROWS, tokens, ORIGINAL_BATCH)
    shard_rows = int(os.environ.get("DART_EVAL_SHARD_ROWS", usual))
    shards = folder / f".shards-{identity[:16]}-{shard_rows}"
    with ExitStack() as stack:
        in_first_process(lambda: hold_record(stack, folder, keep=None if spec.overwrite else shards))
        started = time.perf_counter()

        def prepare() -> Score:
            what = f"scoring {len(dataset):,} rows of {spec.task}, {spec.chosen_setting}"
            tokens = spec.window or length
            together = bool(task.alike) or (task.alleles and getattr(recipe, "alleles", WHOLE) == WHOLE)
            alike = reads_alike(scorer) if together and setting.needs in ("likelihoods", "embeddings") else None
            announce(what, scorer, passes=passes, tokens=tokens, batch_size=spec.batch_size, alike=alike)
            return finite_scores(setting, scorer, dataset, job)

        own = score_in_shards(prepare, len(dataset), shards, shard_rows, identity, step, passes, "passes")
        scored = sum(gathered(own))
        seconds = time.perf_counter() - started

        def finish() -> None:
            predictions = pa.concat_tables(
                map(read_shard, all_shards(shards, len(dataset), shard_rows)), promote_options=NULLS
            )
            predictions = setting.finish(predictions) if setting.finish else predictions
            metrics = all_metrics(predictions, what)
            record = completed(what, metrics, scorer.device_name, state.num_processes, seconds)
            record["sequences_per_second"] = round(len(task.columns) * scored / seconds, 1)
            write_record(folder, record, predictions)
            remove(shards)

        in_first_process(finish)
    return load_record(folder)


def sources_of(spec: RunSpec, scorer: Any) -> list[Source] | None:
    """What the model of a run was pretrained on, as told or as its card says; None where that is unknown."""
    told = [spec.pretrained_on] if isinstance(spec.pretrained_on, str) else spec.pretrained_on or []
    revision = getattr(scorer, "revision", None) or spec.revision  # the very commit, which is in the Hub's cache
    in_memory = str(revision).startswith("in-memory")
    return None if in_memory and not told else pretraining_of(spec.model, told, revision)


def hold_record(stack: ExitStack, folder: Path, keep: Path | None) -> None:
    """Hold the folder of a record to the end of `stack`, and remove what other runs that were killed left there.

    Args:
        keep: the shards of this run, to go on from.

    Raises:
        InputError: if another process writes there, or something that is no record of ours is in its place.
    """
    stack.enter_context(locked(folder / LOCK, folder))
    check_record_place(folder)
    sweep_folder(folder)
    for shards in folder.glob(".shards-*"):
        if shards != keep:
            remove(shards)


def tidy_record(folder: Path) -> None:
    """Remove what a run that was killed after its last step left beside its record; nothing where that cannot be."""
    if any(folder.glob(".*")):
        with suppress(InputError, OSError), ExitStack() as stack:
            hold_record(stack, folder, keep=None)


def finite_scores(setting: Setting, scorer: Any, dataset: Dataset, job: Job) -> Score:
    """The setting's scores of rows, of which every number that the model computes is checked.

    Raises:
        NotFinite: naming the model, and the row of the dataset, for NaN or infinity.
    """
    score = setting.score(scorer, dataset, job)
    if isinstance(scorer, RowPredictor):  # which checks what it reads, and may have nothing for a row that is not used
        return score
    name_of = getattr(scorer, "name", "the trained model")
    computed = [name for name in setting.columns if name not in dataset.column_names]

    def checked(rows: range) -> Columns:
        found = score(rows)
        for name in computed:
            own, there = found.get(name, ()), np.arange(len(rows))
            if isinstance(own, pa.Array):  # a null is missing on purpose, and a status says why
                own, there = own.drop_null(), np.flatnonzero(own.is_valid())
            values = np.asarray(own)
            if values.dtype.kind == "f" and len(values) == len(there):
                place = partial(row_name, rows, there)
                check_finite(values, name_of, place)
        return found

    return checked


def row_name(rows: range, there: np.ndarray, number: int) -> str:
    """What an error calls a row, from its number among those of `rows` that have a value."""
    return f"row {rows[int(there[number])]} of the data set"


def is_finished(folder: Path, what: Mapping[str, Any]) -> bool:
    """Whether this very run is recorded already.

    Args:
        what: is run, as the record says it.

    Raises:
        InputError: if the folder holds the record of another run, which would be lost, or other predictions.
        FileNotFoundError: if it holds no predictions.
    """
    if not (folder / RESULTS).exists():
        return False
    existing = read_record(folder)
    if existing["fingerprint"] == fingerprint(what):
        try:
            predictions_of(folder, existing)
        except (OSError, InputError) as error:
            raise type(error)(f"{error}; delete {folder / RESULTS} to make it again") from None
        return True
    there, here = (flattened({name: record[name] for name in RUN}) for record in (existing, what))
    names = [name for name in there | here if there.get(name) != here.get(name)]
    differs = f" ({names[0]} is {there.get(names[0])!r} there and {here.get(names[0])!r} here)" if names else ""
    raise InputError(
        f"{folder / RESULTS} is the record of another run{differs}: choose another output, or overwrite it"
    )


def is_trained(spec: RunSpec) -> bool:
    """Whether a run trains its model, rather than taking what a table, a column or a track says."""
    return spec.chosen_setting in SUPERVISED and is_trained_kind(spec.model)


def load_model(spec: RunSpec, setting: Setting, device: str, loaded: Loaded) -> Any:
    """The scorer that a specification names, once for all runs that share it."""
    head = setting.needs in ("likelihoods", "tokens")
    make = partial(
        load_scorer,
        spec.model,
        revision=spec.revision,
        device=device,
        dtype=spec.dtype,
        trust_remote_code=spec.trust_remote_code,
        head=head,
        seed=spec.seed,
    )
    return once(loaded, ("model", spec.model, spec.revision, device, spec.dtype, head, spec.seed), make)


def once(loaded: Loaded, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
    """What `make` gives, from `loaded` where it is there."""
    if key not in loaded:
        loaded[key] = make()
    return loaded[key]


def recipe_of(spec: RunSpec, task: Task, setting: Setting, scorer: Any) -> Any:
    """The recipe of a setting for a scorer that is not trained.

    Raises:
        InputError: if the scorer cannot do what the setting asks for, naming the settings that it can do.
    """
    if not isinstance(scorer, NEEDS[setting.needs]):
        able = [name for name, own in task.settings.items() if own.needs in abilities(scorer)]
        others = f"; of this task it can do {', '.join(able)}" if able else ""
        raise InputError(
            f"{scorer.name} has no {setting.needs}, which {task.name} asks for in {spec.chosen_setting}{others}"
        )
    if setting.needs == "likelihoods":
        recipe = recipe_named(spec.recipe).of(scorer)
        recipe.check(scorer, task.alleles)
        return recipe
    return embedding_recipe(task, scorer, spec.protocol, spec.layer) if setting.needs == "embeddings" else None


def passes_of(scorer: Any, task: Task, recipe: Any, row: Mapping[str, Any], window: int | None, rows: int) -> int:
    """About how many rows go through a model for those of a dataset, by the first of them, `row`.

    Raises:
        InputError: naming the model and the lengths, for sequences too long for it.
    """
    sequences = rows * len(task.columns)
    if not isinstance(scorer, Encoder):
        return sequences
    special = recipe.special_tokens if isinstance(recipe, Recipe) else NOT_SCORED
    _, own = scorer.encode(Job(None, window).crop([row[next(iter(task.columns))]]), special)
    if not isinstance(recipe, Recipe):
        return sequences
    sequences = rows if task.alleles and recipe.alleles == MASKED else sequences
    each = 1 if is_one_pass(scorer, task, recipe) else int(own.sum())
    return sequences * (2 if recipe.strand == "mean" else 1) * each


def is_one_pass(scorer: Any, task: Task, recipe: Any) -> bool:
    """Whether a sequence, or two alleles, go through the model once, and not once for each token."""
    if scorer.kind != "masked" or not isinstance(recipe, Recipe):
        return True
    return task.alleles and recipe.alleles == MASKED


def note_passes(scorer: Any, task: Task, recipe: Any, passes: int) -> None:
    """Say how many passes a masked model needs."""
    if isinstance(scorer, Encoder) and scorer.kind == "masked":
        why = "one for each sequence" if is_one_pass(scorer, task, recipe) else "one for each token"
        logger.info("masked model: about %s rows through the model, %s", f"{passes:,}", why)


def train(
    spec: RunSpec, task: Task, rows_of: Callable[[str], Dataset], inputs: Mapping[str, str], device: str
) -> tuple[Any, dict[str, Any], Any]:
    """Train the model, or load a finished training: a predictor, what a record says of it, and its recipe."""
    from evaluation_dart.training.supervised import train_predictor

    trained = train_predictor(
        spec.model,
        task,
        spec.chosen_setting,
        rows_of,
        protocol=spec.protocol,
        method=spec.method,
        budget=spec.budget,
        folder=Path(spec.training),
        trained_on=None if spec.trained is None else Path(spec.trained),
        cache=None if spec.cache is None else Path(spec.cache),
        hyperparameters=spec.hyperparameters,
        window=spec.window,
        batch_size=64 if spec.batch_size == "auto" else int(spec.batch_size),
        revision=spec.revision,
        device=device,
        trust_remote_code=spec.trust_remote_code,
        overwrite=spec.overwrite,
        seed=spec.seed,
        inputs=inputs,
    )
    return trained.predictor, trained.description, trained.recipe


def load_rows(spec: RunSpec, split: str) -> Dataset:
    """One split of a task as a Dataset.

    Raises:
        InputError: naming the split, if it has no rows.
    """
    bars = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        rows: Any = load_dart(
            spec.task,
            protocol=spec.protocol,
            splits=spec.splits,
            cache_dir=spec.cache_dir,
            num_proc=spec.num_proc,
            **spec.inputs,
        )
    finally:
        if not bars:
            enable_progress_bars()
    if split not in rows:
        files = ", ".join(str(path) for name, path in spec.inputs.items() if name != "genome")
        aside = split == "validation" and BUILDERS[spec.task].BUILDER_CONFIG_CLASS.FOLDED is not None
        folds = '; splits "folds" sets some aside for validation' if aside and spec.protocol == "fixed" else ""
        raise InputError(f"{files}: no element is in split {split!r}; there are {', '.join(rows)}{folds}")
    counts = " ".join(rows[split].info.description.split()).rpartition("Rows: ")[2].partition(" Duplicates: ")[0]
    if "left out" in counts:
        warn_once(logger, counts, f"{spec.task}: {counts}")
    return rows[split]


def drawn(dataset: Dataset, limit: int | None, seed: int | None) -> tuple[Dataset, str]:
    """At most `limit` rows: the first or, with a seed, rows at random in their order; and what that is called."""
    if limit is None or limit >= len(dataset):
        return dataset, "all"
    if seed is None:
        return dataset.select(range(limit)), f"the first {limit}"
    rows = np.random.default_rng(seed).choice(len(dataset), limit, replace=False)
    return dataset.select(np.sort(rows).tolist()), f"{limit} at random, seed {seed}"
