"""How CPU time and memory grow with the work: variants, regions, the window, rows of every builder, processes.

    python benchmarks/scaling.py [--axes variants regions windows builders processes] [--builders species ...]
                                 [--largest 1000000]

Commands as a user starts them, each in a process of its own, on a random genome of 24 Mb with the smallest HyenaDNA
(one layer of eight channels, random weights), so that what is not the model is seen. CPU time is that of all processes
of a command. Memory is anonymous memory, as the system tells it twenty times a second; pages of the data set, which is
a mapped file, are the system's to take back. What 1,000 rows take is the start, nearly all of it imports, and the slope
is that of log(time - start) over log(rows - 1,000) where the rest is at least START_SECONDS; of windows, that of the
time of a variant over the window's length. What is not measured stays in the record as it was; every series has the
command and the date it was measured with. The figure and the page are made from the record: scaling_figure.py and
`make tables`.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from record import RESULTS, Row, about, parsed, parser, row
from scaling_figure import draw
from scaling_inputs import (
    CONTIGS,
    LENGTH,
    LONGEST,
    WINDOW,
    Builders,
    Genome,
    write_fasta,
    write_model,
    write_regions,
    write_variants,
)
from table import table

from datasets_dart import BUILDERS
from datasets_dart.files import write_text

ROOT = Path(__file__).parents[1]
AXES = ("variants", "regions", "windows", "builders", "processes")
INTERVAL = 0.05  # seconds between two looks at a process
START_SECONDS = 1.0  # below, the start's own variation is a large part of the rest
FEW, MANY = 1000, 1_000_000
ROWS_OF_BUILDERS = (FEW, 30_000, 300_000)
WINDOWS = (256, 1024, 4096, 16_384, 65_536, 262_144, LONGEST)  # bp
BASES = 1 << 22  # in the windows of all alleles of a size of the window
TO_SHARE = 100_000  # variants of one and of two processes
LARGEST_BUILDERS = ("regulatory_elements",)  # taken to as many rows as variants and regions
BUILD = """
import json, sys
from datasets_dart import load_dart
from datasets_hyenadna import load_task
task, own, cache, given = json.loads(sys.argv[1])
made = (load_dart if own else load_task)(task, cache_dir=cache, **given)
print(sum(map(len, made.values())))
"""


class Cost(NamedTuple):
    """Of a command: CPU seconds, those of the wall clock, MiB of its largest process and of all, what it printed."""

    cpu: float
    wall: float
    peak: float
    together: float
    printed: str


def cost(command: list[str]) -> Cost:
    """What a command of Python takes.

    Raises:
        SystemExit: if it fails.
    """
    begun, peak, together = time.perf_counter(), 0, 0
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=out)
        while True:
            sizes = [*anonymous(process.pid)]
            peak, together = max([peak, *sizes]), max(together, sum(sizes))
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            time.sleep(INTERVAL)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        printed = out.read().strip()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}")
    wall = time.perf_counter() - begun
    return Cost(usage.ru_utime + usage.ru_stime, wall, peak / 1024, together / 1024, printed)


def anonymous(pid: int) -> Iterator[int]:
    """KiB of anonymous memory of a process, and of each that it started."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, TypeError):  # it has just ended
        status = Path(f"/proc/{pid}/status").read_text()
        yield int(re.search(r"RssAnon:\s*(\d+) kB", status)[1])  # type: ignore[index]
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in children.read_text().split():
                yield from anonymous(int(child))


class Work:
    """Inputs and commands in a folder."""

    def __init__(self, folder: Path):
        self.folder, self.rng = folder, np.random.default_rng(0)
        self.genome: Genome = write_fasta(folder / "genome.fa", CONTIGS, LENGTH, self.rng)
        self.builders = Builders(folder, self.genome, self.rng)
        write_model(folder / "model")
        self.common = ["--genome", f"{folder}/genome.fa", "--model", f"{folder}/model", "--device", "cpu", "--quiet"]
        self.common += ["--overwrite"]

    def score(self, rows: int, window: int = WINDOW, processes: int = 1) -> Cost:
        """`hyenadna score` of so many variants."""
        variants = self.folder / "variants.vcf"
        write_variants(variants, self.genome, rows, self.rng)
        launch = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m"]
        files = ["--variants", str(variants), "--output", f"{self.folder}/scores.tsv", "--window", str(window)]
        command = ["-m", *(launch if processes > 1 else []), "trainer_scripts.cli.hyenadna", "score"]
        return cost([*command, *files, *self.common])

    def embed(self, rows: int) -> Cost:
        """`hyenadna embed` of so many regions."""
        regions = write_regions(self.folder / "regions.bed", rows, self.rng)
        files = ["--regions", str(regions), "--output", f"{self.folder}/vectors.parquet"]
        return cost(["-m", "trainer_scripts.cli.hyenadna", "embed", *files, *self.common])

    def build(self, task: str, rows: int) -> Cost:
        """The rows of a task, from its inputs."""
        given = self.builders.all()[task](rows)
        with tempfile.TemporaryDirectory(dir=self.folder) as cache:
            return cost(["-c", BUILD, json.dumps([task, task in BUILDERS, cache, given])])


