"""The supervised settings on a folder of real data that is not DART-Eval's (docs/real_supervised.md).

chr20 is cut into blocks of 5 Mb for training and validation; chr22 is the test. Task 4 has chr22 alone, cut likewise.

    python -m studies.real_supervised --data real-data --output results/real_supervised
"""

import csv
import gzip
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from studies.real_data import CELL_LINES as LABELS
from studies.real_data import DEMO, WINDOW, contig, lifted_activity_inputs, rows_of, write_lines
from trainer_scripts.cli.dart_eval import Budget

BLOCK = 5_000_000
CHR20, CHR22 = 63_025_520, 51_304_566
LONGEST = 350  # bp of an element of task 1
CELL = "GM12878"
PARTS = {"train": "train", "validation": "dev", "test": "test"}
Trial = tuple[str, str, dict[str, Any]]  # model, setting, options of the run
GUE = ("prom_core_tata", "prom_300_tata", "tf_0", "tf_1", "tf_2")


def genome_of(data: Path, work: Path) -> Path:
    """chr20 and chr22 of hg19 in one FASTA."""
    path = work / "hg19.chr20_chr22.fa"
    if not path.exists():
        with path.open("w") as file:
            for name, source in (("chr20", "hg19.chr20"), ("chr22", "hg19.chr22.partial")):
                sequence = contig(data / f"genomes/{source}.fa.gz")
                file.write(f">{name}\n" + "\n".join(sequence[i : i + 60] for i in range(0, len(sequence), 60)) + "\n")
    return path


def blocks(chrom: str, length: int, names: str) -> Iterator[str]:
    """BED lines of 5-Mb blocks, which are of the splits in turn: t, v and e for train, validation and test."""
    whole = {"t": "train", "v": "validation", "e": "test"}
    for number, start in enumerate(range(0, length, BLOCK)):
        yield f"{chrom}\t{start}\t{min(start + BLOCK, length)}\t{whole[names[number % len(names)]]}"


def two_chromosomes(work: Path) -> Path:
    return write_lines(work / "splits.bed", [*blocks("chr20", CHR20, "tttv"), f"chr22\t0\t{CHR22}\ttest"])


def known(sequence: str, start: int, end: int, margin: int = 150) -> bool:
    """Whether all of an element and what is around it is known sequence."""
    around = sequence[max(0, start - margin) : end + margin]
    return bool(around) and "N" not in around.upper()


def element_inputs(data: Path, work: Path) -> dict[str, Any]:
    """Task 1: open chromatin and enhancers of Genomic Benchmarks, and promoter-like cCREs."""
    sequence = {"chr20": contig(data / "genomes/hg19.chr20.fa.gz")}
    sequence["chr22"] = contig(data / "genomes/hg19.chr22.partial.fa.gz")
    places = set()
    for row in rows_of(data / "intervals/genomic_benchmarks.chr20_chr22.hg38_hg19.tsv.gz"):
        if row["dataset"] in ("human_ocr_ensembl", "human_enhancers_ensembl") and row["label"] != "negative":
            places.add((row["hg19_chrom"], int(row["hg19_start"]), int(row["hg19_end"])))
    for row in rows_of(data / "intervals/encode_cCRE_PLS_K562_GM12878.chr20_chr22.hg38_hg19.tsv.gz"):
        places.add((row["chrom"], int(row["hg19_start"]), int(row["hg19_end"])))
    kept = [
        place for place in sorted(places) if place[2] - place[1] <= LONGEST and known(sequence[place[0]], *place[1:])
    ]
    bed = write_lines(work / "elements.bed", ["\t".join(map(str, place)) for place in kept])
    return {"genome": genome_of(data, work), "elements": bed, "splits": str(two_chromosomes(work))}


