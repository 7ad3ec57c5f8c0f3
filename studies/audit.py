"""What the original's defects change on real data (docs/audit): docs/records/audit.json.

python -m studies.audit --data real-data
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from sklearn.metrics import adjusted_mutual_info_score

from datasets_dart import load_dart
from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.models.motif_counts import MotifCounts
from evaluation_dart.scoring.clustering import cluster, principal_components
from evaluation_dart.scoring.embeddings import cosine_distance, name_order
from evaluation_dart.tasks.cell_type_elements import CLUSTERS, COMPONENTS
from studies.pages import write_json
from studies.real_inputs import (
    CELL_LINES,
    CONTIGS,
    DEMO,
    cell_type_inputs,
    dsqtl_inputs,
    motif_inputs,
    promoters,
    write_places,
)
from trainer_scripts.messages import run_function

MOTIFS = 100  # of H12CORE, drawn at random
SEEDS = 20  # of k-means


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
            np.mean(
                [adjusted_mutual_info_score(labels, own) for own in cluster(points[order], CLUSTERS, range(SEEDS)).T]
            )
            for order in (name_order(len(labels)), np.arange(len(labels)))
        ]
        what = f"task 3, {len(CELL_LINES)} cell lines of FANTOM5, {name}: adjusted mutual information"
        rows.append(figure("embedding_order", f"{what}, mean of {SEEDS} k-means seeds", value, len(labels)))
    return rows


def order_of_motifs(data: Path, work: Path, scorer: Any) -> list[dict[str, Any]]:
    """Task 2: accuracy by embedding distance in both orders."""
    dataset = load_dart("motif_footprinting", split="test", **motif_inputs(data, work))
    motif = np.array([name or "" for name in dataset["motif"]])
    chosen = np.random.default_rng(0).choice(np.unique(motif)[1:], MOTIFS, replace=False)
    part = dataset.select(np.flatnonzero(np.isin(motif, [*chosen, ""])).tolist())
    background, motif, strand, kind = (np.array(part[name][:]) for name in ("background", "motif", "strand", "kind"))
    places = [*zip(background, strand, strict=True)]
    number = {row: n for n, row in enumerate(zip(background, motif, strand, kind, strict=True))}
    true = np.flatnonzero(kind == "motif")
    shuffled = [number[background[n], motif[n], strand[n], "shuffled"] for n in true]
    vectors, accuracy = scorer.embed(part["sequence"][:]), []
    for order in (name_order(len(part)), np.arange(len(part))):
        ordered = vectors[order]
        raw = {places[n]: ordered[n] for n in np.flatnonzero(kind == "raw")}
        distance = cosine_distance(ordered, np.array([raw[place] for place in places]))
        accuracy.append((distance[true] > distance[shuffled]).mean())
    what = f"task 2, {MOTIFS} motifs of H12CORE, {Path(DEMO).name}: mean accuracy by embedding"
    return [figure("embedding_order", what, accuracy, MOTIFS)]


def sign_of_dsqtls(data: Path, work: Path, scorer: Any) -> list[dict[str, Any]]:
    """Task 5: correlation with the effect, with the alleles in the 2024 notebook's order, and rightly."""
    dataset = load_dart("variant_effects", split="test", **dsqtl_inputs(data, work))
    crop = [[s[545:1569] for s in dataset[name]] for name in ("sequence1", "sequence2")]
    one, two = scorer.allele_log_likelihoods(*crop)
    correlation = [np.corrcoef(sign * (two - one), dataset["effect"][:])[0, 1] for sign in (-1, 1)]
    what = f"task 5, dsQTLs, {Path(DEMO).name}: Pearson correlation with the effect"
    return [figure("dsqtl_sign", what, correlation, len(dataset))]


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
    for part in (order_of_clusters, order_of_motifs, letters_in_place_of_n, sign_of_dsqtls):
        rows += part(data, work, scorer)
        print(rows[-1], flush=True)
    write_json(output, rows, indent=2)


if __name__ == "__main__":
    run_function(audit)
