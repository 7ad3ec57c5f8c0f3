"""How many islands of the bundled sample share a stretch with what the demo checkpoint was trained on, and its accuracy
without them: docs/records/seen_before.json, which the checkpoint's card says.

python -m studies.seen_before --data real-data
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from datasets_dart.kmers import canonical_kmers, occurring
from datasets_dart.samples import cpg_islands_chrx
from evaluation_dart import evaluate
from evaluation_dart.tasks import TASKS
from studies.pages import RECORDS, ROOT, write_json
from studies.real_inputs import DEMO
from trainer_scripts.genome_windows import GenomeCodes, as_regions, subtract_regions
from trainer_scripts.messages import run_function

GENOME = "genomes/hg19.chrX_1-69999930.fa.gz"
MARGIN = 10_000  # bp around each island that were kept out of the training
K = 31


def training_regions(genome: GenomeCodes) -> np.ndarray:
    """What the demo checkpoint was trained on: all but the islands with their surroundings, and validation blocks."""
    islands = genome.intervals(str(cpg_islands_chrx()["elements"]), MARGIN)
    held_out = genome.regions(str(ROOT / DEMO / "validation.bed"))
    return subtract_regions(genome.whole(), as_regions([*islands.tolist(), *held_out.tolist()]))


def shared_kmers(genome: GenomeCodes, places: np.ndarray, training: np.ndarray) -> np.ndarray:
    """How many k-mers of each of (n, 2) places are in the (m, 2) regions of the training, on either strand: (n,)."""
    own = [canonical_kmers(genome.codes[start:end], k=K)[1] for start, end in places]
    known = np.unique(np.concatenate(own))
    found = occurring(known, (genome.codes[start:end] for start, end in training), K)
    return np.array([found[np.searchsorted(known, kmers)].sum() for kmers in own])


def seen_before(
    data: Annotated[Path, typer.Option(help="folder with genomes/")],
    output: Annotated[Path, typer.Option(help="JSON file")] = RECORDS / "seen_before.json",
    work: Annotated[Path, typer.Option(help="folder of the run on the sample")] = Path("results/seen_before"),
) -> None:
    """Count islands that share a stretch with the training sequence, and judge the model without them.

    python -m studies.seen_before --data real-data
    """
    genome = GenomeCodes.from_fasta(str(data / GENOME))
    training = training_regions(genome)
    islands = genome.intervals(str(cpg_islands_chrx()["elements"]))
    shared = shared_kmers(genome, islands, training)
    inputs: dict[str, Any] = {**cpg_islands_chrx()}
    predictions = evaluate(DEMO, "regulatory_elements", output=work, **inputs).predictions()
    new = predictions.filter(shared[predictions["id"].to_numpy()] == 0)
    metrics = {
        name: dict(TASKS["regulatory_elements"].metrics(rows, "fixed")["accuracy"])
        for name, rows in (("all", predictions), ("without", new))
    }
    found = {
        "k": K,
        "training_bases": int(sum((genome.codes[start:end] < 4).sum() for start, end in training)),
        "islands": len(islands),
        "islands_that_share_a_kmer": int((shared > 0).sum()),
        "most_shared": int(shared.max()),
        "accuracy": metrics,
    }
    write_json(output, found, indent=2)
    typer.echo(f"{output}: {found['islands_that_share_a_kmer']} of {found['islands']} islands")


if __name__ == "__main__":
    run_function(seen_before)
