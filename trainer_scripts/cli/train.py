"""The command `hyenadna train`: a model fine-tuned on a folder of `hyenadna dataset`, with its card (docs/own_data.md).

Several processes: accelerate launch --num_processes 2 -m trainer_scripts.cli.hyenadna train ...
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from datasets_dart.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset

    from evaluation_dart.models.language_model import LanguageModel
    from evaluation_dart.statistics.metric import Metric
    from evaluation_dart.training.supervised import Objective, Predictor

SPLITS = ("train", "validation", "test")
KMER = 5  # of the linear model that stands beside every model in its card
SHOWN = 3  # sequences in the card's logo
LOGO, PREDICTIONS, RESULTS = "logo.png", "predictions.parquet", "results.json"


class Method(StrEnum):
    full = "full"
    lora = "lora"


def train(
    data: Annotated[Path, typer.Option(help="folder of hyenadna dataset")],
    model: Annotated[str, typer.Option(help="Hub id or folder of the model to start from")],
    output: Annotated[Path, typer.Option(help="folder to write; new or empty")],
    method: Annotated[Method, typer.Option(help="all weights, or LoRA, which is merged at the end")] = Method.full,
    pooling: Annotated[
        str | None, typer.Option(help="of HyenaDNA's hidden states: mean, max, last or first; default: the model's")
    ] = None,
    epochs: Annotated[int, typer.Option(help="through the training rows; the best on validation is kept", min=1)] = 10,
    batch_size: Annotated[int, typer.Option(help="rows in a step, over all processes", min=1)] = 32,
    learning_rate: Annotated[float, typer.Option(help="AdamW's, constant")] = 6e-4,
    weight_decay: Annotated[float, typer.Option(help="AdamW's")] = 0.01,
    reverse_complement: Annotated[bool, typer.Option(help="of a random half of the rows in training")] = True,
    class_weights: Annotated[bool, typer.Option("--class-weights", help="inverse to the classes' frequencies")] = False,
    precision: Annotated[str, typer.Option(help="fp32, or bf16 by autocast")] = "fp32",
    seed: Annotated[int, typer.Option(help="of the head, the order and the strands")] = 0,
    logo: Annotated[bool, typer.Option(help="draw what the model reads in three test rows")] = True,
    licence: Annotated[
        str, typer.Option("--license", help="of the card: which do the model's and the data's allow?")
    ] = "unknown",
    revision: Annotated[str | None, typer.Option(help="commit, branch or tag on the Hub")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...; default: what there is")] = None,
    trust_remote_code: Annotated[bool, typer.Option(help="run code from the model's repository")] = False,
) -> None:
    """Fine-tune a model, measure it on the test rows beside a linear model of k-mers, and write its card.

    A training that was killed goes on from its last epoch when the same line is given again.

    hyenadna train --data ctcf --model model_cards/hyenadna-tiny-1k-demo --output ctcf-model
    """
    from transformers import set_seed
    from transformers.utils import logging

    import modeling_hyenadna  # noqa: F401  (registers HyenaDNA with the Auto classes)
    from evaluation_dart.records import model_id
    from evaluation_dart.report.logo import check_logo
    from evaluation_dart.tools.own_data import new_folder
    from evaluation_dart.training.accelerators import process_state
    from evaluation_dart.training.finetuning import FineTuned, load_classifier
    from evaluation_dart.training.supervised import Predictor, Training, fit

    new_folder(output)
    if precision not in ("fp32", "bf16"):
        raise InputError(f"--precision {precision}: there are fp32 and bf16")
    if logo:
        check_logo(Path(LOGO))
    about, splits, objective = read_rows(data)
    state = process_state(device)
    logging.disable_progress_bar()
    set_seed(seed)
    started = load_classifier(
        *(model, objective.outputs, revision, device or state.device, trust_remote_code),
        changes=None if pooling is None else {"pooling": pooling},
    )
    if pooling is not None and getattr(started.model.config, "pooling", None) != pooling:
        raise InputError(f"--pooling {pooling}: {model} has no such choice")
    training = Training(
        method.value,
        *(epochs, batch_size, 1, learning_rate, weight_decay),
        reverse_complement=reverse_complement,
        class_weights=class_weights,
        precision=precision,
        seed=seed,
    )
    lora = (training.rank, training.alpha, training.dropout) if method == Method.lora else None
    network = FineTuned(started, lora)
    started.encode([max((row for own in splits.values() for row in own["sequence"][:]), key=len)])  # too long?
    scratch = output.absolute().with_name(f"{output.name}.training")
    origin = {"id": model_id(model), "revision": started.revision}
    examples = {split: examples_of(splits[split], objective, split) for split in ("train", "validation")}
    fitted = fit(
        network,
        objective,
        *(examples["train"], examples["validation"], training, scratch),
        described={"model": origin, "data": about["inputs"]},
    )
    if not state.is_main_process:
        return
    scores = predicted(Predictor(network, objective, batch_size), splits["test"])
    record = {
        "model": origin | {"parameters": started.num_parameters},
        "training": json.loads((scratch / "log.json").read_text())["fitted"],
        "choices": training.__dict__,
        "data": about,
        "metrics": metrics_of(scores, splits["test"], objective),
        f"metrics of {KMER}-mers": metrics_of(kmer_predictions(splits, objective), splits["test"], objective),
    }
    typer.echo(f"best epoch {fitted.best_epoch:g}, {fitted.seconds:.0f} s", err=True)
    if lora is not None:
        merge(started)
    name_outputs(started.model.config, objective)
    write_model(output, started, splits["test"], scores, record, logo, licence)
    shutil.rmtree(scratch)
    for name, metric in shown(record["metrics"], objective).items():
        typer.echo(f"{name}: {with_interval(metric)}")
    typer.echo(f"{output}: the model, its card, and predictions of {len(scores)} test rows")


def read_rows(folder: Path) -> tuple[dict[str, Any], dict[str, Dataset], Objective]:
    """What dataset.json says, the rows of each split, and what is to be learned.

    Raises:
        FileNotFoundError, ValueError: naming the file that is not there, or is none of `hyenadna dataset`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Dataset

    from datasets_dart.files import input_file
    from evaluation_dart.tools.own_data import ABOUT
    from evaluation_dart.training.supervised import Objective

    path = input_file(folder / ABOUT)
    try:
        about = json.loads(path.read_text())
        classes = about["classes"]
        splits = {split: Dataset(pq.read_table(input_file(folder / f"{split}.parquet"))) for split in SPLITS}
    except (json.JSONDecodeError, KeyError, TypeError, pa.ArrowInvalid) as error:
        raise InputError(f"{folder}: no folder of hyenadna dataset: {error}") from None
    if classes is None:
        return about, splits, Objective("counts", 1)
    return about, splits, Objective("classes", len(classes), tuple(classes))


