"""The mean of the ranks that several scores give to the same variants: an ensemble without a scale.

Source: `mean_rank` of Open-Athena/marin-dna's issue 175 (comments of 2026-05-14): within a subset of variants, the mean
of their ranks by each score, turned so that high ranks are expected of positives: minus LLR or its magnitude, and the
distance of embeddings as it is. Ties have the mean of their ranks.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.stats import rankdata

from datasets_dart.errors import InputError
from evaluation_dart.tools.loading import Table
from evaluation_dart.tools.score_tables import VARIANT, as_floats, keys_of, scores_of, written

AS_IT_IS, MINUS, MAGNITUDE = TURNED = ("as-it-is", "minus", "magnitude")
SOURCE = "Open-Athena/marin-dna, issue 175, comments of 2026-05-14"


def turned(values: np.ndarray, how: str) -> np.ndarray:
    """Scores as they are ranked.

    Raises:
        InputError: for an unknown way.
    """
    if how not in TURNED:
        raise InputError(f"turned {how}: there are {', '.join(TURNED)}")
    return -values if how == MINUS else np.abs(values) if how == MAGNITUDE else values


def mean_ranks(scores: np.ndarray, group: np.ndarray) -> np.ndarray:
    """(n,) means over scores of each row's rank, 1 the lowest, within its group; NaN where a score is missing.

    Args:
        scores: (n, k). group: (n,) what rows are ranked among have in common.
    """
    found = np.full(len(scores), np.nan)
    known = ~np.isnan(scores).any(axis=1)
    for own in np.unique(group[known]):
        rows = np.flatnonzero(known & (group == own))
        found[rows] = rankdata(scores[rows], axis=0).mean(axis=1)
    return found


def rank_mean(
    scores: Sequence[Table],
    *,
    turn: Sequence[str] = (),
    by: str | None = None,
    output: str | Path | None = None,
) -> pa.Table | dict[str, Any]:
    """Mean ranks of variants by several scores.

    Args:
        scores: two tables of [`score_variants`] or more, of the same variants: paths, or tables in memory.
        turn: of each score "as-it-is", "minus" or "magnitude"; by default all as they are.
        by: a column of the first table, within whose values variants are ranked. output: .parquet or .tsv.

    Returns:
        Columns chrom, position, ref, alt, `by`, score_1, score_2, ... (as they are ranked) and rank_mean, of the first
        table's variants; with `output`, what OUTPUT.json says.

    Raises:
        InputError: for fewer than two scores, or variants that a table lacks or has twice.
    """
    if len(scores) < 2:
        raise InputError(f"{len(scores)} scores: a mean of ranks is of two or more")
    ways = [*turn] or [AS_IT_IS] * len(scores)
    if len(ways) != len(scores):
        raise InputError(f"{len(ways)} ways to turn {len(scores)} scores")

    def table() -> pa.Table:
        first, *others = map(scores_of, scores)
        if by is not None and by not in first.column_names:
            raise InputError(f"by {by}: the first table has the columns {', '.join(first.column_names)}")
        keys = keys_of(first)
        columns = [as_floats(first, "score"), *(looked_up(own, keys, number) for number, own in enumerate(others, 2))]
        ranked = [turned(own, how) for own, how in zip(columns, ways, strict=True)]
        group = np.zeros(len(keys)) if by is None else np.unique(np.array(first[by], dtype=str), return_inverse=True)[1]
        found = first.select([*VARIANT, *([] if by is None or by in VARIANT else [by])])
        for number, own in enumerate(ranked, 1):
            found = found.append_column(f"score_{number}", pa.array(own, from_pandas=True))
        return found.append_column("rank_mean", pa.array(mean_ranks(np.stack(ranked, axis=1), group), from_pandas=True))

    return written(output, table, {"score": "rank mean", "source": SOURCE, "turned": ways, "by": by}, [*scores])


def looked_up(table: pa.Table, keys: Sequence[tuple[Any, ...]], number: int) -> np.ndarray:
    """(n,) scores of variants, by their keys.

    Raises:
        InputError: naming a variant that the table, the `number`th, lacks or has twice.
    """
    own = keys_of(table)
    known = dict(zip(own, as_floats(table, "score").tolist(), strict=True))
    if len(known) < len(own):
        raise InputError(f"table {number} of the scores has a variant twice")
    if missing := [key for key in keys if key not in known]:
        chrom, position, ref, alt = missing[0]
        raise InputError(f"table {number} of the scores has no {chrom}:{position} {ref}>{alt}, which the first has")
    return np.array([known[key] for key in keys])
