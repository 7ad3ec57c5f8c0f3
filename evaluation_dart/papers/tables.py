"""The published tables of a paper, cell by cell, from its YAML file beside this module, where the layout is told."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets_dart.errors import InputError
from datasets_dart.formats.documents import read_yaml_mapping

PAPERS = {"dart-eval": "dart_eval.yaml", "hyenadna": "hyenadna.yaml"}
UNSEEN = "?"
PRINTED = "printed"
# What a table, a group and a column may say of the run that gives a cell
RUN = ("task", "data", "metric", "program", "per_cent", "ratio", "arguments", "x", "series")


@dataclass(frozen=True)
class Model:
    """What a row of a table is a run of.

    Attributes:
        name: of the model; None: what its program takes by default. arguments: of its runs. note: what sets it apart
            from the paper's. missing: why there is none.
    """

    name: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    missing: str | None = None


@dataclass(frozen=True)
class Cell:
    """A cell of a published table.

    Attributes:
        published: None, where no number is at hand. source: of the number, a key of the paper's `sources`.
        run: what gives it here: `RUN`, as far as the table has it.
    """

    table: str
    setting: str
    row: str
    column: str
    published: float | None
    source: str
    run: Mapping[str, Any]

    @property
    def scale(self) -> float:
        """What a measured value is multiplied by."""
        return 100.0 if self.run.get("per_cent") else 1.0


@dataclass(frozen=True)
class Table:
    """A published table or figure.

    Attributes:
        printed: where the paper has it. axis, logarithmic: of its figure of lines. motifs: whether it also has a figure
            of the accuracies of motifs.
    """

    name: str
    title: str
    printed: str
    cells: tuple[Cell, ...]
    axis: str | None = None
    logarithmic: bool = False
    motifs: bool = False


@dataclass(frozen=True)
class Paper:
    """The published tables of a paper; models: of each row's name."""

    name: str
    citation: str
    sources: Mapping[str, str]
    models: Mapping[str, Model]
    tables: tuple[Table, ...]

    @property
    def cells(self) -> list[Cell]:
        """Of all tables."""
        return [cell for table in self.tables for cell in table.cells]


def read_paper(name: str) -> Paper:
    """The tables of a paper by its name.

    Raises:
        InputError: for an unknown name.
    """
    if name not in PAPERS:
        raise InputError(f"no paper {name!r}: there are {', '.join(PAPERS)}")
    content = read_yaml_mapping(Path(__file__).parent / PAPERS[name])
    models = {row: model_of(row, own) for row, own in content["models"].items()}
    tables = tuple(table_of(own, content.get("columns", {})) for own in content["tables"])
    return Paper(content["paper"], content["citation"], content["sources"], models, tables)


def model_of(row: str, own: Mapping[str, Any]) -> Model:
    """A model from its mapping.

    Raises:
        InputError: for a key that there is not.
    """
    known = {"model": "name", "arguments": "arguments", "note": "note", "missing": "missing"}
    if unknown := sorted(own.keys() - known.keys()):
        raise InputError(f"model of {row}: {unknown[0]} is none of {', '.join(known)}")
    return Model(**{known[key]: value for key, value in own.items()})


def table_of(own: Mapping[str, Any], columns: Mapping[str, Any]) -> Table:
    """A table from its mapping; columns: what several groups have, by name."""
    cells = tuple(cell for group in own["groups"] for cell in cells_of(own, group, columns))
    about = {key: own[key] for key in ("axis", "logarithmic", "motifs") if key in own}
    return Table(own["name"], own["title"], own.get("printed", own["name"]), cells, **about)


def cells_of(table: Mapping[str, Any], group: Mapping[str, Any], columns: Mapping[str, Any]) -> Iterator[Cell]:
    """The cells of a group, row by row, without those that the paper does not have."""
    own = group["columns"]
    chosen: Mapping[str, Any] = columns[own] if isinstance(own, str) else own
    for row, values in group["values"].items():
        for (column, run), value in zip(chosen.items(), values, strict=True):
            if value is not None:
                published, source = number_of(value)
                about = run_of((table, group, run))
                yield Cell(table["name"], group["setting"], row, column, published, source, about)


def number_of(value: Any) -> tuple[float | None, str]:
    """A published value, and which source it is of."""
    if value == UNSEEN:
        return None, ""
    if isinstance(value, dict):
        ((source, number),) = value.items()
        return float(number), source
    return float(value), PRINTED


def run_of(levels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the levels say of a run, the last first; arguments are put together."""
    said: dict[str, Any] = {}
    for level in levels:
        arguments = said.get("arguments", {}) | level.get("arguments", {})
        said |= {key: level[key] for key in RUN if key in level} | ({"arguments": arguments} if arguments else {})
    return said
