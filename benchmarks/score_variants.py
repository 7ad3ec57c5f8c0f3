"""Scores of a VCF's alleles: what alleles have in common read once, beside every window read whole.

    python benchmarks/score_variants.py [--threads 2] [--device cuda]

The same windows in the same run, from sequences to scores: `VariantScorer` with and without sharing, and of recipes
that mask, beside one pass over the window of each alternative allele that reads it to its end.
Models have the shapes of released ones and random weights; variants are in the middle of random windows.
"""

from collections.abc import Callable

import numpy as np
import torch
from record import Row, medians, parsed, parser, row, write

from evaluation_dart.models.language_model import LanguageModel
from evaluation_dart.recipes import variant_recipe
from evaluation_dart.scoring.alleles import VariantScorer
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
    """A model of a released shape, with random weights."""
    width, layers, tokens, _ = SHAPES[name]
    torch.manual_seed(0)
    config = HyenaDNAConfig(d_model=width, n_layer=layers, max_seq_len=tokens, emb_dim=5, activation_freq=10)
    network = HyenaDNAForCausalLM(config).to(device)  # type: ignore[arg-type]
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


@torch.inference_mode()
def scores_to_the_end(scorer: LanguageModel, pairs: list[list[str]], batch_size: int) -> np.ndarray:
    """The same scores, each window of an alternative allele read to its end."""
    found = []
    for start in range(0, len(pairs[0]), batch_size):
        one, two = (scorer.encode(own[start : start + batch_size])[0]["input_ids"] for own in pairs)
        masked = one.masked_fill(one != two, scorer.tokenizer.mask_token_id)
        with scorer.passing(*one.shape):
            log_p = scorer.model(input_ids=masked).logits[:, :-1].float().log_softmax(-1)
        sums = [log_p.gather(-1, own[:, 1:, None]).double().sum(dim=(1, 2)) for own in (one, two)]
        found.append((sums[1] - sums[0]).cpu().numpy())
    return np.concatenate(found)


def rows_of(scorer: LanguageModel, name: str, what: str, records: int) -> list[Row]:
    """One kind of variants by one model: whole alleles, and for substitutions also the recipe that masks."""
    alternatives, batch, length = ALTERNATIVES[what], BATCH[name], SHAPES[name][-1]
    sequences, record = windows(records, length, alternatives)
    reference = np.searchsorted(record, record)
    kept = reference != np.arange(len(record))
    recipe = variant_recipe("whole-alleles")
    shared, apart = (VariantScorer(scorer, recipe, batch, share) for share in (True, False))
    works: dict[str, tuple[Callable[[], np.ndarray], Callable[[], np.ndarray]]] = {
        "whole-alleles": (
            lambda: shared(sequences, record).score,
            lambda: apart(sequences, record).score,
        )
    }
    if "deletion" not in alternatives:
        masked = VariantScorer(scorer, variant_recipe("dart-eval"), batch)
        pairs = [[sequences[row] for row in where] for where in (reference[kept], np.flatnonzero(kept))]
        works["dart-eval"] = (
            lambda: masked(sequences, record).score,
            lambda: scores_to_the_end(scorer, pairs, batch),
        )
    rows = []
    for recipe_name, (ours, theirs) in works.items():
        assert np.abs(ours() - theirs()).max() < 1e-2
        times = medians({"ours": ours, "theirs": theirs}, REPEATS, warm_up=0)
        fast, slow = (1000 * kept.sum() / times[peer] for peer in ("ours", "theirs"))
        measured = f"alleles, {what}, {name}, {length:,} bp, recipe {recipe_name}"
        rows.append(row(measured, fast, "every window read whole", slow, "a second", higher=True))
    return rows


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("--device", default="cpu")
    device = parsed(options).device
    gpu = torch.cuda.get_device_name() if device.startswith("cuda") else None
    rows: list[Row] = []
    for name in SHAPES:
        scorer = model(name, device)
        for what in ALTERNATIVES:
            rows += rows_of(scorer, name, what, RECORDS[name] * (16 if gpu else 1))
    write("score_variants_gpu" if gpu else "score_variants", rows, gpu)
