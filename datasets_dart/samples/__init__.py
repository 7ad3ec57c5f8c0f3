"""Small real data that travel with the package."""

from pathlib import Path

GENOME = "cpg_islands_chrX.fa.gz"
ELEMENTS = "cpg_islands_chrX.bed"
SPLITS = "cpg_islands_chrX.splits.bed"


def cpg_islands_chrx() -> dict[str, Path]:
    """Files of the task 1 sample, as `load_dart("regulatory_elements", **cpg_islands_chrx())` takes them.

    Elements are the central 350 bp of the CpG islands in the first 69,999,930 bp of hg19 chrX, at their real
    coordinates, all in split "test". The genome is N beyond 1,057 bp of their centres. Sources: README.md beside them.

    Returns `genome` (bgzip FASTA with .fai and .gzi), `elements` and `splits` (BED).
    """
    folder = Path(__file__).parent
    return {"genome": folder / GENOME, "elements": folder / ELEMENTS, "splits": folder / SPLITS}
