"""A million variants and a million regions: the most memory that a command holds, beside what it holds for a tenth.

    python benchmarks/scaling.py [--rows 1000000]

`hyenadna score` and `dart-eval run regulatory_elements` as a user starts them, with the Markov model of model_cards and
short windows, on a random genome of 24 Mb; each in a process of its own. What is counted is anonymous memory, as the
system tells it twenty times a second; pages of the data set, which is a mapped file, are the system's to take back.
Metrics are computed from all predictions at once, so that `run` holds some 300 bytes a row at its end.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from record import Row, parsed, parser, row, write

ROOT = Path(__file__).parents[1]
MARKOV = ROOT / "model_cards" / "markov-chrX" / "markov.safetensors"
CONTIGS, LENGTH = ["chr5", "chr10", "chr14", "chr18", "chr20", "chr22"], 4_000_000  # of the test split
WINDOW = 64  # bp
INTERVAL = 0.05  # seconds between two looks at a process
LETTERS = np.frombuffer(b"ACGT", dtype=np.uint8)
HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


def write_genome(path: Path, rng: np.random.Generator) -> dict[str, str]:
    """A random genome, also returned."""
    genome = {name: LETTERS[rng.integers(4, size=LENGTH)].tobytes().decode() for name in CONTIGS}
    with path.open("w") as file:
        for name, bases in genome.items():
            lines = (bases[start : start + 80] for start in range(0, LENGTH, 80))
            file.write(f">{name}\n" + "\n".join(lines) + "\n")
    return genome


def places(rows: int, rng: np.random.Generator) -> list[tuple[str, int]]:
    """Contig and 0-based position of each row, sorted, away from the ends."""
    starts = np.sort(rng.integers(1000, LENGTH - 1000, size=(len(CONTIGS), -(-rows // len(CONTIGS)))), axis=1)
    return [(name, start) for name, own in zip(CONTIGS, starts.tolist(), strict=True) for start in own][:rows]


def write_variants(path: Path, genome: dict[str, str], rows: int, rng: np.random.Generator) -> None:
    """Nine SNVs, then a deletion of 2 bp, and so on."""
    with path.open("w") as file:
        file.write(HEADER)
        for number, (name, at) in enumerate(places(rows, rng)):
            base = genome[name][at]
            reference = genome[name][at : at + 3] if number % 10 == 9 else base
            alternative = base if number % 10 == 9 else "ACGT"[("ACGT".index(base) + 1) % 4]
            file.write(f"{name}\t{at + 1}\tv{number}\t{reference}\t{alternative}\t.\t.\t.\n")


def write_regions(path: Path, rows: int, rng: np.random.Generator) -> None:
    """Intervals of WINDOW bp."""
    with path.open("w") as file:
        file.writelines(f"{name}\t{start}\t{start + WINDOW}\n" for name, start in places(rows, rng))


def peak(command: list[str]) -> tuple[float, float]:
    """The most anonymous memory that the command was seen to hold, in MiB, and its seconds."""
    begun, most = time.perf_counter(), 0
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        with contextlib.suppress(FileNotFoundError, TypeError):  # it has just ended
            status = Path(f"/proc/{process.pid}/status").read_text()
            most = max(most, int(re.search(r"RssAnon:\s*(\d+) kB", status)[1]))  # type: ignore[index]
        time.sleep(INTERVAL)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}")
    return most / 1024, time.perf_counter() - begun


def rows_of(what: str, unit: str, few: int, many: int, command: list[list[str]]) -> list[Row]:
    """What the commands for `few` and for `many` rows hold at most, and how many rows a second they do."""
    (small, seconds), (large, longer) = map(peak, command)
    return [
        row(f"peak memory, {what}, {many:,} rows", large, f"{few:,} rows", small, "MiB"),
        row(f"{unit} a second, {what}, {many:,} rows", many / longer, f"{few:,} rows", few / seconds, "a second", True),
    ]


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    many = parsed(options).rows
    few = many // 10
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {"HF_HOME": name, "HF_HUB_OFFLINE": "1"}
        sequences = write_genome(folder / "genome.fa", rng)
        score, run = list[list[str]](), list[list[str]]()
        genome, model = ["--genome", f"{folder}/genome.fa"], ["--model", f"markov:{MARKOV}"]
        for number in (few, many):
            write_variants(folder / f"{number}.vcf", sequences, number, rng)
            write_regions(folder / f"{number}.bed", number, rng)
            files = ["--variants", f"{folder}/{number}.vcf", "--output", f"{folder}/{number}.tsv"]
            score.append(["trainer_scripts.cli.hyenadna", "score", *files, *genome, *model, "--window", str(WINDOW)])
            elements = ["--elements", f"{folder}/{number}.bed", "--output", f"{folder}/{number}"]
            elements += ["--window", str(WINDOW)]
            task = ["--task", "regulatory_elements", "--setting", "zero_shot_likelihood"]
            run.append(["trainer_scripts.cli.dart_eval", "run", *task, *elements, *genome, *model])
        del sequences
        rows = rows_of("hyenadna score", "alleles", few, many, score)
        rows += rows_of("dart-eval run regulatory_elements", "regions", few, many, run)
    write("scaling", rows)
