"""Scores of alleles in their windows, whatever the alleles: by likelihood, distance of embeddings, or a trained head.

The alleles of a record share their window up to the first of them that differs. A causal model that carries a cache
reads that part once for all of them, and goes on from there with each; what it computes is the same. Of recipes that
mask, it reads nothing after the variant, as nothing there could distinguish two alleles.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate.utils.memory import clear_device_cache

from datasets_dart.errors import InputError
from evaluation_dart.models.kinds import check_batch_size
from evaluation_dart.models.language_model import LARGEST, BatchSize, Encoder, LanguageModel, OutOfMemory
from evaluation_dart.recipes import (
    CARBON_TEXT,
    DISTANCES,
    HEAD,
    JSD,
    MASKED,
    OF_BASES,
    TOKENS_L2,
    VariantRecipe,
)
from evaluation_dart.scoring.embeddings import cosine_distance, hidden_states, pool
from evaluation_dart.scoring.four_bases import (
    as_bases,
    base_ids,
    check_causal_bases,
    distances_of_tokens,
    four_base_log_p,
    snv_scores,
)
from evaluation_dart.scoring.heads import head_scores, label_index
from evaluation_dart.scoring.likelihoods import (
    NOT_PREDICTED,
    UNEQUAL_TOKENS,
    masked_allele_log_likelihoods,
    score_sequences,
    strands_of,
    token_log_probabilities,
    unequal_tokens_matter,
)

# Below this share of a window, reading a common part once does not pay for the second pass.
WORTH_SHARING = 0.125
# Differences of log-probabilities between a pass with a cache and one without that are rounding.
ROUNDING = {torch.float32: 1e-3, torch.float64: 1e-3}
HALF_PRECISION_ROUNDING = 0.25
AUTO_ON_CPU = 16


class Scores(NamedTuple):
    """(m,) float64 of alternative alleles; NaN where `status` says why."""

    reference: np.ndarray  # of the window with REF; NaN of distances
    alternative: np.ndarray
    score: np.ndarray  # alternative - reference, or a distance
    status: list[str]  # empty, UNEQUAL_TOKENS or NOT_PREDICTED


class VariantScorer:
    """Scores alleles with a model by a recipe.

    Attributes:
        shares: whether a causal model reads what alleles have in common once.

    Raises:
        ValueError: if the recipe asks for what the model cannot do.
    """

    def __init__(self, scorer: Any, recipe: VariantRecipe, batch_size: BatchSize = 64, share: bool = True):
        check_batch_size(batch_size)
        self.scorer, self.recipe, self.auto = scorer, recipe.of(scorer), batch_size == "auto"
        recipe = self.recipe
        # On a CPU, so few that their activations stay in its cache
        usual = AUTO_ON_CPU if scorer.device_name == "cpu" else LARGEST
        self.batch_size = usual if batch_size == "auto" else int(batch_size)
        if recipe.likelihood is not None:
            recipe.likelihood.check(scorer, alleles=True)
        elif not isinstance(scorer, Encoder):
            raise InputError(f"recipe {recipe.name}: {scorer.name} is no network with hidden states")
        if recipe.name in OF_BASES:
            check_causal_bases(scorer, recipe.name)
        if recipe.name == HEAD:
            label_index(scorer.model.config, recipe.label)
        self.shares = share and recipe.name != HEAD and isinstance(scorer, LanguageModel) and shares_prefix(scorer)
        if recipe.likelihood is not None and recipe.likelihood.text == CARBON_TEXT and self.shares:
            self.shares = not scorer.scores_bases

    def __call__(self, sequences: Sequence[str], record: np.ndarray) -> Scores:
        """Scores of all but the first sequence of each record, in their order.

        Args:
            sequences: windows, those of a record one after another, that of REF first.
            record: (n,) of which record, or group of a record's alleles, each is, ascending.
        """
        if len(sequences) == 0:
            return Scores(np.empty(0), np.empty(0), np.empty(0), [])
        try:
            strands = [self._one_strand(own, record) for own in strands_of(sequences, self.recipe.strand)]
        except OutOfMemory:
            if not self.auto or self.batch_size == 1:
                raise
            self.batch_size //= 2
            clear_device_cache(garbage_collection=True)
            return self(sequences, record)
        status = [next(filter(None, own), "") for own in zip(*(strand.status for strand in strands), strict=True)]
        reference, alternative, score = np.mean([strand[:3] for strand in strands], axis=0)
        return Scores(reference, alternative, score, status)

    def _one_strand(self, sequences: Sequence[str], record: np.ndarray) -> Scores:
        first = np.searchsorted(record, record)  # row of each one's REF
        rows = np.flatnonzero(first != np.arange(len(record)))
        likelihood = self.recipe.likelihood
        if likelihood is not None and likelihood.alleles == MASKED:
            references, alternatives = ([sequences[row] for row in which] for which in (first[rows], rows))
            reference, alternative, status = masked_allele_log_likelihoods(
                self.scorer, references, alternatives, **likelihood.options(), batch_size=self.batch_size
            )
            return Scores(reference, alternative, alternative - reference, status)
        if self.recipe.name in OF_BASES:
            return self._of_bases(sequences, first, rows)
        status = [""] * len(rows)
        if self.recipe.name == TOKENS_L2:
            nothing = np.full(len(rows), np.nan)
            return Scores(nothing, nothing, self._token_distances(sequences, first)[rows], status)
        if self.recipe.name in DISTANCES:
            vectors = self._embed(sequences, first).astype(np.float64)
            one, two = vectors[first[rows]], vectors[rows]
            l2, nothing = self.recipe.name == "embedding-l2", np.full(len(rows), np.nan)
            distance = np.linalg.norm(one - two, axis=1) if l2 else cosine_distance(one, two)
            return Scores(nothing, nothing, distance, status)
        if self.recipe.name == HEAD:
            values = head_scores(self.scorer, sequences, self.recipe.label, batch_size=self.batch_size)
        else:
            values = self._log_likelihood(sequences, first)
            if likelihood is not None and unequal_tokens_matter(self.scorer, likelihood):
                counts = self.scorer.token_counts(sequences)
                unequal = counts[rows] != counts[first[rows]]
                values[rows[unequal]] = np.nan
                status = [UNEQUAL_TOKENS if own else "" for own in unequal.tolist()]
        return Scores(values[first[rows]], values[rows], values[rows] - values[first[rows]], status)

    def _log_likelihood(self, sequences: Sequence[str], first: np.ndarray) -> np.ndarray:
        recipe = self.recipe.likelihood
        assert recipe is not None
        if not self.shares:
            return score_sequences(
                self.scorer, sequences, recipe._replace(strand="forward"), batch_size=self.batch_size
            )
        inputs, own = self.scorer.encode(sequences, recipe.special_tokens, recipe.text)
        total, count = np.empty(len(sequences)), np.empty(len(sequences))
        for part in passes(self.scorer, inputs, own, first, self.batch_size):
            rows, ids, scored = part.rows, inputs["input_ids"][part.rows], own[part.rows]
            logits = part.output.logits[:, :-1]
            begin = max(part.start, 1)
            if part.start:
                logits = torch.cat([part.prefix.logits[part.head, -1:], logits], dim=1)
            log_p = token_log_probabilities(logits, ids[:, begin:])
            sums = torch.where(scored[:, begin:], log_p, 0.0).double().sum(dim=1)
            if part.start:
                heads = torch.as_tensor(part.heads, device=ids.device)
                log_p = token_log_probabilities(part.prefix.logits[:, :-1], inputs["input_ids"][heads, 1 : part.start])
                before = torch.where(own[heads, 1 : part.start], log_p, 0.0).double().sum(dim=1)
                sums += before[part.head]
            total[rows], count[rows] = sums.cpu().numpy(), scored[:, 1:].sum(dim=1).cpu().numpy()
        return total / np.maximum(count, 1) if recipe.reduction == "mean" else total

    def _of_bases(self, sequences: Sequence[str], first: np.ndarray, rows: np.ndarray) -> Scores:
        inputs, own = self.scorer.encode(sequences)
        ids = torch.tensor(base_ids(self.scorer), device=own.device)
        tokens = as_bases(inputs["input_ids"], ids)
        found = np.full((len(sequences), 3), np.nan)
        for part in passes(self.scorer, inputs, own, first, self.batch_size, share=self.shares):
            logits = part.output.logits
            if part.start:
                logits = torch.cat([part.prefix.logits[part.head], logits], dim=1)
            log_p = four_base_log_p(logits[:, :-1], ids)
            place = {row: number for number, row in enumerate(part.rows.tolist())}
            for row in (row for row in place if first[row] != row):
                one, two = place[int(first[row])], place[row]
                found[row] = snv_scores(log_p[one], log_p[two], tokens[first[row]], tokens[row], own[row])
        reference, alternative, divergence = found[rows].T
        status = ["" if known else NOT_PREDICTED for known in ~np.isnan(divergence)]
        if self.recipe.name == JSD:
            return Scores(np.full(len(rows), np.nan), np.full(len(rows), np.nan), divergence, status)
        return Scores(reference, alternative, alternative - reference, status)

    def _token_distances(self, sequences: Sequence[str], first: np.ndarray) -> np.ndarray:
        """(n,) distances of all hidden states from those of each sequence's REF."""
        inputs, own = self.scorer.encode(sequences)
        if ((own != own[first]).any(dim=1)).any():
            raise InputError(
                f"recipe {TOKENS_L2}: alleles of unequal numbers of tokens have no such distance: SNVs only"
            )
        found = np.empty(len(sequences))
        options = {"output_hidden_states": True, "share": self.shares}
        for part in passes(self.scorer, inputs, own, first, self.batch_size, **options):
            hidden = hidden_states(part.output, self.recipe.layer, self.scorer.name).float()
            counted, place = own[part.rows], np.searchsorted(part.rows, first[part.rows])
            # What is before the first difference is common, and its distance is 0
            found[part.rows] = distances_of_tokens(hidden, counted[:, part.start :], place)
        return found

    def _embed(self, sequences: Sequence[str], first: np.ndarray) -> np.ndarray:
        """(n, C) float32, means over the sequences' own tokens."""
        layer = self.recipe.layer
        if not self.shares:
            return np.asarray(self.scorer.embed(sequences, layer=layer, batch_size=self.batch_size))
        inputs, own = self.scorer.encode(sequences)
        vectors: list[tuple[np.ndarray, np.ndarray]] = []
        for part in passes(self.scorer, inputs, own, first, self.batch_size, output_hidden_states=True):
            hidden = hidden_states(part.output, layer, self.scorer.name)
            if part.start:
                hidden = torch.cat([hidden_states(part.prefix, layer, self.scorer.name)[part.head], hidden], dim=1)
            vectors.append((part.rows, pool(hidden, own[part.rows], "mean").cpu().numpy()))
        rows = np.concatenate([rows for rows, _ in vectors])
        return np.concatenate([means for _, means in vectors])[np.argsort(rows)]


