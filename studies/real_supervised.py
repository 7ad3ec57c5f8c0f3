"""The supervised settings on a folder of real data that is not DART-Eval's (docs/real_supervised.md).

chr20 is cut into blocks of 5 Mb for training and validation; chr22 is the test. Task 4 has only chr22, cut likewise.

    python -m studies.real_supervised --data real-data --output results/real_supervised
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer

from datasets_hyenadna import load_task
from evaluation_dart import TASKS, evaluate
from evaluation_dart.inputs import described_inputs
from evaluation_dart.run import SMALL_TEST_ROWS
from evaluation_dart.statistics.blocks import row_blocks
from evaluation_dart.statistics.estimates import metrics_of
from evaluation_dart.statistics.metrics import classification_estimates
from evaluation_dart.training.rows import limited
from evaluation_dart.training.supervised import train_predictor
from studies.pages import read_json, write_json
from studies.real_inputs import (
    CHR22,
    CONTIGS,
    DEMO,
    GUE,
    WINDOW,
    Place,
    cell_type_bed,
    contig,
    dsqtl_inputs,
    genome,
    gue_folder,
    lifted_activity_inputs,
    promoters,
    rows_of,
    write_lines,
    write_places,
)
from trainer_scripts.messages import run_function

BLOCK = 5_000_000
CHR20 = 63_025_520
LONGEST, MARGIN = 350, 150  # bp of an element of task 1, and around any element
CELL, OTHER_CELL = "GM12878", "K562"
Budget = Literal["small", "full"]
Trial = tuple[str, str, dict[str, Any]]  # model, setting, options of the run


def blocks(chrom: str, length: int, names: str) -> Iterator[str]:
    """BED lines of 5-Mb blocks, which are of the splits in turn: t, v and e for train, validation and test."""
    whole = {"t": "train", "v": "validation", "e": "test"}
    for number, start in enumerate(range(0, length, BLOCK)):
        yield f"{chrom}\t{start}\t{min(start + BLOCK, length)}\t{whole[names[number % len(names)]]}"


def two_chromosomes(work: Path) -> Path:
    """BED of the splits: chr20 in blocks for training and validation, chr22 for the test."""
    return write_lines(work / "splits.bed", [*blocks("chr20", CHR20, "tttv"), f"chr22\t0\t{CHR22}\ttest"])


def known_places(data: Path) -> Callable[[Place], bool]:
    """Whether all of an element and the 150 bp around it are known sequence."""
    sequence = {name: contig(data / path).upper() for name, path in CONTIGS.items()}

    def known(place: Place) -> bool:
        around = sequence[place[0]][max(0, place[1] - MARGIN) : place[2] + MARGIN]
        return bool(around) and "N" not in around

    return known


def element_inputs(data: Path, work: Path) -> dict[str, Any]:
    """Task 1: open chromatin and enhancers of Genomic Benchmarks, and promoter-like cCREs."""
    places, known = promoters(data), known_places(data)
    for row in rows_of(data / "intervals/genomic_benchmarks.chr20_chr22.hg38_hg19.tsv.gz"):
        if row["dataset"] in ("human_ocr_ensembl", "human_enhancers_ensembl") and row["label"] != "negative":
            places.add((row["hg19_chrom"], int(row["hg19_start"]), int(row["hg19_end"])))
    kept = {place for place in places if place[2] - place[1] <= LONGEST and known(place)}
    bed = write_places(work / "elements.bed", kept)
    return {"genome": genome(data, work), "elements": bed, "splits": str(two_chromosomes(work))}


def cell_type_inputs(data: Path, work: Path) -> dict[str, Any]:
    """Task 3: FANTOM5 promoters and enhancers that are active in only one of four cell lines."""
    bed = cell_type_bed(data, work / "fantom5.bed", known_places(data))
    return {"genome": genome(data, work), "elements": bed, "splits": str(two_chromosomes(work))}


def activity_inputs(data: Path, work: Path) -> dict[str, Any]:
    """Task 4: bins of 500 bp of GM12878 on chr22; the most open twentieth are peaks."""
    inputs = lifted_activity_inputs(data, work)
    mine = {name: {CELL: paths[CELL]} if isinstance(paths, dict) else paths for name, paths in inputs.items()}
    return mine | {"splits": str(write_lines(work / "chr22.bed", [*blocks("chr22", CHR22, "tve")]))}


def judge_on_gue(
    folder: Path, name: str, model: str, setting: str, options: dict[str, Any], budget: Budget, training: Path
) -> dict[str, Any]:
    """Train on one set of GUE as on classes of a task, and judge on its test file.

    Returns:
        what was trained and how, and the metrics of [`classification_estimates`], rows being taken as independent.
    """
    rows: Any = load_task(f"gue/{name}", data=folder)
    trained = train_predictor(
        model,
        TASKS["cell_type_elements"],
        setting,
        rows.__getitem__,
        protocol="fixed",
        folder=training,
        inputs=described_inputs(data=sorted((folder / name).iterdir())),
        method=options.get("method"),
        budget=budget,
        hyperparameters=options.get("hyperparameters"),
    )
    test = limited(rows["test"], SMALL_TEST_ROWS if budget == "small" else None)
    called = trained.predictor.predict(test["sequence"][:]).argmax(axis=1)
    label = np.array(test["label"][:])
    metrics = metrics_of(classification_estimates(called, label, ("no", "yes"), row_blocks(len(label))))
    recipe = trained.recipe.described(False)
    return {"set": name, "model": trained.description, "setting": setting, "recipe": recipe, "metrics": metrics}


def run_gue(data: Path, output: Path, models: Sequence[Trial], budget: Budget, only: str) -> None:
    """The promoter and transcription-factor sets of GUE; all that was ever run goes into gue.json."""
    kept, folder = output / "gue", gue_folder(data, output / "inputs")
    for name in GUE:
        for model, setting, options in models:
            label = f"{name}-{Path(model).name}-{setting}-{options.get('method', '')}"
            path = kept / f"{label}.json"
            if only not in f"gue-{label}" or path.exists():
                continue
            typer.echo(f"gue-{label}")
            training = output / "training" / f"gue-{name}"
            write_json(path, judge_on_gue(folder, name, model, setting, options, budget, training))
    write_json(output / "gue.json", [read_json(path) for path in sorted(kept.glob("*.json"))])


def real_supervised(
    data: Annotated[Path, typer.Option(help="folder with genomes/, intervals/ and variants/")],
    output: Annotated[Path, typer.Option(help="folder of records and trainings")] = Path("results/real_supervised"),
    only: Annotated[str, typer.Option(help="run only what has this in its name")] = "",
    budget: Annotated[Budget, typer.Option(help="full: all rows, and the paper's epochs and rates")] = "small",
) -> None:
    """Probe, fine-tune and train from scratch; what is done already is not done again.

    python -m studies.real_supervised --data real-data
    """
    work = output / "inputs"
    common: dict[str, Any] = {"budget": budget, "training": output / "training"}

    def quick(learning_rate: float) -> dict[str, Any]:  # of few steps
        return {"hyperparameters": {"learning_rate": learning_rate}} if budget == "small" else {}

    def trials(rate: float, cnn: dict[str, Any]) -> list[Trial]:
        return [
            ("gc", "ab_initio", {}),
            ("kmers:6", "ab_initio", {}),
            ("network:probing-head-like", "ab_initio", quick(rate)),
            (DEMO, "probed", {"method": "linear"}),
            (DEMO, "probed", cnn),
            (DEMO, "finetuned", quick(1e-3)),
            (f"random:{DEMO}", "ab_initio", quick(1e-3)),
        ]

    # Another cell line's track in place of a model, on the rows that the others are tested on
    rows: dict[str, Any] = {"limit": SMALL_TEST_ROWS, "sample_seed": 0} if budget == "small" else {}
    beside: list[Trial] = [(f"track:{work}/lifted/{OTHER_CELL}.bw", "ab_initio", rows)]
    plan: list[tuple[str, str, Any, int | None, float]] = [
        ("cell-types", "cell_type_elements", cell_type_inputs, None, 2e-3),
        ("elements", "regulatory_elements", element_inputs, None, 1e-3),
        ("activity", "chromatin_activity", activity_inputs, WINDOW, 1e-3),
        ("dsqtl", "variant_effects", dsqtl_inputs, WINDOW, 1e-3),
    ]
    for name, task, inputs_of, window, rate in plan:
        cnn = {} if task == "variant_effects" else {"cache": output / "cache" / name}
        for model, setting, options in [*trials(rate, cnn), *(beside if name == "activity" else ())]:
            label = f"{name}-{Path(model).name}-{setting}-{options.get('method', '')}"
            if only in label:
                typer.echo(label)
                method = options.get("method")
                folder = output / (name if method is None else f"{name}-{method}")
                inputs = inputs_of(data, work)
                evaluate(model, task, setting, window=window, output=folder, **common, **inputs, **options)
    run_gue(data, output, trials(2e-3, {}), budget, only)


if __name__ == "__main__":
    run_function(real_supervised)
