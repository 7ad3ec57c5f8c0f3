"""A grid of in-context learning (paper section 4.4.1): soft prompts by shots, or shots by rows of instruction tuning.

    python -m trainer_scripts.in_context_grid --method soft_prompt --data gb/datasets --genome hg38.fa \\
        --model LongSafari/hyenadna-medium-160k-seqlen-hf --output runs/soft
    python -m trainer_scripts.in_context_grid --method few_shot --data gb/datasets --genome hg38.fa \\
        --model LongSafari/hyenadna-medium-160k-seqlen-hf --output runs/shots

Every cell is a run of trainer_scripts.in_context, in a folder of its own below the output, with its record; options
that are not of the grid are passed on to each. The same line resumes a grid that was killed: finished cells are read,
the one that was begun goes on. After each cell, grid.csv (a row a cell, with intervals) and grid.md (a table a task)
are brought up to date. A cell whose prompts are longer than the model reads, or that asks for more shots than there
are rows, is named as such in both.

Without other numbers, these are the original's: 0 to 32,768 vectors without shots; 0, 2, 16 and 32 shots of each class
after 2, 16, 64 and 256 rows of tuning.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers.utils import logging

from datasets_dart.errors import InputError
from datasets_dart.files import write_text
from evaluation_dart.statistics.metric import ends_text
from trainer_scripts import in_context
from trainer_scripts.messages import run_script
from trainer_scripts.options import argument_parser
from trainer_scripts.prompts import NoRoom

SHORT = ("human_enhancers_cohn", "human_nontata_promoters", "human_enhancers_ensembl", "human_ensembl_regulatory")
TASKS = {
    "soft_prompt": ("dummy_mouse_enhancers_ensembl", *SHORT, "human_ocr_ensembl"),
    "few_shot": (*SHORT, "human_ocr_ensembl"),
}
# What a method's cells differ by: the columns of its tables, and the rows
AXES = {
    "soft_prompt": {"virtual_tokens": [0, 2, 32, 128, 512, 2048, 8192, 32768], "shots": [0]},
    "few_shot": {"tuning_rows": [2, 16, 64, 256], "shots": [0, 2, 16, 32]},
}
NAMES = {"virtual_tokens": "soft tokens", "tuning_rows": "rows of tuning", "shots": "shots of a class"}
CELL = ("task", "method", "virtual_tokens", "tuning_rows", "shots", "seed")
FOUND = ("model", "n", "accuracy", "low", "high", "interval", "calls_of_no_class", "steps", "why_not")
OF_GRID = ("--task", "--output", "--seed")


@dataclass
class GridArguments:
    """Which cells."""

    method: str = field(metadata={"help": " or ".join(AXES)})
    output: str = field(metadata={"help": "folder for the cells, grid.csv and grid.md"})
    tasks: list[str] = field(
        default_factory=list, metadata={"help": "FAMILY/NAME, as of in_context; default: the paper's"}
    )
    virtual_tokens: list[int] = field(default_factory=list, metadata={"help": "soft_prompt: numbers of vectors"})
    shots: list[int] = field(default_factory=list, metadata={"help": "numbers of examples of each class"})
    tuning_rows: list[int] = field(default_factory=list, metadata={"help": "few_shot: numbers of prompts to tune on"})
    seeds: list[int] = field(default_factory=list, metadata={"help": "runs of each cell; default: the recipe's"})

    def __post_init__(self) -> None:
        if self.method not in AXES:
            raise InputError(f"--method {self.method}: {' or '.join(AXES)}")
        for name in {"virtual_tokens", "tuning_rows"} - AXES[self.method].keys():
            if getattr(self, name):
                raise InputError(f"--{name} is not of --method {self.method}")

    def axis(self, name: str) -> list[int]:
        """The numbers along one side of the grid."""
        given: list[int] = getattr(self, name)
        return given or AXES[self.method][name]


Cell = dict[str, Any]


def cells(arguments: GridArguments) -> list[Cell]:
    """Every cell, in the order in which they are run: task by task, shots, and then vectors or rows of tuning."""
    tasks = arguments.tasks or [f"genomic_benchmarks/{name}" for name in TASKS[arguments.method]]
    across, down = AXES[arguments.method]
    seeds: list[int | None] = [*arguments.seeds] or [None]
    return [
        {"task": task, "method": arguments.method, down: row, across: column, "seed": seed}
        for task, row, column, seed in product(tasks, arguments.axis(down), arguments.axis(across), seeds)
    ]


def cell_folder(output: Path, cell: Cell) -> Path:
    """Where a cell is kept: TASK/shots=2,virtual_tokens=32, and the seed if there are several."""
    chosen = [f"{name}={cell[name]}" for name in sorted(cell.keys() - {"task", "method"}) if cell[name] is not None]
    return output / str(cell["task"]).replace("/", "__") / ",".join(chosen)


def run_cell(output: Path, cell: Cell, words: Sequence[str]) -> dict[str, Any]:
    """What came of a cell: its numbers, or why it cannot be."""
    options = [word for name, value in cell.items() if value is not None for word in (f"--{name}", str(value))]
    try:
        record = in_context.in_context(
            *in_context.parse([*words, *options, "--output", str(cell_folder(output, cell))])
        )
    except NoRoom as error:
        return {**cell, "why_not": str(error)}
    accuracy = record["metrics"]["accuracy"]
    return {
        **cell,
        "model": record["model"]["id"],
        "n": accuracy["n"],
        "accuracy": accuracy["value"],
        "low": accuracy["low"],
        "high": accuracy["high"],
        "interval": accuracy["method"],
        "calls_of_no_class": record["calls_of_no_class"],
        "steps": record["steps"],
    }


def table(found: Sequence[dict[str, Any]]) -> str:
    """grid.csv."""
    text = io.StringIO()
    writer = csv.DictWriter(text, (*CELL, *FOUND), lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue()


def page(found: Sequence[dict[str, Any]], method: str) -> str:
    """grid.md: a table for each task and seed, accuracy with its 95 % interval."""
    across, down = AXES[method]
    model = next((own["model"] for own in found if "model" in own), None)
    lines = [f"# In context: {method}" + (f" of {model}" if model else ""), ""]
    for task, seed in dict.fromkeys((own["task"], own["seed"]) for own in found):
        of_task = [own for own in found if (own["task"], own["seed"]) == (task, seed)]
        columns, rows = (sorted({own[name] for own in of_task}) for name in (across, down))
        lines += [f"## {task}" + ("" if seed is None else f", seed {seed}"), ""]
        lines += [f"| {NAMES[down]} | " + " | ".join(f"{column} {NAMES[across]}" for column in columns) + " |"]
        lines += ["| ---: |" + " ---: |" * len(columns)]
        for row in rows:
            of_row = {own[across]: own for own in of_task if own[down] == row}
            lines.append(f"| {row} | " + " | ".join(cell_text(of_row.get(column)) for column in columns) + " |")
        lines.append("")
    whys = dict.fromkeys(own["why_not"] for own in found if own.get("why_not"))
    return "\n".join([*lines, *(f"Not run: {why}." for why in whys)]).rstrip("\n") + "\n"


def cell_text(found: dict[str, Any] | None) -> str:
    """A cell's accuracy as text."""
    if found is None:
        return "to come"
    return "–" if found.get("why_not") else f"{found['accuracy']:.3f}{ends_text(found)}"


