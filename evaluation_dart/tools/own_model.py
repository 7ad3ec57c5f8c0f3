"""Fine-tune a model on a folder of own data, and write it with its metrics, its predictions and its card."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from accelerate.utils import set_seed
from datasets import Dataset
from huggingface_hub import EvalResult, ModelCardData

from datasets_dart.duplicates import Compared, count_duplicates
from datasets_dart.errors import InputError
from datasets_dart.files import input_file, link_target, sha256
from datasets_dart.formats.documents import read_json
from datasets_dart.formats.text import UNPRINTABLE, markdown, markdown_code
from datasets_dart.outputs import Output, held, hidden, new_folder, remove
from evaluation_dart.models.checkpoints import model_id
from evaluation_dart.models.kmers import kmer_frequencies
from evaluation_dart.models.language_model import LanguageModel
from evaluation_dart.models.linear import choose_linear
from evaluation_dart.pretraining import described as described_sources
from evaluation_dart.pretraining import pretraining_of, rows_inside
from evaluation_dart.records import (
    RESULTS,
    Record,
    all_metrics,
    completed,
    digest,
    measured,
    predictions_of,
    read_record,
    write_record,
)
from evaluation_dart.report.logo import Panel, check_logo, draw_logos, region_panel
from evaluation_dart.scoring.finite import check_finite
from evaluation_dart.scoring.heads import exclusive, head_scorer
from evaluation_dart.scoring.likelihoods import strands_of
from evaluation_dart.statistics.estimates import Estimate
from evaluation_dart.statistics.metric import Metric, interval_text
from evaluation_dart.statistics.metrics import activity_estimates, class_estimates
from evaluation_dart.tasks.base import MEGABASES, blocks_of
from evaluation_dart.tools.loading import paths_of
from evaluation_dart.tools.mutagenesis import changes, importance
from evaluation_dart.tools.own_data import LARGEST, spelt
from evaluation_dart.training.accelerators import check_common, in_first_process, process_state
from evaluation_dart.training.downstream import outputs_of, with_outputs
from evaluation_dart.training.finetuning import FineTuned, load_classifier
from evaluation_dart.training.loop import fit
from evaluation_dart.training.lora import merge_lora
from evaluation_dart.training.objective import Objective
from evaluation_dart.training.recipe import SupervisedTraining
from evaluation_dart.training.rows import LabelledRows
from evaluation_dart.training.supervised import METHODS, Predictor

ABOUT = "dataset.json"
SPLITS = ("train", "validation", "test")
COLUMNS = ("chrom", "start", "end", "sequence", "label")
KMER = 5  # of the linear model beside every model in its card
SHOWN = 3  # sequences in the card's logo
LOGO = "logo.png"
WEIGHTS = "model.safetensors"
MOST_LETTERS = 200  # of the name of a class
SCRATCH = "training"  # where a training is kept until the model is whole: .OUTPUT.training
logger = logging.getLogger(__name__)


def train_own_model(
    data: Path,
    model: str,
    output: Path,
    training: SupervisedTraining,
    *,
    pooling: str | None = None,
    logo: bool = True,
    licence: str = "unknown",
    revision: str | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
) -> dict[str, Metric]:
    """Fine-tune a model, measure it on the test rows beside a linear model of k-mers, and write its folder.

    A training that was killed resumes when it is called again with the same arguments.

    Args:
        data: folder of `hyenadna dataset`. model: Hub id or folder, of a registered type. output: new or empty
            folder, or that of this very training.
        pooling: of HyenaDNA's hidden states; None: the model's own.
        logo: draw what the model reads in three test rows. licence: of the card.

    Returns:
        The metrics that the card shows; in processes other than the first, none.

    Raises:
        InputError, FileNotFoundError, MissingExtra: for data, a model or choices that do not fit.
    """
    if training.method not in METHODS["finetuned"]:
        raise InputError(f"method {training.method}: there are {', '.join(METHODS['finetuned'])}")
    if logo:
        check_logo(Path(LOGO))
    about, splits, objective = read_rows(data)
    files = {split: sha256(input_file(data / f"{split}.parquet")) for split in splits}
    began = time.perf_counter()
    state = process_state(device)
    set_seed(training.seed)
    started = load_classifier(
        model,
        objective.outputs,
        revision=revision,
        device=device or state.device,
        trust_remote_code=trust_remote_code,
        changes=None if pooling is None else {"pooling": pooling},
    )
    if pooling is not None and getattr(started.model.config, "pooling", None) != pooling:
        raise InputError(f"pooling {pooling}: {model} has no such choice")
    lora = (training.lora_rank, training.lora_alpha, training.lora_dropout) if training.method == "lora" else None
    network = FineTuned(started, lora)
    started.encode([max((row for own in splits.values() for row in own["sequence"][:]), key=len)])  # too long?
    sources = pretraining_of(model, revision=revision)
    origin = {"id": model_id(model), "revision": started.revision, "pretrained_on": described_sources(sources)}
    spec = {"pooling": pooling, "logo": logo, "licence": licence}
    what = {
        "kind": "own model",
        "task": about["kind"],
        "split": "test",
        "setting": "finetuned",
        "protocol": "fixed",
        "recipe": {"name": training.method, **asdict(training)},
        "model": origin | {"parameters": started.num_parameters},
        "dataset": {
            "rows": len(splits["test"]),
            "fingerprint": digest(about | files),
            "inputs": about["inputs"],
            "duplicates": asdict(count_duplicates(splits, Compared())["test"]),
            "in_pretraining": rows_inside(splits["test"], sources, None),
        },
        "spec": {name: value for name, value in spec.items() if value is not None},
        "data": about,
        "blocks": MEGABASES,
    }
    own: list[Output] = []

    def hold() -> dict[str, Any] | None:
        own.append(stack.enter_context(held(output, paths_of(data, model))))
        found = finished(own[0].path, what)
        if found is None:
            new_folder(own[0].path)
        else:
            remove(hidden(own[0].path, SCRATCH))
        return found

    check_common(output)
    with ExitStack() as stack:
        if (found := in_first_process(hold)) is not None:
            return shown(Record(output, found).metrics, objective) if state.is_main_process else {}
        scratch = hidden(link_target(output.absolute()), SCRATCH)
        rows = {name: LabelledRows(splits[name], _labels(splits[name], objective)) for name in ("train", "validation")}
        progress = fit(
            network,
            rows["train"],
            rows["validation"],
            objective.weighted(rows["train"].labels) if training.class_weights else objective,
            training,
            scratch,
            described={"model": origin, "data": about["inputs"] | files},
        )
        if not own:
            return {}
        scores = _predicted(Predictor(network, objective), splits["test"])
        test = splits["test"].select_columns(["chrom", "start", "end", "label"]).data.table
        what["training"] = {
            "validation_loss": progress.validation_loss,
            "best_epoch": progress.best_epoch,
            "steps": progress.step,
        }
        predictions, others = (with_outputs(test, own) for own in (scores, _kmer_predictions(splits, objective)))
        beside = measured(others, what)
        what["baselines"] = {f"{KMER}-mers": beside}
        seconds = time.perf_counter() - began
        record = completed(what, all_metrics(predictions, what), str(state.device), state.num_processes, seconds)
        logger.info("best epoch %d", progress.best_epoch)
        if lora is not None:
            merge_lora(getattr(started.model, started.model.base_model_prefix))
        _name_outputs(started.model.config, objective)
        folder = own[0].scratch / output.name
        _write_model(folder, started, splits["test"], scores, predictions, record, logo, licence)
        own[0].put_folder()
        remove(scratch)
        return shown(record["metrics"], objective)


def finished(folder: Path, what: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of a model's folder, if this very training wrote it and its weights and predictions are as they were.

    Raises:
        InputError: naming a file that was changed since.
    """
    if not (folder / RESULTS).is_file():
        return None
    record = read_record(folder)
    names = ("kind", "task", "recipe", "dataset", "spec")
    if any(record.get(name) != json.loads(json.dumps(what[name])) for name in names):
        return None
    if {**record["model"], "parameters": 0} != {**what["model"], "parameters": 0}:
        return None
    predictions_of(folder, record)
    weights = folder / WEIGHTS
    if not weights.is_file() or sha256(weights) != record["training"].get("weights"):
        raise InputError(f"{weights}: not the weights of the record beside it; delete {folder} to make it again")
    return record