def cell_type_inputs(data: Path, work: Path) -> dict[str, Any]:
    """Task 3: FANTOM5 promoters and enhancers that are active in one of four cell lines alone."""
    sequence = {"chr20": contig(data / "genomes/hg19.chr20.fa.gz")}
    sequence["chr22"] = contig(data / "genomes/hg19.chr22.partial.fa.gz")
    labels: dict[tuple[str, int, int], set[str]] = {}
    for kind in ("enhancers", "promoters"):
        for row in rows_of(data / f"intervals/fantom5_{kind}_256bp_7celllines.chr20_chr22.hg38_hg19.tsv.gz"):
            active = [name for name in LABELS if float(row[name]) > 0]
            place = row["chrom"], int(row["hg19_start"]), int(row["hg19_end"])
            if len(active) == 1 and known(sequence[place[0]], *place[1:]):
                labels.setdefault(place, set()).add(LABELS[active[0]])
    lines = ["\t".join(map(str, (*place, min(names)))) for place, names in sorted(labels.items()) if len(names) == 1]
    bed = write_lines(work / "fantom5.bed", lines)
    return {"genome": genome_of(data, work), "elements": bed, "splits": str(two_chromosomes(work))}


def activity_inputs(data: Path, work: Path) -> dict[str, Any]:
    """Task 4: bins of 500 bp of GM12878 on chr22; the most open twentieth are peaks."""
    inputs = lifted_activity_inputs(data, work)
    mine = {
        name: [path for path in paths if path.startswith(f"{CELL}=")] if isinstance(paths, list) else paths
        for name, paths in inputs.items()
    }
    return mine | {"splits": str(write_lines(work / "chr22.bed", [*blocks("chr22", CHR22, "tve")]))}


def dsqtl_inputs(data: Path, work: Path) -> dict[str, Any]:
    """Task 5: dsQTLs of both chromosomes, positives alone, by the models of task 4."""
    variants = data / "variants/dsqtl_degner2012.chr20_chr22.hg19.tsv.gz"
    return {"genome": genome_of(data, work), "variants": variants, "effect": "beta"}


def gue_rows(path: Path) -> Any:
    """Sequences and labels of one file of GUE, as a Dataset."""
    from datasets import ClassLabel, Dataset, Features, Value

    with gzip.open(path, "rt", newline="") as file:
        rows = [{"sequence": row["sequence"], "label": int(row["label"])} for row in csv.DictReader(file)]
    return Dataset.from_list(rows, Features({"sequence": Value("string"), "label": ClassLabel(names=["no", "yes"])}))


class GueSet(NamedTuple):
    """A set of GUE as a training sees a task."""

    name: str
    objective: Callable[[Any], Any]
    columns: dict[str, str] = {"sequence": "DNA"}
    learned_rows: None = None
    trained_on: None = None


def judge_on_gue(
    data: Path, name: str, model: str, setting: str, options: dict[str, Any], budget: Budget, training: Path
) -> dict[str, Any]:
    """Train on one set of GUE as on classes of a task, and judge on its test file.

    Returns:
        what was trained and how, and the metrics of [`classification.classification_metrics`], by bootstrap of rows.
    """
    import numpy as np

    import modeling_hyenadna  # noqa: F401  (registers HyenaDNA with the Auto classes)
    from datasets_dart.files import sha256
    from evaluation_dart.statistics.classification import classification_metrics
    from evaluation_dart.training.objective import objective_of
    from evaluation_dart.training.recipe import read_hyperparameters
    from evaluation_dart.training.rows import limited
    from evaluation_dart.training.supervised import SMALL_ROWS, train_predictor

    files = {split: data / f"benchmarks/GUE_{name}_{part}.csv.gz" for split, part in PARTS.items()}
    rows = {split: gue_rows(path) for split, path in files.items()}
    inputs = {split: f"{path.name} sha256:{sha256(path)}" for split, path in files.items()}
    trained = train_predictor(
        model,
        GueSet("cell_type_elements", partial(objective_of, task="cell_type_elements")),
        setting,
        rows.__getitem__,
        protocol="fixed",
        folder=training,
        inputs=inputs,
        method=options.get("method"),
        budget=budget.value,
        hyperparameters=read_hyperparameters(None, options.get("set_", ())),
    )
    test = limited(rows["test"], SMALL_ROWS["test"] if budget == Budget.small else None)
    called = trained.predictor.predict(test["sequence"][:]).argmax(axis=1)
    metrics = classification_metrics(called, np.array(test["label"][:]), ("no", "yes"))
    recipe = trained.recipe.described("")
    return {"set": name, "model": trained.description, "setting": setting, "recipe": recipe, "metrics": metrics}


