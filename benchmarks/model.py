"""The model against the stock model (benchmarks/stock_model.py): scoring, training and generation, in one run.

    python benchmarks/model.py [--threads 2]

Without a cache every new token costs a forward of all tokens so far; a thousand of them are not waited for, but taken
as a thousand times the forward of the middle one.
"""

import argparse
import json
from collections.abc import Callable

import torch
from long_conv import medians
from record import Row, write
from stock_model import StockHyenaDNA
from table import table
from torch.nn import functional as F

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM

TINY_1K = {"d_model": 128, "n_layer": 2, "max_seq_len": 1026}
SMALL_32K = {"d_model": 256, "n_layer": 4, "max_seq_len": 32_770}
PROMPT, NEW_TOKENS = 31_000, 1_000


def pair(settings: dict[str, int]) -> tuple[HyenaDNAForCausalLM, StockHyenaDNA]:
    """Ours and the stock model with the same random weights; their logits are equal."""
    config = HyenaDNAConfig(**settings, emb_dim=5, activation_freq=10, embed_dropout=0.0)
    ours, stock = HyenaDNAForCausalLM(config), StockHyenaDNA(config)
    stock.load_weights(ours.state_dict())
    ids = torch.randint(7, 11, (1, 200))
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(ids).logits, stock(ids), atol=1e-4, rtol=1e-4)
    return ours, stock


def training_step(model: torch.nn.Module, logits: Callable[[torch.Tensor], torch.Tensor], ids: torch.Tensor) -> None:
    loss = F.cross_entropy(logits(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    model.zero_grad()


def rows_of(name: str, settings: dict[str, int], batch: int, rounds: int, scoring: bool) -> list[Row]:
    ours, stock = pair(settings)
    ids = torch.randint(7, 11, (batch, settings["max_seq_len"]))
    what = f"{name}, {batch} x {settings['max_seq_len']:,} tokens"
    measured = {}
    if scoring:
        with torch.inference_mode():
            measured["scoring"] = medians({"ours": lambda: ours(ids).logits, "stock": lambda: stock(ids)}, rounds)
    ours.train()
    measured["training step"] = medians(
        {
            "ours": lambda: training_step(ours, lambda x: ours(x).logits, ids),
            "stock": lambda: training_step(stock, stock, ids),
        },
        rounds,
    )
    return [
        Row(
            what=f"{what}, {kind}",
            value=times["ours"],
            against="stock model",
            against_value=times["stock"],
            unit="ms",
            higher_is_better=False,
        )
        for kind, times in measured.items()
    ]


def generation_rows() -> list[Row]:
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
        Row(
            what=f"small-32k, {NEW_TOKENS:,} tokens after {PROMPT:,}, prefill included",
            value=times["cached"] / 1000,
            against=f"{peer} (extrapolated)",
            against_value=times[peer] * NEW_TOKENS / 1000,
            unit="s",
            higher_is_better=False,
        )
        for peer in ("stock model, uncached", "ours, uncached")
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    torch.manual_seed(0)
    rows = rows_of("tiny-1k", TINY_1K, batch=8, rounds=7, scoring=True)
    rows += rows_of("small-32k", SMALL_32K, batch=1, rounds=3, scoring=True)
    rows += generation_rows()
    path = write("model", rows)
    print(table([json.loads(path.read_text(encoding="utf-8"))]))
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
