"""Nucleotide dependency maps: how much a substitution at one base moves what a model says of another. L bases.

Two measures of a pair (mutated i, target j), each the largest over the three substitutions and the four target bases:

"log-odds": |change of log2 odds|, odds of probabilities among A, C, G, T to which 1e-10 is added (Tomaz da Silva et
    al., Nature Genetics 2025; gagneurlab/dependencies_DNALM at e20c4bc, `compute_dependency_map`).
"log-probability": |change of the natural log p| among the four bases (the categorical Jacobian of
    Open-Athena/marin-dna at 1121f27, `nucleotide_dependency_map`).

A masked model reads both sides of a target, which is not masked. A causal model's map of one strand has targets behind
the substitution only: that of the other strand has those before it, and both together are the map.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from datasets_dart.alphabet import BASES, UNKNOWN, encode_bases, reverse_complement
from evaluation_dart.scoring.finite import check_finite
from evaluation_dart.scoring.four_bases import base_ids, four_base_log_p
from evaluation_dart.scoring.substitutions import substitutions

LOG_ODDS, LOG_PROBABILITY = MEASURES = ("log-odds", "log-probability")
MEAN, MAX, DIRECTED = COMBINED = ("mean", "max", "directed")
EPSILON = 1e-10
AT_ONCE = 96  # sequences whose probabilities are in memory together, a multiple of three


def logits_of_odds(log_p: np.ndarray) -> np.ndarray:
    """log2 odds (..., 4) of log-probabilities among the four bases."""
    p = np.exp(log_p) + EPSILON
    p /= p.sum(axis=-1, keepdims=True)
    return np.asarray(np.log2(p) - np.log2(1 - p))


def strand_map(
    scorer: Any,
    sequence: str,
    start: int,
    end: int,
    measure: str,
    batch_size: int | str = "auto",
) -> np.ndarray:
    """(end - start, end - start) of one strand: rows are mutated bases, columns targets; 0 on the diagonal.

    Of a causal model 0 as well where the target is not behind the mutated base. NaN in rows and columns of bases that
    are none of A, C, G, T.
    """
    scale = logits_of_odds if measure == LOG_ODDS else np.asarray
    own = scale(base_log_p(scorer, [sequence], start, end, batch_size))[0]
    codes = encode_bases(sequence[start:end])
    found = np.full((end - start, end - start), np.nan)
    for first in range(start, end, AT_ONCE // 3):
        mutants, places = substitutions(sequence, first, min(first + AT_ONCE // 3, end))
        if not mutants:
            continue
        rows = first - start + places[::3, 0]
        changed = scale(base_log_p(scorer, mutants, start, end, batch_size))
        moved = np.abs(changed - own).reshape(len(rows), 3, end - start, len(BASES)).max(axis=(1, 3))
        found[rows] = moved
    if scorer.kind == "causal":  # which reads no further than its target
        found[np.tril_indices(len(found))] = 0.0
    np.fill_diagonal(found, 0.0)
    found[codes == UNKNOWN], found[:, codes == UNKNOWN] = np.nan, np.nan
    return found


@torch.inference_mode()
def base_log_p(scorer: Any, sequences: Sequence[str], start: int, end: int, batch_size: int | str) -> np.ndarray:
    """(n, end - start, 4) float64 log p among the four bases at [start, end); 0 where nothing predicts them.

    Nothing predicts a causal model's first token: no substitution moves it either.
    """
    ids = torch.tensor(base_ids(scorer), device=scorer.device)
    causal = int(scorer.kind == "causal")

    def run(rows: slice, size: int) -> np.ndarray:
        inputs, _ = scorer.encode(sequences[rows])
        at = torch.arange(start, end, device=scorer.device) + scorer.before - causal
        with scorer.passing(size, inputs["input_ids"].shape[1]):
            logits = scorer.model(**inputs).logits[:, at.clamp(min=0)]
        log_p = four_base_log_p(logits, ids)
        log_p[:, at < 0] = 0.0
        return np.asarray(log_p.double().cpu())

    found = np.concatenate(scorer.in_batches(len(sequences), len(sequences[0]), batch_size, run))
    check_finite(found, scorer.name, lambda row: f"sequence {row + 1} of {len(found)}")
    return found


def dependencies_of(
    scorer: Any,
    sequence: str,
    start: int,
    end: int,
    measure: str,
    combine: str,
    both_strands: bool,
    batch_size: int | str = "auto",
) -> np.ndarray:
    """The map (end - start, end - start) of both strands, or of one: rows are mutated bases, columns targets.

    Args:
        combine: "directed", as it is; "mean" or "max" of i on j and j on i, of one strand of a causal model, which has
            one of these only, that one. both_strands: of a causal model the other strand gives the targets before a
            substitution; of a masked one both maps are averaged.
    """
    length = len(sequence)
    found = strand_map(scorer, sequence, start, end, measure, batch_size)
    if both_strands:
        turned = strand_map(scorer, reverse_complement(sequence), length - end, length - start, measure, batch_size)[
            ::-1, ::-1
        ]
        found = found + turned if scorer.kind == "causal" else (found + turned) / 2
    elif scorer.kind == "causal":
        found[np.tril_indices(len(found), -1)] = np.nan  # not read
        return found if combine == DIRECTED else np.asarray(np.fmax(found, found.T))
    if combine == DIRECTED:
        return found
    return np.asarray(np.maximum(found, found.T) if combine == MAX else (found + found.T) / 2)
