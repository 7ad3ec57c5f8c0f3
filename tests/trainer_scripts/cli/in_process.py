"""Commands in the process of the tests."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple

import pytest

from trainer_scripts.cli.dart_eval import main


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def dart_eval(*arguments):
    """Exit status of the command, and what it prints."""
    out, err = io.StringIO(), io.StringIO()
    status = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["dart-eval", *map(str, arguments)])
        try:
            main()
        except SystemExit as stop:
            status = stop.code or 0
    return Done(status, out.getvalue(), err.getvalue())
