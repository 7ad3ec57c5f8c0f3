"""Task 5: variants that change chromatin accessibility (DART-Eval spec section 6)."""

from collections.abc import Mapping
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
    import pyarrow as pa
    from datasets import Dataset

    from evaluation_dart.statistics.blocks import Blocks
    from evaluation_dart.statistics.estimates import Estimate

VARIANT = ("id", "chrom", "position", "label", "effect", "used", "effect_allele")
SCORES = ("score1", "score2")
HEADLINES = ("auroc", "spearman")
PERMUTE = outcomes_permuted("label", "effect", among="used")


def score_variants(scorer: Any, dataset: "Dataset", job: Job) -> Score:
    """Likelihoods of both alleles."""
    from evaluation_dart.scoring.likelihoods import score_alleles

    def score(rows: range) -> Columns:
        batch = dataset[rows]
        one, two = job.crop(batch["sequence1"]), job.crop(batch["sequence2"])
        scores = score_alleles(scorer, one, two, job.recipe, batch_size=job.batch_size)
        return taken(batch, VARIANT) | dict(zip(SCORES, scores, strict=True))

    return score


def variant_distances(scorer: Any, dataset: "Dataset", job: Job) -> Score:
    """Distance between the embeddings of both alleles."""
    from evaluation_dart.scoring.embeddings import cosine_distance
    from evaluation_dart.scoring.rows import embed_sequences

    def score(rows: range) -> Columns:
        batch = dataset[rows]
        alleles = [job.crop(batch[name]) for name in ("sequence1", "sequence2")]
        if job.recipe.pooling == "mean":
            vectors = embed_sequences(scorer, [*alleles[0], *alleles[1]], job, [*range(len(alleles[0]))] * 2)
            one, two = vectors[: len(alleles[0])], vectors[len(alleles[0]) :]
        else:  # counts the padding of its batch
            one, two = (embed_sequences(scorer, own, job) for own in alleles)
        return taken(batch, VARIANT) | {"distance": cosine_distance(one, two)}

    return score


def predict_variants(scorer: Any, dataset: "Dataset", job: Job) -> Score:
    """Log counts of both alleles, by a model trained on chromatin_activity."""

    def predict(batch: Mapping[str, Any]) -> Columns:
        outputs = (scorer.predict(job.crop(batch[name]))[:, 0] for name in ("sequence1", "sequence2"))
        return dict(zip(SCORES, outputs, strict=True))

    return predicted(scorer, dataset, VARIANT, ("id",), SCORES, predict)


def signed_of(predictions: "pa.Table", protocol: str, blocks: "Blocks") -> "dict[str, Estimate]":
    """Of the change towards the allele that the effect speaks for."""
    import numpy as np

    score1, score2, allele = (predictions[name].to_numpy() for name in (*SCORES, "effect_allele"))
    return variants_of(predictions, (score2 - score1) * np.where(allele == 1, -1, 1), blocks, True, protocol)


def distances_of(predictions: "pa.Table", protocol: str, blocks: "Blocks") -> "dict[str, Estimate]":
    """Of distances, which have no sign."""
    return variants_of(predictions, predictions["distance"].to_numpy(), blocks, False, protocol)


def variants_of(
    predictions: "pa.Table", change: Any, blocks: "Blocks", directed: bool, protocol: str
) -> "dict[str, Estimate]":
    """Metrics of the variants that are used and, if any has a label, have one."""
    import numpy as np

    from evaluation_dart.statistics.metrics import variant_estimates

    label, effect = predictions["label"], predictions["effect"]
    used = predictions["used"].to_numpy().astype(bool)
    if labelled := label.null_count < len(label):
        used &= label.is_valid().to_numpy()
    return variant_estimates(
        change[used],
        label.to_numpy()[used].astype(bool) if labelled else None,
        effect.to_numpy()[used].astype(np.float64) if effect.null_count < len(effect) else None,
        blocks.take(used),
        directed,
        protocol,
    )


def of_project(predictions: "pa.Table", recipe: str, blocks: "Blocks") -> "dict[str, Estimate]":
    """The metrics of the project that a recipe is of, if any: of allele 2 less allele 1, in a VCF ALT - REF."""
    import numpy as np

    from evaluation_dart.statistics import variant_boards

    used, label = predictions["used"].to_numpy().astype(bool), predictions["label"]
    if not recipe.startswith(("traitgym", "carbon")) or label.null_count == len(label):
        return {}
    used &= label.is_valid().to_numpy()
    positive = label.to_numpy()[used].astype(bool)
    if positive.all() or not positive.any() or predictions["chrom"].null_count:
        return {}
    score1, score2, chrom = (predictions[name].to_numpy()[used] for name in (*SCORES, "chrom"))
    rows = blocks.take(used)
    if recipe == "traitgym":
        return variant_boards.traitgym(score2 - score1, positive, chrom, rows)
    effect = predictions["effect"]
    measured = effect.to_numpy()[used].astype(np.float64) if effect.null_count < len(effect) else None
    return variant_boards.carbon(score2 - score1, positive, chrom, rows, measured)


def measure(chrom: Any, position: Any, **arrays: Any) -> "dict[str, Estimate]":
    """[`variant_estimates`]."""
    from evaluation_dart.statistics.blocks import genome_blocks
    from evaluation_dart.statistics.metrics import variant_estimates

    return variant_estimates(blocks=genome_blocks(chrom, position), **arrays)


TASK = Task(
    name="variant_effects",
    number=5,
    title="variants that change accessibility",
    inputs={
        "genome": Input("FASTA: plain, gzip or bgzip"),
        "variants": Input("table or VCF of variants", names_data=True),
        "effect": Input("name of the column, or INFO key, of the effect", "text"),
        "label": Input("name of the column, or INFO key, of the label", "text"),
        "effect_allele": Input("which allele the effect is of: 1, 2, ref, alt, or a column that says so", "text"),
        "effect_orientation": Input("of effects of a published table: as-given or by-reference", "text"),
        "processed": Input("the original's own data.h5, in place of the genome", names_data=True),
    },
    columns={"sequence1": "the window with allele 1", "sequence2": "the window with allele 2"},
    settings={
        "zero_shot_likelihood": Setting(
            needs="likelihoods",
            columns=(*VARIANT, *SCORES),
            score=score_variants,
            estimates=signed_of,
            headlines=HEADLINES,
            permute=PERMUTE,
        ),
        "zero_shot_embedding": Setting(
            needs="embeddings",
            columns=(*VARIANT, "distance"),
            score=variant_distances,
            estimates=distances_of,
            headlines=HEADLINES,
            permute=PERMUTE,
        ),
        **supervised(
            Setting(
                needs="predictions",
                columns=(*VARIANT, *SCORES),
                score=predict_variants,
                estimates=signed_of,
                headlines=HEADLINES,
                permute=PERMUTE,
            )
        ),
    },
    alleles=True,
    trained_on="chromatin_activity",
    of_recipe=of_project,
    measure=measure,
    arrays={"change": "float64", "label": "bool", "effect": "float64", "chrom": "string", "position": "int64"},
)
