"""Which split an interval belongs to: DART-Eval's chromosomes, or blocks from a BED file."""

import hashlib
import os
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from datasets_dart.contigs import contig_ends, find_contig, join_contigs, note_missing, rows_by_contig
from datasets_dart.errors import InputError
from datasets_dart.files import input_file
from datasets_dart.formats.bed import read_intervals

SPLITS = ("train", "validation", "test")
PAPER_CHROMOSOMES = {  # DART-Eval spec section 1.3: fold 3 of ENCODE's five
    "train": ("1", "2", "3", "4", "7", "8", "9", "11", "12", "13", "15", "16", "17", "19", "X", "Y"),
    "validation": ("6", "21"),
    "test": ("5", "10", "14", "18", "20", "22"),
}
PAPER, FOLDS = NAMED = ("paper", "folds")  # splits that are no file
CHROMOSOME_END = int(np.iinfo(np.int64).max)


class Blocks(NamedTuple):
    """Disjoint stretches of one contig, by start; `split` indexes SPLITS."""

    start: np.ndarray  # (blocks,) int64
    end: np.ndarray  # (blocks,) int64
    split: np.ndarray  # (blocks,) int8


def read_splits(splits: str | os.PathLike[str], contigs: Collection[str] = ()) -> dict[str, Blocks]:
    """Blocks by contig, from "paper" (whole published chromosomes), "folds" (of the contigs, the published validation
    chromosomes, and all others for testing) or a BED whose column 4 names the split.

    contigs: the genome's, under whose names the blocks come.
    Blocks of one split that touch or overlap count as one. Raises ValueError naming file, line and value where a name
    is not train, validation or test, or where blocks of two splits overlap; naming the file where it has none of the
    contigs.
    """
    if splits == FOLDS:
        validation = {find_contig(f"chr{name}", contigs) for name in PAPER_CHROMOSOMES["validation"]}
        return {name: whole_contig("validation" if name in validation else "test") for name in contigs}
    if splits == PAPER:
        return {
            find_contig(f"chr{name}", contigs) or f"chr{name}": whole_contig(split)
            for split in SPLITS
            for name in PAPER_CHROMOSOMES[split]
        }
    path = input_file(splits)
    rows: dict[str, list[tuple[int, int, int, int]]] = {}
    for _, chunk in read_intervals(path, extra=(3,)):
        for chrom, start, end, line, (name,) in zip(*chunk, strict=True):
            if name not in SPLITS:
                raise InputError(f"{path}:{line}: split {name!r} is not one of {', '.join(SPLITS)}")
            chrom = find_contig(chrom, contigs) or chrom
            rows.setdefault(chrom, []).append((int(start), int(end), SPLITS.index(name), int(line)))
    if not rows:
        raise InputError(f"{path}: has no split blocks")
    joined = join_contigs(path, rows, contigs)
    if contigs:
        note_missing(path, joined.only_here)
    return {chrom: _merged(path, chrom, sorted(blocks)) for chrom, blocks in rows.items()}


def whole_contig(split: str) -> Blocks:
    """One block of a whole contig."""
    return Blocks(np.array([0]), np.array([CHROMOSOME_END]), np.array([SPLITS.index(split)], dtype=np.int8))


def is_chosen(text: str, share: float) -> bool:
    """Whether a text is one of about `share` of all texts, by its SHA-256."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) < share * 2**64


def _merged(path: os.PathLike[str], chrom: str, rows: list[tuple[int, int, int, int]]) -> Blocks:
    merged: list[list[int]] = []
    for start, end, split, line in rows:
        if merged and split == merged[-1][2] and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        elif merged and start < merged[-1][1]:
            raise InputError(
                f"{path}:{line}: {chrom}:{start}-{end} ({SPLITS[split]}) overlaps {chrom}:{merged[-1][0]}-"
                f"{merged[-1][1]} ({SPLITS[merged[-1][2]]})"
            )
        else:
            merged.append([start, end, split])
    starts, ends, splits = np.array(merged, dtype=np.int64).T
    return Blocks(starts, ends, splits.astype(np.int8))


def assign_splits(blocks: dict[str, Blocks], chrom: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Index into SPLITS of the block that contains each interval [start, end), -1 where none does.

    An interval that crosses the edge of a block is in no split: part of it would be in two, or in none. chrom: (n,)
    str objects; start, end: (n,) int64. Returns (n,) int8.
    """
    assigned = np.full(len(chrom), -1, dtype=np.int8)
    rows_of = rows_by_contig(chrom)
    for name in rows_of.keys() & blocks.keys():
        rows, here = rows_of[name], blocks[name]
        block = np.searchsorted(here.start, start[rows], side="right") - 1
        inside = (block >= 0) & (end[rows] <= here.end[block])
        assigned[rows[inside]] = here.split[block[inside]]
    return assigned


def assign_windows(
    blocks: dict[str, Blocks], chrom: np.ndarray, start: np.ndarray, length: int, contigs: Mapping[str, int]
) -> np.ndarray:
    """(n,) int8: `assign_splits` of the windows [start, start + length), each as far as it is on its contig.

    contigs: lengths in bp by name.
    """
    ends = contig_ends(chrom, contigs, CHROMOSOME_END)
    return assign_splits(blocks, chrom, np.maximum(start, 0), np.minimum(start + length, ends))
