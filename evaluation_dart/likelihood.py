"""Log-likelihoods of token sequences (DART-Eval spec section 1.4). B sequences, T tokens; natural logarithms."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

Model = Callable[..., Any]


class Recipe(NamedTuple):
    """How a sequence becomes a number. Every record carries its recipe: without it two numbers cannot be compared."""

    name: str
    reduction: str  # over tokens: "sum" or "mean"
    strand: str  # "forward", or "mean" of forward and reverse complement
    special_tokens: str = "not scored"


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("dart-eval", "sum", "forward"),
        Recipe("dart-eval-both-strands", "sum", "mean"),
        # Sums over BPE tokens partly measure how many tokens a sequence has; means do not.
        Recipe("dart-eval-mean", "mean", "forward"),
    )
}

COMPLEMENT = str.maketrans("ACGTacgt", "TGCAtgca")


def reverse_complement(sequence: str) -> str:
    return sequence.translate(COMPLEMENT)[::-1]


def score_sequences(scorer: Any, sequences: list[str], recipe: Recipe, **options: Any) -> np.ndarray:
    """Scores (n,) of `sequences` by anything that has `log_likelihood(sequences, ...)`."""
    if recipe.reduction != "sum":
        options["reduction"] = recipe.reduction
    scores = scorer.log_likelihood(sequences, **options)
    if recipe.strand == "mean":
        scores = (scores + scorer.log_likelihood([reverse_complement(s) for s in sequences], **options)) / 2
    return scores


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
