"""One builder for all downstream tasks: a task says which files it has, and gives their rows in chunks of columns."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import datasets
import pyarrow as pa
from datasets.builder import Key

from datasets_dart.errors import InputError
from datasets_dart.files import contents_key
from datasets_hyenadna.biotypes import Biotypes
from datasets_hyenadna.chromatin_profile import ChromatinProfile
from datasets_hyenadna.genomic_benchmarks import GenomicBenchmarks
from datasets_hyenadna.gue import Gue
from datasets_hyenadna.nucleotide_transformer import NucleotideTransformer
from datasets_hyenadna.sequence_files import Columns
from datasets_hyenadna.species import Species
from datasets_hyenadna.validation import held_out

PROTOCOLS = ("fixed", "paper")
FAMILIES: dict[str, Any] = {
    "genomic_benchmarks": GenomicBenchmarks,
    "nucleotide_transformer": NucleotideTransformer,
    "gue": Gue,
    "chromatin_profile": ChromatinProfile,
    "species": Species,
    "biotypes": Biotypes,
}


class Source(Protocol):
    """What a task of a family is to the builder."""

    options: tuple[str, ...]

    @property
    def files(self) -> list[str]: ...

    @property
    def features(self) -> datasets.Features: ...

    def shards(self) -> dict[str, list[str]]: ...

    def chunks(self, shard: str) -> Iterator[Columns]: ...


def open_source(family: str, task: str, inputs: dict[str, Any], index_dir: str) -> Source:
    """A task with its inputs.

    Raises ValueError for an input that the family does not have, or lacks.
    """
    made = FAMILIES[family]
    if unknown := sorted(inputs.keys() - set(made.options)):
        raise InputError(f"{family} has no input {unknown[0]}=: {', '.join(f'{name}=' for name in made.options)}")
    try:
        return made(task, index_dir, **inputs)
    except TypeError as error:
        if "required positional" not in str(error):
            raise
        needed = str(error).partition(": ")[2].replace("'", "")
        raise InputError(f"{family} needs the input {needed}") from None


@dataclass
class DownstreamTaskConfig(datasets.BuilderConfig):
    """Inputs and options of a task; see `datasets_hyenadna.load_task`."""

    family: str = ""
    task: str = ""
    protocol: str = "fixed"
    inputs: dict[str, Any] = field(default_factory=dict)
    index_dir: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.protocol not in PROTOCOLS:
            raise InputError(f"protocol={self.protocol!r} is not one of {', '.join(PROTOCOLS)}")

    def source(self) -> Source:
        return open_source(self.family, self.task, self.inputs, self.index_dir)

    def create_config_id(self, config_kwargs: dict, custom_features: datasets.Features | None = None) -> str:
        """Name of the cache: the inputs' contents and the options, whatever the files are called."""
        source = self.source()
        files = [path for path in source.files if not Path(path).is_dir()]
        texts = [_listing(Path(path)) for path in source.files if Path(path).is_dir()]
        options = {name: value for name, value in self.inputs.items() if name not in ("data", "genome", "annotation")}
        key = contents_key(files, texts, self.family, self.task, self.protocol, sorted(options.items()))
        return f"{self.family}-{self.task}-{self.protocol}-{key}"


class DownstreamTask(datasets.ArrowBasedBuilder):
    """Rows of a downstream task. VERSION is raised whenever the same inputs give other rows."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = DownstreamTaskConfig

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(description=__doc__, features=self.config.source().features)

    def _split_generators(
        self, dl_manager: datasets.DownloadManager | datasets.StreamingDownloadManager
    ) -> list[datasets.SplitGenerator]:
        shards = self.config.source().shards()
        # Tuples, which `datasets` does not deal out to several readers: a row's id counts over all files of its split.
        generators = {split: {"shards": tuple(own), "part": "all"} for split, own in shards.items()}
        paper = self.config.protocol == "paper"
        if paper and self.config.family == "species":
            generators["test"] = generators["validation"]
        elif paper and "validation" not in shards:
            generators["validation"] = generators["test"]
        elif "validation" not in shards:
            generators["train"] = {"shards": tuple(shards["train"]), "part": "kept"}
            generators["validation"] = {"shards": tuple(shards["train"]), "part": "held out"}
        return [
            datasets.SplitGenerator(name=split, gen_kwargs=generators[split])
            for split in ("train", "validation", "test")
        ]

    def _generate_tables(self, shards: tuple[str, ...], part: str) -> Iterator[tuple[Key, pa.Table]]:
        source, row = self.config.source(), 0
        schema = self.info.features.arrow_schema
        for place, shard in enumerate(shards):
            for number, chunk in enumerate(source.chunks(shard)):
                n = len(chunk["sequence"])
                columns: Columns = {name: pa.nulls(n, schema.field(name).type) for name in schema.names}
                columns |= {"id": range(row, row + n), **chunk}
                row += n
                table = pa.table({name: _array(columns[name], schema.field(name)) for name in schema.names}, schema)
                if part != "all":
                    out = held_out(chunk["sequence"])
                    table = table.filter(pa.array(out if part == "held out" else ~out))
                if len(table):
                    yield Key(place, number), table


def _array(values: Any, field: pa.Field) -> Any:
    return values if isinstance(values, pa.Array) else pa.array(values, field.type)


def _listing(folder: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times of a folder of many small texts, which are not read to name a cache."""
    return sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir())
