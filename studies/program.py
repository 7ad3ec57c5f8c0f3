"""How every program here is run."""

from collections.abc import Callable

import typer

from trainer_scripts.options import run


def run_program(program: Callable[..., None]) -> None:
    """Run `program` on the command line's options; [`trainer_scripts.options.run`] says with which exit status."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(program)
    run(lambda words: app(args=words, prog_name=program.__name__), program.__name__)
