"""Perplexity of language models, and of Markov models, on the same held-out bases.

    python -m trainer_scripts.perplexity --genome hg19.chr20.fa.gz --model model_cards/hyenadna-tiny-1k-demo \\
        --random model_cards/hyenadna-tiny-1k-demo --markov markov.safetensors --output perplexity.json

All bases but the first of a window are scored, each given those before it, in windows without N drawn from a grid.
Intervals take windows of one block of the chromosome as alike, because neighbours share isochores and repeats.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from datasets_dart.errors import InputError
from datasets_dart.outputs import check_output, write_report
from evaluation_dart.models.loading import load_scorer
from evaluation_dart.models.markov import MarkovModel
from evaluation_dart.scoring.finite import check_finite
from evaluation_dart.statistics import estimates
from evaluation_dart.statistics.blocks import Blocks, column_blocks
from evaluation_dart.statistics.metric import Metric, ends_text
from trainer_scripts.genome_windows import GenomeCodes, sample_tiles, subtract_regions
from trainer_scripts.options import argument_parser, renamed, run
from trainer_scripts.pretrain import window_losses
from trainer_scripts.pretraining_data import base_token_ids


@dataclass
class PerplexityArguments:
    """Which models on which windows of a genome."""

    genome: str = field(metadata={"help": "FASTA (plain or bgzip)"})
    output: str = field(metadata={"help": "JSON file to write"})
    model: list[str] = field(
        default_factory=list, metadata={"help": "causal models of single bases: Hub ids or folders"}
    )
    random: str | None = field(default=None, metadata={"help": "score this model's initialisation, too"})
    markov: str | None = field(default=None, metadata={"help": "Markov model: it and all lower orders are scored"})
    chromosomes: list[str] | None = field(default=None, metadata={"help": "contigs; default: all"})
    exclude: list[str] | None = field(default=None, metadata={"help": "BED files that no window may touch"})
    windows: int = field(default=2000, metadata={"help": "windows to score"})
    length: int = field(default=1024, metadata={"help": "bases in a window"})
    block: int = field(default=1_000_000, metadata={"help": "bases in a block, whose windows are taken as alike"})
    device: str | None = field(default=None, metadata={"help": "cpu, cuda, cuda:1; default: a GPU if there is one"})
    seed: int = field(default=0, metadata={"help": "of windows and random weights"})


def markov_window_losses(model: MarkovModel, windows: np.ndarray) -> np.ndarray:
    """Mean nats of each window (n, L) of base codes but for its first base: (n,) float64."""
    return np.array([-model.base_log_likelihoods(window)[1:].mean() for window in windows])


def causal_window_losses(model: str, windows: np.ndarray, device: str | None = None, seed: int = 0) -> np.ndarray:
    """The same for a causal model whose tokens are single bases; random:MODEL has weights drawn by `seed`."""
    loaded = load_scorer(model, device=device, seed=seed)
    return np.asarray(
        window_losses(loaded.model, windows, base_token_ids(loaded.tokenizer), loaded.device).mean(axis=1)
    )


def metrics_of(losses: np.ndarray, first: np.ndarray, blocks: Blocks, scored: int) -> dict[str, Metric]:
    """Of (windows,) mean nats of a model and of the first one: perplexity, nats per base, and nats above the first."""
    nats = replace(estimates.mean(losses, blocks), n=scored, higher_is_better=False)
    found = estimates.metric(nats)
    low, high = (None if end is None else float(np.exp(end)) for end in (found.low, found.high))
    above = replace(estimates.mean(losses - first, blocks), n=scored, higher_is_better=False, note=", paired")
    return {
        "perplexity": Metric(float(np.exp(found.value)), low, high, scored, found.method, False),
        "nats_per_base": found,
        "nats_above_first": estimates.metric(above),
    }


def measure(arguments: PerplexityArguments) -> dict[str, Any]:
    """Score every model on the same windows.

    Returns:
        What was scored, and under `models`, by name, `perplexity` and `nats_per_base` with intervals, and
        `nats_above_first`: the paired difference from the first model.
    """
    genome = GenomeCodes.from_fasta(arguments.genome, arguments.chromosomes)
    regions = genome.whole()
    for bed in arguments.exclude or []:
        regions = subtract_regions(regions, genome.regions(bed))
    starts, windows = sample_tiles(genome.codes, regions, arguments.length, arguments.windows, arguments.seed)
    if len(starts) < arguments.windows:
        raise InputError(
            f"{arguments.genome}: only {len(starts)} windows of {arguments.length} bases without N, "
            f"not {arguments.windows}"
        )

    losses = {name: causal_window_losses(name, windows, arguments.device) for name in arguments.model}
    if arguments.random:
        losses["random initialisation"] = causal_window_losses(
            f"random:{arguments.random}", windows, arguments.device, arguments.seed
        )
    if arguments.markov:
        markov = MarkovModel.load(arguments.markov)
        for order in range(markov.order + 1):
            losses[f"Markov, order {order}"] = markov_window_losses(markov.at_order(order), windows)
    if not losses:
        raise InputError("nothing to score: give --model, --random or --markov")

    for name, own in losses.items():
        check_finite(own, name, lambda row: f"the window at base {starts[row]} of the contigs read")
    table = np.stack(list(losses.values()))
    blocks = column_blocks(starts // arguments.block, f"{arguments.block:,}-bp blocks")
    scored = int(windows[:, 1:].size)
    models = {name: metrics_of(own, table[0], blocks, scored) for name, own in zip(losses, table, strict=True)}
    return {
        "genome": Path(arguments.genome).name,
        "contigs": list(genome.offsets),
        "windows": len(windows),
        "window_length": arguments.length,
        "scored_bases": scored,
        "seed": arguments.seed,
        "models": models,
    }


def main() -> None:
    """Run the command line."""
    parser = argument_parser(PerplexityArguments, "perplexity", __doc__)

    def program(words: list[str]) -> None:
        (arguments,) = parser.parse_args_into_dataclasses(renamed(words, "perplexity"))
        read = [arguments.genome, arguments.markov, *arguments.model]
        check_output(arguments.output, read)
        record = measure(arguments)
        write_report(arguments.output, record, read)
        for name, metrics in record["models"].items():
            value = metrics["perplexity"]
            print(f"{value['value']:.3f}{ends_text(value)}  {name}")
        print(f"written to {arguments.output}")

    run(program, "perplexity")


if __name__ == "__main__":
    main()
