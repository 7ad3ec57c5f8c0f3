"""The long convolution against the stock operator: forward, and forward with backward, in one run.

    python benchmarks/long_conv.py [--threads 2]

The stock operator is that of the official port: real FFTs of 2 L points, the kernel transformed in every call. Runs of
the peers take turns, and medians are compared, because other work on the machine then slows all of them.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from record import Row, write
from table import table

from modeling_hyenadna.long_conv import long_conv, prepare_kernel

# (channels, length, rounds): the context lengths of released models, and the L + 2 that the tokenizer makes of them
FORWARD = [(256, 1024, 15), (256, 32_768, 5), (256, 32_770, 5), (256, 160_002, 3), (32, 1_000_002, 3)]
TRAINING = [(256, 1024, 11), (256, 32_770, 3), (256, 160_002, 3)]


def stock(
    v: torch.Tensor, k: torch.Tensor, skip: torch.Tensor, gate_in: torch.Tensor, gate_out: torch.Tensor
) -> torch.Tensor:
    u, points = v * gate_in, 2 * v.shape[-1]
    y = torch.fft.irfft(torch.fft.rfft(u, n=points) * torch.fft.rfft(k, n=points), n=points)[..., : v.shape[-1]]
    return (y + u * skip[:, None]) * gate_out


def operands(channels: int, length: int) -> list[torch.Tensor]:
    """v, k, skip and gates as the model has them: channel-last, the kernel decaying."""
    v, gate_in, gate_out = (torch.randn(1, length, channels).transpose(1, 2) for _ in range(3))
    k = (torch.randn(length, channels) * torch.exp(-torch.arange(length) / length * 5)[:, None]).T
    return [v, k, torch.randn(channels), gate_in, gate_out]


def medians(peers: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Milliseconds of each, the peers taking turns, after one run of each to warm up."""
    times: dict[str, list[float]] = {name: [] for name in peers}
    for turn in range(rounds + 1):
        for name, work in peers.items():
            start = time.perf_counter()
            work()
            if turn:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def forward_rows(channels: int, length: int, rounds: int) -> list[Row]:
    v, k, skip, gate_in, gate_out = operands(channels, length)
    prepared = prepare_kernel(k, length)
    with torch.inference_mode():
        times = medians(
            {
                "stock": lambda: stock(v, k, skip, gate_in, gate_out),
                "not prepared": lambda: long_conv(v, k, skip, gate_in, gate_out),
                "prepared": lambda: long_conv(v, prepared, skip, gate_in, gate_out),
            },
            rounds,
        )
    return [
        row(f"forward, kernel {kind}", channels, length, times[kind], times["stock"])
        for kind in ("prepared", "not prepared")
    ]


def training_row(channels: int, length: int, rounds: int) -> Row:
    leaves = [tensor.requires_grad_() for tensor in operands(channels, length)]
    gradient = torch.randn(1, length, channels).transpose(1, 2)

    def step(operator: Callable[..., torch.Tensor]) -> object:
        return torch.autograd.grad(operator(*leaves), leaves, gradient)

    times = medians({"stock": lambda: step(stock), "ours": lambda: step(long_conv)}, rounds)
    return row("forward and backward", channels, length, times["ours"], times["stock"])


def row(what: str, channels: int, length: int, ours: float, theirs: float) -> Row:
    name = f"{what}, D={channels}, L={length:,}"
    return Row(what=name, value=ours, against="rfft of 2 L", against_value=theirs, unit="ms", higher_is_better=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    torch.manual_seed(0)
    rows = [row for case in FORWARD for row in forward_rows(*case)] + [training_row(*case) for case in TRAINING]
    path = write("long_conv", rows)
    print(table([json.loads(path.read_text(encoding="utf-8"))]))
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
