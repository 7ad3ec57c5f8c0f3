"""The command `hyenadna`: what one does with a model outside a benchmark."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from transformers.utils import logging

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def hyenadna() -> None:
    """Work with HyenaDNA models."""


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="FOLDER", help="folder of a HyenaDNA model", show_default=False)],
    output: Annotated[Path, typer.Option(help="folder to write; new or empty")],
    to_official: Annotated[
        bool, typer.Option("--to-official", help="write the file layout of the official Hub repositories")
    ] = False,
) -> None:
    """Convert a checkpoint to another layout.

    hyenadna convert --to-official my-model --output my-model-hf
    """
    from modeling_hyenadna.convert_checkpoint import write_official_folder

    if not to_official:
        raise ValueError(f"{source}: say what to convert to: --to-official")
    logging.disable_progress_bar()
    write_official_folder(source, output)
    typer.echo(f"written to {output}")


def main() -> None:
    try:
        app()
    except (ValueError, OSError) as error:
        print(f"hyenadna: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
