"""A model as an ONNX program, for runtimes without torch (docs/hub.md)."""

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel

from .long_conv import resolved

OUTPUTS = ("logits", "last_hidden_state")  # of a model with a head, and of one without
# Of the largest value of the model's own output.
TOLERANCE = 1e-4
SHORT = 33
NEEDED = ("onnx", "onnxscript")


class Program(nn.Module):
    """A model from ids and mask to its one output."""

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """(B, L) ids and mask to the model's logits or hidden states."""
        outputs = self.model(input_ids=input_ids, attention_mask=attention_mask, return_dict=True)
        return cast(torch.Tensor, outputs.logits if "logits" in outputs else outputs.last_hidden_state)


def export_onnx(model: PreTrainedModel, path: str | os.PathLike[str], max_length: int | None = None) -> dict[str, Any]:
    """Write a model of this package as one ONNX file, any batch size and any length up to `max_length` in one program.

    Its inputs are `input_ids` and `attention_mask`, (B, L) int64; its output is `logits`, or `last_hidden_state` of a
    model without a head. The long convolutions are those of `max_length` positions: every input costs as much as the
    longest. Where onnxruntime is installed, the program is run and compared with the model.

    Args:
        model: in float32 on a CPU, its long_conv_backend "auto" or "plain".
        max_length: the longest input in tokens; None for the model's own limit.

    Returns:
        `max_length`, `output` (the name of the output) and `checked`: for each length that was run, the largest
        difference from the model's output, as a share of its largest value; None without onnxruntime.

    Raises:
        ImportError: if onnx or onnxscript is not installed.
        ValueError: for a length beyond the model's limit, or a model in another precision or place.
        RuntimeError: if onnxruntime gives another output than the model.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ImportError(f"writing ONNX needs {' and '.join(missing)}: pip install 'hyenadna-dart[onnx]'")
    limit: int = model.config.max_seq_len
    length = limit if max_length is None else max_length
    if not 2 <= length <= limit:
        raise ValueError(f"max_length must be from 2 to {limit}, this model's limit, got {length}")
    if {(parameter.dtype, parameter.device.type) for parameter in model.parameters()} != {(torch.float32, "cpu")}:
        raise ValueError("only a model in float32 on a CPU can be written as ONNX: load it so")
    backend = resolved(model.config.long_conv_backend)
    if backend not in ("auto", "plain"):
        raise ValueError(
            f"the {backend} backend of the long convolution cannot be written as ONNX: "
            'load the model with long_conv_backend="plain", or "auto"'
        )
    training = model.training
    try:
        _write(Program(model).eval(), path, length)
        checked = _checked(model, path, length) if find_spec("onnxruntime") else None
    finally:
        model.train(training)
    return {"max_length": length, "output": _output_of(model), "checked": checked}


def _output_of(model: PreTrainedModel) -> str:
    return OUTPUTS[0] if hasattr(model, "lm_head") or hasattr(model, "score") else OUTPUTS[1]


def _inputs(batch: int, length: int, vocabulary: int) -> dict[str, torch.Tensor]:
    """Random ids, the first and the last position of the first row being padding where there is room."""
    ids = torch.randint(vocabulary, (batch, length), generator=torch.Generator().manual_seed(length))
    mask = torch.ones_like(ids)
    if length > 2:
        mask[0, [0, -1]] = 0
    return {"input_ids": ids, "attention_mask": mask}


def _write(program: Program, path: str | os.PathLike[str], length: int) -> None:
    batch = torch.export.Dim.DYNAMIC
    sizes = {0: batch, 1: torch.export.Dim("length", min=1, max=length)}
    example = _inputs(2, min(length, SHORT), program.model.config.vocab_size)
    with torch.no_grad(), _without_notes():
        made = torch.onnx.export(
            program,
            kwargs=example,
            dynamo=True,
            dynamic_shapes=dict.fromkeys(example, sizes),
            input_names=list(example),
            output_names=[_output_of(program.model)],
            verbose=False,
        )
        cast(torch.onnx.ONNXProgram, made).save(Path(path))


@contextmanager
def _without_notes() -> Iterator[None]:
    """Without what torch says about its own code, and about packages that it would know too."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)


def _checked(model: PreTrainedModel, path: str | os.PathLike[str], length: int) -> Mapping[str, float]:
    import onnxruntime

    session = onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    found = {}
    for batch, size in ((2, min(length, SHORT)), (1, length)):
        inputs = _inputs(batch, size, model.config.vocab_size)
        (ours,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
        with torch.inference_mode():
            expected = Program(model)(**inputs)
        real = inputs["attention_mask"] != 0 if expected.ndim == 3 else slice(None)
        difference = (torch.from_numpy(ours) - expected)[real].abs().max() / expected[real].abs().max()
        found[str(size)] = float(difference)
        if not difference <= TOLERANCE:
            raise RuntimeError(
                f"the ONNX program's output for {size} tokens differs from the model's by {float(difference):.1e} of "
                f"its largest value, {TOLERANCE:.0e} being allowed"
            )
    return found
