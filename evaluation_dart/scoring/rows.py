"""How rows of each task become predictions: one function for each task and setting (architecture's prediction columns).

Each takes a scorer, a dataset and a [`Job`], does what is needed once, and returns a function of row numbers, so that a
run can go through a dataset in any pieces.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from datasets import ClassLabel, Dataset

from datasets_dart.errors import InputError
from evaluation_dart.records import TRIAL, VARIANT
from evaluation_dart.scoring.clustering import CLUSTERS, COMPONENTS, SEEDS, cluster, principal_components
from evaluation_dart.scoring.embeddings import ORIGINAL_BATCH, EmbeddingRecipe, cosine_distance, name_order
from evaluation_dart.scoring.likelihoods import score_alleles, score_sequences

Columns = dict[str, Any]
Score = Callable[[range], Columns]

NAME_ORDER = "by the names of HDF5 data sets"


class Job(NamedTuple):
    """What is to be done with a dataset."""

    recipe: Any  # Recipe of a likelihood, EmbeddingRecipe of an embedding, None of a column
    window: int | None = None  # bp of the centred crop; None for all
    options: Mapping[str, Any] = {}  # of the scorer

    def crop(self, sequences: Sequence[str]) -> list[str]:
        if self.window is None:
            return list(sequences)
        return [centred_crop(sequence, self.window) for sequence in sequences]


def centred_crop(sequence: str, window: int) -> str:
    """The central `window` bases; of an odd rest, the larger half is cut from the right."""
    offset = (len(sequence) - window) // 2
    return sequence[offset : offset + window]


def embedding_recipe(task: str, scorer: Any, protocol: str, layer: int = -1) -> EmbeddingRecipe:
    """How a protocol makes embeddings of a task's sequences with a model (spec sections 1.5 and 1.7).

    "fixed": the mean over the sequence's own tokens. "paper", tasks 2 and 3: padding is read as sequence, models of one
    token a base count the token after the last base, and rows are mixed up; task 5: all tokens count, padding as well.
    """
    if not hasattr(scorer, "base_tokens"):
        return EmbeddingRecipe("as the baseline makes them", "none")
    if protocol == "fixed":
        return EmbeddingRecipe("mean-pooled", "mean", layer)
    if task == "variant_effects":
        return EmbeddingRecipe("dart-eval", "mean_all", layer)
    (tokens,) = scorer.base_tokens(["ACGTTGCAACGTTGCA"])
    pooling = "mean_with_next" if tokens.tolist() == list(range(len(tokens))) else "mean"
    return EmbeddingRecipe("dart-eval", pooling, layer, attention_mask=False, rows=NAME_ORDER)


def score_pairs(scorer: Any, dataset: Dataset, job: Job) -> Score:
    """Task 1: likelihoods of element and control."""

    def score(rows: range) -> Columns:
        batch = dataset[rows]
        sequences = job.crop([*batch["sequence"], *batch["control"]])
        scores = np.split(score_sequences(scorer, sequences, job.recipe, **job.options), 2)
        return _columns(batch, "id", "chrom", "start") | {"score": scores[0], "control_score": scores[1]}

    return score


def score_trials(scorer: Any, dataset: Dataset, job: Job) -> Score:
    """Task 2: likelihoods of backgrounds, and of motifs and shuffles in them."""

    def score(rows: range) -> Columns:
        batch = dataset[rows]
        scores = score_sequences(scorer, job.crop(batch["sequence"]), job.recipe, **job.options)
        return _columns(batch, *TRIAL) | {"score": scores}

    return score


def trial_distances(scorer: Any, dataset: Dataset, job: Job) -> Score:
    """Task 2: distance of each embedding from that of its bare background on the same strand."""
    embed = row_embedder(scorer, dataset, job)
    bare = np.flatnonzero(np.array(dataset["kind"][:]) == "raw")
    names = dataset.select_columns(["background", "strand"])[bare.tolist()]
    vectors = dict(zip(zip(names["background"], names["strand"], strict=True), embed(bare), strict=True))

    def score(rows: range) -> Columns:
        batch = dataset[rows]
        try:
            raw = [vectors[pair] for pair in zip(batch["background"], batch["strand"], strict=True)]
        except KeyError as error:
            raise InputError(f"there is no bare background {error}") from None
        return _columns(batch, *TRIAL) | {"distance": cosine_distance(embed(np.array(rows)), np.array(raw))}

    return score


def embed_elements(scorer: Any, dataset: Dataset, job: Job) -> Score:
    """Task 3: embeddings, to be clustered when all are there ([`clustered`])."""
    embed = row_embedder(scorer, dataset, job)
    feature = dataset.features["label"]

    def score(rows: range) -> Columns:
        batch = dataset[rows]
        labels = feature.int2str(batch["label"]) if isinstance(feature, ClassLabel) else batch["label"]
        vectors = embed(np.array(rows))
        return _columns(batch, "id", "chrom", "start") | {"label": labels, "embedding": list(vectors)}

    return score


def clustered(table: pa.Table) -> pa.Table:
    """Clusters of each seed in place of the embeddings of [`embed_elements`]."""
    vectors = table["embedding"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
    clusters = cluster(principal_components(vectors, COMPONENTS), CLUSTERS, SEEDS)
    table = table.drop_columns("embedding")
    for seed, column in zip(SEEDS, clusters.T, strict=True):
        table = table.append_column(f"cluster_{seed}", pa.array(column.astype(np.int16)))
    return table


def score_activity(scorer: Any, dataset: Dataset, job: Job) -> Score:
    """Task 4: a window's likelihood as the prediction of its accessibility. Not a setting of the paper."""

    def score(rows: range) -> Columns:
        batch = dataset[rows]
        scores = score_sequences(scorer, job.crop(batch["sequence"]), job.recipe, **job.options)
        return _columns(batch, "id", "cell_type", "category", "chrom", "start", "log_counts") | {"prediction": scores}

    return score


