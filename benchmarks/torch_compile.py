"""The model in evaluation under torch.compile, beside itself without: passes, and the first pass of a shape.

    python benchmarks/torch_compile.py [--threads 1]

Forward passes without gradients on a CPU, of the models that benchmarks/model.py names, by CPU time. The long
convolution is one operator for the compiler; what it can change is the rest. A first pass has the compiler's work in it
(its cache is switched off), and so has the first one of another length; a third length is compiled for all that follow.
"""

import os
from collections.abc import Callable
from typing import Any

os.environ |= {"TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}

import torch
from model import SMALL_32K, TINY_1K
from record import Row, Work, medians, parsed, parser, row, write

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM


def cpu_milliseconds(work: Work) -> float:
    """CPU time of one call, of all threads and of the C++ compiler."""
    begun = sum(os.times()[:4])
    work()
    return 1000 * (sum(os.times()[:4]) - begun)


def forward(model: Callable[..., Any], ids: torch.Tensor) -> Work:
    """A pass of a model."""
    return lambda: model(ids).logits


def rows_of(name: str, settings: dict[str, Any], batch: int, lengths: tuple[int, int, int], rounds: int) -> list[Row]:
    """First passes of three lengths, and later ones of the first."""
    torch.compiler.reset()
    model = HyenaDNAForCausalLM(HyenaDNAConfig(**settings, embed_dropout=0.0)).eval()  # type: ignore[no-untyped-call]
    peers = {"compiled": torch.compile(model), "not compiled": model}
    rows = []
    for which, length in zip(("first", "second", "third"), lengths, strict=True):
        ids = torch.randint(7, 11, (batch, length))
        first = {peer: cpu_milliseconds(forward(own, ids)) / 1000 for peer, own in peers.items()}
        what = f"{name}, {batch} x {length:,} tokens"
        rows.append(
            row(
                f"{what}, compiled, first pass of the {which} length",
                first["compiled"],
                "not compiled",
                first["not compiled"],
                "s",
            )
        )
        if which == "first":
            times = medians({peer: forward(own, ids) for peer, own in peers.items()}, rounds, cpu_milliseconds)
            rows.append(
                row(f"{what}, compiled, later passes", times["compiled"], "not compiled", times["not compiled"], "ms")
            )
    return rows


if __name__ == "__main__":
    options = parser(__doc__)
    options.set_defaults(threads=1)
    parsed(options)
    with torch.inference_mode():
        write(
            "torch_compile",
            [
                *rows_of("tiny-1k", TINY_1K, 8, (1026, 514, 770), rounds=9),
                *rows_of("small-32k", SMALL_32K, 1, (32_770, 16_386, 8194), rounds=3),
            ],
        )
