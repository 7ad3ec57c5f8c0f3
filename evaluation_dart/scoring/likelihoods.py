"""Log-likelihoods of token sequences (DART-Eval spec section 1.4). B sequences, T tokens; natural logarithms."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from datasets_dart.alphabet import reverse_complement
from evaluation_dart.recipes import STRANDS, Recipe

Model = Callable[..., Any]


def strands_of(sequences: Sequence[str], strand: str) -> list[list[str]]:
    """What a model reads of sequences, one strand or, for a "mean", both."""
    return [[*map(reverse_complement, sequences)] if turned else [*sequences] for turned in STRANDS[strand]]


def score_sequences(scorer: Any, sequences: Sequence[str], recipe: Recipe, **options: Any) -> np.ndarray:
    """Scores (n,) of `sequences` by anything that has `log_likelihood(sequences, ...)`."""
    options |= recipe.options()
    scores = [scorer.log_likelihood(own, **options) for own in strands_of(sequences, recipe.strand)]
    return np.asarray(np.mean(scores, axis=0))


def score_alleles(
    scorer: Any, sequences1: Sequence[str], sequences2: Sequence[str], recipe: Recipe, **options: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n,), (n,) of both alleles of variants; of recipes that mask, only their difference means anything.

    Args:
        scorer: with `log_likelihood(sequences, ...)` or, for masked alleles, `allele_log_likelihoods(...)`.
        sequences1, sequences2: the windows with either allele.
    """
    if recipe.alleles == "whole":
        both = score_sequences(scorer, [*sequences1, *sequences2], recipe, **options)
        return both[: len(sequences1)], both[len(sequences1) :]
    strands = zip(strands_of(sequences1, recipe.strand), strands_of(sequences2, recipe.strand), strict=True)
    scores = [scorer.allele_log_likelihoods(one, two, **recipe.options(), **options) for one, two in strands]
    one, two = np.mean(scores, axis=0)
    return one, two


def token_log_probabilities(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """log p of `tokens` (...) under `logits` (..., V), in float32."""
    return logits.float().log_softmax(-1).gather(-1, tokens[..., None])[..., 0]


@torch.inference_mode()
def causal_log_likelihood(
    model: Model, inputs: Mapping[str, torch.Tensor], own: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of log p(token | those before it) over `own` tokens, from one forward pass.

    The first token has nothing before it and is not scored, even if it is one of the sequence's own.

    Args:
        inputs: of the model, `input_ids` (B, T) among them.
        own: (B, T) bool, the tokens to score.

    Returns:
        (B,) float64 sums, (B,) numbers of tokens scored.
    """
    tokens = inputs["input_ids"]
    logits = model(**inputs).logits[:, :-1]
    scored = own[:, 1:]
    log_p = token_log_probabilities(logits, tokens[:, 1:])
    return torch.where(scored, log_p, 0.0).double().sum(dim=1), scored.sum(dim=1)


@torch.inference_mode()
def masked_log_likelihood(
    model: Model, inputs: Mapping[str, torch.Tensor], own: torch.Tensor, mask_token: int, rows: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pseudo-log-likelihood: log p of each `own` token with it alone masked, summed.

    One row of a forward pass for each token; `rows` of them at once, across sequences.

    Args and returns as [`causal_log_likelihood`]; mask_token: its id.
    """
    tokens = inputs["input_ids"]
    total = torch.zeros(len(tokens), dtype=torch.float64, device=tokens.device)
    for part in own.nonzero().split(rows):
        sequence, position = part.T
        masked = {name: values[sequence] for name, values in inputs.items()}
        index = torch.arange(len(part), device=tokens.device)
        masked["input_ids"][index, position] = mask_token
        logits = model(**masked).logits[index, position]
        total.index_add_(0, sequence, token_log_probabilities(logits, tokens[sequence, position]).double())
    return total, own.sum(dim=1)


@torch.inference_mode()
def allele_log_likelihoods(
    model: Model,
    inputs: Mapping[str, torch.Tensor],
    others: torch.Tensor,
    own: torch.Tensor,
    causal: bool,
    mask_token: int | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-likelihoods of two alleles from one pass, in which the tokens that differ are masked (spec section 6c).

    All other terms are common to both, so that score 2 - score 1 is log p(allele 2) - log p(allele 1) at those tokens:
    of a causal model, given what is left of them. Its mask token (or, where it has none, allele 1 itself) is read
    by later positions only, whose terms cancel.

    Args:
        inputs: of allele 1, `input_ids` (B, T) among them; others: (B, T) tokens of allele 2; own: (B, T) bool, the
            tokens to score.

    Returns:
        (B,), (B,) float64 sums.
    """
    tokens = inputs["input_ids"]
    masked = dict(inputs)
    if mask_token is not None:
        masked["input_ids"] = tokens.masked_fill(tokens != others, mask_token)
    log_p = model(**masked).logits.float().log_softmax(-1)
    if causal:
        log_p, tokens, others, own = log_p[:, :-1], tokens[:, 1:], others[:, 1:], own[:, 1:]
    scores = (log_p.gather(-1, allele[..., None])[..., 0] for allele in (tokens, others))
    one, two = (torch.where(own, score, 0.0).double().sum(dim=1) for score in scores)
    return one, two
