"""Pictures of what a tool has written: refused before the work where they cannot be, drawn after it from its output."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from datasets_dart.outputs import Paths, check_output, described, held, made
from evaluation_dart.recipes import VariantRecipe
from evaluation_dart.report.embedding_figures import embedding_figure, groups_of, projected
from evaluation_dart.report.figures import check_figure
from evaluation_dart.report.variant_figures import by_class, is_signed, score_figure, unit_of
from evaluation_dart.tools.score_tables import as_floats, scores_of
from evaluation_dart.training.accelerators import in_first_process


def check_plot(path: str | Path, inputs: Paths, overwrite: bool) -> None:
    """Refuse, in all processes, a picture that cannot be drawn or would replace an input or what is not ours.

    Raises:
        InputError: naming the file. MissingExtra: if what draws figures is not installed.
    """
    check_figure(Path(path))
    check_output(path, inputs)

    def refuse() -> None:
        with held(path, overwrite=overwrite) as own:
            own.claim()

    in_first_process(refuse)


def plot_scores(
    path: str | Path, table: Path, key: str, recipe: VariantRecipe, about: Mapping[str, Any], overwrite: bool
) -> None:
    """The distribution of the scores in a file of [`score_variants`], by class of variant.

    Args:
        table: the scores; of a VCF under the INFO key `key`.
        about: the "model" and "recipe" of the scores.
    """

    def draw(scratch: Path) -> dict[str, Any]:
        refs, alts, scores = scores_in(table, key)
        classes = by_class(refs, alts, scores)
        without = len(scores) - sum(len(own.scores) for own in classes)
        title = (
            f"{about['model']['id']}, recipe {recipe.name}, strand {recipe.strand}, {about['recipe']['window']:,} bp"
        )
        score_figure(scratch, classes, unit_of(recipe), title, is_signed(recipe), without)
        return {"classes": {own.name: len(own.scores) for own in classes}, "without_score": without}

    made(path, {"picture": "scores by class", "scores": described(table)}, draw, overwrite=overwrite)


def scores_in(path: Path, key: str) -> tuple[list[str], list[str], np.ndarray]:
    """REF, ALT and score of each alternative allele, NaN where there is no score."""
    if not path.name.endswith(".vcf.gz"):
        table = scores_of(path)
        return table["ref"].to_pylist(), table["alt"].to_pylist(), as_floats(table, "score")
    import pysam

    refs, alts, scores = [], [], []
    with pysam.VariantFile(str(path)) as records:
        for record in records:
            own = record.info.get(key, ())
            for number, alt in enumerate(record.alts or ()):
                refs.append(record.ref or "")
                alts.append(alt)
                scores.append(own[number] if number < len(own) and own[number] is not None else np.nan)
    return refs, alts, np.array(scores, dtype=np.float64)


def plot_embeddings(path: str | Path, table: Path, method: str, about: Mapping[str, Any], overwrite: bool) -> None:
    """The vectors of a Parquet file of [`embed_regions`] in two dimensions, coloured by the regions' names.

    Args:
        about: the "model" and "recipe" of the vectors.
    """

    def draw(scratch: Path) -> dict[str, Any]:
        regions = pq.read_table(table)
        vectors = np.stack(regions["embedding"].to_numpy())
        groups = groups_of(regions["name"].to_pylist() if "name" in regions.column_names else None)
        found = projected(vectors, method)
        recipe = about["recipe"]
        layer = "the last layer" if recipe["layer"] == -1 else f"layer {recipe['layer']}"
        title = f"{about['model']['id']}, {recipe['pooling']} over {layer}, n = {len(regions):,} regions"
        embedding_figure(scratch, found, groups, title)
        return {"axes": found.axes, "groups": None if groups is None else sorted(set(groups))}

    made(path, {"picture": method, "vectors": described(table)}, draw, overwrite=overwrite)
