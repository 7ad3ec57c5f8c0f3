"""Task 2: motifs against their own shuffles, put into backgrounds without them (DART-Eval spec section 3)."""

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import pyarrow as pa
from datasets.builder import Key

from datasets_dart.alphabet import LETTERS, arrow_strings, one_hot_letters
from datasets_dart.cell_type_elements import CITATION
from datasets_dart.errors import InputError
from datasets_dart.files import contents_key, input_file, numbered_lines
from datasets_dart.formats.bed import CHUNK_ROWS, Position
from datasets_dart.formats.fasta import open_genome
from datasets_dart.formats.hdf5 import open_hdf5
from datasets_dart.formats.meme import Motif, check_shuffles, insert, read_meme, reverse_complement, shuffled
from datasets_dart.regulatory_elements import check_elements, pairs, read_elements
from datasets_dart.splits import SPLITS, assign_splits, read_splits

KINDS = ("motif", "shuffled")
ORIGINAL_KINDS = {"true": "motif", "shuffled": "shuffled"}
WINDOW = 350  # bp of a background made from an element, as published
BACKGROUNDS = 100
PUBLISHED_ELEMENTS = 2_348_854  # rows of the element file that PUBLISHED_ROWS belong to
# Rows of that file whose controls are the published backgrounds, in order (spec appendix A; inferred there from the
# original's code, which took the 568th of every 20th batch of 1024 rows, the batches ordered by their names as text).
_BATCHES = [f"{first}_{min(first + 1024, PUBLISHED_ELEMENTS)}" for first in range(0, PUBLISHED_ELEMENTS, 1024)]
PUBLISHED_ROWS = [int(name.split("_")[0]) + 567 for name in sorted(_BATCHES)[::20][:BACKGROUNDS]]

DESCRIPTION = """\
Task 2 of DART-Eval: consensus sequences of transcription factor motifs, and shuffles of them, each in the centre of the
same backgrounds; a model that knows the motif tells it from its shuffle. `id` is the row in the original's order, and
`background` the row of the background. Motifs: {motifs}. Backgrounds: {backgrounds}. Protocol: {protocol}. {report}."""


class Background(NamedTuple):
    """One background: its row among all, its letters, and the state of the original's shuffles before it."""

    number: int
    element: int | None  # row of the element file that it was made from
    letters: np.ndarray  # (length,) uint8 ASCII codes
    state: tuple[Any, ...] | None  # of `random.Random`, in protocol="paper"


class Trial(NamedTuple):
    """What a row is beside its sequence."""

    background: int
    motif: str | None
    strand: str
    kind: str


@dataclass
class MotifFootprintingConfig(datasets.BuilderConfig):
    """Inputs and options of task 2; see `datasets_dart.load_dart`."""

    motifs: str = ""
    backgrounds: str = ""
    genome: str = ""
    elements: str = ""
    processed: str = ""  # the original's table of sequences or, with motifs, its data.h5
    splits: str = "paper"
    protocol: str = "fixed"
    index_dir: str | None = None  # where a decompressed genome and an index go that cannot lie beside it

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.protocol not in LETTERS:
            raise InputError(f"protocol={self.protocol!r} is not one of {', '.join(LETTERS)}")
        if sum(map(bool, (self.backgrounds, self.elements, self.processed))) != 1:
            raise InputError("task 'motif_footprinting' takes one of backgrounds=, elements= and processed=")
        if self.splits != "paper" and not self.elements:
            raise InputError(f"splits={self.splits}: {self.backgrounds or self.processed} has no coordinates")

    def create_config_id(self, config_kwargs: dict, custom_features: datasets.Features | None = None) -> str:
        """Name of the cache: the inputs' contents and the options, whatever the files are called."""
        splits = "" if self.splits == "paper" else self.splits
        files = [self.motifs, self.backgrounds, self.genome, self.elements, self.processed, splits]
        key = contents_key(filter(None, files), list(map(bool, files)), self.protocol, custom_features)
        return f"{self.protocol}-{key}"


def read_backgrounds(path: Path) -> list[np.ndarray]:
    """Sequences of a file with one a line, as upper-case ASCII codes.

    Raises ValueError naming file, line and letter where a line is empty, or holds other letters than A, C, G, T, N.
    """
    backgrounds = []
    for line, text in numbered_lines(path):
        sequence = text.strip().upper()
        if other := set(sequence) - set(b"ACGTN"):
            raise InputError(
                f"{path}:{line}: {chr(min(other))!r} is none of A, C, G, T, N; one sequence a line is needed"
            )
        if not sequence:
            raise InputError(f"{path}:{line}: an empty line; one sequence a line is needed")
        backgrounds.append(np.frombuffer(sequence, dtype=np.uint8))
    return backgrounds


