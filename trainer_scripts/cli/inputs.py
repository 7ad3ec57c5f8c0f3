"""The inputs of all tasks as options of a command, made from what the tasks' builders declare when they are needed."""

import inspect
import os
from collections import defaultdict
from functools import lru_cache
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from datasets_dart.errors import InputError

PANEL = "Inputs of several tasks"


@lru_cache(maxsize=1)
def input_options() -> tuple[Any, ...]:
    """Parameters of a command, one for each input or option of any task, in panels by task."""
    from datasets_dart import BUILDERS

    tasks: dict[str, list[str]] = defaultdict(list)
    helps: dict[str, list[str]] = defaultdict(list)
    kinds: dict[str, Any] = {}
    for task, builder in BUILDERS.items():
        for name, field in builder.BUILDER_CONFIG_CLASS.inputs().items():
            tasks[name].append(task)
            helps[name].append(field.metadata["help"])
            kinds.setdefault(name, list[str] if field.metadata["several"] else int if field.type is int else str)
    parameters = []
    for name in sorted(tasks, key=lambda name: (len(tasks[name]) == 1, tasks[name])):
        panel = PANEL if len(tasks[name]) > 1 else f"Inputs of {tasks[name][0]}"
        text = "; or ".join(dict.fromkeys(helps[name])) + (": NAME=FILE of each" if kinds[name] == list[str] else "")
        annotation = Annotated[kinds[name] | None, typer.Option(help=text, rich_help_panel=panel, show_default=False)]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters.append(inspect.Parameter(name, kind, default=None, annotation=annotation))

    def command(**inputs: Any) -> None:
        """What typer makes parameters from."""

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app = typer.Typer(add_completion=False)
    app.command()(command)
    return tuple(typer.main.get_command(app).params)


class InputsCommand(TyperCommand):
    """A command that also takes the inputs of every task; its function finds those that are given in `ctx.obj`."""

    def get_params(self, ctx: Any) -> list[Any]:
        own = super().get_params(ctx)
        return [*own[:-1], *input_options(), *own[-1:]]  # the last is --help

    def invoke(self, ctx: Any) -> Any:
        given = {option.name: ctx.params.pop(option.name) for option in input_options()}
        ctx.obj = {
            name: by_name(value) if isinstance(value, list | tuple) else value for name, value in given.items() if value
        }
        return super().invoke(ctx)


def by_name(words: list[str] | tuple[str, ...]) -> Any:
    """A single file, several, or NAME=FILE of each as a dict.

    Raises ValueError where only some have a name.
    """
    parts = [("", "", word) if os.path.exists(word) else word.rpartition("=") for word in words]
    named = [bool(mark) for _, mark, _ in parts]
    if not words:
        return None
    if any(named) and not all(named):
        raise InputError(f"{' '.join(words)}: NAME=FILE for all of them, or for none")
    if any(named):
        return {name: path for name, _, path in parts}
    return words[0] if len(words) == 1 else list(words)
