"""Perplexity of language models, and of Markov models, on the same held-out bases.

    python -m trainer_scripts.perplexity --genome hg19.chr20.fa.gz --model model_cards/hyenadna-tiny-1k-demo \\
        --random model_cards/hyenadna-tiny-1k-demo --markov markov.safetensors --output perplexity.json

All bases but the first of a window are scored, each given those before it, in windows without N drawn from a grid.

--ranges hyenadna takes the fixed test ranges of HyenaDNA's pretraining in their place, parts of chr14 and chrX of hg38,
or those of a BED file, cut into windows end to end: all of them, the last of a range shorter, N read and not scored.
With --protocol paper as the original's code does it: N is read as [PAD], a short window is filled with [PAD] on the
left, and the [SEP] after every window is predicted, too; its perplexity is of all that is predicted.

Intervals take windows of one block of the chromosome as alike, because neighbours share isochores and repeats.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from datasets_dart.alphabet import UNKNOWN
from datasets_dart.contigs import named_contigs
from datasets_dart.errors import InputError
from datasets_dart.formats.fasta import open_genome
from datasets_dart.outputs import check_output, write_report
from evaluation_dart.models.language_model import LanguageModel
from evaluation_dart.models.loading import load_scorer
from evaluation_dart.models.markov import MarkovModel
from evaluation_dart.scoring.finite import check_finite
from evaluation_dart.statistics import estimates
from evaluation_dart.statistics.blocks import Blocks, column_blocks
from evaluation_dart.statistics.metric import Metric, ends_text
from trainer_scripts.genome_windows import GenomeCodes, sample_tiles, subtract_regions
from trainer_scripts.messages import run_script
from trainer_scripts.options import argument_parser
from trainer_scripts.pretrain import window_losses
from trainer_scripts.pretraining_data import base_token_ids

PROTOCOLS = ("fixed", "paper")
# HG38FixedDataset's of the original's code, from Enformer's test split: half-open, from 0.
FIXED_TEST = {"chr14": (19_726_402, 106_677_047), "chrX": (2_825_622, 144_342_320)}
SAMPLE = 2000
CHUNK = 1024  # windows in memory at once


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
    ranges: str | None = field(
        default=None,
        metadata={"help": "hyenadna, or a BED: ranges of which every window is scored, in place of a sample"},
    )
    protocol: str = field(
        default="fixed", metadata={"help": "paper: [PAD] for N, and [SEP] after each window", "choices": PROTOCOLS}
    )
    windows: int | None = field(default=None, metadata={"help": "windows to score; 2000, with --ranges all"})
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


def metrics_of(
    losses: np.ndarray, first: np.ndarray, blocks: Blocks, scored: int, counts: np.ndarray | None = None
) -> dict[str, Metric]:
    """Of (windows,) mean nats of a model and of the first one: perplexity, nats per base, and nats above the first.

    Args:
        counts: (windows,) bases that each mean is of; None: as many in all.
    """
    mean = partial(weighted_mean, counts=counts, blocks=blocks)
    nats = replace(mean(losses), n=scored, higher_is_better=False)
    found = estimates.metric(nats)
    low, high = (None if end is None else float(np.exp(end)) for end in (found.low, found.high))
    above = replace(mean(losses - first), n=scored, higher_is_better=False, note=", paired")
    return {
        "perplexity": Metric(float(np.exp(found.value)), low, high, scored, found.method, False),
        "nats_per_base": found,
        "nats_above_first": estimates.metric(above),
    }


def weighted_mean(values: np.ndarray, counts: np.ndarray | None, blocks: Blocks) -> estimates.Estimate:
    """Of the mean of (n,) values, each counted so many times."""
    if counts is None or (counts == counts[0]).all():
        return estimates.mean(values, blocks)
    total, weight = float((values * counts).sum()), float(counts.sum())

    def without(own: Blocks) -> np.ndarray:
        return np.asarray((total - own.sums(values * counts)) / (weight - own.sums(counts)))

    return estimates.estimated(total / weight, blocks, without, estimates.PLAIN)


class Windows(NamedTuple):
    """Windows of one length each: where they start in the genome's codes, and how long they are, (n,) each."""

    genome: GenomeCodes
    starts: np.ndarray
    lengths: np.ndarray

    def by_length(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Numbers of the windows of one length, and their codes (n, length)."""
        for length in np.unique(self.lengths).tolist():
            numbers = np.flatnonzero(self.lengths == length)
            for some in np.split(numbers, range(CHUNK, len(numbers), CHUNK)):
                yield some, self.genome.codes[self.starts[some, None] + np.arange(length)]


def fixed_windows(arguments: PerplexityArguments) -> Windows:
    """All windows of the ranges, end to end from the start of each; the last of a range is shorter.

    Windows in which nothing can be scored are left out. With `windows`, so many of them, drawn by the seed.

    Raises:
        InputError: if the genome is not as long as its ranges, or nothing is left.
    """
    assert arguments.ranges is not None
    if arguments.ranges == "hyenadna":
        contigs = open_genome(arguments.genome).contigs
        names = named_contigs("ranges", list(FIXED_TEST), contigs, arguments.genome)
        for name, (_, end) in zip(names, FIXED_TEST.values(), strict=True):
            if contigs[name] < end:
                raise InputError(f"{arguments.genome}: {name} has {contigs[name]:,} bases, not {end:,}: not hg38")
        genome = GenomeCodes.from_fasta(arguments.genome, names)
        ranges = [
            (genome.offsets[name] + start, genome.offsets[name] + end)
            for name, (start, end) in zip(names, FIXED_TEST.values(), strict=True)
        ]
    else:
        genome = GenomeCodes.from_fasta(arguments.genome, arguments.chromosomes)
        ranges = [(start, end) for start, end in genome.intervals(arguments.ranges).tolist()]
    length = arguments.length
    starts = np.concatenate([np.arange(start, end, length) for start, end in ranges] or [np.empty(0, np.int64)])
    ends = np.concatenate(
        [np.minimum(np.arange(start, end, length) + length, end) for start, end in ranges] or [starts]
    )
    known = np.concatenate([[0], np.cumsum(genome.codes < UNKNOWN)])
    scored = known[ends] - known[np.minimum(starts + 1, ends)] > 0
    chosen = np.flatnonzero(scored | (arguments.protocol == "paper"))  # there, [SEP] always is
    if arguments.windows is not None:
        chosen = np.sort(np.random.default_rng(arguments.seed).permutation(chosen)[: arguments.windows])
    if not len(chosen):
        raise InputError(f"{arguments.genome}: no window of {arguments.ranges} has a base to be scored")
    return Windows(genome, starts[chosen], (ends - starts)[chosen])


def fixed_losses(loaded: LanguageModel, windows: Windows, length: int, protocol: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean nats of each window of a causal model whose tokens are single bases, and of how many tokens: (n,) each."""
    ids = base_token_ids(loaded.tokenizer)
    losses, counts = np.empty(len(windows.starts)), np.empty(len(windows.starts), np.int64)
    for numbers, codes in windows.by_length():
        if protocol == "paper":
            own = original_losses(loaded, original_tokens(loaded, ids, codes, length))
        else:
            own = window_losses(loaded.model, codes, ids, loaded.device)
        losses[numbers], counts[numbers] = np.nanmean(own, axis=1), np.isfinite(own).sum(axis=1)
        if wrong := np.flatnonzero(np.isinf(own).any(axis=1)).tolist():
            losses[numbers[wrong]] = np.nan
    return losses, counts


def original_tokens(loaded: LanguageModel, ids: np.ndarray, codes: np.ndarray, length: int) -> np.ndarray:
    """Tokens (n, length + 1) as HG38FixedDataset makes them: [PAD] on the left and for N, and [SEP] in the end."""
    tokenizer = loaded.tokenizer
    tokens = np.full((len(codes), length + 1), tokenizer.pad_token_id)
    tokens[:, length - codes.shape[1] : length] = np.where(codes >= UNKNOWN, tokenizer.pad_token_id, ids[codes])
    tokens[:, length] = tokenizer.sep_token_id
    return tokens


@torch.no_grad()
def original_losses(loaded: LanguageModel, tokens: np.ndarray, batch_size: int = 16) -> np.ndarray:
    """Nats of each token given those before it, without a mask; of [PAD] NaN: (n, T - 1) float64."""
    losses = []
    for first in range(0, len(tokens), batch_size):
        batch = torch.from_numpy(tokens[first : first + batch_size]).to(loaded.device)
        logits = loaded.model(input_ids=batch[:, :-1]).logits.float()
        loss = F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten(), reduction="none").view(batch[:, 1:].shape)
        losses.append(loss.double().masked_fill(batch[:, 1:] == loaded.tokenizer.pad_token_id, math.nan).cpu().numpy())
    return np.concatenate(losses)


