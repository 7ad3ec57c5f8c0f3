"""The cells of the HyenaDNA paper's tables, each by the program here that trains or measures it.

A run is kept in a folder of its own below runs/; a finished one is read, and one that was killed goes on.
"""

import io
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from datasets_dart.errors import InputError, MissingExtra
from datasets_dart.files import shown
from evaluation_dart.papers.plan import Measured, Plan, measured_of
from evaluation_dart.papers.tables import Cell, Paper
from evaluation_dart.records import RESULTS
from evaluation_dart.report.tables import sound_metrics
from evaluation_dart.training.recipe import Training
from trainer_scripts import finetune, in_context
from trainer_scripts.biotype_embeddings import biotype_embeddings
from trainer_scripts.prompts import NoRoom
from trainer_scripts.runtime import runtime

logger = logging.getLogger(__name__)

PROTOCOL = "paper"  # unless the plan says another: what published values are of
OURS = "HyenaDNA of 2 layers"  # whose run a ratio is over
GENOMES = ("*.fa", "*.fa.gz", "*.fasta")
ANNOTATIONS = ("*.gtf", "*.gtf.gz")
PLAN_ONLY = ("longest",)  # an argument of runtime


@dataclass(frozen=True)
class Ran:
    """What a run came to: metrics by name, or why there are none; model: what was run."""

    model: str
    metrics: Mapping[str, Mapping[str, Any]]
    folder: Path
    reason: str = ""
    failed: bool = False


def inputs_from(folder: Path, data: str) -> dict[str, Any]:
    """A family's inputs: the subfolder of its name, and the genome, a FASTA in `folder` itself.

    Raises:
        InputError: saying what is not there.
    """
    own = folder / data
    if not own.is_dir():
        raise InputError(f"{own} is not there")
    genome = first_of(folder, GENOMES)
    if data == "biotypes":
        annotation = first_of(own, ANNOTATIONS)
        if annotation is None or genome is None:
            raise InputError(f"{own} has no {' or '.join(ANNOTATIONS)}, or {folder} no {' or '.join(GENOMES)}")
        return {"annotation": str(annotation), "genome": str(genome)}
    return {"data": str(own)} | ({} if genome is None or data == "species" else {"genome": str(genome)})


def first_of(folder: Path, patterns: tuple[str, ...]) -> Path | None:
    """The first file of a folder by pattern and name."""
    return next((path for pattern in patterns for path in sorted(folder.glob(pattern))), None)


def measure_hyenadna(paper: Paper, plan: Plan) -> list[Measured]:
    """Run what there is for the paper's cells; one entry for each, in their order.

    Raises:
        InputError: for an argument that no program has.
    """
    check_arguments(plan)
    done: dict[Path, Ran] = {}
    measured = []
    for cell in paper.cells:
        unavailable = plan.unavailable(cell)
        measured.append(unavailable or measured_cell(cell, plan, done))
    return measured


def check_arguments(plan: Plan) -> None:
    """Raise InputError naming an argument that no program has."""
    kinds = (*finetune.ARGUMENTS, in_context.InContextArguments, Training)
    known = {own.name for kind in kinds for own in fields(kind)} | {*PLAN_ONLY} - {"output", "task"}
    every = [plan.arguments, *(model.arguments for model in plan.models.values())]
    if unknown := [name for own in every for name in own if name not in known]:
        raise InputError(f"{unknown[0]} is not an argument of the programs of the HyenaDNA paper's tables")


def measured_cell(cell: Cell, plan: Plan, done: dict[Path, Ran]) -> Measured:
    """What a cell's run comes to; done: the runs so far, by their folder."""
    model = plan.models[cell.row]
    ran = run_once(cell, plan, done)
    if cell.run.get("ratio"):
        return ratio(cell, ran, run_once(replace(cell, row=OURS), plan, done), model.note)
    if ran.reason:
        return Measured(model=ran.model, note=model.note, reason=ran.reason, failed=ran.failed)
    return measured_of(cell, ran.metrics, model, ran.model, ran.folder)


def ratio(cell: Cell, ran: Ran, ours: Ran, note: str) -> Measured:
    """A run over HyenaDNA's of the same column; the interval's ends are those of the two, at their furthest."""
    if ran.reason or ours.reason:
        return Measured(model=ran.model, note=note, reason=ran.reason or ours.reason, failed=False)
    theirs, own = (run.metrics[cell.run["metric"]] for run in (ran, ours))
    low, high = theirs["low"] / own["high"], theirs["high"] / own["low"]
    return Measured(theirs["value"] / own["value"], low, high, own["n"], ran.model, note, record=str(ran.folder))


def run_once(cell: Cell, plan: Plan, done: dict[Path, Ran]) -> Ran:
    """A cell's run, unless it has been run for another cell."""
    folder = folder_of(cell, plan)
    if folder not in done:
        logger.info("%s, %s, %s: %s", cell.table, cell.setting, cell.column, cell.row)
        done[folder] = run_cell(cell, plan, folder)
    return done[folder]


