"""The model of this checkout against that of another one, a pair of runs at a time.

    git worktree add /tmp/before COMMIT
    python benchmarks/checkouts.py /tmp/before [--pairs 30] [--threads 1] [--cases training]

The two take turns, every run in a new process: how its memory happens to lie makes one process 5 % slower than the
next, for good. Times are of the processor, which other programs disturb less. A ratio is the median over the pairs,
with the 95 % interval of a median by ranks.
"""

import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from record import Row, parsed, parser, row, write

HERE = Path(__file__).parents[1]
TINY_1K: dict[str, Any] = {"d_model": 128, "n_layer": 2, "max_seq_len": 1026}
SMALL_32K: dict[str, Any] = {"d_model": 256, "n_layer": 4, "max_seq_len": 32_770}
CASES: dict[str, tuple[dict[str, Any], int, str]] = {  # model, batch, what is done
    "tiny-1k, 8 x 1,026 tokens, scoring": (TINY_1K, 8, "scoring"),
    "tiny-1k, 8 x 1,026 tokens, training step": (TINY_1K, 8, "training"),
    "tiny-1k, 64 tokens after 900": (TINY_1K, 1, "generation"),
    "small-32k, 1 x 32,770 tokens, scoring": (SMALL_32K, 1, "scoring"),
    "small-32k, 1 x 32,770 tokens, training step": (SMALL_32K, 1, "training"),
}


def work_of(case: str) -> Callable[[], object]:
    """What one run of a case does, with random weights that are the same in every checkout."""
    from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM

    settings, batch, what = CASES[case]
    config = HyenaDNAConfig(**settings, emb_dim=5, activation_freq=10, embed_dropout=0.0)
    model = HyenaDNAForCausalLM(config).train(what == "training")
    ids = torch.randint(7, 11, (batch, settings["max_seq_len"]))

    def training() -> None:
        model(ids, labels=ids).loss.backward()
        model.zero_grad()

    @torch.inference_mode()
    def scoring() -> None:
        model(ids)

    def generation() -> None:
        prompt = ids[:, :900]
        mask = torch.ones_like(prompt)
        model.generate(prompt, attention_mask=mask, max_new_tokens=64, min_new_tokens=64, do_sample=False)

    return {"training": training, "scoring": scoring, "generation": generation}[what]


def measure(case: str) -> float:
    """Milliseconds of processor time of a run after one that warms up."""
    work = work_of(case)
    work()
    start = time.process_time()
    work()
    return 1000 * (time.process_time() - start)


def milliseconds(checkout: Path, case: str, threads: int) -> float:
    """[`measure`] in a process with the code of `checkout`."""
    command = [sys.executable, "-W", "ignore", __file__, str(checkout), "--case", case, "--threads", str(threads)]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.splitlines()[-1])


def interval_of_median(values: list[float]) -> tuple[float, float]:
    """The narrowest pair of ranks, as far from either end, between which the median lies with 95 %."""
    ranked, count = sorted(values), len(values)
    below = 0
    while 2 * sum(math.comb(count, k) for k in range(below + 1)) / 2**count <= 0.05:
        below += 1
    return ranked[max(0, below - 1)], ranked[min(count - 1, count - below)]


def compared(case: str, other: Path, pairs: int, threads: int) -> Row:
    """The row of a case, with the interval of the ratio: above 1 this checkout is faster."""
    checkouts, times = (HERE, other), []
    for number in range(pairs):
        order = checkouts if number % 2 else checkouts[::-1]  # neither is always the first
        found = {checkout: milliseconds(checkout, case, threads) for checkout in order}
        times.append([found[checkout] for checkout in checkouts])
    ours, theirs = map(list, zip(*times, strict=True))
    ratios = [before / now for now, before in zip(ours, theirs, strict=True)]
    low, high = interval_of_median(ratios)
    found_row = row(case, statistics.median(ours), f"commit {commit(other)}", statistics.median(theirs), "ms")
    return found_row | {"ratio": {"median": statistics.median(ratios), "low": low, "high": high, "pairs": pairs}}


def commit(checkout: Path) -> str:
    """The short name of what is checked out."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("other", type=Path, help="the checkout to compare with")
    options.add_argument("--pairs", type=int, default=30, help="pairs of runs of each case")
    options.add_argument("--cases", default="", help="only cases with this in their names")
    options.add_argument("--case", choices=CASES, help="measure this case here and print its milliseconds")
    arguments = parsed(options)
    if arguments.case:
        print(measure(arguments.case))
    else:
        rows = []
        for name in (name for name in CASES if arguments.cases in name):
            rows.append(compared(name, arguments.other, arguments.pairs, arguments.threads))
            print(name, {key: round(value, 4) for key, value in rows[-1]["ratio"].items()}, flush=True)
        write("checkouts", rows)
