"""The file that a benchmark leaves behind: its rows, and the machine and versions they were measured with."""

import json
import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TypedDict

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("torch", "transformers", "datasets", "tokenizers", "numpy")


class Row(TypedDict):
    """One measurement beside what it is compared with in the same run, both in `unit`."""

    what: str
    value: float
    against: str
    against_value: float
    unit: str
    higher_is_better: bool


def write(benchmark: str, rows: list[Row], gpu: str | None = None) -> Path:
    """Write benchmarks/results/{benchmark}.json and return its path. `gpu` names the device where one was used."""
    record = {
        "benchmark": benchmark,
        "command": shlex.join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]]),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {"processor": processor(), "cores": len(os.sched_getaffinity(0)), "gpu": gpu},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{benchmark}.json"
    unfinished = path.with_suffix(".json.unfinished")
    unfinished.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    os.replace(unfinished, path)
    return path


def processor() -> str:
    """The processor's name as Linux tells it, else what `platform` knows."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
