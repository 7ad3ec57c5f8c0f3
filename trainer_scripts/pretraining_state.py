"""The folder of a pretraining run: its model, its log and its curve, each whole or not at all."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from transformers import PreTrainedTokenizerBase

from datasets_dart.files import replacing

# What a run that is resumed may change: the rest decides which model comes out.
FREE_ON_RESUME = ("max_steps", "logging_steps", "eval_steps", "save_steps", "save_total_limit", "output", "report_to")


def save_model(
    accelerator: Accelerator, model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    """Write model and tokenizer to `folder`, each file whole or not at all. All processes call it."""
    weights = accelerator.get_state_dict(model)  # gathered where they are sharded
    if accelerator.is_main_process:
        temporary = folder / ".model.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        accelerator.unwrap_model(model).save_pretrained(temporary, state_dict=weights)
        tokenizer.save_pretrained(temporary)
        for file in temporary.iterdir():
            os.replace(file, folder / file.name)
        temporary.rmdir()


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
    training = [(entry["tokens"] / 1e6, entry["loss"]) for entry in log if "loss" in entry]
    held_out = [(entry["tokens"] / 1e6, entry["validation_loss"]) for entry in log if "validation_loss" in entry]
    if training:
        axes.plot(*zip(*training, strict=True), color="0.75", linewidth=0.8, label="training windows")
    if training and held_out:
        axes.plot(*zip(*held_out, strict=True), color="C0", marker="o", markersize=3, label="held-out windows")
        low = min(loss for _, loss in held_out)
        settled = [loss for _, loss in training[len(training) // 20 :]]
        axes.set_ylim(min(low, *settled) - 0.01, max(settled[0], held_out[0][1]) + 0.01)
    axes.set(xlabel="million bases seen", ylabel="nats a base")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
