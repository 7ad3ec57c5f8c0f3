"""Pretrain a HyenaDNA on the windows of a genome, by next-base prediction.

    python -m trainer_scripts.pretrain --genome hg38.fa --validation_chromosomes chr14 chrX --steps 20000 \\
        --output_dir runs/tiny-1k

The same line starts a run, and goes on with one that was killed, to the same bits. Several processes:
`accelerate launch --config_file trainer_scripts/configs/ddp_8gpu.yaml -m trainer_scripts.pretrain ...`.

Where this differs from the original recipe (HyenaDNA section A.1 and its code of June 2023; docs/pretraining.md):

* Windows start anywhere, on either strand, not at the left end of fixed intervals (--windows original); no window
  touches an excluded or a held-out region. Unknown bases are read as N and never predicted; the original turned them
  into [PAD], and predicted those.
* A window is `context` bases and nothing else. Its ends are arbitrary cuts, so no [SEP] is predicted after it, and
  [SEP] stays untrained: pool with the mean, not the last token.
* The number of steps is explicit, and the cosine ends where the steps end.

AdamW's parameter groups are the original's: the implicit filter with its own learning rate and no weight decay,
everything else decayed. The head is tied to the embedding.
"""

import importlib.util
import json
import math
import sys
import time
from argparse import ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from logging import ERROR, getLogger
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.tracking import filter_trackers
from accelerate.utils import set_seed
from torch.nn import functional as F
from tqdm.auto import tqdm
from transformers import AutoModelForCausalLM, HfArgumentParser, PreTrainedModel
from transformers.utils import logging

from datasets_dart.errors import InputError
from datasets_dart.files import write_text
from evaluation_dart.training.accelerators import training_accelerator
from evaluation_dart.training.states import newest_state, remove_leftovers, save_state
from modeling_hyenadna import HyenaDNAConfig, HyenaDNATokenizer
from trainer_scripts.genome_windows import tile_windows
from trainer_scripts.pretraining_data import (
    IGNORED,
    DataArguments,
    WindowSource,
    base_token_ids,
    language_model_batch,
    predicted_bases,
    read_genome,
    training_and_validation_regions,
    window_source,
)
from trainer_scripts.pretraining_state import (
    Progress,
    check_same_run,
    plot_loss,
    read_log,
    save_model,
)

TRACKERS = ("tensorboard", "trackio", "wandb")
CONSTANT = ("sequences", "tokens")


@dataclass
class ModelArguments:
    model: str | None = field(default=None, metadata={"help": "folder or Hub id to go on from; default: from scratch"})
    d_model: int = field(default=128, metadata={"help": "width of a new model"})
    n_layer: int = field(default=2, metadata={"help": "blocks of a new model"})
    context: int = field(default=1024, metadata={"help": "bases in a window"})
    embed_dropout: float = field(default=0.1, metadata={"help": "dropout after the embedding"})


@dataclass
class TrainingArguments:
    output_dir: str = field(metadata={"help": "folder for model, log, curve and checkpoints"})
    steps: int = field(metadata={"help": "optimiser steps"})
    batch_size: int = field(default=8, metadata={"help": "windows in a forward pass of one process"})
    accumulation: int = field(default=1, metadata={"help": "forward passes in a step"})
    warmup_lengths: list[int] = field(
        default_factory=list, metadata={"help": "shorter windows to start with; the paper: 64, and doubled each stage"}
    )
    warmup_length_steps: int = field(default=500, metadata={"help": "steps at each of --warmup_lengths"})
    warmup_constant: str = field(
        default="sequences",
        metadata={
            "help": "a step of shorter windows has as many of them (the paper), or of bases",
            "choices": CONSTANT,
        },
    )
    learning_rate: float = field(default=6e-4, metadata={"help": "highest learning rate"})
    filter_learning_rate: float = field(default=6e-4, metadata={"help": "that of the implicit filters"})
    warmup_steps: int = field(default=200, metadata={"help": "steps of linear warm-up"})
    final_learning_rate: float = field(default=0.0, metadata={"help": "its end, as a part of the highest"})
    weight_decay: float = field(default=0.1, metadata={"help": "of all but the implicit filters"})
    beta2: float = field(default=0.999, metadata={"help": "AdamW's second moment"})
    max_grad_norm: float = field(default=1.0, metadata={"help": "gradient clipping"})
    bf16: bool = field(default=False, metadata={"help": "autocast to bfloat16"})
    activation_checkpointing: bool = field(
        default=False, metadata={"help": "keep one tensor a block for the backward pass, compute the rest again"}
    )
    compile: bool = field(default=False, metadata={"help": "torch.compile every block"})
    seed: int = field(default=2222, metadata={"help": "of weights, windows and held-out blocks"})
    log_every: int = field(default=50, metadata={"help": "steps"})
    evaluate_every: int = field(default=500, metadata={"help": "steps; the model folder is brought up to date, too"})
    checkpoint_every: int = field(default=500, metadata={"help": "steps between states to go on from"})
    keep_checkpoints: int = field(default=2, metadata={"help": "newest states to keep"})
    report_to: list[str] = field(default_factory=list, metadata={"help": "trackers", "choices": TRACKERS})