def background_rows(elements: int) -> list[int]:
    """Which of so many elements give the backgrounds: the published 100 of the published file, else 100 evenly spread
    over the file (all of them, if fewer)."""
    if elements == PUBLISHED_ELEMENTS:
        return PUBLISHED_ROWS
    count = min(BACKGROUNDS, elements)
    return [place * elements // count for place in range(count)]


def backgrounds_from_elements(
    genome_file: str, elements_file: str, protocol: str, splits: str = "paper", index_dir: str | None = None
) -> dict[str, list[tuple[int, int, np.ndarray]]]:
    """By split, (number among the backgrounds, row of the element file, letters of the 350 bp) of each background.

    A background is an element's window with the element shuffled: a control of task 1. As published all are for
    testing, whatever their chromosome; with blocks of a BED, those that lie in none are left out.

    Raises ValueError in protocol="paper" where the element file is not of the published number of rows.
    """
    path, genome = input_file(elements_file), open_genome(genome_file, index_dir)
    positions = []
    total = 0
    for position, _, lines in read_elements(path, CHUNK_ROWS):
        positions.append(position)
        total += len(lines)
    if total == 0:
        raise InputError(f"{path}: has no elements")
    if protocol == "paper" and total != PUBLISHED_ELEMENTS:
        raise InputError(
            f"{path}: has {total} elements; the published backgrounds are rows of a file of {PUBLISHED_ELEMENTS} "
            '(protocol="paper")'
        )
    blocks = None if splits == "paper" else read_splits(splits)
    chosen: dict[str, list[tuple[int, int, np.ndarray]]] = {}
    for number, row in enumerate(background_rows(total)):
        _, elements, lines = next(read_elements(path, CHUNK_ROWS, positions[row // CHUNK_ROWS], total=total))
        here = slice(row % CHUNK_ROWS, row % CHUNK_ROWS + 1)
        element = elements.take(np.arange(len(lines))[here])
        check_elements(path, element, lines[here], genome, protocol)
        split = "test"
        if blocks is not None:
            code = int(assign_splits(blocks, element.chrom, element.start, element.end)[0])
            split = SPLITS[code] if code >= 0 else ""
        _, controls = pairs(element, genome, protocol)
        chosen.setdefault(split, []).append((number, row, controls[0]))
    chosen.pop("", None)
    if not chosen:
        raise InputError(f"{path}: none of the backgrounds made of it lies in a split ({splits})")
    return {split: chosen[split] for split in SPLITS if split in chosen}


def paper_states(consensuses: Sequence[str], backgrounds: int) -> Iterator[tuple[Any, ...]]:
    """State of the original's one generator, seeded with 0, before the shuffles of each background in turn."""
    rng = random.Random(0)
    for _ in range(backgrounds):
        yield rng.getstate()
        for consensus in consensuses:
            shuffled(consensus, rng, {consensus})


def shuffles(motifs: Sequence[Motif], background: int, state: tuple[Any, ...] | None = None) -> list[str]:
    """One shuffle of each motif's consensus for a background.

    With `state`, the original's: drawn on from it, motif by motif, each different from its motif. Without, a function
    of the background's number and the motif's name alone, so that neither other motifs nor their order change it; and
    different from the motif on either strand, as the reverse complement of a motif is the motif to a protein.
    """
    rng = random.Random(0)
    if state is not None:
        rng.setstate(state)
    orders = []
    for motif in motifs:
        consensus = motif.consensus
        refused = {consensus}
        if state is None:
            rng.seed(f"{background}\t{motif.name}")
            refused.add(reverse_complement(np.frombuffer(consensus.encode(), dtype=np.uint8)).tobytes().decode())
        orders.append(shuffled(consensus, rng, refused))
    return orders


def trials(background: np.ndarray, motifs: Sequence[str], orders: Sequence[str]) -> np.ndarray:
    """(2 + 4 n, length) uint8: the background on both strands, then for each of n motifs the motif and its shuffle in
    it, then the reverse complements of both. `background`: (length,) ASCII codes."""
    sequences = np.empty((2 + 4 * len(motifs), len(background)), dtype=np.uint8)
    sequences[0], sequences[1] = background, reverse_complement(background)
    sequences[2::4] = insert(background, motifs)
    sequences[3::4] = insert(background, orders)
    sequences[4::4] = reverse_complement(sequences[2::4])
    sequences[5::4] = reverse_complement(sequences[3::4])
    return sequences


def trial_names(background: int, names: Sequence[str]) -> list[Trial]:
    """What each row of `trials` is."""
    rows = [Trial(background, None, "forward", "raw"), Trial(background, None, "reverse", "raw")]
    for name in names:
        rows += [Trial(background, name, strand, kind) for strand in ("forward", "reverse") for kind in KINDS]
    return rows


def parse_key(path: Path, line: int, key: str) -> Trial:
    """What a row of the original's table is, from its key: 0_raw_forward, 12_AHR.H12CORE.0.P.B_reverse_true."""
    background, _, rest = key.partition("_")
    name, _, last = rest.rpartition("_")
    motif, _, strand = name.rpartition("_")
    if rest in ("raw_forward", "raw_reverse"):
        motif, strand, kind = "", last, "raw"
    else:
        kind = ORIGINAL_KINDS.get(last, "") if motif else ""
    if not (background.isdecimal() and kind and strand in ("forward", "reverse")):
        raise InputError(f"{path}:{line}: {key!r} is not background_raw_strand or background_motif_strand_kind")
    return Trial(int(background), motif or None, strand, kind)


class MotifFootprinting(datasets.ArrowBasedBuilder):
    """Motifs and their shuffles in backgrounds; a shard is one background with all motifs.

    VERSION is raised whenever the same inputs give other rows.
    """

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = MotifFootprintingConfig

    def _info(self) -> datasets.DatasetInfo:
        columns = {"id": "int64", "background": "int64", "motif": "string", "strand": "string", "kind": "string"}
        columns |= {"sequence": "string", "element": "int64"}
        return datasets.DatasetInfo(
            description=__doc__,
            citation=CITATION,
            features=datasets.Features({name: datasets.Value(kind) for name, kind in columns.items()}),
        )

    def _split_generators(
        self, dl_manager: datasets.DownloadManager | datasets.StreamingDownloadManager
    ) -> list[datasets.SplitGenerator]:
        config = self.config
        if config.processed:
            return self._processed_splits()
        path = input_file(config.motifs)
        motifs = read_meme(path, config.protocol)
        check_shuffles(path, motifs)
        if config.backgrounds:
            given = read_backgrounds(input_file(config.backgrounds))
            chosen: dict[str, list[Any]] = {"test": [(row, None, letters) for row, letters in enumerate(given)]}
        else:
            files = config.genome, config.elements
            chosen = backgrounds_from_elements(*files, config.protocol, config.splits, config.index_dir)
        longest = max(motifs, key=lambda motif: len(motif.probabilities))
        for number, _, letters in (row for rows in chosen.values() for row in rows):
            if len(letters) < len(longest.probabilities):
                raise InputError(
                    f"{path}:{longest.line}: motif {longest.name!r} of {len(longest.probabilities)} bp does not fit "
                    f"into background {number} of {len(letters)} bp"
                )
        total = 1 + max(number for rows in chosen.values() for number, *_ in rows)
        states: list[Any] = [None] * total
        if config.protocol == "paper":
            states = list(paper_states([motif.consensus for motif in motifs], total))
        lost = len(read_meme(path)) - len(motifs)
        self._describe(
            f"{len(motifs)} motifs, {sum(map(len, chosen.values()))} backgrounds"
            + (f"; {lost} motifs are lost by the original's way of reading the file" if lost else "")
        )
        return [
            datasets.SplitGenerator(
                name=split,
                gen_kwargs={
                    "shards": [Background._make([*row, states[row[0]]]) for row in rows],
                    "motifs": tuple(motifs),  # a list would be taken for shards
                },
            )
            for split, rows in chosen.items()
        ]

    def _processed_splits(self) -> list[datasets.SplitGenerator]:
        path = input_file(self.config.processed)
        with path.open("rb") as file:
            is_hdf5 = file.read(8) == b"\x89HDF\r\n\x1a\n"
        if not is_hdf5:
            shards: list[Any] = [position for position, *_ in read_processed(path)]
            names: tuple[str, ...] = ()
        else:
            if not self.config.motifs:
                raise InputError(f"{path}: needs motifs=: the file holds no names")
            names = tuple(
                sorted(motif.name for motif in read_meme(input_file(self.config.motifs), self.config.protocol))
            )
            with open_hdf5(path) as h5:
                trials_shape = (len(names), *h5["raw"].shape[1:]) if "raw" in h5 else ()
                for name in ("positive", "shuffled"):
                    if name not in h5 or h5[name].shape != trials_shape:
                        raise InputError(
                            f"{path}: /{name} is missing, or its shape is not {trials_shape or 'that of /raw'}"
                        )
                shards = list(range(trials_shape[1] // 2))
        if not shards:
            raise InputError(f"{path}: has no rows")
        self._describe("as the file has them")
        kwargs = {"shards": shards, "path": path, "names": names}
        return [datasets.SplitGenerator(name="test", gen_kwargs=kwargs)]

    def _describe(self, report: str) -> None:
        config = self.config
        backgrounds = os.path.basename(config.backgrounds or config.elements or config.processed)
        motifs = os.path.basename(config.motifs or config.processed)
        self.info.description = DESCRIPTION.format(
            motifs=motifs, backgrounds=backgrounds, protocol=config.protocol, report=report
        )

    def _generate_tables(self, shards: list[Any], **source: Any) -> Iterator[tuple[Key, pa.Table]]:
        if isinstance(shards[0], Background):
            tables = self._trials(shards, **source)
        elif isinstance(shards[0], Position):
            tables = self._table_rows(shards, source["path"])
        else:
            tables = self._hdf5_rows(shards, **source)
        for shard, (ids, rows, sequences, element) in enumerate(tables):
            background, motif, strand, kind = zip(*rows, strict=True)
            columns = {"id": ids, "background": background, "motif": motif, "strand": strand, "kind": kind}
            columns |= {"sequence": sequences, "element": [element] * len(rows)}
            yield Key(shard, 0), pa.table(columns, schema=self.info.features.arrow_schema)

    def _trials(self, shards: list[Background], motifs: Sequence[Motif]) -> Iterator[tuple]:
        names, consensuses = [motif.name for motif in motifs], [motif.consensus for motif in motifs]
        for number, element, letters, state in shards:
            sequences = trials(letters, consensuses, shuffles(motifs, number, state))
            ids = number * len(sequences) + np.arange(len(sequences))
            yield ids, trial_names(number, names), arrow_strings(sequences), element

    def _table_rows(self, shards: list[Position], path: Path) -> Iterator[tuple]:
        for position in shards:
            _, rows, sequences = next(read_processed(path, position))
            yield position.row + np.arange(len(rows)), rows, pa.array(sequences), None

    def _hdf5_rows(self, shards: list[int], path: Path, names: Sequence[str]) -> Iterator[tuple]:
        """The original orders its arrays by motif name; rows and ids follow that order, background by background."""
        with open_hdf5(path) as file:
            for number in shards:
                strands = slice(2 * number, 2 * number + 2)
                raw, *both = (
                    one_hot_letters(file[name][:, strands].reshape(-1, *file[name].shape[2:]), self.config.protocol)
                    for name in ("raw", "positive", "shuffled")
                )
                motif, order = (letters.reshape(len(names), 2, -1) for letters in both)
                sequences = np.concatenate([raw, np.stack([motif, order], axis=2).reshape(-1, raw.shape[1])])
                ids = number * len(sequences) + np.arange(len(sequences))
                yield ids, trial_names(number, names), arrow_strings(sequences), None


def read_processed(path: Path, position: Position | None = None) -> Iterator[tuple[Position, list[Trial], list[str]]]:
    """Chunks of the original's table of key and sequence, each with the position at which it can be read again.

    Raises ValueError naming file, line and value where a row is no key and sequence.
    """
    offset, first, row = at = position or Position()
    rows: list[Trial] = []
    sequences: list[str] = []
    for line, text in numbered_lines(path, offset, first):
        whole = text.decode(errors="replace").strip()
        key, tab, sequence = whole.partition("\t")
        if not tab or not sequence or set(sequence) - set("ACGTN"):
            raise InputError(f"{path}:{line}: {whole[:60]!r} is not a key, a tab and a sequence of A, C, G, T, N")
        rows.append(parse_key(path, line, key))
        sequences.append(sequence)
        offset, row = offset + len(text), row + 1
        if len(rows) == CHUNK_ROWS:
            yield at, rows, sequences
            at, rows, sequences = Position(offset, line + 1, row), [], []
    if rows:
        yield at, rows, sequences
