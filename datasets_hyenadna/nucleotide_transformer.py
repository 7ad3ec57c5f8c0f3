"""The eighteen tasks of the Nucleotide Transformer (paper section 4.3, spec 6.2), as on the Hub."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datasets_dart.errors import InputError
from datasets_hyenadna.family import Family
from datasets_hyenadna.sequence_files import Columns, fasta_chunks, split_files, table_chunks, task_folder

FASTA = (".fna", ".fasta", ".fa")
HISTONES = ("H3", "H3K4me1", "H3K4me2", "H3K4me3", "H3K9ac", "H3K14ac", "H3K36me3", "H3K79me3", "H4", "H4ac")
CLASSES = {
    "enhancers": 2,
    "enhancers_types": 3,
    **dict.fromkeys(HISTONES, 2),
    "promoter_all": 2,
    "promoter_no_tata": 2,
    "promoter_tata": 2,
    "splice_sites_acceptors": 2,
    "splice_sites_donors": 2,
    "splice_sites_all": 3,
}
# Names of the original's configurations, where they are not the Hub's
ALIASES = {
    "enhancer": "enhancers",
    "enhancer_types": "enhancers_types",
    "promoter_non_tata": "promoter_no_tata",
    "splice_sites_acceptor": "splice_sites_acceptors",
    "splice_sites_donor": "splice_sites_donors",
}


class NucleotideTransformer(Family):
    """One task: FASTA with the class at the end of each header, or parquet with sequence, name and label.

    The folder may be called by the Hub's name or the original's. A parquet of all tasks together, with a column
    `task`, may lie in `data` itself.
    """

    def __init__(self, task: str, index_dir: str, data: str):
        self.task = ALIASES.get(task, task)
        if self.task not in CLASSES:
            raise InputError(f"nucleotide_transformer has no task {task!r}: {', '.join(CLASSES)}")
        names = [name for name in (self.task, *ALIASES) if ALIASES.get(name, name) == self.task]
        folders = [Path(data) / name for name in names if (Path(data) / name).is_dir()]
        paths = split_files(folders[0] if folders else Path(data), (*FASTA, ".parquet"))
        if not {"train", "test"} <= paths.keys():
            folder = folders[0] if folders else task_folder(data, self.task)
            raise FileNotFoundError(f"{folder}: has no train and test in FASTA or parquet")
        super().__init__(paths, map(str, range(CLASSES[self.task])))

    def columns(self) -> dict[str, Any]:
        """Names and types of the columns."""
        return super().columns() | {"name": "string"}

    def chunks(self, shard: Path) -> Iterator[Columns]:
        """Columns of a shard, some rows at a time."""
        if shard.suffix == ".parquet":
            return table_chunks(shard, len(self.classes), where=("task", self.task))
        return fasta_chunks(shard, len(self.classes))
