"""Tables of docs/ and README from records of runs, the audit's figures and benchmark results (`make tables`).

python -m studies.tables
python -m studies.tables --take results/real_data     first takes over the records of new runs
"""

import re
import runpy
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from datasets_dart.duplicates import Counts
from evaluation_dart.pretraining import in_words
from evaluation_dart.recipes import with_current_name
from evaluation_dart.records import load_record
from evaluation_dart.report.leaderboard import origin
from evaluation_dart.seeds import over_seeds
from evaluation_dart.statistics.metric import interval_text
from studies.fetch import inputs_table
from studies.pages import (
    DOCS,
    RECORDS,
    ROOT,
    markdown,
    model_name,
    put,
    read_json,
    take,
    with_interval,
    write_json,
)
from trainer_scripts.messages import run_function

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
# Of downstream tasks: the metrics, and the order of a table's rows
MEANS = "seeds.json"  # beside the records of one model's seeds
METRICS = ("accuracy", "mcc", "f1_macro")
ORDER = ("fine-tuned", "from-scratch", "cnn", "kmers-6", "length", "pads-read", "pads-read-last-token")
HEADER = ("model", "trained parameters", "rows", "steps", "seeds", "test n", *METRICS)
# Of variants: the order of a table's rows
VARIANT_RECIPES = ("whole-alleles", "dart-eval", "traitgym", "embedding-cosine", "embedding-l2")
# Benchmarks in the README, and patterns of their rows; docs/benchmarks.md has all
HEADLINES = {
    "long_conv_avx2": ("forward, kernel not prepared.*", "forward and backward.*"),
    "long_conv_avx512": ("forward, kernel not prepared.*", "forward and backward.*"),
    "gpu_operator": (
        "forward, B=8, L=(8,194|32,770|160,002), bfloat16",
        "forward, B=1, L=1,000,002, (float32|bfloat16)",
        "forward and backward, B=8, L=(8,194|32,770|160,002), bfloat16",
        "forward and backward, B=1, L=1,000,002, (float32|bfloat16)",
    ),
    "gpu_peers": (".*, B=8, L=8,192, .*", ".*, B=1, L=1,048,576, .*"),
    "gpu_models": (".*",),
    "gpu_transformer": (".*L=(16,384|262,144)",),
    "memory": (".*",),
    "model": (".*",),
    "score_variants": (".*, recipe (whole-alleles|mean-pooled|dart-eval)(, tiny-1k)?",),
    "scoring_profile": (".*",),
    "start_up": (".*score of one variant",),
    "scaling": (".*1,000,000 variants",),
    "regulatory_elements": (".*",),
    "tokenizer": (".* to tensors",),
    "zero_shot": (".*",),
    "packing": (".*23 sequences.*",),
}
INPUTS_HEADER = ("file", "source", "licence", "SHA-256 of the content")
PUBLISHED = ROOT / "leaderboard" / "published.json"
NUMBER = {task: f"Task {number}" for number, task in enumerate(SHOWN, start=1)}
Run = tuple[str, dict[str, Any]]  # name and record


def read_named(path: Path) -> dict[str, Any]:
    """A record, or a file beside scores, with its recipe by the name that it has now."""
    record: dict[str, Any] = read_json(path)
    return record | {"recipe": with_current_name(record["recipe"], record.get("schema_version"))}


def task_tables(
    records: Path,
    shown: dict[str, tuple[str, ...]],
    header: Sequence[str],
    cells: Callable[[Run], list[str]],
    key: Any = None,
) -> str:
    """One table a task, a row a run, in the order of `key` if there is one; then how the intervals were made."""
    runs: dict[str, list[Run]] = {task: [] for task in SHOWN}
    for path in sorted(records.rglob("results.json")):
        record = read_named(path)
        runs[record["task"]].append((path.relative_to(records).parts[0], record))
    lines: list[str] = []
    for task, own in runs.items():
        metrics = [name for name in shown.get(task, ()) if any(name in record["metrics"] for _, record in own)]
        rows = [
            [*cells(run), *(with_interval(run[1]["metrics"].get(metric)) for metric in metrics)]
            for run in (sorted(own, key=key) if key else own)
        ]
        if rows:
            lines += [
                f"### {NUMBER[task]}: {task}",
                "",
                *markdown([*header, *metrics], rows),
                *methods_of(own, metrics),
                *read_before(own),
            ]
    return "\n".join(lines)


def record_tables(records: Path) -> str:
    """Data, model, setting and recipe of each run."""

    def cells(run: Run) -> list[str]:
        name, record = run
        recipe = record["recipe"]
        return [name, model_name(record), record["setting"], recipe["name"], f"{recipe['window']:,} bp"]

    return task_tables(records, SHOWN, ["run", "model", "setting", "recipe", "window"], cells)


