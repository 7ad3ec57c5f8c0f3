"""Pretrain a HyenaDNA, or a Transformer, on the windows of a genome, by next-base prediction.

    python -m trainer_scripts.pretrain --genome hg38.fa --validation_chromosomes chr14 chrX \\
        --max_steps 20000 --output runs/tiny-1k

The same line starts a run, and resumes one that was killed, to the same bits. Several processes:
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
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
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
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from datasets_dart.errors import InputError, MissingExtra
from datasets_dart.files import replacing, write_text
from datasets_dart.outputs import check_output
from evaluation_dart.inputs import described_inputs
from evaluation_dart.models.checkpoints import check_size, folder_digest, folder_of, loading_of, model_id
from evaluation_dart.training.accelerators import progress_bar, training_accelerator
from evaluation_dart.training.loop import parameter_groups, schedule
from evaluation_dart.training.recipe import Optimisation, each_stage
from evaluation_dart.training.states import (
    check_same_run,
    hold_folder,
    load_newest_state,
    remove_leftovers,
    removed_on_failure,
    save_state,
)
from evaluation_dart.workload import megabytes
from modeling_hyenadna import HyenaDNAConfig, HyenaDNATokenizer
from trainer_scripts.genome_windows import sample_tiles
from trainer_scripts.messages import run_script
from trainer_scripts.options import argument_parser
from trainer_scripts.pretraining_data import (
    IGNORED,
    DataArguments,
    OriginalWindows,
    WindowSource,
    base_token_ids,
    language_model_batch,
    predicted_bases,
    read_genome,
    training_and_validation_regions,
    window_source,
)
from trainer_scripts.training_memory import training_footprint

notes = getLogger("trainer_scripts.pretrain")  # __name__ is another where this is run

RUN = "run.json"  # all arguments, by which a folder is known
FILES = (
    RUN, "validation.bed", "log.jsonl", "checkpoints", "config.json", "model.safetensors", "tokenizer_config.json",
    "loss_curve.png",
)  # fmt: skip
TRACKERS = ("tensorboard", "trackio", "wandb")
CONSTANT = ("sequences", "tokens")
# What a run that is resumed may change: the rest decides which model comes out.
FREE_ON_RESUME = ("max_steps", "logging_steps", "eval_steps", "save_steps", "save_total_limit", "report_to")


@dataclass
class ModelArguments:
    """Which model to train."""

    model: str | None = field(
        default=None, metadata={"help": "Hub id or folder to continue from; default: from scratch"}
    )
    d_model: int = field(default=128, metadata={"help": "width of a new model"})
    n_layer: int = field(default=2, metadata={"help": "blocks of a new model"})
    context: int = field(default=1024, metadata={"help": "bases in a window"})
    embed_dropout: float = field(default=0.1, metadata={"help": "dropout after the embedding"})
    transformer: bool = field(
        default=False,
        metadata={"help": "a new model is a Transformer (GPT-2) of the same width and blocks, to compare with"},
    )
    n_head: int | None = field(default=None, metadata={"help": "attention heads of a new Transformer; 8"})


@dataclass(frozen=True, kw_only=True)
class TrainingArguments(Optimisation):
    """Choices of a pretraining."""

    output: str = field(metadata={"help": "folder for model, log, curve and checkpoints"})
    max_steps: int = field(metadata={"help": "optimiser steps"})
    per_device_train_batch_size: int = field(default=8, metadata={"help": "windows in a forward pass of one process"})
    gradient_accumulation_steps: int = field(default=1, metadata={"help": "forward passes in a step"})
    warmup_lengths: list[int] = field(
        default_factory=list, metadata={"help": "shorter windows to start with; the paper: 64, and doubled each stage"}
    )
    warmup_length_steps: list[int] = field(
        default_factory=list, metadata={"help": "steps at each of --warmup_lengths, or one number for all; 500"}
    )
    warmup_length_epochs: list[int] = field(
        default_factory=list, metadata={"help": "the same in epochs of --windows original, in place of steps"}
    )
    warmup_constant: str = field(
        default="sequences",
        metadata={
            "help": "a step of shorter windows has as many of them (the paper), or of bases",
            "choices": CONSTANT,
        },
    )
    warmup_steps: float = field(
        default=200, metadata={"help": "steps of linear warm-up; below 1, this part of all steps"}
    )
    min_lr_rate: float = field(default=0.0, metadata={"help": "the cosine's end, as a part of the highest rate"})
    adam_beta2: float = field(default=0.999, metadata={"help": "AdamW's second moment"})
    gradient_checkpointing: bool = field(
        default=False, metadata={"help": "keep one tensor a block for the backward pass, compute the rest again"}
    )
    torch_compile: bool = field(default=False, metadata={"help": "torch.compile every block"})
    seed: int = field(default=2222, metadata={"help": "of weights, windows and held-out blocks"})
    logging_steps: int = field(default=50, metadata={"help": "steps between lines of the log"})
    eval_steps: int = field(
        default=500, metadata={"help": "steps between evaluations, which bring the model folder up to date"}
    )
    save_steps: int = field(default=500, metadata={"help": "steps between states to resume from"})
    save_total_limit: int = field(default=2, metadata={"help": "newest states to keep"})
    report_to: list[str] = field(default_factory=list, metadata={"help": "trackers", "choices": TRACKERS})


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


def stages(
    context: int, arguments: TrainingArguments, source: WindowSource | None = None, processes: int = 1
) -> list[Stage]:
    """Sequence-length warm-up: each warm-up length for its steps or epochs, then the whole context.

    A step has a constant number of windows as in the paper (appendix A.1), or of bases, rounded down to whole windows.

    Args:
        source: of the windows, which says how many an epoch has. processes: that share a step.

    Raises:
        InputError: for a length that is none, steps and epochs at once, or epochs of windows that have none.
    """

    def windows(length: int) -> int:
        return arguments.per_device_train_batch_size * (
            context // length if arguments.warmup_constant == "tokens" else 1
        )

    for length in arguments.warmup_lengths:
        if not 2 <= length <= context:
            raise InputError(f"--warmup_lengths: {length} is not between 2 and the context of {context} bases")
    steps = stage_steps(arguments, source, [windows(length) * processes for length in arguments.warmup_lengths])
    warm = [Stage(own, length, windows(length)) for own, length in zip(steps, arguments.warmup_lengths, strict=True)]
    return [*warm, Stage(None, context, arguments.per_device_train_batch_size)]


def stage_steps(arguments: TrainingArguments, source: WindowSource | None, together: list[int]) -> list[int]:
    """Steps of each of the shorter lengths; `together` windows of each go through the model at once."""
    lengths, epochs = arguments.warmup_lengths, arguments.warmup_length_epochs
    if not epochs:
        return each_stage("warmup_length_steps", arguments.warmup_length_steps or [500], lengths)
    if arguments.warmup_length_steps:
        raise InputError("give either --warmup_length_steps or --warmup_length_epochs, not both")
    if not isinstance(source, OriginalWindows):
        raise InputError("random windows have no epochs: give --warmup_length_steps, or --windows original")
    every = each_stage("warmup_length_epochs", epochs, lengths)
    in_step = [windows * arguments.gradient_accumulation_steps for windows in together]
    return [
        math.ceil(own * len(source.spans(length)) / windows)
        for own, length, windows in zip(every, lengths, in_step, strict=True)
    ]


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
            if accelerator.sync_gradients and arguments.max_grad_norm > 0:
                accelerator.clip_grad_norm_(model.parameters(), arguments.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
        total += loss.detach()
    mean: torch.Tensor = accelerator.reduce(total, "sum")
    return mean


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
        MissingExtra: for a tracker that is not installed.
    """
    for tracker in arguments.report_to:
        if importlib.util.find_spec(tracker) is None:
            raise MissingExtra(f"tracking by {tracker}", tracker)
    accelerator = training_accelerator(
        "bf16" if arguments.bf16 else None,
        arguments.gradient_accumulation_steps,
        arguments.per_device_train_batch_size,
        arguments.max_grad_norm,
    )
    accelerator.project_configuration.set_directories(arguments.output)
    accelerator.log_with = filter_trackers(arguments.report_to, accelerator.logging_dir)
    return accelerator


