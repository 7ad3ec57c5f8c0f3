"""The long convolution on a GPU: is it right, how fast is it beside torch.fft, and what it is worth to the model.

    python benchmarks/gpu.py [operator peers models transformer] [--quick]
    compute-sanitizer --tool memcheck --error-exitcode 1 python benchmarks/gpu.py --check-only

Each part writes its own record (results/gpu_operator.json, ...). `operator` checks values and gradients against float64
first, and stops if they are wrong; --check-only checks a few short lengths, for compute-sanitizer (also with --tool
racecheck). Peers take turns, timed by CUDA events, and medians are compared; what does not fit into the GPU's memory is
named and left out. `share of the roofline` is the time that reading every input and writing every output once would
take at the speed at which this GPU copies, over the time taken.

`peers`: FlashFFTConv (github.com/HazyResearch/flash-fft-conv), where it is installed: bfloat16 only, powers of two,
position-last tensors, no skip; its errors stand beside ours. `models`: training steps of released shapes beside the
same with torch's FFTs, scoring as a CUDA graph and launch by launch, and generation as CUDA graphs, with a cache and
without.
`transformer`: two layers beside two of a Transformer.

--device cpu --quick goes through all of it on the CPU's backend, for trying the script out.
"""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from importlib.util import find_spec
from itertools import product
from math import isnan
from pathlib import Path
from typing import Any

import torch
from long_conv import operands, ours, stock
from record import Row, Work, medians, milliseconds, parsed, parser, row, write
from table import table
from torch import nn
from torch.autograd import grad
from transformers import GPTNeoXConfig, GPTNeoXModel

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNAModel
from modeling_hyenadna.cuda_graphs import cuda_graphs
from modeling_hyenadna.long_conv import prepare_kernel
from modeling_hyenadna.long_conv.operator import chosen_backend
from modeling_hyenadna.long_conv.plain_backend import long_conv_plain

CHANNELS = 256
LENGTHS = [1_024, 8_192, 32_768, 160_000, 450_000, 1_000_000]
CHECKED = [1, 2, 3, 97, 1_024, 1_026, 8_194, 16_384, 16_386, 24_577, 32_770, 160_002, 1_000_002]
MODEL_LENGTHS = [1_024, 4_096, 16_384, 65_536, 262_144]
CARDS = Path(__file__).parents[1] / "model_cards"
TINY = "hyenadna-tiny-1k-seqlen"
RELEASED = (
    ("hyenadna-small-32k-seqlen", 32_770),
    ("hyenadna-medium-160k-seqlen", 160_002),
    ("hyenadna-large-1m-seqlen", 1_000_002),
)
PEER_LENGTHS = [(1_024, 64), (1_024, 8), (8_192, 8), (32_768, 8), (131_072, 1), (1_048_576, 1)]  # and batches


def check(lengths: list[int], device: torch.device) -> list[Row]:
    """The largest relative error, values and gradients, of each length. Exits if one is too large."""
    rows = []
    for length in lengths:
        tensors = [t.requires_grad_() for t in operands(16, length, 2, device)]
        exact = [t.detach().double().requires_grad_() for t in tensors]
        value, expected = ours(*tensors), long_conv_plain(*exact)
        gradient = torch.randn_like(value)
        pairs = [(value.detach(), expected.detach())]
        pairs += zip(grad(value, tensors, gradient), grad(expected, exact, gradient.double()), strict=True)
        errors = [float((found.double() - exact).norm() / exact.norm()) for found, exact in pairs]
        again = ours(*tensors)
        if max(errors) > 2e-6 or not torch.equal(again, value):
            sys.exit(f"wrong at {length:,} positions: relative errors {errors}, repeated: {torch.equal(again, value)}")
        half = [t.detach() if t.ndim < 3 else t.detach().bfloat16() for t in tensors]
        rounded = ours(*[t.float() for t in half])
        if not torch.equal(ours(*half), rounded.bfloat16()):
            sys.exit(f"wrong at {length:,} positions in bfloat16")
        rows.append(row(f"largest relative error, L={length:,}", max(errors), "allowed", 2e-6, "relative"))
    return rows


