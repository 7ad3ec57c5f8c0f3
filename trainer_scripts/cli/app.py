"""What all commands share: how they are run, what they print where, and the options that every one of them takes.

Command modules import nothing heavy, so that help and completion take no time: libraries come within the functions.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Any

import typer

from datasets_dart.errors import InputError
from trainer_scripts.options import renamed, run
from trainer_scripts.pipes import as_given

PACKAGES = ("datasets_dart", "datasets_hyenadna", "evaluation_dart", "modeling_hyenadna", "trainer_scripts")


@dataclass
class General:
    """What the options of every command say."""

    quiet: bool = False
    json: bool = False


GENERAL = General()


class Notes(logging.Handler):
    """Messages of our packages as plain lines on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        say(as_given(record.getMessage()))


def say(text: str) -> None:
    """Write a note for people to standard error, unless `--quiet`."""
    if not GENERAL.quiet:
        print(text, file=sys.stderr)


def result(found: Any, text: str) -> None:
    """Write what a command found to standard output: `text`, or with `--json` `found` as JSON."""
    print(json.dumps(found, indent=1, default=str) if GENERAL.json else text)


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
        quiet: Annotated[bool, typer.Option("--quiet", help="no progress bars and no notes")] = False,
        json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
    ) -> None:
        GENERAL.quiet, GENERAL.json = quiet, json
        if quiet:
            os.environ |= dict.fromkeys(("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS"), "1")

    for command in commands:
        app.command()(command)
    return app


def run_app(app: typer.Typer, prog: str) -> None:
    """Run a group of commands on the words of the process; see [`trainer_scripts.options.run`] for its exit status."""

    def main(words: list[str]) -> None:
        first = [word for word in words if word in ("--quiet", "--json")]
        rest = [word for word in words if word not in first]
        app(args=renamed([*first, *rest], " ".join([prog, *rest[:1]])), prog_name=prog)

    notes = Notes()
    for name in PACKAGES:
        logging.getLogger(name).addHandler(notes)
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        run(main, prog)
    finally:
        for name in PACKAGES:
            logging.getLogger(name).removeHandler(notes)
