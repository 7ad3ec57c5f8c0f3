"""Tables of docs/ and README from records of runs, the audit's figures and benchmark results (`make tables`).

python -m studies.tables
python -m studies.tables --take results/real_data     first takes over the records of new runs
"""

import runpy
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from studies.downstream_tables import downstream_tables, take_downstream
from studies.fetch import inputs_table
from studies.pages import DOCS, RECORDS, ROOT, markdown, model_name, put, read_json, take, with_interval
from studies.program import run_program

# Metrics that a table shows, by task; the records hold all.
SHOWN = {
    "regulatory_elements": ("accuracy", "median_diff"),
    "motif_footprinting": ("accuracy", "share_above_0.5", "share_above_0.7"),
    "cell_type_elements": ("adjusted_mutual_information",),
    "chromatin_activity": ("spearman_all", "pearson_peaks", "auroc"),
    "variant_effects": ("direction_accuracy", "pearson", "spearman", "auroc", "auprc"),
}
# Of supervised settings, several of which one number could not distinguish from chance
SUPERVISED = {
    "regulatory_elements": ("accuracy", "accuracy_paired", "auroc"),
    "cell_type_elements": ("accuracy", "auroc_GM12878", "auroc_HEPG2", "auroc_K562"),
    "chromatin_activity": ("spearman_all", "spearman_peaks", "pearson_peaks"),
    "variant_effects": ("pearson", "spearman"),
}
INPUTS_HEADER = ("file", "source", "licence", "SHA-256 of the content")
NUMBER = {task: f"Task {number}" for number, task in enumerate(SHOWN, start=1)}


def runs_of(records: Path) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Names and records of all runs, by task."""
    runs: dict[str, list[tuple[str, dict[str, Any]]]] = {task: [] for task in SHOWN}
    for path in sorted(records.rglob("results.json")):
        record = read_json(path)
        runs[record["task"]].append((path.relative_to(records).parts[0], record))
    return runs


def record_tables(records: Path) -> str:
    """One table a task: data, model, setting and recipe of each run, and its metrics; then how intervals were made."""
    lines: list[str] = []
    for task, of_task in runs_of(records).items():
        if not of_task:
            continue
        shown = [name for name in SHOWN[task] if any(name in record["metrics"] for _, record in of_task)]
        rows = []
        for name, record in of_task:
            recipe = record["recipe"]
            cells = [name, model_name(record), record["setting"], recipe["name"], f"{recipe['window']:,} bp"]
            rows.append([*cells, *(with_interval(record["metrics"].get(metric)) for metric in shown)])
        header = ["run", "model", "setting", "recipe", "window", *shown]
        lines += [f"### {NUMBER[task]}: {task}", "", *markdown(header, rows), *methods_of(of_task, shown)]
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
        if not runs:
            continue
        shown, rows = SUPERVISED.get(task, ()), []
        for record in sorted((record for _, record in runs), key=of_baselines_first):
            recipe, trained = record["recipe"], record["model"].get("trained_parameters")
            best, epochs = recipe.get("best_epoch"), recipe.get("num_train_epochs", recipe.get("epochs"))
            mark = " †" if best is not None and best == epochs else ""
            steps = f"{recipe['steps']:,}{mark}" if "steps" in recipe else "to the optimum"
            cells = [model_name(record), recipe["name"], "" if trained is None else f"{trained:,}"]
            cells += [f"{recipe.get('train_rows', 0):,}", "of task 4" if task == "variant_effects" else steps]
            rows.append([*cells, *(with_interval(record["metrics"].get(metric)) for metric in shown)])
        header = ["model", "setting", "trained parameters", "rows", "steps", *shown]
        lines += [f"### {NUMBER[task]}: {task}", "", *markdown(header, rows), *methods_of(runs, shown)]
    return "\n".join(lines)


def gue_table(path: Path) -> str:
    """Matthews' correlation on the test files of GUE: a row a model and setting, a column a set."""
    if not path.is_file():
        return ""
    found = read_json(path)
    sets = list(dict.fromkeys(entry["set"] for entry in found))
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for entry in sorted(found, key=of_baselines_first):
        own = cells.setdefault((model_name(entry), entry["recipe"]["name"]), {})
        own[entry["set"]] = with_interval(entry["metrics"]["mcc"])
    rows = [[*names, *(own.get(name, "") for name in sets)] for names, own in cells.items()]
    title = "### A fifth check: promoters and transcription factors of GUE, Matthews' correlation"
    method = f"- mcc: {found[0]['metrics']['mcc']['method']}"
    return "\n".join([title, "", *markdown(["model", "setting", *sets], rows), "", method, ""])