def read_before(runs: Sequence[Run]) -> list[str]:
    """How many rows each model has read in its pretraining, in one line."""
    said: dict[str, dict[str, None]] = {}
    for _, record in runs:
        said.setdefault(in_words(record), {})[model_name(record)] = None
    parts = [f"{words} ({', '.join(models)})" for words, models in said.items()]
    return [f"- rows read before: {'; '.join(parts)}", ""]


def methods_of(runs: Sequence[Run], shown: Sequence[str]) -> list[str]:
    """How the intervals of the metrics were made, a line each."""
    methods: dict[str, dict[str, None]] = {}  # of each metric, in the order of the runs
    for _, record in runs:
        for metric in filter(record["metrics"].__contains__, shown):
            methods.setdefault(metric, {})[record["metrics"][metric]["method"]] = None
    return ["", *(f"- {metric}: {'; or '.join(ways)}" for metric, ways in methods.items()), ""]


def supervised_tables(records: Path) -> str:
    """What was trained, on how many rows and steps, and its metrics on the test split."""

    def cells(run: Run) -> list[str]:
        record = run[1]
        recipe, trained = record["recipe"], record["model"].get("trained_parameters")
        best, epochs = recipe.get("best_epoch"), recipe.get("num_train_epochs", recipe.get("epochs"))
        mark = " †" if best is not None and best == epochs else ""
        steps = f"{recipe['steps']:,}{mark}" if "steps" in recipe else "to the optimum"
        of_task_4 = record["task"] == "variant_effects"
        return [
            model_name(record),
            recipe["name"],
            "" if trained is None else f"{trained:,}",
            f"{recipe.get('train_rows', 0):,}",
            "not trained" if not recipe.get("train_rows") else "of task 4" if of_task_4 else steps,
        ]

    header = ["model", "setting", "trained parameters", "rows", "steps"]
    return task_tables(records, SUPERVISED, header, cells, lambda run: of_baselines_first(run[1]))


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
    rows = [
        [
            f"[{figure['page']}]({figure['page']}.md)",
            figure["what"],
            f"{figure['original']:.4g}",
            f"{figure['sound']:.4g}",
            f"{figure['n']:,}",
        ]
        for figure in read_json(path)
    ]
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


def take_downstream(results: Path, records: Path) -> None:
    """Take the records of new runs, and beside those of one model the means over its seeds."""
    take(results, records)
    for model in sorted({path.parents[1] for path in results.rglob("seed-*/results.json")}):
        runs = [load_record(path.parent) for path in sorted(model.glob("seed-*/results.json"))]
        write_json(records / model.relative_to(results) / MEANS, over_seeds(runs))


def cell(mean: dict[str, Any] | None) -> str:
    """A mean over seeds with its interval of rows and seeds; "" where there is none."""
    return "" if mean is None else f"{mean['value']:.3f}{interval_text(mean)}"


def cells(model: Path) -> list[str]:
    """The row of a model from its records, one of each seed."""
    own = [read_json(path) for path in sorted(model.glob("seed-*/results.json"))]
    first, drawn = own[0], own[0]["steps"] is not None
    means = read_json(model / MEANS)
    counts = [f"{first['model']['parameters']:,}", f"{first['rows']['train']:,}"]
    counts += [f"{first['steps']:,}", str(len(own))] if drawn else ["–", "–"]
    return [model.name, *counts, f"{first['rows']['test']:,}", *(cell(means.get(metric)) for metric in METRICS)]


def downstream_tables(records: Path) -> str:
    """One table a task: model, trained parameters, training rows, steps, seeds, n of the test split, metrics."""
    lines: list[str] = []
    for task in sorted({path.parents[2] for path in records.rglob("results.json")}):
        models = sorted(task.iterdir(), key=lambda path: ORDER.index(path.name))
        lines += [f"### {task.parent.name}/{task.name}", "", *markdown(HEADER, map(cells, models), "---:")]
        published = read_json(next(models[-1].rglob("results.json")))["published"]
        if published:
            said = ", ".join(f"{name} {value}" for name, value in published.items())
            lines += ["", f"Published, of the whole task, in per cent: {said}."]
        lines += ["", duplicates_line(next(models[-1].rglob("results.json"))), ""]
    return "\n".join(lines)


