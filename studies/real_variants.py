"""`hyenadna score` on real variants: saturation mutagenesis of the HNF4A promoter, dsQTLs of chr20 and chr22 (hg19).

    python -m studies.real_variants --data real-data --output results/variants
    python -m studies.real_variants --table          docs/variants.md from the records, without new runs

Each run is the command `hyenadna score` on a VCF made of the published table; its scores are compared with the measured
effect of ALT. Variants of one promoter say nothing of other promoters: their interval is over stretches of it.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow.parquet as pq
import typer

from datasets_dart.errors import InputError
from datasets_dart.files import write_text
from evaluation_dart.statistics.intervals import block_bootstrap_interval
from evaluation_dart.statistics.metrics import averaged_spearman, pearson, variant_metrics
from evaluation_dart.tools.variants import score_variants
from studies.pages import DOCS, markdown, model_name, put, read_json, with_interval, write_json
from studies.pages import RECORDS as ALL_RECORDS
from studies.program import run_program
from studies.real_inputs import CONTIGS, DEMO, DSQTLS, MARKOV, contig, genome, rows_of

RECORDS, PAGE = ALL_RECORDS / "variants", DOCS / "variants.md"
HEADER = '##fileformat=VCFv4.2\n##INFO=<ID=EFFECT,Number=A,Type=Float,Description="Measured effect of ALT">\n'
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
FEWEST_BARCODES = 10  # of a variant of the mutagenesis, as its authors filter
STRETCH = 10  # bp of the promoter that are drawn together
REPLICATES = 1000
RUNS = (
    ("biofoundation", DEMO),
    ("biofoundation", MARKOV),
    ("dart-eval", DEMO),
    ("traitgym", DEMO),
    ("embedding-cosine", DEMO),
    ("embedding-l2", DEMO),
)


def write_vcf(path: Path, alleles: dict[tuple[str, int, str], dict[str, float]]) -> Path:
    """A VCF of (contig, position, REF) -> ALT -> effect, in order, records of several alleles where there are."""
    lines = []
    for (chrom, position, reference), effects in sorted(alleles.items()):
        values = ",".join(f"{effect:.6g}" for effect in effects.values())
        lines.append(f"{chrom}\t{position}\t.\t{reference}\t{','.join(effects)}\t.\t.\tEFFECT={values}\n")
    write_text(path, HEADER + COLUMNS + "".join(lines))
    return path


def mutagenesis_vcf(data: Path, work: Path) -> Path:
    """All variants of the HNF4A promoter with enough barcodes; deletions of a base with the base before it."""
    chr20 = contig(data / CONTIGS["chr20"]).upper()
    alleles: dict[tuple[str, int, str], dict[str, float]] = {}
    for row in rows_of(data / "variants/mpra_satmut_HNF4A.chr20.hg19.tsv.gz"):
        position, reference, alternative = int(row["Pos"]), row["Ref"], row["Alt"]
        if int(row["Barcodes"]) < FEWEST_BARCODES:
            continue
        if alternative == "-":
            before = chr20[position - 2]
            position, reference, alternative = position - 1, before + reference, before
        alleles.setdefault(("chr20", position, reference), {})[alternative] = float(row["Coefficient"])
    return write_vcf(work / "hnf4a.vcf", alleles)


def dsqtl_vcf(data: Path, work: Path) -> Path:
    """All dsQTLs; the effect is that of ALT on accessibility."""
    alleles: dict[tuple[str, int, str], dict[str, float]] = {}
    for row in rows_of(data / DSQTLS):
        place = row["chrom"], int(row["pos_hg19"]), row["ref_hg19"]
        alleles.setdefault(place, {})[row["alt"]] = float(row["beta"])
    return write_vcf(work / "dsqtl.vcf", alleles)


def effects_of(vcf: Path) -> dict[tuple[str, int, str, str], float]:
    """The effect of each allele of a VCF that [`write_vcf`] wrote, by (contig, position, REF, ALT)."""
    effects = {}
    for line in vcf.read_text().splitlines():
        if not line.startswith("#"):
            chrom, position, _, reference, alternatives, _, _, info = line.split("\t")
            for allele, value in zip(alternatives.split(","), info.removeprefix("EFFECT=").split(","), strict=True):
                effects[chrom, int(position), reference, allele] = float(value)
    return effects


def compare(vcf: Path, scores: Path, distances: bool, one_locus: bool) -> dict[str, Any]:
    """Pearson and Spearman correlation of scores and effects, and of signed scores how often the signs agree."""
    effects = effects_of(vcf)
    table = pq.read_table(scores).to_pylist()
    rows = [row for row in table if row["score"] is not None]
    given = np.array([row["score"] for row in rows])
    effect = np.array([effects[row["chrom"], row["position"], row["ref"], row["alt"]] for row in rows])
    position = np.array([row["position"] for row in rows])
    chrom = np.array([row["chrom"] for row in rows])
    metrics: dict[str, Any] = dict(variant_metrics(given, None, effect, chrom, position, directed=not distances))
    if one_locus:
        known = np.abs(effect) if distances else effect
        values = np.stack([given, known], axis=1)
        for name, correlation in (("pearson", pearson), ("spearman", averaged_spearman)):
            statistic = lambda v, correlation=correlation: np.array(correlation(*v.T))  # noqa: E731
            interval = block_bootstrap_interval(statistic, values, position // STRETCH, REPLICATES)
            assert interval is not None
            low, high = map(float, interval)
            method = f"bootstrap of {STRETCH}-bp stretches of the one promoter, percentiles of {REPLICATES} replicates"
            metrics[name] = {**metrics[name], "low": low, "high": high, "method": method}
    return metrics


def table(records: list[dict[str, Any]]) -> str:
    """A row a run, then how the intervals were made."""
    rows, methods = [], set()
    for record in records:
        recipe, metrics = record["recipe"], record["metrics"]
        shown = [with_interval(metrics.get(name)) for name in ("pearson", "spearman", "direction_accuracy")]
        rows.append([record["variants"], model_name(record), recipe["name"], recipe["strand"], *shown])
        methods |= {(name, record["variants"], metric["method"]) for name, metric in metrics.items()}
    header = ["variants", "model", "recipe", "strand", "Pearson", "Spearman", "signs that agree"]
    said = [f"- {name}, {variants}: {method}" for name, variants, method in sorted(methods)]
    return "\n".join([*markdown(header, rows), "", *said])


def read_records() -> list[dict[str, Any]]:
    """The records of all runs, in the order of the table."""
    records = [read_json(path) for path in sorted(RECORDS.glob("*.json"))]
    recipes = list(dict.fromkeys(recipe for recipe, _ in RUNS))
    return sorted(records, key=lambda r: (r["variants"], recipes.index(r["recipe"]["name"]), r["model"]["id"]))


def real_variants(
    data: Annotated[Path | None, typer.Option(help="folder with genomes/ and variants/")] = None,
    output: Annotated[Path, typer.Option(help="folder of scores")] = Path("results/variants"),
    table_only: Annotated[bool, typer.Option("--table", help="only write docs/variants.md from the records")] = False,
) -> None:
    """Score real variants by several recipes, and compare with what was measured; runs that are there are kept.

    python -m studies.real_variants --data real-data --output results/variants
    """
    if not table_only:
        if data is None:
            raise InputError("data: name the folder with genomes/ and variants/")
        run_all(data, output)
    page = table(read_records())
    put(PAGE, page + "\n")
    print(page)


def run_all(data: Path, output: Path) -> None:
    """Score both sets of variants by every recipe, and write the records."""
    for variants, make, one_locus in (("HNF4A", mutagenesis_vcf, True), ("dsQTL", dsqtl_vcf, False)):
        vcf = make(data, output)
        for recipe, model in RUNS:
            name = f"{variants}-{recipe}-{Path(model).stem}"
            scores = output / f"{name}.parquet"
            print(name, flush=True)
            score_variants(vcf, genome(data, output), model, output=scores, recipe=recipe)
            record = read_json(scores.with_name(f"{scores.name}.json"))
            metrics = compare(vcf, scores, recipe.startswith("embedding"), one_locus)
            write_json(RECORDS / f"{name}.json", record | {"variants": variants, "metrics": metrics})


if __name__ == "__main__":
    run_program(real_variants)
