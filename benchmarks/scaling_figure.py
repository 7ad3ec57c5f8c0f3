"""docs/scaling.png and .svg from benchmarks/results/scaling.json: python benchmarks/scaling_figure.py"""

import json
from pathlib import Path
from typing import Any

from datasets_dart.files import replacing
from evaluation_dart.report.figures import PICTURES, look_of, plain

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "scaling"
SHORT = {"hyenadna score": "score", "hyenadna embed": "embed", "hyenadna score, per variant": "score"}


def of_axis(record: dict[str, Any], *axes: str) -> list[dict[str, Any]]:
    """The series of some axes."""
    return [own for own in record["series"] if own["axis"] in axes]


def seconds(own: dict[str, Any], point: dict[str, Any]) -> float:
    """CPU seconds: of windows those of a variant, without the start."""
    start = own["start_cpu_s"] if own["axis"] == "windows" else 0.0
    return float((point["cpu_s"] - start) / point["of"])


def draw(record: dict[str, Any]) -> None:
    """Time and memory, of commands, builders and the window, on logarithmic axes."""
    from matplotlib.figure import Figure

    panels = {
        "commands": of_axis(record, "variants", "regions"),
        "builders": of_axis(record, "builders"),
        "windows": of_axis(record, "windows"),
    }
    figure = Figure(figsize=(11, 6.4), layout="constrained")
    axes = figure.subplots(2, len(panels), sharex="col")
    for column, (name, found) in enumerate(panels.items()):
        time, memory = axes[0][column], axes[1][column]
        for number, own in enumerate(found):
            sizes = [point["size"] for point in own["points"]]
            look = look_of(number) | {"label": SHORT.get(own["what"], own["what"].partition("/")[0])}
            time.plot(sizes, [seconds(own, point) for point in own["points"]], **look)
            memory.plot(sizes, [point["peak_mib"] for point in own["points"]], **look)
        proportional(time)
        each = " of a variant, without start" if name == "windows" else ""
        size = "window, bp" if name == "windows" else "variants or regions" if name == "commands" else "rows"
        plain(time, {"commands": "score and embed", "builders": "builders", "windows": "score by window"}[name])
        time.set_ylabel(f"CPU time{each}, s", fontsize=9)
        plain(memory, "", size, "peak memory of a process, MiB")
        for axis in (time, memory):
            axis.set_xscale("log")
            axis.set_yscale("log")
        memory.set_ylim(50, 2000)
        least = min(seconds(own, point) for own in found for point in own["points"])
        time.set_ylim(least / 2, 3 * time.get_ylim()[1])
        time.legend(fontsize=5.5, frameon=False, loc="upper left")
    for ending in PICTURES:
        with replacing(TARGET.with_suffix(ending)) as unfinished:
            figure.savefig(unfinished, format=ending[1:], dpi=130, metadata={} if ending == ".png" else {"Date": None})


def proportional(axis: Any) -> None:
    """A grey dotted line of slope 1 through the middle of the last points."""
    lines = axis.get_lines()
    last = [(line.get_xdata()[-1], line.get_ydata()[-1]) for line in lines]
    if last:
        x, y = max(last)
        first = min(line.get_xdata()[0] for line in lines)
        axis.plot([first, x], [y * first / x, y], color="#777777", linestyle=":", linewidth=1, label="proportional")


if __name__ == "__main__":
    draw(json.loads((ROOT / "benchmarks" / "results" / "scaling.json").read_text(encoding="utf-8")))
