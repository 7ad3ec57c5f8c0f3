"""What a model was pretrained on, from its card or told, and how many rows of a test lie in it.

A text says it: a build ("hg38"), contigs of it ("hg38:chr1,chr2"), a BED of it ("hg38:train.bed"), a BED whose build is
that of the test ("train.bed"), or the sequence itself, a FASTA ("train.fa"). In a model card it is the field
`pretrained_on` of the metadata, one such text or a list of them, files being in the model's folder or repository.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

from datasets_dart.alphabet import CODES
from datasets_dart.contigs import find_contig, genome_build, renamed
from datasets_dart.duplicates import intervals, overlapping
from datasets_dart.errors import InputError
from datasets_dart.files import input_file, sha256, shown
from datasets_dart.formats.bed import BED_SUFFIXES, Windows
from datasets_dart.formats.documents import parse_yaml
from datasets_dart.formats.element_tables import read_windows
from datasets_dart.formats.fasta import FASTA_SUFFIXES, open_genome, read_fasta
from datasets_dart.kmers import distinct_kmers, occurring
from evaluation_dart.models.kinds import split_spec

CARD, FIELD = "README.md", "pretrained_on"
K = 31  # bases that a row shares with the sequence that a model has read
UNTRAINED = ("random", "network", "kmers", "gc", "motifs")  # kinds of models that have read no sequence before
UNKNOWN, NOTHING = "unknown", "nothing"
ROWS = 4096


@dataclass(frozen=True)
class Source:
    """Something that a model was pretrained on.

    Attributes:
        build: of a genome, None for that of the test. contigs: of it, None for all. file: BED or FASTA.
    """

    text: str
    build: str | None
    contigs: tuple[str, ...] | None
    file: Path | None

    @property
    def is_sequence(self) -> bool:
        """Whether the file is the sequence itself."""
        return self.file is not None and self.file.name.endswith(FASTA_SUFFIXES)

    def described(self) -> str:
        """The text, a file without its folder and with its digest."""
        if self.file is None:
            return self.text
        return f"{self.build + ':' if self.build else ''}{self.file.name} sha256:{sha256(self.file)}"


def source_of(text: str, folder: Path | None = None) -> Source:
    """A source from its text.

    Args:
        folder: that files lie in; by default they are paths of their own.

    Raises:
        InputError: for a text that is none; FileNotFoundError: for a file that is not there.
    """
    build, colon, rest = text.partition(":")
    suffixes = (*FASTA_SUFFIXES, *BED_SUFFIXES)
    alone = text if text.endswith(suffixes) and (not colon or "/" in build or Path(text).exists()) else ""
    file = alone or (rest if rest.endswith(suffixes) else "")
    path = input_file(file if folder is None else folder / file) if file else None
    if alone:
        return Source(text, None, None, path)
    if not re.fullmatch(r"[\w.-]+", build) or (colon and not rest):
        raise InputError(
            f"pretrained_on {shown(text)}: write a build (hg38), contigs of it (hg38:chr1,chr2), a BED of it "
            "(hg38:FILE.bed) or a FASTA"
        )
    contigs = None if path or not colon else tuple(filter(None, map(str.strip, rest.split(","))))
    return Source(text, build, contigs, path)


def card_texts(name: str, revision: str | None = None) -> tuple[list[str], Path | None]:
    """What the card of a language model says of its pretraining, none where it says nothing or there is no card; and
    the folder of its files, None for a model on the Hub.

    Raises:
        InputError: naming the card, where the field is no text and no list of texts.
    """
    folder = Path(name) if Path(name).is_dir() else None
    try:
        card = folder / CARD if folder else Path(hf_hub_download(name, CARD, revision=revision))
        text = card.read_text(encoding="utf-8", errors="replace")
    except (OSError, EntryNotFoundError, HfHubHTTPError, HFValidationError):  # no card, or no way to it
        return [], folder
    head = re.match(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", text, re.DOTALL)
    content = parse_yaml(head[1], card) if head else None
    said = content.get(FIELD, []) if isinstance(content, Mapping) else []
    texts = [said] if isinstance(said, str) else said
    if not isinstance(texts, list) or not all(isinstance(own, str) for own in texts):
        raise InputError(f"{card}: {FIELD} is {shown(said)}, not a text or a list of texts")
    return texts, folder


def pretraining_of(model: str, told: Sequence[str] = (), revision: str | None = None) -> list[Source] | None:
    """What a model, by its name, was pretrained on: as told or, of a language model or a Markov model's file, as its
    card says, the README.md of its folder or repository.

    Returns:
        None where it is unknown; an empty list where a model of this kind is trained by nothing before.

    Raises:
        InputError, FileNotFoundError: for a text that is none, or a file that is not there.
    """
    if told:
        return [source_of(text) for text in told]
    kind, of = split_spec(model)
    if kind and kind != "markov":
        return [] if kind in UNTRAINED else None
    texts, folder = card_texts(str(Path(of).parent) if kind else model, revision)
    if not texts:
        return None
    found = []
    for text in texts:
        if folder is None and (file := text.rpartition(":")[2]).endswith((*BED_SUFFIXES, *FASTA_SUFFIXES)):
            try:
                folder_of_file = Path(hf_hub_download(model, file, revision=revision)).parent
            except (OSError, EntryNotFoundError, HfHubHTTPError) as error:
                raise InputError(f"{model}: its card names {file}, which cannot be had: {error}") from None
            found.append(source_of(text, folder_of_file))
        else:
            found.append(source_of(text, folder))
    return found


def described(sources: Sequence[Source] | None) -> str | list[str]:
    """What a record says of a model's pretraining."""
    if sources is None:
        return UNKNOWN
    return [source.described() for source in sources] or NOTHING


