"""Beyond DART-Eval: does a model predict conserved bases better than others? MarinDNA's LL gap.

Mean log-likelihood of conserved bases less that of all others, each given what is before it, in nats. Source:
Open-Athena/marin-dna at 319a0db, `aggregate_ll_gap` of src/marin_dna/pipelines/evals/ll_gap.py.
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
SUMS = ("conserved_sum", "other_sum")
COUNTS = ("conserved_bases", "other_bases")


def score_windows(scorer: Any, dataset: "Dataset", job: Job) -> Score:
    """Sums of log-likelihoods, and numbers, of conserved and of other bases, but for N and what nothing predicts."""
    import numpy as np

    from datasets_dart.alphabet import UNKNOWN, encode_bases
    from evaluation_dart.scoring.token_losses import base_losses

    if job.window is not None:
        raise InputError(f"window {job.window}: choose the length of the windows of this task instead")

    def score(rows: range) -> Columns:
        batch = dataset[rows]
        losses = base_losses(scorer, batch["sequence"], job.batch_size)
        counted = ~np.isnan(losses) & (np.stack([encode_bases(own) for own in batch["sequence"]]) != UNKNOWN)
        marked = np.array([[letter == "1" for letter in own] for own in batch["conserved"]])
        found: Columns = {}
        for which, total, count in zip((marked, ~marked), SUMS, COUNTS, strict=True):
            found[total] = -np.where(counted & which, losses, 0).sum(axis=1)
            found[count] = (counted & which).sum(axis=1)
        return taken(batch, WINDOW) | found

    return score


def gaps(predictions: "pa.Table", protocol: str, blocks: "Blocks") -> "dict[str, Estimate]":
    """`ll_gap`, and what it is the difference of, over all bases of all windows."""
    from dataclasses import replace

    import numpy as np

    from evaluation_dart.statistics import jackknife
    from evaluation_dart.statistics.estimates import PLAIN, estimated

    names = (*SUMS, *COUNTS)
    terms = np.stack([predictions[name].to_numpy().astype(float) for name in names], axis=1)

    def of(kind: str) -> "Estimate":
        def value(sums: "np.ndarray") -> "np.ndarray":
            conserved, other, n_conserved, n_other = np.moveaxis(sums, -1, 0)
            with np.errstate(invalid="ignore", divide="ignore"):
                means = {
                    "ll_all": (conserved + other) / (n_conserved + n_other),
                    "ll_conserved": conserved / n_conserved,
                    "ll_other": other / n_other,
                }
            means["ll_gap"] = means["ll_conserved"] - means["ll_other"]
            return np.asarray(means[kind])

        def without(own: "Blocks") -> "np.ndarray":
            sums = np.stack([own.sums(term) for term in terms.T], axis=1)
            return jackknife.counts_without(sums, value)

        whole = float(value(terms.sum(axis=0)))
        found = estimated(whole, blocks, without, PLAIN, "no base is conserved, or none is not")
        return replace(found, note=f"; {int(terms[:, 2].sum()):,} conserved and {int(terms[:, 3].sum()):,} other bases")

    return {kind: of(kind) for kind in ("ll_gap", "ll_conserved", "ll_other", "ll_all")}


TASK = Task(
    name="conservation_gap",
    number=8,
    title="conserved bases against others",
    benchmark="marin-dna",
    inputs={
        "genome": Input("FASTA: plain, gzip or bgzip", names_data=True),
        "regions": Input("BED, whose middles are those of the windows", names_data=True),
        "conserved": Input("BED of conserved bases, or a bigWig of scores; without it the genome's capitals are"),
        "threshold": Input("of a bigWig: the least score of a conserved base", "text"),
        "length": Input("bp of a window", "text"),
    },
    columns={"sequence": "the window"},
    settings={
        "zero_shot_likelihood": Setting(
            needs="tokens",
            columns=(*WINDOW, *SUMS, *COUNTS),
            score=score_windows,
            estimates=gaps,
            headlines=("ll_gap",),
            described={
                "name": "ll-gap",
                "source": "Open-Athena/marin-dna@319a0db650301486d453fc013c6d0ad732519292",
                "strand": "forward",
            },
        )
    },
)
