"""In-context learning of a downstream task (paper section 4.4.1): soft prompts, or shots after instruction tuning.

    python -m trainer_scripts.in_context --method soft_prompt --virtual_tokens 32 \\
        --task genomic_benchmarks/human_nontata_promoters --data gb/datasets --genome hg38.fa \\
        --model LongSafari/hyenadna-medium-160k-seqlen-hf --output_dir runs/prompt

soft_prompt: the model is frozen, and vectors ahead of its input are trained. few_shot: the model is tuned for one epoch
on --tuning_rows prompts of --shots examples of each class and a question, then asked about the test split. Either way a
class is a token (A or N of two, A, G or N of three), and the call is the likeliest of the whole vocabulary.

Other choices are those of trainer_scripts/downstream/METHOD.yaml, or of --recipe FILE. Pads are masked; the original
reads them. Each prompt of few_shot has shots of its own, drawn from the training rows; the paper does not say whose.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch.nn import functional as F
from transformers import HfArgumentParser
from transformers.utils import logging

from datasets_dart.errors import InputError
from datasets_dart.files import write_text
from evaluation_dart.models.language_model import LanguageModel, load_language_model
from evaluation_dart.records import model_id
from evaluation_dart.statistics.classification import accuracy, classification_metrics, confusion
from evaluation_dart.training.batches import LabelledRows
from evaluation_dart.training.loop import Training, fit, parameter_groups, predict
from trainer_scripts.finetune import (
    PLACES,
    PREDICTIONS,
    RECIPES,
    RESULTS,
    HelpFormatter,
    ModelArguments,
    Splits,
    TaskArguments,
    load_splits,
    recipe_of,
    summary,
    write_predictions,
)
from trainer_scripts.prompts import (
    Prompt,
    PromptWriter,
    SoftPromptClassifier,
    called_classes,
    draw_shots,
    label_token_ids,
)

METHODS = ("soft_prompt", "few_shot")


@dataclass
class InContextArguments:
    method: str = field(metadata={"help": " or ".join(METHODS)})
    virtual_tokens: int = field(default=32, metadata={"help": "soft_prompt: vectors ahead of the sequence"})
    shots: int = field(default=2, metadata={"help": "few_shot: examples of each class in a prompt"})
    tuning_rows: int = field(default=16, metadata={"help": "few_shot: prompts to tune the model on; 0: none"})


def soft_prompt(
    arguments: InContextArguments,
    loaded: LanguageModel,
    splits: Splits,
    training: Training,
    folder: Path,
    described: dict[str, Any],
    accelerator: Accelerator,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Outputs of the test split over the vocabulary, and what a record says of the training."""
    tokens = label_token_ids(loaded, splits.outputs)
    set_seed(training.seed)
    network = SoftPromptClassifier(loaded, arguments.virtual_tokens, splits.longest).to(accelerator.device)
    about: dict[str, Any] = {"steps": 0, "epoch": 0, "parameters": network.prompt.numel()}
    if arguments.virtual_tokens:
        validation = splits.validation.labels

        def score(outputs: np.ndarray) -> float:
            return float(accuracy(confusion(called_classes(outputs, tokens), validation, splits.outputs)))

        train, held_out = (splits.train.relabelled(tokens), splits.validation.relabelled(tokens))
        progress = fit(network, train, held_out, score, training, folder, described)
        about |= {"steps": progress.step, "epoch": progress.best_epoch}
    return predict(network, splits.test, 2 * training.forward_rows, accelerator), about


def few_shot(
    arguments: InContextArguments,
    loaded: LanguageModel,
    splits: Splits,
    training: Training,
    max_length: int,
    accelerator: Accelerator,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Outputs of the test split over the vocabulary, and what a record says of the tuning."""
    writer = PromptWriter(loaded, max_length, splits.outputs)
    writer.check(arguments.shots * splits.outputs)
    set_seed(training.seed)
    model = loaded.model.to(accelerator.device).requires_grad_(True)
    rows = np.random.default_rng([training.seed, 2]).permutation(len(splits.train))[: arguments.tuning_rows]
    tune(model, writer, arguments.shots, splits, rows, training)
    outputs = []
    for row in range(len(splits.test)):
        prompt, _ = prompt_of(writer, arguments.shots, splits, splits.test, row, training.seed)
        with torch.no_grad():
            outputs.append(asked_logits(model.eval(), [prompt])[0, -1].float().cpu().numpy())
    steps = -(-len(rows) // training.batch_size)
    return np.stack(outputs), {"steps": steps, "epoch": None, "parameters": loaded.num_parameters}


def prompt_of(
    writer: PromptWriter, shots: int, splits: Splits, rows: LabelledRows, row: int, seed: int
) -> tuple[Prompt, np.ndarray]:
    """The prompt that asks about a row, with shots of its own from the other training rows, and all its labels."""
    rng = np.random.default_rng([seed, int(rows is splits.train), row])
    pool = splits.train.labels.copy()
    if rows is splits.train:
        pool[row] = -1  # the answer is not among the shots
    chosen = draw_shots(pool, shots, splits.outputs, rng)
    sequences, labels = splits.train.read(chosen) if len(chosen) else ([], np.empty(0, np.int64))
    query, own = rows.read(np.array([row]))
    prompt = writer.write([*zip(sequences, labels.tolist(), strict=True)], query[0])
    return prompt, writer.labels[np.concatenate([labels, own]).astype(np.int64)]


def asked_logits(model: torch.nn.Module, prompts: Sequence[Prompt]) -> torch.Tensor:
    """Logits (B, shots + 1, vocabulary) where labels follow, of prompts of one length."""
    device = next(model.parameters()).device
    ids = torch.from_numpy(np.stack([prompt.ids for prompt in prompts])).to(device)
    mask = torch.from_numpy(np.stack([prompt.mask for prompt in prompts])).to(device).long()
    logits = model(input_ids=ids, attention_mask=mask).logits
    return logits[:, torch.from_numpy(prompts[0].asked).to(device)]


def tune(
    model: torch.nn.Module, writer: PromptWriter, shots: int, splits: Splits, rows: np.ndarray, training: Training
) -> None:
    """One epoch over prompts about `rows`: cross-entropy of all their labels, the shots' included."""
    optimizer = torch.optim.AdamW(parameter_groups(model, training))
    model.train()
    for first in range(0, len(rows), training.batch_size):
        batch = [
            prompt_of(writer, shots, splits, splits.train, int(row), training.seed)
            for row in rows[first : first + training.batch_size]
        ]
        logits = asked_logits(model, [prompt for prompt, _ in batch])
        labels = torch.from_numpy(np.stack([own for _, own in batch])).to(logits.device)
        F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), training.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()


