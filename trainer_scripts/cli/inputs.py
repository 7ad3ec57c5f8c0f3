"""The inputs of all tasks as options of a command, made from what the tasks' builders declare when they are needed."""

import inspect
import os
from collections import defaultdict
from dataclasses import Field
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand

from datasets_dart.errors import InputError

SHARED = "Inputs of several tasks"


class Inputs(NamedTuple):
    """Inputs and options of all tasks."""

    options: tuple[Any, ...]  # parameters of a command
    files: frozenset[str]  # names of those that may be several files


@lru_cache(maxsize=1)
def inputs() -> Inputs:
    """A parameter for each input or option of any task, in panels by task."""
    from datasets_dart import BUILDERS

    fields: dict[str, dict[str, Field[Any]]] = defaultdict(dict)
    for task, builder in BUILDERS.items():
        for name, field in builder.BUILDER_CONFIG_CLASS.inputs().items():
            fields[name][task] = field
    parameters, files = [], set()
    for name, owners in sorted(fields.items(), key=lambda item: (len(item[1]) == 1, list(item[1]))):
        field = next(iter(owners.values()))
        kind: Any = list[str] if field.metadata["several"] else int if field.type is int else str
        text = "; or ".join(dict.fromkeys(owner.metadata["help"] for owner in owners.values()))
        if field.metadata["several"] and field.metadata["file"]:
            files.add(name)
            text += ": a file, or NAME=FILE of each"
        panel = SHARED if len(owners) > 1 else f"Inputs of {next(iter(owners))}"
        annotation = Annotated[kind | None, typer.Option(help=text, rich_help_panel=panel)]
        place = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters.append(inspect.Parameter(name, place, default=None, annotation=annotation))

    def command(**given: Any) -> None:
        """What typer makes parameters from."""

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    app = typer.Typer(add_completion=False)
    app.command()(command)
    return Inputs(tuple(typer.main.get_command(app).params), frozenset(files))


class InputsCommand(TyperCommand):
    """A command that also takes the inputs of every task; its function finds those that are given in `ctx.obj`."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The command's parameters with those of the task's inputs ahead of --help."""
        own = super().get_params(ctx)
        return [*own[:-1], *inputs().options, *own[-1:]]  # the last is --help

    def invoke(self, ctx: Any) -> Any:
        """Run the command, the input files gathered in one argument."""
        options, files = inputs()
        given = {option.name: ctx.params.pop(option.name) for option in options}
        ctx.obj = {name: by_name(value) if name in files else value for name, value in given.items() if value}
        return super().invoke(ctx)


def by_name(words: list[str] | tuple[str, ...]) -> Any:
    """A single file, several, or NAME=FILE of each as a dict.

    Raises ValueError where only some have a name.
    """
    parts = [("", "", word) if os.path.exists(word) else word.rpartition("=") for word in words]
    named = {name: path for name, mark, path in parts if mark}
    if named and not all(mark for _, mark, _ in parts):
        raise InputError(f"{' '.join(words)}: NAME=FILE for all of them, or for none")
    return named or (words[0] if len(words) == 1 else list(words))
