"""The pictures of docs/pictures.md: `score` and `embed` on the bundled sample, with variants and regions made from it.

    python -m studies.pictures

writes docs/pictures/*.png in a minute; UMAP's only where the extra umap is installed.
"""

import argparse
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from datasets_dart.files import write_text
from datasets_dart.formats.bed import read_intervals
from datasets_dart.formats.fasta import Genome, open_genome
from evaluation_dart.tools.loading import VCF_HEADER
from hyenadna_dart import embed_regions, score_variants
from trainer_scripts.demo import TRANSITION, write_inputs

PICTURES = Path(__file__).parents[1] / "docs/pictures"
WINDOW = 350
PLACES = 100  # islands in the middle of which variants are made
ISLANDS = 250  # that are embedded
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


def draw(output: Path, places: int = PLACES, islands: int = ISLANDS) -> None:
    """Write scores.png, pca.png and, where it is installed, umap.png."""
    output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "inputs"
        write_inputs(folder)
        fasta, model = folder / "genome.fa.gz", folder / "model"
        genome = open_genome(fasta)
        methods = ("pca", "umap") if find_spec("umap") else ("pca",)
        for name in ("scores", *methods):
            (output / f"{name}.png").unlink(missing_ok=True)
        variants, regions = write_variants(folder, genome, places), write_regions(folder, genome, islands)
        score_variants(variants, fasta, model, plot=output / "scores.png", window=WINDOW, device="cpu")
        vectors = Path(scratch) / "vectors.parquet"
        for method in methods:
            plot = output / f"{method}.png"
            embed_regions(regions, fasta, model, output=vectors, plot=plot, plot_method=method, device="cpu")
        for path in output.glob("*.png.json"):
            path.unlink()


def main() -> None:
    """Draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=PICTURES, help="folder of the pictures")
    draw(parser.parse_args().output)


if __name__ == "__main__":
    main()