def in_context(
    arguments: InContextArguments, task: TaskArguments, model: ModelArguments, training: Training
) -> dict[str, Any]:
    """Train, ask about the test split, and write results.json and predictions.parquet to `output_dir`.

    Raises:
        ValueError, FileNotFoundError: for inputs that do not fit, naming what is wrong with which.
    """
    if arguments.method not in METHODS:
        raise InputError(f"--method {arguments.method}: {' or '.join(METHODS)}")
    folder = Path(model.output_dir)
    accelerator = Accelerator()
    splits = load_splits(task, model.max_length)
    if splits.groups is not None:
        raise InputError(f"--task {task.task}: of one label a sequence, not of many")
    began = time.perf_counter()
    loaded = load_language_model(model.model, revision=model.revision, trust_remote_code=model.trust_remote_code)
    if loaded.kind != "causal":
        raise InputError(f"{model.model}: not a causal language model")
    described = {
        name: {key: value for key, value in asdict(own).items() if key not in PLACES}
        for name, own in (("in_context", arguments), ("task", task), ("model", model))
    }
    described["data"] = {"fingerprint": splits.fingerprint()}
    if arguments.method == "soft_prompt":
        outputs, about = soft_prompt(arguments, loaded, splits, training, folder, described, accelerator)
        size = {"virtual_tokens": arguments.virtual_tokens}
    else:
        outputs, about = few_shot(arguments, loaded, splits, training, model.max_length, accelerator)
        size = {"shots": arguments.shots, "tuning_rows": min(arguments.tuning_rows, len(splits.train))}
    called = called_classes(outputs, label_token_ids(loaded, splits.outputs))
    record = {
        "task": task.task,
        "method": arguments.method,
        **size,
        "protocol": task.protocol,
        "budget": task.budget,
        "model": {"id": model_id(model.model), "revision": loaded.revision, "trained": about.pop("parameters")},
        "seed": training.seed,
        "rows": {"train": len(splits.train), "validation": len(splits.validation), "test": len(splits.test)},
        **about,
        "recipe": asdict(training) | {"max_length": model.max_length},
        "calls_of_no_class": int((called == splits.outputs).sum()),
        "metrics": dict(classification_metrics(called, splits.test.labels, splits.classes)),
        "published": {},
        "fingerprint": described["data"]["fingerprint"],
        "seconds": round(time.perf_counter() - began, 1),
    }
    if accelerator.is_main_process:
        write_predictions(folder / PREDICTIONS, outputs, splits.test)
        write_text(folder / RESULTS, json.dumps(record, indent=1) + "\n")
    return record


ARGUMENTS: Any = (InContextArguments, TaskArguments, ModelArguments, Training)


def parse(
    words: Sequence[str] | None = None,
) -> tuple[InContextArguments, TaskArguments, ModelArguments, Training]:
    """Arguments of a command line, over the recipe's of the method."""
    parser = HfArgumentParser(
        ARGUMENTS, prog="python -m trainer_scripts.in_context", description=__doc__, formatter_class=HelpFormatter
    )
    words = list(sys.argv[1:] if words is None else words)
    if not {"-h", "--help"} & set(words):
        first = HfArgumentParser(ARGUMENTS[:2], add_help=False, allow_abbrev=False)
        arguments, task, _ = first.parse_args_into_dataclasses(words, return_remaining_strings=True)
        if arguments.method not in METHODS:
            raise InputError(f"--method {arguments.method}: {' or '.join(METHODS)}")
        path = Path(task.recipe) if task.recipe else RECIPES / f"{arguments.method}.yaml"
        chosen, _ = recipe_of(task.task, task.length, path)
        parser.set_defaults(**chosen)
        for action in parser._actions:
            action.required = action.required and action.dest != "model"
    made = parser.parse_args_into_dataclasses(words)
    return made[0], made[1], made[2], made[3]


def main() -> None:
    logging.disable_progress_bar()
    try:
        record = in_context(*parse())
    except (ValueError, OSError) as error:
        sys.exit(f"in_context: {' '.join(str(error).split())}")
    if Accelerator().is_main_process:
        print(summary(record))


if __name__ == "__main__":
    main()
