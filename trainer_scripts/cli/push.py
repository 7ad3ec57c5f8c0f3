"""The command `hyenadna push`: a model's folder to the Hub (docs/hub.md)."""

from pathlib import Path
from typing import Annotated

import typer

from trainer_scripts.messages import result


def push(
    folder: Annotated[Path, typer.Argument(help="a model's folder: card, config, tokenizer, weights if any")],
    repo_id: Annotated[str, typer.Argument(help="where to: user-or-organisation/name")],
    private: Annotated[bool, typer.Option("--private", help="if the repository has to be made")] = False,
    revision: Annotated[str | None, typer.Option(help="branch to write to")] = None,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="open a pull request instead of writing")] = False,
    code: Annotated[bool, typer.Option(help="with the Python files that load it without this package")] = True,
) -> None:
    """Check a model's folder and its card, and upload it to the Hub (after `hf auth login`).

    A HyenaDNA model goes up with its code, as `hyenadna export-hub-code` writes it, so that the Auto classes load it
    with trust_remote_code=True where this package is not installed; with this package nothing of that code is run.

    hyenadna push model_cards/hyenadna-tiny-1k-demo me/hyenadna-tiny-1k-demo
    """
    from huggingface_hub.utils import disable_progress_bars

    from trainer_scripts.push_model import push_model

    disable_progress_bars()
    address = push_model(folder, repo_id, private, revision, create_pr, code)
    result({"address": address}, f"pushed: {address}")
