"""Tables of docs/downstream.md from records of runs (docs/records/downstream), a table a task."""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy import stats

from studies.pages import markdown, read_json, results_below, write_json

METRICS = ("accuracy", "mcc", "f1_macro")
KEPT = ("task", "protocol", "budget", "model", "seed", "rows", "steps", "epoch", "reading", "metrics", "published")
ORDER = ("fine-tuned", "from-scratch", "cnn", "kmers-6", "length", "pads-read", "pads-read-last-token")
HEADER = ("model", "trained parameters", "rows", "steps", "seeds", "test n", *METRICS)


def take_downstream(results: Path, records: Path) -> None:
    """Copy what the tables need of every results.json below `results`, named FAMILY/NAME/MODEL/seed-N there.

    Raises:
        FileNotFoundError: if there is none.
    """
    found = results_below(results)
    shutil.rmtree(records, ignore_errors=True)
    for path in found:
        record = read_json(path)
        kept = {key: record.get(key) for key in KEPT} | {"learning_rate": record["recipe"].get("learning_rate")}
        place = records.joinpath(*path.parent.parts[-4:])
        write_json(place.with_name(f"{place.name}.json"), kept)


def over_seeds(values: Sequence[float]) -> str:
    """Mean with its 95 % interval of Student's t over seeds; of one value, itself."""
    mean, n = math.fsum(values) / len(values), len(values)
    if n < 2:
        return f"{mean:.3f}"
    half = stats.t.ppf(0.975, n - 1) * stats.tstd(values) / math.sqrt(n)
    return f"{mean:.3f} ± {half:.3f}"


def cell(records: Sequence[dict[str, Any]], metric: str) -> str:
    """A metric over seeds, and of the first seed the interval over test rows."""
    own = [record["metrics"][metric] for record in records if metric in record["metrics"]]
    if not own:
        return ""
    return f"{over_seeds([each['value'] for each in own])} [{own[0]['low']:.3f}, {own[0]['high']:.3f}]"


def cells(model: Path) -> list[str]:
    """The row of a model from its records, one of each seed."""
    own = [read_json(path) for path in sorted(model.glob("seed-*.json"))]
    first, drawn = own[0], own[0]["steps"] is not None
    counts = [f"{first['model']['parameters']:,}", f"{first['rows']['train']:,}"]
    counts += [f"{first['steps']:,}", str(len(own))] if drawn else ["–", "–"]
    return [model.name, *counts, f"{first['rows']['test']:,}", *(cell(own, metric) for metric in METRICS)]


def downstream_tables(records: Path) -> str:
    """One table a task: model, trained parameters, training rows, steps, seeds, n of the test split, metrics."""
    lines: list[str] = []
    for task in sorted({path.parents[1] for path in records.rglob("seed-*.json")}):
        models = sorted(task.iterdir(), key=lambda path: ORDER.index(path.name))
        lines += [f"### {task.parent.name}/{task.name}", "", *markdown(HEADER, map(cells, models), "---:")]
        published = read_json(next(models[-1].glob("seed-*.json")))["published"]
        if published:
            said = ", ".join(f"{name} {value}" for name, value in published.items())
            lines += ["", f"Published, of the whole task, in per cent: {said}."]
        lines.append("")
    return "\n".join(lines)