def read_rows(folder: Path) -> tuple[dict[str, Any], dict[str, Dataset], Objective]:
    """What dataset.json says, the rows of each split, and what is to be learned.

    Raises:
        FileNotFoundError, InputError: naming the file that is not there, or was not made by `hyenadna dataset`.
    """
    path = input_file(folder / ABOUT)
    try:
        about = read_json(path)
        objective = objective_of(about)
        files = {split: input_file(folder / f"{split}.parquet") for split in SPLITS}
        splits = {split: Dataset(checked_rows(path, pq.read_table(path), objective)) for split, path in files.items()}
    except (AttributeError, KeyError, TypeError, pa.ArrowException) as error:
        raise InputError(f"{folder}: no folder of hyenadna dataset: {error}") from None
    if objective.kind == "counts" and len(set(splits["test"]["label"][:])) == 1:
        raise InputError(f"{files['test']}: all rows have one label: no model can be judged by them")
    for name in objective.classes:  # before hours of training: no record can hold them
        if not isinstance(name, str) or UNPRINTABLE.search(name) or len(name) > MOST_LETTERS:
            raise InputError(f"{path}: class {name!r} is not a name of up to {MOST_LETTERS} printable characters")
    return about, splits, objective


def checked_rows(path: Path, rows: pa.Table, objective: Objective) -> pa.Table:
    """The rows of a file, if each has a sequence and a label that the objective has.

    Raises:
        InputError: naming the file, the row (from 0) and the value of the first that has not.
    """
    if missing := [name for name in COLUMNS if name not in rows.column_names]:
        raise InputError(f"{path}: has no column {missing[0]!r}")
    sequences, labels = rows["sequence"].to_pylist(), rows["label"]
    if objective.kind == "counts":
        values = pc.cast(labels, "float64").to_numpy(zero_copy_only=False)
        bad, wanted = ~(np.abs(values) <= LARGEST), "a finite number"
    else:
        if not pa.types.is_integer(labels.type):
            raise InputError(f"{path}: the labels are {labels.type}, not numbers of classes")
        values = pc.fill_null(labels, -1).to_numpy()
        bad, wanted = (values < 0) | (values >= objective.outputs), f"a number of a class, 0 to {objective.outputs - 1}"
    for row, sequence in enumerate(sequences):
        if not isinstance(sequence, str) or not sequence:
            raise InputError(f"{path}: row {row} has no sequence: {sequence!r}")
    if bad.any():
        row = int(bad.argmax())
        raise InputError(f"{path}: row {row} has the label {labels[row].as_py()!r}, not {wanted}")
    return rows


