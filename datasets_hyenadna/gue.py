"""Tasks of the GUE benchmark (DNABERT-2), and any other of three CSV files with the columns sequence and label."""

from collections.abc import Iterator
from pathlib import Path

import datasets

from datasets_hyenadna.sequence_files import Columns, number_of_classes, split_files, table_chunks, task_folder


class Gue:
    """`{train,dev,test}.csv` (or .csv.gz) of a task's folder; dev becomes split validation."""

    options = ("data",)

    def __init__(self, task: str, index_dir: str, data: str):
        folder = task_folder(data, task)
        self.paths = split_files(folder, (".csv", ".parquet"))
        if not {"train", "test"} <= self.paths.keys():
            raise FileNotFoundError(f"{folder}: has no train.csv and test.csv")
        self.classes = number_of_classes(self.paths["train"])

    @property
    def files(self) -> list[str]:
        return [str(path) for paths in self.paths.values() for path in paths]

    @property
    def features(self) -> datasets.Features:
        return datasets.Features(
            {
                "id": datasets.Value("int64"),
                "sequence": datasets.Value("string"),
                "label": datasets.ClassLabel(names=[str(number) for number in range(self.classes)]),
            }
        )

    def shards(self) -> dict[str, list[str]]:
        return {split: [*map(str, paths)] for split, paths in self.paths.items()}

    def chunks(self, shard: str) -> Iterator[Columns]:
        return table_chunks(Path(shard), self.classes)
