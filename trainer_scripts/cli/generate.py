"""The command `hyenadna generate`: DNA from a causal language model, and how it compares (docs/generation.md)."""

from pathlib import Path
from typing import Annotated

import typer

from trainer_scripts.cli.options import (
    BatchSize,
    Device,
    DtypeOption,
    Model,
    Overwrite,
    Revision,
    Seed,
    TrustRemoteCode,
)
from trainer_scripts.messages import result


def generate(
    model: Model,
    output: Annotated[Path, typer.Option(help="FASTA to write: .fa, .fasta or either with .gz")],
    prompts: Annotated[Path | None, typer.Option(help="FASTA of what to continue; default: no prompt")] = None,
    number: Annotated[int, typer.Option(help="sequences for each prompt", min=1)] = 10,
    length: Annotated[int, typer.Option(help="bases to generate", min=1)] = 512,
    temperature: Annotated[float, typer.Option(help="1: as the model says; 0: always the likeliest", min=0)] = 1,
    top_k: Annotated[int, typer.Option(help="sample among this many of the likeliest tokens; 0: all", min=0)] = 0,
    top_p: Annotated[float, typer.Option(help="among the likeliest that have this share", min=0, max=1)] = 1,
    with_prompt: Annotated[bool, typer.Option("--with-prompt", help="write prompt and continuation together")] = False,
    reference: Annotated[
        Path | None, typer.Option(help="FASTA to compare with: a genome, from which windows are drawn, or sequences")
    ] = None,
    seed: Seed = 0,
    batch_size: BatchSize = 32,
    device: Device = None,
    dtype: DtypeOption = "float32",
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
    overwrite: Overwrite = False,
) -> None:
    """Sample sequences of A, C, G and T; nothing else is ever generated.

    OUTPUT.json reports GC, the perplexity of what was generated under the model itself, and with --reference how far
    its k-mers are from those of real sequence. The same seed gives the same sequences on the same device.

    hyenadna generate --model my-model --prompts promoters.fa --length 200 --output generated.fa --reference hg38.fa
    """
    from evaluation_dart.statistics.metric import ends_text
    from evaluation_dart.tools.generation import generate as sample

    summary = sample(
        model,
        output=output,
        prompts=prompts,
        number=number,
        length=length,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        with_prompt=with_prompt,
        reference=reference,
        seed=seed,
        batch_size=batch_size,
        revision=revision,
        device=device,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
        overwrite=overwrite,
    )
    lines = [f"{output}: {summary['sequences']} sequences of {length} bases, {summary['distinct']} of them distinct"]
    for name in ("gc", "perplexity"):
        for kind, found in summary[name].items():
            known = found["value"] is not None
            value = f"{found['value']:.4f}{ends_text(found, '.4f')}" if known else found["reason"]
            lines.append(f"{name} {kind}: {value}")
    result(summary, "\n".join(lines))
