"""The command `hyenadna convert`: between the layouts of checkpoints (docs/hub.md)."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from datasets_dart.errors import InputError
from trainer_scripts.cli.app import checking
from trainer_scripts.cli.options import NewFolder
from trainer_scripts.messages import result


def convert(
    source: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT|FOLDER", help="an original weights.ckpt, or the folder of a model")
    ],
    output: NewFolder,
    config: Annotated[Path | None, typer.Option(help="the config.json beside weights.ckpt")] = None,
    decoder_mode: Annotated[
        str | None,
        typer.Option(
            help="of a fine-tuned checkpoint: pool (the default), last, first, sum or ragged, its decoder.mode"
        ),
    ] = None,
    to_official: Annotated[
        bool, typer.Option("--to-official", help="write FOLDER in the layout of the official Hub repositories")
    ] = False,
) -> None:
    """Convert an original checkpoint to a folder for transformers, or such a folder to the official Hub layout.

    hyenadna convert weights.ckpt --config config.json --output my-model

    hyenadna convert fine-tuned.ckpt --config config.json --decoder-mode last --output my-classifier

    hyenadna convert --to-official my-model --output my-model-hf
    """
    from transformers.utils import logging

    from datasets_dart.outputs import made_folder
    from evaluation_dart.models.checkpoints import loading_of
    from modeling_hyenadna.convert_checkpoint import convert_lightning_checkpoint, write_official_folder

    def write(path: Path) -> None:
        with loading_of(str(source)):
            write_official_folder(source, path)

    if to_official == (config is not None):
        raise InputError(f"{source}: give either --config (an original checkpoint) or --to-official (a folder)")
    if to_official and decoder_mode is not None:
        raise InputError(f"{source}: --decoder-mode is of an original checkpoint, not of a folder")
    logging.disable_progress_bar()
    with checking():
        if config is not None:
            made_folder(
                output,
                partial(convert_lightning_checkpoint, source, config, decoder_mode=decoder_mode),
                [source, config],
            )
        else:
            made_folder(output, write, [source])
    result({"output": output}, f"written to {output}")
