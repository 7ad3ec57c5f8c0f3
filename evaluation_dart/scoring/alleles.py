"""Scores of alleles in their windows, whatever the alleles: by likelihood, distance of embeddings, or a trained head.

The alleles of a record share their window up to the first of them that differs. A causal model of this package reads
REF, and each allele from there on (alike.py); what it computes is the same. Of recipes that mask, a causal model reads
nothing after the variant, as nothing there could distinguish two alleles.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate.utils.memory import clear_device_cache

from datasets_dart.errors import InputError
from evaluation_dart.models.kinds import check_batch_size
from evaluation_dart.models.language_model import LARGEST, BatchSize, Encoder, OutOfMemory
from evaluation_dart.recipes import (
    DISTANCES,
    HEAD,
    JSD,
    MASKED,
    OF_BASES,
    TOKENS_L2,
    VariantRecipe,
)
from evaluation_dart.scoring.alike import first_rows, passes, reads_alike
from evaluation_dart.scoring.embeddings import cosine_distance, hidden_states
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
    unequal_tokens_matter,
)

# Batch size "auto" on a CPU: so few tokens that their activations stay in its cache; room for REF and three alleles
TOKENS_ON_CPU, FEWEST_ON_CPU, MOST_ON_CPU = 1 << 14, 3, 256


class Scores(NamedTuple):
    """(m,) float64 of alternative alleles; NaN where `status` says why."""

    reference: np.ndarray  # of the window with REF; NaN of distances
    alternative: np.ndarray
    score: np.ndarray  # alternative - reference, or a distance
    status: list[str]  # empty, UNEQUAL_TOKENS or NOT_PREDICTED


class VariantScorer:
    """Scores alleles with a model by a recipe.

    Args:
        batch_size: whole windows in a forward pass; "auto" for as many as fit or, on a CPU, are fastest.
        window: bases of a window, to choose by.

    Attributes:
        alike: whether the model reads alleles from where they differ; None of recipes that mask them.

    Raises:
        ValueError: if the recipe asks for what the model cannot do.
    """

    def __init__(self, scorer: Any, recipe: VariantRecipe, batch_size: BatchSize = 64, window: int = 1024):
        check_batch_size(batch_size)
        self.scorer, self.recipe, self.auto = scorer, recipe.of(scorer), batch_size == "auto"
        recipe = self.recipe
        on_cpu = min(max(TOKENS_ON_CPU // window, FEWEST_ON_CPU), MOST_ON_CPU)
        usual = on_cpu if scorer.device_name == "cpu" else LARGEST
        self.batch_size = usual if batch_size == "auto" else int(batch_size)
        if recipe.likelihood is not None:
            recipe.likelihood.check(scorer, alleles=True)
        elif not isinstance(scorer, Encoder):
            raise InputError(f"recipe {recipe.name}: {scorer.name} is not a network with hidden states")
        if recipe.name in OF_BASES:
            check_causal_bases(scorer, recipe.name)
        if recipe.name == HEAD:
            label_index(scorer.model.config, recipe.label)
        self.alike = None if recipe.likelihood and recipe.likelihood.alleles == MASKED else reads_alike(scorer)

    def __call__(self, sequences: Sequence[str], record: np.ndarray) -> Scores:
        """Scores of all but the first sequence of each record, in their order.

        Args:
            sequences: windows, those of a record one after another, that of REF first.
            record: (n,) of which record, or group of a record's alleles, each is, ascending.
        """
        if len(sequences) == 0:
            return Scores(np.empty(0), np.empty(0), np.empty(0), [])
        try:
            strands = [self._one_strand(own, np.asarray(record)) for own in strands_of(sequences, self.recipe.strand)]
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
            return self._of_bases(sequences, record, rows)
        status = [""] * len(rows)
        if self.recipe.name == TOKENS_L2:
            nothing = np.full(len(rows), np.nan)
            return Scores(nothing, nothing, self._token_distances(sequences, record)[rows], status)
        if self.recipe.name in DISTANCES:
            vectors = self.scorer.embed(
                sequences, layer=self.recipe.layer, batch_size=self.batch_size, record=record
            ).astype(np.float64)
            one, two = vectors[first[rows]], vectors[rows]
            l2, nothing = self.recipe.name == "embedding-l2", np.full(len(rows), np.nan)
            distance = np.linalg.norm(one - two, axis=1) if l2 else cosine_distance(one, two)
            return Scores(nothing, nothing, distance, status)
        if self.recipe.name == HEAD:
            values = head_scores(self.scorer, sequences, self.recipe.label, batch_size=self.batch_size, record=record)
        else:
            assert likelihood is not None
            forward = likelihood._replace(strand="forward")
            values = score_sequences(self.scorer, sequences, forward, record, batch_size=self.batch_size)
            if unequal_tokens_matter(self.scorer, likelihood):
                counts = self.scorer.token_counts(sequences)
                unequal = counts[rows] != counts[first[rows]]
                values[rows[unequal]] = np.nan
                status = [UNEQUAL_TOKENS if own else "" for own in unequal.tolist()]
        return Scores(values[first[rows]], values[rows], values[rows] - values[first[rows]], status)

    def _of_bases(self, sequences: Sequence[str], record: np.ndarray, rows: np.ndarray) -> Scores:
        inputs, own = self.scorer.encode(sequences)
        ids, first = torch.tensor(base_ids(self.scorer), device=own.device), first_rows(record)
        tokens = as_bases(inputs["input_ids"], ids)
        found = np.full((len(sequences), 3), np.nan)
        for part in passes(self.scorer, inputs, own, first, self.batch_size):
            log_p = four_base_log_p(part.output.logits[:, :-1], ids)
            width = part.own.shape[1]
            for place, row in enumerate(part.rows.tolist()):
                if (head := int(first[row])) != row:
                    one = int(np.searchsorted(part.rows, head))
                    two = tokens[head, :width], tokens[row, :width]
                    found[row] = snv_scores(log_p[one], log_p[place], *two, part.own[place])
        reference, alternative, divergence = found[rows].T
        status = ["" if known else NOT_PREDICTED for known in ~np.isnan(divergence)]
        if self.recipe.name == JSD:
            return Scores(np.full(len(rows), np.nan), np.full(len(rows), np.nan), divergence, status)
        return Scores(reference, alternative, alternative - reference, status)

    def _token_distances(self, sequences: Sequence[str], record: np.ndarray) -> np.ndarray:
        """(n,) distances of all hidden states from those of each sequence's REF."""
        inputs, own = self.scorer.encode(sequences)
        first = first_rows(record)
        if ((own != own[first]).any(dim=1)).any():
            raise InputError(
                f"recipe {TOKENS_L2}: alleles of unequal numbers of tokens have no such distance: SNVs only"
            )
        found = np.empty(len(sequences))
        for part in passes(self.scorer, inputs, own, first, self.batch_size, output_hidden_states=True):
            hidden = hidden_states(part.output, self.recipe.layer, self.scorer.name).float()
            found[part.rows] = distances_of_tokens(hidden, part.own, np.searchsorted(part.rows, first[part.rows]))
        return found
