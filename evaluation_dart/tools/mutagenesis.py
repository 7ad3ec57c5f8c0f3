"""In-silico mutagenesis: what every single substitution does to a sequence's score. Columns in the order A, C, G, T."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from datasets_dart.alphabet import reverse_complement
from evaluation_dart.models.language_model import LanguageModel
from evaluation_dart.recipes import Recipe
from evaluation_dart.scoring.likelihoods import score_sequences
from evaluation_dart.tools.attribution import BASES, base_ids, head_score

Score = Callable[[Sequence[str]], np.ndarray]


def substitutions(sequence: str, start: int, end: int) -> tuple[list[str], np.ndarray]:
    """Every sequence with one known base of [start, end) replaced.

    Returns:
        m strings, and (m, 2) int64: the position replaced, counted from `start`, and the new base's index.
    """
    places = [
        (position, base)
        for position in range(start, end)
        if sequence[position] in BASES
        for base in range(len(BASES))
        if BASES[base] != sequence[position]
    ]
    mutants = [sequence[:position] + BASES[base] + sequence[position + 1 :] for position, base in places]
    return mutants, np.array(places, dtype=np.int64).reshape(-1, 2) - [start, 0]


def changes(score: Score, sequence: str, start: int, end: int) -> np.ndarray:
    """Score of each substitution less that of the sequence, (end - start, 4) float64.

    0 at a position's own base; NaN in all four columns where that is none of A, C, G, T.
    """
    mutants, places = substitutions(sequence, start, end)
    scores = score([sequence, *mutants])
    table = _unchanged(sequence[start:end])
    table[places[:, 0], places[:, 1]] = scores[1:] - scores[0]
    return table


def conditional_changes(
    model: LanguageModel, sequence: str, start: int, end: int, recipe: Recipe, batch_size: int = 64
) -> np.ndarray:
    """log p(base) - log p(own base) at each position, as recipes score alleles that are masked: shape as [`changes`].

    Of a masked model with the position masked, one row of a forward pass a position; of a causal model given what is
    left of it, one row in all, where the first base of the window has no prediction and no change (0).

    Raises:
        ValueError: if the tokenizer has not one token for each base.
    """
    strands = [sequence] if recipe.strand == "forward" else [sequence, reverse_complement(sequence)]
    first = _log_probabilities(model, strands[0], start, end, batch_size)
    if len(strands) == 2:
        other = _log_probabilities(model, strands[1], len(sequence) - end, len(sequence) - start, batch_size)
        first = (first + other[::-1, ::-1]) / 2  # of the complement, in reverse: the columns turn round as well
    table = _unchanged(sequence[start:end])
    for row, base in enumerate(sequence[start:end]):
        if base in BASES:
            table[row] = first[row] - first[row, BASES.index(base)]
    return table / len(sequence) if recipe.reduction == "mean" else table


@torch.inference_mode()
def _log_probabilities(model: LanguageModel, sequence: str, start: int, end: int, batch_size: int) -> np.ndarray:
    """log p of the four bases at [start, end), (end - start, 4); zeros where nothing predicts them."""
    ids = torch.tensor(base_ids(model), device=model.device)
    inputs, _ = model.encode([sequence])
    at = torch.arange(start, end, device=model.device) + model.before
    if model.kind == "causal":
        log_p = model.model(**inputs).logits[0].float().log_softmax(-1)[:, ids]
        log_p = torch.cat([torch.zeros_like(log_p[:1]), log_p[:-1]])
        return log_p[at].double().cpu().numpy()
    rows = []
    for part in at.split(batch_size):
        masked = {name: values.expand(len(part), -1).clone() for name, values in inputs.items()}
        here = torch.arange(len(part), device=model.device)
        masked["input_ids"][here, part] = model.tokenizer.mask_token_id
        logits = model.model(**masked).logits[here, part]
        rows.append(logits.float().log_softmax(-1)[:, ids].double().cpu())
    return torch.cat(rows).numpy()


def likelihood_changes(
    model: LanguageModel, sequence: str, start: int, end: int, recipe: Recipe, batch_size: int = 64
) -> np.ndarray:
    """Changes of the (pseudo-)log-likelihood by a recipe, in nats: of masked alleles, or of whole sequences."""
    if recipe.alleles == "masked":
        return conditional_changes(model, sequence, start, end, recipe, batch_size)

    def score(sequences: Sequence[str]) -> np.ndarray:
        return score_sequences(model, sequences, recipe, batch_size=batch_size)

    return changes(score, sequence, start, end)


def forward_rows(model: LanguageModel, sequence: str, start: int, end: int, recipe: Recipe) -> int:
    """Rows that go through the model for [`likelihood_changes`] of a sequence without N.

    Raises:
        ValueError: as [`LanguageModel.encode`].
    """
    strands = 2 if recipe.strand == "mean" else 1
    passes = model.forward_passes([sequence], recipe.special_tokens == "scored")
    if recipe.alleles == "masked":
        return strands * (1 if model.kind == "causal" else end - start)
    return strands * passes * (3 * (end - start) + 1)


def head_scorer(model: LanguageModel, target: int | None, strand: str = "forward", batch_size: int = 64) -> Score:
    """[`head_score`] of strings by a classifier of [`finetuning.load_classifier`]: a function to (n,) float64.

    strand: "forward", or the "mean" of both.
    """

    @torch.inference_mode()
    def score(sequences: Sequence[str]) -> np.ndarray:
        if strand == "mean":
            other = head_scorer(model, target, "forward", batch_size)(list(map(reverse_complement, sequences)))
            return (head_scorer(model, target, "forward", batch_size)(sequences) + other) / 2
        scores = []
        for first in range(0, len(sequences), batch_size):
            inputs, _ = model.encode(sequences[first : first + batch_size])
            scores.append(head_score(model.model(**inputs).logits, model.model.config, target).double().cpu().numpy())
        return np.concatenate(scores) if scores else np.empty(0)

    return score


def importance(table: np.ndarray, sequence: str) -> np.ndarray:
    """What the observed base adds, at each position: (L, 4), zero but for the observed base.

    The score of the observed base less the mean over all four, out of [`changes`] (L, 4): tangermeme's convention.
    """
    rows = np.zeros_like(table)
    for row, base in enumerate(sequence):
        if base in BASES:
            rows[row, BASES.index(base)] = -table[row].mean()
    return rows


def _unchanged(sequence: str) -> np.ndarray:
    table = np.zeros((len(sequence), len(BASES)))
    table[[base not in BASES for base in sequence]] = np.nan
    return table
