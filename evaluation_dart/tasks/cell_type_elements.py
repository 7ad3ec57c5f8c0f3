"""Task 3: elements that are open in one cell line only (DART-Eval spec section 4)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from datasets_dart.errors import InputError
from evaluation_dart.tasks.base import (
    LOGIT,
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
    from evaluation_dart.statistics.calibration import Calls
    from evaluation_dart.statistics.estimates import Estimate
    from evaluation_dart.training.objective import Objective

ROW = ("id", "chrom", "start")
# Principal components of the embeddings, clusters of k-means, and how many seeds of it (spec section 4)
COMPONENTS, CLUSTERS, SEEDS = 60, 50, range(100)


def class_names(dataset: "Dataset") -> tuple[str, ...]:
    """The classes, in the order of their numbers where they have any, else sorted."""
    feature = dataset.features["label"]
    return tuple(feature.names) if hasattr(feature, "names") else tuple(sorted(set(dataset["label"][:])))


def labels(dataset: "Dataset", batch: Mapping[str, Any]) -> Columns:
    """The names of the rows' classes."""
    feature = dataset.features["label"]
    return {"label": feature.int2str(batch["label"]) if hasattr(feature, "names") else batch["label"]}


def embed_elements(scorer: Any, dataset: "Dataset", job: Job) -> Score:
    """Embeddings, to be clustered when all rows have one."""
    import numpy as np

    from evaluation_dart.scoring.rows import row_embedder

    embed = row_embedder(scorer, dataset, job)

    def score(rows: range) -> Columns:
        batch = dataset[rows]
        return taken(batch, ROW) | labels(dataset, batch) | {"embedding": list(embed(np.array(rows)))}

    return score


def clustered(table: "pa.Table") -> "pa.Table":
    """Clusters of each seed in place of the embeddings."""
    import numpy as np
    import pyarrow as pa

    from evaluation_dart.scoring.clustering import cluster, principal_components

    vectors = table["embedding"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
    clusters = cluster(principal_components(vectors, COMPONENTS), CLUSTERS, SEEDS)
    table = table.drop_columns("embedding")
    for seed, column in zip(SEEDS, clusters.T, strict=True):
        table = table.append_column(f"cluster_{seed}", pa.array(column.astype(np.int16)))
    return table


def predict_classes(scorer: Any, dataset: "Dataset", job: Job) -> Score:
    """A logit of each class, by a trained model."""
    classes = class_names(dataset)

    def predict(batch: Mapping[str, Any]) -> Columns:
        outputs = scorer.predict(job.crop(batch["sequence"]))
        return {LOGIT + name: outputs[:, number] for number, name in enumerate(scorer.objective.classes)}

    names = [LOGIT + name for name in classes]
    return predicted(scorer, dataset, ROW, ("id",), names, predict, lambda batch: labels(dataset, batch))


def clustering_of(predictions: "pa.Table", protocol: str, blocks: "Blocks") -> "dict[str, Estimate]":
    """Adjusted mutual information of clusters and cell lines."""
    import numpy as np

    from evaluation_dart.statistics.metrics import clustering_estimates

    clusters = np.stack([predictions[f"cluster_{seed}"].to_numpy() for seed in SEEDS], axis=1)
    return clustering_estimates(predictions["label"].to_numpy(), clusters, blocks, protocol)


def classes_of(predictions: "pa.Table", protocol: str, blocks: "Blocks") -> "dict[str, Estimate]":
    """Accuracy and each class against the rest; the classes are those that the predictions have a logit of."""
    from evaluation_dart.statistics.metrics import class_estimates

    logits, label, classes = logits_of(predictions)
    return class_estimates(logits, label, classes, blocks, protocol)


def element_calls(predictions: "pa.Table", blocks: "Blocks") -> "Calls":
    """The probability of the likeliest class."""
    from evaluation_dart.statistics.calibration import class_calls

    logits, label, _ = logits_of(predictions)
    return class_calls(logits, label, blocks)


def logits_of(predictions: "pa.Table") -> "tuple[np.ndarray, np.ndarray, tuple[str, ...]]":
    """(n, k) logits, (n,) numbers of the rows' classes, and the classes, which are those that there is a logit of.

    Raises:
        InputError: for a label that is none of them.
    """
    import numpy as np

    names = tuple(name for name in predictions.column_names if name.startswith(LOGIT))
    number = {name.removeprefix(LOGIT): place for place, name in enumerate(names)}
    label = predictions["label"].to_pylist()
    if unknown := sorted(set(label) - number.keys()):
        raise InputError(f"there is no column {LOGIT}{unknown[0]}, but rows of that label")
    logits = np.stack([predictions[name].to_numpy() for name in names], axis=1)
    return logits, np.array([number[name] for name in label]), tuple(number)


def objective(dataset: "Dataset") -> "Objective":
    """Which class an element is of.

    Raises:
        InputError: for labels without an order.
    """
    from evaluation_dart.training.objective import Objective

    if not hasattr(dataset.features["label"], "names"):
        raise InputError("the labels of cell_type_elements must be a ClassLabel, which names the classes")
    classes = class_names(dataset)
    return Objective("classes", len(classes), classes)


def measure(cluster: Any, chrom: Any, start: Any, label: Any, protocol: str = "fixed") -> "dict[str, Estimate]":
    """[`clustering_estimates`] of one clustering."""
    from evaluation_dart.statistics.blocks import genome_blocks
    from evaluation_dart.statistics.metrics import clustering_estimates

    return clustering_estimates(label, cluster[:, None], genome_blocks(chrom, start), protocol)


TASK = Task(
    name="cell_type_elements",
    number=3,
    title="elements that are open in one cell line only",
    inputs={
        "genome": Input("FASTA: plain, gzip or bgzip"),
        "elements": Input("BED with the cell line in column 4, or one of the original's tables", names_data=True),
        "peaks": Input("narrowPeak of each cell line", "files", names_data=True),
        "counts": Input("tables of reads in the peaks' consensus windows", "files", names_data=True),
        "processed": Input("the original's own data.h5", names_data=True),
    },
    columns={"sequence": "the element's window"},
    settings={
        "clustering": Setting(
            needs="embeddings",
            columns=(*ROW, "label", *(f"cluster_{seed}" for seed in SEEDS)),
            score=embed_elements,
            estimates=clustering_of,
            headlines=("adjusted_mutual_information",),
            permute=outcomes_permuted("label"),
            finish=clustered,
            described={"components": COMPONENTS, "clusters": CLUSTERS, "seeds": len(SEEDS)},
        ),
        **supervised(
            Setting(
                needs="predictions",
                columns=(*ROW, "label"),  # and the logit of each class
                score=predict_classes,
                estimates=classes_of,
                headlines=("accuracy",),
                permute=outcomes_permuted("label"),
                calls=element_calls,
            )
        ),
    },
    objective=objective,
    measure=measure,
    arrays={"label": "string", "cluster": "int64", "chrom": "string", "start": "int64"},
)