def objective_of(about: Mapping[str, Any]) -> Objective:
    """What is to be learned from a folder of own data, by its dataset.json."""
    classes = about["classes"]
    return Objective("counts", 1) if classes is None else Objective("classes", len(classes), tuple(classes))


def _labels(rows: Dataset, objective: Objective) -> np.ndarray:
    return np.array(rows["label"][:], dtype=np.float32 if objective.kind == "counts" else np.int64)


def _predicted(predictor: Predictor, rows: Dataset) -> np.ndarray:
    """Outputs for each row, the mean of both strands: (n, outputs) float64."""
    outputs = np.asarray(np.mean([predictor.predict(own) for own in strands_of(rows["sequence"][:], "mean")], axis=0))
    check_finite(outputs, "the trained model", lambda row: f"test row {row}")
    return outputs


def _kmer_predictions(splits: Mapping[str, Dataset], objective: Objective) -> np.ndarray:
    """Outputs of a linear model of k-mer frequencies for the test rows, its penalty chosen on validation."""
    features = {split: {"kmers": kmer_frequencies(rows["sequence"][:], KMER)} for split, rows in splits.items()}
    train, validation = (np.array(splits[split]["label"][:]) for split in ("train", "validation"))
    chosen = choose_linear(features["train"], train, features["validation"], validation, objective)
    return chosen.model(features["test"]["kmers"])


