"""Tables of docs/ and README from records of runs, the audit's figures and benchmark results (`make tables`).

    python -m studies.tables
    python -m studies.tables --take results/real_data     first takes over the records of new runs

A page's tables stand between two comments, <!-- tables --> and <!-- end of tables -->; nothing else on it changes.
"""

import json
import runpy
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from datasets_dart.errors import InputError
from studies.downstream_tables import downstream_tables, take_downstream

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
# Of supervised settings, several of which could not be told from chance by one number
SUPERVISED = {
    "regulatory_elements": ("accuracy", "accuracy_paired", "auroc"),
    "cell_type_elements": ("accuracy", "auroc_GM12878", "auroc_HEPG2", "auroc_K562"),
    "chromatin_activity": ("spearman_all", "spearman_peaks", "pearson_peaks"),
    "variant_effects": ("pearson", "spearman"),
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


def runs_of(records: Path) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Names and records of all runs, by task."""
    runs: dict[str, list[tuple[str, dict[str, Any]]]] = {task: [] for task in SHOWN}
    for path in sorted(records.rglob("results.json")):
        record = json.loads(path.read_text())
        runs[record["task"]].append((path.relative_to(records).parts[0], record))
    return runs


def record_tables(records: Path) -> str:
    """One table a task: data, model, setting and recipe of each run, and its metrics; then how intervals were made."""
    runs = runs_of(records)
    lines: list[str] = []
    for task, of_task in runs.items():
        if not of_task:
            continue
        shown = [name for name in SHOWN[task] if any(name in record["metrics"] for _, record in of_task)]
        lines += [f"### {NUMBER[task]}: {task}", ""]
        lines += [row(["run", "model", "setting", "recipe", "window", *shown]), row(["---"] * (5 + len(shown)))]
        for name, record in of_task:
            metrics, recipe = record["metrics"], record["recipe"]
            cells = [name, record["model"]["id"].removeprefix("local/"), record["setting"], recipe["name"]]
            cells += [f"{recipe['window']:,} bp", *(with_interval(metrics.get(metric)) for metric in shown)]
            lines.append(row(cells))
        lines += methods_of(of_task, shown)
    return "\n".join(lines)


def methods_of(runs: list[tuple[str, dict[str, Any]]], shown: Sequence[str]) -> list[str]:
    """How the intervals of the metrics were made, a line each."""
    methods: dict[str, dict[str, None]] = {}  # of each metric, in the order of the runs
    for _, record in runs:
        for metric in filter(record["metrics"].__contains__, shown):
            methods.setdefault(metric, {})[record["metrics"][metric]["method"]] = None
    return ["", *(f"- {metric}: {'; or '.join(ways)}" for metric, ways in methods.items()), ""]


def supervised_tables(records: Path) -> str:
    """One table a task: what was trained, on how many rows and steps, and its metrics on the test split."""
    lines: list[str] = []
    for task, runs in runs_of(records).items():
        shown = SUPERVISED.get(task, ())
        if not runs:
            continue
        lines += [f"### {NUMBER[task]}: {task}", ""]
        header = ["model", "setting", "trained parameters", "rows", "steps", *shown]
        lines += [row(header), row(["---"] * len(header))]
        for record in sorted((record for _, record in runs), key=of_baselines_first):
            recipe, model = record["recipe"], record["model"]
            best, epochs = recipe.get("best_epoch"), recipe.get("num_train_epochs", recipe.get("epochs"))
            mark = " †" if best is not None and best == epochs else ""
            cells = [model["id"].removeprefix("local/").removeprefix("ab-initio/"), recipe["name"]]
            trained = model.get("trained_parameters")
            cells += ["" if trained is None else f"{trained:,}", f"{recipe.get('train_rows', 0):,}"]
            steps = f"{recipe['steps']:,}{mark}" if "steps" in recipe else "to the optimum"
            cells.append("of task 4" if task == "variant_effects" else steps)
            lines.append(row([*cells, *(with_interval(record["metrics"].get(metric)) for metric in shown)]))
        lines += methods_of(runs, shown)
    return "\n".join(lines)


def gue_table(path: Path) -> str:
    """Matthews' correlation on the test files of GUE: a row a model and setting, a column a set."""
    if not path.is_file():
        return ""
    found = json.loads(path.read_text())
    sets = list(dict.fromkeys(entry["set"] for entry in found))
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for entry in sorted(found, key=of_baselines_first):
        model = entry["model"]["id"].removeprefix("local/").removeprefix("ab-initio/")
        own = rows.setdefault((model, entry["recipe"]["name"]), {})
        own[entry["set"]] = with_interval(entry["metrics"]["mcc"])
    lines = ["### A fifth check: promoters and transcription factors of GUE, Matthews' correlation", ""]
    lines += [row(["model", "setting", *sets]), row(["---"] * (2 + len(sets)))]
    lines += [row([*names, *(own.get(name, "") for name in sets)]) for names, own in rows.items()]
    return "\n".join([*lines, "", f"- mcc: {found[0]['metrics']['mcc']['method']}", ""])


def of_baselines_first(record: dict[str, Any]) -> tuple[int, str, str]:
    order = ("ab_initio", "probed", "finetuned")
    return order.index(record["setting"]), record["model"]["id"], record["recipe"]["name"]


def audit_table(path: Path) -> str:
    """What each defect changes, from the audit's figures."""
    lines = [row(["page", "on real data", "as the original", "as it should be", "n"]), row(["---"] * 5)]
    for figure in json.loads(path.read_text()):
        page = f"[{figure['page']}]({figure['page']}.md)"
        numbers = [f"{figure['original']:.4g}", f"{figure['sound']:.4g}", f"{figure['n']:,}"]
        lines.append(row([page, figure["what"], *numbers]))
    return "\n".join(lines) + "\n"


def attribution_table(path: Path) -> str:
    """What a fine-tuned model reads in CTCF peaks: its metrics, then each method of attribution against the motif."""
    found = json.loads(path.read_text())
    metrics, beside = found["metrics"], found["metrics of 5-mers"]
    lines = [row(["on the test rows", "fine-tuned HyenaDNA", "linear model of 5-mers"]), row(["---"] * 3)]
    names = ("accuracy", "auroc_positive", "auprc_positive")
    lines += [row([name, with_interval(metrics[name]), with_interval(beside[name])]) for name in names]
    heads = ["attributions", "peaks", "importance inside the motif's hit: AUROC", "correlation with the motif's bits"]
    heads += ["seqlets of peaks whose nearest motif is CTCF's", "of shuffles"]
    lines += ["", row(heads), row(["---"] * len(heads))]
    for name, own in found["attributions"].items():
        seqlets = [own.get(f"seqlets of {kind}", {}) for kind in ("peaks", "shuffles")]
        cells = [name, str(own["peaks"]), with_interval(own["auroc of importance inside the hit"])]
        cells.append(f"{own['correlation of mean importance and information content over the motif']:.2f}")
        for kind in seqlets:
            cells.append(with_interval(kind.get("nearest motif is CTCF's")) or str(kind.get("seqlets", "")))
        lines.append(row(cells))
    lines += ["", row(["in place of the middle of shuffled peaks", "change of the head's log-odds"]), row(["---"] * 2)]
    lines += [row([f"{name} {own['word']}", with_interval(own)]) for name, own in found["marginal effect"].items()]
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
    from datasets_dart.files import write_text

    if not page.is_file():
        raise FileNotFoundError(f"{page}: no such file")
    text = page.read_text()
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise InputError(f"{page}: has not both {START} and {END}")
    write_text(page, f"{before}{START}\n\n{tables}\n{END}{after}")


def tables(
    taken: Annotated[Path | None, typer.Option("--take", help="folder of new runs of real_data")] = None,
    supervised: Annotated[
        Path | None, typer.Option("--take-supervised", help="folder of new runs of real_supervised")
    ] = None,
    downstream: Annotated[
        Path | None, typer.Option("--take-downstream", help="folder of new runs of real_downstream")
    ] = None,
) -> None:
    """Regenerate the tables of docs/.

    python -m studies.tables
    """
    if taken is not None:
        take(taken, RECORDS / "real_data")
    if supervised is not None:
        take(supervised, RECORDS / "real_supervised")
        shutil.copyfile(supervised / "gue.json", RECORDS / "real_supervised" / "gue.json")
    if downstream is not None:
        take_downstream(downstream, RECORDS / "downstream")
    put(ROOT / "docs" / "downstream.md", downstream_tables(RECORDS / "downstream"))
    put(ROOT / "docs" / "real_data.md", record_tables(RECORDS / "real_data"))
    trained = RECORDS / "real_supervised"
    put(ROOT / "docs" / "real_supervised.md", supervised_tables(trained) + "\n" + gue_table(trained / "gue.json"))
    put(ROOT / "docs" / "audit" / "README.md", audit_table(RECORDS / "audit.json"))
    put(ROOT / "docs" / "mutagenesis.md", attribution_table(RECORDS / "attribution" / "ctcf.json"))
    for page in ("README.md", "docs/benchmarks.md"):
        put(ROOT / page, benchmark_table(ROOT / "benchmarks"))


if __name__ == "__main__":
    try:
        typer.run(tables)
    except (ValueError, OSError) as error:
        print("tables:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(1)
