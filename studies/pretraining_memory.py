"""Memory of a training step on each GPU, by model and context length: the tables of docs/pretraining_configs.md.

    python -m studies.pretraining_memory                                        brings the page up to date
    python -m studies.pretraining_memory --measure small-32k --length 16384     predicted and measured here

Counted, not measured (trainer_scripts/training_memory.py), but for the working memory of the backward of the long
convolution, which benchmarks/memory.py has measured.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import torch
import typer

from datasets_dart.errors import InputError
from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM
from studies.pages import DOCS, ROOT, markdown, put, read_json
from trainer_scripts.messages import run_function
from trainer_scripts.training_memory import training_footprint

CARDS, MEASURED, PAGE = ROOT / "model_cards", ROOT / "benchmarks" / "results" / "memory.json", "pretraining_configs.md"
OPERATOR = "peak over inputs, forward and backward"
GPUS = (1, 8, 64)
LENGTHS = (1_024, 16_384, 32_768, 160_000, 450_000, 1_000_000)
GIB, MIB = 2**30, 2**20


def operator_tensors(path: Path) -> float:
    """Peak of the long convolution's forward and backward over its inputs, in tensors (B, D, L) of float32.

    Raises:
        FileNotFoundError, ValueError: without such a measurement.
    """
    found = [float(row["value"]) for row in read_json(path)["rows"] if row["what"].startswith(OPERATOR)]
    if not found:
        raise InputError(f"{path}: has no row {OPERATOR!r}")
    return found[0]


def released_configs(folder: Path = CARDS) -> dict[str, HyenaDNAConfig]:
    """Configurations of the released models, by short name, from the smallest to the longest."""
    names = read_json(folder / "released.json")["checkpoints"]
    configs = {name: HyenaDNAConfig.from_pretrained(folder / name) for name in names}
    ordered = sorted(configs.items(), key=lambda item: (item[1].max_seq_len, item[1].n_layer, item[1].d_model))
    return {name.removeprefix("hyenadna-").replace("-seqlen", ""): config for name, config in ordered}


def of_each_model(operator: float) -> str:
    """A row a model at its own context: what there is, and what each of 1, 8 and 64 GPUs holds."""
    header = ["model", "context", "parameters", "gradients", "AdamW", "kept", "kept, checkpointing", "working", "head"]
    header += [f"a GPU of {gpus}" for gpus in GPUS] + [f"of {gpus}, checkpointing" for gpus in GPUS]
    rows = []
    for name, config in released_configs().items():
        whole = training_footprint(config, config.max_seq_len, operator)
        spared = training_footprint(config, config.max_seq_len, operator, checkpointing=True)
        states = [f"{part / MIB:.1f} MiB" for part in (whole.parameters, whole.gradients, whole.optimizer)]
        parts = (whole.activations, spared.activations, whole.working, whole.head)
        totals = [kept.on_each_of(gpus) for kept in (whole, spared) for gpus in GPUS]
        rows.append([name, f"{config.max_seq_len:,}", *states, *(gib(part) for part in (*parts, *totals))])
    return "\n".join(markdown(header, rows))


def of_each_length(operator: float) -> str:
    """A row a model, a column a length: all of one GPU, without and with activation checkpointing."""

    def both(config: HyenaDNAConfig, length: int) -> str:
        footprints = (training_footprint(config, length, operator, checkpointing=wanted) for wanted in (False, True))
        return " / ".join(gib(footprint.on_each_of(1)) for footprint in footprints)

    rows = [
        [name, *(both(config, length) if length <= config.max_seq_len else "" for length in LENGTHS)]
        for name, config in released_configs().items()
    ]
    return "\n".join(markdown(["model", *(f"{length:,}" for length in LENGTHS)], rows))


def gib(size: int) -> str:
    """Bytes in GiB, to two decimals."""
    return f"{size / GIB:.2f}"


def tables(measured: Path = MEASURED) -> str:
    """The part of docs/pretraining_configs.md that this program writes."""
    operator = operator_tensors(measured)
    return (
        "### One sequence on each GPU, at each model's own context\n\n"
        f"{of_each_model(operator)}\n\n"
        "### All of one GPU with one sequence, by length: without / with activation checkpointing\n\n"
        f"{of_each_length(operator)}\n"
    )


def peak_of_a_step(config: HyenaDNAConfig, length: int, checkpointing: bool) -> int:
    """Linux: how far forward and backward of one sequence in float32 raise the most this process ever held."""

    def most_held() -> int:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))

    model = HyenaDNAForCausalLM(config).train()
    if checkpointing:
        model.activation_checkpointing_enable()
    ids = torch.randint(7, 11, (1, length))
    model(ids[:, :64], labels=ids[:, :64]).loss.backward()  # gradients are there, and all that loads once
    before = most_held()
    model(ids, labels=ids).loss.backward()
    return most_held() - before


def compare(name: str, length: int | None) -> None:
    """Print the peak of a step on this CPU beside what is predicted for it, each of the two in a process of its own."""
    configs = released_configs()
    if name not in configs:
        raise InputError(f"no released model {name!r}; there are {', '.join(configs)}")
    config, operator = configs[name], operator_tensors(MEASURED)
    length = length or config.max_seq_len
    for checkpointing in (False, True):
        expected = training_footprint(config, length, operator, checkpointing=checkpointing, bf16=False)
        predicted = expected.activations + expected.working + expected.head
        work = (
            "import sys; from studies.pretraining_memory import *; "
            f"print(peak_of_a_step(released_configs()[{name!r}], {length}, {checkpointing}))"
        )
        # Each large tensor from the system and back to it: otherwise the gaps that the allocator leaves are measured.
        given_back = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "262144"}
        command = [sys.executable, "-c", work]
        run = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=given_back)
        measured = int(run.stdout)
        how = "with" if checkpointing else "without"
        print(
            f"{name}, {length:,} tokens, float32, {how} checkpointing: {gib(measured)} GiB measured, "
            f"{gib(predicted)} predicted, ratio {predicted / measured:.2f}"
        )


def pretraining_memory(
    measure: Annotated[str | None, typer.Option(help="released model, by short name, to measure here instead")] = None,
    length: Annotated[int | None, typer.Option(help="tokens to measure; default: the model's context")] = None,
) -> None:
    """Memory of a training step, by model and context length."""
    if measure is not None:
        compare(measure, length)
    else:
        put(DOCS / PAGE, tables())


if __name__ == "__main__":
    run_function(pretraining_memory)
