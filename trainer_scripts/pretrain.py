"""Pretrain a HyenaDNA on the windows of a genome, by next-base prediction.

    python -m trainer_scripts.pretrain --genome hg19.chrX.fa.gz --exclude held_out.bed --exclude_margin 10000 \\
        --steps 20000 --learning_rate 2e-3 --output_dir runs/tiny-1k

The same line starts a run, and goes on with one that was killed. Several processes, or bfloat16 throughout:
`accelerate launch --multi_gpu --num_processes 2 -m trainer_scripts.pretrain ...` (with ACCELERATE_USE_CPU=1 on CPU).

Where this differs from the original recipe (HyenaDNA section A.1 and its code of June 2023):

* Windows start anywhere, on either strand, not at the left end of fixed intervals; no window touches an excluded or a
  held-out region. Unknown bases are read as N and never predicted; the original turned them into [PAD], and predicted
  those.
* A window is `context` bases and nothing else. Its ends are arbitrary cuts, so no [SEP] is predicted after it, and
  [SEP] stays untrained: pool with the mean, not the last token.
* The number of steps is explicit, and the cosine ends where the steps end.

AdamW's parameter groups are the original's: the implicit filter with its own learning rate and no weight decay,
everything else decayed. The head is tied to the embedding.
"""

import json
import math
import os
import shutil
import sys
import time
from argparse import ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, set_seed
from torch.nn import functional as F
from tqdm.auto import tqdm
from transformers import AutoModelForCausalLM, HfArgumentParser, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from evaluation_dart.baselines import UNKNOWN
from modeling_hyenadna import HyenaDNAConfig, HyenaDNATokenizer
from trainer_scripts.genome_windows import (
    GenomeCodes,
    choose_blocks,
    draw_windows,
    subtract_regions,
    tile_windows,
)

IGNORED = -100
# What a run that goes on may change: the rest decides which model comes out.
FREE_ON_RESUME = {"steps", "log_every", "evaluate_every", "checkpoint_every", "keep_checkpoints", "output_dir"}


@dataclass
class ModelArguments:
    model: str | None = field(default=None, metadata={"help": "folder or Hub id to go on from; default: from scratch"})
    d_model: int = field(default=128, metadata={"help": "width of a new model"})
    n_layer: int = field(default=2, metadata={"help": "blocks of a new model"})
    context: int = field(default=1024, metadata={"help": "bases in a window"})
    embed_dropout: float = field(default=0.1, metadata={"help": "dropout after the embedding"})


@dataclass
class DataArguments:
    genome: str = field(metadata={"help": "FASTA (plain or bgzip)"})
    chromosomes: list[str] | None = field(default=None, metadata={"help": "contigs to train on; default: all"})
    intervals: str | None = field(default=None, metadata={"help": "BED to train on; default: whole contigs"})
    exclude: list[str] | None = field(default=None, metadata={"help": "BED files that no window may touch"})
    exclude_margin: int = field(default=0, metadata={"help": "bases around each excluded interval"})
    validation: str | None = field(default=None, metadata={"help": "BED held out for validation"})
    validation_fraction: float = field(default=0.05, metadata={"help": "without --validation: part held out as blocks"})
    validation_block: int = field(default=1_000_000, metadata={"help": "bases in such a block"})
    validation_windows: int = field(default=256, metadata={"help": "held-out windows to score"})
    max_unknown: float = field(default=0.1, metadata={"help": "largest part of N in a window"})
    reverse_complement: bool = field(default=True, metadata={"help": "half the windows from the other strand"})


