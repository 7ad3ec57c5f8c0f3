"""Task 2: motifs against their own shuffles, put into backgrounds without them (DART-Eval spec section 3)."""

import os
import random
import re
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datasets_dart.alphabet import arrow_strings, one_hot_letters, reverse_complement, reverse_complement_letters
from datasets_dart.base import DartBuilder, DartConfig, Shards, file_input
from datasets_dart.duplicates import Compared, keys_of, repeated
from datasets_dart.errors import InputError
from datasets_dart.files import START, Position, input_file, numbered_lines, row_chunks
from datasets_dart.formats.bed import CHUNK_ROWS
from datasets_dart.formats.fasta import Genome
from datasets_dart.formats.hdf5 import open_hdf5
from datasets_dart.formats.meme import Motif, read_meme
from datasets_dart.regulatory_elements import check_elements, pairs, read_elements
from datasets_dart.splits import FOLDS, NAMED, SPLITS, Blocks, assign_splits, is_chosen

KINDS = ("motif", "shuffled")
ORIGINAL_KINDS = {"true": "motif", "shuffled": "shuffled"}
KEY = re.compile(r"(\d+)_(?:raw_(forward|reverse)|(.+)_(forward|reverse)_(true|shuffled))")  # of the original's table
WINDOW = 350  # bp of a background made from an element, as published
BACKGROUNDS = 100
VALIDATION_SHARE = 0.2  # of backgrounds, of splits="folds"
PUBLISHED_ELEMENTS = 2_348_854  # rows of the element file that PUBLISHED_ROWS belong to
# Rows of that file whose controls are the published backgrounds, in order (spec appendix A; inferred there from the
# original's code, which took the 568th of every 20th batch of 1024 rows, the batches ordered by their names as text).
_BATCHES = [f"{first}_{min(first + 1024, PUBLISHED_ELEMENTS)}" for first in range(0, PUBLISHED_ELEMENTS, 1024)]
PUBLISHED_ROWS = [int(name.split("_")[0]) + 567 for name in sorted(_BATCHES)[::20][:BACKGROUNDS]]


class Background(NamedTuple):
    """One background: its row among all, its letters, and the original's shuffles for it."""

    number: int
    letters: np.ndarray  # (length,) uint8 ASCII codes
    element: int | None = None  # row of the element file that it was made from
    orders: list[str] | None = None  # the shuffles for it, in protocol="paper"


class Trial(NamedTuple):
    """What a row is, beside its sequence."""

    background: int
    motif: str | None
    strand: str
    kind: str


@dataclass
class MotifFootprintingConfig(DartConfig):
    """Inputs and options of task 2; see `datasets_dart.load_dart`."""

    ONE_OF: ClassVar[tuple[str, ...]] = ("backgrounds", "elements", "processed")
    WITHOUT_COORDINATES: ClassVar[tuple[str, ...]] = ("backgrounds", "processed")
    FOLDED: ClassVar[tuple[str, ...] | None] = ("backgrounds",)

    motifs: str = file_input("MEME file")
    backgrounds: str = file_input("one sequence a line")
    genome: str = file_input("FASTA: plain, gzip or bgzip")
    elements: str = file_input("BED of elements, or the original's table of them; plain, gzip or bgzip")


