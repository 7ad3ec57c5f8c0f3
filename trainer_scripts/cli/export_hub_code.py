"""The command `hyenadna export-hub-code`: a model's folder that loads without this package (docs/hub.md)."""

from pathlib import Path
from typing import Annotated

import typer

from trainer_scripts.cli.app import checking
from trainer_scripts.messages import result


def export_hub_code(
    folder: Annotated[Path, typer.Argument(help="a model's folder, with config.json")],
) -> None:
    """Add to a model's folder the Python files that load it with trust_remote_code, without this package.

    hyenadna export-hub-code my-model
    """
    from modeling_hyenadna.export_hub_code import export_hub_code as export

    with checking():
        files = export(folder)
    result(files, f"{folder}: {len(files)} Python files, named in config.json: {', '.join(files)}")
