"""The command `hyenadna verify`: whether a checkpoint computes what the official one does (docs/hub.md)."""

from typing import Annotated

import typer

from datasets_dart.errors import InputError
from trainer_scripts.cli.app import checking
from trainer_scripts.messages import result
from trainer_scripts.options import Revision

WORDS = {True: "passed", False: "FAILED", None: "-"}


def verify(
    model: Annotated[str, typer.Argument(help="Hub id, or folder of a converted or downloaded checkpoint")],
    checkpoint: Annotated[
        str | None, typer.Option(help="the released one that it should be; default: by its shape")
    ] = None,
    remote_code: Annotated[
        str | None,
        typer.Option(help="run the Python code of this repository on the same weights, and compare: code you trust"),
    ] = None,
    revision: Revision = None,
) -> None:
    """Compare a checkpoint with what the official port computes: recorded values, or its own code run beside ours.

    hyenadna verify LongSafari/hyenadna-medium-160k-seqlen-hf

    hyenadna verify my-model --remote-code LongSafari/hyenadna-tiny-1k-seqlen-hf
    """
    from evaluation_dart.models.checkpoints import loading_of
    from modeling_hyenadna.verify_checkpoint import verify_checkpoint

    with checking(), loading_of(model):
        checks = verify_checkpoint(model, revision, checkpoint, remote_code)
    found = [{"what": check.what, "outcome": check.outcome, "passed": check.passed} for check in checks]
    result(found, "\n".join(f"{WORDS[check.passed]:7} {check.what}: {check.outcome}" for check in checks))
    if failed := [check.what for check in checks if check.passed is False]:
        raise InputError(f"{model}: differs in {', '.join(failed)}")
    if not any(check.passed and check.proves for check in checks):
        raise InputError(f"{model}: nothing recorded tells whether these are the right weights; try --remote-code")