def rows_inside(
    dataset: Dataset, sources: Sequence[Source] | None, genome: str | None, sequence: str = "sequence"
) -> dict[str, Any]:
    """How many rows of a dataset a model has read: those that share a base with what it was pretrained on, by
    coordinates, or a 31-mer, by sequence.

    Args:
        genome: FASTA that the rows are of, if there is one. sequence: the column of it.

    Returns:
        rows: of the dataset; inside: how many of them, None where it cannot be told; by: "coordinates", "31-mers" or
        both; why: what was not looked at.
    """
    about: dict[str, Any] = {"rows": len(dataset)}
    if sources is None:
        return about | {"inside": None, "why": "what the model was pretrained on is unknown"}
    if not sources:
        return about | {"inside": 0, "why": "the model was trained on nothing before"}
    contigs = open_genome(genome).contigs if genome else {}
    build = genome_build(genome, contigs) if genome else None
    found = np.zeros(len(dataset), dtype=bool)
    ways: list[str] = []
    why: list[str] = []
    places = places_of(dataset, sequence)
    for source in sources:
        if source.is_sequence:
            found |= sharing(dataset, sequence, source)
            ways.append(f"{K}-mers")
        elif places is None:
            why.append(f"{source.text}: the rows have no coordinates")
        elif source.build not in (None, build):
            rows = f"of {build}" if build else "of a build that their genome does not show"
            why.append(f"{source.text}: the rows are {rows}")
        else:
            found |= within(places, source, contigs)
            ways.append("coordinates")
    about["inside"] = int(found.sum()) if ways else None
    about |= {"by": " and ".join(dict.fromkeys(ways))} if ways else {}
    return about | ({"why": "; ".join(why)} if why else {})


def places_of(dataset: Dataset, sequence: str) -> Windows | None:
    """Intervals of rows, of variants their windows; None where rows have none."""
    columns = [name for name in ("chrom", "start", "end", "position") if name in dataset.column_names]
    given = {"chrom", "start", "end"} <= set(columns)
    if "chrom" not in columns or not len(dataset):
        return None
    parts = []
    for table in dataset.select_columns(columns if given else [*columns, sequence]).with_format("arrow").iter(ROWS):
        lengths = np.zeros(len(table), dtype=np.int64)
        if not given:
            lengths += np.array([len(own) for own in table[sequence].to_pylist()])
        where = intervals(table, lengths)
        if where is None:
            return None
        parts.append((np.array(table["chrom"].to_pylist(), dtype=object), *where))
    return Windows(*map(np.concatenate, zip(*parts, strict=True)))


def within(places: Windows, source: Source, contigs: Mapping[str, int]) -> np.ndarray:
    """(n,) bool: rows that share a base with regions of the same build."""
    if source.file is not None:
        read = read_windows(source.file)  # it may well have none of the test's contigs
        return overlapping(places, read._replace(chrom=renamed(read.chrom, contigs or set(places.chrom.tolist()))))
    if source.contigs is None:
        return np.ones(len(places.start), dtype=bool)
    return np.array([find_contig(name, source.contigs) is not None for name in places.chrom.tolist()], dtype=bool)


def sharing(dataset: Dataset, sequence: str, source: Source) -> np.ndarray:
    """(n,) bool: rows of which a 31-mer, on either strand, is in the sequence that a model has read."""
    assert source.file is not None
    parts = [np.empty((2, 0), dtype=np.uint64)]
    first = 0
    for table in dataset.select_columns([sequence]).with_format("arrow").iter(ROWS):
        row, kmer = distinct_kmers(table[sequence].to_pylist(), K)
        parts.append(np.stack([row.astype(np.uint64) + np.uint64(first), kmer]))
        first += len(table)
    rows, kmers = np.concatenate(parts, axis=1)
    known, code = np.unique(kmers, return_inverse=True)
    texts = (text.encode("ascii", "replace") for _, _, text in read_fasta(source.file))
    there = occurring(known, (CODES[np.frombuffer(text, dtype=np.uint8)] for text in texts), K)
    found = np.zeros(first, dtype=bool)
    found[rows[there[code]].astype(np.int64)] = True
    return found


def in_words(record: Mapping[str, Any]) -> str:
    """What a record says of rows that its model has read, for people to read."""
    said = record["model"].get(FIELD, UNKNOWN)
    if said == UNKNOWN:
        return "pretraining unknown"
    if said == NOTHING:
        return "no pretraining"
    found = record["dataset"].get("in_pretraining", {})
    if found.get("inside") is None:
        return "pretraining not compared with these rows"
    return f"{found['inside']:,} of {found['rows']:,} rows read in pretraining, by {found['by']}"