def folder_of(cell: Cell, plan: Plan) -> Path:
    """Where a cell's run is kept: by program, task, row, and what the table says of it."""
    own = [f"{name}={value}" for name, value in cell.run.get("arguments", {}).items()]
    task = cell.run.get("task", cell.run.get("data", ""))
    parts = [cell.run["program"], *task.split("/"), cell.row, ",".join(own)]
    return plan.output.joinpath("runs", *(part.replace("/", "__").replace(" ", "-") for part in parts if part))


def run_cell(cell: Cell, plan: Plan, folder: Path) -> Ran:
    """Run a cell; a fault of its input is its reason."""
    usual = plan.models[cell.row].name or ""
    try:
        return PROGRAMS[cell.run["program"]](cell, plan, folder)
    except NoRoom as error:  # a cell that this model cannot have
        return Ran(usual, {}, folder, reason=str(error))
    except (InputError, MissingExtra, OSError) as error:
        return Ran(usual, {}, folder, reason=" ".join(str(error).split()), failed=True)
    except SystemExit as error:  # of a parser, which has said why
        raise InputError(f"{cell.table}, {cell.row}: the program does not take these arguments") from error


def words_of(arguments: Mapping[str, Any]) -> list[str]:
    """Arguments as a command line has them."""
    words = []
    for name, value in arguments.items():
        own = [f"{key}={path}" for key, path in value.items()] if isinstance(value, Mapping) else value
        texts = [str(word) for word in (own if isinstance(own, list) else [own])]
        words += [f"--{name}", *(text.lower() if isinstance(value, bool) else text for text in texts)]
    return words


def line_of(cell: Cell, plan: Plan, folder: Path) -> list[str]:
    """The command line of a cell's training."""
    model = plan.models[cell.row]
    named = {} if model.name is None else {"model": model.name}
    general = {name: value for name, value in plan.arguments.items() if name not in PLAN_ONLY}
    arguments = {
        "protocol": PROTOCOL,
        **plan.inputs[cell.run["data"]],
        **named,
        **cell.run.get("arguments", {}),
        **model.arguments,
        **general,
        "task": cell.run["task"],
        "output": str(folder),
    }
    return words_of(arguments)


def of_record(record: Mapping[str, Any], folder: Path, named: str | None) -> Ran:
    """A run from its record."""
    return Ran(named or record["model"]["id"], sound_metrics(record), folder)


def finetuned(cell: Cell, plan: Plan, folder: Path) -> Ran:
    """A fine-tuning, or a baseline on the same rows."""
    return of_record(finetune.train(line_of(cell, plan, folder)), folder, plan.models[cell.row].name)


def asked_in_context(cell: Cell, plan: Plan, folder: Path) -> Ran:
    """Soft prompts, or shots."""
    record = in_context.in_context(*in_context.parse(line_of(cell, plan, folder)))
    return of_record(record, folder, plan.models[cell.row].name)


def biotypes(cell: Cell, plan: Plan, folder: Path) -> Ran:
    """Embeddings of genes."""
    model, inputs = plan.models[cell.row], plan.inputs[cell.run["data"]]
    name = model.name or "LongSafari/hyenadna-medium-160k-seqlen-hf"
    options = {key: plan.arguments[key] for key in ("device", "trust_remote_code") if key in plan.arguments}
    with redirect_stdout(io.StringIO()):
        biotype_embeddings(**inputs, **options, **model.arguments, model=name, output=folder)
    record = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    return Ran(name, record["metrics"], folder)


def timed(cell: Cell, plan: Plan, folder: Path) -> Ran:
    """A pass forwards and backwards, no longer than the plan's `longest`."""
    length, longest = cell.run["arguments"]["length"], plan.arguments.get("longest")
    if longest is not None and (not isinstance(longest, int) or longest < 1):
        raise InputError(f"longest is {shown(longest)}, not a number of tokens")
    if longest is not None and length > longest:
        return Ran(cell.row, {}, folder, reason=f"longer than the {longest:,} tokens that the plan measures")
    try:
        options = {name: plan.arguments[name] for name in ("device", "overwrite") if name in plan.arguments}
        record = runtime(cell.row, length, folder / "runtime.json", **options)
    except (MemoryError, RuntimeError) as error:
        said = "not enough memory" if "memory" in str(error) or isinstance(error, MemoryError) else str(error)
        return Ran(cell.row, {}, folder, reason=said, failed=True)
    return Ran(f"{cell.row} on {record['device']}", record["metrics"], folder)


PROGRAMS: dict[str, Callable[[Cell, Plan, Path], Ran]] = {
    "finetune": finetuned,
    "in_context": asked_in_context,
    "biotype_embeddings": biotypes,
    "runtime": timed,
}
