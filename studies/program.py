"""How every program here is run."""

import sys
from collections.abc import Callable

import typer


def run_program(program: Callable[..., None]) -> None:
    """Run `program` on the command line's options; faults of input or environment end it with one line, status 1."""
    try:
        typer.run(program)
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"{program.__name__}: {' '.join(str(error).split())}")
