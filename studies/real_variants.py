"""`hyenadna score` on real variants: saturation mutagenesis of the HNF4A promoter, dsQTLs of chr20 and chr22 (hg19).

    python -m studies.real_variants --data real-data --output results/variants
    python -m studies.real_variants --table          docs/variants.md from the records, without new runs

Each run is the command `hyenadna score` on a VCF made of the published table; its scores are compared with the measured
effect of ALT. Variants of one promoter say nothing of other promoters: their interval is over stretches of it.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow.parquet as pq
import typer

from datasets_dart.errors import InputError
from studies.real_data import DEMO, MARKOV, contig, dsqtl_inputs, rows_of
from studies.tables import ROOT, put, with_interval

RECORDS, PAGE = ROOT / "docs" / "records" / "variants", ROOT / "docs" / "variants.md"
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
    with path.open("w") as file:
        file.write(HEADER + COLUMNS)
        for (chrom, position, reference), effects in sorted(alleles.items()):
            values = ",".join(f"{effect:.6g}" for effect in effects.values())
            file.write(f"{chrom}\t{position}\t.\t{reference}\t{','.join(effects)}\t.\t.\tEFFECT={values}\n")
    return path


def mutagenesis_vcf(data: Path, work: Path) -> Path:
    """All variants of the HNF4A promoter with enough barcodes; deletions of a base with the base before it."""
    chr20 = contig(data / "genomes/hg19.chr20.fa.gz").upper()
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
    for row in rows_of(data / "variants/dsqtl_degner2012.chr20_chr22.hg19.tsv.gz"):
        place = row["chrom"], int(row["pos_hg19"]), row["ref_hg19"]
        alleles.setdefault(place, {})[row["alt"]] = float(row["beta"])
    return write_vcf(work / "dsqtl.vcf", alleles)


def effects_of(vcf: Path) -> dict[tuple[str, int, str, str], float]:
    effects = {}
    for line in vcf.read_text().splitlines():
        if not line.startswith("#"):
            chrom, position, _, reference, alternatives, _, _, info = line.split("\t")
            for allele, value in zip(alternatives.split(","), info.removeprefix("EFFECT=").split(","), strict=True):
                effects[chrom, int(position), reference, allele] = float(value)
    return effects


def compare(vcf: Path, scores: Path, distances: bool, one_locus: bool) -> dict[str, Any]:
    """Pearson and Spearman correlation of scores and effects, and of signed scores how often the signs agree."""
    from evaluation_dart.statistics.intervals import block_bootstrap_interval
    from evaluation_dart.statistics.metrics import averaged_spearman, pearson, variant_metrics

    effects = effects_of(vcf)
    table = pq.read_table(scores).to_pylist()
    rows = [row for row in table if row["score"] is not None]
    score = np.array([row["score"] for row in rows])
    effect = np.array([effects[row["chrom"], row["position"], row["ref"], row["alt"]] for row in rows])
    position = np.array([row["position"] for row in rows])
    chrom = np.array([row["chrom"] for row in rows])
    metrics: dict[str, Any] = dict(variant_metrics(score, None, effect, chrom, position, directed=not distances))
    if one_locus:
        known = np.abs(effect) if distances else effect
        values = np.stack([score, known], axis=1)
        for name, correlation in (("pearson", pearson), ("spearman", averaged_spearman)):
            statistic = lambda v, correlation=correlation: np.array(correlation(*v.T))  # noqa: E731
            interval = block_bootstrap_interval(statistic, values, position // STRETCH, REPLICATES)
            assert interval is not None
            low, high = map(float, interval)
            method = f"bootstrap of {STRETCH}-bp stretches of the one promoter, percentiles of {REPLICATES} replicates"
            metrics[name] = {**metrics[name], "low": low, "high": high, "method": method}
    return metrics


def table(records: list[dict[str, Any]]) -> str:
    lines = [
        "| variants | model | recipe | strand | Pearson | Spearman | signs that agree |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for record in records:
        recipe, metrics = record["recipe"], record["metrics"]
        shown = [with_interval(metrics.get(name)) for name in ("pearson", "spearman", "direction_accuracy")]
        model = record["model"]["id"].removeprefix("local/")
        lines.append("| " + " | ".join([record["variants"], model, recipe["name"], recipe["strand"], *shown]) + " |")
    methods = {
        (name, record["variants"], metric["method"]) for record in records for name, metric in record["metrics"].items()
    }
    lines += [""] + [f"- {name}, {variants}: {method}" for name, variants, method in sorted(methods)]
    return "\n".join(lines)


def read_records() -> list[dict[str, Any]]:
    records = [json.loads(path.read_text()) for path in sorted(RECORDS.glob("*.json"))]
    recipes = list(dict.fromkeys(recipe for recipe, _ in RUNS))
    return sorted(records, key=lambda r: (r["variants"], recipes.index(r["recipe"]["name"]), r["model"]["id"]))


def write_page() -> None:
    """The table of docs/variants.md, from the records."""
    put(PAGE, table(read_records()) + "\n")


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
            raise InputError("--data: name the folder with genomes/ and variants/")
        run_all(data, output)
    write_page()
    print(table(read_records()))


def run_all(data: Path, output: Path) -> None:
    from evaluation_dart.tools.variants import score_variants

    output.mkdir(parents=True, exist_ok=True)
    RECORDS.mkdir(parents=True, exist_ok=True)
    genome = dsqtl_inputs(data, output)["genome"]
    for variants, make, one_locus in (("HNF4A", mutagenesis_vcf, True), ("dsQTL", dsqtl_vcf, False)):
        vcf = make(data, output)
        for recipe, model in RUNS:
            name = f"{variants}-{recipe}-{model.name.removesuffix('.safetensors')}"
            scores = output / f"{name}.parquet"
            print(name, flush=True)
            kind = "markov:" if model.suffix == ".safetensors" else ""
            score_variants(vcf, genome, f"{kind}{model}", output=scores, recipe=recipe)
            record = json.loads(scores.with_name(f"{scores.name}.json").read_text())
            record |= {
                "variants": variants,
                "metrics": compare(vcf, scores, recipe.startswith("embedding"), one_locus),
            }
            (RECORDS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    try:
        typer.run(real_variants)
    except (ValueError, OSError) as error:
        print("real_variants:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(1)