def duplicates_line(path: Path) -> str:
    """How many test rows of a record repeat others, in words; of its other splits, the rows that it used."""
    record = read_json(path)
    found = record.get("dataset", {}).get("duplicates")
    if found is None:
        return "Test rows that repeat others were not counted when these records were made."
    counts = {"within the split": found["within"]}
    counts |= {f"in the {record['rows'][split]:,} rows of {split}": own for split, own in found["against"].items()}
    said = "; ".join(f"{where}: {Counts(**own)}" for where, own in counts.items())
    return f"Of the {found['rows']:,} test rows, those that repeat another: {said}."


def variants_table(folder: Path) -> str:
    """Scores of variants beside measured effects: a row a run, then how the intervals were made."""
    records = [read_named(path) for path in sorted(folder.glob("*.json"))]
    records.sort(key=lambda r: (r["variants"], VARIANT_RECIPES.index(r["recipe"]["name"]), r["model"]["id"]))
    rows, methods = [], set()
    for record in records:
        recipe, metrics = record["recipe"], record["metrics"]
        shown = [with_interval(metrics.get(name)) for name in ("pearson", "spearman", "direction_accuracy")]
        rows.append([record["variants"], model_name(record), recipe["name"], recipe["strand"], *shown])
        methods |= {(name, record["variants"], metric["method"]) for name, metric in metrics.items()}
    header = ["variants", "model", "recipe", "strand", "Pearson", "Spearman", "signs that agree"]
    said = [f"- {name}, {variants}: {method}" for name, variants, method in sorted(methods)]
    return "\n".join([*markdown(header, rows), "", *said]) + "\n"


def published_table(path: Path) -> str:
    """Published figures of models trained on tracks: on the benchmark's variants, and on others; not on a page's."""
    groups = [
        group for group in read_json(path) if (group["task"], group["setting"]) == ("variant_effects", "ab_initio")
    ]
    rows = []
    for group in groups:
        for model, values in group["models"].items():
            found = dict(zip(group["metrics"], values, strict=True))
            shown = [f"{found[name]:.3f}" for name in ("auprc", "pearson")]
            rows.append([group["data"], model, *shown, f"[{group['source']}]({origin(group)['link']})"])
    header = ["variants", "model", "average precision", "Pearson, positives", "read in"]
    return "\n".join(markdown(header, rows)) + "\n"


def benchmark_table(folder: Path, shown: Mapping[str, Sequence[str]] | None = None) -> str:
    """The results of the benchmarks in `folder`, by its own table.py.

    Args:
        shown: of each benchmark named, patterns of the rows to show, in order; all rows of all benchmarks if None.

    Raises:
        ValueError: for a pattern that no row matches.
    """
    benchmarks = runpy.run_path(str(folder / "table.py"))
    paths = {path.stem: path for path in sorted((folder / "results").glob("*.json"))}
    records = [read_json(paths[name]) for name in (paths if shown is None else shown)]
    records = [record for record in records if "rows" in record]
    if shown is not None:
        records = [record | {"rows": rows_shown(record, shown[record["benchmark"]])} for record in records]
    return str(benchmarks["table"](records)) + "\n"


