"""What the families of tasks have in common: files of each split, classes, and chunks of columns."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets

from datasets_hyenadna.sequence_files import Columns


class Family:
    """A task with its inputs, which are the arguments of its class after `task` and `index_dir`.

    Attributes:
        shards: of each split, what `chunks` is called with, one after the other.
        files: all files and folders of texts that rows depend on: shards that are paths, and further ones.
        classes: names of the classes, in order.
        left_out: how many of what were left out, for people to read.
        contig: columns that together name a contig, where rows have places.
        element: columns, of those that there are, that are the same of an element that comes twice.
    """

    contig: tuple[str, ...] = ("chrom",)
    element: tuple[str, ...] = ("chrom", "start", "end", "strand", "label", "labels")

    def __init__(
        self, shards: Mapping[str, Sequence[Any]], classes: Iterable[str], files: Iterable[str | Path] = ()
    ) -> None:
        self.shards, self.classes = shards, tuple(classes)
        paths = [shard for own in shards.values() for shard in own if isinstance(shard, Path)]
        self.files = [str(path) for path in (*paths, *files)]
        self.left_out: Counter[str] = Counter()

    def columns(self) -> dict[str, Any]:
        """Name of each column and its type: a name of Arrow's, or a feature."""
        return {"id": "int64", "sequence": "string", "label": datasets.ClassLabel(names=list(self.classes))}

    def chunks(self, shard: Any) -> Iterator[Columns]:
        """Columns of the rows of a shard, in its order; an id is counted where they have none."""
        raise NotImplementedError
