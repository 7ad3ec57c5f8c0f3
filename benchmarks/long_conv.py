"""The long convolution against the stock operator: forward, and forward with backward, in one run.

    python benchmarks/long_conv.py [--threads 2] [--longest 1000002]

The record is that of the build in use (HYENADNA_CPU): results/long_conv_avx2.json, and so on.

The stock operator is that of the official port: real FFTs of 2 L points, the kernel transformed in every call. Runs of
the peers take turns, and medians are compared, because other work on the machine then slows all of them.
"""

from collections.abc import Callable

import torch
from record import Row, medians, parsed, parser, row, write
from stock_model import convolve

from modeling_hyenadna.long_conv import cpu_backend, long_conv, prepare_kernel

# (channels, length, rounds): the context lengths of released models, and the L + 2 that the tokenizer makes of them
FORWARD = [(256, 1024, 15), (256, 32_768, 5), (256, 32_770, 5), (256, 160_002, 3), (32, 1_000_002, 3)]
TRAINING = [(256, 1024, 11), (256, 32_768, 3), (256, 32_770, 3), (256, 160_002, 3), (32, 1_000_002, 3)]


ours: Callable[..., torch.Tensor] = long_conv


def stock(
    v: torch.Tensor, k: torch.Tensor, skip: torch.Tensor, gate_in: torch.Tensor, gate_out: torch.Tensor
) -> torch.Tensor:
    """The stock operator with its gates; half precision is computed in float32, as the official port does."""
    return (convolve(v.float() * gate_in.float(), k, skip) * gate_out.float()).to(v.dtype)


def operands(
    channels: int,
    length: int,
    batch: int = 1,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> list[torch.Tensor]:
    """v, k, skip and gates as the model has them: channel-last, the kernel decaying; k and skip in float32."""
    shape = batch, length, channels
    v, gate_in, gate_out = (torch.randn(shape, device=device).to(dtype).transpose(1, 2) for _ in range(3))
    decay = torch.exp(-5 * torch.arange(length, device=device) / length)
    k = (torch.randn(length, channels, device=device) * decay[:, None]).T
    return [v, k, torch.randn(channels, device=device), gate_in, gate_out]


def forward_rows(channels: int, length: int, rounds: int) -> list[Row]:
    """Forward, with the kernel prepared and not."""
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
        compared(f"forward, kernel {kind}", channels, length, times[kind], times["stock"])
        for kind in ("prepared", "not prepared")
    ]


def training_row(channels: int, length: int, rounds: int) -> Row:
    """Forward with backward."""
    leaves = [tensor.requires_grad_() for tensor in operands(channels, length)]
    gradient = torch.randn(1, length, channels).transpose(1, 2)

    def step(operator: Callable[..., torch.Tensor]) -> object:
        return torch.autograd.grad(operator(*leaves), leaves, gradient)

    times = medians({"stock": lambda: step(stock), "ours": lambda: step(ours)}, rounds)
    return compared("forward and backward", channels, length, times["ours"], times["stock"])


def compared(what: str, channels: int, length: int, ours: float, theirs: float) -> Row:
    """Milliseconds beside the stock operator's."""
    return row(f"{what}, D={channels}, L={length:,}", ours, "rfft of 2 L", theirs, "ms")


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("--longest", type=int, default=FORWARD[-1][1], help="only lengths up to this one")
    longest = parsed(options).longest
    forward, training = ([case for case in cases if case[1] <= longest] for cases in (FORWARD, TRAINING))
    write(
        f"long_conv_{cpu_backend.build_name()}",
        [each for case in forward for each in forward_rows(*case)] + [training_row(*case) for case in training],
    )
