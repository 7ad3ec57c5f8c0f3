"""Task 4: how accessible chromatin is, in reads at peaks and at background (DART-Eval spec section 5)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from evaluation_dart.tasks.base import (
    Columns,
    Input,
    Job,
    Score,
    Setting,
    Task,
    outcomes_permuted,
    predicted,
    supervised,
    taken,
)

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from datasets import Dataset

    from evaluation_dart.statistics.blocks import Blocks
    from evaluation_dart.statistics.estimates import Estimate
    from evaluation_dart.training.objective import Objective

KEYS = ("cell_type", "category", "id")
ROW = ("id", "cell_type", "category", "chrom", "start", "log_counts")
PREDICTION = ("prediction",)


def score_windows(scorer: Any, dataset: "Dataset", job: Job) -> Score:
    """A window's likelihood as the prediction of its accessibility. Not a setting of the paper."""
    from evaluation_dart.scoring.likelihoods import score_sequences

    def score(rows: range) -> Columns:
        batch = dataset[rows]
        scores = score_sequences(scorer, job.crop(batch["sequence"]), job.recipe, batch_size=job.batch_size)
        return taken(batch, ROW) | {"prediction": scores}

    return score


def predict_counts(scorer: Any, dataset: "Dataset", job: Job) -> Score:
    """Log counts, by a trained model."""

    def predict(batch: Mapping[str, Any]) -> Columns:
        return {"prediction": scorer.predict(job.crop(batch["sequence"]))[:, 0]}

    return predicted(scorer, dataset, ROW, KEYS, PREDICTION, predict)


def activity_of(predictions: "pa.Table", protocol: str, blocks: "Blocks") -> "dict[str, Estimate]":
    """Correlation with log counts, and how well reproducible peaks are distinguished from background."""
    from evaluation_dart.statistics.metrics import activity_estimates

    prediction, log_counts, category = (
        predictions[name].to_numpy() for name in ("prediction", "log_counts", "category")
    )
    return activity_estimates(prediction, log_counts, category, blocks, protocol)


def objective(dataset: "Dataset") -> "Objective":
    """Log counts."""
    from evaluation_dart.training.objective import Objective

    return Objective("counts", 1)


def learned_rows(dataset: "Dataset") -> "np.ndarray":
    """All rows but the reproducible peaks, which are among the peaks."""
    import numpy as np

    return np.flatnonzero(np.array(dataset["category"][:]) != "idr")


def measure(chrom: Any, start: Any, **arrays: Any) -> "dict[str, Estimate]":
    """[`activity_estimates`]."""
    from evaluation_dart.statistics.blocks import genome_blocks
    from evaluation_dart.statistics.metrics import activity_estimates

    return activity_estimates(blocks=genome_blocks(chrom, start), **arrays)


ZERO_SHOT = Setting(
    needs="likelihoods",
    columns=(*ROW, *PREDICTION),
    score=score_windows,
    estimates=activity_of,
    headlines=("spearman_peaks", "pearson_peaks"),
    permute=outcomes_permuted("log_counts", "category"),
)
TASK = Task(
    name="chromatin_activity",
    number=4,
    title="accessibility of peaks and background",
    inputs={
        "genome": Input("FASTA: plain, gzip or bgzip"),
        "peaks": Input("narrowPeak, BED or the original's table", "files", names_data=True),
        "idr": Input("the same of the reproducible peaks", "files"),
        "nonpeaks": Input("the same of background windows", "files"),
        "signal": Input("bigWig of reads", "files"),
        "cell_type": Input("name of the cell type that single files are of", "text"),
        "processed": Input("the original's own data.h5", names_data=True),
    },
    columns={"sequence": "the window"},
    settings={
        "zero_shot_likelihood": ZERO_SHOT,
        **supervised(replace(ZERO_SHOT, needs="predictions", score=predict_counts)),
    },
    keys=KEYS,
    objective=objective,
    learned_rows=learned_rows,
    measure=measure,
    arrays={
        "prediction": "float64",
        "log_counts": "float64",
        "category": "string",
        "chrom": "string",
        "start": "int64",
    },
)
