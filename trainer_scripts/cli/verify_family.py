"""The command `dart-eval verify-family`: whether a family's own code runs here."""

from typing import Annotated

import typer

from datasets_dart.errors import InputError
from trainer_scripts.messages import result
from trainer_scripts.options import Device, Revision, TrustRemoteCode

WORDS = {True: "passed", False: "FAILED", None: "-"}


def verify_family(
    family: Annotated[str, typer.Argument(help="hyenadna, caduceus, dnabert2, gena_lm, nucleotide_transformer, ...")],
    repository: Annotated[str, typer.Argument(help="Hub id or folder of a model of that family")],
    revision: Revision = None,
    device: Device = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Load a model of a family of the paper, check its tokens, mask, padding, passes and LoRA, and say what ls may say.

    dart-eval verify-family dnabert2 zhihan1996/DNABERT-2-117M --trust-remote-code
    """
    from evaluation_dart.tools.families import verify_family as verified

    report = verified(family, repository, revision, device, trust_remote_code)
    checks = [{"what": check.what, "outcome": check.outcome, "passed": check.passed} for check in report.checks]
    lines = [f"{WORDS[check.passed]:7} {check.what}: {check.outcome}" for check in report.checks]
    result({"checks": checks, "line": report.line}, "\n".join([*lines, f"for ls: {report.line}"]))
    if report.failed:
        raise InputError(f"{repository}: failed: {', '.join(report.failed)}")
