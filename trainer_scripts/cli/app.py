"""What all commands share: how they are run, and the options that every one of them takes.

Command modules import nothing heavy, so that help and completion take no time: libraries come within the functions.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from datasets_dart.errors import InputError
from trainer_scripts.messages import GENERAL, run_with_messages
from trainer_scripts.options import ABOUT, LOG_FILE, QUIET, renamed

JSON = "--json"


def show_version(wanted: bool) -> None:
    """Print the package's version, and leave."""
    if wanted:
        print(version("hyenadna-dart"))
        raise typer.Exit


@contextmanager
def checking() -> Iterator[None]:
    """Take a ValueError as a fault of the input: modeling_hyenadna, which knows nothing of us, raises no other."""
    try:
        yield
    except ValueError as error:
        raise InputError(str(error)) from error


def new_app(about: str, *commands: Callable[..., None]) -> typer.Typer:
    """A group of commands, under their functions' names, with the options of every command."""
    app = typer.Typer(
        help=f"{about}\n\nThe options below may also follow a command.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def general(
        version: Annotated[
            bool, typer.Option("--version", help="print the version", callback=show_version, is_eager=True)
        ] = False,
        debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
        quiet: Annotated[bool, typer.Option(QUIET, help=ABOUT[QUIET])] = False,
        log_file: Annotated[Path | None, typer.Option(LOG_FILE, help=ABOUT[LOG_FILE])] = None,
        json: Annotated[bool, typer.Option(JSON, help="print the result as JSON")] = False,
    ) -> None:
        GENERAL.json = json  # the two before have had their effect (trainer_scripts/messages.py)

    for command in commands:
        app.command()(command)
    return app


def run_app(app: typer.Typer, prog: str) -> None:
    """Run a group of commands on the words of the process; see [`trainer_scripts.options.run`] for its exit status."""

    def main(words: list[str]) -> None:
        first, rest = [word for word in words if word == JSON], [word for word in words if word != JSON]
        app(args=renamed([*first, *rest], " ".join([prog, *rest[:1]])), prog_name=prog)

    run_with_messages(main, prog)