class Pass(NamedTuple):
    """Some sequences through a model: what they have in common in a first pass, the rest of each in a second one."""

    rows: np.ndarray  # (b,) which sequences
    start: int  # of the tokens in `output`; 0 if there was no first pass
    output: Any  # of tokens `start` on, (b, ...)
    prefix: Any = None  # output of the tokens before `start`, (heads, ...)
    heads: np.ndarray | None = None  # which sequences went through the first pass
    head: torch.Tensor | None = None  # (b,) number, among the heads, of each sequence's own


@torch.inference_mode()
def passes(
    scorer: LanguageModel,
    inputs: dict[str, torch.Tensor],
    own: torch.Tensor,
    first: np.ndarray,
    batch_size: int,
    share: bool = True,
    **options: Any,
) -> Iterator[Pass]:
    """Tokens (n, T) of sequences through a causal model; tokens that a whole record has in common, once.

    Args:
        first: (n,) the first row of each row's record; rows of a record follow one another.
        share: False to read every sequence whole. options: of the model.
    """
    ids, mask = inputs["input_ids"], inputs.get("attention_mask")
    heads, sizes = np.unique(first, return_counts=True)
    common = _common_tokens(ids, own, first, heads) if share else np.zeros(len(heads), dtype=np.int64)
    batch: list[int] = []
    order = np.argsort(common, kind="stable").tolist()
    for place, number in enumerate(order):
        batch.append(number)
        last = place + 1 == len(order)
        if not last and sizes[batch].sum() + sizes[order[place + 1]] <= batch_size:
            continue
        start = int(common[batch[0]])
        rows = np.concatenate([np.arange(heads[b], heads[b] + sizes[b]) for b in batch])
        with scorer.passing(len(rows), ids.shape[1]):
            yield _pass(scorer, ids, mask, rows, start, heads[batch], sizes[batch], options)
        batch = []


