"""Task 1: regulatory elements against their own dinucleotide-shuffled controls (DART-Eval spec section 2)."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evaluation_dart.tasks.base import (
    Columns,
    Input,
    Job,
    Score,
    Setting,
    Task,
    pairs_swapped,
    predicted,
    supervised,
    taken,
    with_columns,
)

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from datasets import Dataset

    from evaluation_dart.statistics.blocks import Blocks
    from evaluation_dart.statistics.calibration import Calls
    from evaluation_dart.statistics.estimates import Estimate
    from evaluation_dart.training.objective import Objective

ROW = ("id", "chrom", "start")
SCORES = ("score", "control_score")
TOKENS = ("tokens", "control_tokens")  # how many, where tokens are of several lengths
MORE = "control_"  # what the columns of a second control, a third and so on begin with


def score_pairs(scorer: Any, dataset: "Dataset", job: Job) -> Score:
    """Likelihoods of element and control."""
    import numpy as np

    from evaluation_dart.scoring.likelihoods import counts_that_vary, score_sequences

    more = [name for name in dataset.column_names if name.startswith(MORE)]

    def score(rows: range) -> Columns:
        batch = dataset[rows]
        sequences = job.crop([*batch["sequence"], *batch["control"]])
        scores = np.split(score_sequences(scorer, sequences, job.recipe, batch_size=job.batch_size), 2)
        found = taken(batch, ROW) | dict(zip(SCORES, scores, strict=True))
        if (counts := counts_that_vary(scorer, sequences, job.recipe)) is not None:
            found |= dict(zip(TOKENS, np.split(counts, 2), strict=True))
        for name in more:
            controls = job.crop(batch[name])
            found[f"{name}_score"] = score_sequences(scorer, controls, job.recipe, batch_size=job.batch_size)
        return found

    return score


def predict_pairs(scorer: Any, dataset: "Dataset", job: Job) -> Score:
    """log p(element) - log p(control) of both members of a pair, by a trained model."""
    import numpy as np

    def predict(batch: Mapping[str, Any]) -> Columns:
        outputs = scorer.predict(job.crop([*batch["sequence"], *batch["control"]]))
        return dict(zip(SCORES, np.split(outputs[:, 1] - outputs[:, 0], 2), strict=True))

    return predicted(scorer, dataset, ROW, ("id",), SCORES, predict)


def likelihoods_of(predictions: "pa.Table", protocol: str, blocks: "Blocks") -> "dict[str, Estimate]":
    """How often an element is likelier than its control; and, where there are numbers of tokens, is fewer of them.

    Of several shuffles of each element, the mean over them, with what their draw adds to the variance.
    """
    import numpy as np

    from evaluation_dart.statistics import token_counts
    from evaluation_dart.statistics.metrics import paired_likelihood_estimates
    from evaluation_dart.statistics.shuffles import several_shuffles_estimates

    score, control_score = (predictions[name].to_numpy() for name in SCORES)
    if more := more_scores(predictions):
        controls = [predictions[name].to_numpy() for name in (SCORES[1], *more)]
        found = several_shuffles_estimates(score, np.stack(controls, axis=1), blocks)
    else:
        found = paired_likelihood_estimates(score, control_score, blocks, protocol)
    if set(TOKENS) <= set(predictions.column_names):
        tokens, control_tokens = (predictions[name].to_numpy() for name in TOKENS)
        found |= token_counts.of_pairs(tokens, control_tokens, blocks)
    return found


def more_scores(predictions: "pa.Table") -> list[str]:
    """The columns of the scores of a second control, a third and so on."""
    return [name for name in predictions.column_names if re.fullmatch(rf"{MORE}\d+_score", name)]


def members_swapped(predictions: "pa.Table", rng: "np.random.Generator") -> "pa.Table":
    """An element and one of its controls the other way round, each of them and none as often, drawn for each row."""
    import numpy as np
    import pyarrow as pa

    more = more_scores(predictions)
    if not more:
        return pairs_swapped(SCORES, TOKENS)(predictions, rng)
    names = [*SCORES, *more]
    scores = np.stack([predictions[name].to_numpy() for name in names], axis=1)
    row, other = np.arange(len(scores)), rng.integers(0, len(names), len(scores))
    scores[row, 0], scores[row, other] = scores[row, other].copy(), scores[row, 0].copy()
    return with_columns(predictions, {name: pa.array(scores[:, number]) for number, name in enumerate(names)})


def pairs_of(predictions: "pa.Table", protocol: str, blocks: "Blocks") -> "dict[str, Estimate]":
    """How well a trained model distinguishes elements from controls."""
    from evaluation_dart.statistics.metrics import pair_classification_estimates

    score, control_score = (predictions[name].to_numpy() for name in SCORES)
    return pair_classification_estimates(score, control_score, blocks, protocol)


def pair_calls(predictions: "pa.Table", blocks: "Blocks") -> "Calls":
    """The probability of being an element, of elements and of controls."""
    import numpy as np

    from evaluation_dart.statistics.calibration import binary_calls

    log_odds = np.concatenate([predictions[name].to_numpy() for name in SCORES])
    return binary_calls(log_odds, np.repeat([True, False], predictions.num_rows), blocks.twice(), "an element")


def objective(dataset: "Dataset") -> "Objective":
    """Element or control."""
    from evaluation_dart.training.objective import Objective

    return Objective("pairs", 2, ("control", "element"))


def measure(chrom: Any, start: Any, **arrays: Any) -> "dict[str, Estimate]":
    """[`paired_likelihood_estimates`]."""
    from evaluation_dart.statistics.blocks import genome_blocks
    from evaluation_dart.statistics.metrics import paired_likelihood_estimates

    return paired_likelihood_estimates(blocks=genome_blocks(chrom, start), **arrays)


TASK = Task(
    name="regulatory_elements",
    number=1,
    title="regulatory elements against their shuffled controls",
    inputs={
        "genome": Input("FASTA: plain, gzip or bgzip"),
        "elements": Input("BED of elements: plain, gzip or bgzip", names_data=True),
        "processed": Input("the original's own data.h5 or table", names_data=True),
        "shuffles": Input("controls of each element, of which likelihoods take the mean", "text"),
    },
    columns={"sequence": "the element's window", "control": "its shuffle"},
    settings={
        "zero_shot_likelihood": Setting(
            needs="likelihoods",
            columns=(*ROW, *SCORES),
            score=score_pairs,
            estimates=likelihoods_of,
            headlines=("accuracy",),
            permute=members_swapped,
        ),
        **supervised(
            Setting(
                needs="predictions",
                columns=(*ROW, *SCORES),
                score=predict_pairs,
                estimates=pairs_of,
                headlines=("accuracy",),
                calls=pair_calls,
                permute=pairs_swapped(SCORES),
            )
        ),
    },
    objective=objective,
    measure=measure,
    arrays={"score": "float64", "control_score": "float64", "chrom": "string", "start": "int64"},
)