def run_gue(data: Path, output: Path, models: Sequence[Trial], budget: Budget, only: str) -> None:
    """The promoter and transcription-factor sets of GUE; all that was ever run goes into gue.json."""
    kept = output / "gue"
    kept.mkdir(exist_ok=True)
    for name in GUE:
        for model, setting, options in models:
            label = f"{name}-{Path(model).name}-{setting}-{options.get('method', '')}"
            path = kept / f"{label}.json"
            if only not in f"gue-{label}" or path.exists():
                continue
            typer.echo(f"gue-{label}")
            training = output / "training" / f"gue-{name}"
            write_json(path, judge_on_gue(data, name, model, setting, options, budget, training))
    write_json(output / "gue.json", [json.loads(path.read_text()) for path in sorted(kept.glob("*.json"))])


def write_json(path: Path, what: Any) -> None:
    from datasets_dart.files import write_text

    write_text(path, json.dumps(what, indent=1) + "\n")


def real_supervised(
    data: Annotated[Path, typer.Option(help="folder with genomes/, intervals/ and variants/")],
    output: Annotated[Path, typer.Option(help="folder of records and trainings")] = Path("results/real_supervised"),
    only: Annotated[str, typer.Option(help="run only what has this in its name")] = "",
    budget: Annotated[Budget, typer.Option(help="full: all rows, and the paper's epochs and rates")] = Budget.small,
) -> None:
    """Probe, fine-tune and train from scratch; what is done already is not done again.

    python -m studies.real_supervised --data real-data
    """
    from trainer_scripts.cli.dart_eval import run

    work = output / "inputs"
    work.mkdir(parents=True, exist_ok=True)
    common: dict[str, Any] = {"budget": budget, "training": output / "training"}

    def quick(learning_rate: float) -> dict[str, Any]:  # of few steps
        return {"set_": [f"learning_rate={learning_rate}"]} if budget == Budget.small else {}

    def trials(rate: float, cnn: dict[str, Any]) -> list[Trial]:
        return [
            ("gc", "ab_initio", {}),
            ("kmers:6", "ab_initio", {}),
            ("network:probing-head-like", "ab_initio", quick(rate)),
            (str(DEMO), "probed", {"method": "linear"}),
            (str(DEMO), "probed", cnn),
            (str(DEMO), "finetuned", quick(1e-3)),
            (f"random:{DEMO}", "ab_initio", quick(1e-3)),
        ]

    plan: list[tuple[str, str, Any, int | None, float]] = [
        ("cell-types", "cell_type_elements", cell_type_inputs, None, 2e-3),
        ("elements", "regulatory_elements", element_inputs, None, 1e-3),
        ("activity", "chromatin_activity", activity_inputs, WINDOW, 1e-3),
        ("dsqtl", "variant_effects", dsqtl_inputs, WINDOW, 1e-3),
    ]
    for name, task, inputs_of, window, rate in plan:
        cnn = {} if task == "variant_effects" else {"cache": output / "cache" / name}
        for model, setting, options in trials(rate, cnn):
            label = f"{name}-{Path(model).name}-{setting}-{options.get('method', '')}"
            if only in label:
                typer.echo(label)
                method = options.get("method")
                folder = output / (name if method is None else f"{name}-{method}")
                inputs = inputs_of(data, work)
                what: dict[str, Any] = {"model": model, "task": task, "setting": setting, "window": window}
                run(output=folder, **what, **common, **inputs, **options)
    run_gue(data, output, trials(2e-3, {}), budget, only)


def main() -> None:
    try:
        typer.run(real_supervised)
    except (ValueError, OSError) as error:
        print("real_supervised:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
