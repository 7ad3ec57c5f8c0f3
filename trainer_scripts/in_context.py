"""In-context learning of a downstream task (paper section 4.4.1): soft prompts, or shots after instruction tuning.

    python -m trainer_scripts.in_context --method soft_prompt --virtual_tokens 32 \\
        --task genomic_benchmarks/human_nontata_promoters --data gb/datasets --genome hg38.fa \\
        --model LongSafari/hyenadna-medium-160k-seqlen-hf --output runs/prompt

soft_prompt: the model is frozen, and vectors ahead of its input are trained. few_shot: the model is tuned for one epoch
on --tuning_rows prompts of --shots examples of each class and a question, then asked about the test split. Either way a
class is a token (A or N of two, A, G or N of three), and the call is the likeliest of the whole vocabulary.

Other choices are those of trainer_scripts/downstream/METHOD.yaml, or of --recipe FILE. Pads are masked; the original
reads them. Each prompt has shots of its own, drawn from the training rows; the original's code draws them from the
split of the question. soft_prompt may have shots, too, behind its vectors (the original's configuration: 2, 32, 128).

trainer_scripts.in_context_grid runs a grid of these settings.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate.utils import set_seed
from transformers import HfArgumentParser

from datasets_dart.errors import InputError
from evaluation_dart.models.checkpoints import model_id
from evaluation_dart.models.language_model import LanguageModel, load_language_model
from evaluation_dart.records import RESULTS, finished_record
from evaluation_dart.statistics.classification import accuracy, confusion
from evaluation_dart.training.accelerators import process_state
from evaluation_dart.training.downstream import called_classes
from evaluation_dart.training.loop import fit, predict
from evaluation_dart.training.objective import Objective
from evaluation_dart.training.recipe import Training
from evaluation_dart.training.rows import LabelledRows
from trainer_scripts.finetune import (
    RECIPES,
    ModelArguments,
    Splits,
    TaskArguments,
    described_run,
    hold_run,
    load_splits,
    note_choices,
    recipe_of,
    run_training,
    with_recipe,
    write_results,
)
from trainer_scripts.options import argument_parser, renamed
from trainer_scripts.prompts import (
    PromptClassifier,
    PromptRows,
    PromptWriter,
    SoftPromptClassifier,
    SoftPromptOfShots,
    label_token_ids,
)

METHODS = ("soft_prompt", "few_shot")


@dataclass
class InContextArguments:
    """How a frozen model is told the task."""

    method: str = field(metadata={"help": " or ".join(METHODS)})
    virtual_tokens: int = field(default=32, metadata={"help": "soft_prompt: vectors ahead of the sequence"})
    shots: int | None = field(
        default=None, metadata={"help": "examples of each class in a prompt; 2 of few_shot, none of soft_prompt"}
    )
    tuning_rows: int = field(default=16, metadata={"help": "few_shot: prompts to tune the model on; 0: none"})

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"--method {self.method}: {' or '.join(METHODS)}")
        if self.shots is None:
            self.shots = 2 if self.method == "few_shot" else 0
        for name in ("virtual_tokens", "shots", "tuning_rows"):
            if getattr(self, name) < 0:
                raise InputError(f"--{name} {getattr(self, name)}: 0 or more")


class Told(NamedTuple):
    """A model that was told its task, the rows to ask about, and what a record says of how it was told."""

    network: torch.nn.Module
    questions: LabelledRows
    about: dict[str, Any]


def soft_prompt(
    arguments: InContextArguments,
    loaded: LanguageModel,
    splits: Splits,
    training: Training,
    max_length: int,
    folder: Path,
    described: dict[str, Any],
) -> Told:
    """Vectors ahead of the model, trained; the same before shots."""
    tokens = label_token_ids(loaded, splits.outputs)
    set_seed(training.seed)
    rows = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    kind, length = SoftPromptClassifier, splits.longest
    if arguments.shots:
        writer = PromptWriter(loaded, max_length, splits.outputs)
        kind, length = SoftPromptOfShots, writer.tokens(arguments.shots * splits.outputs) - 1
        rows = {
            split: PromptRows(writer, arguments.shots, splits.outputs, splits.train, own, training.seed)
            for split, own in rows.items()
        }
    network = kind(loaded, arguments.virtual_tokens, length).to(loaded.device)
    about: dict[str, Any] = {"steps": 0, "epoch": 0, "parameters": network.prompt.numel()}
    if arguments.virtual_tokens:
        validation = splits.validation.labels

        def score(outputs: np.ndarray) -> float:
            return float(accuracy(confusion(called_classes(outputs, tokens), validation, splits.outputs)))

        train, held_out = (rows[split].relabelled(tokens) for split in ("train", "validation"))
        tokens_read = Objective("classes", len(loaded.tokenizer))
        progress = fit(network, train, held_out, tokens_read, training, folder, described, score=score)
        about |= {"steps": progress.step, "epoch": progress.best_epoch}
    return Told(network, rows["test"], about)


def few_shot(
    arguments: InContextArguments,
    loaded: LanguageModel,
    splits: Splits,
    training: Training,
    max_length: int,
    folder: Path,
    described: dict[str, Any],
) -> Told:
    """The model after instruction tuning.

    One epoch over prompts about some training rows, with the cross-entropy of all their labels, the shots' included.
    """
    assert arguments.shots is not None
    writer = PromptWriter(loaded, max_length, splits.outputs)
    writer.check(arguments.shots * splits.outputs)
    network = PromptClassifier(loaded.model)
    about: dict[str, Any] = {"steps": 0, "epoch": None, "parameters": loaded.num_parameters}
    if arguments.tuning_rows:
        chosen = np.random.default_rng([training.seed, 2]).permutation(len(splits.train))[: arguments.tuning_rows]
        prompts = PromptRows(
            writer, arguments.shots, splits.outputs, splits.train, splits.train, training.seed, numbers=chosen
        )
        tokens = Objective("classes", len(loaded.tokenizer))
        about["steps"] = fit(network, prompts, None, tokens, training, folder, described).step
    questions = PromptRows(writer, arguments.shots, splits.outputs, splits.train, splits.test, training.seed)
    return Told(network, questions, about)


def in_context(
    arguments: InContextArguments, task: TaskArguments, model: ModelArguments, training: Training
) -> dict[str, Any]:
    """Train, ask about the test split, and write results.json and predictions.parquet to `output`.

    Raises:
        InputError, FileNotFoundError: for inputs that do not fit, naming what is wrong with which.
    """
    folder = Path(model.output)
    state = process_state(model.device)
    with state.main_process_first():
        splits = load_splits(task, model.max_length)
    if splits.groups is not None:
        raise InputError(f"--task {task.task}: a sequence has many labels, and a prompt asks for one")
    began = time.perf_counter()
    loaded = load_language_model(
        model.model,
        revision=model.revision,
        device=model.device or state.device,
        trust_remote_code=model.trust_remote_code,
    )
    if loaded.kind != "causal":
        raise InputError(f"{model.model}: not a causal language model")
    described = described_run(splits, in_context=arguments, task=task, model=model)
    with ExitStack() as stack:
        hold_run(stack, model)
        if not (arguments.virtual_tokens if arguments.method == "soft_prompt" else arguments.tuning_rows):
            note_choices(folder, training, described)
        soft = arguments.method == "soft_prompt"
        tell = soft_prompt if soft else few_shot
        network, questions, about = tell(arguments, loaded, splits, training, model.max_length, folder, described)
        if (folder / RESULTS).is_file():
            return finished_record(folder)
        outputs = predict(network, questions, (1 + soft) * training.per_device_train_batch_size)
        outputs = outputs if outputs.ndim == 2 else outputs[:, -1]  # of few shots, the question's
        size: dict[str, Any] = {"virtual_tokens": arguments.virtual_tokens} if soft else {}
        size |= {"shots": arguments.shots} if arguments.shots or not soft else {}
        size |= {} if soft else {"tuning_rows": min(arguments.tuning_rows, len(splits.train))}
        tokens = label_token_ids(loaded, splits.outputs)
        return write_results(
            folder,
            outputs,
            splits,
            task,
            model,
            fingerprint=described["data"]["fingerprint"],
            seconds=time.perf_counter() - began,
            setting=arguments.method,
            about={"id": model_id(model.model), "revision": loaded.revision, "trained": about["parameters"]},
            training=training,
            seed=training.seed,
            label_tokens=tokens.tolist(),
            calls_of_no_class=int((called_classes(outputs, tokens) == splits.outputs).sum()),
            steps=about["steps"],
            epoch=about["epoch"],
            max_length=model.max_length,
            **size,
        )


ARGUMENTS: Any = (InContextArguments, TaskArguments, ModelArguments, Training)


def parse(words: Sequence[str]) -> tuple[InContextArguments, TaskArguments, ModelArguments, Training]:
    """Arguments of a command line, over the recipe's of the method."""
    parser = argument_parser(ARGUMENTS, "in_context", __doc__)
    words = renamed(list(words), "in_context")
    if not {"-h", "--help"} & set(words):
        first = HfArgumentParser(ARGUMENTS[:2], add_help=False, allow_abbrev=False)
        arguments, task, _ = first.parse_args_into_dataclasses(words, return_remaining_strings=True)
        path = Path(task.recipe) if task.recipe else RECIPES / f"{arguments.method}.yaml"
        chosen, _ = recipe_of(task.task, task.length, path)
        words = with_recipe(parser, chosen, words)
    made = parser.parse_args_into_dataclasses(words)
    return made[0], made[1], made[2], made[3]


def main() -> None:
    """Run the command line."""
    run_training(lambda words: in_context(*parse(words)), "in_context")


if __name__ == "__main__":
    main()