def _pass(
    scorer: LanguageModel,
    ids: torch.Tensor,
    mask: torch.Tensor | None,
    rows: np.ndarray,
    start: int,
    heads: np.ndarray,
    sizes: np.ndarray,
    options: dict[str, Any],
) -> Pass:
    masks = {} if mask is None else {"attention_mask": mask[rows]}
    if start < WORTH_SHARING * ids.shape[1]:
        return Pass(rows, 0, scorer.model(input_ids=ids[rows], **masks, **options))
    prefix = scorer.model(input_ids=ids[heads, :start], use_cache=True, **options)
    head = torch.as_tensor(np.repeat(np.arange(len(heads)), sizes), device=ids.device)
    cache = prefix.past_key_values
    cache.batch_select_indices(head)
    output = scorer.model(input_ids=ids[rows, start:], past_key_values=cache, use_cache=True, **masks, **options)
    return Pass(rows, start, output, prefix, heads, head)


def _common_tokens(ids: torch.Tensor, own: torch.Tensor, first: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """How many tokens from the left all rows of a record have in common, one less than all at most: (records,)."""
    differ = (ids != ids[first]) | (own != own[first])
    differ[:, -1] = True
    return np.minimum.reduceat(differ.int().argmax(dim=1).cpu().numpy(), heads)


@torch.inference_mode()
def shares_prefix(scorer: LanguageModel) -> bool:
    """Whether going on from a cache gives what a whole pass does: tried out, on two short sequences."""
    if scorer.kind != "causal":
        return False
    sequences = ["ACGTTGCAACGGTACCTTAGGATC" * 4, "ACGTTGCAACGGTACCTTAGGATC" * 3 + "TTGCAACGGTACCTTAGGATCACG"]
    try:
        ids = scorer.encode(sequences)[0]["input_ids"]
        start = ids.shape[1] // 2
        with scorer.passing(*ids.shape):
            whole = scorer.model(input_ids=ids).logits
            part = _pass(scorer, ids, None, np.arange(2), start, np.array([0]), np.array([2]), {})
        difference = whole[:, start:].float().log_softmax(-1) - part.output.logits.float().log_softmax(-1)
    except (AttributeError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return False  # no cache, one of another kind, or a model of fewer tokens
    return bool(difference.abs().max() < ROUNDING.get(whole.dtype, HALF_PRECISION_ROUNDING))