def rows_shown(record: dict[str, Any], patterns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a benchmark that patterns match, pattern by pattern."""
    found = [[row for row in record["rows"] if re.fullmatch(pattern, row["what"])] for pattern in patterns]
    if missing := [pattern for pattern, rows in zip(patterns, found, strict=True) if not rows]:
        raise ValueError(f"no row of benchmark {record['benchmark']} is {missing[0]!r}")
    return [row for rows in found for row in rows]


def quantisation_table(path: Path) -> str:
    """What benchmarks/quantisation.py found: a row a way to quantise."""
    record = read_json(path)
    ways = record["ways"]
    exact = ways["float32"]["perplexity"]
    rows = []
    for name, own in ways.items():
        found, snvs = own["perplexity"], own["snvs"]
        rows.append(
            [
                name,
                f"{found:.4f} ({100 * (found / exact - 1):+.2f} %)",
                with_interval(own["auroc"]),
                "" if name == "float32" else f"{own['auroc_difference']['value']:+.4f}",
                f"{snvs['spearman']:.4f}",
                f"{snvs['median_away']:.4f}",
                f"{own['cpu_beside_float32']:.2f}",
            ]
        )
    packages = record["versions"] | record["packages"]
    made = ", ".join(f"{name} {packages[name]}" for name in ("torch", "transformers", "bitsandbytes", "torchao"))
    header = ["", "perplexity", "AUROC", "difference", "rho of SNVs", "median difference, nats", "CPU time"]
    snvs = ways["float32"]["snvs"]
    what = [
        f"Perplexity of {record['bases']:,} bases; AUROC of elements against their shuffles by log-likelihood "
        f"({ways['float32']['auroc']['method']}) and its difference from float32's; scores of {snvs['n']} SNVs (whole "
        f"alleles, 1,024 bp; in float32 the median of their absolute values is {snvs['median_size']:.2f} nats): "
        "Spearman's rho with float32's, and the median absolute difference; CPU time, float32 being 1. "
        f"{record['date']}, {record['machine']['processor']}, {record['machine']['torch_capability']}, {made}."
    ]
    return "\n".join([*markdown(header, rows), "", *what]) + "\n"


def scaling_table(path: Path) -> str:
    """What benchmarks/scaling.py found: a row a kind of work, its sizes side by side."""
    record = read_json(path)
    rows = []
    for own in record["series"]:
        points = own["points"]
        start = own["start_cpu_s"] if own["axis"] == "windows" else 0.0
        of_windows = [f"{(point['cpu_s'] - start) / point['of']:.2g}" for point in points]
        times = of_windows if own["axis"] == "windows" else [f"{point['cpu_s']:.1f}" for point in points]
        rows.append(
            [
                own["what"],
                " / ".join(f"{point['size']:,}" for point in points) + f" {own['unit']}",
                " / ".join(times),
                "" if own["slope"] is None else f"{own['slope']:.2f}",
                " / ".join(f"{point['peak_mib']:,.0f}" for point in points),
            ]
        )
    header = ["", "sizes", "CPU time, s", "slope", "peak memory of a process, MiB"]
    dates = ", ".join(sorted({own["date"] for own in record["series"]}))
    return "\n".join([*markdown(header, rows), "", f"{dates}, {record['machine']['processor']}."]) + "\n"


def coverage_table(path: Path) -> str:
    """What benchmarks/coverage.py found: a row an interval or a test, a column a design."""
    simulated = read_json(path)["simulated"]
    designs = list(dict.fromkeys(tuple(row[name] for name in ("n", "blocks", "rho", "sigma")) for row in simulated))
    header = ["", *(f"{n}, {blocks}, {rho:g}{', unequal' if sigma else ''}" for n, blocks, rho, sigma in designs)]
    found: dict[str, dict[Any, str]] = {}
    commits: dict[str, list[str]] = {}
    for row in simulated:
        of = tuple(row[name] for name in ("n", "blocks", "rho", "sigma"))
        found.setdefault(row["what"], {})[of] = simulated_share(row)
        commits.setdefault(row["commit"], []).append(row["what"])
    lines = markdown(header, [[what, *(own.get(of, "") for of in designs)] for what, own in found.items()])
    made = [f"- {commit}: {'; '.join(dict.fromkeys(names))}" for commit, names in commits.items()]
    return (
        "\n".join([*lines, "", "Which commit made which rows (of a row, some columns may be of another):", "", *made])
        + "\n"
    )


def simulated_share(row: dict[str, Any]) -> str:
    """A coverage or a rate of rejections in percent, in bold where it is beyond the goal."""
    share = row.get("coverage", row.get("rejected"))
    if share is None or row.get("without", 0) > 0.99 * row["sets"]:
        return "no interval"
    low, high = (0.93, 0.97) if "coverage" in row else (0.04, 0.06)
    text = f"{100 * share:.1f}" if low <= share <= high else f"**{100 * share:.1f}**"
    without = row.get("without", 0) / row["sets"]
    return f"{text} (none in {100 * without:.0f} %)" if without > 0.005 else text


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
        "variants.md": variants_table(RECORDS / "variants") + "\n" + published_table(PUBLISHED),
        "real_data.md": record_tables(RECORDS / "real_data"),
        "real_supervised.md": supervised_tables(trained) + "\n" + gue_table(trained / "gue.json"),
        "audit/README.md": audit_table(RECORDS / "audit.json"),
        "mutagenesis.md": attribution_table(RECORDS / "attribution" / "ctcf.json"),
        "coverage.md": coverage_table(ROOT / "benchmarks" / "results" / "coverage.json"),
        "quantisation.md": quantisation_table(ROOT / "benchmarks" / "results" / "quantisation.json"),
        "scaling.md": scaling_table(ROOT / "benchmarks" / "results" / "scaling.json"),
        "benchmarks.md": benchmark_table(ROOT / "benchmarks"),
        "../README.md": benchmark_table(ROOT / "benchmarks", HEADLINES),
        "../studies/README.md": "\n".join(markdown(INPUTS_HEADER, inputs_table())) + "\n",
    }
    for page, content in pages.items():
        put(DOCS / page, content)


if __name__ == "__main__":
    run_function(tables)