@dataclass
class TrainingArguments:
    output_dir: str = field(metadata={"help": "folder for model, log, curve and checkpoints"})
    steps: int = field(metadata={"help": "optimiser steps"})
    batch_size: int = field(default=8, metadata={"help": "windows in a forward pass of one process"})
    accumulation: int = field(default=1, metadata={"help": "forward passes in a step"})
    warmup_lengths: list[int] = field(
        default_factory=list, metadata={"help": "shorter windows to start with, as many bases a step"}
    )
    warmup_length_steps: int = field(default=500, metadata={"help": "steps at each of --warmup_lengths"})
    learning_rate: float = field(default=6e-4, metadata={"help": "highest learning rate"})
    filter_learning_rate: float = field(default=6e-4, metadata={"help": "that of the implicit filters"})
    warmup_steps: int = field(default=200, metadata={"help": "steps of linear warm-up"})
    final_learning_rate: float = field(default=0.0, metadata={"help": "its end, as a part of the highest"})
    weight_decay: float = field(default=0.1, metadata={"help": "of all but the implicit filters"})
    beta2: float = field(default=0.999, metadata={"help": "AdamW's second moment"})
    max_grad_norm: float = field(default=1.0, metadata={"help": "gradient clipping"})
    bf16: bool = field(default=False, metadata={"help": "autocast to bfloat16"})
    seed: int = field(default=2222, metadata={"help": "of weights, windows and held-out blocks"})
    log_every: int = field(default=50, metadata={"help": "steps"})
    evaluate_every: int = field(default=500, metadata={"help": "steps; the model folder is brought up to date, too"})
    checkpoint_every: int = field(default=500, metadata={"help": "steps between states to go on from"})
    keep_checkpoints: int = field(default=2, metadata={"help": "newest states to keep"})


def learning_rate_factor(step: int, steps: int, warmup: int, final: float) -> float:
    """Linear warm-up, then a half cosine from 1 down to `final` at the last step."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - 1 - warmup)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def window_length(step: int, context: int, warmup_lengths: list[int], stage_steps: int) -> int:
    """Bases in a window at `step`: each warm-up length for `stage_steps` steps, then the whole context."""
    stage = step // stage_steps
    return warmup_lengths[stage] if stage < len(warmup_lengths) else context


def parameter_groups(model: PreTrainedModel, arguments: TrainingArguments) -> list[dict]:
    """The original's two groups (HyenaDNA code, optimiser hooks of the implicit filter; spec section 1.9)."""
    filters = [p for name, p in model.named_parameters() if ".implicit_filter." in name and p.requires_grad]
    rest = [p for name, p in model.named_parameters() if ".implicit_filter." not in name and p.requires_grad]
    return [
        {"params": rest, "peak": arguments.learning_rate, "weight_decay": arguments.weight_decay},
        {"params": filters, "peak": arguments.filter_learning_rate, "weight_decay": 0.0},
    ]