def grid(arguments: GridArguments, words: Sequence[str]) -> list[dict[str, Any]]:
    """Run every cell that is not finished, and write the tables after each.

    Args:
        words: options of `in_context` for all cells.

    Raises:
        InputError: for an option that the grid chooses, or whatever a cell raises but for want of room.
    """
    if own := next((word for word in words if word.partition("=")[0] in OF_GRID), None):
        raise InputError(f"{own} is of one run: a grid has --tasks, --output and --seeds")
    output = Path(arguments.output)
    found: list[dict[str, Any]] = []
    for cell in cells(arguments):
        found.append(run_cell(output, cell, words))
        if PartialState().is_main_process:
            output.mkdir(parents=True, exist_ok=True)
            write_text(output / "grid.csv", table(found))
            write_text(output / "grid.md", page(found, arguments.method))
    return found


def main() -> None:
    """Run the command line."""
    parser = argument_parser((GridArguments,), "in_context_grid", __doc__)

    def program(words: list[str]) -> None:
        logging.disable_progress_bar()
        arguments, rest = parser.parse_args_into_dataclasses(words, return_remaining_strings=True)
        found = grid(arguments, rest)
        if PartialState().is_main_process:
            print(f"{len(found)} cells, {sum('why_not' in own for own in found)} without room")
            print(f"written to {arguments.output}/grid.csv and {arguments.output}/grid.md")

    run_script(program, "in_context_grid", "in_context")


if __name__ == "__main__":
    main()