def examples_of(rows: Dataset, objective: Objective, split: str) -> Any:
    """The rows as [`supervised.Examples`], whose columns are those of DART-Eval's tasks."""
    from evaluation_dart.training.supervised import Examples

    if objective.kind == "counts":
        rows = rows.rename_column("label", "log_counts").add_column("cell_type", ["own"] * len(rows))
    return Examples(rows, objective, split)


def predicted(predictor: Predictor, rows: Dataset) -> np.ndarray:
    """Outputs for each row, the mean of both strands: (n, outputs) float64."""
    from datasets_dart.alphabet import reverse_complement

    sequences = rows["sequence"][:]
    return (predictor.predict(sequences) + predictor.predict([*map(reverse_complement, sequences)])) / 2


def kmer_predictions(splits: Mapping[str, Dataset], objective: Objective) -> np.ndarray:
    """Outputs of a linear model of k-mer frequencies for the test rows, its penalty chosen on validation."""
    import numpy as np

    from evaluation_dart.models.kmers import kmer_frequencies
    from evaluation_dart.models.linear import choose_linear

    features = {split: kmer_frequencies(rows["sequence"][:], KMER) for split, rows in splits.items()}
    labels = {split: np.array(rows["label"][:]) for split, rows in splits.items()}
    chosen = choose_linear(
        *({"kmers": features["train"]}, labels["train"], {"kmers": features["validation"]}, labels["validation"]),
        objective,
    )
    return chosen.model(features["test"])


def metrics_of(scores: np.ndarray, rows: Dataset, objective: Objective) -> dict[str, Metric]:
    """Metrics with intervals, by blocks of the genome where it is known where the rows lie."""
    import numpy as np

    from evaluation_dart.statistics.metrics import activity_metrics, class_metrics

    chrom, start = np.array(rows["chrom"][:]), np.array(rows["start"][:])
    where = (chrom, start) if (start >= 0).all() else (None, None)
    labels = np.array(rows["label"][:])
    if objective.kind == "classes":
        return class_metrics(scores, labels, objective.classes, *where)
    found = activity_metrics(scores[:, 0], labels, np.full(len(labels), "peaks"), *where)
    return {name.removesuffix("_peaks"): metric for name, metric in found.items()}


def shown(metrics: Mapping[str, Metric], objective: Objective) -> dict[str, Metric]:
    """The metrics that a card shows: of two classes, those of the second."""
    if objective.kind == "counts":
        return dict(metrics)
    classes = objective.classes[-1:] if objective.outputs == 2 else objective.classes
    names = ["accuracy", *(f"{kind}_{name}" for name in classes for kind in ("auroc", "auprc"))]
    return {name: metrics[name] for name in names if name in metrics}


def merge(classifier: LanguageModel) -> None:
    from evaluation_dart.training.lora import merge_lora

    merge_lora(getattr(classifier.model, classifier.model.base_model_prefix))


def name_outputs(config: Any, objective: Objective) -> None:
    if objective.kind == "counts":
        config.problem_type = "regression"
        return
    config.problem_type = "single_label_classification"
    config.id2label = dict(enumerate(objective.classes))
    config.label2id = {name: number for number, name in enumerate(objective.classes)}