def clock(device: torch.device, work: Work) -> float:
    """Milliseconds of one call, by CUDA events where there is a GPU; NaN for one that runs out of memory."""
    if device.type != "cuda":
        return milliseconds(work)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    try:
        begin.record()
        work()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end))
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return float("nan")


def in_turns(peers: dict[str, Work], rounds: int, device: torch.device) -> dict[str, float]:
    """Milliseconds of each after two runs of each, or one where each is measured once."""
    return medians(peers, rounds, partial(clock, device), warm_up=min(rounds, 2))


def copying(device: torch.device, rounds: int) -> float:
    """Bytes a second, read and written, of copying a tensor that no cache holds."""
    source = torch.randn(1 << 28 if device.type == "cuda" else 1 << 20, device=device)
    target = torch.empty_like(source)
    return 1000 * 8 * source.numel() / in_turns({"copy": lambda: target.copy_(source)}, rounds, device)["copy"]


def operator_rows(
    positions: int, batch: int, dtype: torch.dtype, rounds: int, device: torch.device, bandwidth: float
) -> list[Row]:
    """Forward, and forward with backward."""
    tensors = operands(CHANNELS, positions, batch, device, dtype)
    v, k, *others = tensors
    prepared = prepare_kernel(k, positions)
    with torch.inference_mode():
        forward = in_turns(
            {
                "ours": lambda: ours(*tensors),
                "prepared": lambda: ours(v, prepared, *others),
                "stock": lambda: stock(*tensors),
            },
            rounds,
            device,
        )
    leaves = [tensor.requires_grad_() for tensor in tensors]
    gradient = torch.randn_like(v)
    training = in_turns(
        {
            "ours": lambda: grad(ours(*leaves), leaves, gradient),
            "stock": lambda: grad(stock(*leaves), leaves, gradient),
        },
        rounds,
        device,
    )
    name = f"B={batch}, L={positions:,}, {str(dtype).removeprefix('torch.')}"
    share = 1000 * (4 * dtype.itemsize + 4 / batch) * v.numel() / bandwidth / forward["ours"]
    return [
        row(f"forward, {name}", forward["ours"], "torch.fft", forward["stock"], "ms"),
        row(f"forward, kernel prepared, {name}", forward["prepared"], "torch.fft", forward["stock"], "ms"),
        row(f"forward and backward, {name}", training["ours"], "torch.fft", training["stock"], "ms"),
        row(f"share of the roofline, forward, {name}", share, "all of it", 1.0, "of 1", higher=True),
    ]


def peer_rows(positions: int, batch: int, rounds: int, device: torch.device) -> list[Row]:
    """Beside FlashFFTConv, which has no skip and wants position-last tensors; and the errors of both."""
    from flashfftconv import FlashFFTConv

    v, k, skip, gate_in, gate_out = operands(CHANNELS, positions, batch, device, torch.bfloat16)
    module = FlashFFTConv(2 * positions, dtype=torch.bfloat16).to(device)
    theirs = [tensor.contiguous() for tensor in (v, k, gate_in, gate_out)]
    exact = stock(*(t.float() for t in (v, k, torch.zeros_like(skip), gate_in, gate_out)))
    errors = [
        float((found.float() - exact).norm() / exact.norm())
        for found in (ours(v, k, torch.zeros_like(skip), gate_in, gate_out), module(*theirs))
    ]
    with torch.inference_mode():
        forward = in_turns(
            {"ours": lambda: ours(v, k, skip, gate_in, gate_out), "peer": lambda: module(*theirs)}, rounds, device
        )
    leaves = [[t.detach().requires_grad_() for t in each] for each in ((v, k, skip, gate_in, gate_out), theirs)]
    gradient = torch.randn_like(v)
    training = in_turns(
        {
            "ours": lambda: grad(ours(*leaves[0]), leaves[0], gradient),
            "peer": lambda: grad(module(*leaves[1]), leaves[1], gradient.contiguous()),
        },
        rounds,
        device,
    )
    name = f"B={batch}, L={positions:,}, bfloat16"
    return [
        row(f"forward, {name}", forward["ours"], "FlashFFTConv", forward["peer"], "ms"),
        row(f"forward and backward, {name}", training["ours"], "FlashFFTConv", training["peer"], "ms"),
        row(f"relative error, {name}", errors[0], "FlashFFTConv", errors[1], "relative"),
    ]


