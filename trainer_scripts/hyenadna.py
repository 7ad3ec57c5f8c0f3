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
    source: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT|FOLDER", help="an original weights.ckpt, or a folder of a model")
    ],
    output: Annotated[Path, typer.Option(help="folder to write; new or empty")],
    config: Annotated[Path | None, typer.Option(help="the config.json beside weights.ckpt")] = None,
    to_official: Annotated[
        bool, typer.Option("--to-official", help="write FOLDER in the layout of the official Hub repositories")
    ] = False,
) -> None:
    """Convert an original checkpoint to a folder for transformers, or such a folder to the official Hub layout.

    hyenadna convert weights.ckpt --config config.json --output my-model

    hyenadna convert --to-official my-model --output my-model-hf
    """
    from modeling_hyenadna.convert_checkpoint import convert_lightning_checkpoint, write_official_folder

    if to_official == (config is not None):
        raise ValueError(f"{source}: give either --config (an original checkpoint) or --to-official (a folder)")
    logging.disable_progress_bar()
    if config is not None:
        convert_lightning_checkpoint(source, config, output)
    else:
        write_official_folder(source, output)
    typer.echo(f"written to {output}")


def main() -> None:
    try:
        app()
    except (ValueError, OSError) as error:
        print("hyenadna:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