def estimates_of(predictions: pa.Table, record: Mapping[str, Any]) -> dict[str, Estimate]:
    """Estimates of the metrics of a record's predictions, by blocks of the genome where it is known where rows lie."""
    objective = objective_of(record["data"])
    scores = outputs_of(predictions)
    labels, blocks = predictions["label"].to_numpy(), blocks_of(predictions, record.get("blocks", MEGABASES))
    if objective.kind == "classes":
        return class_estimates(scores, labels, objective.classes, blocks)
    found = activity_estimates(scores[:, 0], labels, np.full(len(labels), "peaks"), blocks)
    return {name.removesuffix("_peaks"): estimate for name, estimate in found.items()}


def shown(metrics: Mapping[str, Metric], objective: Objective) -> dict[str, Metric]:
    """The metrics that a card shows: of two classes, those of the second."""
    if objective.kind == "counts":
        return dict(metrics)
    classes = objective.classes[-1:] if objective.outputs == 2 else objective.classes
    names = ["accuracy", *(f"{kind}_{name}" for name in classes for kind in ("auroc", "auprc"))]
    return {name: metrics[name] for name in names if name in metrics}


def _name_outputs(config: Any, objective: Objective) -> None:
    config.problem_type = "regression" if objective.kind == "counts" else "single_label_classification"
    if objective.classes:
        config.id2label = dict(enumerate(objective.classes))
        config.label2id = {name: number for number, name in enumerate(objective.classes)}


def _write_model(
    folder: Path,
    classifier: LanguageModel,
    rows: Dataset,
    scores: np.ndarray,
    predictions: pa.Table,
    record: Mapping[str, Any],
    logo: bool,
    licence: str,
) -> None:
    """Write the files of the model's folder."""
    folder.mkdir(parents=True)
    classifier.model.save_pretrained(folder)
    classifier.tokenizer.save_pretrained(folder)
    write_record(folder, with_weights(record, sha256(folder / WEIGHTS)), predictions)
    if logo:
        _draw(folder / LOGO, classifier, rows, scores)
    (folder / "README.md").write_text(card(folder.name, record, logo, licence))


def with_weights(record: Mapping[str, Any], digest: str) -> dict[str, Any]:
    """A record that says which weights it is of."""
    return {**record, "training": {**record["training"], "weights": digest}}


def _draw(path: Path, classifier: LanguageModel, rows: Dataset, scores: np.ndarray) -> None:
    """Mutagenesis of the test rows with the highest score, both strands averaged."""
    target = scores.shape[1] - 1
    score = head_scorer(classifier, target, "mean", alike=True)
    others = scores[:, :target].max(axis=1) if target else 0.0
    panels = []
    for row in np.argsort(-(scores[:, target] - others))[:SHOWN].tolist():
        own = rows[row]
        table = changes(score, own["sequence"], 0, len(own["sequence"]))
        heights = importance(table, own["sequence"])
        where = (own["chrom"], own["start"], own["end"])
        panels.append(region_panel(*where, heights) if own["start"] >= 0 else Panel(f"test row {row}", heights))
    draw_logos(path, panels, "importance (log-odds)" if exclusive(classifier.model.config) else "importance (output)")


def with_interval(metric: Mapping[str, Any]) -> str:
    """A metric in a line of text."""
    return f"{metric['value']:.3f}{interval_text(metric)} (n = {metric['n']:,})"


