"""Nucleotide dependency maps of a region: a table of pairs of bases, and a heat map in the genome's coordinates."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from datasets_dart.alphabet import known_bases
from datasets_dart.errors import InputError
from datasets_dart.formats.fasta import open_genome
from datasets_dart.formats.text import plot_text
from datasets_dart.outputs import check_output, made_together
from evaluation_dart.inputs import described_inputs
from evaluation_dart.models.language_model import BatchSize, LanguageModel
from evaluation_dart.records import SCHEMA_VERSION, package_versions
from evaluation_dart.report.figures import MEDIUM, SMALL, check_figure, figure_of, plain, write_figure
from evaluation_dart.report.logo import browser_name, coordinate_title, tick_step
from evaluation_dart.scoring.dependencies import (
    COMBINED,
    DIRECTED,
    LOG_ODDS,
    LOG_PROBABILITY,
    MEAN,
    MEASURES,
    dependencies_of,
)
from evaluation_dart.scoring.four_bases import base_ids
from evaluation_dart.tools.loading import Model, load, paths_of
from evaluation_dart.tools.mutagenesis import TABLES, Region, regions_of, write_table
from evaluation_dart.training.accelerators import progress_bar
from evaluation_dart.workload import announce

MOST_BASES = 2048  # of a region, whose pairs are four million
SOURCES = {
    LOG_ODDS: "gagneurlab/dependencies_DNALM@e20c4bcc4d96d064f24021ea94ff93f69e868e50",
    LOG_PROBABILITY: "Open-Athena/marin-dna@1121f27421716c2712612ac8b9b455b66c56d79d",
}
UNITS = {LOG_ODDS: "largest change of log2 odds (bits)", LOG_PROBABILITY: "largest change of log p (nats)"}
SCHEMA = pa.schema(
    [
        ("chrom", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("target", pa.int64()),
        ("ref", pa.string()),
        ("target_ref", pa.string()),
        ("dependency", pa.float64()),
    ]
)


def dependency_map(
    genome: str | Path,
    model: Model,
    *,
    region: str | None = None,
    output: str | Path | None = None,
    figure: str | Path | None = None,
    window: int | None = None,
    measure: str | None = None,
    combine: str | None = None,
    strands: str | None = None,
    batch_size: BatchSize = "auto",
    revision: str | None = None,
    device: Any = None,
    dtype: str = "float32",
    trust_remote_code: bool = False,
    overwrite: bool = False,
) -> pa.Table | dict[str, Any]:
    """How much a substitution at each base of a region moves what a model says of each other base.

    Args:
        genome: FASTA.
        model: a Hub id or folder of a causal or masked language model with a token for each base; or a scorer in
            memory.
        region: "chr20:1,001-1,200": from 1, both ends in it, at most 2,048 bases; None for a FASTA of one sequence.
        output: .parquet, .tsv[.gz] or .bed[.gz].
        figure: a heat map: .png, .svg or .pdf.
        window: bases that the model reads, the region in the middle; None for the region.
        measure: "log-odds" or "log-probability"; None for the former of masked models, the latter of causal ones.
        combine: "mean" or "max" of both directions of a pair, or "directed"; None for the projects' own: "directed" of
            masked models, "mean" of causal ones.
        strands: "both" or "forward"; None for "forward" of masked models, "both" of causal ones, of whose map one
            strand is a half.
        batch_size: sequences in a forward pass; "auto" for as many as fit.
        revision: branch, tag or commit of a model on the Hub.
        device: "cpu", "cuda:0", ...; None for a GPU if there is one.
        dtype: of the model's weights: "float32", "bfloat16" or "float16"; or "int8" (docs/quantisation.md).
        trust_remote_code: run the code that a model's repository brings.
        overwrite: start afresh, and replace what is there.

    Returns:
        A table with a row for each pair of bases, `SCHEMA`: the mutated base is [start, end), the other at `target`
        (all from 0); with `output` or `figure`, what OUTPUT.json says.

    Raises:
        InputError: naming what cannot be used, or what the model cannot do.
        OSError: if there is no such file or model.
        MissingExtra: if what draws figures is not installed.
    """
    for name, value, known in (
        ("measure", measure, MEASURES),
        ("combine", combine, COMBINED),
        ("strands", strands, ("both", "forward")),
    ):
        if value is not None and value not in known:
            raise InputError(f"{name} {value}: there are {', '.join(known)}")
    targets = [Path(path) for path in (output, figure) if path is not None]
    if output is not None and not str(output).endswith(TABLES):
        raise InputError(f"{output}: a table is written as {', '.join(TABLES)}")
    for path in targets:
        check_output(path, paths_of(genome, model))
    if figure is not None:
        check_figure(Path(figure))
    bases = open_genome(genome)
    places, _ = regions_of(bases, None, region, window)
    if len(places) != 1:
        raise InputError(f"{genome}: has {len(places)} sequences; name a region of one")
    (place,) = places
    if place.end - place.start > MOST_BASES:
        raise InputError(f"{place.name}: has {place.end - place.start:,} bases; a map has at most {MOST_BASES:,}")
    scorer = load(model, revision=revision, device=device, dtype=dtype, trust_remote_code=trust_remote_code)
    if not isinstance(scorer, LanguageModel):
        raise InputError(f"{scorer.name}: is not a language model, and a map is made of the probabilities of bases")
    base_ids(scorer)
    causal = scorer.kind == "causal"
    measure = measure or (LOG_PROBABILITY if causal else LOG_ODDS)
    combine = combine or (MEAN if causal else DIRECTED)
    both = (strands or ("both" if causal else "forward")) == "both"
    sequence = known_bases(bases.fetch(place.chrom, place.window_start, place.window_end))
    first, last = place.start - place.window_start, place.end - place.window_start

    @cache
    def computed() -> np.ndarray:
        passes = (2 if both else 1) * (3 * (last - first - sequence[first:last].count("N")) + 1)
        what = f"dependencies between the {last - first:,} bases of {place.name}"
        announce(what, scorer, passes=passes, tokens=len(sequence), batch_size=batch_size)
        with progress_bar("dependencies", 1, "passes", passes=passes) as bar, bar.step():
            return dependencies_of(scorer, sequence, first, last, measure, combine, both, batch_size)

    def write(path: Path) -> dict[str, Any]:
        table = as_pairs(place, sequence[first:last], computed())
        write_table(path, table)
        return {"rows": table.num_rows, "device": scorer.device_name, "versions": package_versions()}

    def draw(path: Path) -> dict[str, Any]:
        draw_map(path, computed(), place, UNITS[measure])
        return {"versions": package_versions()}

    about = {
        "schema_version": SCHEMA_VERSION,
        "model": scorer.describe(),
        "measure": measure,
        "combine": combine,
        "strands": "both" if both else "forward",
        "source": SOURCES[measure],
        "inputs": described_inputs(fasta=genome),
        "region": place.name,
        "window": window or "region",
    }
    writers: dict[Path, Callable[[Path], dict[str, Any]]] = {}
    writers |= {} if output is None else {Path(output): write}
    writers |= {} if figure is None else {Path(figure): draw}
    if not writers:
        return as_pairs(place, sequence[first:last], computed())
    return made_together(writers, about, overwrite=overwrite)


def as_pairs(region: Region, sequence: str, found: np.ndarray) -> pa.Table:
    """Rows of `SCHEMA` of a map (L, L), without the diagonal and bases that are none of A, C, G, T."""
    mutated, target = np.nonzero(~np.isnan(found) & ~np.eye(len(found), dtype=bool))
    letters = np.array([*sequence])
    columns = {
        "chrom": [region.chrom] * len(mutated),
        "start": region.start + mutated,
        "end": region.start + mutated + 1,
        "target": region.start + target,
        "ref": letters[mutated],
        "target_ref": letters[target],
        "dependency": found[mutated, target],
    }
    return pa.table(columns, schema=SCHEMA)


def draw_map(path: Path, found: np.ndarray, region: Region, unit: str) -> None:
    """A heat map: mutated bases from top to bottom, targets from left to right, coordinates from 1 on both axes."""
    figure = figure_of(6.4, 5.6)
    axis = figure.subplots()
    ends = (region.start + 0.5, region.end + 0.5)
    image = axis.imshow(found, cmap="viridis", extent=(*ends, *ends[::-1]), interpolation="nearest", vmin=0)
    where = coordinate_title(region.chrom)
    title = browser_name(region.chrom, region.start, region.end)
    plain(axis, title, f"target base: {where}", f"mutated base: {where}")
    step = 2 * tick_step(region.end - region.start)
    places = range(-(-(region.start + 1) // step) * step, region.end + 1, step)
    for own in (axis.xaxis, axis.yaxis):
        own.set_ticks(list(places), [f"{place:,}" for place in places])
    bar = figure.colorbar(image, ax=axis, shrink=0.85)
    bar.set_label(plot_text(unit), fontsize=MEDIUM)
    bar.ax.tick_params(labelsize=SMALL)
    write_figure(figure, path)
