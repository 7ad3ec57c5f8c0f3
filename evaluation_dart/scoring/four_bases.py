"""Probabilities among the four bases only, as MarinDNA's scores take them: a variant's LLR, and next-token JSD.

Source: Open-Athena/marin-dna at 3a120d2, `compute_variant_score_bundle` of src/marin_dna/model/scoring.py. For SNVs and
causal models with a token for each base. n alleles, T tokens.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch

from datasets_dart.alphabet import BASES
from datasets_dart.errors import InputError


def base_ids(model: Any) -> list[int]:
    """Token ids of A, C, G and T.

    Raises:
        ValueError: if the tokenizer has not one token for each base, by itself as within a sequence.
    """
    ids = [model.tokenizer(base, add_special_tokens=False)["input_ids"] for base in BASES]
    single = [own[0] for own in ids if len(own) == 1]
    sequence = "ACGTTGCAACGTTGCA"
    spelt = model.tokenizer(sequence, add_special_tokens=False)["input_ids"]
    if len(set(single)) < len(BASES) or spelt != [single[BASES.index(base)] for base in sequence]:
        raise InputError(f"{model.name}: reads k-mers or BPE; what is asked of it needs a token for each base")
    return single


def four_base_log_p(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """log p of A, C, G and T (..., 4) among each other, of logits (..., V), in float32; ids: (4,) of their tokens."""
    return logits[..., ids].float().log_softmax(-1)


class Pair(NamedTuple):
    """Of an SNV: log p of its two alleles' windows from the variant on, and next-token JSD; NaN where none is."""

    reference: float
    alternative: float
    divergence: float


def snv_scores(
    reference: torch.Tensor, alternative: torch.Tensor, tokens: torch.Tensor, other: torch.Tensor, own: torch.Tensor
) -> Pair:
    """Scores of one SNV.

    The divergence is Jensen and Shannon's of what the model expects after REF and after ALT, in nats, mean over all
    bases behind the variant. Log-likelihoods are summed over the variant and those bases: what is before is common.

    Args:
        reference, alternative: (T - 1, 4) log p of the bases as next tokens, in either window. tokens, other: (T,)
            0 to 3 of the bases of the windows, -1 of all other tokens. own: (T,) bool, tokens of the sequence itself.
    """
    place = int((tokens != other).int().argmax())
    behind = own[1:] & (torch.arange(1, len(tokens), device=tokens.device) > place)
    if place == 0 or not own[place] or not behind.any():
        return Pair(math.nan, math.nan, math.nan)
    mixed = torch.logaddexp(reference, alternative) - math.log(2)
    parts = [(log_p.exp() * (log_p - mixed)).sum(dim=-1) for log_p in (reference, alternative)]
    divergence = (parts[0] + parts[1])[behind].mean() / 2
    known = behind & (tokens[1:] >= 0)
    totals = []
    for log_p, base in ((reference, tokens[place]), (alternative, other[place])):
        after = log_p[known].gather(1, tokens[1:][known][:, None]).double().sum()
        totals.append(float(log_p[place - 1, base]) + float(after))
    return Pair(totals[0], totals[1], float(divergence))


def as_bases(tokens: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Token ids as 0 to 3 for A, C, G, T, and -1 for all others; ids: (4,) of their tokens."""
    found = tokens[..., None] == ids
    return torch.where(found.any(-1), found.int().argmax(-1), -1)


def check_causal_bases(scorer: Any, name: str) -> None:
    """Refuse models of which a score is not defined.

    Raises:
        InputError: for a model that is not causal, or has not a token for each base.
    """
    if getattr(scorer, "kind", None) != "causal":
        raise InputError(
            f"recipe {name}: {scorer.name} is not a causal language model, whose next tokens the recipe compares"
        )
    base_ids(scorer)


def distances_of_tokens(hidden: torch.Tensor, own: torch.Tensor, first: np.ndarray) -> np.ndarray:
    """L2 distance of each sequence's hidden states, all tokens in a row, from those of another: (b,) float64.

    Args:
        hidden: (b, T, C). own: (b, T) bool, the tokens that count. first: (b,) row of the other.
    """
    difference = torch.where(own[..., None], hidden - hidden[torch.as_tensor(first, device=hidden.device)], 0.0)
    return np.asarray(difference.double().square().sum(dim=(1, 2)).sqrt().cpu())
