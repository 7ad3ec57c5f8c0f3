"""The cells of DART-Eval's tables, each by a run of the suite, one suite for each data set."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets_dart.errors import InputError
from datasets_dart.public import inputs_of, task_of
from evaluation_dart.papers.plan import Measured, Plan, measured_of
from evaluation_dart.papers.tables import Cell, Paper
from evaluation_dart.report.tables import sound_metrics
from evaluation_dart.spec import RunSpec
from evaluation_dart.suite import evaluate_specs, specifications
from evaluation_dart.tasks import SUPERVISED

PROTOCOL = "paper"  # unless the plan says another: what published values are of
TRAINED_ON = "chromatin_activity/GM12878"  # whose trainings score the variants
ACTIVITY = "chromatin_activity"
OF_TRAINING = ("method", "hyperparameters", "cache")  # arguments that other settings do not take


def inputs_from(folder: Path, data: str, protocol: str = PROTOCOL) -> dict[str, Any]:
    """The inputs of a data set from the folder of public inputs; of task 4, those of one cell line.

    Raises:
        InputError: saying which files lack.
    """
    task, _, cell = data.partition("/")
    if task != ACTIVITY:
        return inputs_of(data, folder, protocol)
    return of_cell(inputs_of(task, folder, protocol), cell)


def of_cell(inputs: Mapping[str, Any], cell: str) -> dict[str, Any]:
    """Inputs of one cell line, from those of several.

    Raises:
        InputError: where they have none of it.
    """
    own = {
        name: {cell: value[cell]} if isinstance(value, Mapping) else value
        for name, value in inputs.items()
        if not isinstance(value, Mapping) or cell in value
    }
    if "signal" not in own:
        raise InputError(f"no signal of {cell}, only of {', '.join(inputs['signal'])}")
    return own | {"cell_type": cell}


def measure_dart_eval(paper: Paper, plan: Plan) -> list[Measured]:
    """Run what there is for the paper's cells; one entry for each, in their order.

    Writes a suite for each data set to a folder of its name. What is recorded already is read.
    """
    found: dict[int, Measured] = {}
    runs: dict[str, dict[tuple[str, str], list[int]]] = {}
    for number, cell in enumerate(paper.cells):
        if unavailable := plan.unavailable(cell):
            found[number] = unavailable
        else:
            runs.setdefault(cell.run["data"], {}).setdefault((cell.row, cell.setting), []).append(number)
    for own in runs.values():
        found |= run_data(own, paper.cells, plan)
    return [found[number] for number in range(len(paper.cells))]


def run_data(runs: Mapping[tuple[str, str], list[int]], cells: list[Cell], plan: Plan) -> dict[int, Measured]:
    """Run a data set's models and settings; what is measured, by the number of the cell."""
    # Model by model, so that each is loaded once
    ordered = sorted(runs, key=lambda run: list(plan.models).index(run[0]))
    first = [cells[runs[run][0]] for run in ordered]
    suite = evaluate_specs([spec_of(cell, plan) for cell in first], plan.output / first[0].run["data"])
    records = {str(record.folder): record for record in suite.records}
    found = {}
    for run, row in zip(ordered, suite.table.to_pylist(), strict=False):  # after them come means over seeds
        model = plan.models[run[0]]
        for number in runs[run]:
            if row["record"] is None:
                found[number] = Measured(model=row["model"], note=model.note, reason=row["status"], failed=True)
            else:
                content = records[row["record"]].content
                found[number] = measured_of(cells[number], sound_metrics(content), model, row["model"], row["record"])
    return found


def spec_of(cell: Cell, plan: Plan) -> RunSpec:
    """The run that gives a cell."""
    model, data = plan.models[cell.row], str(cell.run["data"])
    trained = TRAINED_ON if task_of(data) == "variant_effects" else data
    arguments = {
        "protocol": PROTOCOL,
        "training": plan.output / "training" / trained,
        **model.arguments,
        **plan.arguments,
        "output": plan.output / data,
    }
    if cell.setting not in SUPERVISED:
        arguments = {name: value for name, value in arguments.items() if name not in OF_TRAINING}
    seeds = [int(arguments.pop("seed", 0))]
    assert model.name is not None
    (spec,) = specifications([model.name], {cell.run["task"]: plan.inputs[data]}, [cell.setting], seeds, arguments)
    return spec
