"""Time to ids: the tokenizer's byte-table path, its Rust path and a per-character Python tokenizer, in one run.

python benchmarks/tokenizer.py
"""

import random
from functools import partial
from typing import Any

from record import Row, medians, parsed, parser, row, write
from transformers import BatchEncoding

from modeling_hyenadna import HyenaDNATokenizer
from modeling_hyenadna.vocabulary import SEP, UNK, VOCABULARY

REPEATS = 7


class RustPath(HyenaDNATokenizer):
    """The same tokenizer, kept off its byte table."""

    def _encode_by_table(self, *args: Any, **options: Any) -> BatchEncoding | None:
        return None


def one_by_one(sequence: str) -> dict[str, list[int]]:
    """What a character tokenizer in Python does at the least: look up each base, append [SEP], make the mask."""
    ids = [VOCABULARY.get(base, UNK) for base in sequence]
    ids.append(SEP)
    return {"input_ids": ids, "attention_mask": [1] * len(ids)}


if __name__ == "__main__":
    parsed(parser(__doc__))
    rng = random.Random(0)
    long = "".join(rng.choices("ACGT", k=1_000_000))
    batch = ["".join(rng.choices("ACGT", k=350)) for _ in range(1000)]
    tokenizer: Any = HyenaDNATokenizer()
    rust: Any = RustPath()
    assert tokenizer(long)["input_ids"] == rust(long)["input_ids"] == one_by_one(long)["input_ids"]

    rows: list[Row] = []
    cases: list[tuple[str, Any, dict[str, Any]]] = [
        ("1,000,000 bases to lists", long, {}),
        ("1,000,000 bases to tensors", long, {"return_tensors": "pt"}),
        ("1,000 x 350 bases to tensors", batch, {"padding": True, "return_tensors": "pt"}),
    ]
    for what, text, options in cases:
        peers: dict[str, Any] = {
            "ours": partial(tokenizer, text, **options),
            "Rust path": partial(rust, text, **options),
        }
        if not options:
            peers["per-character Python"] = partial(one_by_one, text)
        times = medians(peers, REPEATS)
        rows += [row(what, times["ours"], peer, times[peer], "ms") for peer in [*peers][1:]]
    write("tokenizer", rows)
