"""What the original's defects change on real data (docs/audit): docs/records/audit.json.

python -m studies.audit --data real-data
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from datasets_dart import load_dart
from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.models.motif_counts import MotifCounts
from evaluation_dart.scoring.clustering import cluster, principal_components
from evaluation_dart.scoring.embeddings import cosine_distance, hidden_states, name_order
from evaluation_dart.statistics.metrics import (
    clustering_metrics,
    motif_metrics,
    paired_likelihood_metrics,
    variant_metrics,
)
from evaluation_dart.tasks.cell_type_elements import CLUSTERS, COMPONENTS
from studies.pages import write_json
from studies.real_inputs import (
    CELL_LINES,
    CONTIGS,
    DEMO,
    cell_type_inputs,
    dsqtl_inputs,
    element_inputs,
    motif_inputs,
    promoters,
    write_places,
)
from trainer_scripts.options import run_function

MOTIFS = 100  # of H12CORE, drawn at random


def figure(page: str, what: str, values: Sequence[float], n: int) -> dict[str, Any]:
    """One row: a quantity as the original computes it, and as it should be."""
    original, sound = (round(float(value), 4) for value in values)
    return {"page": page, "what": what, "original": original, "sound": sound, "n": n}


def order_of_clusters(data: Path, work: Path, scorer: Any) -> list[dict[str, Any]]:
    """Task 3: adjusted mutual information with embeddings in the order of names, and in that of the rows."""
    dataset = load_dart("cell_type_elements", split="test", **cell_type_inputs(data, work))
    labels = np.array(dataset["label"][:])
    counts, rows = MotifCounts(data / "motifs/H12CORE_meme_format.meme.gz"), []
    for name, embedder in (("motif counts", counts), (Path(DEMO).name, scorer)):
        points = principal_components(embedder.embed(dataset["sequence"][:]), COMPONENTS)
        value = [
            clustering_metrics(labels, cluster(points[order], CLUSTERS, range(20)))["adjusted_mutual_information"].value
            for order in (name_order(len(labels)), np.arange(len(labels)))
        ]
        what = f"task 3, {len(CELL_LINES)} cell lines of FANTOM5, {name}: adjusted mutual information"
        rows.append(figure("embedding_order", what, value, len(labels)))
    return rows


def order_of_motifs(data: Path, work: Path, scorer: Any) -> list[dict[str, Any]]:
    """Task 2: accuracy by embedding distance in both orders."""
    dataset = load_dart("motif_footprinting", split="test", **motif_inputs(data, work))
    motif = np.array([name or "" for name in dataset["motif"]])
    chosen = np.random.default_rng(0).choice(np.unique(motif)[1:], MOTIFS, replace=False)
    part = dataset.select(np.flatnonzero(np.isin(motif, [*chosen, ""])).tolist())
    background, motif, strand, kind = (np.array(part[name][:]) for name in ("background", "motif", "strand", "kind"))
    vectors = scorer.embed(part["sequence"][:])
    accuracy = []
    for order in (name_order(len(part)), np.arange(len(part))):
        ordered = vectors[order]
        raw = {(background[i], strand[i]): ordered[i] for i in np.flatnonzero(kind == "raw")}
        distance = cosine_distance(ordered, np.array([raw[key] for key in zip(background, strand, strict=True)]))
        accuracy.append(motif_metrics(background, motif, strand, kind, distance, distances=True).accuracy.mean())
    what = f"task 2, {MOTIFS} motifs of H12CORE, {Path(DEMO).name}: mean accuracy by embedding"
    return [figure("embedding_order", what, accuracy, MOTIFS)]


def two_tokens(data: Path, work: Path, scorer: Any) -> list[dict[str, Any]]:
    """Task 1, probed: a logistic regression on tokens 0 and L, and one on the mean of all; even against odd Mb."""
    dataset = load_dart("regulatory_elements", split="test", **element_inputs(data, work))
    sequences = [*dataset["sequence"], *dataset["control"]]
    ends = []
    with torch.inference_mode():
        for start in range(0, len(sequences), 64):
            inputs, _ = scorer.encode(sequences[start : start + 64])
            hidden = hidden_states(scorer.model(**inputs, output_hidden_states=True), -1, scorer.name)
            ends.append(hidden[:, [0, -1]].flatten(1).numpy())
    label = np.repeat([1, 0], len(dataset))
    odd = np.tile(np.array(dataset["start"]) // 1_000_000 % 2 == 1, 2)
    accuracy = []
    for points in (np.concatenate(ends), scorer.embed(sequences)):
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)).fit(points[~odd], label[~odd])
        accuracy.append(probe.score(points[odd], label[odd]))
    what = f"task 1, promoter-like cCREs, {Path(DEMO).name}: accuracy of a linear probe"
    return [figure("two_token_probe", what, accuracy, int(odd.sum()))]


def sign_of_dsqtls(data: Path, work: Path, scorer: Any) -> list[dict[str, Any]]:
    """Task 5: correlation with the effect, with the alleles in the 2024 notebook's order, and rightly."""
    dataset = load_dart("variant_effects", split="test", **dsqtl_inputs(data, work))
    crop = [[s[545:1569] for s in dataset[name]] for name in ("sequence1", "sequence2")]
    one, two = scorer.allele_log_likelihoods(*crop)
    effect, chrom, position = (np.array(dataset[name][:]) for name in ("effect", "chrom", "position"))
    correlation = [variant_metrics(s * (two - one), None, effect, chrom, position)["pearson"]["value"] for s in (-1, 1)]
    return [figure("dsqtl_sign", "task 5, dsQTLs: Pearson correlation with the effect", correlation, len(dataset))]