def write_model(
    folder: Path,
    classifier: LanguageModel,
    rows: Dataset,
    scores: np.ndarray,
    record: Mapping[str, Any],
    logo: bool,
    licence: str,
) -> None:
    """Write the model's folder as a whole: under another name, then renamed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    temporary = folder.absolute().with_name(f".{folder.name}.writing")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    classifier.model.save_pretrained(temporary)
    classifier.tokenizer.save_pretrained(temporary)
    names = [f"output_{number}" for number in range(scores.shape[1])]
    table = {name: rows[name][:] for name in ("chrom", "start", "end", "label")}
    pq.write_table(pa.table(table | dict(zip(names, scores.T, strict=True))), temporary / PREDICTIONS)
    (temporary / RESULTS).write_text(json.dumps(record, indent=1) + "\n")
    if logo:
        draw(temporary / LOGO, classifier, rows, scores)
    (temporary / "README.md").write_text(card(folder.name, record, logo, licence))
    if folder.exists():
        folder.rmdir()
    temporary.replace(folder)


def draw(path: Path, classifier: LanguageModel, rows: Dataset, scores: np.ndarray) -> None:
    """Mutagenesis of the test rows with the highest score, both strands averaged."""
    import numpy as np

    from evaluation_dart.report.logo import draw_logos
    from evaluation_dart.scoring.heads import head_scorer
    from evaluation_dart.tools.mutagenesis import changes, importance

    target = scores.shape[1] - 1
    score = head_scorer(classifier, target, "mean")
    others = scores[:, :target].max(axis=1) if target else 0.0
    order = np.argsort(-(scores[:, target] - others))
    panels = []
    for row in order[:SHOWN].tolist():
        own = rows[row]
        place = f"{own['chrom']}:{own['start']}-{own['end']}" if own["start"] >= 0 else f"test row {row}"
        table = changes(score, own["sequence"], 0, len(own["sequence"]))
        panels.append((place, importance(table, own["sequence"])))
    draw_logos(path, panels, "score")


def with_interval(metric: Metric) -> str:
    interval = "" if metric["low"] is None else f" [{metric['low']:.3f}, {metric['high']:.3f}]"
    return f"{metric['value']:.3f}{interval} (n = {metric['n']:,})"


def card(name: str, record: Mapping[str, Any], logo: bool, licence: str) -> str:
    """The model's card: metadata that the Hub reads, what it was trained on, and what came of it."""
    from huggingface_hub import EvalResult, ModelCardData

    about, choices = record["data"], record["choices"]
    classes = about["classes"]
    rows = {split: sum(n.values()) if isinstance(n, dict) else n for split, n in about["rows"].items()}
    ours = {key: metric for key, metric in record["metrics"].items() if key in table_rows(record)}
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
    labels = "one number, " + about["target"] if classes is None else f"{len(classes)} classes: {', '.join(classes)}"
    lines = [
        *("---", data.to_yaml(), "---", "", f"# {name}", ""),
        f"`{origin}` (revision {record['model']['revision']}), fine-tuned ({choices['method']}) by `hyenadna train`.",
        f"It predicts {labels}.",
        *("", "| test rows | this model | linear model of " + f"{KMER}-mers |", "|---|---|---|"),
        *table_rows(record).values(),
        "",
        f"Intervals: {next(iter(ours.values()))['method']}"
        + "".join(f"; of others, {method}" for method in other_methods(ours))
        + ". Outputs are the mean of both strands.",
        *("", "## Data", ""),
        f"{rows['train']:,} rows to train on, {rows['validation']:,} for validation, {rows['test']:,} for the test"
        + (f", of {about['window']} bases each" if about["window"] else "")
        + (f"; negatives: {about['negatives'].replace('_', ' ')}" if about["negatives"] else "")
        + f"; splits: {json.dumps(about['splits'])}.",
        *("", *(f"* {kind}: {value}" for kind, value in about["inputs"].items())),
        *("", "## Training", ""),
        f"Epoch {record['training']['best_epoch']:g} of {choices['epochs']}, that with the smallest validation loss;",
        f"batches of {choices['batch_size']}, learning rate {choices['learning_rate']:g}, seed {choices['seed']}.",
    ]
    if logo:
        lines += ["", "## What it reads", "", f"![importance of each base in three test rows]({LOGO})", ""]
        lines += ["Score of the base that is there less the mean over all four (in-silico mutagenesis), in the test"]
        lines += ["rows with the highest scores. An example, not a motif analysis."]
    lines += ["", "## Limits", ""]
    lines += ["The metrics are of the test rows above and of nothing else. Not for clinical use.", ""]
    return "\n".join(lines)


def table_rows(record: Mapping[str, Any]) -> dict[str, str]:
    from evaluation_dart.training.supervised import Objective

    classes = record["data"]["classes"]
    objective = Objective("counts", 1) if classes is None else Objective("classes", len(classes), tuple(classes))
    beside = record[f"metrics of {KMER}-mers"]
    return {
        name: f"| {name} | {with_interval(metric)} | {with_interval(beside[name]) if name in beside else ''} |"
        for name, metric in shown(record["metrics"], objective).items()
    }


def other_methods(metrics: Mapping[str, Metric]) -> Sequence[str]:
    methods = list(dict.fromkeys(metric["method"] for metric in metrics.values()))
    return methods[1:]
