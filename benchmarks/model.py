"""The model against the stock model (benchmarks/stock_model.py): scoring, training and generation, in one run.

    python benchmarks/model.py [--threads 2]

Without a cache every new token costs a forward of all tokens so far; a thousand of them are not waited for, but taken
as a thousand times the forward of the middle one.
"""

from collections.abc import Callable
from typing import Any

import torch
from record import Row, medians, parsed, parser, row, write
from stock_model import StockHyenaDNA
from torch.nn import functional as F

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM

TINY_1K: dict[str, Any] = {"d_model": 128, "n_layer": 2, "max_seq_len": 1026}
SMALL_32K: dict[str, Any] = {"d_model": 256, "n_layer": 4, "max_seq_len": 32_770}
PROMPT, NEW_TOKENS = 31_000, 1_000


def pair(settings: dict[str, Any]) -> tuple[HyenaDNAForCausalLM, StockHyenaDNA]:
    """Ours and the stock model with the same random weights; their logits are equal."""
    config = HyenaDNAConfig(**settings, emb_dim=5, activation_freq=10, embed_dropout=0.0)
    ours = HyenaDNAForCausalLM(config).eval()  # type: ignore[no-untyped-call]
    stock = StockHyenaDNA(ours)
    ids = torch.randint(7, 11, (1, 200))
    with torch.inference_mode():
        torch.testing.assert_close(ours(ids).logits, stock(ids), atol=1e-4, rtol=1e-4)
    return ours, stock


def training_step(model: torch.nn.Module, logits: Callable[[torch.Tensor], torch.Tensor], ids: torch.Tensor) -> None:
    """Forward, loss and backward; no optimiser."""
    loss = F.cross_entropy(logits(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    model.zero_grad()


def rows_of(name: str, settings: dict[str, Any], batch: int, rounds: int) -> list[Row]:
    """Scoring and a training step of a batch at the model's context."""
    ours, stock = pair(settings)
    ids = torch.randint(7, 11, (batch, settings["max_seq_len"]))
    what = f"{name}, {batch} x {settings['max_seq_len']:,} tokens"
    with torch.inference_mode():
        measured = {"scoring": medians({"ours": lambda: ours(ids).logits, "stock": lambda: stock(ids)}, rounds)}
    ours.train()
    measured["training step"] = medians(
        {
            "ours": lambda: training_step(ours, lambda x: ours(x).logits, ids),
            "stock": lambda: training_step(stock, stock, ids),
        },
        rounds,
    )
    return [
        row(f"{what}, {kind}", times["ours"], "stock model", times["stock"], "ms") for kind, times in measured.items()
    ]


def generation_rows() -> list[Row]:
    """New tokens after a long prompt, beside models without a cache."""
    ours, stock = pair(SMALL_32K)
    ours.generation_config.eos_token_id = None
    prompt = torch.randint(7, 11, (1, PROMPT))
    middle = torch.randint(7, 11, (1, PROMPT + NEW_TOKENS // 2))
    with torch.inference_mode():
        times = medians(
            {
                "cached": lambda: ours.generate(
                    prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=NEW_TOKENS, do_sample=False
                ),
                "ours, uncached": lambda: ours(middle, logits_to_keep=1),
                "stock model, uncached": lambda: stock(middle),
            },
            rounds=3,
        )
    return [
        row(
            f"small-32k, {NEW_TOKENS:,} tokens after {PROMPT:,}, prefill included",
            times["cached"] / 1000,
            f"{peer} (extrapolated)",
            times[peer] * NEW_TOKENS / 1000,
            "s",
        )
        for peer in ("stock model, uncached", "ours, uncached")
    ]


if __name__ == "__main__":
    parsed(parser(__doc__))
    write(
        "model",
        [
            *rows_of("tiny-1k", TINY_1K, batch=8, rounds=21),
            *rows_of("small-32k", SMALL_32K, batch=1, rounds=3),
            *generation_rows(),
        ],
    )
