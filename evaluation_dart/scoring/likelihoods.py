"""Log-likelihoods of token sequences (DART-Eval spec section 1.4). B sequences, T tokens; natural logarithms."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from datasets_dart.alphabet import reverse_complement
from datasets_dart.errors import InputError
from evaluation_dart.recipes import ANY_ALLELES, AS_IT_IS, NOT_SCORED, STRANDS, WHOLE, Recipe
from evaluation_dart.scoring.alike import reads_alike

Model = Callable[..., Any]
# Why a recipe that puts one allele in the place of another has no score of an allele
UNEQUAL_TOKENS, NOT_PREDICTED = "unequal_tokens", "not_predicted"
NO_MASKED_SCORE = {
    UNEQUAL_TOKENS: "the alleles of a variant are not as many tokens, so that none can be masked for the other",
    NOT_PREDICTED: "a variant is the first token of its window, at which a causal model predicts nothing",
}


def strands_of(sequences: Sequence[str], strand: str) -> list[list[str]]:
    """What a model reads of sequences, one strand or, for a "mean", both."""
    return [[*map(reverse_complement, sequences)] if turned else [*sequences] for turned in STRANDS[strand]]


def score_sequences(
    scorer: Any,
    sequences: Sequence[str],
    recipe: Recipe,
    record: Sequence[Any] | np.ndarray | None = None,
    **options: Any,
) -> np.ndarray:
    """Scores (n,) of `sequences` by anything that has `log_likelihood(sequences, ...)`.

    Args:
        record: (n,) names of groups of sequences that begin, or end, alike: models that can read what they have in
            common once. None where there are none.
    """
    options |= recipe.options()
    if record is not None and reads_alike(scorer):
        options["record"] = record
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
    if recipe.alleles == WHOLE:
        if unequal_tokens_matter(scorer, recipe):
            counts = [scorer.token_counts(own) for own in (sequences1, sequences2)]
            if (counts[0] != counts[1]).any():
                raise InputError(
                    f"recipe {recipe.name}: {scorer.name} reads the alleles of a variant as unequal numbers of tokens, "
                    f"which the project cannot: take {ANY_ALLELES}"
                )
        record = [*range(len(sequences1))] * 2
        both = score_sequences(scorer, [*sequences1, *sequences2], recipe, record, **options)
        return both[: len(sequences1)], both[len(sequences1) :]
    strands = zip(strands_of(sequences1, recipe.strand), strands_of(sequences2, recipe.strand), strict=True)
    scores = [scorer.allele_log_likelihoods(one, two, **recipe.options(), **options) for one, two in strands]
    one, two = np.mean(scores, axis=0)
    return one, two


def counts_that_vary(scorer: Any, sequences: Sequence[str], recipe: Recipe) -> np.ndarray | None:
    """(n,) numbers of tokens of sequences, mean over the recipe's strands, where they are not those of bases or k-mers.

    None of a model whose tokens are all of one length, or that has none.
    """
    if getattr(scorer, "bases_per_token", 1) is not None:
        return None
    return np.asarray(np.mean([scorer.token_counts(own) for own in strands_of(sequences, recipe.strand)], axis=0))


def unequal_tokens_matter(scorer: Any, recipe: Recipe) -> bool:
    """Whether a recipe's project stacks the tokens of both alleles, and a model's tokens are of several lengths."""
    lengths_vary = getattr(scorer, "bases_per_token", 1) is None
    return recipe.alleles == WHOLE and recipe.variants == "SNVs" and lengths_vary


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
    return causal_sums(model(**inputs).logits, inputs["input_ids"], own)


def causal_sums(logits: torch.Tensor, tokens: torch.Tensor, own: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[`causal_log_likelihood`] of a causal model's logits (B, T, V)."""
    scored = own[:, 1:]
    log_p = token_log_probabilities(logits[:, :-1], tokens[:, 1:])
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
def masked_allele_log_likelihoods(
    scorer: Any,
    references: Sequence[str],
    alternatives: Sequence[str],
    reduction: str = "sum",
    special_tokens: str = NOT_SCORED,
    text: str = AS_IT_IS,
    batch_size: int = 64,
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """log p of the tokens in which two alleles differ, all of them masked (DART-Eval spec section 6c).

    All other terms of the two sequences' likelihoods are common to both, so that the difference is what the whole
    masked sequences have: of a causal model, given what is left of these tokens. Its mask token (or, where it has none,
    the first allele itself) is read by later positions only, whose terms cancel; it reads no further than the variant.
    Inputs that are equal when masked, such as those of several single-base alternatives, go through the model once.

    Args:
        scorer: a language model. special_tokens, text: of its `encode`. reduction: a "mean" divides by the number of
            all the tokens of a sequence. batch_size: rows in a forward pass.

    Returns:
        (n,), (n,) float64, and n statuses: where one says why (`NO_MASKED_SCORE`), the scores are NaN.
    """
    n = len(references)
    inputs, own = scorer.encode([*references, *alternatives], special_tokens, text)
    (one, two), (own1, own2) = inputs["input_ids"].split(n), own.split(n)
    causal = int(scorer.kind == "causal")
    differ = (one != two) & own1
    mask_token = scorer.tokenizer.mask_token_id
    masked = one if mask_token is None else one.masked_fill(one != two, mask_token)
    last = (differ.int() * torch.arange(1, differ.shape[1] + 1, device=differ.device)).amax(dim=1).cpu().numpy()
    ends = np.maximum(last - causal, 1) if causal else np.full(n, one.shape[1])  # tokens to read
    on_host = masked.cpu().numpy()
    equal: dict[bytes, list[int]] = {}  # rows that are one input when masked
    as_many = (own1 == own2).all(dim=1)
    predicted = ~differ[:, :causal].any(dim=1)
    for row in (as_many & predicted).nonzero().flatten().tolist():
        equal.setdefault(on_host[row, : ends[row]].tobytes(), []).append(row)
    groups = sorted(equal.values(), key=lambda rows: ends[rows[0]])
    scores = torch.full((2, n), torch.nan, dtype=torch.float64, device=one.device)
    for start in range(0, len(groups), batch_size):
        batch = groups[start : start + batch_size]
        rows, members = [group[0] for group in batch], [row for group in batch for row in group]
        end = int(ends[rows].max())
        passed = {name: values[:n][rows, :end] for name, values in inputs.items()}
        passed["input_ids"] = masked[rows, :end]
        with scorer.passing(len(rows), end):
            log_p = scorer.model(**passed).logits.float().log_softmax(-1)
        index, token = differ[members].nonzero(as_tuple=True)
        place = np.repeat(np.arange(len(batch)), [*map(len, batch)])
        at = torch.as_tensor(place, device=one.device)[index]
        for scored, tokens in zip(scores, (one, two), strict=True):
            values = log_p[at, token - causal, tokens[members][index, token]].double()
            total = torch.zeros(len(members), dtype=torch.float64, device=one.device).index_add_(0, index, values)
            scored[members] = total / own1[members].sum(dim=1).clamp(min=1) if reduction == "mean" else total
    reference, alternative = scores.cpu().numpy()
    why = zip(as_many.tolist(), predicted.tolist(), strict=True)
    status = ["" if one and two else NOT_PREDICTED if one else UNEQUAL_TOKENS for one, two in why]
    return reference, alternative, status
