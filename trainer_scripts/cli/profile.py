"""The command `dart-eval profile`: what training a model costs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from datasets_dart.outputs import check_output, write_report
from trainer_scripts.options import Device, Revision, TrustRemoteCode


def profile(
    model: Annotated[str, typer.Option(help="Hub id or folder, network:NAME, or random:MODEL")],
    setting: Annotated[str, typer.Option(help="finetuned, probed or ab_initio")] = "finetuned",
    method: Annotated[str | None, typer.Option(help="full (the default) or lora; for probed: cnn")] = None,
    length: Annotated[int, typer.Option(help="bases in a sequence", min=1)] = 2114,
    batch_size: Annotated[int, typer.Option(help="sequences in a batch", min=1)] = 16,
    warmup: Annotated[int, typer.Option(help="batches before measuring", min=0)] = 10,
    batches: Annotated[int, typer.Option(help="batches to measure", min=1)] = 20,
    revision: Revision = None,
    device: Device = None,
    output: Annotated[Path | None, typer.Option(help="file to write the JSON to as well")] = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Parameters, and time and peak memory of forward and backward passes, on random DNA.

    dart-eval profile --model model_cards/hyenadna-tiny-1k-demo --length 1000
    """
    import modeling_hyenadna  # noqa: F401  (registers HyenaDNA with the Auto classes)
    from evaluation_dart.tools.profile import profile as measured

    if output is not None:
        check_output(output, [model])
    found = measured(
        model,
        setting,
        method,
        length=length,
        batch_size=batch_size,
        warmup=warmup,
        batches=batches,
        revision=revision,
        device=device,
        trust_remote_code=trust_remote_code,
    )
    text = json.dumps(found, indent=2)
    typer.echo(text)
    if output is not None:
        write_report(output, found, [model])
