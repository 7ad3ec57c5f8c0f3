"""Windows drawn at random from a genome's held-out blocks, in which what comes before a base is its context."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from datasets_dart.base import DartBuilder, Shards, WindowsConfig, file_input, option, rows_at_once
from datasets_dart.held_out import held_out
from datasets_dart.options import whole_number

LENGTH, TRIALS, SEGMENT = 1024, 128, 64


@dataclass
class LikelihoodByPositionConfig(WindowsConfig):
    """Inputs and options of likelihood_by_position; see `datasets_dart.load_dart`."""

    genome: str = file_input("FASTA: plain, gzip or bgzip")
    length: int = option(LENGTH, "bp of a window")
    trials: int = option(TRIALS, "windows, of each distance where there are several")
    segment: int = option(SEGMENT, "bp at the end of a window whose context is shortened")
    draw: int = option(0, "seed of the windows")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.segment = whole_number("segment", self.segment, 1)
        self.length = whole_number("length", self.length, self.segment + 1)
        self.trials = whole_number("trials", self.trials, 1)
        self.draw = whole_number("draw", self.draw, 0)


class LikelihoodByPosition(DartBuilder):
    """Windows of the blocks of split test, which is the only one that has rows."""

    BUILDER_CONFIG_CLASS = LikelihoodByPositionConfig
    NEEDS = (("genome",),)
    DESCRIPTION = """\
Windows of a genome at random places of its held-out blocks. Protocol: {config.protocol}. Rows: {report}."""

    def columns(self) -> dict[str, Any]:
        """Names and types of the columns."""
        return {"id": "int64", "chrom": "string", "start": "int64", "segment": "int64", "sequence": "string"}

    def shards(self, report: Counter[str]) -> tuple[Shards, dict[str, Any]]:
        """One piece: the windows come from one stream of random numbers."""
        config = self.config
        joined = "" if held_out(self.genome, self.blocks).is_whole(config.length) else ", joined of several blocks"
        report[f"windows of {config.length} bp{joined}"] += config.trials
        return {"test": [0]}, {}

    def rows_of(self, shards: list[int], split: str) -> Iterator[dict[str, Any]]:
        """Tables of the rows."""
        config, blocks = self.config, held_out(self.genome, self.blocks)
        at_once = rows_at_once(config.length)
        for _ in shards:
            rng = np.random.default_rng([config.draw, config.length])
            for first in range(0, config.trials, at_once):
                ids = range(first, min(first + at_once, config.trials))
                windows = [blocks.draw(rng, config.length) for _ in ids]
                yield {
                    "id": ids,
                    "chrom": [own.chrom for own in windows],
                    "start": [own.start for own in windows],
                    "segment": [config.segment] * len(ids),
                    "sequence": [own.sequence for own in windows],
                }