def learning_rate_factor(step: int, steps: int, warmup: int, final: float) -> float:
    """Linear warm-up, then a half cosine from 1 down to `final` at the last step."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - 1 - warmup)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


@dataclass(frozen=True)
class Stage:
    """Consecutive steps with windows of one length.

    Attributes:
        steps: how many; None for the last stage, which has no end.
        length: bases in a window.
        windows: of a forward pass of one process.
    """

    steps: int | None
    length: int
    windows: int


def stages(context: int, arguments: TrainingArguments) -> list[Stage]:
    """Sequence-length warm-up: each warm-up length for `warmup_length_steps` steps, then the whole context.

    A step has a constant number of windows as in the paper (appendix A.1), or of bases, rounded down to whole windows.
    """

    def windows(length: int) -> int:
        return arguments.batch_size * (context // length if arguments.warmup_constant == "tokens" else 1)

    for length in arguments.warmup_lengths:
        if not 2 <= length <= context:
            raise InputError(f"--warmup_lengths: {length} is not between 2 and the context of {context} bases")
    warm = [Stage(arguments.warmup_length_steps, length, windows(length)) for length in arguments.warmup_lengths]
    return [*warm, Stage(None, context, arguments.batch_size)]


def place(step: int, plan: list[Stage]) -> tuple[Stage, int, int]:
    """The stage of `step`, and how many windows and bases come before it in all, for one forward pass a step."""
    windows = tokens = 0
    for stage in plan:
        here = step if stage.steps is None else min(step, stage.steps)
        windows, tokens = windows + here * stage.windows, tokens + here * stage.windows * stage.length
        step -= here
        if stage.steps is None or here < stage.steps:
            return stage, windows, tokens
    raise AssertionError("the last stage has no end")


def parameter_groups(model: PreTrainedModel, arguments: TrainingArguments) -> list[dict[str, Any]]:
    """The original's two groups (HyenaDNA code, optimiser hooks of the implicit filter; spec section 1.9)."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    filters = [parameter for name, parameter in named if ".implicit_filter." in name]
    others = [parameter for name, parameter in named if ".implicit_filter." not in name]
    return [
        {"params": others, "lr": arguments.learning_rate, "weight_decay": arguments.weight_decay},
        {"params": filters, "lr": arguments.filter_learning_rate, "weight_decay": 0.0},
    ]


@torch.no_grad()
def window_losses(
    model: torch.nn.Module, windows: np.ndarray, token_ids: np.ndarray, device: torch.device, batch_size: int = 16
) -> np.ndarray:
    """Nats of each base given those before it in its window, bases not to be predicted NaN: (n, L - 1) float64."""
    losses = np.empty((len(windows), windows.shape[1] - 1))
    for first in range(0, len(windows), batch_size):
        batch = language_model_batch(windows[first : first + batch_size], token_ids, device)
        logits = model(input_ids=batch["input_ids"]).logits[:, :-1].float()
        target = batch["labels"][:, 1:]
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=IGNORED, reduction="none")
        loss = loss.view(target.shape).double().masked_fill(target == IGNORED, math.nan)
        losses[first : first + batch_size] = loss.cpu().numpy()
    return losses


def evaluate(
    accelerator: Accelerator, model: torch.nn.Module, windows: np.ndarray, token_ids: np.ndarray, batch_size: int
) -> float:
    """Mean nats a base over held-out windows, shared out among the processes."""
    model.eval()
    size, rank = accelerator.num_processes, accelerator.process_index
    # All make as many forward passes, because a sharded model gathers its weights in each; some score windows twice.
    share = math.ceil(len(windows) / size)
    mine = np.resize(windows, (share * size, windows.shape[1]))[rank::size]
    losses = window_losses(model, mine, token_ids, accelerator.device, batch_size)
    model.train()
    once = losses[: len(windows[rank::size])]
    sums = torch.tensor([np.nansum(once), np.isfinite(once).sum()], dtype=torch.float64, device=accelerator.device)
    total = accelerator.reduce(sums, "sum")
    return float(total[0] / total[1])