def model_row(length: int, rounds: int, device: torch.device) -> Row:
    """The paper's headline figure: forward and backward of two layers of 128 channels, one sequence, bfloat16."""
    config = HyenaDNAConfig(d_model=128, n_layer=2, d_inner=512, max_seq_len=length, embed_dropout=0.0)
    hyena = HyenaDNAModel(config).to(device)  # type: ignore[arg-type]
    transformer = GPTNeoXModel(
        GPTNeoXConfig(
            vocab_size=config.vocab_size,
            hidden_size=128,
            num_hidden_layers=2,
            num_attention_heads=8,
            intermediate_size=512,
            max_position_embeddings=length,
            use_parallel_residual=False,
            use_cache=False,
        )
    ).to(device)  # type: ignore[arg-type]
    ids = torch.randint(7, 11, (1, length), device=device)

    def step(model: nn.Module, hidden: Callable[[], torch.Tensor]) -> None:
        with torch.autocast(device.type, torch.bfloat16):
            loss = hidden().float().square().mean()
        loss.backward()
        model.zero_grad()

    times = in_turns(
        {
            "hyena": lambda: step(hyena, lambda: hyena(ids).last_hidden_state),
            "transformer": lambda: step(transformer, lambda: transformer(ids).last_hidden_state),
        },
        rounds,
        device,
    )
    what = f"2 x 128 HyenaDNA, forward and backward, L={length:,}"
    return row(what, times["hyena"], "Transformer, flash attention", times["transformer"], "ms")


def released(name: str, **changes: Any) -> HyenaDNAForCausalLM:
    """A released model's shape, with random weights."""
    torch.manual_seed(0)
    config = HyenaDNAConfig.from_pretrained(CARDS / name, **changes)
    return HyenaDNAForCausalLM(config)


def step_row(name: str, length: int, rounds: int, device: torch.device) -> Row:
    """A training step of a released model on one sequence, in bfloat16, with our kernels and with torch's FFTs."""
    models = {backend: released(name, long_conv_backend=backend).to(device) for backend in ("auto", "torch")}  # type: ignore[arg-type]
    recomputed = length > 200_000  # else its activations fill the memory
    for model in models.values():
        if recomputed:
            model.gradient_checkpointing_enable()
        model.train()
    ids = torch.randint(7, 11, (1, length), device=device)

    def step(model: nn.Module) -> None:
        with torch.autocast(device.type, torch.bfloat16):
            loss = model(ids, labels=ids).loss
        loss.backward()
        model.zero_grad()

    times = in_turns({backend: partial(step, model) for backend, model in models.items()}, rounds, device)
    what = f"training step of {name}, L={length:,}{', activations recomputed' if recomputed else ''}"
    return row(what, times["auto"], "torch.fft", times["torch"], "ms")


def scoring_row(name: str, length: int, batch: int, rounds: int, device: torch.device) -> Row:
    """A forward pass without gradients, replayed as a CUDA graph and launched as ever."""
    model = released(name).to(device).eval()  # type: ignore[arg-type]
    ids = torch.randint(7, 11, (batch, length), device=device)
    with torch.inference_mode(), cuda_graphs(model):
        replayed = model.forward
        for _ in range(3):
            exact, graph = replayed.own(ids).logits, replayed(ids).logits
        torch.testing.assert_close(graph, exact, rtol=1e-4, atol=1e-4)
        times = in_turns({"graph": lambda: replayed(ids), "own": lambda: replayed.own(ids)}, rounds, device)
    what = f"scoring by {name}, B={batch}, L={length:,}, as a CUDA graph"
    return row(what, times["graph"], "launch by launch", times["own"], "ms")