def series(
    axis: str, what: str, unit: str, start: Cost, sizes: dict[int, Cost], each: dict[int, int] | None = None
) -> dict[str, Any]:
    """What the record has of one kind of work.

    Args:
        start: what the least work takes. sizes: of each size what it took; of rows, with the least one.
        each: of each window how many variants had it, by which its time is divided.
    """
    points = [
        {
            "size": size,
            "of": each[size] if each else 1,
            "cpu_s": own.cpu,
            "wall_s": own.wall,
            "peak_mib": own.peak,
            "all_processes_mib": own.together,
        }
        for size, own in sizes.items()
    ]
    before = 0 if each else min(sizes)  # rows of the start
    beyond = {size: own.cpu - start.cpu for size, own in sizes.items()}
    rest = {size - before: own / (each or {}).get(size, 1) for size, own in beyond.items() if own >= START_SECONDS}
    return {
        "axis": axis,
        "what": what,
        "unit": unit,
        "start_cpu_s": start.cpu,
        "start_peak_mib": start.peak,
        "points": points,
        "slope": slope_of(rest),
        "load": os.getloadavg()[1],
    }


def slope_of(values: dict[int, float]) -> float | None:
    """Of log(value) over log(size), by least squares; None of fewer than two."""
    if len(values) < 2:
        return None
    return float(np.polyfit(np.log([*values]), np.log([*values.values()]), 1)[0])


def sizes_to(largest: int) -> list[int]:
    """1,000 and its tenfolds."""
    return [FEW * 10**power for power in range(len(str(largest)) - len(str(FEW)) + 1) if FEW * 10**power <= largest]


def measured(axis: str, work: Work, largest: int, builders: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The series of an axis, of some of the builders."""
    if axis == "variants":
        yield of_rows(axis, "hyenadna score", "variants", {rows: work.score(rows) for rows in sizes_to(largest)})
    if axis == "regions":
        yield of_rows(axis, "hyenadna embed", "regions", {rows: work.embed(rows) for rows in sizes_to(largest)})
    if axis == "windows":
        rows = {window: max(1, BASES * largest // MANY // window) for window in WINDOWS}
        sizes = {window: work.score(number, window) for window, number in rows.items()}
        yield series(axis, "hyenadna score, per variant", "bp of a window", work.score(1), sizes, rows)
    if axis == "builders":
        for task in builders or work.builders.all():
            most = [largest] if task in LARGEST_BUILDERS else []
            found = [work.build(task, rows) for rows in [*ROWS_OF_BUILDERS, *most] if rows <= largest]
            yield of_rows(axis, task, "rows", {int(own.printed): own for own in found})
    if axis == "processes":
        share = min(TO_SHARE, largest)
        sizes = {number: work.score(share, processes=number) for number in (1, 2)}
        yield series(axis, f"hyenadna score, {share:,} variants", "processes", work.score(FEW), sizes, {1: 1, 2: 1})


def of_rows(axis: str, what: str, unit: str, sizes: dict[int, Cost]) -> dict[str, Any]:
    """A series whose start is its least size."""
    return series(axis, what, unit, sizes[min(sizes)], sizes)


def rows_of(found: list[dict[str, Any]]) -> list[Row]:
    """For the table of all benchmarks: the largest size of a series beside the one before."""
    rows: list[Row] = []
    for own in found:
        if len(own["points"]) < 2 or (own["axis"] == "builders" and own["what"] not in LARGEST_BUILDERS):
            continue
        few, many = own["points"][-2:]
        names = [f"{point['size']:,} {own['unit']}" for point in (few, many)]
        if own["axis"] not in ("windows", "processes"):
            first, *_ = own["points"]
            rest = [(point["cpu_s"] - first["cpu_s"], point["size"] - first["size"]) for point in (few, many)]
            times = [1e6 * seconds / size for seconds, size in rest]
            rows.append(row(f"CPU time a row, {own['what']}, {names[1]}", times[1], names[0], times[0], "µs"))
        rows.append(row(f"peak memory, {own['what']}, {names[1]}", many["peak_mib"], names[0], few["peak_mib"], "MiB"))
    return rows


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("--axes", nargs="+", choices=AXES, default=AXES)
    options.add_argument("--builders", nargs="+", default=(), help="some of them; all of them by default")
    options.add_argument("--largest", type=int, default=MANY)
    given = parsed(options)
    path = RESULTS / "scaling.json"
    with tempfile.TemporaryDirectory() as name:
        os.environ |= {"HF_HOME": name, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        os.environ |= {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
        work = Work(Path(name))
        order = {name: number for number, name in enumerate(work.builders.all())}
        for axis in given.axes:
            for own in measured(axis, work, given.largest, given.builders):
                record = about("scaling")
                own |= {name: record[name] for name in ("command", "date")}
                there = json.loads(path.read_text())["series"] if path.exists() else []
                kept = [other for other in there if (other["axis"], other["what"]) != (axis, own["what"])]
                found = sorted([*kept, own], key=lambda one: (AXES.index(one["axis"]), order.get(one["what"], 0)))
                record |= {"rows": rows_of(found), "series": found}
                write_text(path, json.dumps(record, indent=2) + "\n")
                print(
                    axis, own["what"], [round(point["cpu_s"], 1) for point in own["points"]], own["slope"], flush=True
                )
    print(table([record]))
    draw(record)