def transformer_config(arguments: ModelArguments, tokenizer: HyenaDNATokenizer) -> GPT2Config:
    """The Transformer that HyenaDNA's paper compares with: a GPT of as many blocks and the same width.

    As in the original's configurations of it: learned positions, an MLP of four times the width, 8 heads (there 1 for
    GenomicBenchmarks) with dropout 0.1 of attention, embedding and head tied.
    """
    return GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=arguments.context + 2,
        n_embd=arguments.d_model,
        n_layer=arguments.n_layer,
        n_head=8 if arguments.n_head is None else arguments.n_head,
        embd_pdrop=arguments.embed_dropout,
        resid_pdrop=0.0,
        attn_pdrop=0.1,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        use_cache=False,
    )


def new_model(arguments: ModelArguments, tokenizer: HyenaDNATokenizer) -> PreTrainedModel:
    """A HyenaDNA of the released models' proportions, embedding and head tied; a Transformer; or one to continue from.

    Raises:
        InputError: for a width that its heads do not divide, or heads of a model that has none.
    """
    if arguments.model:
        with loading_of(arguments.model):
            return checkpoint(arguments.model, arguments.embed_dropout)
    if arguments.transformer:
        settings = transformer_config(arguments, tokenizer)
        if settings.n_head < 1 or settings.n_embd % settings.n_head:
            raise InputError(f"a width of {settings.n_embd} cannot be shared among {settings.n_head} heads")
        transformer: PreTrainedModel = AutoModelForCausalLM.from_config(settings, attn_implementation="sdpa")
        return transformer
    if arguments.n_head is not None:
        raise InputError("a HyenaDNA has no attention heads: leave n_head out")
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
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model


