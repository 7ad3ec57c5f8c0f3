"""Every table of docs/ from what was measured: records of runs, the audit's figures, benchmark results (`make tables`).

    python -m trainer_scripts.tables
    python -m trainer_scripts.tables --take results/real_data     first takes over the records of new runs

A page's tables stand between two comments, <!-- tables --> and <!-- end of tables -->; nothing else on it changes.
"""

import json
import os
import runpy
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "docs" / "records"
START, END = "<!-- tables -->", "<!-- end of tables -->"
# Metrics that a table shows, by task; the records hold all.
SHOWN = {
    "regulatory_elements": ("accuracy", "median_diff"),
    "motif_footprinting": ("accuracy", "share_above_0.5", "share_above_0.7"),
    "cell_type_elements": ("adjusted_mutual_information",),
    "chromatin_activity": ("spearman_all", "pearson_peaks", "auroc"),
    "variant_effects": ("direction_accuracy", "pearson", "spearman", "auroc", "auprc"),
}
NUMBER = {task: f"Task {number}" for number, task in enumerate(SHOWN, start=1)}


def take(results: Path, records: Path) -> None:
    """Copy results.json of every run below `results`, without predictions, to the same place below `records`."""
    found = sorted(results.rglob("results.json"))
    if not found:
        raise FileNotFoundError(f"{results}: no results.json below it")
    shutil.rmtree(records, ignore_errors=True)
    for path in found:
        target = records / path.relative_to(results)
        target.parent.mkdir(parents=True)
        shutil.copyfile(path, target)


def with_interval(metric: dict[str, Any] | None) -> str:
    """A value to three decimals with its interval, and n."""
    if metric is None:
        return ""
    interval = "" if metric["low"] is None else f" [{metric['low']:.3f}, {metric['high']:.3f}]"
    return f"{metric['value']:.3f}{interval}, n {metric['n']:,}"


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def record_tables(records: Path) -> str:
    """One table a task: data, model, setting and recipe of each run, and its metrics; then how intervals were made."""
    runs: dict[str, list[tuple[str, dict[str, Any]]]] = {task: [] for task in SHOWN}
    for path in sorted(records.rglob("results.json")):
        record = json.loads(path.read_text())
        runs[record["task"]].append((path.relative_to(records).parts[0], record))
    lines: list[str] = []
    for task, of_task in runs.items():
        if not of_task:
            continue
        shown = [name for name in SHOWN[task] if any(name in record["metrics"] for _, record in of_task)]
        lines += [f"### {NUMBER[task]}: {task}", ""]
        lines += [row(["run", "model", "setting", "recipe", "window", *shown]), row(["---"] * (5 + len(shown)))]
        methods: dict[str, dict[str, None]] = {}  # of each metric, in the order of the runs
        for name, record in of_task:
            metrics, recipe = record["metrics"], record["recipe"]
            cells = [name, record["model"]["id"].removeprefix("local/"), record["setting"], recipe["name"]]
            cells += [f"{recipe['window']:,} bp", *(with_interval(metrics.get(metric)) for metric in shown)]
            lines.append(row(cells))
            for metric in filter(metrics.__contains__, shown):
                methods.setdefault(metric, {})[metrics[metric]["method"]] = None
        lines += ["", *(f"- {metric}: {'; or '.join(ways)}" for metric, ways in methods.items()), ""]
    return "\n".join(lines)


def audit_table(path: Path) -> str:
    """What each defect changes, from the audit's figures."""
    lines = [row(["page", "on real data", "as the original", "as it should be", "n"]), row(["---"] * 5)]
    for figure in json.loads(path.read_text()):
        page = f"[{figure['page']}]({figure['page']}.md)"
        numbers = [f"{figure['original']:.4g}", f"{figure['sound']:.4g}", f"{figure['n']:,}"]
        lines.append(row([page, figure["what"], *numbers]))
    return "\n".join(lines) + "\n"


def benchmark_table(folder: Path) -> str:
    benchmarks = runpy.run_path(str(folder / "table.py"))
    files = sorted((folder / "results").glob("*.json"))
    return str(benchmarks["table"]([json.loads(path.read_text(encoding="utf-8")) for path in files])) + "\n"


def put(page: Path, tables: str) -> None:
    """Replace what stands between the two comments of a page.

    Raises:
        FileNotFoundError, ValueError: if there is no such page, or it has not both comments.
    """
    if not page.is_file():
        raise FileNotFoundError(f"{page}: no such file")
    text = page.read_text()
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"{page}: has not both {START} and {END}")
    unfinished = page.with_name(f".{page.name}.unfinished")
    unfinished.write_text(f"{before}{START}\n\n{tables}\n{END}{after}")
    os.replace(unfinished, page)


def tables(
    taken: Annotated[Path | None, typer.Option("--take", help="folder of new runs of real_data")] = None,
) -> None:
    """Regenerate the tables of docs/.

    python -m trainer_scripts.tables
    """
    if taken is not None:
        take(taken, RECORDS / "real_data")
    put(ROOT / "docs" / "real_data.md", record_tables(RECORDS / "real_data"))
    put(ROOT / "docs" / "audit" / "README.md", audit_table(RECORDS / "audit.json"))
    put(ROOT / "docs" / "benchmarks.md", benchmark_table(ROOT / "benchmarks"))


if __name__ == "__main__":
    try:
        typer.run(tables)
    except (ValueError, OSError) as error:
        print("tables:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(1)
