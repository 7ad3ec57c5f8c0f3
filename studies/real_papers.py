"""The two papers' tables on a folder of real data that is not the papers' (docs/paper_tables.md), with small models.

    python -m studies.real_papers --data real-data --output results/real_papers

Writes each paper's plan, runs `dart-eval suite --paper` with it, and writes the page's tables. What is recorded already
is read; what was killed goes on.
"""

import csv
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from datasets_dart.errors import InputError
from datasets_dart.files import write_text
from evaluation_dart.papers.tables import PAPERS, read_paper
from evaluation_dart.report.papers import counts, texts_of
from studies.pages import DOCS, markdown, put
from studies.real_downstream import genomic_benchmarks_folder
from studies.real_inputs import (
    ACTIVITY_CELLS,
    CHR22,
    DEMO,
    WINDOW,
    dsqtl_inputs,
    genome,
    lifted_activity_inputs,
    motif_inputs,
    write_lines,
)
from studies.real_supervised import blocks, cell_type_inputs, element_inputs
from trainer_scripts.messages import run_function

PAGE = DOCS / "paper_tables.md"
NOTE = "demo checkpoint, trained here on a part of chrX: not the official weights"
NO_WEIGHTS = {"missing": "its weights are not at hand"}
TOO_LONG = {"missing": "it was not trained in this try, for time"}
SMALL = {"budget": "small", "device": "cpu"}
LONGEST = 4_096  # tokens that are timed
HYENADNA_TABLES = ["Table 4.1", "Table A.4", "Table 4.2", "Table 4.3", "Table 4.5", "Section 4.4.2", "Figure 4.1"]
BACKGROUNDS = 2
# Of the lines of a table for people, what the page shows
HEADER = ("table", "setting", "row", "column", "published", "measured", "difference", "n")
NUMBERS = ("published", "measured", "low", "high", "difference", "difference_low", "difference_high")


def in_text(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Paths as text, in mappings too."""
    return {
        name: {key: str(path) for key, path in own.items()} if isinstance(own, Mapping) else str(own)
        for name, own in inputs.items()
    }


def dart_eval_plan(data: Path, work: Path) -> dict[str, Any]:
    """Stand-ins for the data of each task; docs/real_data.md and docs/real_supervised.md say what they are."""
    lifted = lifted_activity_inputs(data, work)
    chr22 = str(write_lines(work / "chr22.bed", blocks("chr22", CHR22, "tve")))
    inputs: dict[str, Any] = {
        "regulatory_elements": in_text(element_inputs(data, work)),
        "motif_footprinting": few_backgrounds(in_text(motif_inputs(data, work)), work),
        "cell_type_elements": in_text(cell_type_inputs(data, work)),
        "variant_effects/dsQTLs": in_text(dsqtl_inputs(data, work)) | {"window": WINDOW},
    }
    for cell in ACTIVITY_CELLS[1:]:  # the one whose training scores the variants
        own = {name: {cell: paths[cell]} if isinstance(paths, dict) else paths for name, paths in lifted.items()}
        more = {"cell_type": cell, "splits": chr22, "window": WINDOW}
        inputs[f"chromatin_activity/{cell}"] = in_text(own) | more
    known = read_paper("dart-eval").models
    models: dict[str, Any] = {row: dict(NO_WEIGHTS) for row, model in known.items() if "/" in (model.name or "")}
    models["HyenaDNA"] = {"model": DEMO, "note": NOTE}
    models |= {row: dict(TOO_LONG) for row in ("ChromBPNet-like", "ChromBPNet")}
    for name in inputs.keys() - {"motif_footprinting"}:  # of which a row is worth nothing without its others
        inputs[name] |= {"limit": 1000, "sample_seed": 0}
    return {"models": models, "inputs": inputs, "arguments": dict(SMALL)}


def few_backgrounds(inputs: dict[str, Any], work: Path) -> dict[str, Any]:
    """Task 2 on the first of its backgrounds only."""
    lines = Path(inputs["backgrounds"]).read_text(encoding="utf-8").splitlines()[:BACKGROUNDS]
    return inputs | {"backgrounds": str(write_lines(work / "few_backgrounds.txt", lines))}


def hyenadna_plan(data: Path, work: Path) -> dict[str, Any]:
    """GenomicBenchmarks' rows of chr20 and chr22; of the other families nothing is at hand."""
    folder = genomic_benchmarks_folder(data, work)
    inputs = {"genomic_benchmarks": {"data": str(folder), "genome": str(genome(data, work))}}
    ours = {"model": DEMO, "note": NOTE}
    scratch = {"model": DEMO, "note": "the demo checkpoint's architecture, of random weights"}
    models = {"HyenaDNA": ours, "HyenaDNA from scratch": scratch, "HyenaDNA in context": dict(ours)}
    arguments = {**SMALL, "num_train_epochs": 1, "longest": LONGEST}
    return {"models": models, "inputs": inputs, "arguments": arguments, "tables": HYENADNA_TABLES}


PLANS = {"dart-eval": dart_eval_plan, "hyenadna": hyenadna_plan}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a tables.csv."""
    with path.open(newline="", encoding="utf-8") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    for row in rows:
        row |= {name: float(row[name]) if row[name] else None for name in NUMBERS}
        row["n"] = int(row["n"]) if row["n"] else None
    return rows


def page_of(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The cells that are measured, and how many of the others lack what."""
    yield f"{counts(rows)}."
    yield ""
    measured = [row for row in rows if row["measured"] is not None]
    yield from markdown(HEADER, [[row["table"], *texts_of(row)[:-1]] for row in measured])
    yield from ("", "What was run:", "")
    ran = dict.fromkeys((row["row"], row["model"], row["note"]) for row in measured)
    yield from (f"- {row}: {model}{', ' if note else ''}{note}" for row, model, note in ran)
    yield from ("", "Cells without a number, by the reason:", "")
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row["measured"] is None:
            reasons.setdefault(row["reason"], []).append(f"{row['table']}, {row['row']}")
    for reason, cells in reasons.items():
        yield f"- {len(cells)}: {reason} ({'; '.join(dict.fromkeys(cells))})"


def real_papers(
    data: Annotated[Path, typer.Option(help="folder with genomes/, intervals/, motifs/ and variants/")],
    output: Annotated[Path, typer.Option(help="folder of records")] = Path("results/real_papers"),
    paper: Annotated[str | None, typer.Option(help=f"only this one: {' or '.join(PAPERS)}")] = None,
    tables: Annotated[list[str] | None, typer.Option(help="only these tables")] = None,
    write: Annotated[bool, typer.Option("--write", help="only write the page, of what has been run")] = False,
) -> None:
    """Run both suites, and write docs/paper_tables.md.

    python -m studies.real_papers --data real-data
    """
    if paper not in (None, *PLANS):
        raise InputError(f"--paper {paper}: {' or '.join(PLANS)}")
    for name in PLANS if paper is None and not write else [paper] if paper else []:
        plan = PLANS[name](data, output / "inputs") | ({"tables": tables} if tables else {})
        path = output / f"{name}.yaml"
        write_text(path, yaml.safe_dump(plan, sort_keys=False))
        line = [sys.executable, "-m", "trainer_scripts.dart_eval", "suite", "--paper", name]
        subprocess.run([*line, "--config", str(path), "--output", str(output / name)], check=False)
    if write:
        parts = [[f"## {name}", "", *page_of(read_rows(output / name / "tables.csv"))] for name in PLANS]
        text = "\n".join(line for part in parts for line in [*part, ""])
        put(PAGE, text.replace(f"{output}/", ""))


if __name__ == "__main__":
    run_function(real_papers)
