"""What training a model costs: parameters, and time and peak memory of forward and backward passes (spec 8.5)."""

import resource
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn

from datasets_dart.errors import InputError
from datasets_dart.progress import counted
from evaluation_dart.models.checkpoints import usable_device
from evaluation_dart.training.supervised import COUNTS, METHODS, build_network, load_model, source_of, training_of


def profile(
    model: str,
    setting: str = "finetuned",
    method: str | None = None,
    *,
    length: int = 2114,
    batch_size: int = 16,
    warmup: int = 10,
    batches: int = 20,
    revision: str | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """[`resource_profile`] of a model as a supervised setting trains it for one number, on random DNA.

    Args:
        model: of [`evaluation_dart.training.supervised`]; its type must be registered. method: None for the paper's,
            "cnn" of "probed" and "full" of the others.
        length: bases of a sequence. batch_size: sequences in a batch; warmup, batches: before and while measuring.

    Raises:
        InputError: for a setting, model or method that there is not.
    """
    if setting not in METHODS:
        raise InputError(f"setting {setting}: there are {', '.join(METHODS)}")
    source = source_of(
        model,
        setting,
        method or {"probed": "cnn"}.get(setting, "full"),
        revision=revision,
        device=usable_device(device),
        trust_remote_code=trust_remote_code,
    )
    training = training_of(source, COUNTS.kind, "fixed", {})
    network, description = build_network(
        source, load_model(source, COUNTS.outputs), COUNTS, training, length, "chromatin_activity", "fixed"
    )
    rng = np.random.default_rng(0)
    drawn = (
        ["".join(row) for row in rng.choice(list("ACGT"), size=(batch_size, length))] for _ in range(warmup + batches)
    )
    return {
        "model": description["id"],
        "setting": setting,
        "method": source.method,
        "length": length,
        "batch_size": batch_size,
        **resource_profile(network, drawn, warmup, batches),
    }


def resource_profile(
    network: nn.Module, batches: Iterable[Sequence[str]], warmup: int = 10, measured: int = 20
) -> dict[str, Any]:
    """Forward and backward passes of the sum of the outputs, in training mode, tokenisation included.

    Args:
        network: turns strings into outputs (B, k). batches: of strings, `warmup` + `measured` or more.

    Returns:
        `parameters` and `trained_parameters`; `forward_seconds`, `backward_seconds`, `forward_bytes`, `backward_bytes`,
        each {"mean", "std"} over the measured batches; `batches`, `device`. Bytes are the peak of memory allocated on
        a GPU since the pass began; on CPU, the largest resident size of the process so far.

    Raises:
        ValueError: if there are too few batches.
    """
    parameters = list(network.parameters())
    device = parameters[0].device
    network.train()
    passes = []
    read = list(islice(batches, warmup + measured))
    if len(read) <= warmup:
        raise InputError(f"{len(read)} batches, but {warmup} are for warming up: nothing is left to measure")
    for number, batch in counted(enumerate(read), "measuring", "batches", len(read)):
        network.zero_grad(set_to_none=True)
        started, _ = _mark(device)
        total = network(batch).sum()
        forward, forward_peak = _mark(device)
        total.backward()
        backward, backward_peak = _mark(device)
        if number >= warmup:
            passes.append((forward - started, backward - forward, forward_peak, backward_peak))
    names = ("forward_seconds", "backward_seconds", "forward_bytes", "backward_bytes")
    columns = dict(zip(names, zip(*passes, strict=True), strict=True))
    return {
        "parameters": sum(parameter.numel() for parameter in parameters),
        "trained_parameters": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        **{name: {"mean": float(np.mean(own)), "std": float(np.std(own))} for name, own in columns.items()},
        "batches": len(passes),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
    }


def _mark(device: torch.device) -> tuple[float, int]:
    """The time when all work is done, and peak memory in bytes since the last call (CUDA) or ever (CPU)."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        peak = torch.cuda.max_memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        return time.perf_counter(), peak
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return time.perf_counter(), peak * (1 if sys.platform == "darwin" else 1024)
