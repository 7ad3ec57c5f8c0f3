"""The pictures of docs/pictures.md, of the demo model.

    python -m studies.pictures

writes docs/pictures/*.png in some minutes; UMAP's only where the extra umap is installed. `score`, `embed`,
`mutagenesis` and `dependencies` are run on the bundled sample, with variants and regions made from it; the report's
boards are the sample's CpG islands, and the excerpts, motifs and backgrounds of the tests. The reliability diagram is
of probabilities that are made up.
"""

import argparse
import shutil
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from datasets_dart.files import write_text
from datasets_dart.formats.bed import read_intervals
from datasets_dart.formats.fasta import Genome, open_genome
from evaluation_dart.records import Record
from evaluation_dart.report.analyses import strata_figure
from evaluation_dart.report.figures import calibration_figure, comparison_figure
from evaluation_dart.report.strata import strata_table
from evaluation_dart.report.summary import write_summary
from evaluation_dart.statistics.blocks import column_blocks
from evaluation_dart.statistics.calibration import binary_calls, calibration_curve
from evaluation_dart.tools.loading import VCF_HEADER
from hyenadna_dart import compare, dependency_map, embed_regions, evaluate, mutagenesis, score_variants
from trainer_scripts.demo import DEMO_MODEL, MARKOV, TRANSITION, write_inputs

PICTURES = Path(__file__).parents[1] / "docs/pictures"
WINDOW = 350
PLACES = 100  # islands in the middle of which variants are made
ISLANDS = 250  # that are embedded
FIXTURES = Path(__file__).parents[1] / "tests/fixtures"
# Of the report's pictures those that the page shows, and what they are called there
OF_A_REPORT = {
    "regulatory_elements_zero_shot_likelihood_forest.png": "forest.png",
    "regulatory_elements_zero_shot_likelihood_differences.png": "differences.png",
    "motif_footprinting_zero_shot_likelihood_motifs.png": "motifs.png",
    "long_range_recall_exact_repeat_distances.png": "distances.png",
}
BEFORE = 700  # bp before an island's window begins, where another window begins


