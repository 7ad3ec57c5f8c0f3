"""The demo checkpoint's recipe from end to end at small scale: `make pretrain-demo`, or

    python -m studies.pretraining_demo --output_dir results/pretrain-demo [--genome genome.fa]

Without --genome it trains on the sample that comes with the package, 411 stretches of hg19 chrX around CpG islands,
every tenth of them held out. With --genome, on its contigs, 5 % held out in blocks. Then it prints the perplexity on
the held-out windows beside that of Markov models counted on the same training bases.
"""

import math
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from datasets_dart.alphabet import UNKNOWN
from datasets_dart.errors import InputError
from datasets_dart.files import write_text
from datasets_dart.samples import cpg_islands_chrx
from evaluation_dart.models.markov import MarkovModel
from modeling_hyenadna import HyenaDNATokenizer
from trainer_scripts.genome_windows import GenomeCodes, as_regions, tile_windows
from trainer_scripts.perplexity import markov_window_losses
from trainer_scripts.pretrain import ModelArguments, TrainingArguments, argument_parser, train, window_losses
from trainer_scripts.pretraining_data import (
    DataArguments,
    base_token_ids,
    read_genome,
    training_and_validation_regions,
)

HELD_OUT = 10  # every tenth stretch of the sample
ORDERS = (1, 3, 5, 7)
LARGEST_BLOCK = 1_000_000


@dataclass
class DemoArguments:
    output_dir: str = field(metadata={"help": "folder of the run"})
    genome: str | None = field(default=None, metadata={"help": "FASTA to train on; default: the bundled sample"})
    steps: int = field(default=600, metadata={"help": "optimiser steps; the demo checkpoint had 20,000"})
    context: int = field(default=1024, metadata={"help": "bases in a window"})
    d_model: int = field(default=128, metadata={"help": "width"})
    batch_size: int = field(default=4, metadata={"help": "windows of a step; the demo checkpoint had 8"})


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
    return DataArguments(
        genome=fasta, intervals=str(folder / "stretches.bed"), validation=str(folder / "held_out.bed"),
        validation_windows=128,
    )  # fmt: skip


def genome_arguments(fasta: str) -> DataArguments:
    """A genome of the user's: blocks of at most a million bases are held out, at least one in twenty."""
    bases = sum(GenomeCodes.from_fasta(fasta).lengths.values())
    return DataArguments(genome=fasta, validation_block=min(LARGEST_BLOCK, bases // 20), validation_windows=128)


def compare(folder: Path, data: DataArguments, training: TrainingArguments, context: int) -> dict[str, float]:
    """Nats a base of the trained model and of Markov models on the run's held-out windows, by name."""
    genome = read_genome(data)
    regions = training_and_validation_regions(genome, data, training.seed)
    starts = tile_windows(genome.codes, regions.held_out, context)
    if not len(starts):
        raise InputError(f"{data.genome}: no held-out window of {context} bases is without N")
    starts = np.random.default_rng(training.seed).permutation(starts)[: data.validation_windows]
    windows = genome.codes[starts[:, None] + np.arange(context)]
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    token_ids = base_token_ids(HyenaDNATokenizer())
    nats = {f"HyenaDNA, {training.steps:,} steps": float(window_losses(model, windows, token_ids, model.device).mean())}
    counted = (genome.codes[start:end] for start, end in regions.train.tolist())
    markov = MarkovModel.fit(counted, max(ORDERS), both_strands=data.both_strands)
    for order in ORDERS:
        nats[f"Markov, order {order}"] = float(markov_window_losses(markov.at_order(order), windows).mean())
    return nats


def demo(arguments: DemoArguments) -> dict[str, float]:
    """Train by the demo checkpoint's recipe, and compare; nats a base by model."""
    folder = Path(arguments.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    data = genome_arguments(arguments.genome) if arguments.genome else sample_arguments(folder, arguments.context)
    training = TrainingArguments(
        output_dir=str(folder),
        steps=arguments.steps,
        batch_size=arguments.batch_size,
        learning_rate=3e-3,
        filter_learning_rate=1e-3,
        beta2=0.98,
        warmup_steps=max(1, arguments.steps // 10),
        log_every=max(1, arguments.steps // 20),
        evaluate_every=max(1, arguments.steps // 4),
        checkpoint_every=max(1, arguments.steps // 4),
    )
    train(ModelArguments(d_model=arguments.d_model, context=arguments.context, embed_dropout=0.0), data, training)
    return compare(folder, data, training, arguments.context)


def main() -> None:
    parser = argument_parser(DemoArguments, "pretraining_demo", __doc__)
    logging.disable_progress_bar()
    (arguments,) = parser.parse_args_into_dataclasses()
    try:
        nats = demo(arguments)
    except (ValueError, OSError) as error:
        sys.exit(f"pretraining_demo: {error}")
    table = Table("model", "nats a base", "perplexity", title="held-out windows")
    for name, value in nats.items():
        table.add_row(name, f"{value:.4f}", f"{math.exp(value):.3f}")
    Console().print(table)
    print(f"model, log and loss curve: {arguments.output_dir}")


if __name__ == "__main__":
    main()
