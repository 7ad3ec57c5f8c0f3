"""How every program here is run."""

from collections.abc import Callable

import typer

from trainer_scripts.options import run


def run_program(program: Callable[..., None]) -> None:
    """Run `program` on the command line's options; a fault of input or environment is one line and status 1."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(program)
    run(app, program.__name__)