def read_backgrounds(path: Path) -> list[np.ndarray]:
    """Sequences of a file with one a line, as upper-case ASCII codes.

    Raises ValueError naming file, line and letter where a line is empty, or holds other letters than A, C, G, T, N.
    """
    backgrounds = []
    for line, text in numbered_lines(path):
        sequence = text.strip().upper().replace(b"U", b"T")
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
    genome: Genome,
    elements_file: str | os.PathLike[str],
    protocol: str,
    blocks: dict[str, Blocks] | None = None,
    report: Counter[str] | None = None,
) -> dict[str, list[Background]]:
    """Backgrounds of each split, made of the elements: windows of 350 bp with the element shuffled, controls of task 1.

    As published all are for testing, whatever their chromosome; with blocks, those that lie in none are left out, and
    counted in `report`.

    Raises ValueError in protocol="paper" where the element file is not of the published number of rows.
    """
    path = input_file(elements_file)
    chunks = [(position, len(lines)) for position, (_, lines) in read_elements(path, CHUNK_ROWS)]
    total = sum(rows for _, rows in chunks)
    if total == 0:
        raise InputError(f"{path}: has no elements")
    if protocol == "paper" and total != PUBLISHED_ELEMENTS:
        raise InputError(
            f"{path}: has {total} elements; the published backgrounds are rows of a file of {PUBLISHED_ELEMENTS} "
            '(protocol="paper")'
        )
    chosen: dict[str, list[Background]] = {}
    for number, row in enumerate(background_rows(total)):
        at, _ = chunks[row // CHUNK_ROWS]
        _, (elements, lines) = next(read_elements(path, CHUNK_ROWS, at, total=total, contigs=genome.contigs))
        here = np.array([row % CHUNK_ROWS])
        element = elements.take(here)
        check_elements(path, element, lines[here], genome, protocol)
        code = -1 if blocks is None else int(assign_splits(blocks, element.chrom, element.start, element.end)[0])
        if blocks is None or code >= 0:
            _, controls = pairs(element, genome, protocol)
            split = "test" if blocks is None else SPLITS[code]
            chosen.setdefault(split, []).append(Background(number, controls[0], row))
        elif report is not None:
            report["backgrounds are in no split, left out"] += 1
    return chosen


def in_folds(backgrounds: Sequence[Background]) -> dict[str, list[Background]]:
    """About a fifth of the backgrounds for validation, the others for testing: a function only of a background's
    sequence, so that neither other backgrounds nor their order change it; its reverse complement goes with it."""
    folds: dict[str, list[Background]] = {}
    for background in backgrounds:
        text = background.letters.tobytes().decode()
        chosen = is_chosen(min(text, reverse_complement(text)), VALIDATION_SHARE)
        folds.setdefault("validation" if chosen else "test", []).append(background)
    return folds


def shuffled(consensus: str, rng: random.Random, refused: Container[str]) -> str:
    """The bases of `consensus` in a random order that is not in `refused`; `random.shuffle`'s draws, as the original's.

    Never returns where every order is refused: see `check_shuffles`.
    """
    bases = list(consensus)
    while True:
        rng.shuffle(bases)
        if (order := "".join(bases)) not in refused:
            return order


def check_shuffles(path: Path, motifs: Sequence[Motif]) -> None:
    """Raise ValueError naming file, line and consensus of a motif whose bases have only one order (all the same)."""
    for motif in motifs:
        if len(set(motif.consensus)) == 1:
            raise InputError(
                f"{path}:{motif.line}: motif {motif.name!r}: {motif.consensus} cannot be shuffled into another order"
            )


def insert(background: np.ndarray, motifs: Sequence[str]) -> np.ndarray:
    """(n, length) uint8: `background`, (length,) ASCII codes, with each of n motifs in place of its central bases.

    A motif of m bases replaces those from length // 2 - m // 2 on. No motif may be longer than the background.
    """
    sequences = np.tile(background, (len(motifs), 1))
    for sequence, motif in zip(sequences, motifs, strict=True):
        start = len(background) // 2 - len(motif) // 2
        sequence[start : start + len(motif)] = np.frombuffer(motif.encode(), dtype=np.uint8)
    return sequences


def paper_shuffles(motifs: Sequence[Motif], backgrounds: int) -> list[list[str]]:
    """The original's shuffles for each background in turn: drawn motif by motif from one generator seeded with 0, each
    different from its motif."""
    rng = random.Random(0)
    consensuses = [motif.consensus for motif in motifs]
    return [[shuffled(consensus, rng, {consensus}) for consensus in consensuses] for _ in range(backgrounds)]


def shuffles(motifs: Sequence[Motif], background: int) -> list[str]:
    """One shuffle of each motif's consensus for a background: a function only of the background's number and the
    motif's name, so that neither other motifs nor their order change it; and different from the motif on either strand,
    as the reverse complement of a motif is the motif to a protein.
    """
    orders = []
    for motif in motifs:
        rng = random.Random(f"{background}\t{motif.name}")
        orders.append(shuffled(motif.consensus, rng, {motif.consensus, reverse_complement(motif.consensus)}))
    return orders


def trials(background: np.ndarray, motifs: Sequence[str], orders: Sequence[str]) -> np.ndarray:
    """(2 + 4 n, length) uint8: the background on both strands, then for each of n motifs the motif and its shuffle in
    it, then the reverse complements of both. `background`: (length,) ASCII codes."""
    sequences = np.empty((2 + 4 * len(motifs), len(background)), dtype=np.uint8)
    sequences[0], sequences[1] = background, reverse_complement_letters(background)
    sequences[2::4] = insert(background, motifs)
    sequences[3::4] = insert(background, orders)
    sequences[4::4] = reverse_complement_letters(sequences[2::4])
    sequences[5::4] = reverse_complement_letters(sequences[3::4])
    return sequences


def trial_names(background: int, names: Sequence[str]) -> list[Trial]:
    """What each row of `trials` is."""
    rows = [Trial(background, None, "forward", "raw"), Trial(background, None, "reverse", "raw")]
    for name in names:
        rows += [Trial(background, name, strand, kind) for strand in ("forward", "reverse") for kind in KINDS]
    return rows


def parse_key(path: Path, line: int, key: str) -> Trial:
    """What a row of the original's table is, from its key: 0_raw_forward, 12_AHR.H12CORE.0.P.B_reverse_true."""
    match = KEY.fullmatch(key)
    if not match:
        raise InputError(f"{path}:{line}: {key!r} is not background_raw_strand or background_motif_strand_kind")
    background, raw_strand, motif, strand, kind = match.groups()
    return Trial(int(background), motif, raw_strand or strand, ORIGINAL_KINDS.get(kind, "raw"))


def original_key(row: Mapping[str, Any]) -> str:
    """The key of a row in the original's table, from its columns: what `parse_key` reads."""
    kind = next((there for there, here in ORIGINAL_KINDS.items() if here == row["kind"]), "")
    name = f"{row['motif']}_{row['strand']}_{kind}" if kind else f"raw_{row['strand']}"
    return f"{row['background']}_{name}"


class MotifFootprinting(DartBuilder):
    """Motifs and their shuffles in backgrounds; a shard is one background with all motifs."""

    BUILDER_CONFIG_CLASS = MotifFootprintingConfig
    NEEDS = (("motifs", "backgrounds"), ("motifs", "genome", "elements"), ("processed",))
    DESCRIPTION = """\
Task 2 of DART-Eval: consensus sequences of transcription factor motifs, and shuffles of them, each in the centre of the
same backgrounds; a model that knows the motif distinguishes it from its shuffle. `id` is the row in the original's
order, and `background` the row of the background. Made of: {config.source}. Protocol: {config.protocol}. {report}."""

    def columns(self) -> dict[str, Any]:
        """Names and types of the columns."""
        return {
            "id": "int64",
            "background": "int64",
            "motif": "string",
            "strand": "string",
            "kind": "string",
            "sequence": "string",
            "element": "int64",
        }

    def compared(self) -> Compared:
        """Backgrounds as they are: all else is made of them, on both strands."""
        return Compared(rows=lambda table: table.filter(_is_background(table)))

    def shards(self, report: Counter[str]) -> tuple[Shards, dict[str, Any]]:
        """Pieces of work for each split, with what `rows_of` takes beside them; `report` counts what is left out."""
        config = self.config
        path = input_file(config.motifs)
        motifs = read_meme(path, config.protocol)
        check_shuffles(path, motifs)
        if config.backgrounds:
            sequences = enumerate(read_backgrounds(input_file(config.backgrounds)))
            chosen = {"test": [Background(row, letters) for row, letters in sequences]}
        else:
            blocks = None if config.splits in NAMED else self.blocks
            chosen = backgrounds_from_elements(self.genome, config.elements, config.protocol, blocks, report)
        backgrounds = [background for split in chosen.values() for background in split]
        if config.splits == FOLDS:
            chosen = in_folds(backgrounds)
            for split, own in chosen.items():
                report[f"of the backgrounds in {split}"] = len(own)
        longest = max(motifs, key=lambda motif: len(motif.probabilities))
        for background in backgrounds:
            if len(background.letters) < len(longest.probabilities):
                raise InputError(
                    f"{path}:{longest.line}: motif {longest.name!r} of {len(longest.probabilities)} bp does not fit "
                    f"into background {background.number} of {len(background.letters)} bp"
                )
        report["motifs"] = len(motifs)
        report["motifs have the consensus of an earlier one, on either strand"] = int(
            repeated(keys_of(motif.consensus for motif in motifs).either).sum()
        )
        report["backgrounds"] = len(backgrounds)
        report["motifs are lost by the original's way of reading the file"] = len(read_meme(path)) - len(motifs)
        shards: Shards = {**chosen}
        if config.protocol == "paper" and backgrounds:
            total = 1 + max(background.number for background in backgrounds)
            orders = paper_shuffles(motifs, total)
            shards = {
                split: [one._replace(orders=orders[one.number]) for one in rows] for split, rows in chosen.items()
            }
        return shards, {"motifs": tuple(motifs)}  # a list would be taken for shards

    def processed_shards(self, report: Counter[str]) -> tuple[Shards, dict[str, Any]]:
        """The original's table of sequences or, with motifs=, its data.h5, whose arrays are ordered by motif name."""
        path = input_file(self.config.processed)
        with path.open("rb") as file:
            is_hdf5 = file.read(8) == b"\x89HDF\r\n\x1a\n"
        if not is_hdf5:
            chunks = [(position, len(rows)) for position, rows in read_processed(path)]
            report["rows"] = sum(rows for _, rows in chunks)
            return {"test": [position for position, _ in chunks]}, {}
        if not self.config.motifs:
            raise InputError(f"{path}: needs motifs=: the file holds no names")
        names = sorted(motif.name for motif in read_meme(input_file(self.config.motifs), self.config.protocol))
        with open_hdf5(path) as h5:
            shape = (len(names), *h5["raw"].shape[1:]) if "raw" in h5 else ()
            for name in ("positive", "shuffled"):
                if name not in h5 or h5[name].shape != shape:
                    raise InputError(f"{path}: /{name} is missing, or its shape is not {shape or 'that of /raw'}")
        report["backgrounds"] = shape[1] // 2
        return {"test": list(range(shape[1] // 2))}, {"names": tuple(names)}

    def rows_of(self, shards: list[Background], split: str, motifs: Sequence[Motif]) -> Iterator[dict[str, Any]]:
        """Tables of the rows of some pieces of one split."""
        names, consensuses = [motif.name for motif in motifs], [motif.consensus for motif in motifs]
        for number, letters, element, orders in shards:
            sequences = trials(letters, consensuses, orders or shuffles(motifs, number))
            ids = number * len(sequences) + np.arange(len(sequences))
            columns = {"id": ids, "sequence": arrow_strings(sequences), "element": [element] * len(sequences)}
            yield trial_columns(trial_names(number, names)) | columns

    def processed_rows(self, shards: list[Any], split: str, **given: Any) -> Iterator[dict[str, Any]]:
        """Tables of the rows of some pieces of a processed file."""
        return self._hdf5_rows(shards, given["names"]) if given else self._table_rows(shards)

    def _table_rows(self, shards: list[Position]) -> Iterator[dict[str, Any]]:
        for position in shards:
            _, rows = next(read_processed(input_file(self.config.processed), position))
            columns = {"id": position.row + np.arange(len(rows)), "sequence": pa.array([text for _, text in rows])}
            yield trial_columns([trial for trial, _ in rows]) | columns

    def _hdf5_rows(self, shards: list[int], names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Rows and ids in the order of the arrays, background by background."""
        with open_hdf5(self.config.processed) as file:
            for number in shards:
                strands = slice(2 * number, 2 * number + 2)
                raw, *both = (
                    one_hot_letters(file[name][:, strands].reshape(-1, *file[name].shape[2:]), self.config.protocol)
                    for name in ("raw", "positive", "shuffled")
                )
                motif, order = (letters.reshape(len(names), 2, -1) for letters in both)
                sequences = np.concatenate([raw, np.stack([motif, order], axis=2).reshape(-1, raw.shape[1])])
                ids = number * len(sequences) + np.arange(len(sequences))
                yield trial_columns(trial_names(number, names)) | {"id": ids, "sequence": arrow_strings(sequences)}


def _is_background(table: pa.Table) -> pa.ChunkedArray:
    return pc.and_(pc.equal(table["kind"], "raw"), pc.equal(table["strand"], "forward"))


def trial_columns(rows: Sequence[Trial]) -> dict[str, Any]:
    """Columns background, motif, strand and kind."""
    return dict(zip(Trial._fields, zip(*rows, strict=True), strict=True))


def read_processed(path: Path, position: Position = START) -> Iterator[tuple[Position, list[tuple[Trial, str]]]]:
    """Chunks of the original's table of key and sequence, each with the position at which it can be read again.

    Raises ValueError naming file, line and value where a row is no key and sequence.
    """

    def parse(line: int, text: bytes) -> list[tuple[Trial, str]]:
        whole = text.decode(errors="replace").strip()
        key, tab, sequence = whole.partition("\t")
        if not tab or not sequence or set(sequence) - set("ACGTN"):
            raise InputError(f"{path}:{line}: {whole[:60]!r} is not a key, a tab and a sequence of A, C, G, T, N")
        return [(parse_key(path, line, key), sequence)]

    return row_chunks(path, CHUNK_ROWS, parse, position)
