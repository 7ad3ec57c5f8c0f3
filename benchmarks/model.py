"""The model against the stock model (benchmarks/stock_model.py): scoring and training, in one run.

python benchmarks/model.py [--threads 2]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    torch.manual_seed(0)
    rows = rows_of("tiny-1k", TINY_1K, batch=8, rounds=7, scoring=True)
    rows += rows_of("small-32k", SMALL_32K, batch=1, rounds=3, scoring=True)
    path = write("model", rows)
    print(table([json.loads(path.read_text(encoding="utf-8"))]))
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
