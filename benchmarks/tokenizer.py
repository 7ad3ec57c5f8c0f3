"""Time to ids: the tokenizer's byte-table path, its Rust path and a per-character Python tokenizer, in one run.

python benchmarks/tokenizer.py
"""

import json
import random
import statistics
import time
from collections.abc import Callable

from record import Row, write
from table import table

from modeling_hyenadna import HyenaDNATokenizer
from modeling_hyenadna.tokenization_hyenadna import SEP, UNK, VOCABULARY

REPEATS = 7


class RustPath(HyenaDNATokenizer):
    """The same tokenizer, kept off its byte table."""

    def _encode_by_table(self, *args, **options):
        return None


def one_by_one(sequence: str) -> dict[str, list[int]]:
    """What a character tokenizer in Python does at the least: look up each base, append [SEP], make the mask."""
    ids = [VOCABULARY.get(base, UNK) for base in sequence]
    ids.append(SEP)
    return {"input_ids": ids, "attention_mask": [1] * len(ids)}


def milliseconds(work: Callable[[], object]) -> float:
    """Median of REPEATS runs after one to warm up."""
    times = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[1:])


def main() -> None:
    rng = random.Random(0)
    long = "".join(rng.choices("ACGT", k=1_000_000))
    batch = ["".join(rng.choices("ACGT", k=350)) for _ in range(1000)]
    tokenizer, rust = HyenaDNATokenizer(), RustPath()
    assert tokenizer(long)["input_ids"] == rust(long)["input_ids"] == one_by_one(long)["input_ids"]

    rows: list[Row] = []
    for what, text, options in (
        ("1,000,000 bases to lists", long, {}),
        ("1,000,000 bases to tensors", long, {"return_tensors": "pt"}),
        ("1,000 x 350 bases to tensors", batch, {"padding": True, "return_tensors": "pt"}),
    ):
        ours = milliseconds(lambda text=text, options=options: tokenizer(text, **options))
        peers = {"Rust path": milliseconds(lambda text=text, options=options: rust(text, **options))}
        if not options:
            peers["per-character Python"] = milliseconds(lambda text=text: one_by_one(text))
        rows += [
            Row(what=what, value=ours, against=peer, against_value=theirs, unit="ms", higher_is_better=False)
            for peer, theirs in peers.items()
        ]
    path = write("tokenizer", rows)
    print(table([json.loads(path.read_text(encoding="utf-8"))]))
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
