"""Accelerate as pretraining uses it, with bfloat16 by autocast only, on one GPU as by DDP, FSDP2 and DeepSpeed; and the
processes of an evaluation."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import (
    DeepSpeedPlugin,
    FullyShardedDataParallelPlugin,
    GradientAccumulationPlugin,
    broadcast_object_list,
    gather_object,
)
from torch.distributed.fsdp import MixedPrecisionPolicy

from datasets_dart.errors import InputError
from datasets_dart.files import replacing
from datasets_dart.progress import Progress

Found = TypeVar("Found")
DONE = "done-"  # of files in which processes say how much they have done


def training_accelerator(
    mixed_precision: str | None, accumulation: int, batch_size: int, max_grad_norm: float
) -> Accelerator:
    """The Accelerator of a run, for the launch at hand.

    Accelerate turns "bf16" under FSDP2 into bfloat16 parameters, inputs of blocks and sums of gradients. The implicit
    filter would then see a million positions as two thousand, and the residual stream be rounded after each block. What
    DeepSpeed makes of it depends on its version. Here parameters stay float32, which costs megabytes, and autocast
    picks the operations, as on one GPU.

    Args:
        mixed_precision: "no" or "bf16"; None takes what `accelerate launch` says.
        accumulation: forward passes in a step.
        batch_size: sequences in a forward pass of one process, which DeepSpeed wants to know.
        max_grad_norm: of `clip_grad_norm_`, which DeepSpeed does on its own.

    Raises:
        ValueError: for another precision.
    """
    chosen = mixed_precision or os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if chosen not in ("no", "bf16"):
        raise InputError(f"mixed_precision must be no or bf16, got {chosen!r}")
    fsdp = deepspeed = None
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true":
        fsdp = FullyShardedDataParallelPlugin(mixed_precision_policy=MixedPrecisionPolicy())
    elif os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
        deepspeed = DeepSpeedPlugin(gradient_accumulation_steps=accumulation, gradient_clipping=max_grad_norm)
        deepspeed.deepspeed_config |= {
            "train_micro_batch_size_per_gpu": batch_size,
            "bf16": {"enabled": False},
            "torch_autocast": {"enabled": chosen == "bf16", "dtype": "bfloat16"},
        }
    # Pretraining has no DataLoader; one that another training left at its end must not end the accumulation here.
    accumulate = GradientAccumulationPlugin(num_steps=accumulation, sync_with_dataloader=False)
    return Accelerator(
        mixed_precision=chosen, gradient_accumulation_plugin=accumulate, fsdp_plugin=fsdp, deepspeed_plugin=deepspeed
    )


@contextmanager
def together() -> Iterator[None]:
    """Around what all processes of a run do together: that another one has ended is an error that says so.

    Raises:
        InputError: instead of what torch raises where a process is gone.
    """
    try:
        yield
    except RuntimeError as error:
        lost = "another process of this run has ended, on this machine or another"
        raise InputError(f"{lost}; the parts that are whole are kept: run it again") from error


def gathered(value: Found) -> list[Found]:
    """The value of each process, in all of them.

    Raises:
        InputError: where a process has ended.
    """
    with together():
        return cast(list[Found], gather_object([value]))


def in_first_process(act: Callable[[], Found]) -> Found:
    """What `act` returns in the first process, in all of them; what it raises of expected faults, they all raise."""
    found: list[Any] = [None, None]
    if PartialState().is_main_process:
        try:
            found[0] = act()
        except (InputError, OSError) as error:
            found[1] = error
    with together():
        broadcast_object_list(found)
    if found[1] is not None:
        raise found[1]
    return cast(Found, found[0])


def check_common(folder: Path) -> None:
    """Refuse processes that do not have `folder`, or where it will be, in common, as those of machines without common
    storage: each would see its own part of the work only. All processes call this.

    Raises:
        InputError: in all processes.
    """
    state = PartialState()
    if state.num_processes == 1:
        return
    paths = [folder := folder.absolute(), *folder.parents]

    def write() -> tuple[int, str]:
        level = next(level for level, path in enumerate(paths) if path.is_dir())
        file = paths[level] / f".common.{uuid.uuid4().hex}"
        file.touch()
        return level, file.name

    level, name = in_first_process(write)
    file = paths[min(level, len(paths) - 1)] / name
    blind = [number for number, sees in enumerate(gathered(file.exists())) if not sees]
    if state.is_main_process:
        file.unlink(missing_ok=True)
    if blind:
        raise InputError(
            f"{folder}: process {blind[0] + 1} of {state.num_processes} does not see there what the first one writes; "
            "the output must be in a folder that all machines have in common"
        )


def progress_bar(desc: str, rows: int, unit: str, *, shared: Path | None = None, **options: Any) -> Progress:
    """A bar of the main process over what all processes do; see [`Progress`].

    Args:
        shared: a folder in which processes that do rows of their own say how many are done; None where each step is of
            all processes.
    """
    state = PartialState()
    exchange = None if shared is None or state.num_processes == 1 else partial(exchanged, shared, state.process_index)
    return Progress(desc, rows, unit, shown=state.is_main_process, exchange=exchange, **options)


def exchanged(folder: Path, process: int, done: int) -> int:
    """Say in a folder how much this process has done; returns what the others have."""
    with replacing(folder / f"{DONE}{process}") as temporary:
        temporary.write_text(str(done))
    total = 0
    for path in folder.glob(f"{DONE}*"):
        if path.name != f"{DONE}{process}":
            with suppress(OSError, ValueError):  # it is just being replaced, on storage of several machines
                total += int(path.read_text())
    return total


def process_state(device: str | None) -> PartialState:
    """One process, or those that `accelerate launch` or torchrun started; on CPU where asked, or where nothing else is.

    Without being told so, Accelerate takes several processes on a machine without GPUs for one each. They wait for each
    other at the end for as long as the slowest takes.
    """
    on_cpu = device == "cpu" or not torch.accelerator.is_available()
    return PartialState(cpu=on_cpu, timeout=timedelta(days=7))