def elements_of(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Contig, start and end of each CpG island's window in the demo's inputs."""
    for _, rows in read_intervals(folder / "elements.bed"):
        yield from zip(rows.chrom.tolist(), rows.start.tolist(), rows.end.tolist(), strict=True)


def write_variants(folder: Path, genome: Genome, places: int) -> Path:
    """A VCF with a variant of each class in each of the first islands, all made up.

    Around an island's middle: a transition; the next two bases as their transitions, together; three bases deleted; and
    the three bases after those inserted again.
    """
    rows = []
    for _, (contig, start, end) in zip(range(places), elements_of(folder), strict=False):
        first = (start + end) // 2
        bases = genome.fetch(contig, first, first + 16).upper()
        alleles = {
            0: (bases[0], TRANSITION[bases[0]]),
            4: (bases[4:6], TRANSITION[bases[4]] + TRANSITION[bases[5]]),
            8: (bases[8:12], bases[8]),
            12: (bases[12], bases[12:16]),
        }
        rows += [f"{contig}\t{first + at + 1}\t.\t{ref}\t{alt}\t.\t.\t.\n" for at, (ref, alt) in alleles.items()]
    path = folder / "all_classes.vcf"
    write_text(path, VCF_HEADER + "".join(rows))
    return path


def write_regions(folder: Path, genome: Genome, islands: int) -> Path:
    """A BED of the first islands' windows, and of those that begin 700 bp before, where the sample has their bases."""
    lines = []
    for _, (contig, start, end) in zip(range(islands), elements_of(folder), strict=False):
        lines.append(f"{contig}\t{start}\t{end}\tCpG island")
        if "N" not in genome.fetch(contig, start - BEFORE, end - BEFORE):
            lines.append(f"{contig}\t{start - BEFORE}\t{end - BEFORE}\t700 bp before one")
    path = folder / "named.bed"
    write_text(path, "\n".join(lines) + "\n")
    return path


def draw_along(output: Path, folder: Path, bases: int = 100) -> None:
    """Write logo.png, heat_map.png and dependencies.png of the middle of the first island."""
    contig, start, end = next(elements_of(folder))
    fasta, model = folder / "genome.fa.gz", folder / "model"

    def middle(width: int) -> str:
        first = (start + end - width) // 2
        return f"{contig}:{first + 1}-{first + width}"

    mutagenesis(
        fasta,
        model,
        region=middle(bases),
        logo=output / "logo.png",
        heat_map=output / "heat_map.png",
        window=WINDOW,
        device="cpu",
    )
    region = middle(min(60, bases))
    dependency_map(fasta, model, region=region, figure=output / "dependencies.png", window=WINDOW, device="cpu")


def runs(results: Path, folder: Path, limit: int | None = None) -> Iterator[Record]:
    """The records of the pictures of a report.

    Args:
        folder: the demo's inputs. limit: rows of each run; None for all.
    """
    given: dict[str, Any] = {"output": results, "device": "cpu", "limit": limit}
    islands: dict[str, Any] = {"genome": folder / "genome.fa.gz", "elements": folder / "elements.bed"}
    genome = folder / "excerpts.fa"  # whose index is written beside it
    genome.write_bytes((FIXTURES / "genome/genome.fa").read_bytes())
    repeats: dict[str, Any] = {"genome": genome, "distances": "64,128,256,512", "segment": "64", "trials": "40"}
    for own in (str(DEMO_MODEL), f"random:{DEMO_MODEL}", f"markov:{MARKOV}"):
        yield evaluate(own, "regulatory_elements", split="train", **islands, **given)  # chrX is one of training
    for own in (str(DEMO_MODEL), f"random:{DEMO_MODEL}"):
        yield evaluate(own, "long_range_recall", setting="exact_repeat", **repeats, **given)


def motif_runs(results: Path) -> Iterator[Record]:
    """The records of the pictures of motifs."""
    motifs, backgrounds = FIXTURES / "task2/motifs.meme", FIXTURES / "task2/backgrounds.txt"
    for own in (str(DEMO_MODEL), f"random:{DEMO_MODEL}"):
        given: dict[str, Any] = {"motifs": motifs, "backgrounds": backgrounds, "output": results, "device": "cpu"}
        yield evaluate(own, "motif_footprinting", **given)


def draw_report(output: Path, records: Sequence[Record], genome: Path) -> list[str]:
    """Write the pictures of the report of some records; of the first two compared; and of the first by GC content.

    Returns what was not drawn.
    """
    with TemporaryDirectory() as scratch:
        left_out = write_summary(records, Path(scratch), [".png"])
        for path in (Path(scratch) / "figures").iterdir():
            if path.name in OF_A_REPORT:
                shutil.copyfile(path, output / OF_A_REPORT[path.name])
    comparison_figure(output / "pair.png", compare(*records[:2]))
    boards = records[:2]
    rows = [row for own in boards for row in strata_table(own, "gc", genome=genome).to_pylist()]
    strata_figure(output / "strata.png", rows, boards)
    return left_out


def draw_calibration(output: Path, rows: int = 2000) -> None:
    """Write calibration.png of two made-up models, drawn at random: one whose probabilities are right, one too sure."""
    rng = np.random.default_rng(0)
    log_odds = rng.normal(0, 1.5, rows)
    positive = rng.random(rows) < 1 / (1 + np.exp(-log_odds))
    blocks = column_blocks(np.arange(rows) // 10, "tens of rows")
    curves = {
        name: [row | {"event": "an element"} for row in calibration_curve(binary_calls(own, positive, blocks))]
        for name, own in (("made up: calibrated", log_odds), ("made up: too sure", 2 * log_odds))
    }
    calibration_figure(output / "calibration.png", curves)


def draw(output: Path, places: int = PLACES, islands: int = ISLANDS, bases: int = 100) -> None:
    """Write the pictures of commands: scores.png, pca.png and, where it is installed, umap.png, and of `draw_along`."""
    output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "inputs"
        write_inputs(folder)
        fasta, model = folder / "genome.fa.gz", folder / "model"
        genome = open_genome(fasta)
        methods = ("pca", "umap") if find_spec("umap") else ("pca",)
        for name in ("scores", "logo", "heat_map", "dependencies", *methods):
            (output / f"{name}.png").unlink(missing_ok=True)
        variants, regions = write_variants(folder, genome, places), write_regions(folder, genome, islands)
        score_variants(variants, fasta, model, plot=output / "scores.png", window=WINDOW, device="cpu")
        vectors = Path(scratch) / "vectors.parquet"
        for method in methods:
            plot = output / f"{method}.png"
            embed_regions(regions, fasta, model, output=vectors, plot=plot, plot_method=method, device="cpu")
        draw_along(output, folder, bases)
        for path in output.glob("*.png.json"):
            path.unlink()


def main() -> None:
    """Draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=PICTURES, help="folder of the pictures")
    output = parser.parse_args().output
    draw(output)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "inputs"
        write_inputs(folder)
        results = Path(scratch) / "results"
        records = [*runs(results, folder), *motif_runs(results)]
        for line in draw_report(output, records, folder / "genome.fa.gz"):
            print(line)
    draw_calibration(output)


if __name__ == "__main__":
    main()
