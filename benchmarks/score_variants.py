"""Scores of a VCF's alleles: what alleles have in common read once, beside every window read whole.

    python benchmarks/score_variants.py [--threads 2] [--device cuda]

The same windows in the same run, from sequences to scores: `VariantScorer` with and without sharing, and of recipes
that mask, beside `LanguageModel.allele_log_likelihoods`, which reads the window of each alternative allele to its end.
Models have the shapes of released ones and random weights; variants stand in the middle of random windows.
"""

import argparse
import json
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from record import Row, write
from table import table

import modeling_hyenadna  # noqa: F401
from evaluation_dart.models.language_model import LanguageModel
from evaluation_dart.scoring.alleles import VariantScorer, variant_recipe
from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNATokenizer

REPEATS = 3
SHAPES = {"tiny-1k": (128, 2, 1026, 1024), "small-32k": (256, 4, 32_770, 8_192)}
BATCH = {"tiny-1k": 16, "small-32k": 4}  # of 64 windows, the processor's cache holds no layer's activations
RECORDS = {"tiny-1k": 64, "small-32k": 4}
ALTERNATIVES = {
    "SNVs of one alternative allele": ["C"],
    "SNVs of three": ["C", "G", "T"],
    "deletions of 3 bp": ["deletion"],
}


def model(name: str, device: str) -> LanguageModel:
    width, layers, tokens, _ = SHAPES[name]
    torch.manual_seed(0)
    config = HyenaDNAConfig(d_model=width, n_layer=layers, max_seq_len=tokens, emb_dim=5, activation_freq=10)
    network = HyenaDNAForCausalLM(config).to(device)
    return LanguageModel(network, HyenaDNATokenizer(), "causal", name, "random")


def windows(records: int, length: int, alternatives: list[str]) -> tuple[list[str], np.ndarray]:
    """Sequences of REF (A) and its alternatives, and of which record each is."""
    rng = np.random.default_rng(0)
    sequences = []
    for _ in range(records):
        left, right = ("".join(rng.choice(list("ACGT"), length // 2)) for _ in range(2))
        for allele in ["A", *alternatives]:
            rest = right[3:] + "ACG" if allele == "deletion" else right
            sequences.append((left + ("A" if allele == "deletion" else allele) + rest)[:length])
    return sequences, np.repeat(np.arange(records), 1 + len(alternatives))


def seconds(*works: Callable[[], np.ndarray]) -> list[float]:
    """Median seconds of each, taken in turns, after one round to warm up that compares what they compute."""
    first, *others = (work() for work in works)
    assert all(np.abs(first - other).max() < 1e-2 for other in others)
    times: list[list[float]] = [[] for _ in works]
    for _ in range(REPEATS):
        for work, taken in zip(works, times, strict=True):
            start = time.perf_counter()
            work()
            taken.append(time.perf_counter() - start)
    return [median(taken) for taken in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    gpu = torch.cuda.get_device_name() if arguments.device.startswith("cuda") else None
    rows: list[Row] = []
    for name, (*_, length) in SHAPES.items():
        scorer = model(name, arguments.device)
        for what, alternatives in ALTERNATIVES.items():
            records = RECORDS[name] * (16 if gpu else 1)
            sequences, record = windows(records, length, alternatives)
            reference = np.searchsorted(record, record)
            kept = reference != np.arange(len(record))
            whole_alleles = [
                VariantScorer(scorer, variant_recipe("biofoundation"), BATCH[name], share) for share in (True, False)
            ]
            works = {"biofoundation": [lambda s=s: s(sequences, record).score for s in whole_alleles]}  # noqa: B023
            if "deletion" not in alternatives:
                masked = VariantScorer(scorer, variant_recipe("dart-eval"), BATCH[name])
                pairs = [[sequences[row] for row in where] for where in (reference[kept], np.flatnonzero(kept))]

                def to_the_end(scorer=scorer, pairs=pairs, name=name) -> np.ndarray:
                    one, two = scorer.allele_log_likelihoods(*pairs, batch_size=BATCH[name])
                    return two - one

                works["dart-eval"] = [lambda: masked(sequences, record).score, to_the_end]  # noqa: B023
            for recipe, (ours, theirs) in works.items():
                fast, slow = seconds(ours, theirs)
                rows.append(
                    Row(
                        what=f"alleles, {what}, {name}, {length:,} bp, recipe {recipe}",
                        value=kept.sum() / fast,
                        against="every window read whole",
                        against_value=kept.sum() / slow,
                        unit="a second",
                        higher_is_better=True,
                    )
                )
    path = write("score_variants_gpu" if gpu else "score_variants", rows, gpu)
    print(table([json.loads(path.read_text(encoding="utf-8"))]))
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