def optimiser_step(
    accelerator: Accelerator,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    parts: list[np.ndarray],
    token_ids: np.ndarray,
    arguments: TrainingArguments,
) -> torch.Tensor:
    """One step on the windows `parts`, one forward pass each; the mean loss over the predicted bases of all processes.

    The gradient is that of this mean, however the windows are shared out among processes and forward passes.
    """
    counted = torch.tensor(sum(map(predicted_bases, parts)), device=accelerator.device, dtype=torch.float32)
    predicted = accelerator.reduce(counted, "sum").clamp(min=1)
    total = torch.zeros((), device=accelerator.device)
    for windows in parts:
        with accelerator.accumulate(model):
            batch = language_model_batch(windows, token_ids, accelerator.device)
            loss = model(**batch, num_items_in_batch=predicted).loss
            # Undone by the mean over processes of their gradients, and by backward's own division.
            accelerator.backward(loss * (accelerator.num_processes * len(parts)))
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), arguments.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
        total += loss.detach()
    return accelerator.reduce(total, "sum")


def own_parts(
    source: WindowSource, step: int, plan: list[Stage], accumulation: int, accelerator: Accelerator
) -> Iterator[np.ndarray]:
    """This process's windows of a step, (windows, length) codes for each of its forward passes."""
    stage, before, _ = place(step, plan)
    size, rank = accelerator.num_processes, accelerator.process_index
    for part in range(accumulation):
        first = (before * accumulation * size) + (part * size + rank) * stage.windows
        yield source(np.arange(first, first + stage.windows), stage.length)


def make_accelerator(arguments: TrainingArguments) -> Accelerator:
    """Accelerate as it was launched, with trackers.

    Raises:
        ValueError: for a tracker that is not installed.
    """
    for tracker in arguments.report_to:
        if importlib.util.find_spec(tracker) is None:
            raise InputError(f"--report_to {tracker}: not installed; pip install 'hyenadna-dart[{tracker}]'")
    accelerator = training_accelerator(
        "bf16" if arguments.bf16 else None, arguments.accumulation, arguments.batch_size, arguments.max_grad_norm
    )
    accelerator.project_configuration.set_directories(arguments.output_dir)
    accelerator.log_with = filter_trackers(arguments.report_to, accelerator.logging_dir)
    return accelerator