def score_variants(scorer: Any, dataset: Dataset, job: Job) -> Score:
    """Task 5: likelihoods of both alleles."""

    def score(rows: range) -> Columns:
        batch = dataset[rows]
        one, two = job.crop(batch["sequence1"]), job.crop(batch["sequence2"])
        score1, score2 = score_alleles(scorer, one, two, job.recipe, **job.options)
        return _columns(batch, *VARIANT) | {"score1": score1, "score2": score2}

    return score


def variant_distances(scorer: Any, dataset: Dataset, job: Job) -> Score:
    """Task 5: distance between the embeddings of both alleles."""

    def score(rows: range) -> Columns:
        batch = dataset[rows]
        vectors = [embed_sequences(scorer, job.crop(batch[name]), job) for name in ("sequence1", "sequence2")]
        return _columns(batch, *VARIANT) | {"distance": cosine_distance(*vectors)}

    return score


def variant_column(scorer: str, dataset: Dataset, job: Job) -> Score:
    """Task 5: a predictor's own column of the variant table, such as ChromBPNet's; `scorer` is its name.

    Its scores speak for the effect allele, as the effects do. NaN where a variant that is not used has none.

    Raises:
        ValueError: if the table has no such column.
    """
    if scorer not in dataset.column_names:
        raise InputError(f"the variants have no column {scorer!r}; there are {', '.join(dataset.column_names)}")

    def score(rows: range) -> Columns:
        batch = dataset[rows]
        change = np.array(batch[scorer], dtype=np.float64)
        allele = np.array(batch["effect_allele"])
        scores = {f"score{number}": np.where(allele == number, change, 0.0) for number in (1, 2)}
        return _columns(batch, *VARIANT) | scores

    return score


def predict_pairs(scorer: Any, dataset: Dataset, job: Job) -> Score:
    """Task 1, supervised: log p(element) - log p(control) of both members."""

    def predict(batch: Mapping[str, Any]) -> Columns:
        outputs = scorer.predict(job.crop([*batch["sequence"], *batch["control"]]))
        element, control = np.split(outputs[:, 1] - outputs[:, 0], 2)
        return {"score": element, "control_score": control}

    return _predicted(scorer, dataset, ("id", "chrom", "start"), predict)


