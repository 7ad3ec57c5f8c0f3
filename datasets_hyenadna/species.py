"""Species classification: whose genome is a random window from? (paper section 4.4.3, spec 6.4)"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets_dart.alphabet import known_bases
from datasets_dart.base import rows_at_once
from datasets_dart.errors import InputError
from datasets_dart.files import batched
from datasets_dart.formats.fasta import FASTA_SUFFIXES, Genome, open_genome
from datasets_dart.splits import SPLITS
from datasets_hyenadna.family import Family
from datasets_hyenadna.sequence_files import Columns

# Of the original's code; its paper holds out only the first four, and its metrics are of them.
HELD_OUT = {"validation": ("1", "3", "12", "13"), "test": ("5", "7", "9", "10", "11")}


def genome_files(folder: Path, species: Sequence[str] | None = None) -> dict[str, list[Path]]:
    """FASTA files of each species: those of its folder, or the one of its name. In the order of `species`, else sorted.

    Raises FileNotFoundError for a species, or a folder, without any; ValueError for fewer than two species.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        files = sorted(path.iterdir()) if path.is_dir() else []
        inside = [file for file in files if file.name.endswith(FASTA_SUFFIXES)]
        if inside:
            found[path.name] = inside
        elif path.is_file() and path.name.endswith(FASTA_SUFFIXES):
            found[path.name.partition(".")[0]] = [path]
    if missing := [name for name in species or () if name not in found]:
        raise FileNotFoundError(f"{folder / missing[0]}: no folder of FASTAs, and no FASTA of that name")
    chosen = {name: found[name] for name in species or found}
    if len(chosen) < 2:
        raise InputError(f"{folder}: {len(chosen)} species, where two or more are needed")
    return chosen


class Chromosome(NamedTuple):
    """One chromosome of a species."""

    genome: Genome
    contig: str


class SpeciesWindows:
    """Windows of a split by number: a row is a function of seed, split and number, whatever was drawn before.

    Uniform over species, then over the split's chromosomes of it, then over starts, as in the original.
    """

    def __init__(self, genomes: Mapping[str, Sequence[Chromosome]], split: str, length: int, rows: int, seed: int):
        self.genomes, self.split, self.length, self.rows, self.seed = genomes, split, length, rows, seed
        self.species = list(genomes)

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, numbers: Sequence[int]) -> Columns:
        """Columns of the windows of these numbers, which may go beyond the rows of an epoch."""
        rows = [self.row(number) for number in numbers]
        return {name: [row[name] for row in rows] for name in rows[0]}

    def row(self, number: int) -> dict[str, Any]:
        """Row `number` of the split, the same on every call."""
        rng = np.random.default_rng([self.seed, SPLITS.index(self.split), number])
        label = int(rng.integers(len(self.species)))
        chromosomes = self.genomes[self.species[label]]
        genome, contig = chromosomes[int(rng.integers(len(chromosomes)))]
        start = int(rng.integers(max(1, genome.contigs[contig] - self.length + 1)))
        bases = genome.fetch(contig, start, min(start + self.length, genome.contigs[contig]))
        sequence = known_bases(bases).rjust(self.length, "N")  # of a shorter chromosome
        return {"id": number, "chrom": contig, "start": start, "sequence": sequence, "label": label}


class Species(Family):
    """Windows of `length` bp of the genomes below `data`, `windows` of them for each split.

    Chromosomes are split by their number in the FASTA's name (chr7.fna), or, where there is one FASTA for all, in the
    contig's. `splits` names those of validation and test; all others train. protocol "paper" tests on the original's
    validation chromosomes, on which it also chose.
    """

    contig = ("label", "chrom")  # species have contigs of the same names
    element = ()  # windows are drawn, one of them maybe twice

    def __init__(
        self,
        task: str,
        index_dir: str,
        data: str,
        length: int = 1024,
        windows: int = 1000,
        species: Sequence[str] | None = None,
        splits: Mapping[str, Sequence[str]] | None = None,
        seed: int = 0,
    ):
        if task:
            raise InputError(f"species has no task {task!r}: its species are those of the folder, or species=")
        if length < 1 or windows < 1:
            raise InputError(f"length={length}, windows={windows}: at least 1")
        self.paths = genome_files(Path(data), species)
        self.index_dir, self.length, self.count, self.seed = index_dir, length, windows, seed
        self.held_out = {
            split: tuple(_number(str(name)) for name in names) for split, names in (splits or HELD_OUT).items()
        }
        if unknown := self.held_out.keys() - HELD_OUT.keys():
            raise InputError(f"splits={sorted(unknown)}: chromosomes of validation and test are named")
        self.must_match = splits is not None  # of the published ones, a species may lack some

        files = [path for paths in self.paths.values() for path in paths]
        super().__init__({split: [split] for split in SPLITS}, list(self.paths), files)

    def columns(self) -> dict[str, Any]:
        """Names and types of the columns."""
        columns = {"id": "int64", "chrom": "string", "start": "int64", "sequence": "string"}
        return columns | {"label": super().columns()["label"]}

    def chunks(self, shard: str) -> Iterator[Columns]:
        """Columns of a shard, some rows at a time."""
        windows = self.windows(shard)
        for numbers in batched(range(len(windows)), rows_at_once(self.length)):
            yield windows[numbers]

    def windows(self, split: str) -> SpeciesWindows:
        """The windows of a split.

        Raises ValueError naming a species that has no chromosome in it.
        """
        genomes = {}
        numbers: set[str] = set()
        for name, paths in self.paths.items():
            own = [chromosome for path in paths for chromosome in self._chromosomes(path, len(paths) > 1)]
            genomes[name] = [chromosome for number, chromosome in own if self._split(number) == split]
            numbers |= {number for number, _ in own}
            if not genomes[name]:
                found = ", ".join(sorted({number for number, _ in own}))
                raise InputError(f"{paths[0].parent}: no chromosome of {name} is in split {split}; it has {found}")
        for own_split, held_out in self.held_out.items():
            if self.must_match and (unknown := sorted(set(held_out) - numbers)):
                there = ", ".join(sorted(numbers))
                raise InputError(f"splits={own_split}: no species has a chromosome {unknown[0]!r}; there are {there}")
        return SpeciesWindows(genomes, split, self.length, self.count, self.seed)

    def _split(self, number: str) -> str:
        return next((split for split, names in self.held_out.items() if number in names), "train")

    def _chromosomes(self, path: Path, of_many: bool) -> list[tuple[str, Chromosome]]:
        genome = open_genome(path, self.index_dir)
        return [
            (_number(path.name.partition(".")[0] if of_many else contig), Chromosome(genome, contig))
            for contig in genome.contigs
        ]


def _number(name: str) -> str:
    """What follows "chr" in a name, else the name."""
    return re.sub(r"^(chromosome|chrom|chr)[_-]?", "", name, flags=re.IGNORECASE)