def generation_rows(name: str, prompt: int, new: int, rounds: int, device: torch.device) -> list[Row]:
    """New tokens after a prompt: as CUDA graphs, with a cache, and by reading everything for each."""
    model = released(name).to(device).eval()  # type: ignore[arg-type]
    ids = torch.randint(7, 11, (1, prompt), device=device)
    options = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False}

    def generated(cached: bool = True, graphs: bool = False) -> torch.Tensor:
        with cuda_graphs(model) if graphs else nullcontext():
            return model.generate(ids, use_cache=cached, **options)  # type: ignore[no-any-return]

    peers: dict[str, Callable[[], object]] = {
        "graphs": partial(generated, graphs=True),
        "cached": generated,
        "anew": partial(generated, cached=False),
    }
    assert torch.equal(generated(graphs=True), generated()), "generation as CUDA graphs gives other tokens"
    times = in_turns(peers, rounds, device)
    what = f"{new} tokens of {name} after {prompt:,}"
    return [
        row(f"{what}, as CUDA graphs", times["graphs"], "launch by launch", times["cached"], "ms"),
        row(what, times["cached"], "without a cache", times["anew"], "ms"),
    ]


def operator_part(rounds: int, device: torch.device, quick: bool) -> list[Row]:
    """Checked, then timed at each length and at the two tokens more that the tokenizer makes of so many bases."""
    rows = check([n for n in CHECKED if n <= 2_000] if quick else CHECKED, device)
    bandwidth = copying(device, rounds)
    for length, batch, dtype, more in product(
        LENGTHS[:1] if quick else LENGTHS, (1, 8), (torch.float32, torch.bfloat16), (0, 2)
    ):
        if batch * length <= 2_000_000:
            few = min(rounds, 3) if batch * length > 400_000 else rounds
            rows += operator_rows(length + more, batch, dtype, few, device, bandwidth)
    return rows


def peers_part(rounds: int, device: torch.device, quick: bool) -> list[Row]:
    """Beside other kernels, of those that are installed."""
    if not find_spec("flashfftconv"):
        print("flashfftconv is not installed: there is no peer to measure")
        return []
    return [each for case in PEER_LENGTHS[: 1 if quick else None] for each in peer_rows(*case, rounds, device)]


def models_part(rounds: int, device: torch.device, quick: bool) -> list[Row]:
    """Training, scoring and generation."""
    rows = []
    for name, length in RELEASED[:1] if quick else RELEASED:
        rows.append(step_row(name, 1_026 if quick else length, 1 if length > 200_000 else min(rounds, 5), device))
    rows += [scoring_row(TINY, 1_026, batch, rounds, device) for batch in ((1,) if quick else (1, 64))]
    prompt, new = (100, 20) if quick else (500, 500)
    return [*rows, *generation_rows(TINY, prompt, new, 1, device)]


def transformer_part(rounds: int, device: torch.device, quick: bool) -> list[Row]:
    """Two layers beside a Transformer's."""
    return [model_row(length, min(rounds, 3), device) for length in (MODEL_LENGTHS[:1] if quick else MODEL_LENGTHS)]


PARTS = {"operator": operator_part, "peers": peers_part, "models": models_part, "transformer": transformer_part}


def measured(part: str, rounds: int, device: torch.device, quick: bool) -> list[Row]:
    """A part's rows, but for those that did not fit into memory, which are named."""
    rows = PARTS[part](rounds, device, quick)
    missing = [each["what"] for each in rows if isnan(each["value"]) or isnan(each["against_value"])]
    if missing:
        print(f"left out, out of memory: {', '.join(missing)}")
    return [each for each in rows if each["what"] not in missing]


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument(
        "parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; all of them if none is named"
    )
    options.add_argument("--device", default="cuda")
    options.add_argument("--quick", action="store_true", help="short lengths and one round; writes no result")
    options.add_argument("--check-only", action="store_true", help="only check a few short lengths")
    arguments = parsed(options)
    if unknown := [part for part in arguments.parts if part not in PARTS]:
        options.error(f"no such part: {', '.join(unknown)}")
    device = torch.device(arguments.device)
    print(f"backend: {chosen_backend('auto', device)}")
    if arguments.check_only:
        check([3, 97, 1_026, 24_577], device)
        sys.exit()
    for part in arguments.parts or PARTS:
        rows = measured(part, 1 if arguments.quick else 9, device, arguments.quick)
        if arguments.quick:
            machine = {"cores": 0, "gpu": arguments.device}
            print(table([{"benchmark": f"gpu_{part}", "machine": machine, "rows": rows}]))
        elif rows:
            write(f"gpu_{part}", rows, gpu=torch.cuda.get_device_name(device))