def predict_classes(scorer: Any, dataset: Dataset, job: Job) -> Score:
    """Task 3, supervised: a logit of each class."""
    feature = dataset.features["label"]

    def predict(batch: Mapping[str, Any]) -> Columns:
        outputs = scorer.predict(job.crop(batch["sequence"]))
        return {f"logit_{name}": outputs[:, number] for number, name in enumerate(scorer.objective.classes)}

    def label(batch: Mapping[str, Any]) -> Columns:
        return {"label": feature.int2str(batch["label"]) if isinstance(feature, ClassLabel) else batch["label"]}

    return _predicted(scorer, dataset, ("id", "chrom", "start"), predict, label)


def predict_activity(scorer: Any, dataset: Dataset, job: Job) -> Score:
    """Task 4, supervised: log counts."""

    def predict(batch: Mapping[str, Any]) -> Columns:
        return {"prediction": scorer.predict(job.crop(batch["sequence"]))[:, 0]}

    return _predicted(scorer, dataset, ("id", "cell_type", "category", "chrom", "start", "log_counts"), predict)


def predict_variants(scorer: Any, dataset: Dataset, job: Job) -> Score:
    """Task 5, supervised: log counts of both alleles, from a model of task 4; or a column, by its name."""
    if isinstance(scorer, str):
        return variant_column(scorer, dataset, job)

    def predict(batch: Mapping[str, Any]) -> Columns:
        one, two = (scorer.predict(job.crop(batch[name]))[:, 0] for name in ("sequence1", "sequence2"))
        return {"score1": one, "score2": two}

    return _predicted(scorer, dataset, VARIANT, predict)


def _predicted(
    scorer: Any,
    dataset: Dataset,
    names: Sequence[str],
    predict: Callable[[Mapping[str, Any]], Columns],
    label: Callable[[Mapping[str, Any]], Columns] | None = None,
) -> Score:
    """Columns of the dataset beside what a model predicts, or what a table of predictions has."""
    found = scorer.columns if hasattr(scorer, "columns") else predict

    def score(rows: range) -> Columns:
        batch = dataset[rows]
        return _columns(batch, *names) | (label(batch) if label else {}) | found(batch)

    return score


def embed_sequences(scorer: Any, sequences: Sequence[str], job: Job) -> np.ndarray:
    recipe = job.recipe
    return scorer.embed(
        sequences, layer=recipe.layer, pooling=recipe.pooling, attention_mask=recipe.attention_mask, **job.options
    )


def row_embedder(scorer: Any, dataset: Dataset, job: Job) -> Callable[[np.ndarray], np.ndarray]:
    """Embeddings (m, C) of rows by their numbers.

    Without an attention mask they depend on the padding, and so are made in the original's batches. In the order of
    names, what stands for row r is the embedding of row `name_order(n)[r]`.
    """
    sequences, n = dataset.select_columns(["sequence"]), len(dataset)
    if job.recipe.attention_mask:
        return lambda rows: embed_sequences(scorer, job.crop(sequences[rows.tolist()]["sequence"]), job)
    order = name_order(n) if job.recipe.rows == NAME_ORDER else np.arange(n)
    original = job._replace(options={**job.options, "batch_size": ORIGINAL_BATCH})

    def embed(rows: np.ndarray) -> np.ndarray:
        batches, place = np.divmod(order[rows], ORIGINAL_BATCH)
        vectors: np.ndarray | None = None
        for number in np.unique(batches).tolist():
            batch = sequences[number * ORIGINAL_BATCH : min((number + 1) * ORIGINAL_BATCH, n)]["sequence"]
            embedded = embed_sequences(scorer, original.crop(batch), original)
            if vectors is None:
                vectors = np.empty((len(rows), embedded.shape[1]), np.float32)
            here = batches == number
            vectors[here] = embedded[place[here]]
        return np.empty((0, 0), np.float32) if vectors is None else vectors

    return embed


def _columns(batch: Mapping[str, Any], *names: str) -> Columns:
    return {name: batch[name] for name in names}
