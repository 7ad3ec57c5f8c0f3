"""Tables of docs/downstream.md from records of runs (docs/records/downstream), a table a task."""

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy import stats

METRICS = ("accuracy", "mcc", "f1_macro")
KEPT = ("task", "protocol", "budget", "model", "seed", "rows", "steps", "epoch", "reading", "metrics", "published")
ORDER = ("fine-tuned", "from-scratch", "cnn", "kmers-6", "length", "pads-read", "pads-read-last-token")


def take_downstream(results: Path, records: Path) -> None:
    """Copy what the tables need of every results.json below `results`, named FAMILY/NAME/MODEL/seed-N there.

    Raises:
        FileNotFoundError: if there is none.
    """
    found = sorted(results.rglob("results.json"))
    if not found:
        raise FileNotFoundError(f"{results}: no results.json below it")
    shutil.rmtree(records, ignore_errors=True)
    for path in found:
        family, name, model, seed = path.parent.parts[-4:]
        record = json.loads(path.read_text())
        target = records / family / name / model / f"{seed}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        kept = {key: record[key] for key in KEPT} | {"learning_rate": record["recipe"].get("learning_rate")}
        target.write_text(json.dumps(kept, indent=1) + "\n")


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


def downstream_tables(records: Path) -> str:
    """One table a task: model, trained parameters, training rows, steps, seeds, n of the test split, metrics."""
    lines: list[str] = []
    header = ["model", "trained parameters", "rows", "steps", "seeds", "test n", *METRICS]
    for task in sorted({path.parents[1] for path in records.rglob("seed-*.json")}):
        lines += [f"### {task.parent.name}/{task.name}", ""]
        lines += ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
        for model in sorted(task.iterdir(), key=lambda path: ORDER.index(path.name)):
            own = [json.loads(path.read_text()) for path in sorted(model.glob("seed-*.json"))]
            first = own[0]
            steps = "–" if first["steps"] is None else f"{first['steps']:,}"
            cells = [
                model.name,
                f"{first['model']['parameters']:,}",
                f"{first['rows']['train']:,}",
            ]
            cells += [steps, "–" if first["steps"] is None else str(len(own)), f"{first['rows']['test']:,}"]
            lines.append("| " + " | ".join([*cells, *(cell(own, metric) for metric in METRICS)]) + " |")
        published = first["published"]
        if published:
            said = ", ".join(f"{name} {value}" for name, value in published.items())
            lines += ["", f"Published, of the whole task, in per cent: {said}."]
        lines.append("")
    return "\n".join(lines)
