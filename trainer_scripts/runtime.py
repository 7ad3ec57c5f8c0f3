"""How long a model of HyenaDNA's and a Transformer of its size take forwards and backwards (paper Figure 4.1).

As there: 2 layers of width 128, a batch of 1, checkpointed gradients. The Transformer is transformers' GPT-NeoX with
PyTorch's fused attention, the paper's a GPT with FlashAttention. What is measured is kept, and read where it is there.
"""

import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GPTNeoXConfig

from datasets_dart.errors import InputError
from datasets_dart.files import write_text
from datasets_dart.formats.documents import parse_json
from evaluation_dart.models.checkpoints import usable_device
from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM

WIDTH, LAYERS, HEADS, TOKENS = 128, 2, 8, 16
ROUNDS = 6  # the smallest and the largest of six contain the median with a chance of 1 - 2 / 2**6 = 97 %


def hyenadna(length: int) -> Any:
    """HyenaDNA with random weights."""
    config = HyenaDNAConfig(d_model=WIDTH, n_layer=LAYERS, d_inner=4 * WIDTH, max_seq_len=length)
    return HyenaDNAForCausalLM(config)


def transformer(length: int) -> Any:
    """A Transformer with random weights."""
    config = GPTNeoXConfig(
        vocab_size=TOKENS,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=4 * WIDTH,
        max_position_embeddings=length,
        use_cache=False,
        bos_token_id=0,
        eos_token_id=1,
    )
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")


MODELS: dict[str, Callable[[int], Any]] = {"HyenaDNA of 2 layers": hyenadna, "GPT with fused attention": transformer}


def step_milliseconds(model: Any, ids: torch.Tensor) -> float:
    """One pass forwards and backwards."""
    wait(ids.device)
    began = time.perf_counter()
    model(input_ids=ids, labels=ids).loss.backward()
    wait(ids.device)
    model.zero_grad(set_to_none=True)
    return 1000 * (time.perf_counter() - began)


def wait(device: torch.device) -> None:
    """Wait for what a GPU still does."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def runtime(model: str, length: int, path: Path, device: str | None = None, overwrite: bool = False) -> dict[str, Any]:
    """Milliseconds of a pass: the median of six with their smallest and largest, which is written to `path`.

    Args:
        model: one of `MODELS`. length: tokens.

    Raises:
        InputError: for a model that there is not, or a file of another measurement.
    """
    if model not in MODELS:
        raise InputError(f"no model {model!r} to measure: there are {', '.join(MODELS)}")
    place = usable_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    about = {"model": model, "length": length, "device": device_name(place)}
    if path.is_file() and not overwrite:
        kept: dict[str, Any] = parse_json(path.read_text(encoding="utf-8"), path)
        if {name: kept.get(name) for name in about} != about:
            raise InputError(f"{path}: is of {kept.get('model')}, {kept.get('length')} tokens, on {kept.get('device')}")
        return kept
    torch.manual_seed(0)
    network = MODELS[model](length).to(place).train()
    network.gradient_checkpointing_enable()
    ids = torch.randint(2, TOKENS, (1, length), device=place)
    step_milliseconds(network, ids)
    times = [step_milliseconds(network, ids) for _ in range(ROUNDS)]
    metric = {"value": statistics.median(times), "low": min(times), "high": max(times), "n": ROUNDS}
    record = about | {
        "metrics": {"milliseconds": metric},
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    write_text(path, json.dumps(record, indent=1) + "\n")
    return record


def device_name(place: torch.device | str) -> str:
    """What a record says of where it was measured."""
    place = torch.device(place)
    if place.type == "cuda":
        return torch.cuda.get_device_name(place)
    return f"{place.type} {platform.machine()}"
