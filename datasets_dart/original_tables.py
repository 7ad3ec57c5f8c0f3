"""The tables that the original's generators write for tasks 1 and 2, and the steps on the way to them."""

import os
from collections.abc import Iterable

from datasets import IterableDataset

from datasets_dart.errors import InputError
from datasets_dart.files import input_file, replacing
from datasets_dart.formats.bed import CHUNK_ROWS
from datasets_dart.formats.fasta import open_genome
from datasets_dart.formats.meme import read_meme
from datasets_dart.motif_footprinting import ORIGINAL_KINDS, backgrounds_from_elements
from datasets_dart.regulatory_elements import PROCESSED_HEADER, WINDOW, read_elements

KINDS = {here: there for there, here in ORIGINAL_KINDS.items()}


def write_elements_table(elements: str | os.PathLike[str], output: str | os.PathLike[str]) -> int:
    """Task 1: a BED's windows and strands as the original's table, which `elements=` takes too; returns the rows.

    Raises ValueError naming file, line and element that is longer than the window, or whose window starts before its
    contig; the original can read neither.
    """
    path = input_file(elements)
    total = sum(len(lines) for _, (_, lines) in read_elements(path, CHUNK_ROWS))
    with replacing(output) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(PROCESSED_HEADER + "\n")
        for _, (chunk, lines) in read_elements(path, CHUNK_ROWS, total=total):
            columns = zip(*(column.tolist() for column in chunk), lines.tolist(), strict=True)
            for _, chrom, start, end, window_start, reverse, line in columns:
                if not 0 <= window_start <= start < end <= window_start + WINDOW:
                    raise InputError(f"{path}:{line}: {chrom}:{start}-{end} has no window of {WINDOW} bp on its contig")
                window = (window_start, window_start + WINDOW, start, end, start - window_start, end - window_start)
                file.write("\t".join(map(str, (chrom, *window, reverse))) + "\n")
    return total


def write_consensus(motifs: str | os.PathLike[str], output: str | os.PathLike[str], protocol: str = "fixed") -> int:
    """Task 2: a table of motif and consensus; returns the number of motifs."""
    found = read_meme(input_file(motifs), protocol)
    with replacing(output) as temporary:
        temporary.write_text("".join(f"{motif.name}\t{motif.consensus}\n" for motif in found), encoding="utf-8")
    return len(found)


def write_backgrounds(genome: str, elements: str, output: str | os.PathLike[str], protocol: str = "fixed") -> int:
    """Task 2: controls of 100 elements, one sequence a line, which `backgrounds=` takes; returns their number."""
    chosen = backgrounds_from_elements(open_genome(genome), elements, protocol)["test"]
    with replacing(output) as temporary:
        temporary.write_bytes(b"".join(background.letters.tobytes() + b"\n" for background in chosen))
    return len(chosen)


def write_motif_table(rows: Iterable[IterableDataset], output: str | os.PathLike[str]) -> int:
    """Task 2: key and sequence of every row, the original's table, which `processed=` takes; returns the rows."""
    written = 0
    with replacing(output) as temporary, temporary.open("w", encoding="utf-8") as file:
        for split in rows:
            for row in split:
                name = f"raw_{row['strand']}"
                if row["kind"] != "raw":
                    name = f"{row['motif']}_{row['strand']}_{KINDS[row['kind']]}"
                file.write(f"{row['background']}_{name}\t{row['sequence']}\n")
                written += 1
    return written
