"""Element/control pairs a second: the builder with one and two processes, and the original's loop, in one run.

python benchmarks/regulatory_elements.py
"""

import random
import tempfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyfaidx
import pysam
from record import medians, parsed, parser, row, write

from datasets_dart import load_dart
from datasets_dart.formats.bed import centred_start
from datasets_dart.regulatory_elements import WINDOW, strand_draws
from datasets_dart.shuffling import item_seed

CONTIG, CONTIG_LENGTH, ELEMENTS = "chr20", 60_000_000, 40_000  # an element in 1,500 bp; of cCREs one in 1,300
LOOP_ELEMENTS = 2_000
REPEATS = 3
ALPHABET = np.array([["A"], ["C"], ["G"], ["T"]])


def simulated(folder: Path, others: int = 0) -> tuple[Path, Path]:
    """An indexed FASTA of one random contig and `others` short ones; a BED of elements of 150-350 bp, by position."""
    bases = np.random.default_rng(0).choice(np.frombuffer(b"ACGT", dtype=np.uint8), size=CONTIG_LENGTH)
    genome = folder / "genome.fa"
    short = "".join(f">chrUn_{number}\n{'ACGT' * 15}\n" for number in range(others))
    lines = b"\n".join(line.tobytes() for line in bases.reshape(-1, 60))
    genome.write_bytes(f">{CONTIG}\n".encode() + lines + b"\n" + short.encode())
    pysam.faidx(str(genome))
    rng = random.Random(0)
    starts = sorted(rng.randrange(1000, CONTIG_LENGTH - 1000) for _ in range(ELEMENTS))
    elements = folder / "elements.bed"
    elements.write_text("".join(f"{CONTIG}\t{start}\t{start + rng.randint(150, 350)}\n" for start in starts))
    return genome, elements


def pair(genome: Path, chrom: str, start: int, end: int, reverse: bool) -> tuple[str, str]:
    """One pair as the original makes it: FASTA opened for each, by the library that it uses; one-hot matrices;
    a shuffle of positions in Python."""
    window_start = int(centred_start(np.array(start), np.array(end), WINDOW))
    with pyfaidx.Fasta(str(genome)) as fasta:
        window = str(fasta[chrom][max(window_start, 0) : window_start + WINDOW]).upper()
    sequence = np.zeros((WINDOW, 4), dtype=np.int8)
    sequence[max(-window_start, 0) :][: len(window)] = (np.array(list(window)) == ALPHABET).T
    control = sequence.copy()
    tokens = sequence[start - window_start : end - window_start].argmax(axis=1)
    rng = np.random.default_rng(item_seed(chrom, start, end))
    following = []
    for base in range(4):
        successors = np.flatnonzero(tokens[:-1] == base) + 1
        if len(successors):
            successors[:-1] = successors[rng.permutation(len(successors) - 1)]
        following.append(successors)
    used, place, walk = [0] * 4, 0, [tokens[0]]
    for _ in range(len(tokens) - 1):
        base = tokens[place]
        place = following[base][used[base]]
        used[base] += 1
        walk.append(tokens[place])
    control[start - window_start : end - window_start] = np.eye(4, dtype=np.int8)[walk]
    strands = [matrix[::-1, ::-1] if reverse else matrix for matrix in (sequence, control)]
    letters = ALPHABET[:, 0]
    return "".join(letters[strands[0].argmax(axis=1)]), "".join(letters[strands[1].argmax(axis=1)])


def build(folder: Path, genome: Path, elements: Path, split: str | None = None, processes: int = 1) -> Any:
    """The task by our builder, from its inputs, with a cache of its own below `folder`."""
    cache = tempfile.mkdtemp(dir=folder)
    return load_dart(
        "regulatory_elements", "paper", split, genome=genome, elements=elements, num_proc=processes, cache_dir=cache
    )


def main() -> None:
    """Measure the builder and the loop."""
    parsed(parser(__doc__))
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        genome, elements = simulated(folder)
        data = build(folder, genome, elements)
        total = sum(data.num_rows.values())
        rows = next(iter(data.values())).select(range(LOOP_ELEMENTS))
        strands = strand_draws(rows["id"][-1] + 1)

        def loop() -> list[tuple[str, str]]:
            places = zip(*(rows[name] for name in ("id", "chrom", "element_start", "element_end")), strict=True)
            return [pair(genome, chrom, start, end, strands[row]) for row, chrom, start, end in places]

        assert loop() == list(zip(rows["sequence"], rows["control"], strict=True))
        times = medians(
            {
                "loop": loop,
                "1 process": lambda: build(folder, genome, elements),
                "2 processes": lambda: build(folder, genome, elements, processes=2),
            },
            REPEATS,
        )
    peer, theirs = "the original's loop, 1 process", 1000 * LOOP_ELEMENTS / times["loop"]
    write(
        "regulatory_elements",
        [
            row(f"pairs of 350 bp, {what}", 1000 * total / times[what], peer, theirs, "a second", higher=True)
            for what in ("1 process", "2 processes")
        ],
    )


if __name__ == "__main__":
    main()
