"""All five tasks end to end on a folder of real data that is not DART-Eval's: intervals, variants and tracks of hg19
chr20 and chr22, and a piece of hg38 chr22 (docs/real_data.md says what they are).

    python -m studies.real_data --data real-data --output results/real_data
    python -m studies.tables --take results/real_data
"""

import gzip
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

DEMO, MARKOV = Path("model_cards/hyenadna-tiny-1k-demo"), Path("model_cards/markov-chrX/markov.safetensors")
WINDOW = 1024  # bp that the demo checkpoint reads
BACKGROUNDS, BACKGROUND_BP = 10, 350
CELL_LINES = {"GM12878": "GM12878", "H1": "H1ESC", "HEPG2": "HEPG2", "K562": "K562"}
ACTIVITY_CELLS = ("K562", "GM12878")
OPEN, NONPEAKS = 0.05, 1500  # share of bins that count as peaks; how many of the others are taken
PIECE_START, HG38_CHR22 = 32_000_000, 50_818_468


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a tab-separated table with a header, compressed."""
    with gzip.open(path, "rt") as file:
        names = next(file).rstrip("\n").split("\t")
        for line in file:
            yield dict(zip(names, line.rstrip("\n").split("\t"), strict=True))


def contig(path: Path) -> str:
    """The sequence of a compressed FASTA of one contig."""
    with gzip.open(path, "rt") as file:
        next(file)
        return "".join(line.strip() for line in file)


def write_lines(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def element_inputs(data: Path, work: Path) -> dict[str, Any]:
    """Task 1: promoter-like cCREs of K562 and GM12878 on hg19 chr20."""
    table = rows_of(data / "intervals/encode_cCRE_PLS_K562_GM12878.chr20_chr22.hg38_hg19.tsv.gz")
    places = {(int(row["hg19_start"]), int(row["hg19_end"])) for row in table if row["chrom"] == "chr20"}
    bed = write_lines(work / "ccre_pls.bed", [f"chr20\t{start}\t{end}" for start, end in sorted(places)])
    return {"genome": data / "genomes/hg19.chr20.fa.gz", "elements": bed}


def motif_inputs(data: Path, work: Path) -> dict[str, Any]:
    """Task 2: H12CORE in windows of chr20 drawn at random, real sequence and not a shuffle."""
    chr20 = contig(data / "genomes/hg19.chr20.fa.gz")
    rng = np.random.default_rng(0)
    windows: list[str] = []
    while len(windows) < BACKGROUNDS:
        start = int(rng.integers(len(chr20) - BACKGROUND_BP))
        window = chr20[start : start + BACKGROUND_BP].upper()
        if "N" not in window:
            windows.append(window)
    return {
        "motifs": data / "motifs/H12CORE_meme_format.meme.gz",
        "backgrounds": write_lines(work / "chr20_windows.txt", windows),
    }


def cell_type_inputs(data: Path, work: Path) -> dict[str, Any]:
    """Task 3: FANTOM5 promoters and enhancers of chr20 that are active in one of four cell lines alone."""
    labels: dict[tuple[int, int], set[str]] = {}
    for kind in ("enhancers", "promoters"):
        for row in rows_of(data / f"intervals/fantom5_{kind}_256bp_7celllines.chr20_chr22.hg38_hg19.tsv.gz"):
            active = [name for name in CELL_LINES if float(row[name]) > 0]
            if row["chrom"] == "chr20" and len(active) == 1:
                place = int(row["hg19_start"]), int(row["hg19_end"])
                labels.setdefault(place, set()).add(CELL_LINES[active[0]])
    lines = [
        f"chr20\t{start}\t{end}\t{min(names)}" for (start, end), names in sorted(labels.items()) if len(names) == 1
    ]
    return {"genome": data / "genomes/hg19.chr20.fa.gz", "elements": write_lines(work / "fantom5.bed", lines)}


def lifted_activity_inputs(data: Path, work: Path) -> dict[str, Any]:
    """Task 4 on hg19 chr22: 500-bp bins of accessibility lifted from hg38, as a bigWig; the most open are peaks."""
    table = [*rows_of(data / "intervals/atac_pileup_500bp_K562_GM12878_MCF7.chr22.hg38_hg19.tsv.gz")]
    table.sort(key=lambda row: int(row["hg19_start"]))
    bins = [(int(row["hg19_start"]), int(row["hg19_end"])) for row in table]
    apart = [i == 0 or bins[i][0] >= bins[i - 1][1] for i in range(len(bins))]
    whole = np.array([row["context2114"] == "1" for row in table]) & apart
    return {"genome": data / "genomes/hg19.chr22.partial.fa.gz"} | bins_as_inputs(
        work / "lifted",
        bins,
        {cell: np.array([float(row[f"{cell}_mean"]) for row in table]) for cell in ACTIVITY_CELLS},
        whole,
        np.array(apart),
        51_304_566,
    )


def piece_activity_inputs(data: Path, work: Path) -> dict[str, Any]:
    """Task 4 on 300 kb of hg38 chr22, with the bigWigs as they are."""
    piece = contig(data / "genomes/hg38.chr22_32000000-32300000.fa.gz")
    genome = work / "hg38.chr22.piece.fa"
    padded = "N" * PIECE_START + piece + "N" * (HG38_CHR22 - PIECE_START - len(piece))
    genome.write_text(">chr22\n" + "\n".join(padded[i : i + 60] for i in range(0, len(padded), 60)) + "\n")
    table = [*rows_of(data / "intervals/atac_pileup_500bp_K562_GM12878_MCF7.chr22.hg38_hg19.tsv.gz")]
    bins = [(int(row["hg38_start"]), int(row["hg38_end"])) for row in table]
    margin = 1057
    whole = np.array([PIECE_START + margin <= s and e + margin <= PIECE_START + len(piece) for s, e in bins])
    values = {cell: np.array([float(row[f"{cell}_mean"]) for row in table]) for cell in ACTIVITY_CELLS}
    inputs = bins_as_inputs(work / "piece", bins, values, whole)
    signal = {cell: str(data / f"intervals/acc.{cell}.chr22.bw") for cell in ACTIVITY_CELLS}
    return {"genome": genome} | inputs | {"signal": [f"{cell}={path}" for cell, path in signal.items()]}


def bins_as_inputs(
    folder: Path,
    bins: list[tuple[int, int]],
    values: dict[str, np.ndarray],
    whole: np.ndarray,
    tracked: np.ndarray | None = None,
    length: int = 0,
) -> dict[str, list[str]]:
    """Peaks, idr and nonpeaks of each cell type from values of bins; with `tracked`, a bigWig of those bins, too.

    There are no replicates: peaks, the most open twentieth, stand for reproducible ones, too.
    """
    import pyBigWig

    folder.mkdir(parents=True, exist_ok=True)
    inputs: dict[str, list[str]] = {}
    for cell, value in values.items():
        usable = np.flatnonzero(whole)
        ranked = usable[np.argsort(-value[usable], kind="stable")]
        peaks, others = np.split(ranked, [max(2, round(OPEN * len(ranked)))])
        others = np.random.default_rng(0).choice(others, min(NONPEAKS, len(others)), replace=False)
        for category, rows in (("peaks", peaks), ("idr", peaks), ("nonpeaks", others)):
            lines = [f"chr22\t{bins[row][0]}\t{bins[row][1]}" for row in np.sort(rows)]
            bed = write_lines(folder / f"{cell}.{category}.bed", lines)
            inputs.setdefault(category, []).append(f"{cell}={bed}")
        if tracked is not None:
            path = folder / f"{cell}.bw"
            with pyBigWig.open(str(path), "w") as track:
                track.addHeader([("chr22", length)])
                kept = np.flatnonzero(tracked).tolist()
                track.addEntries(
                    ["chr22"] * len(kept),
                    [bins[row][0] for row in kept],
                    ends=[bins[row][1] for row in kept],
                    values=value[kept].tolist(),
                )
            inputs.setdefault("signal", []).append(f"{cell}={path}")
    return inputs


def mutagenesis_inputs(data: Path, work: Path) -> dict[str, Any]:
    """Task 5: saturation mutagenesis of the HNF4A promoter; an effect, and no classes."""
    variants = data / "variants/mpra_satmut_HNF4A.chr20.hg19.tsv.gz"
    return {"genome": data / "genomes/hg19.chr20.fa.gz", "variants": variants, "effect": "Coefficient"}


def dsqtl_inputs(data: Path, work: Path) -> dict[str, Any]:
    """Task 5: dsQTLs of chr20 and chr22, positives alone."""
    genome = work / "hg19.chr20_chr22.fa"
    with genome.open("w") as file:
        for name, source in (("chr20", "hg19.chr20"), ("chr22", "hg19.chr22.partial")):
            sequence = contig(data / f"genomes/{source}.fa.gz")
            file.write(f">{name}\n" + "\n".join(sequence[i : i + 60] for i in range(0, len(sequence), 60)) + "\n")
    return {"genome": genome, "variants": data / "variants/dsqtl_degner2012.chr20_chr22.hg19.tsv.gz", "effect": "beta"}


def dsqtl_pairs(data: Path) -> Any:
    """Task 5: the 5,668 dsQTLs of all chromosomes as pairs of 100 bp, without a genome: low allele 1, high allele 2."""
    import datasets

    columns: dict[str, list[Any]] = {"id": [], "chrom": [], "position": [], "sequence1": [], "sequence2": []}
    texts = []
    for level in ("low", "high"):
        with gzip.open(data / f"benchmarks/dsqtl_degner2012_{level}.100bp.fa.gz", "rt") as file:
            texts.append(file.read().split())
    names, low, high = texts[0][::2], texts[0][1::2], texts[1][1::2]
    for row, (name, one, two) in enumerate(zip(names, low, high, strict=True)):
        chrom, _, position = name.lstrip(">").partition(".")
        for column, value in zip(columns.values(), (row, chrom, int(position), one, two), strict=True):
            column.append(value)
    same = {"label": None, "effect": 1.0, "used": True, "effect_allele": 2}
    return datasets.Dataset.from_dict(columns | {name: [value] * len(names) for name, value in same.items()})


def run_dsqtl_pairs(data: Path, output: Path) -> None:
    """Which allele is more accessible: the direction, as all effects are 1."""
    from evaluation_dart.recipes import RECIPES
    from evaluation_dart.records import read_record
    from evaluation_dart.run import evaluate
    from trainer_scripts.cli.dart_eval import described_inputs, load_scorer, print_metrics

    pairs = dsqtl_pairs(data)
    files = {level: data / f"benchmarks/dsqtl_degner2012_{level}.100bp.fa.gz" for level in ("low", "high")}
    for suffix, model, recipe in (
        ("", DEMO, "dart-eval"),
        ("-whole-alleles", DEMO, "biofoundation"),
        ("-whole-alleles", MARKOV, "biofoundation"),
    ):
        load = {"revision": None, "device": "cpu", "dtype": "float32"}
        scorer, described = load_scorer(str(model), "zero_shot_likelihood", load)
        where: dict[str, Any] = {"model": described, "inputs": described_inputs(**files)}
        folder = evaluate(
            *(scorer, pairs, "variant_effects", "zero_shot_likelihood", RECIPES[recipe]),
            output / f"dsqtl-pairs{suffix}",
            split="test",
            protocol="fixed",
            **where,
        )
        print_metrics(read_record(folder))


def untrained(work: Path) -> Path:
    """The demo checkpoint's architecture with random weights, to see what training does."""
    import torch

    from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNATokenizer

    folder = work / "hyenadna-tiny-1k-untrained"
    torch.manual_seed(0)
    HyenaDNAForCausalLM(HyenaDNAConfig.from_pretrained(DEMO)).save_pretrained(folder)
    HyenaDNATokenizer.from_pretrained(DEMO).save_pretrained(folder)
    return folder


