"""The metrics of TraitGym and of Carbon's evaluation, of variants that have a class and of which scores have a sign.

Both average areas over chromosomes, each with its number of variants as its weight. A score is ALT - REF: the positives
(causal, or of lost function) are expected to have low ones. The intervals are this package's: TraitGym draws
chromosomes anew, 1,000 times, and gives the standard deviation; Carbon gives none.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import auc, precision_recall_curve

from evaluation_dart.statistics import estimates, jackknife, scores
from evaluation_dart.statistics.blocks import Blocks
from evaluation_dart.statistics.estimates import FEWEST_OF_PRECISION, LOGIT, Estimate

Area = Callable[[np.ndarray, np.ndarray], float]
Areas = Callable[[np.ndarray, np.ndarray, Blocks], np.ndarray]
NO_CLASS = "no chromosome has both classes"


def traitgym(llr: np.ndarray, positive: np.ndarray, chrom: np.ndarray, blocks: Blocks) -> dict[str, Estimate]:
    """AUPRC and AUROC by chromosome, weighted: of -LLR ("LLR.minus") and of |LLR| ("absLLR.plus").

    From workflow/rules/model.smk, get_metric_by_block_weighted_average. Its average precision of a chromosome without
    positives is 0, and counts; its AUROC there is an error: here such chromosomes are left out of the AUROC.

    Args:
        llr: (n,) log-likelihood ratios, ALT - REF. positive: (n,) bool. chrom: (n,) names.
    """
    found = {}
    for name, score in (("minus_llr", -llr), ("abs_llr", np.abs(llr))):
        found[f"traitgym_auprc_{name}"] = precision_by_chromosome(score, positive, chrom, blocks, every=True)
        found[f"traitgym_auroc_{name}"] = auroc_by_chromosome(score, positive, chrom, blocks)
    return found


def carbon(
    delta: np.ndarray, positive: np.ndarray, chrom: np.ndarray, blocks: Blocks, measured: np.ndarray | None = None
) -> dict[str, Estimate]:
    """AUROC and AUPRC of -delta, of all variants and by chromosome, weighted; Spearman's correlation with an effect.

    From evaluation/vep_eval.py. The AUPRC of all variants is the area under straight lines between points of the curve;
    by chromosome it is the average precision. Chromosomes with one class are left out.

    Args:
        delta: (n,) ALT - REF. positive: (n,) bool. chrom: (n,) names. measured: (n,) effects, NaN where there is none.
    """
    score = -delta
    found = {
        "carbon_auroc": estimates.auroc(score, positive, blocks),
        "carbon_auprc": trapezoids(score, positive, blocks),
        "carbon_auroc_by_chromosome": auroc_by_chromosome(score, positive, chrom, blocks),
        "carbon_auprc_by_chromosome": precision_by_chromosome(score, positive, chrom, blocks),
    }
    if measured is not None and (rows := np.isfinite(measured)).sum() > 1:
        found["carbon_spearman"] = estimates.spearman(delta[rows], measured[rows], blocks.take(rows))
    return found


def auroc_by_chromosome(score: np.ndarray, positive: np.ndarray, chrom: np.ndarray, blocks: Blocks) -> Estimate:
    """Mean AUROC of chromosomes with both classes, each weighted with its number of variants."""
    return _weighted(score, positive, chrom, blocks, scores.auroc, jackknife.auroc_without)


def precision_by_chromosome(
    score: np.ndarray, positive: np.ndarray, chrom: np.ndarray, blocks: Blocks, every: bool = False
) -> Estimate:
    """Mean average precision of chromosomes, each weighted with its number of variants.

    Args:
        every: chromosomes without positives count, with 0, and those without controls, with 1.
    """
    return _weighted(
        score, positive, chrom, blocks, scores.average_precision, jackknife.average_precision_without, every
    )


def trapezoids(score: np.ndarray, positive: np.ndarray, blocks: Blocks) -> Estimate:
    """Area under straight lines between the points of the curve of precision and recall."""

    def area(rows: np.ndarray) -> float:
        if len(np.unique(positive[rows])) < 2:
            return np.nan
        precision, recall, _ = precision_recall_curve(positive[rows], score[rows])
        return float(auc(recall, precision))

    def without(own: Blocks) -> np.ndarray:
        return np.array([area(own.code != block) for block in range(len(own))])

    value = area(np.ones(len(score), dtype=bool))
    classes = (positive, ~positive)
    most = estimates.groups(blocks)
    return estimates.estimated(value, blocks, without, LOGIT, "a class has no rows", classes, FEWEST_OF_PRECISION, most)


def _weighted(
    score: np.ndarray,
    positive: np.ndarray,
    chrom: np.ndarray,
    blocks: Blocks,
    area: Area,
    areas: Areas,
    every: bool = False,
) -> Estimate:
    rows_of = [chrom == name for name in np.unique(chrom)]

    def value() -> float:
        found = [_counted(area(score[r], positive[r]), positive[r].sum(), r.sum(), every) for r in rows_of]
        return float(_mean(np.array(found)[:, :, None])[0])

    def without(own: Blocks) -> np.ndarray:
        found = np.empty((len(rows_of), 2, len(own)))
        for chromosome, rows in zip(found, rows_of, strict=True):
            hits = positive[rows]
            here, code = np.unique(own.code[rows], return_inverse=True)
            part = Blocks(code.reshape(-1), own.name)
            areas_left = np.full(len(own), area(score[rows], hits))
            if len(part) > 1:
                areas_left[here] = areas(score[rows], hits, part)
            ones, n = np.full(len(own), float(hits.sum())), np.full(len(own), rows.sum())
            ones[here] -= part.sums(hits.astype(float))
            n[here] -= part.sizes
            chromosome[:] = _counted(areas_left, ones, n, every)
        return _mean(found)

    classes, most = (positive, ~positive), estimates.groups(blocks)
    return estimates.estimated(value(), blocks, without, LOGIT, NO_CLASS, classes, FEWEST_OF_PRECISION, most)


def _counted(area: Any, ones: Any, n: Any, every: bool) -> np.ndarray:
    """(2, ...) areas and weights of chromosomes with `ones` positives among `n` variants."""
    one_class = (ones == 0) | (ones == n)
    return np.stack([np.where(one_class, ones > 0, area), np.where(one_class & (not every), 0, n)])


def _mean(found: np.ndarray) -> np.ndarray:
    """(k,) weighted means of (chromosomes, 2, k) areas and weights; NaN where all weights are 0."""
    total, weights = (found[:, 0] * found[:, 1]).sum(axis=0), found[:, 1].sum(axis=0)
    return np.asarray(np.divide(total, weights, out=np.full(len(total), np.nan), where=weights > 0))
