"""What every benchmark does: read its options, time peers in turns, and write a file with its rows, the machine and the
versions they were measured with."""

import argparse
import json
import os
import platform
import re
import shlex
import statistics
import sys
import timeit
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from table import table

from datasets_dart.files import write_text
from modeling_hyenadna.long_conv import cpu_backend

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("torch", "transformers", "datasets", "tokenizers", "numpy")


Row = dict[str, Any]
Work = Callable[[], object]


def row(what: str, value: float, against: str, against_value: float, unit: str, higher: bool = False) -> Row:
    """One measurement beside what it is compared with in the same run, both in `unit`.

    `higher`: whether a higher value is better.
    """
    return {
        "what": what,
        "value": value,
        "against": against,
        "against_value": against_value,
        "unit": unit,
        "higher_is_better": higher,
    }


def parser(about: str | None) -> argparse.ArgumentParser:
    """The options of a benchmark: `--threads`; a script adds its own."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--threads", type=int, default=2, help="threads of torch")
    return made


def parsed(made: argparse.ArgumentParser) -> argparse.Namespace:
    """The options as given, after setting torch's threads and seed."""
    options = made.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    return options


def milliseconds(work: Work) -> float:
    """Time of one call."""
    return 1000 * timeit.timeit(work, number=1)


def medians(
    peers: dict[str, Work], rounds: int, clock: Callable[[Work], float] = milliseconds, warm_up: int = 1
) -> dict[str, float]:
    """Milliseconds of each, the peers taking turns, after some rounds that are not counted."""
    turns = [[clock(work) for work in peers.values()] for _ in range(warm_up + rounds)]
    return dict(zip(peers, map(statistics.median, zip(*turns[warm_up:], strict=True)), strict=True))


def write(benchmark: str, rows: list[Row], gpu: str | None = None) -> None:
    """Write benchmarks/results/{benchmark}.json and print its table. `gpu` names the device where one was used."""
    record = about(benchmark, gpu) | {"rows": rows}
    path = RESULTS / f"{benchmark}.json"
    write_text(path, json.dumps(record, indent=2) + "\n")
    print(table([record]))
    print(f"\nwritten to {path}")


def about(benchmark: str, gpu: str | None = None) -> dict[str, Any]:
    """What was run, when, on which machine, and with which versions."""
    return {
        "benchmark": benchmark,
        "command": shlex.join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]]),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {
            "processor": processor(),
            "cores": len(os.sched_getaffinity(0)),
            "gpu": gpu,
            "long_conv_build": cpu_backend.build_name(),
            "torch_capability": torch.backends.cpu.get_cpu_capability(),
        },
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
    }


def processor() -> str:
    """The processor's name from Linux, or else from `platform`."""
    cpuinfo = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:(.*)", cpuinfo.read_text(encoding="utf-8")) if cpuinfo.exists() else None
    return named[1].strip() if named else platform.processor() or platform.machine()
