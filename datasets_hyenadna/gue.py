"""Tasks of the GUE benchmark (DNABERT-2), and any other of three CSV files with the columns sequence and label."""

from collections.abc import Iterator
from pathlib import Path

from datasets_hyenadna.family import Family
from datasets_hyenadna.sequence_files import Columns, number_of_classes, split_files, table_chunks, task_folder


class Gue(Family):
    """`{train,dev,test}.csv` (or .csv.gz) of a task's folder; dev becomes split validation."""

    def __init__(self, task: str, index_dir: str, data: str):
        folder = task_folder(data, task)
        paths = split_files(folder, (".csv", ".parquet"))
        if not {"train", "test"} <= paths.keys():
            raise FileNotFoundError(f"{folder}: has no train.csv and test.csv")
        super().__init__(paths, map(str, range(number_of_classes(paths["train"]))))

    def chunks(self, shard: Path) -> Iterator[Columns]:
        """Columns of a shard, some rows at a time."""
        return table_chunks(shard, len(self.classes))
