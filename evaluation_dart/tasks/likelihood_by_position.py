"""Beyond DART-Eval: what context is worth to a causal model, in nats a base against the number of bases before it.

Two ways of asking. "by_position" reads every window once and sorts its bases by how many come before them: windows lie
at random places, so that bases at all positions are alike but for their context. "same_bases" keeps the bases, the last
of every window, and shortens what comes before them, which costs a pass for each length.
"""

from typing import TYPE_CHECKING, Any

from datasets_dart.errors import InputError
from evaluation_dart.tasks.base import Columns, Input, Job, Score, Setting, Task, taken

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from datasets import Dataset

    from evaluation_dart.statistics.blocks import Blocks
    from evaluation_dart.statistics.estimates import Estimate

WINDOW = ("id", "chrom", "start")
CONTEXTS = tuple(1 << power for power in range(21))  # bases before a base, to a million
REFERENCE = 16  # bases of context, with which more are compared
BINS = {context: f"loss_{context}" for context in CONTEXTS}  # of bases with [context, 2 x context) before them
GIVEN = {context: f"loss_given_{context}" for context in CONTEXTS}


def check_window(job: Job) -> None:
    """Refuse a crop, which would change what context is."""
    if job.window is not None:
        raise InputError(f"window {job.window}: choose the length of the windows of this task instead")


def score_by_position(scorer: Any, dataset: "Dataset", job: Job) -> Score:
    """Mean loss of the bases of each bin of positions; null where the window has none, or the model cannot read it."""
    import numpy as np

    check_window(job)

    def score(rows: range) -> Columns:
        from evaluation_dart.scoring.token_losses import base_losses

        batch = dataset[rows]
        losses, status = read(scorer, batch["sequence"], base_losses, job)
        found = {}
        for context, name in BINS.items():
            bases = losses[:, context : 2 * context]
            predicted = ~np.isnan(bases)
            total = np.where(predicted, bases, 0).sum(axis=1)
            found[name] = total / np.where(predicted.any(axis=1), predicted.sum(axis=1), np.nan)
        return taken(batch, WINDOW) | nullable(found) | {"status": status}

    return score


def score_same_bases(scorer: Any, dataset: "Dataset", job: Job) -> Score:
    """Mean loss of the last bases of each window, given so many bases before them; null where there are fewer."""
    check_window(job)

    def score(rows: range) -> Columns:
        import numpy as np

        from evaluation_dart.scoring.token_losses import base_losses

        batch = dataset[rows]
        segment, length = batch["segment"][0], len(batch["sequence"][0])
        found, status = {}, [""] * len(rows)
        for context, name in GIVEN.items():
            found[name] = np.full(len(rows), np.nan)
            if context + segment <= length:
                own = [sequence[-context - segment :] for sequence in batch["sequence"]]
                losses, status = read(scorer, own, base_losses, job)
                found[name] = losses[:, -segment:].mean(axis=1)
        return taken(batch, WINDOW) | nullable(found) | {"status": status}

    return score


def read(scorer: Any, sequences: list[str], losses_of: Any, job: Job) -> "tuple[np.ndarray, list[str]]":
    """Losses (n, L) of sequences of L bases, all NaN where the model cannot read so many; and the reason."""
    import numpy as np

    from evaluation_dart.scoring.token_losses import LONGER, is_readable

    if not is_readable(scorer, sequences[0]):
        return np.full((len(sequences), len(sequences[0])), np.nan), [LONGER] * len(sequences)
    return losses_of(scorer, sequences, job.batch_size), [""] * len(sequences)


def nullable(columns: "dict[str, np.ndarray]") -> Columns:
    """Columns with null for NaN."""
    import numpy as np
    import pyarrow as pa

    return {name: pa.array(values, mask=np.isnan(values)) for name, values in columns.items()}


def worth_of(predictions: "pa.Table", names: dict[int, str], kind: str, blocks: "Blocks") -> "dict[str, Estimate]":
    """The mean loss of each context, and what it is below that of `REFERENCE` bases, of the same windows."""
    from dataclasses import replace

    from evaluation_dart.statistics.estimates import mean, undefined

    there = {context: name for context, name in names.items() if not predictions[name].null_count}
    if not there:
        return {"context_worth": undefined("the windows are longer than the model reads", predictions.num_rows)}
    losses = {context: predictions[name].to_numpy() for context, name in there.items()}
    nats = {f"nats{kind}_{context}": mean(own, blocks) for context, own in losses.items()}
    found = {name: replace(own, higher_is_better=False) for name, own in nats.items()}
    longer = [context for context in losses if context > REFERENCE]
    worth = {f"worth{kind}_{own}": mean(losses[REFERENCE] - losses[own], blocks) for own in longer}
    last = {"context_worth": worth[f"worth{kind}_{longer[-1]}"]} if longer else {}
    return last | found | worth


def by_position(predictions: "pa.Table", protocol: str, blocks: "Blocks") -> "dict[str, Estimate]":
    """[`worth_of`] bins of positions."""
    return worth_of(predictions, BINS, "", blocks)


def of_same_bases(predictions: "pa.Table", protocol: str, blocks: "Blocks") -> "dict[str, Estimate]":
    """[`worth_of`] the same bases with more context."""
    return worth_of(predictions, GIVEN, "_given", blocks)


def setting_of(score: Any, estimates: Any, names: dict[int, str], asked: str) -> Setting:
    """A setting: how it is scored, and what comes of it."""
    return Setting(
        needs="tokens",
        columns=(*WINDOW, *names.values(), "status"),
        score=score,
        estimates=estimates,
        headlines=("context_worth",),
        described={"name": "likelihood-by-position", "asked": asked},
    )


TASK = Task(
    name="likelihood_by_position",
    number=7,
    title="what context is worth",
    benchmark="hyenadna-dart",
    inputs={
        "genome": Input("FASTA: plain, gzip or bgzip", names_data=True),
        "length": Input("bp of a window", "text"),
        "trials": Input("windows, of each distance where there are several", "text"),
        "segment": Input("bp that are repeated; or at the end of a window, whose context is shortened", "text"),
        "draw": Input("seed of the windows", "text"),
    },
    columns={"sequence": "the window"},
    settings={
        "by_position": setting_of(score_by_position, by_position, BINS, "every base of a window, by its position"),
        "same_bases": setting_of(score_same_bases, of_same_bases, GIVEN, "the last bases, with shortened context"),
    },
)