def real_data(
    data: Annotated[Path, typer.Option(help="folder with genomes/, intervals/, motifs/ and variants/")],
    output: Annotated[Path, typer.Option(help="folder of records")] = Path("results/real_data"),
    only: Annotated[str, typer.Option(help="run only what has this in its name")] = "",
) -> None:
    """Run every task on real data that is not DART-Eval's; what is done already is not done again.

    python -m studies.real_data --data real-data
    """
    from trainer_scripts.cli.dart_eval import run

    work = output / "inputs"
    work.mkdir(parents=True, exist_ok=True)
    random_weights = untrained(work)
    likelihood: dict[str, Any] = {"setting": "zero_shot_likelihood"}
    embedding: dict[str, Any] = {"setting": "zero_shot_embedding"}
    whole_alleles: dict[str, Any] = {**likelihood, "recipe": "biofoundation"}
    variant_runs: list[tuple[str, Path, dict[str, Any]]] = [
        ("", DEMO, likelihood | {"window": WINDOW}),
        ("-whole-alleles", DEMO, whole_alleles | {"window": WINDOW}),
        ("-whole-alleles", MARKOV, whole_alleles | {"window": WINDOW}),
        ("-traitgym", DEMO, likelihood | {"recipe": "traitgym", "window": WINDOW}),
        ("", DEMO, embedding | {"window": WINDOW}),
    ]
    motifs = data / "motifs/H12CORE_meme_format.meme.gz"
    clustering = {"setting": "clustering"}
    plan: list[tuple[str, str, Any, list[tuple[str, Path, dict[str, Any]]]]] = [
        (
            "elements",
            "regulatory_elements",
            element_inputs,
            [("", model, likelihood) for model in (DEMO, random_weights, MARKOV)],
        ),
        (
            "cell-types",
            "cell_type_elements",
            cell_type_inputs,
            [("", model, clustering) for model in (DEMO, random_weights, motifs)],
        ),
        ("mutagenesis-HNF4A", "variant_effects", mutagenesis_inputs, variant_runs),
        ("dsqtl", "variant_effects", dsqtl_inputs, variant_runs),
        (
            "activity-piece",
            "chromatin_activity",
            piece_activity_inputs,
            [("", DEMO, likelihood | {"window": WINDOW})],
        ),
        (
            "activity-lifted",
            "chromatin_activity",
            lifted_activity_inputs,
            [("", model, likelihood | {"window": WINDOW}) for model in (DEMO, MARKOV)],
        ),
        (
            "motifs",
            "motif_footprinting",
            motif_inputs,
            [("", DEMO, embedding), ("", DEMO, likelihood), ("", MARKOV, likelihood)],
        ),
    ]
    for name, task, prepare, runs in plan:
        if only in name:
            inputs = prepare(data, work)
            for suffix, model, options in runs:
                print(f"{name}{suffix}: {model.name}, {options['setting']}", flush=True)
                run(model=str(model), task=task, output=output / f"{name}{suffix}", **inputs, **options)
    if only in "dsqtl-pairs":
        run_dsqtl_pairs(data, output)


if __name__ == "__main__":
    try:
        typer.run(real_data)
    except (ValueError, OSError) as error:
        print("real_data:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(1)