def measure_ranges(arguments: PerplexityArguments) -> dict[str, Any]:
    """[`measure`] on fixed ranges."""
    if arguments.markov:
        raise InputError("a Markov model is scored on a sample of windows without N: leave the ranges out")
    if arguments.exclude:
        raise InputError("fixed ranges are fixed: nothing can be excluded from them")
    windows = fixed_windows(arguments)
    names = {name: name for name in arguments.model}
    if arguments.random:
        names["random initialisation"] = f"random:{arguments.random}"
    if not names:
        raise InputError("nothing to score: give --model or --random")
    losses: dict[str, np.ndarray] = {}
    for name, spec in names.items():
        loaded = load_scorer(spec, device=arguments.device, seed=arguments.seed)
        losses[name], counts = fixed_losses(loaded, windows, arguments.length, arguments.protocol)
        check_finite(losses[name], name, lambda row: f"the window at base {windows.starts[row]} of the contigs read")
    blocks = column_blocks(windows.starts // arguments.block, f"{arguments.block:,}-bp blocks")
    first, scored = next(iter(losses.values())), int(counts.sum())
    models = {name: metrics_of(own, first, blocks, scored, counts) for name, own in losses.items()}
    return {
        "genome": Path(arguments.genome).name,
        "ranges": arguments.ranges if arguments.ranges == "hyenadna" else Path(arguments.ranges or "").name,
        "protocol": arguments.protocol,
        "contigs": list(windows.genome.offsets),
        "windows": len(windows.starts),
        "window_length": arguments.length,
        "scored_tokens" if arguments.protocol == "paper" else "scored_bases": scored,
        "seed": arguments.seed,
        "models": models,
    }


def measure(arguments: PerplexityArguments) -> dict[str, Any]:
    """Score every model on the same windows.

    Returns:
        What was scored, and under `models`, by name, `perplexity` and `nats_per_base` with intervals, and
        `nats_above_first`: the paired difference from the first model.
    """
    if arguments.protocol not in PROTOCOLS:
        raise InputError(f"protocol {arguments.protocol!r}: there are {', '.join(PROTOCOLS)}")
    if arguments.ranges:
        return measure_ranges(arguments)
    if arguments.protocol == "paper":
        raise InputError("protocol paper is of fixed ranges: give --ranges, hyenadna for the original's")
    number = SAMPLE if arguments.windows is None else arguments.windows
    genome = GenomeCodes.from_fasta(arguments.genome, arguments.chromosomes)
    regions = genome.whole()
    for bed in arguments.exclude or []:
        regions = subtract_regions(regions, genome.regions(bed))
    starts, windows = sample_tiles(genome.codes, regions, arguments.length, number, arguments.seed)
    if len(starts) < number:
        raise InputError(
            f"{arguments.genome}: only {len(starts)} windows of {arguments.length} bases without N, not {number}"
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
        (arguments,) = parser.parse_args_into_dataclasses(words)
        bed = arguments.ranges if arguments.ranges != "hyenadna" else None
        read = [arguments.genome, arguments.markov, bed, *arguments.model]
        check_output(arguments.output, read)
        record = measure(arguments)
        write_report(arguments.output, record, read)
        for name, metrics in record["models"].items():
            value = metrics["perplexity"]
            print(f"{value['value']:.3f}{ends_text(value)}  {name}")
        print(f"written to {arguments.output}")

    run_script(program, "perplexity")


if __name__ == "__main__":
    main()
