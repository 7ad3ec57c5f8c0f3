"""The command `hyenadna export-onnx`: a model as a program for runtimes without torch (docs/hub.md)."""

from pathlib import Path
from typing import Annotated, Any

import typer

from datasets_dart.errors import InputError
from trainer_scripts.cli.app import checking
from trainer_scripts.cli.options import Overwrite
from trainer_scripts.messages import result, say


def export_onnx(
    model: Annotated[str, typer.Argument(help="Hub id or folder of a HyenaDNA model")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="file to write, .onnx")],
    max_length: Annotated[
        int | None, typer.Option(min=2, help="longest input in tokens; by default the model's limit")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="commit or branch of a model on the Hub")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a model as one ONNX file: ids and mask in, logits out, any batch size and any length up to --max-length.

    Every input costs as much as the longest one: choose --max-length no longer than needed. Where onnxruntime is
    installed, the file is run and compared with the model before it is in its place.

    hyenadna export-onnx my-model my-model.onnx --max-length 1026
    """
    from datasets_dart.outputs import digest_of, made
    from evaluation_dart.models.checkpoints import loading_of
    from modeling_hyenadna.export_onnx import export_onnx as export

    def write(path: Path) -> dict[str, Any]:
        with loading_of(model):
            loaded = load(model, revision)
        with checking():
            try:
                return export(loaded, path, max_length)
            except ImportError as error:
                raise InputError(str(error)) from error

    given = digest_of(Path(model)) if Path(model).is_dir() else model
    about = {"kind": "onnx", "model": given, "revision": revision, "longest": max_length}
    found = made(output, about, write, [model], overwrite=overwrite)
    if found["checked"] is None:
        say("not compared with the model: onnxruntime is not installed")
    differences = found["checked"] or {}
    compared = "; ".join(f"{int(size):,} tokens differ by {value:.1e}" for size, value in differences.items())
    text = (
        f"{output}: {found['output']} for up to {found['max_length']:,} tokens, each input at the cost of the longest"
    )
    result({"output": output} | found, f"{text}; of its largest value, {compared}" if compared else text)


def load(model: str, revision: str | None) -> Any:
    """The model, of the class that its config names.

    Raises:
        ValueError: if it is no HyenaDNA model.
    """
    from transformers import AutoConfig

    import modeling_hyenadna
    from modeling_hyenadna import HyenaDNAConfig

    config = AutoConfig.from_pretrained(model, revision=revision)
    if not isinstance(config, HyenaDNAConfig):
        raise ValueError(f"a {config.model_type} model; only HyenaDNA can be written as ONNX here")
    name = (config.architectures or ["HyenaDNAForCausalLM"])[0]
    if name not in modeling_hyenadna.__all__:
        raise ValueError(f"config.json names the architecture {name}, which is none of this package")
    config.long_conv_backend = "plain"
    return getattr(modeling_hyenadna, name).from_pretrained(model, revision=revision, config=config, dtype="float32")
