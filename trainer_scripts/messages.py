"""What a program tells people while it runs: notes on standard error, a log file, its result.

Commands and scripts share this: every one of them has `--quiet` and `--log-file`, anywhere among its words.
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
from pathlib import Path
from typing import Any

import typer

from datasets_dart.errors import InputError
from trainer_scripts.options import COMMON, EXPECTED, LOG_FILE, QUIET, renamed, run
from trainer_scripts.pipes import as_given

PACKAGES = ("datasets_dart", "datasets_hyenadna", "evaluation_dart", "modeling_hyenadna", "trainer_scripts")
PROGRESS = "datasets_dart.progress"  # the logger of lines that stand in for a bar


@dataclass
class General:
    """What the options say that every command has."""

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
            raise InputError(f"{path}: already exists and is not the log of a command; name another file")


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


def run_with_messages(program: Callable[[list[str]], object], prog: str) -> None:
    """Run a program on the words of the process less `--quiet` and `--log-file FILE`, which have their effect here.

    See [`trainer_scripts.options.run`] for the exit status.
    """

    def main(words: list[str]) -> None:
        quiet, path, rest = message_options(words)
        GENERAL.quiet = quiet
        if quiet:
            os.environ |= dict.fromkeys(("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS"), "1")
        with logged(Notes()), nullcontext() if path is None else logged_to(path, [prog, *words]):
            program(rest)

    run(main, prog)


def run_script(program: Callable[[list[str]], object], script: str, names: str | None = None) -> None:
    """Run a script of this package on its words, with today's names for former ones: those of `names`, else its own."""
    run_with_messages(lambda words: program(renamed(words, names or script)), script)


def run_function(function: Callable[..., None]) -> None:
    """Run a function whose arguments are typer's options, under its own name; see [`run`] for the exit status."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(epilog=COMMON)(function)
    name = function.__name__
    run_script(lambda words: app(args=words, prog_name=name), name)


def message_options(words: list[str]) -> tuple[bool, Path | None, list[str]]:
    """Whether `--quiet` is among the words, the file of `--log-file` if any, and the other words."""
    quiet, path, rest = False, None, []
    left = iter(words)
    for word in left:
        name, equals, value = word.partition("=")
        if word == QUIET:
            quiet = True
        elif name.replace("_", "-") != LOG_FILE:
            rest.append(word)
        elif value := value if equals else next(left, ""):
            path = Path(value)
        else:
            rest.append(word)  # for the parser to say that there is no value
    return quiet, path, rest


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
        else:
            log.write(logging.INFO, "exit status 0")
        finally:
            GENERAL.log = None
