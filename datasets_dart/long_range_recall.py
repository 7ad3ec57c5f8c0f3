"""Windows that hold a segment twice, a distance apart, and their controls, as the public recall-bench makes them.

    repeat:  lead, a copy of the segment, `distance` bp of background, the segment
    control: lead, something else,        `distance` bp of background, the segment

Everything of a window lies so in the genome, but for the first copy. What stands in its place in the control is what
the genome has there ("native"), or a piece from elsewhere ("foreign"). Source: recall-bench 0.2.1 on PyPI
(`recall_bench.copy_task.build_pair`), whose random numbers are drawn here in the same order.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from datasets_dart.base import DartBuilder, Shards, WindowsConfig, file_input, option, rows_at_once
from datasets_dart.errors import InputError
from datasets_dart.held_out import HeldOut, held_out
from datasets_dart.options import numbers, whole_number

DISTANCES = "64,256,1024,4096,16384,65536,262144"  # bp, recall-bench's
SEGMENT, TRIALS = 256, 128
LEAD, SPARE = 64, 512  # bp before the first copy at least: of a context that is given, and of one that is chosen
OTHERS = {base: [other for other in "ACGT" if other != base] for base in "ACGT"}


class Layout(NamedTuple):
    """Lengths in bp of what windows of one distance are made of, each a multiple of `align`."""

    distance: int  # as asked for
    context: int  # as asked for, or chosen
    lead: int
    segment: int
    gap: int

    @property
    def length(self) -> int:
        """Of the window."""
        return self.lead + 2 * self.segment + self.gap


def layout(distance: int, segment: int, context: int, align: int) -> Layout:
    """The layout of a distance.

    Args:
        context: bp of the window; 0 for the smallest power of two with room for the rest and 512 bp.
    """

    def rounded(length: int) -> int:
        return max(align, length // align * align)

    context = context or 1 << (distance + 2 * segment + SPARE - 1).bit_length()
    return Layout(distance, context, rounded(context - 2 * segment - distance), rounded(segment), rounded(distance))


def mutated(segment: str, rate: float, rng: np.random.Generator) -> str:
    """Each base another one with probability `rate`; N stays."""
    hit, other = rng.random(len(segment)) < rate, rng.integers(0, 3, len(segment))
    letters = zip(segment, hit.tolist(), other.tolist(), strict=True)
    return "".join(OTHERS[base][number] if changed and base in OTHERS else base for base, changed, number in letters)


def trials(blocks: HeldOut, own: Layout, number: int, mutation_rate: float, seed: int) -> Iterator[dict[str, Any]]:
    """The rows of one distance, but for their ids; random numbers are drawn as recall-bench draws them.

    The windows come from one stream, and what only some variants need from others, each its own: so that all variants
    and controls of a trial have the same window, and each what recall-bench has for it.
    """
    rng = np.random.default_rng([seed, own.context, own.distance])
    of_mutations, of_foreign, of_both = (np.random.default_rng([seed, own.context, own.distance, 1]) for _ in range(3))
    for trial in range(number):
        window = blocks.draw(rng, own.length)
        segment = window.sequence[-own.segment :]
        yield {
            "distance": own.distance,
            "trial": trial,
            "context": own.context,
            "chrom": window.chrom,
            "start": window.start,
            "lead": own.lead,
            "sequence": window.sequence,
            "mutated": mutated(segment, mutation_rate, of_mutations),
            "foreign": blocks.draw(of_foreign, own.segment).sequence,
            "mutated_beside_foreign": mutated(segment, mutation_rate, of_both),
            "foreign_beside_mutated": blocks.draw(of_both, own.segment).sequence,
        }


@dataclass
class LongRangeRecallConfig(WindowsConfig):
    """Inputs and options of long_range_recall; see `datasets_dart.load_dart`."""

    genome: str = file_input("FASTA: plain, gzip or bgzip")
    distances: str = option(DISTANCES, "bp between the copies, with commas")
    segment: int = option(SEGMENT, "bp that are repeated")
    trials: int = option(TRIALS, "windows, of each distance where there are several")
    context: int = option(0, "bp of every window; 0: of each distance the smallest power of two that fits")
    mutation_rate: str = option("0.05", "share of bases that are others in a mutated copy")
    align: int = option(1, "k of a tokenizer of k-mers, of which all lengths are multiples")
    draw: int = option(0, "seed of the windows")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.segment = whole_number("segment", self.segment, 1)
        self.trials = whole_number("trials", self.trials, 1)
        self.context = whole_number("context", self.context, 0)
        self.align = whole_number("align", self.align, 1)
        self.draw = whole_number("draw", self.draw, 0)
        self.distances = ",".join(map(str, self.chosen_distances()))
        try:
            rate = float(self.mutation_rate)
        except ValueError:
            rate = np.nan
        if not 0 < rate <= 1:
            raise InputError(f"mutation_rate={self.mutation_rate!r} must be above 0 and at most 1")
        self.mutation_rate = str(rate)

    def chosen_distances(self) -> list[int]:
        """bp, in the order given."""
        return numbers("distances", self.distances, 1)


class LongRangeRecall(DartBuilder):
    """Windows of the blocks of split test, which is the only one that has rows."""

    BUILDER_CONFIG_CLASS = LongRangeRecallConfig
    NEEDS = (("genome",),)
    DESCRIPTION = """\
Windows of a genome that hold a segment twice, `distance` bp apart, as recall-bench makes them. `sequence` is the window
as it is, which is the control; a copy of its last bases, mutated or not, in place of those after `lead` makes the
repeat. Protocol: {config.protocol}. Rows: {report}."""

    def columns(self) -> dict[str, Any]:
        """Names and types of the columns."""
        numbers = ("id", "distance", "trial", "context", "segment", "draw", "start", "lead")
        texts = (
            "sequence",
            "mutated",
            "foreign",
            "mutated_beside_foreign",
            "foreign_beside_mutated",
        )
        return dict.fromkeys(numbers, "int64") | {"chrom": "string"} | dict.fromkeys(texts, "string")

    def shards(self, report: Counter[str]) -> tuple[Shards, dict[str, Any]]:
        """The distances; those for which a given context has no room are counted."""
        config = self.config
        blocks = held_out(self.genome, self.blocks)
        pieces: list[tuple[int, int]] = []
        for distance in config.chosen_distances():
            if config.context and distance + 2 * config.segment + LEAD > config.context:
                report[f"windows at a distance of {distance} bp left out, more than {config.context} bp"] += (
                    config.trials
                )
                continue
            own = layout(distance, config.segment, config.context, config.align)
            joined = "" if blocks.is_whole(own.length) else ", joined of several blocks"
            report[f"windows of {own.length} bp at a distance of {distance} bp{joined}"] += config.trials
            pieces.append((len(pieces) * config.trials, distance))
        return {"test": pieces}, {}

    def rows_of(self, shards: list[tuple[int, int]], split: str) -> Iterator[dict[str, Any]]:
        """Tables of the rows of some distances."""
        config, blocks = self.config, held_out(self.genome, self.blocks)
        rate = float(config.mutation_rate)
        for first, distance in shards:
            own = layout(distance, config.segment, config.context, config.align)
            rows: list[dict[str, Any]] = []
            for row in trials(blocks, own, config.trials, rate, config.draw):
                ids = {"id": first + row["trial"], "segment": config.segment, "draw": config.draw}
                rows.append(ids | row)
                if len(rows) >= rows_at_once(own.length):
                    yield as_columns(rows)
                    rows = []
            if rows:
                yield as_columns(rows)


def as_columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows as columns."""
    return {name: [row[name] for row in rows] for name in rows[0]}
