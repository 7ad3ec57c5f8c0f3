"""The command `hyenadna`: what one does with a model outside a benchmark."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from transformers.utils import logging

from datasets_dart.errors import InputError
from trainer_scripts.cli import dataset as own_data
from trainer_scripts.cli import embed, generate, mutagenesis
from trainer_scripts.cli import score as score_variants
from trainer_scripts.cli import train as own_model

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command("score")(score_variants.score)
app.command("embed")(embed.embed)
app.command("mutagenesis")(mutagenesis.mutagenesis)
app.command("dataset")(own_data.dataset)
app.command("train")(own_model.train)
app.command("generate")(generate.generate)


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
        raise InputError(f"{source}: give either --config (an original checkpoint) or --to-official (a folder)")
    logging.disable_progress_bar()
    if config is not None:
        convert_lightning_checkpoint(source, config, output)
    else:
        write_official_folder(source, output)
    typer.echo(f"written to {output}")


@app.command()
def verify(
    model: Annotated[str, typer.Argument(help="Hub id, or folder of a converted or downloaded checkpoint")],
    revision: Annotated[str | None, typer.Option(help="commit, branch or tag on the Hub")] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="which released one it should be; default: by its shape")
    ] = None,
    remote_code: Annotated[
        str | None,
        typer.Option(help="run the Python code of this repository on the same weights, and compare: code you trust"),
    ] = None,
) -> None:
    """Compare a checkpoint with what the official port computes: recorded values, or its own code run beside ours.

    hyenadna verify LongSafari/hyenadna-medium-160k-seqlen-hf

    hyenadna verify my-model --remote-code LongSafari/hyenadna-tiny-1k-seqlen-hf
    """
    from modeling_hyenadna.verify_checkpoint import verify_checkpoint

    logging.disable_progress_bar()
    logging.set_verbosity_error()  # the base model has no use for the file's head, and says so
    checks = verify_checkpoint(model, revision, checkpoint, remote_code)
    words = {True: "passed", False: "FAILED", None: "-"}
    for check in checks:
        typer.echo(f"{words[check.passed]:7} {check.what}: {check.outcome}")
    failed = [check.what for check in checks if check.passed is False]
    if failed:
        raise InputError(f"{model}: differs in {', '.join(failed)}")
    if not any(check.passed and check.proves for check in checks):
        raise InputError(f"{model}: nothing recorded tells whether these are the right weights; try --remote-code")


@app.command()
def export_hub_code(
    folder: Annotated[Path, typer.Argument(help="a model's folder, with config.json")],
) -> None:
    """Add to a model's folder the Python files that load it with trust_remote_code, without this package.

    hyenadna export-hub-code my-model
    """
    from modeling_hyenadna.export_hub_code import export_hub_code

    files = export_hub_code(folder)
    typer.echo(f"{folder}: {len(files)} Python files, named in config.json: {', '.join(files)}")


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="a model's folder: card, config, tokenizer, weights if any")],
    repo_id: Annotated[str, typer.Argument(help="where to: user-or-organisation/name")],
    private: Annotated[bool, typer.Option("--private", help="if the repository has to be made")] = False,
    revision: Annotated[str | None, typer.Option(help="branch to write to")] = None,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="open a pull request instead of writing")] = False,
) -> None:
    """Check a model's folder and its card, and upload it to the Hub (after `hf auth login`).

    hyenadna push model_cards/hyenadna-tiny-1k-demo me/hyenadna-tiny-1k-demo
    """
    from huggingface_hub.utils import disable_progress_bars

    from trainer_scripts.push_model import push_model

    disable_progress_bars()
    typer.echo(f"pushed: {push_model(folder, repo_id, private, revision, create_pr)}")


def main() -> None:
    try:
        app()
    except (ValueError, OSError, ImportError) as error:  # ImportError: an extra is not installed
        print("hyenadna:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
