"""A training step on packed rows, beside the same sequences in a batch of rows, padded where they are of many lengths.

python benchmarks/packing.py [--threads 2]
"""

import random
from collections.abc import Callable
from typing import Any

import torch
from record import Row, medians, parsed, parser, row, write

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM

ROUNDS, TOKENS, PAD = 7, 8192, 4


def sequences(lengths: list[int]) -> list[torch.Tensor]:
    """Random bases of these lengths."""
    return [torch.randint(7, 11, (length,)) for length in lengths]


def packed(rows: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """One row of all sequences."""
    ids = torch.cat(rows)[None]
    return {"input_ids": ids, "labels": ids, "position_ids": torch.cat([torch.arange(len(row)) for row in rows])[None]}


def padded(rows: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """A row each, padded on the right to the longest."""
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
    mask = (ids != PAD).long()
    return {"input_ids": ids, "labels": ids.masked_fill(mask == 0, -100), "attention_mask": mask}


def step(model: Any, inputs: dict[str, torch.Tensor]) -> Callable[[], None]:
    """A forward with its backward."""

    def work() -> None:
        model.zero_grad()
        model(**inputs).loss.backward()

    return work


def many_lengths() -> list[int]:
    """Lengths from 32 to 1,024, evenly spread in their logarithm, of `TOKENS` tokens together."""
    rng, lengths = random.Random(0), list[int]()
    while (left := TOKENS - sum(lengths)) > 0:
        lengths.append(min(left, round(2 ** rng.uniform(5, 10))))
    return lengths


if __name__ == "__main__":
    parsed(parser(__doc__))
    sizes: dict[str, Any] = {"d_model": 128, "n_layer": 2, "max_seq_len": 1026, "emb_dim": 5, "activation_freq": 10}
    model = HyenaDNAForCausalLM(HyenaDNAConfig(**sizes, embed_dropout=0.0))
    cases = {"of 1,024": [1024] * 8, "of 128": [128] * 64, "of 32 to 1,024": many_lengths()}
    rows: list[Row] = []
    for name, lengths in cases.items():
        given = sequences(lengths)
        times = medians({"packed": step(model, packed(given)), "batch": step(model, padded(given))}, ROUNDS)
        what = f"training step of tiny-1k, {TOKENS:,} tokens in {len(lengths)} sequences {name}, packed in one row"
        beside = "one padded batch" if len({*lengths}) > 1 else "one batch"
        rows.append(row(what, times["packed"], beside, times["batch"], "ms"))
    write("packing", rows)
