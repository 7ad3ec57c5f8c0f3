"""Task 2: motifs against their own shuffles, in backgrounds without them (DART-Eval spec section 3)."""

from typing import TYPE_CHECKING, Any

from datasets_dart.errors import InputError
from evaluation_dart.tasks.base import Columns, Input, Job, Score, Setting, Task, taken, values_together, with_columns

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from datasets import Dataset

    from evaluation_dart.statistics.blocks import Blocks
    from evaluation_dart.statistics.estimates import Estimate
    from evaluation_dart.statistics.metrics import MotifMetrics

BACKGROUND = "background"
TOKENS = "tokens"  # how many, where tokens are of several lengths
ALIKE = ("background", "strand")  # rows that have the left half of their background in common
TRIAL = ("id", "background", "motif", "strand", "kind")


def score_trials(scorer: Any, dataset: "Dataset", job: Job) -> Score:
    """Likelihoods of backgrounds, and of motifs and shuffles in them."""
    from evaluation_dart.scoring.likelihoods import counts_that_vary, score_sequences

    def score(rows: range) -> Columns:
        batch = dataset[rows]
        sequences = job.crop(batch["sequence"])
        scores = score_sequences(
            scorer, sequences, job.recipe, values_together(batch, ALIKE), batch_size=job.batch_size
        )
        counts = counts_that_vary(scorer, sequences, job.recipe)
        return taken(batch, TRIAL) | {"score": scores} | ({} if counts is None else {TOKENS: counts})

    return score


def trial_distances(scorer: Any, dataset: "Dataset", job: Job) -> Score:
    """Distance of each embedding from that of its bare background on the same strand."""
    import numpy as np

    from evaluation_dart.scoring.embeddings import cosine_distance
    from evaluation_dart.scoring.rows import row_embedder

    embed = row_embedder(scorer, dataset, job, ALIKE)
    bare = np.flatnonzero(np.array(dataset["kind"][:]) == "raw")
    names = dataset.select_columns(["background", "strand"])[bare.tolist()]
    vectors = dict(zip(zip(names["background"], names["strand"], strict=True), embed(bare), strict=True))

    def score(rows: range) -> Columns:
        batch = dataset[rows]
        try:
            raw = [vectors[pair] for pair in zip(batch["background"], batch["strand"], strict=True)]
        except KeyError as error:
            raise InputError(f"there is no bare background {error}") from None
        return taken(batch, TRIAL) | {"distance": cosine_distance(embed(np.array(rows)), np.array(raw))}

    return score


def motifs_of(predictions: "pa.Table", protocol: str, blocks: "Blocks") -> "dict[str, Estimate]":
    """How often a motif is told from its shuffle, by scores or distances, and by numbers of tokens where there are any.

    Blocks are the backgrounds, no others.

    Raises:
        InputError: for other blocks.
    """
    from evaluation_dart.statistics import token_counts
    from evaluation_dart.statistics.metrics import motif_estimates

    if blocks.name != f"values of {BACKGROUND}":
        raise InputError(f"what all motifs share, and blocks of motif_footprinting are, is {BACKGROUND}")
    found = motif_estimates(per_motif(predictions, protocol), protocol)
    if TOKENS in predictions.column_names:
        background, motif, strand, kind, tokens = (predictions[name].to_numpy() for name in (*TRIAL[1:], TOKENS))
        found |= token_counts.of_motifs(background, motif, strand, kind, tokens)
    return found


def per_motif(predictions: "pa.Table", protocol: str) -> "MotifMetrics":
    """Of each motif, how often it is told from its shuffle."""
    from evaluation_dart.statistics.metrics import motif_metrics

    distances = "distance" in predictions.column_names
    background, motif, strand, kind = (predictions[name].to_numpy() for name in TRIAL[1:])
    score = predictions["distance" if distances else "score"].to_numpy()
    return motif_metrics(background, motif, strand, kind, score, distances, protocol)


def motifs_swapped(predictions: "pa.Table", rng: "np.random.Generator") -> "pa.Table":
    """Of motifs drawn at random in each background, on both strands, motif and shuffle the other way round."""
    import numpy as np
    import pyarrow as pa

    kind, bare = predictions["kind"].to_numpy(), bare_backgrounds(predictions)
    motif = np.where(bare, "", predictions["motif"].fill_null("").to_numpy()).astype(str)
    pairs = np.stack([np.unique(motif, return_inverse=True)[1], predictions["background"].to_numpy()], axis=1)
    pair = np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)
    swapped = (rng.random(int(pair.max()) + 1) < 0.5)[pair] & ~bare
    other = np.where(kind == "motif", "shuffled", "motif")
    return with_columns(predictions, {"kind": pa.array(np.where(swapped, other, kind).astype(object), pa.string())})


def bare_backgrounds(predictions: "pa.Table") -> "np.ndarray":
    """Which rows are backgrounds as they are, with which every motif is compared."""
    import numpy as np

    return np.asarray(predictions["kind"].to_numpy() == "raw")


def measure(protocol: str = "fixed", **arrays: Any) -> "dict[str, Estimate]":
    """[`motif_estimates`] of [`motif_metrics`]."""
    from evaluation_dart.statistics.metrics import motif_estimates, motif_metrics

    return motif_estimates(motif_metrics(**arrays, protocol=protocol), protocol)


TASK = Task(
    name="motif_footprinting",
    number=2,
    title="transcription factors' motifs against their shuffles",
    inputs={
        "motifs": Input("MEME file", names_data=True),
        "backgrounds": Input("one sequence a line"),
        "genome": Input("FASTA: plain, gzip or bgzip"),
        "elements": Input("BED of elements whose controls are the backgrounds", names_data=True),
        "processed": Input("the original's own table, or its data.h5 with motifs", names_data=True),
    },
    columns={"sequence": "a background with a motif, its shuffle, or neither in it"},
    settings={
        "zero_shot_likelihood": Setting(
            needs="likelihoods",
            columns=(*TRIAL, "score"),
            score=score_trials,
            estimates=motifs_of,
            headlines=("accuracy",),
            permute=motifs_swapped,
            blocks=BACKGROUND,
        ),
        "zero_shot_embedding": Setting(
            needs="embeddings",
            columns=(*TRIAL, "distance"),
            score=trial_distances,
            estimates=motifs_of,
            headlines=("accuracy",),
            permute=motifs_swapped,
            blocks=BACKGROUND,
        ),
    },
    alike=ALIKE,
    shared_rows=bare_backgrounds,
    measure=measure,
    arrays={"background": "int64", "motif": "string", "strand": "string", "kind": "string", "score": "float64"},
)
