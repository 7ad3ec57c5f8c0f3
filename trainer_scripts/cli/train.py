"""The command `hyenadna train`: a model fine-tuned on a folder of `hyenadna dataset`, with its card (docs/own_data.md).

Several processes: accelerate launch --num_processes 2 -m trainer_scripts.cli.hyenadna train ...
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from trainer_scripts.cli.options import Device, Model, NewFolder, Revision, Seed, TrustRemoteCode


def train(
    data: Annotated[Path, typer.Option(help="folder of hyenadna dataset")],
    model: Model,
    output: NewFolder,
    method: Annotated[
        Literal["full", "lora"], typer.Option(help="all weights, or LoRA, which is merged at the end")
    ] = "full",
    pooling: Annotated[
        str | None, typer.Option(help="of HyenaDNA's hidden states: mean, max, last or first; default: the model's")
    ] = None,
    num_train_epochs: Annotated[
        int, typer.Option(help="passes over the training rows; the best on validation is kept", min=1)
    ] = 10,
    batch_size: Annotated[int, typer.Option(help="rows in an optimiser step, over all processes", min=1)] = 32,
    per_device_train_batch_size: Annotated[int, typer.Option(help="rows in a forward pass, at most", min=1)] = 32,
    learning_rate: Annotated[float, typer.Option(min=0, help="AdamW's, constant")] = 6e-4,
    weight_decay: Annotated[float, typer.Option(help="AdamW's")] = 0.01,
    reverse_complement: Annotated[
        bool, typer.Option(help="read a random half of the training rows from the other strand")
    ] = True,
    class_weights: Annotated[
        bool, typer.Option("--class-weights", help="weigh classes inversely to their frequency")
    ] = False,
    bf16: Annotated[bool, typer.Option("--bf16", help="autocast to bfloat16")] = False,
    seed: Seed = 0,
    logo: Annotated[bool, typer.Option(help="draw what the model reads in three test rows")] = True,
    licence: Annotated[
        str, typer.Option("--license", help="of the card: which do the model's and the data's allow?")
    ] = "unknown",
    revision: Revision = None,
    device: Device = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Fine-tune a model, measure it on the test rows beside a linear model of k-mers, and write its card.

    A training that was killed resumes when the same line is given again.

    hyenadna train --data ctcf --model model_cards/hyenadna-tiny-1k-demo --output ctcf-model
    """
    from transformers.utils import logging

    import modeling_hyenadna  # noqa: F401  (registers HyenaDNA with the Auto classes)
    from evaluation_dart.tools.own_model import train_own_model, with_interval
    from evaluation_dart.training.recipe import SupervisedTraining

    logging.disable_progress_bar()
    metrics = train_own_model(
        data,
        model,
        output,
        SupervisedTraining(
            method=method,
            num_train_epochs=num_train_epochs,
            batch_size=batch_size,
            per_device_train_batch_size=per_device_train_batch_size,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            reverse_complement=reverse_complement,
            class_weights=class_weights,
            bf16=bf16,
            seed=seed,
        ),
        pooling=pooling,
        logo=logo,
        licence=licence,
        revision=revision,
        device=device,
        trust_remote_code=trust_remote_code,
    )
    for name, metric in metrics.items():
        typer.echo(f"{name}: {with_interval(metric)}")
    if metrics:
        typer.echo(f"{output}: the model, its card, and predictions of the test rows")
