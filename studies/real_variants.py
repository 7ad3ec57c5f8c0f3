"""`hyenadna score` on real variants: saturation mutagenesis of the HNF4A promoter, dsQTLs of chr20 and chr22 (hg19).

    python -m studies.real_variants --data real-data --output results/variants

Each run is what the command `hyenadna score` does, on the published table's variants; its scores are compared with the
measured effect of ALT. Variants of one promoter say nothing of other promoters: their interval is over stretches of it.
`python -m studies.tables` makes the table of docs/variants.md from the records.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from evaluation_dart.statistics.blocks import Blocks, genome_blocks
from evaluation_dart.statistics.estimates import metrics_of
from evaluation_dart.statistics.metrics import variant_estimates
from evaluation_dart.tools.variants import score_variants
from studies.pages import RECORDS, write_json
from studies.real_inputs import CONTIGS, DEMO, MARKOV, RANDOM, contig, dsqtl_rows, genome, mutagenesis_rows
from trainer_scripts.messages import run_function

FEWEST_BARCODES = 10  # of a variant of the mutagenesis, as its authors filter
STRETCH = 10  # bp of the promoter that are one block
RUNS = (
    ("whole-alleles", DEMO),
    ("whole-alleles", RANDOM),
    ("whole-alleles", MARKOV),
    ("dart-eval", DEMO),
    ("dart-eval", RANDOM),
    ("traitgym", DEMO),
    ("embedding-cosine", DEMO),
    ("embedding-cosine", RANDOM),
    ("embedding-l2", DEMO),
)
# (contig, position, REF) -> ALT -> measured effect
Effects = dict[tuple[str, int, str], dict[str, float]]


def mutagenesis(data: Path) -> Effects:
    """All variants of the HNF4A promoter with enough barcodes; deletions of a base with the base before it."""
    chr20 = contig(data / CONTIGS["chr20"]).upper()
    effects: Effects = {}
    for row in mutagenesis_rows(data):
        position, reference, alternative = int(row["Pos"]), row["Ref"], row["Alt"]
        if int(row["Barcodes"]) < FEWEST_BARCODES:
            continue
        if alternative == "-":
            before = chr20[position - 2]
            position, reference, alternative = position - 1, before + reference, before
        effects.setdefault(("chr20", position, reference), {})[alternative] = float(row["Coefficient"])
    return effects


def dsqtls(data: Path) -> Effects:
    """All dsQTLs; the effect is that of ALT on accessibility."""
    effects: Effects = {}
    for row in dsqtl_rows(data):
        place = row["chrom"], int(row["pos_hg19"]), row["ref_hg19"]
        effects.setdefault(place, {})[row["alt"]] = float(row["beta"])
    return effects


def as_table(effects: Effects) -> pa.Table:
    """The variants in order, with several alleles in a row where there are, as `score_variants` takes them."""
    names = ("chrom", "position", "ref", "alt")
    rows = [(*place, ",".join(alternatives)) for place, alternatives in sorted(effects.items())]
    return pa.table(dict(zip(names, zip(*rows, strict=True), strict=True)))


def compare(effects: Effects, scores: Path, distances: bool, one_locus: bool) -> dict[str, Any]:
    """Pearson and Spearman correlation of scores and effects, and of signed scores how often the signs agree."""
    rows = [row for row in pq.read_table(scores).to_pylist() if row["score"] is not None]
    effect = np.array([effects[row["chrom"], row["position"], row["ref"]][row["alt"]] for row in rows])
    given, position, chrom = (np.array([row[name] for row in rows]) for name in ("score", "position", "chrom"))
    blocks = genome_blocks(chrom, position, STRETCH) if one_locus else genome_blocks(chrom, position)
    if one_locus:
        blocks = Blocks(blocks.code, f"{STRETCH}-bp stretches of the one promoter")
    found = metrics_of(variant_estimates(given, None, effect, blocks, directed=not distances))
    return {name: metric for name, metric in found.items() if metric.is_defined}


def real_variants(
    data: Annotated[Path, typer.Option(help="folder with genomes/ and variants/")],
    output: Annotated[Path, typer.Option(help="folder of scores")] = Path("results/variants"),
    only: Annotated[str, typer.Option(help="run only what has this in its name")] = "",
) -> None:
    """Score real variants by several recipes, and compare with what was measured; runs that are there are kept.

    A whole pass (without `only`) removes the records of runs that are no longer made.

    python -m studies.real_variants --data real-data --output results/variants
    """
    made = set()
    for variants, effects, one_locus in (("HNF4A", mutagenesis(data), True), ("dsQTL", dsqtls(data), False)):
        for recipe, model in RUNS:
            name = f"{variants}-{recipe}-{Path(model).stem}{'-untrained' if model == RANDOM else ''}"
            if only not in name:
                continue
            scores = output / f"{name}.parquet"
            print(name, flush=True)
            about = score_variants(as_table(effects), genome(data, output), model, output=scores, recipe=recipe)
            metrics = compare(effects, scores, recipe.startswith("embedding"), one_locus)
            write_json(RECORDS / "variants" / f"{name}.json", about | {"variants": variants, "metrics": metrics})
            made.add(name)
    for path in (RECORDS / "variants").glob("*.json"):
        if not only and path.stem not in made:
            path.unlink()


if __name__ == "__main__":
    run_function(real_variants)
