"""Peak memory of the long convolution beside the stock operator's, and of a forward of a million tokens.

    python benchmarks/memory.py [--threads 2]

Each case runs in a process of its own, and is what the kernel counts as the most that process ever held, less what it
held before the work. The unit is one tensor (B, D, L) of float32.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from long_conv import operands, ours, stock
from record import Row, Work, parsed, parser, row, write

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM

CHANNELS, LENGTH = 256, 160_002
LARGE_1M: dict[str, Any] = {"d_model": 256, "n_layer": 8, "max_seq_len": 1_000_002}


def peak_bytes(work: Work) -> int:
    """Linux: how far `work` raises the most memory that this process ever held."""

    def most_held() -> int:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))

    before = most_held()
    work()
    return most_held() - before


def operator_peak(operator: Callable[..., torch.Tensor], backward: bool) -> int:
    """Bytes of an operator, forward or with its backward."""
    operator(*operands(CHANNELS, 64))  # loads what it needs
    leaves, gradient = operands(CHANNELS, LENGTH), torch.randn(1, LENGTH, CHANNELS).transpose(1, 2)
    if not backward:
        with torch.inference_mode():
            return peak_bytes(lambda: operator(*leaves))
    leaves = [leaf.requires_grad_() for leaf in leaves]
    return peak_bytes(lambda: torch.autograd.grad(operator(*leaves), leaves, gradient))


def model_peak() -> int:
    """Of scoring 1,000,002 tokens with the configuration of large-1m and random weights, all logits computed."""
    model = HyenaDNAForCausalLM(HyenaDNAConfig(**LARGE_1M, emb_dim=5, activation_freq=10)).eval()  # type: ignore[no-untyped-call]
    ids = torch.randint(7, 11, (1, LARGE_1M["max_seq_len"]))
    with torch.inference_mode():
        model(ids[:, :64])
        return peak_bytes(lambda: model(ids, labels=ids))


CASES: dict[str, Callable[[], int]] = {
    "ours-forward": lambda: operator_peak(ours, backward=False),
    "ours-backward": lambda: operator_peak(ours, backward=True),
    "stock-forward": lambda: operator_peak(stock, backward=False),
    "stock-backward": lambda: operator_peak(stock, backward=True),
    "model": model_peak,
}


def measured(case: str, threads: int) -> int:
    """Bytes of a case in a process of its own."""
    command = [sys.executable, __file__, "--case", case, "--threads", str(threads)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def rows(threads: int) -> list[Row]:
    """Every case beside its peer."""
    tensor = 4 * CHANNELS * LENGTH
    operator = [
        row(
            f"peak over inputs, {what}, D={CHANNELS}, L={LENGTH:,}",
            measured(f"ours-{case}", threads) / tensor,
            "rfft of 2 L",
            measured(f"stock-{case}", threads) / tensor,
            "tensors",
        )
        for what, case in (("forward", "forward"), ("forward and backward", "backward"))
    ]
    what = f"peak of large-1m, forward of {LARGE_1M['max_seq_len']:,} tokens"
    return [*operator, row(what, measured("model", threads) / 2**30, "the limit set", 12.0, "GiB")]


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("--case", choices=CASES, help="measure one case here and print its bytes")
    arguments = parsed(options)
    if arguments.case:
        print(CASES[arguments.case]())
    else:
        write("memory", rows(arguments.threads))