def width_of_intervals(data: Path, work: Path, scorer: Any) -> list[dict[str, Any]]:
    """Task 1: width of the 95 % interval of the accuracy."""
    dataset = load_dart("regulatory_elements", split="test", **element_inputs(data, work))
    scores = np.split(scorer.log_likelihood([*dataset["sequence"], *dataset["control"]]), 2)
    chrom, start = (np.array(dataset[name][:]) for name in ("chrom", "start"))
    width = []
    for protocol in ("paper", "fixed"):
        accuracy = paired_likelihood_metrics(scores[0], scores[1], chrom, start, protocol)["accuracy"]
        width.append(accuracy["high"] - accuracy["low"])
    what = "task 1, promoter-like cCREs: width of the accuracy's interval"
    return [figure("interval_n", what, width, len(dataset))]


def letters_in_place_of_n(data: Path, work: Path, scorer: Any) -> list[dict[str, Any]]:
    """Task 1: windows with an N, and how many of them the original shows a model as A."""
    places = promoters(data, "chr22")
    bed, shown = write_places(work / "ccre_chr22.bed", places), []
    for protocol in ("paper", "fixed"):
        rows = load_dart("regulatory_elements", protocol, "test", genome=data / CONTIGS["chr22"], elements=bed)
        shown.append(sum("N" in window for window in rows["sequence"]))
    what = "task 1, cCREs of the partly unknown chr22: windows in which a model sees that bases are unknown"
    return [figure("unknown_bases", what, shown, len(places))]


def audit(
    data: Annotated[Path, typer.Option(help="folder with genomes/, intervals/, motifs/ and variants/")],
    output: Annotated[Path, typer.Option(help="JSON file")] = Path("docs/records/audit.json"),
    work: Annotated[Path, typer.Option(help="folder of inputs made on the way")] = Path("results/real_data/inputs"),
) -> None:
    """Measure the defects' effects on real data.

    python -m studies.audit --data real-data
    """
    scorer = load_language_model(DEMO)
    rows = []
    for part in (
        order_of_clusters,
        order_of_motifs,
        two_tokens,
        letters_in_place_of_n,
        width_of_intervals,
        sign_of_dsqtls,
    ):
        rows += part(data, work, scorer)
        print(rows[-1], flush=True)
    write_json(output, rows, indent=2)


if __name__ == "__main__":
    run_function(audit)