def checkpoint(name: str, embed_dropout: float) -> PreTrainedModel:
    """The causal language model of a Hub id or folder, whole.

    Raises:
        InputError, OSError: if it cannot be loaded, or lacks weights.
    """
    config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    setattr(config, "embd_pdrop" if config.model_type == "gpt2" else "embed_dropout", embed_dropout)
    check_size(config, AutoModelForCausalLM, folder_of(name))
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        name, config=config, output_loading_info=True, trust_remote_code=False
    )
    model: PreTrainedModel = loaded[0]
    if missing := sorted(loaded[1]["missing_keys"]):
        raise InputError(f"{name}: the checkpoint lacks {', '.join(missing[:5])}")
    return model


def described_run(
    model_arguments: ModelArguments, data_arguments: DataArguments, arguments: TrainingArguments
) -> dict[str, Any]:
    """All arguments as run.json has them: files by name and digest, no place on this machine."""
    everything = asdict(model_arguments) | asdict(data_arguments) | asdict(arguments)
    del everything["output"]
    if not everything["warmup_length_epochs"]:  # one number for all is written as such, as by earlier versions
        steps = everything["warmup_length_steps"] or [500]
        everything["warmup_length_steps"] = steps[0] if len(steps) == 1 else steps
    files = ("genome", "splits", "intervals", "exclude", "validation")
    everything |= described_inputs(**{name: everything[name] for name in files if everything[name]})
    if everything["model"] and (folder := folder_of(everything["model"])):
        everything["model"] = f"{model_id(everything['model'])} {folder_digest(folder)}"
    return everything


def prepare_model(model: PreTrainedModel, arguments: TrainingArguments) -> None:
    """Activation checkpointing and compilation, in place: the state dict keeps its keys."""
    if arguments.gradient_checkpointing:
        getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
    if arguments.torch_compile:
        blocks = "transformer.h" if model.config.model_type == "gpt2" else "hyena.backbone.layers"
        for block in model.get_submodule(blocks).children():
            block.compile()


