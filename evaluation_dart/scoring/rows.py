"""Embeddings of a dataset's rows, as a protocol makes them (DART-Eval spec sections 1.5 and 1.7)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from datasets import Dataset

from evaluation_dart.models.families import family_of_config
from evaluation_dart.models.language_model import Encoder
from evaluation_dart.scoring.embeddings import ORIGINAL_BATCH, EmbeddingRecipe, name_order
from evaluation_dart.scoring.finite import check_finite
from evaluation_dart.tasks.base import Job, Task, values_together

NAME_ORDER = "by the names of HDF5 data sets"


def embedding_recipe(task: Task, scorer: Any, protocol: str, layer: int = -1) -> EmbeddingRecipe:
    """How a protocol makes embeddings of a task's sequences with a model.

    "fixed": the mean over the sequence's own tokens. "paper", tasks 2 and 3: padding is read as sequence, models of one
    token a base count the token after the last base, and rows are mixed up by batches of 64 (task 2, Nucleotide
    Transformer: 32); of alleles (task 5): all tokens count, padding as well.
    """
    if not isinstance(scorer, Encoder):
        return EmbeddingRecipe("as the baseline makes them", "none")
    if protocol == "fixed":
        return EmbeddingRecipe("mean-pooled", "mean", layer)
    if task.alleles:
        return EmbeddingRecipe("dart-eval", "mean_all", layer)
    (tokens,) = scorer.base_tokens(["ACGTTGCAACGTTGCA"])
    pooling = "mean_with_next" if tokens.tolist() == list(range(len(tokens))) else "mean"
    family = family_of_config(scorer.name, scorer.model.config)
    batch = family.motif_batch if task.name == "motif_footprinting" else ORIGINAL_BATCH
    return EmbeddingRecipe("dart-eval", pooling, layer, attention_mask=False, rows=NAME_ORDER, batch=batch)


def embed_sequences(scorer: Any, sequences: Sequence[str], job: Job, record: Sequence[Any] | None = None) -> np.ndarray:
    """Embeddings (n, C) of sequences by the job's recipe.

    Args:
        record: (n,) names of groups of sequences that begin alike; None where there are none.

    Raises:
        NotFinite: naming the model and the number of the sequence, for NaN or infinity.
    """
    recipe: EmbeddingRecipe = job.recipe
    if not isinstance(scorer, Encoder):
        return np.asarray(scorer.embed(sequences))
    vectors = scorer.embed(
        sequences,
        layer=recipe.layer,
        pooling=recipe.pooling,
        attention_mask=recipe.attention_mask,
        batch_size=job.batch_size,
        record=record,
    )
    check_finite(vectors, scorer.name, lambda row: f"sequence {row + 1} of {len(vectors)}, {sequences[row][:20]}...")
    return vectors


def row_embedder(
    scorer: Any, dataset: Dataset, job: Job, alike: Sequence[str] = ()
) -> Callable[[np.ndarray], np.ndarray]:
    """Embeddings (m, C) of rows by their numbers.

    Args:
        alike: columns; rows with the same values in all of them begin alike.

    Without an attention mask they depend on the padding, and so are made in the original's batches. In the order of
    names, what stands for row r is the embedding of row `name_order(n)[r]`.
    """
    sequences, n = dataset.select_columns(["sequence", *alike]), len(dataset)

    def of_rows(rows: np.ndarray) -> np.ndarray:
        batch = sequences[rows.tolist()]
        record = values_together(batch, alike) if alike else None
        return embed_sequences(scorer, job.crop(batch["sequence"]), job, record)

    if job.recipe.attention_mask:
        return of_rows
    batch = job.recipe.batch
    order = name_order(n, batch) if job.recipe.rows == NAME_ORDER else np.arange(n)
    original = job._replace(batch_size=batch)

    def embed(rows: np.ndarray) -> np.ndarray:
        batches, place = np.divmod(order[rows], batch)
        vectors: np.ndarray | None = None
        for number in np.unique(batches).tolist():
            together = sequences[number * batch : min((number + 1) * batch, n)]["sequence"]
            embedded = embed_sequences(scorer, original.crop(together), original)
            if vectors is None:
                vectors = np.empty((len(rows), embedded.shape[1]), np.float32)
            here = batches == number
            vectors[here] = embedded[place[here]]
        return np.empty((0, 0), np.float32) if vectors is None else vectors

    return embed