def of_baselines_first(record: dict[str, Any]) -> tuple[int, str, str]:
    """A key to sort records by: networks from scratch and baselines, then probing, then fine-tuning."""
    order = ("ab_initio", "probed", "finetuned")
    return order.index(record["setting"]), record["model"]["id"], record["recipe"]["name"]


def audit_table(path: Path) -> str:
    """What each defect changes, from the audit's figures."""
    rows = []
    for figure in read_json(path):
        page = f"[{figure['page']}]({figure['page']}.md)"
        numbers = [f"{figure['original']:.4g}", f"{figure['sound']:.4g}", f"{figure['n']:,}"]
        rows.append([page, figure["what"], *numbers])
    header = ["page", "on real data", "as the original", "as it should be", "n"]
    return "\n".join(markdown(header, rows)) + "\n"


def attribution_table(path: Path) -> str:
    """What a fine-tuned model reads in CTCF peaks: its metrics, then each method of attribution against the motif."""
    found = read_json(path)
    metrics, beside = found["metrics"], found["metrics of 5-mers"]
    names = ("accuracy", "auroc_positive", "auprc_positive")
    compared = [[name, with_interval(metrics[name]), with_interval(beside[name])] for name in names]
    lines = [*markdown(["on the test rows", "fine-tuned HyenaDNA", "linear model of 5-mers"], compared), ""]
    heads = ["attributions", "peaks", "importance inside the motif's hit: AUROC", "correlation with the motif's bits"]
    heads += ["seqlets of peaks whose nearest motif is CTCF's", "of shuffles"]
    rows = []
    for name, own in found["attributions"].items():
        cells = [name, str(own["peaks"]), with_interval(own["auroc of importance inside the hit"])]
        cells.append(f"{own['correlation of mean importance and information content over the motif']:.2f}")
        for kind in (own.get("seqlets of peaks", {}), own.get("seqlets of shuffles", {})):
            cells.append(with_interval(kind.get("nearest motif is CTCF's")) or str(kind.get("seqlets", "")))
        rows.append(cells)
    lines += [*markdown(heads, rows), ""]
    effects = [[f"{name} {own['word']}", with_interval(own)] for name, own in found["marginal effect"].items()]
    lines += markdown(["in place of the middle of shuffled peaks", "change of the head's log-odds"], effects)
    return "\n".join(lines) + "\n"


def benchmark_table(folder: Path) -> str:
    """The results of every benchmark in `folder`, by its own table.py."""
    benchmarks = runpy.run_path(str(folder / "table.py"))
    return str(benchmarks["table"]([read_json(path) for path in sorted((folder / "results").glob("*.json"))])) + "\n"


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
    trained = RECORDS / "real_supervised"
    pages = {
        "downstream.md": downstream_tables(RECORDS / "downstream"),
        "real_data.md": record_tables(RECORDS / "real_data"),
        "real_supervised.md": supervised_tables(trained) + "\n" + gue_table(trained / "gue.json"),
        "audit/README.md": audit_table(RECORDS / "audit.json"),
        "mutagenesis.md": attribution_table(RECORDS / "attribution" / "ctcf.json"),
        "benchmarks.md": benchmark_table(ROOT / "benchmarks"),
        "../README.md": benchmark_table(ROOT / "benchmarks"),
        "../studies/README.md": "\n".join(markdown(INPUTS_HEADER, inputs_table())) + "\n",
    }
    for page, content in pages.items():
        put(DOCS / page, content)


if __name__ == "__main__":
    run_program(tables)
