"""Peak memory of the long convolution beside the stock operator's, and of a forward of a million tokens.

    python benchmarks/memory.py [--threads 2]

Each case runs in a process of its own, and is what the kernel counts as the most that process ever held, less what it
held before the work. The unit is one tensor (B, D, L) of float32.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from long_conv import operands, stock
from record import Row, write
from table import table

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM
from modeling_hyenadna.long_conv import long_conv

CHANNELS, LENGTH = 256, 160_002
LARGE_1M = {"d_model": 256, "n_layer": 8, "max_seq_len": 1_000_002}


def peak_bytes(work: Callable[[], object]) -> int:
    """Linux: how far `work` raises the most memory that this process ever held."""

    def most_held() -> int:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))

    before = most_held()
    work()
    return most_held() - before


def operator_peak(name: str, backward: bool) -> int:
    operator = {"ours": long_conv, "stock": stock}[name]
    operator(*operands(CHANNELS, 64))  # loads what it needs
    leaves, gradient = operands(CHANNELS, LENGTH), torch.randn(1, LENGTH, CHANNELS).transpose(1, 2)
    if not backward:
        with torch.inference_mode():
            return peak_bytes(lambda: operator(*leaves))
    leaves = [leaf.requires_grad_() for leaf in leaves]
    return peak_bytes(lambda: torch.autograd.grad(operator(*leaves), leaves, gradient))


def model_peak() -> int:
    """Of scoring 1,000,002 tokens with the configuration of large-1m and random weights, all logits computed."""
    model = HyenaDNAForCausalLM(HyenaDNAConfig(**LARGE_1M, emb_dim=5, activation_freq=10)).eval()
    ids = torch.randint(7, 11, (1, LARGE_1M["max_seq_len"]))
    with torch.inference_mode():
        model(ids[:, :64])
        return peak_bytes(lambda: model(ids, labels=ids))


def measured(case: str, threads: int) -> int:
    command = [sys.executable, __file__, "--case", case, "--threads", str(threads)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def rows(threads: int) -> list[Row]:
    tensor = 4 * CHANNELS * LENGTH
    operator = [
        Row(
            what=f"peak over inputs, {what}, D={CHANNELS}, L={LENGTH:,}",
            value=measured(f"ours-{case}", threads) / tensor,
            against="rfft of 2 L",
            against_value=measured(f"stock-{case}", threads) / tensor,
            unit="tensors",
            higher_is_better=False,
        )
        for what, case in (("forward", "forward"), ("forward and backward", "backward"))
    ]
    tokens = LARGE_1M["max_seq_len"]
    model = Row(
        what=f"peak of large-1m, forward of {tokens:,} tokens",
        value=measured("model", threads) / 2**30,
        against="the limit set",
        against_value=12.0,
        unit="GiB",
        higher_is_better=False,
    )
    return [*operator, model]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--case", help="measure one case here and print its bytes, for example ours-forward or model")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    if arguments.case == "model":
        print(model_peak())
    elif arguments.case:
        name, _, direction = arguments.case.partition("-")
        print(operator_peak(name, direction == "backward"))
    else:
        path = write("memory", rows(arguments.threads))
        print(table([json.loads(path.read_text(encoding="utf-8"))]))
        print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