def tracked(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments as all trackers take them."""
    return {name: value if isinstance(value, int | float | str) else str(value) for name, value in arguments.items()}


def new_model(arguments: ModelArguments, tokenizer: HyenaDNATokenizer) -> PreTrainedModel:
    """A HyenaDNA of the released models' proportions, embedding and head tied; or the one to go on from."""
    if arguments.model:
        return AutoModelForCausalLM.from_pretrained(arguments.model, embed_dropout=arguments.embed_dropout)
    config = HyenaDNAConfig(
        vocab_size=len(tokenizer),
        d_model=arguments.d_model,
        n_layer=arguments.n_layer,
        max_seq_len=arguments.context + 2,  # as released: room for two special tokens
        emb_dim=5,
        activation_freq=10,
        embed_dropout=arguments.embed_dropout,
        tie_word_embeddings=True,
    )
    return AutoModelForCausalLM.from_config(config)


def prepare_model(model: PreTrainedModel, arguments: TrainingArguments) -> None:
    """Activation checkpointing and compilation, in place: the state dict keeps its keys."""
    if arguments.activation_checkpointing:
        getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
    if arguments.compile:
        for block in model.get_submodule("hyena.backbone.layers").children():
            block.compile()


def train(model_arguments: ModelArguments, data_arguments: DataArguments, arguments: TrainingArguments) -> None:
    """Train, or go on training, into `arguments.output_dir`.

    The folder holds the model and tokenizer as of the last evaluation, `log.jsonl`, `loss_curve.png`,
    `validation.bed` (the held-out regions), `run.json` (all arguments) and `checkpoints/` to go on from.

    Raises:
        ValueError: for data that do not fit, a folder that holds another run, or a loss that is not finite.
    """
    folder = Path(arguments.output_dir)
    states = folder / "checkpoints"
    states.mkdir(parents=True, exist_ok=True)
    accelerator = make_accelerator(arguments)
    main, size = accelerator.is_main_process, accelerator.num_processes
    everything = asdict(model_arguments) | asdict(data_arguments) | asdict(arguments) | {"processes": size}
    if (folder / "run.json").exists():
        check_same_run(folder / "run.json", everything)
    accelerator.wait_for_everyone()

    context, seed = model_arguments.context, arguments.seed
    plan = stages(context, arguments)
    genome = read_genome(data_arguments)
    regions = training_and_validation_regions(genome, data_arguments, seed)
    source = window_source(genome, regions, data_arguments, seed)
    starts = tile_windows(genome.codes, regions.held_out, context, data_arguments.max_unknown)
    if not len(starts):
        raise InputError(
            f"no held-out window of {context} bases has at most {data_arguments.max_unknown:.0%} of N: hold out more "
            "or other bases"
        )
    starts = np.random.default_rng(seed).permutation(starts)[: data_arguments.validation_windows]
    validation = genome.codes[starts[:, None] + np.arange(context)]

    set_seed(seed)
    tokenizer = HyenaDNATokenizer(model_max_length=context + 2)
    token_ids = base_token_ids(tokenizer)
    model = new_model(model_arguments, tokenizer)
    prepare_model(model, arguments)
    peaks = (arguments.learning_rate, arguments.filter_learning_rate)
    optimizer = torch.optim.AdamW(parameter_groups(model, arguments), betas=(0.9, arguments.beta2))
    model, optimizer = accelerator.prepare(model, optimizer)
    progress = Progress()
    accelerator.register_for_checkpointing(progress)
    log_path, log, first = folder / "log.jsonl", [], 0
    if found := newest_state(states):
        accelerator.load_state(str(found[0]))
        first = found[1]
        log = [entry for entry in read_log(log_path) if entry["step"] <= first]
    accelerator.wait_for_everyone()
    if main:
        remove_leftovers(states)
        write_text(folder / "run.json", json.dumps(everything, indent=1) + "\n")
        write_text(folder / "validation.bed", genome.bed_lines(regions.held_out))
        write_text(log_path, "".join(json.dumps(entry) + "\n" for entry in log))
    if arguments.report_to:
        accelerator.init_trackers("pretrain", config=tracked(everything))

    def tokens_before(step: int) -> int:
        return place(step, plan)[2] * arguments.accumulation * size

    began, logged = time.perf_counter(), first
    model.train()
    bar = tqdm(
        range(first, arguments.steps),
        initial=first,
        total=arguments.steps,
        unit="step",
        mininterval=5,
        disable=not main,
    )
    for step in bar:
        factor = learning_rate_factor(step, arguments.steps, arguments.warmup_steps, arguments.final_learning_rate)
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * factor
        # Dropout is a function of seed, step and process; the processes share the weights, not the masks.
        set_seed(int(np.random.SeedSequence([seed, step, accelerator.process_index]).generate_state(1)[0]))
        parts = list(own_parts(source, step, plan, arguments.accumulation, accelerator))
        progress.losses.append(optimiser_step(accelerator, model, optimizer, parts, token_ids, arguments))

        done = step + 1
        entry: dict[str, float] = {}
        if done % arguments.log_every == 0 or done == arguments.steps:
            entry["loss"] = progress.mean()
            if not math.isfinite(entry["loss"]):
                raise InputError(f"the loss is {entry['loss']} at step {done}; lower the learning rate")
            now = time.perf_counter()
            entry["learning_rate"] = arguments.learning_rate * factor
            entry["tokens_per_second"] = round((tokens_before(done) - tokens_before(logged)) / (now - began))
            began, logged = now, done
            bar.set_postfix(loss=f"{entry['loss']:.4f}", refresh=False)
        evaluated = done % arguments.evaluate_every == 0 or done == arguments.steps
        if evaluated:
            entry["validation_loss"] = evaluate(accelerator, model, validation, token_ids, 2 * arguments.batch_size)
            entry["validation_perplexity"] = math.exp(entry["validation_loss"])
        if entry:
            accelerator.log(entry, step=done)
        if entry and main:
            log.append({"step": done, "tokens": tokens_before(done)} | entry)
            with log_path.open("a") as file:
                file.write(json.dumps(log[-1]) + "\n")
        if evaluated:
            save_model(accelerator, model, tokenizer, folder)
            if main:
                plot_loss(log, folder / "loss_curve.png")
        if done % arguments.checkpoint_every == 0 or done == arguments.steps:
            save_state(accelerator, states, done, arguments.keep_checkpoints)
    accelerator.end_training()


class HelpFormatter(ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter):
    """Defaults shown, and the line to copy left as it is."""


def argument_parser(dataclasses: Any, script: str, description: str | None) -> HfArgumentParser:
    """The parser of a script of this package, from the dataclasses of its arguments."""
    return HfArgumentParser(
        dataclasses, prog=f"python -m trainer_scripts.{script}", description=description, formatter_class=HelpFormatter
    )


def main() -> None:
    parser = argument_parser((ModelArguments, DataArguments, TrainingArguments), "pretrain", __doc__)
    logging.disable_progress_bar()  # transformers shows one for writing its single file
    getLogger("accelerate.utils.other").setLevel(ERROR)  # warns at every state that the head is tied
    try:
        train(*parser.parse_args_into_dataclasses())
    except (ValueError, OSError) as error:
        sys.exit(f"pretrain: {error}")


if __name__ == "__main__":
    main()
