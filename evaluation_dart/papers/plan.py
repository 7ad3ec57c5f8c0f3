"""What a user has for a paper's cells, models, inputs and arguments, and what is measured of each cell."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from datasets_dart.errors import InputError
from datasets_dart.files import shown
from datasets_dart.formats.documents import read_yaml_mapping
from evaluation_dart.papers.tables import Cell, Model, Paper, model_of

USUAL = "the recipe's model"
KEYS = ("models", "inputs", "arguments", "tables", "output")


@dataclass(frozen=True)
class Measured:
    """What is measured of a cell, in the cell's unit; without a value, `reason` says why.

    Attributes:
        low, high: of its 95 % interval, where it has one. n: rows. model: what was run. note: what sets it apart from
            the paper's. failed: whether it was tried, and failed. record: the folder of its record.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    model: str = ""
    note: str = ""
    reason: str = ""
    failed: bool = False
    record: str = ""


@dataclass(frozen=True)
class Plan:
    """What there is for the cells of a paper.

    Attributes:
        models: of each row's name. inputs: of each data set's name. lacking: why a data set has none. arguments: of all
            runs. tables: of which cells are tried; None: all. output: folder of all that is written.
    """

    models: Mapping[str, Model]
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lacking: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    tables: Sequence[str] | None = None
    output: Path = Path("results")

    def unavailable(self, cell: Cell) -> Measured | None:
        """Why a cell cannot be tried, where it cannot."""
        model, data = self.models[cell.row], cell.run.get("data")
        if self.tables is not None and cell.table not in self.tables:
            return Measured(reason="the table is left out")
        if model.missing:
            return Measured(reason=f"no model: {model.missing}")
        if data is not None and data not in self.inputs:
            reason = self.lacking.get(data, "no inputs are named for it")
            return Measured(model=model.name or "", note=model.note, reason=f"no data of {data}: {reason}")
        return None


def read_plan(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A plan's file: a mapping with models, inputs, arguments, tables and output.

    Raises:
        FileNotFoundError, InputError: naming the file.
    """
    content = read_yaml_mapping(path)
    if unknown := [name for name in content if name not in KEYS]:
        raise InputError(f"{path}: {unknown[0]} is none of {', '.join(KEYS)}")
    for name in KEYS[:3]:
        if not isinstance(content.get(name) or {}, dict):
            raise InputError(f"{path}: {name} is {shown(content[name])}, not a mapping")
    if not isinstance(content.get("output", ""), str) or not isinstance(content.get("tables", []), list):
        raise InputError(f"{path}: tables must be a list of names, and output the name of a folder")
    return content


def plan_of(
    paper: Paper,
    content: Mapping[str, Any],
    inputs_of: Callable[[str], Mapping[str, Any]] | None,
    output: str | os.PathLike[str],
) -> Plan:
    """A plan from what a file says.

    Args:
        inputs_of: what a folder of inputs has for a data set, where the file does not name its inputs. It raises
            InputError, OSError or ImportError saying why it has none.

    Raises:
        InputError: for a model or inputs of what the paper does not have.
    """
    datasets = list(dict.fromkeys(str(cell.run["data"]) for cell in paper.cells if "data" in cell.run))
    given = content.get("inputs") or {}
    check_names("inputs", given, datasets)
    inputs, lacking = {name: own for name, own in given.items() if own is not None}, {}
    for name in datasets:
        if name not in given and inputs_of is not None:
            try:
                inputs[name] = inputs_of(name)
            except (InputError, OSError, ImportError) as error:
                lacking[name] = " ".join(str(error).split())
    models, tables = chosen_models(paper, content.get("models") or {}), content.get("tables")
    check_names("tables", tables or (), [table.name for table in paper.tables])
    return Plan(models, inputs, lacking, content.get("arguments") or {}, tables, Path(output))


def chosen_models(paper: Paper, given: Mapping[str, Any]) -> dict[str, Model]:
    """The paper's models, the user's in their place: a name, a mapping, or None for none."""
    check_names("models", given, paper.models)
    chosen = dict(paper.models)
    for row, own in given.items():
        if own is None:
            chosen[row] = Model(missing="left out")
            continue
        if not isinstance(own, str | dict) or (isinstance(own, dict) and not own.keys() & {"model", "missing"}):
            raise InputError(f"model of {row} is {shown(own)}, not a name, or a mapping with model or missing")
        model = model_of(row, {"model": own} if isinstance(own, str) else own)
        if model.missing:
            chosen[row] = model
            continue
        usual = paper.models[row]
        note = model.note or f"in place of {usual.name or USUAL}"
        chosen[row] = replace(model, note=note, arguments={**usual.arguments, **model.arguments})
    return chosen


def check_names(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise InputError naming what the paper does not have."""
    known = list(known)
    if unknown := [name for name in given if name not in known]:
        raise InputError(f"{what}: {unknown[0]} is none of the paper's: {', '.join(known)}")


def measured_of(
    cell: Cell, metrics: Mapping[str, Mapping[str, Any]], model: Model, ran: str, record: Path | str
) -> Measured:
    """A cell's measured value from the metrics of the run that gives it."""
    name = str(cell.run["metric"])
    if name not in metrics:
        said = f"on these rows there is no {name}"
        return Measured(model=ran, note=model.note, reason=said, record=str(record))
    own = metrics[name]
    value, low, high = (None if own[key] is None else own[key] * cell.scale for key in ("value", "low", "high"))
    if value is None:
        return Measured(model=ran, note=model.note, n=own["n"], reason=f"{name} is not defined", record=str(record))
    return Measured(value, low, high, own["n"], ran, model.note, record=str(record))


def failures(measured: Sequence[Measured]) -> list[str]:
    """Why runs failed, each reason once."""
    return list(dict.fromkeys(own.reason for own in measured if own.failed))
