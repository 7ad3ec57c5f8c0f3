"""Options that several commands have, declared once: their names, their types and their help."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from trainer_scripts.options import COMPUTING as COMPUTING
from trainer_scripts.options import Device as Device
from trainer_scripts.options import Revision as Revision
from trainer_scripts.options import TrustRemoteCode as TrustRemoteCode

Protocol = Literal["fixed", "paper"]
Dtype = Literal["float32", "bfloat16", "float16", "int8"]
Strand = Literal["forward", "reverse", "mean"]


def batch_size(given: str | int) -> int | str:
    """A number of rows, or "auto"."""
    text = str(given)
    if text == "auto":
        return text
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise typer.BadParameter(f"{text!r} is neither a number of rows from 1 nor auto")


Genome = Annotated[Path, typer.Option(help="reference genome: FASTA, plain, gzip or bgzip")]
Model = Annotated[str, typer.Option(help="Hub id or folder of a model, or a baseline: markov:FILE.safetensors")]
Output = Annotated[Path, typer.Option(help="file to write")]
ProtocolOption = Annotated[
    Protocol, typer.Option("--protocol", help="fixed: no known defects; paper: the original, with its defects")
]
NewFolder = Annotated[Path, typer.Option(help="folder to write; new or empty")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace what is there, and start afresh")]
Seed = Annotated[int, typer.Option(min=0, help="seed of all random draws")]
Layer = Annotated[int, typer.Option(help="of embeddings: index into the hidden states; -1 is the last")]
Label = Annotated[
    str | None, typer.Option(help="of a trained head with several outputs: which, by name or by number from 0")
]
BatchSize = Annotated[
    Any,
    typer.Option(
        parser=batch_size,
        metavar="N|auto",
        help="rows in a forward pass; auto: as many as fit",
        rich_help_panel=COMPUTING,
    ),
]
Part = Annotated[
    int | None,
    typer.Option(
        help="rows in a part, the most that is lost when a run is killed; default: about a minute's work",
        min=1,
        rich_help_panel=COMPUTING,
    ),
]
DtypeOption = Annotated[
    Dtype,
    typer.Option(
        "--dtype", help="of the model's weights; int8: on a CPU, linear layers only", rich_help_panel=COMPUTING
    ),
]
