"""What all commands share: how they are run, what they print where, and the options that every one of them takes.

Command modules import nothing heavy, so that help and completion take no time: libraries come within the functions.
"""

import json
import logging
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice, pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from datasets_dart.errors import InputError
from trainer_scripts.options import EXPECTED, renamed, run
from trainer_scripts.pipes import as_given

PACKAGES = ("datasets_dart", "datasets_hyenadna", "evaluation_dart", "modeling_hyenadna", "trainer_scripts")
LOG_FILE = "--log-file"
PROGRESS = "datasets_dart.progress"  # the logger of lines that stand in for a bar


@dataclass
class General:
    """What the options of every command say."""

    quiet: bool = False
    json: bool = False
    log: "LogFile | None" = None


GENERAL = General()


class Notes(logging.Handler):
    """Messages of our packages as plain lines on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message; those of progress only in place of a bar."""
        from datasets_dart.progress import is_shown

        if record.name != PROGRESS or not is_shown():
            show(as_given(record.getMessage()))


class LogFile(logging.FileHandler):
    """Messages with their times at the end of a file, which takes those of one run after another."""

    def __init__(self, path: Path):
        check_log(path)
        super().__init__(path, encoding="utf-8")
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))

    def format(self, record: logging.LogRecord) -> str:
        """One line, or with a traceback several."""
        return as_given(super().format(record))

    def write(self, level: int, text: str, **more: Any) -> None:
        """Write a line that is no message of a logger."""
        self.handle(logging.LogRecord(__name__, level, "", 0, "%s", (text,), more.get("trace")))


def check_log(path: Path) -> None:
    """Raise InputError for a file that does not begin as a log: nothing is written to the end of another's."""
    if path.is_file():
        with path.open("rb") as file:
            first = file.read(20)
        if first and not re.match(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", first):
            raise InputError(f"{path}: is there already and is no log of a command; name another file")


def show(text: str) -> None:
    """Write a line to standard error, unless `--quiet`."""
    if not GENERAL.quiet:
        from datasets_dart.progress import write_above

        write_above(text)


def say(text: str) -> None:
    """Write a note for people to standard error, unless `--quiet`, and to the log file if there is one."""
    show(text)
    if GENERAL.log is not None:
        GENERAL.log.write(logging.INFO, text)


def result(found: Any, text: str) -> None:
    """Write what a command found to standard output, in the first process: `text`, or with `--json` `found` as JSON."""
    if os.environ.get("RANK", "0") == "0":
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
        log_file: Annotated[
            Path | None, typer.Option("--log-file", help="add notes, progress and errors to the end of this file")
        ] = None,
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
        first, rest = general_first(words)
        path = next((Path(word) for before, word in pairwise(first) if before == LOG_FILE), None)
        with logged(Notes()), nullcontext() if path is None else logged_to(path, [prog, *words]):
            app(args=renamed([*first, *rest], " ".join([prog, *rest[:1]])), prog_name=prog)

    run(main, prog)


def general_first(words: list[str]) -> tuple[list[str], list[str]]:
    """The options of every command among the words, a value after each that has one, and the other words."""
    first: list[str] = []
    rest: list[str] = []
    left = iter(words)
    for word in left:
        name, equals, value = word.partition("=")
        if word in ("--quiet", "--json"):
            first.append(word)
        elif name.replace("_", "-") == LOG_FILE:
            first += [LOG_FILE, *([value] if equals else islice(left, 1))]
        else:
            rest.append(word)
    return first, rest


@contextmanager
def logged(handler: logging.Handler) -> Iterator[None]:
    """While a command runs, the messages of our packages go to a handler."""
    for name in PACKAGES:
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        yield
    finally:
        for name in PACKAGES:
            logging.getLogger(name).removeHandler(handler)
        handler.close()


@contextmanager
def logged_to(path: Path, words: list[str]) -> Iterator[None]:
    """While a command runs, its messages go to the end of a file: its words first, and how it ended last."""
    log = GENERAL.log = LogFile(path)
    log.write(logging.INFO, shlex.join(words))
    with logged(log):
        try:
            yield
        except SystemExit as leaving:
            log.write(logging.ERROR if leaving.code else logging.INFO, f"exit status {leaving.code or 0}")
            raise
        except KeyboardInterrupt:
            log.write(logging.ERROR, "interrupted")
            raise
        except Exception as error:
            trace = None if isinstance(error, EXPECTED) else sys.exc_info()
            log.write(logging.ERROR, " ".join(str(error).split()), trace=trace)
            raise
        finally:
            GENERAL.log = None
