"""One builder for all downstream tasks: a family says which files a task has, and gives their rows in chunks."""

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from datasets_dart.base import TaskBuilder, TaskConfig, option, paths_by_name
from datasets_dart.duplicates import Compared, Seen, intervals, joined, text_hash
from datasets_dart.errors import InputError
from datasets_hyenadna.biotypes import Biotypes
from datasets_hyenadna.chromatin_profile import ChromatinProfile
from datasets_hyenadna.family import Family
from datasets_hyenadna.genomic_benchmarks import GenomicBenchmarks
from datasets_hyenadna.gue import Gue
from datasets_hyenadna.nucleotide_transformer import NucleotideTransformer
from datasets_hyenadna.species import Species
from datasets_hyenadna.validation import held_out

FAMILIES: dict[str, Callable[..., Family]] = {
    "genomic_benchmarks": GenomicBenchmarks,
    "nucleotide_transformer": NucleotideTransformer,
    "gue": Gue,
    "chromatin_profile": ChromatinProfile,
    "species": Species,
    "biotypes": Biotypes,
}


def open_source(family: str, task: str, inputs: Mapping[str, Any], index_dir: str) -> Family:
    """A task with its inputs.

    Raises ValueError for an input that the family does not have, or lacks.
    """
    _, _, *known = inspect.signature(FAMILIES[family]).parameters.values()
    names = [parameter.name for parameter in known]
    if unknown := sorted(inputs.keys() - set(names)):
        raise InputError(f"{family} has no input {unknown[0]}=: {', '.join(f'{name}=' for name in names)}")
    needed = [parameter.name for parameter in known if parameter.default is parameter.empty]
    if missing := [name for name in needed if name not in inputs]:
        raise InputError(f"{family} needs the input {', '.join(missing)}")
    return FAMILIES[family](task, index_dir, **inputs)


@dataclass
class DownstreamTaskConfig(TaskConfig):
    """Inputs and options of a task; see `datasets_hyenadna.load_task`."""

    family: str = option("", "a name of FAMILIES")
    task: str = option("", "one of the family's")
    given: dict[str, Any] = field(default_factory=dict)  # inputs of the family

    @cached_property
    def source(self) -> Family:
        """The task, with the files that were given."""
        return open_source(self.family, self.task, self.given, str(self.index_dir))

    def files(self) -> dict[str, dict[str, str]]:
        """Input files by option and name."""
        return {"given": paths_by_name(self.source.files)}

    def options(self) -> dict[str, Any]:
        """Options that the rows depend on."""
        given = {name: value for name, value in self.given.items() if name not in ("data", "genome", "annotation")}
        return super().options() | dict(sorted(given.items()))


class DownstreamTask(TaskBuilder):
    """Rows of a downstream task."""

    BUILDER_CONFIG_CLASS = DownstreamTaskConfig
    DESCRIPTION = """\
Rows of {config.family} {config.task}, a task of the HyenaDNA paper. Protocol: {config.protocol}. Left out: {report}."""
    left_out = 0  # rows at the place of earlier ones, in this process

    def columns(self) -> dict[str, Any]:
        """Names and types of the columns."""
        source: Family = self.config.source
        return source.columns()

    def _download_and_prepare(self, dl_manager: Any, verification_mode: Any, **options: Any) -> None:
        super()._download_and_prepare(dl_manager, verification_mode, **options)
        if self.left_out:
            self.info.description += f" {self.left_out} rows at the place of an earlier one were left out."

    def compared(self) -> Compared:
        """Sequences, and intervals of one genome."""
        return Compared(contig=self.config.source.contig)

    def split_sources(self, report: Counter[str]) -> Mapping[str, dict[str, Any]]:
        """Of each split, its shards and its part."""
        source = self.config.source
        report.update(source.left_out)
        # Tuples, which `datasets` does not deal out to several readers: a row's id counts over all files of its split.
        sources: dict[str, dict[str, Any]] = {
            split: {"shards": tuple(own), "part": "all"} for split, own in source.shards.items()
        }
        paper, has_validation = self.config.protocol == "paper", "validation" in sources
        if paper and self.config.family == "species":
            sources["test"] = sources["validation"]
        elif paper and not has_validation:
            sources["validation"] = sources["test"]
        elif not has_validation:
            sources["validation"] = {**sources["train"], "part": "held out"}
            sources["train"] = {**sources["train"], "part": "kept"}
        return sources

    def tables(self, shards: Sequence[Any], part: str) -> Iterator[pa.Table]:
        """Tables of the shards of one split; in protocol "fixed" a place that comes again is left out."""
        row = 0
        seen = Seen()
        for shard in shards:
            for chunk in self.config.source.chunks(shard):
                n = len(chunk["sequence"])
                table = self.table({"id": np.arange(row, row + n), **chunk})
                row += n
                if part != "all":
                    out = held_out(chunk["sequence"])
                    table = table.filter(pa.array(out if part == "held out" else ~out))
                if self.config.protocol == "fixed":
                    table = table.filter(pa.array(self.are_new(table, seen)))
                if len(table):
                    yield table

    def are_new(self, table: pa.Table, seen: Seen) -> np.ndarray:
        """(n,) bool: rows whose interval, strand and label have not been seen (as hashes of 64 bits).

        Rows without a place are all new.
        """
        names = [name for name in self.config.source.element if name in table.column_names]
        if not names or intervals(table, np.zeros(len(table), dtype=np.int64)) is None:
            return np.ones(len(table), dtype=bool)
        texts = joined(table, names).tolist()
        new = seen.are_new(np.array([text_hash(text.encode()) for text in texts], dtype=np.uint64))
        self.left_out += int((~new).sum())
        return new
