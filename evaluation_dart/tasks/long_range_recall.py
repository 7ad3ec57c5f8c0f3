"""Beyond DART-Eval: how far back a model can still use an earlier copy of a segment, as recall-bench measures it.

`copy_advantage` is what a first copy `distance` bp before a segment saves in its cross-entropy, in nats a base: that of
the control window less that of the window with the copy, which differ in nothing else.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from datasets_dart.errors import InputError
from evaluation_dart.tasks.base import Columns, Input, Job, Score, Setting, Task, pairs_swapped, taken

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from datasets import Dataset

    from evaluation_dart.statistics.blocks import Blocks
    from evaluation_dart.statistics.estimates import Estimate

RECALL_BENCH = "recall-bench 0.2.1"
WINDOW = ("id", "distance", "trial", "context", "segment", "draw", "chrom", "start")
LOSSES = ("control_loss", "repeat_loss")
RESAMPLED = 1000  # times, of recall-bench's own interval
EXACT, MUTATED, INVERTED = "exact", "mutated", "inverted"
NATIVE, FOREIGN = "native", "foreign"


def pieces(row: Mapping[str, Any], variant: str, control: str) -> tuple[list[str], list[str]]:
    """The pieces of the control window and of the one with the copy: lead, first piece, gap, segment."""
    from datasets_dart.alphabet import reverse_complement

    window, lead, length = row["sequence"], row["lead"], len(row["mutated"])
    before, native, gap, segment = (
        window[:lead],
        window[lead : lead + length],
        window[lead + length : -length],
        window[-length:],
    )
    beside = "_beside_mutated" if variant == MUTATED else ""
    other = row[f"foreign{beside}"] if control == FOREIGN else native
    changed = row["mutated_beside_foreign" if control == FOREIGN else "mutated"]
    copy = {EXACT: segment, MUTATED: changed, INVERTED: reverse_complement(segment)}[variant]
    return [before, other, gap, segment], [before, copy, gap, segment]


def score_as(variant: str, control: str) -> "Callable[[Any, Dataset, Job], Score]":
    """Losses of the segment in both windows, in nats a base; null where the model cannot read them."""

    def prepare(scorer: Any, dataset: "Dataset", job: Job) -> Score:
        import numpy as np
        import pyarrow as pa

        from evaluation_dart.scoring.token_losses import last_piece_losses

        if job.window is not None:
            raise InputError(f"window {job.window}: the windows of this task are as long as their distances need")

        def score(rows: range) -> Columns:
            batch = dataset[rows]
            pairs = [pieces({name: batch[name][row] for name in batch}, variant, control) for row in range(len(rows))]
            losses, status = last_piece_losses(scorer, [own for pair in pairs for own in pair], job.batch_size)
            by_pair = losses.reshape(-1, 2) / np.array(batch["segment"])[:, None]
            unread = np.array([one or two for one, two in zip(status[::2], status[1::2], strict=True)])
            there = unread == ""
            found = {name: pa.array(by_pair[:, side], mask=~there) for side, name in enumerate(LOSSES)}
            return taken(batch, WINDOW) | found | {"status": unread.astype(object)}

        return score

    return prepare


def advantages(predictions: "pa.Table", protocol: str, blocks: "Blocks") -> "dict[str, Estimate]":
    """Mean copy advantage, over all windows and at each distance, and up to which distance it is above 0.

    Of a distance with a window that the model does not read there is no value.
    """
    import numpy as np

    from evaluation_dart.statistics.estimates import interval, mean, no_interval, undefined

    read = predictions["control_loss"].is_valid().to_numpy()
    advantage = predictions["control_loss"].to_numpy() - predictions["repeat_loss"].to_numpy()
    distance = predictions["distance"].to_numpy()
    found: dict[str, Estimate] = {}
    reach, reaching = 0, True
    for own in np.unique(distance).tolist():
        rows = np.flatnonzero(distance == own)
        name = f"copy_advantage_{own}"
        if not read[rows].all():
            found[name] = undefined("the windows are longer than the model reads", len(rows))
            continue
        found[name] = of_rows(predictions, advantage, rows, protocol, blocks)
        low = interval(found[name]).low
        reaching = reaching and low is not None and low > 0
        reach = own if reaching else reach
    if not read.any():
        return found
    whole = {"copy_advantage": mean(advantage[read], blocks.take(np.flatnonzero(read)))}
    text = "no interval: the longest distance of which, as of all shorter ones, the interval lies above 0"
    return whole | found | {"recall_distance": no_interval(reach, int(read.sum()), text)}


def of_rows(
    predictions: "pa.Table", advantage: "np.ndarray", rows: "np.ndarray", protocol: str, blocks: "Blocks"
) -> "Estimate":
    """The mean of some rows; in protocol "paper" with recall-bench's own interval."""
    from dataclasses import replace

    from evaluation_dart.statistics.estimates import mean

    found = mean(advantage[rows], blocks.take(rows))
    if protocol != "paper":
        return found
    return replace(
        found, published=resampled_interval(advantage[rows], int(predictions["draw"][rows[0].item()].as_py()))
    )


def resampled_interval(values: "np.ndarray", seed: int) -> Any:
    """recall-bench's interval of a mean: percentiles of 1,000 samples of single windows with replacement."""
    import numpy as np

    from evaluation_dart.statistics.intervals import Interval

    means = np.random.default_rng(seed).choice(values, (RESAMPLED, len(values))).mean(1)
    low, high = np.percentile(means, [2.5, 97.5]).tolist()
    return Interval(low, high, f"percentiles of {RESAMPLED:,} samples of windows, as {RECALL_BENCH} has it")


def setting_of(variant: str, control: str) -> Setting:
    """The setting of a variant of the copy and a kind of control."""
    return Setting(
        needs="tokens",
        columns=(*WINDOW, *LOSSES, "status"),
        score=score_as(variant, control),
        estimates=advantages,
        headlines=("copy_advantage",),
        permute=pairs_swapped(LOSSES),
        described={"name": "recall-bench", "source": RECALL_BENCH, "copy": variant, "control": control, "window": None},
    )


TASK = Task(
    name="long_range_recall",
    number=6,
    title="recall of an earlier copy",
    benchmark="recall-bench",
    inputs={
        "genome": Input("FASTA: plain, gzip or bgzip", names_data=True),
        "distances": Input("bp between the copies, with commas", "text"),
        "segment": Input("bp that are repeated; or at the end of a window, whose context is shortened", "text"),
        "trials": Input("windows, of each distance where there are several", "text"),
        "context": Input("bp of every window; 0: of each distance the smallest power of two that fits", "text"),
        "mutation_rate": Input("share of bases that are others in a mutated copy", "text"),
        "align": Input("k of a tokenizer of k-mers, of which all lengths are multiples", "text"),
        "draw": Input("seed of the windows", "text"),
    },
    columns={"sequence": "the window without the copy"},
    settings={
        f"{variant}_repeat{'_foreign_control' if control == FOREIGN else ''}": setting_of(variant, control)
        for control in (NATIVE, FOREIGN)
        for variant in (EXACT, MUTATED, INVERTED)
    },
)
