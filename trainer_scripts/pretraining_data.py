"""What a pretraining run reads: which bases to train on, which to hold out, and its batches of windows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from datasets_dart.alphabet import UNKNOWN
from datasets_dart.contigs import named_contigs
from datasets_dart.errors import InputError
from datasets_dart.formats.fasta import open_genome
from trainer_scripts.genome_windows import (
    SOFT_MASKED,
    GenomeCodes,
    apart_from,
    as_regions,
    choose_blocks,
    draw_windows,
    epoch_windows,
    original_spans,
    subtract_regions,
)

IGNORED = -100
WINDOWS = ("random", "original")
SOFT_MASKS = ("keep", "ignore", "unknown")


@dataclass
class DataArguments:
    """Which windows of which genome."""

    genome: str = field(metadata={"help": "FASTA (plain or bgzip)"})
    chromosomes: list[str] | None = field(
        default=None, metadata={"help": "contigs to train on; default: all that are not held out"}
    )
    validation_chromosomes: list[str] | None = field(default=None, metadata={"help": "contigs held out"})
    splits: str | None = field(
        default=None, metadata={"help": "BED whose column 4 is train, valid or test, like Basenji's and Enformer's"}
    )
    intervals: str | None = field(default=None, metadata={"help": "BED to train on; default: whole contigs"})
    exclude: list[str] | None = field(default=None, metadata={"help": "BED files that no window may touch"})
    exclude_margin: int = field(default=0, metadata={"help": "bases around each excluded interval"})
    validation: str | None = field(default=None, metadata={"help": "BED held out for validation"})
    validation_fraction: float = field(
        default=0.05,
        metadata={"help": "part of the genome held out as blocks, unless another option says what to hold out"},
    )
    validation_block: int = field(default=1_000_000, metadata={"help": "bases in a held-out block"})
    validation_windows: int = field(default=256, metadata={"help": "held-out windows to score"})
    windows: str = field(
        default="random",
        metadata={
            "help": "random: any start; original: the left end of each interval, once an epoch",
            "choices": WINDOWS,
        },
    )
    max_unknown: float = field(default=0.1, metadata={"help": "largest part of N in a random or held-out window"})
    soft_masked: str = field(
        default="keep",
        metadata={
            "help": "lower-case bases: kept as the others, read but not predicted, or read as N",
            "choices": SOFT_MASKS,
        },
    )
    reverse_complement: bool | None = field(
        default=None, metadata={"help": "read half the windows from the other strand; default: if windows are random"}
    )

    @property
    def both_strands(self) -> bool:
        """Whether a window may be read from the other strand."""
        return self.windows == "random" if self.reverse_complement is None else self.reverse_complement


def read_genome(arguments: DataArguments) -> GenomeCodes:
    """The contigs to train on and those held out; all where none to train on are named.

    Raises:
        InputError: naming a contig that the genome does not have, or that is named for both.
    """
    contigs = open_genome(arguments.genome).contigs
    wanted, held_out = (
        named_contigs(option, names, contigs, arguments.genome) if (names := getattr(arguments, option)) else []
        for option in ("chromosomes", "validation_chromosomes")
    )
    if both := sorted(set(wanted) & set(held_out)):
        raise InputError(f"both to train on and held out at once: {', '.join(both)}")
    return GenomeCodes.from_fasta(arguments.genome, [*wanted, *held_out] if wanted else None, arguments.soft_masked)


class Regions(NamedTuple):
    """Parts of the genome to train on, to hold out, and to keep from."""

    train: np.ndarray
    held_out: np.ndarray
    forbidden: np.ndarray  # to training: held out, of the test split, or excluded


def training_and_validation_regions(genome: GenomeCodes, arguments: DataArguments, seed: int) -> Regions:
    """Regions to draw from and regions held out; they share no base with each other or with what is excluded.

    Raises:
        ValueError: for two ways at once to say what to hold out, or what to train on.
    """
    check_one_of(arguments, "intervals", "splits")
    check_one_of(arguments, "validation", "validation_chromosomes", "splits")
    named = arguments.validation_chromosomes
    held_out_chromosomes = (
        named_contigs("validation_chromosomes", named, genome.offsets, arguments.genome) if named else []
    )
    train = genome.whole(name for name in genome.offsets if name not in held_out_chromosomes)
    removed = np.empty((0, 2), dtype=np.int64)
    if arguments.splits:
        train = genome.regions(arguments.splits, split="train")
        held_out = genome.regions(arguments.splits, split="validation")
        removed = genome.regions(arguments.splits, split="test")
    else:
        if arguments.intervals:
            train = subtract_regions(genome.regions(arguments.intervals), subtract_regions(genome.whole(), train))
        if arguments.validation:
            held_out = genome.regions(arguments.validation)
        elif held_out_chromosomes:
            held_out = genome.whole(held_out_chromosomes)
        else:
            held_out = choose_blocks(
                genome.codes,
                genome.whole(),
                arguments.validation_fraction,
                arguments.validation_block,
                np.random.default_rng(seed),
            )
    excluded = as_regions(
        pair for bed in arguments.exclude or [] for pair in genome.intervals(bed, arguments.exclude_margin).tolist()
    )
    forbidden = as_regions([*held_out.tolist(), *removed.tolist(), *excluded.tolist()])
    return Regions(subtract_regions(train, forbidden), subtract_regions(held_out, excluded), forbidden)


def check_one_of(arguments: DataArguments, *names: str) -> None:
    """Raise InputError if more than one of these options is given."""
    given = [name for name in names if getattr(arguments, name)]
    if len(given) > 1:
        raise InputError(f"give one of --{' and --'.join(given)}, not both")


# Numbers of windows and their length -> (n, length) uint8 codes.
WindowSource = Callable[[np.ndarray, int], np.ndarray]


class OriginalWindows:
    """The original's windows of intervals: the leftmost bases of each, once an epoch in an order of that epoch.

    Windows that reach into what is held out or excluded are left out, which the original did not (contexts beyond its
    intervals of 131,072 bases reach into their neighbours).
    """

    def __init__(self, genome: GenomeCodes, regions: Regions, bed: str, split: str | None, seed: int, both: bool):
        self.genome, self.regions, self.bed, self.seed, self.both = genome, regions, bed, seed, both
        self.intervals = genome.intervals(bed, split=split)
        self.spans = cache(self.spans)  # type: ignore[method-assign]  # asked for at every step

    def spans(self, length: int) -> np.ndarray:
        """Windows of `length` bases, (n, 2): as many as an epoch has.

        Raises:
            InputError: if there are none.
        """
        every = original_spans(self.intervals, self.genome.whole(), length)
        spans: np.ndarray = every[apart_from(every, self.regions.forbidden)]
        if not len(spans):
            raise InputError(f"{self.bed}: every window of {length} bases reaches into what is held out or excluded")
        return spans

    def __call__(self, numbers: np.ndarray, length: int) -> np.ndarray:
        """Codes (n, length) of the windows of these numbers."""
        return epoch_windows(self.genome.codes, self.spans(length), numbers, length, self.seed, self.both)


def window_source(genome: GenomeCodes, regions: Regions, arguments: DataArguments, seed: int) -> WindowSource:
    """The training windows by number, as `--windows` says.

    [`OriginalWindows`] are of the rows of --splits or --intervals.

    Raises:
        ValueError: for the original's windows without intervals.
    """
    if arguments.windows == "random":

        def random(numbers: np.ndarray, length: int) -> np.ndarray:
            return draw_windows(
                genome.codes, regions.train, numbers, length, seed, arguments.max_unknown, arguments.both_strands
            )

        return random
    bed, split = (arguments.splits, "train") if arguments.splits else (arguments.intervals, None)
    if not bed:
        raise InputError("--windows original: which intervals? Give --splits or --intervals")
    return OriginalWindows(genome, regions, bed, split, seed, arguments.both_strands)


def base_token_ids(tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """Token id of each base code, unknown bases as N: (12,) int64."""
    ids = np.array(tokenizer.convert_tokens_to_ids(list("ACGTN")), dtype=np.int64)
    table = np.full(SOFT_MASKED + UNKNOWN, ids[UNKNOWN])
    table[: UNKNOWN + 1], table[SOFT_MASKED:] = ids, ids[:UNKNOWN]
    return table


def language_model_batch(windows: np.ndarray, token_ids: np.ndarray, device: torch.device) -> dict[str, torch.Tensor]:
    """Codes (B, L) to `input_ids` and `labels`, both (B, L). The model shifts.

    Unknown bases are not predicted, nor are soft-masked ones where their codes say so.
    """
    input_ids = token_ids[windows]
    labels = np.where(windows >= UNKNOWN, IGNORED, input_ids)
    return {"input_ids": torch.from_numpy(input_ids).to(device), "labels": torch.from_numpy(labels).to(device)}


def predicted_bases(windows: np.ndarray) -> int:
    """How many bases of the windows (n, L) are predicted: the known ones but for the first of each window."""
    return int(np.count_nonzero(windows[:, 1:] < UNKNOWN))