def card(name: str, record: Mapping[str, Any], logo: bool, licence: str) -> str:
    """The model's card: metadata that the Hub reads, what it was trained on, and what came of it."""
    about, choices = record["data"], record["recipe"]
    classes = None if about["classes"] is None else [*map(markdown, about["classes"])]
    rows = {split: sum(n.values()) if isinstance(n, dict) else n for split, n in about["rows"].items()}
    counts = ", ".join(spelt(split, count) for split, count in about["rows"].items())
    left_out = ", ".join(f"{count} {reason}" for reason, count in about.get("left_out", {}).items()) or "none"
    ours, beside = shown(record["metrics"], objective_of(about)), record["baselines"][f"{KMER}-mers"]
    origin = record["model"]["id"]
    data = ModelCardData(
        license=licence,
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["biology", "genomics", "dna"],
        base_model=None if origin.startswith("local/") else origin,
        model_name=name,
        eval_results=[
            EvalResult(
                task_type="text-classification",
                dataset_type="own",
                dataset_name=f"{about['kind']}, test rows",
                metric_type=key,
                metric_value=round(metric["value"], 4),
            )
            for key, metric in ours.items()
        ],
    )
    target = markdown(about["target"])
    labels = f"one number, {target}" if classes is None else f"{len(classes)} classes: {', '.join(classes)}"
    meaning = "the predicted value" if classes is None else "one for each class of model.config.id2label"
    of_length = f", {about['window']} bases long" if about["window"] else ""
    methods: Sequence[str] = list(dict.fromkeys(metric["method"] for metric in ours.values()))
    table = "\n".join(
        f"| {markdown(key)} | {with_interval(metric)} | {with_interval(beside[key]) if key in beside else ''} |"
        for key, metric in ours.items()
    )
    window = f", of {about['window']} bases each" if about["window"] else ""
    negatives = f"; negatives: {about['negatives'].replace('_', ' ')}" if about["negatives"] else ""
    inputs = "\n".join(f"* {markdown(kind)}: {markdown(value)}" for kind, value in about["inputs"].items())
    reads = f"""
## What it reads

![importance of each base in three test rows]({LOGO})

Score of the observed base minus the mean over all four (in-silico mutagenesis), in the test
rows with the highest scores. An example, not a motif analysis.
"""
    return f"""---
{data.to_yaml()}
---

# {markdown(name)}

{markdown_code(origin)} (revision {record["model"]["revision"]}), fine-tuned ({choices["method"]}) by `hyenadna train`.
It predicts {labels}.

## Use

```python
import modeling_hyenadna  # registers HyenaDNA with the Auto classes; models of another architecture do not need it
from transformers import AutoModelForSequenceClassification, AutoTokenizer

name = {json.dumps(name)}  # this folder, or the repository that it was pushed to
tokenizer, model = AutoTokenizer.from_pretrained(name), AutoModelForSequenceClassification.from_pretrained(name)
logits = model(**tokenizer(["ACGTTGCAACGT"], return_tensors="pt")).logits  # {meaning}
```

For sequences like the rows below{of_length}, of the same species. `hyenadna score` gives the change of the output by
each variant, `hyenadna mutagenesis` that by each substitution in a region, and `hyenadna embed` the hidden states.

## Measured

| test rows | this model | linear model of {KMER}-mers |
|---|---|---|
{table}

Intervals: {"; of others, ".join(methods)}. Outputs are the mean of both strands.

## Data

{rows["train"]:,} rows to train on, {rows["validation"]:,} for validation, {rows["test"]:,} for the test\
{window}{negatives}; splits: {markdown_code(json.dumps(about["splits"]))}.

Rows by split and class: {counts}. Rows left out: {left_out}.

{inputs}

## Training

Epoch {record["training"]["best_epoch"]} of {choices["num_train_epochs"]}, which has the smallest validation loss; \
batches of {choices["batch_size"]},
learning rate {choices["learning_rate"]:g}, seed {choices["seed"]}.
{reads if logo else ""}
## Limits

The metrics are those of the test rows above and of nothing else: another cell type, assay or species was not measured.
Not for clinical use.
"""
