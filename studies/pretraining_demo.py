"""The demo checkpoint's recipe from end to end at small scale: `make pretrain-demo`, or

    python -m studies.pretraining_demo --output results/pretrain-demo [--genome genome.fa]

Without --genome it trains on the sample that comes with the package, 411 stretches of hg19 chrX around CpG islands,
every tenth of them held out. With --genome, on its contigs, 5 % held out in blocks. Then it prints the perplexity on
the held-out windows beside that of Markov models counted on the same training bases.
"""

import math
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from transformers.utils import logging

from datasets_dart.alphabet import UNKNOWN
from datasets_dart.errors import InputError
from datasets_dart.files import write_text
from datasets_dart.samples import cpg_islands_chrx
from evaluation_dart.models.markov import MarkovModel
from trainer_scripts.genome_windows import GenomeCodes, as_regions, sample_tiles
from trainer_scripts.messages import run_function
from trainer_scripts.perplexity import causal_window_losses, markov_window_losses
from trainer_scripts.pretrain import ModelArguments, TrainingArguments, train
from trainer_scripts.pretraining_data import DataArguments, read_genome, training_and_validation_regions

HELD_OUT, HELD_OUT_WINDOWS = 10, 128  # every tenth stretch of the sample; how many windows of them are scored
ORDERS = (1, 3, 5, 7)
LARGEST_BLOCK = 1_000_000


def known_stretches(codes: np.ndarray, shortest: int) -> np.ndarray:
    """Runs of known bases of at least `shortest`, as regions."""
    known = np.concatenate([[False], codes != UNKNOWN, [False]])
    edges = np.flatnonzero(known[1:] != known[:-1]).reshape(-1, 2)
    return as_regions((start, end) for start, end in edges.tolist() if end - start >= shortest)


def sample_arguments(folder: Path, context: int) -> DataArguments:
    """The bundled sample, its stretches and the held-out ones written as BED files."""
    fasta = str(cpg_islands_chrx()["genome"])
    genome = GenomeCodes.from_fasta(fasta)
    stretches = known_stretches(genome.codes, context)
    write_text(folder / "stretches.bed", genome.bed_lines(stretches))
    write_text(folder / "held_out.bed", genome.bed_lines(stretches[::HELD_OUT]))
    intervals, validation = str(folder / "stretches.bed"), str(folder / "held_out.bed")
    return DataArguments(genome=fasta, intervals=intervals, validation=validation, validation_windows=HELD_OUT_WINDOWS)


def genome_arguments(fasta: str) -> DataArguments:
    """A genome of the user's: blocks of at most a million bases are held out, at least one in twenty."""
    bases = sum(GenomeCodes.from_fasta(fasta).lengths.values())
    return DataArguments(
        genome=fasta, validation_block=min(LARGEST_BLOCK, bases // 20), validation_windows=HELD_OUT_WINDOWS
    )


def compare(folder: Path, data: DataArguments, training: TrainingArguments, context: int) -> dict[str, np.ndarray]:
    """Nats a base of each held-out window of the run, by the trained model and by Markov models."""
    genome = read_genome(data)
    regions = training_and_validation_regions(genome, data, training.seed)
    _, windows = sample_tiles(genome.codes, regions.held_out, context, data.validation_windows, training.seed)
    if not len(windows):
        raise InputError(f"{data.genome}: no held-out window of {context} bases is without N")
    nats = {f"HyenaDNA, {training.max_steps:,} steps": causal_window_losses(str(folder), windows)}
    counted = (genome.codes[start:end] for start, end in regions.train.tolist())
    markov = MarkovModel.fit(counted, max(ORDERS), both_strands=data.both_strands)
    return nats | {f"Markov, order {order}": markov_window_losses(markov.at_order(order), windows) for order in ORDERS}


def pretraining_demo(
    output: Annotated[Path, typer.Option(help="folder of the run")],
    genome: Annotated[str | None, typer.Option(help="FASTA to train on; default: the bundled sample")] = None,
    steps: Annotated[int, typer.Option(help="optimiser steps; the demo checkpoint had 20,000")] = 600,
    context: Annotated[int, typer.Option(help="bases in a window")] = 1024,
    d_model: Annotated[int, typer.Option(help="width")] = 128,
    batch_size: Annotated[int, typer.Option(help="windows of a step; the demo checkpoint had 8")] = 4,
) -> None:
    """Train by the demo checkpoint's recipe, and compare with Markov models.

    python -m studies.pretraining_demo --output results/pretrain-demo
    """
    logging.disable_progress_bar()
    data = genome_arguments(genome) if genome else sample_arguments(output, context)
    training = TrainingArguments(
        output=str(output),
        max_steps=steps,
        per_device_train_batch_size=batch_size,
        learning_rate=3e-3,
        filter_learning_rate=1e-3,
        adam_beta2=0.98,
        warmup_steps=max(1, steps // 10),
        logging_steps=max(1, steps // 20),
        eval_steps=max(1, steps // 4),
        save_steps=max(1, steps // 4),
    )
    train(ModelArguments(d_model=d_model, context=context, embed_dropout=0.0), data, training)
    table = Table("model", "nats a base", "perplexity", title="held-out windows")
    for name, nats in compare(output, data, training, context).items():
        table.add_row(name, f"{nats.mean():.4f}", f"{math.exp(nats.mean()):.3f}")
    Console().print(table)
    print(f"model, log and loss curve: {output}")


if __name__ == "__main__":
    run_function(pretraining_demo)