def save_model(
    accelerator: Accelerator, model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    """Write model and tokenizer to `folder`, each file whole or not at all. All processes call it."""
    weights = accelerator.get_state_dict(model)  # gathered where they are sharded
    if accelerator.is_main_process:
        temporary = folder / ".model.tmp"
        with removed_on_failure(temporary):
            shutil.rmtree(temporary, ignore_errors=True)
            accelerator.unwrap_model(model).save_pretrained(temporary, state_dict=weights)
            tokenizer.save_pretrained(temporary)
            for file in filter(Path.is_file, sorted(temporary.rglob("*"))):
                whole = folder / file.relative_to(temporary)
                whole.parent.mkdir(exist_ok=True)
                os.replace(file, whole)
            shutil.rmtree(temporary)


def read_log(path: Path) -> list[dict[str, Any]]:
    """Entries of a log, without a last line that a kill cut short."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def plot_loss(log: list[dict[str, Any]], path: Path) -> None:
    """Training and held-out loss against bases seen, as a PNG; nothing where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for key, label, colour, marker in (
        ("loss", "training windows", "0.75", ""),
        ("validation_loss", "held-out windows", "C0", "o"),
    ):
        points = [(entry["tokens"] / 1e6, entry[key]) for entry in log if key in entry]
        axes.plot(
            [bases for bases, _ in points],
            [loss for _, loss in points],
            label=label,
            color=colour,
            marker=marker,
            markersize=3,
            linewidth=0.8,
        )
    settled = [entry[key] for entry in log[len(log) // 20 :] for key in ("loss", "validation_loss") if key in entry]
    axes.set_ylim(min(settled) - 0.01, max(settled) + 0.01)
    axes.set(xlabel="million bases seen", ylabel="nats a base")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def train(model_arguments: ModelArguments, data_arguments: DataArguments, arguments: TrainingArguments) -> None:
    """Train, or go on training, into `arguments.output`.

    The folder holds the model and tokenizer as of the last evaluation, `log.jsonl`, `loss_curve.png`,
    `validation.bed` (the held-out regions), `run.json` (all arguments) and `checkpoints/` to resume from.

    Raises:
        InputError: for data that do not fit, a folder that holds another run, or a loss that is not finite.
    """
    folder = Path(arguments.output)
    check_output(folder, paths_read(model_arguments, data_arguments))
    accelerator = make_accelerator(arguments)
    with ExitStack() as stack:
        hold_folder(stack, folder, FILES)
        train_held(folder, accelerator, model_arguments, data_arguments, arguments)


def described_work(
    accelerator: Accelerator, model: torch.nn.Module, plan: list[Stage], arguments: TrainingArguments, held_out: int
) -> str:
    """What a pretraining is about to do, in a line: its steps, model, device and memory."""
    own = accelerator.unwrap_model(model)
    size, passes = accelerator.num_processes, arguments.gradient_accumulation_steps
    last, precision = plan[-1], accelerator.mixed_precision
    words = [
        f"pretraining {own.num_parameters():,} parameters for {arguments.max_steps:,} steps of "
        f"{last.windows * passes * size:,} windows of {last.length:,} bases",
        f"{last.windows:,} in a forward pass",
        f"{len(plan) - 1} shorter lengths first" if len(plan) > 1 else "",
        f"{held_out:,} windows held out",
        f"{size} processes" if size > 1 else "",
        f"on {accelerator.device}",
        "float32" if precision == "no" else f"{precision} by autocast",
        memory_text(own.config, last, precision, arguments.gradient_checkpointing, size),
    ]
    return ", ".join(filter(None, words))


def memory_text(config: Any, stage: Stage, precision: str, checkpointing: bool, processes: int) -> str:
    """The memory of a step, where it is known: of HyenaDNA, whole in each process."""
    if not isinstance(config, HyenaDNAConfig) or processes > 1:
        return ""
    footprint = training_footprint(
        config,
        stage.length,
        batch_size=stage.windows,
        checkpointing=checkpointing,
        bf16=precision in ("bf16", "fp16"),
    )
    return f"about {megabytes(footprint.on_each_of(1))} of memory for a step"


def paths_read(*arguments: Any) -> list[str]:
    """What of the arguments are files or folders that are there."""
    values = (value for own in arguments for value in asdict(own).values())
    return [value for value in values if isinstance(value, str) and os.path.exists(value)]


def train_held(
    folder: Path,
    accelerator: Accelerator,
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    arguments: TrainingArguments,
) -> None:
    """[`train`] in a folder that is held."""
    states = folder / "checkpoints"
    main, size = accelerator.is_main_process, accelerator.num_processes
    everything = described_run(model_arguments, data_arguments, arguments) | {"processes": size}
    check_same_run(folder / RUN, everything, FREE_ON_RESUME)
    accelerator.wait_for_everyone()
    if main:
        write_text(folder / RUN, json.dumps(everything, indent=1) + "\n")
        states.mkdir(exist_ok=True)
        remove_leftovers(states)
    accelerator.wait_for_everyone()

    context, seed = model_arguments.context, arguments.seed
    genome = read_genome(data_arguments)
    regions = training_and_validation_regions(genome, data_arguments, seed)
    source = window_source(genome, regions, data_arguments, seed)
    plan = stages(context, arguments, source, size)
    _, validation = sample_tiles(
        genome.codes,
        regions.held_out,
        context,
        data_arguments.validation_windows,
        seed,
        data_arguments.max_unknown,
    )
    if not len(validation):
        raise InputError(
            f"no held-out window of {context} bases has at most {data_arguments.max_unknown:.0%} of N: hold out more "
            "or other bases"
        )

    set_seed(seed)
    tokenizer = HyenaDNATokenizer(model_max_length=context + 2)
    token_ids = base_token_ids(tokenizer)
    model = new_model(model_arguments, tokenizer)
    prepare_model(model, arguments)
    groups = parameter_groups(model, arguments)
    peaks = [group["lr"] for group in groups]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, arguments.adam_beta2))
    model, optimizer = accelerator.prepare(model, optimizer)
    losses: list[torch.Tensor] = []  # of the steps since the last line of the log
    log_path, log, first = folder / "log.jsonl", [], 0
    if found := load_newest_state(accelerator, states):
        first = found[0]
        losses = [torch.tensor(loss) for loss in found[1]["losses"]]
        log = [entry for entry in read_log(log_path) if entry["step"] <= first]
    accelerator.wait_for_everyone()
    if main:
        write_text(folder / "validation.bed", genome.bed_lines(regions.held_out))
        write_text(log_path, "".join(json.dumps(entry) + "\n" for entry in log))
    if arguments.report_to:
        # All trackers take these types.
        shown = {key: own if isinstance(own, int | float | str) else str(own) for key, own in everything.items()}
        accelerator.init_trackers("pretrain", config=shown)

    def tokens_before(step: int) -> int:
        return place(step, plan)[2] * arguments.gradient_accumulation_steps * int(size)

    factor = schedule(optimizer, arguments, arguments.max_steps).lr_lambdas[0]  # a function of the step
    if main:
        notes.info("%s", described_work(accelerator, model, plan, arguments, len(validation)))
    began, logged = time.perf_counter(), first
    model.train()
    bar = progress_bar("pretraining", arguments.max_steps, "steps", initial=first)
    for step in bar.over(range(first, arguments.max_steps)):
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * factor(step)
        # Dropout is a function of seed, step and process; the processes share the weights, not the masks.
        set_seed(int(np.random.SeedSequence([seed, step, accelerator.process_index]).generate_state(1)[0]))
        parts = list(own_parts(source, step, plan, arguments.gradient_accumulation_steps, accelerator))
        losses.append(optimiser_step(accelerator, model, optimizer, parts, token_ids, arguments))

        done = step + 1
        entry: dict[str, float] = {}
        if done % arguments.logging_steps == 0 or done == arguments.max_steps:
            entry["loss"] = torch.stack([loss.cpu() for loss in losses]).mean().item()
            losses = []
            if not math.isfinite(entry["loss"]):
                raise InputError(f"the loss is {entry['loss']} at step {done}; choose a smaller learning rate")
            now = time.perf_counter()
            entry["learning_rate"] = arguments.learning_rate * factor(step)
            entry["tokens_per_second"] = round((tokens_before(done) - tokens_before(logged)) / (now - began))
            began, logged = now, done
            bar.note(loss=f"{entry['loss']:.4f}")
        evaluated = done % arguments.eval_steps == 0 or done == arguments.max_steps
        if evaluated:
            entry["validation_loss"] = evaluate(
                accelerator, model, validation, token_ids, 2 * arguments.per_device_train_batch_size
            )
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
        if done % arguments.save_steps == 0 or done == arguments.max_steps:
            state = {"losses": [loss.item() for loss in losses]}
            save_state(accelerator, states, done, state, arguments.save_total_limit)
    accelerator.end_training()


def main() -> None:
    """Run the command line."""
    parser = argument_parser((ModelArguments, DataArguments, TrainingArguments), "pretrain", __doc__)

    def program(words: list[str]) -> None:
        logging.disable_progress_bar()  # transformers shows one for writing its single file
        getLogger("accelerate.utils.other").setLevel(ERROR)  # warns at every state that the head is tied
        train(*parser.parse_args_into_dataclasses(words))

    run_script(program, "pretrain")


if __name__ == "__main__":
    main()