def base_token_ids(tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """Token id of each base code, unknown bases as N: (5,) int64."""
    return np.array(tokenizer.convert_tokens_to_ids(list("ACGTN")), dtype=np.int64)


def language_model_batch(windows: np.ndarray, token_ids: np.ndarray, device: torch.device) -> dict[str, torch.Tensor]:
    """Codes (B, L) to `input_ids` and `labels`, both (B, L); unknown bases are not predicted. The model shifts."""
    input_ids = token_ids[windows]
    labels = np.where(windows == UNKNOWN, IGNORED, input_ids)
    return {"input_ids": torch.from_numpy(input_ids).to(device), "labels": torch.from_numpy(labels).to(device)}


@torch.no_grad()
def window_losses(
    model: torch.nn.Module, windows: np.ndarray, token_ids: np.ndarray, device: torch.device, batch_size: int = 16
) -> np.ndarray:
    """Nats of each base given those before it in its window, unknown bases NaN: (n, L - 1) float64."""
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
    mine = windows[accelerator.process_index :: accelerator.num_processes]
    losses = window_losses(model, mine, token_ids, accelerator.device, batch_size)
    model.train()
    total = gather_object([(float(np.nansum(losses)), int(np.isfinite(losses).sum()))])
    return sum(loss for loss, _ in total) / sum(count for _, count in total)


def write_text(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


def save_model(model: PreTrainedModel, tokenizer: HyenaDNATokenizer, folder: Path) -> None:
    """Write model and tokenizer to `folder`, each file whole or not at all."""
    temporary = folder / ".model.tmp"
    model.save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    for file in temporary.iterdir():
        os.replace(file, folder / file.name)
    temporary.rmdir()


def save_checkpoint(accelerator: Accelerator, folder: Path, step: int, keep: int) -> None:
    """Write the state after `step` steps to `folder/step-<step>`, whole or not at all, and drop all but the newest."""
    temporary, final = folder / ".state.tmp", folder / f"step-{step:08d}"
    if accelerator.is_main_process:
        shutil.rmtree(temporary, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(temporary))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        shutil.rmtree(final, ignore_errors=True)
        os.replace(temporary, final)
        for old in sorted(folder.glob("step-*"))[:-keep]:
            shutil.rmtree(old)


def newest_checkpoint(folder: Path) -> tuple[Path, int] | None:
    """The newest state and the number of steps it has behind it."""
    found = sorted(folder.glob("step-*"))
    return (found[-1], int(found[-1].name.removeprefix("step-"))) if found else None


def read_log(path: Path) -> list[dict]:
    """Entries of a log, without a last line that a kill cut short."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def plot_loss(log: list[dict], path: Path) -> None:
    """Training and held-out loss against bases seen, as a PNG; nothing where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    training = [(entry["tokens"] / 1e6, entry["loss"]) for entry in log if "loss" in entry]
    held_out = [(entry["tokens"] / 1e6, entry["validation_loss"]) for entry in log if "validation_loss" in entry]
    axes.plot(*zip(*training, strict=True), color="0.75", linewidth=0.8, label="training windows")
    if held_out:
        axes.plot(*zip(*held_out, strict=True), color="C0", marker="o", markersize=3, label="held-out blocks")
        low = min(loss for _, loss in held_out)
        settled = [loss for _, loss in training[len(training) // 20 :]]
        axes.set_ylim(min(low, *settled) - 0.01, max(settled[0], held_out[0][1]) + 0.01)
    axes.set(xlabel="million bases seen", ylabel="nats a base")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, dpi=120, format="png")
    os.replace(temporary, path)


def training_and_validation_regions(
    genome: GenomeCodes, arguments: DataArguments, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Regions to draw from and regions held out; they share no base with each other or with what is excluded."""
    regions = genome.regions(arguments.intervals) if arguments.intervals else genome.whole()
    if arguments.validation:
        held_out = genome.regions(arguments.validation)
    else:
        rng = np.random.default_rng(seed)
        held_out = choose_blocks(
            genome.codes, genome.whole(), arguments.validation_fraction, arguments.validation_block, rng
        )
    regions = subtract_regions(regions, held_out)
    for bed in arguments.exclude or []:
        excluded = genome.regions(bed, arguments.exclude_margin)
        regions, held_out = subtract_regions(regions, excluded), subtract_regions(held_out, excluded)
    return regions, held_out


def check_same_run(path: Path, arguments: dict) -> None:
    """Refuse to go on with a run that was started with other arguments."""
    for name, old in json.loads(path.read_text()).items():
        if name not in FREE_ON_RESUME and arguments.get(name) != old:
            raise ValueError(
                f"{path}: this run was started with {name}={old!r}, not {arguments.get(name)!r}; "
                "choose another --output_dir"
            )


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
    everything = asdict(model_arguments) | asdict(data_arguments) | asdict(arguments)
    if (folder / "run.json").exists():
        check_same_run(folder / "run.json", everything)

    accelerator = Accelerator(
        mixed_precision="bf16" if arguments.bf16 else None, gradient_accumulation_steps=arguments.accumulation
    )
    context = model_arguments.context
    genome = GenomeCodes.from_fasta(data_arguments.genome, data_arguments.chromosomes)
    regions, held_out = training_and_validation_regions(genome, data_arguments, arguments.seed)
    starts = tile_windows(genome.codes, held_out, context)
    if not len(starts):
        raise ValueError(f"no held-out window of {context} bases is without N: hold out more or other bases")
    starts = np.random.default_rng(arguments.seed).permutation(starts)[: data_arguments.validation_windows]
    validation = genome.codes[starts[:, None] + np.arange(context)]

    set_seed(arguments.seed)
    tokenizer = HyenaDNATokenizer(model_max_length=context + 2)
    token_ids = base_token_ids(tokenizer)
    model = new_model(model_arguments, tokenizer)
    optimizer = torch.optim.AdamW(
        parameter_groups(model, arguments), lr=arguments.learning_rate, betas=(0.9, arguments.beta2)
    )
    model, optimizer = accelerator.prepare(model, optimizer)
    log_path, log, first = folder / "log.jsonl", [], 0
    if found := newest_checkpoint(states):
        accelerator.load_state(str(found[0]))
        first = found[1]
        log = [entry for entry in read_log(log_path) if entry["step"] <= first]
    else:
        set_seed(arguments.seed, device_specific=True)  # processes share the weights, not the dropout masks
    if accelerator.is_main_process:
        write_text(folder / "run.json", json.dumps(everything, indent=1) + "\n")
        write_text(folder / "validation.bed", genome.bed_lines(held_out))
        write_text(log_path, "".join(json.dumps(entry) + "\n" for entry in log))

    def optimiser_step(step: int, length: int) -> torch.Tensor:
        """One step on windows of `length` bases; the mean loss of this process."""
        total = torch.zeros((), device=accelerator.device)
        for part in range(arguments.accumulation):
            # A function of the step alone, so that a run that goes on sees the windows it would have seen.
            rng = np.random.default_rng([arguments.seed, step, part, accelerator.process_index])
            count = arguments.batch_size * context // length
            windows = draw_windows(
                genome.codes, regions, count, length, rng, data_arguments.max_unknown, data_arguments.reverse_complement
            )
            with accelerator.accumulate(model):
                loss = model(**language_model_batch(windows, token_ids, accelerator.device)).loss
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), arguments.max_grad_norm)
                optimizer.step()
                optimizer.zero_grad()
            total += loss.detach() / arguments.accumulation
        return total

    tokens = log[-1]["tokens"] if log else 0
    losses: list[torch.Tensor] = []
    began, tokens_then = time.perf_counter(), tokens
    model.train()
    progress = tqdm(
        range(first, arguments.steps),
        initial=first,
        total=arguments.steps,
        unit="step",
        mininterval=5,
        disable=not accelerator.is_main_process,
    )
    for step in progress:
        factor = learning_rate_factor(step, arguments.steps, arguments.warmup_steps, arguments.final_learning_rate)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        length = window_length(step, context, arguments.warmup_lengths, arguments.warmup_length_steps)
        losses.append(optimiser_step(step, length))
        windows_a_step = arguments.accumulation * accelerator.num_processes * (arguments.batch_size * context // length)
        tokens += windows_a_step * length

        done = step + 1
        entry: dict[str, float] = {}
        if done % arguments.log_every == 0 or done == arguments.steps:
            entry["loss"] = accelerator.reduce(torch.stack(losses).mean(), "mean").item()
            if not math.isfinite(entry["loss"]):
                raise ValueError(f"the loss is {entry['loss']} at step {done}; lower the learning rate")
            now = time.perf_counter()
            entry["learning_rate"] = arguments.learning_rate * factor
            entry["tokens_per_second"] = round((tokens - tokens_then) / (now - began))
            losses, began, tokens_then = [], now, tokens
            progress.set_postfix(loss=f"{entry['loss']:.4f}", refresh=False)
        evaluated = done % arguments.evaluate_every == 0 or done == arguments.steps
        if evaluated:
            entry["validation_loss"] = evaluate(accelerator, model, validation, token_ids, 2 * arguments.batch_size)
            entry["validation_perplexity"] = math.exp(entry["validation_loss"])
        if entry and accelerator.is_main_process:
            log.append({"step": done, "tokens": tokens} | entry)
            with log_path.open("a") as file:
                file.write(json.dumps(log[-1]) + "\n")
            if evaluated:
                save_model(accelerator.unwrap_model(model), tokenizer, folder)
                plot_loss(log, folder / "loss_curve.png")
        if done % arguments.checkpoint_every == 0 or done == arguments.steps:
            save_checkpoint(accelerator, states, done, arguments.keep_checkpoints)
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
    try:
        train(*parser.parse_args_into_dataclasses())
    except (ValueError, OSError) as error:
        sys.exit(f"pretrain: {error}")


if __name__ == "__main__":
    main()
