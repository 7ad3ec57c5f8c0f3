"""What the programs here make from the folder of real data (README.md lists its files): the inputs of each task, of
hg19 chr20 and chr22 and of a piece of hg38 chr22.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyBigWig

from datasets_dart.errors import InputError
from datasets_dart.files import replacing, write_text
from datasets_dart.formats.fasta import read_fasta
from datasets_dart.formats.tables import read_table

DEMO, MARKOV = "model_cards/hyenadna-tiny-1k-demo", "markov:model_cards/markov-chrX/markov.safetensors"
RANDOM, KMERS = f"random:{DEMO}", "kmers:6"  # controls: the untrained twin, and frequencies of k-mers
WINDOW = 1024  # bp that the demo checkpoint reads
BACKGROUNDS, BACKGROUND_BP = 10, 350
CELL_LINES = {"GM12878": "GM12878", "H1": "H1ESC", "HEPG2": "HEPG2", "K562": "K562"}
ACTIVITY_CELLS = ("K562", "GM12878")
ACTIVITY = "intervals/atac_pileup_500bp_K562_GM12878_MCF7.chr22.hg38_hg19.tsv.gz"
OPEN, NONPEAKS = 0.05, 1500  # share of bins that count as peaks; how many of the others are taken
AROUND = 1057  # bp around a bin that task 4 reads
CHR22, PIECE_START, HG38_CHR22 = 51_304_566, 32_000_000, 50_818_468
GUE = ("prom_core_tata", "prom_300_tata", "tf_0", "tf_1", "tf_2")
CONTIGS = {"chr20": "genomes/hg19.chr20.fa.gz", "chr22": "genomes/hg19.chr22.partial.fa.gz"}
DSQTLS = "variants/dsqtl_degner2012.chr20_chr22.hg19.tsv.gz"
MUTAGENESIS = "variants/mpra_satmut_HNF4A.chr20.hg19.tsv.gz"
LEAST_CONTROL = 0.5  # of the correlation that shows which allele an effect is of
DSQTL_PAIRS = {level: f"benchmarks/dsqtl_degner2012_{level}.100bp.fa.gz" for level in ("low", "high")}
Place = tuple[str, int, int]  # contig, start, end


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a table with a header."""
    return (row for _, row in read_table(path))


def contig(path: Path) -> str:
    """The sequence of a FASTA of one contig."""
    return next(sequence for _, _, sequence in read_fasta(path))


def fasta(name: str, sequence: str) -> str:
    """A FASTA entry, 60 bases a line."""
    return f">{name}\n" + "\n".join(sequence[i : i + 60] for i in range(0, len(sequence), 60)) + "\n"


def genome(data: Path, work: Path) -> Path:
    """chr20 and chr22 of hg19 in one FASTA."""
    path = work / "hg19.chr20_chr22.fa"
    if not path.exists():
        write_text(path, "".join(fasta(name, contig(data / source)) for name, source in CONTIGS.items()))
    return path


def write_lines(path: Path, lines: Iterable[str]) -> Path:
    """`path`, with these lines in it."""
    write_text(path, "".join(f"{line}\n" for line in lines))
    return path


def write_places(path: Path, places: set[Any]) -> Path:
    """`path`, a BED of the places in order, with what else is said of each."""
    return write_lines(path, ["\t".join(map(str, place)) for place in sorted(places)])


def promoters(data: Path, chrom: str | None = None) -> set[Place]:
    """Promoter-like cCREs of K562 and GM12878 on hg19, of one contig or both."""
    table = rows_of(data / "intervals/encode_cCRE_PLS_K562_GM12878.chr20_chr22.hg38_hg19.tsv.gz")
    places = {(row["chrom"], int(row["hg19_start"]), int(row["hg19_end"])) for row in table}
    return {place for place in places if chrom in (None, place[0])}


def element_inputs(data: Path, work: Path) -> dict[str, Any]:
    """Task 1: promoter-like cCREs of K562 and GM12878 on hg19 chr20."""
    bed = write_places(work / "ccre_pls.bed", promoters(data, "chr20"))
    return {"genome": data / CONTIGS["chr20"], "elements": bed}


def motif_inputs(data: Path, work: Path) -> dict[str, Any]:
    """Task 2: H12CORE in windows of chr20 drawn at random, real sequence and not a shuffle."""
    chr20 = contig(data / CONTIGS["chr20"])
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


def cell_type_bed(data: Path, path: Path, kept: Callable[[Place], bool]) -> Path:
    """Task 3: FANTOM5 promoters and enhancers that are active in only one of four cell lines, as a BED at `path`."""
    labels: dict[Place, set[str]] = {}
    for kind in ("enhancers", "promoters"):
        for row in rows_of(data / f"intervals/fantom5_{kind}_256bp_7celllines.chr20_chr22.hg38_hg19.tsv.gz"):
            active = [name for name in CELL_LINES if float(row[name]) > 0]
            place = row["chrom"], int(row["hg19_start"]), int(row["hg19_end"])
            if len(active) == 1 and kept(place):
                labels.setdefault(place, set()).add(CELL_LINES[active[0]])
    return write_places(path, {(*place, min(names)) for place, names in labels.items() if len(names) == 1})


def cell_type_inputs(data: Path, work: Path) -> dict[str, Any]:
    """Task 3 on chr20."""
    bed = cell_type_bed(data, work / "fantom5.bed", lambda place: place[0] == "chr20")
    return {"genome": data / CONTIGS["chr20"], "elements": bed}


def lifted_activity_inputs(data: Path, work: Path) -> dict[str, Any]:
    """Task 4 on hg19 chr22: 500-bp bins of accessibility lifted from hg38, as a bigWig; the most open are peaks."""
    table = sorted(rows_of(data / ACTIVITY), key=lambda row: int(row["hg19_start"]))
    bins = [(int(row["hg19_start"]), int(row["hg19_end"])) for row in table]
    apart = np.array([i == 0 or bins[i][0] >= bins[i - 1][1] for i in range(len(bins))])
    whole = np.array([row["context2114"] == "1" for row in table]) & apart
    inputs = bins_as_inputs(work / "lifted", bins, values_of(table), whole, apart, CHR22)
    return {"genome": data / CONTIGS["chr22"]} | inputs


def piece_activity_inputs(data: Path, work: Path) -> dict[str, Any]:
    """Task 4 on 300 kb of hg38 chr22, with the bigWigs as they are."""
    piece = contig(data / "genomes/hg38.chr22_32000000-32300000.fa.gz")
    end = PIECE_START + len(piece)
    genome = work / "hg38.chr22.piece.fa"
    write_text(genome, fasta("chr22", "N" * PIECE_START + piece + "N" * (HG38_CHR22 - end)))
    table = [*rows_of(data / ACTIVITY)]
    bins = [(int(row["hg38_start"]), int(row["hg38_end"])) for row in table]
    whole = np.array([first >= PIECE_START + AROUND and last + AROUND <= end for first, last in bins])
    inputs = bins_as_inputs(work / "piece", bins, values_of(table), whole)
    signal = {cell: data / f"intervals/acc.{cell}.chr22.bw" for cell in ACTIVITY_CELLS}
    return {"genome": genome} | inputs | {"signal": signal}


def values_of(table: list[dict[str, str]]) -> dict[str, np.ndarray]:
    """The accessibility of each row, by cell type."""
    return {cell: np.array([float(row[f"{cell}_mean"]) for row in table]) for cell in ACTIVITY_CELLS}


def bins_as_inputs(
    folder: Path,
    bins: list[tuple[int, int]],
    values: dict[str, np.ndarray],
    whole: np.ndarray,
    tracked: np.ndarray | None = None,
    length: int = 0,
) -> dict[str, dict[str, Path]]:
    """Peaks, idr and nonpeaks of each cell type from values of bins; with `tracked`, also a bigWig of those bins.

    There are no replicates: the peaks, the most open twentieth, are also taken as the reproducible ones.
    """
    inputs: dict[str, dict[str, Path]] = {}
    usable = np.flatnonzero(whole)
    for cell, value in values.items():
        ranked = usable[np.argsort(-value[usable], kind="stable")]
        peaks, others = np.split(ranked, [max(2, round(OPEN * len(ranked)))])
        others = np.random.default_rng(0).choice(others, min(NONPEAKS, len(others)), replace=False)
        for category, rows in (("peaks", peaks), ("idr", peaks), ("nonpeaks", others)):
            bed = write_places(folder / f"{cell}.{category}.bed", {("chr22", *bins[row]) for row in rows})
            inputs.setdefault(category, {})[cell] = bed
        if tracked is not None:
            path = folder / f"{cell}.bw"
            with replacing(path) as unfinished, pyBigWig.open(str(unfinished), "w") as track:
                track.addHeader([("chr22", length)])
                kept = np.flatnonzero(tracked).tolist()
                track.addEntries(
                    ["chr22"] * len(kept),
                    [bins[row][0] for row in kept],
                    ends=[bins[row][1] for row in kept],
                    values=value[kept].tolist(),
                )
            inputs.setdefault("signal", {})[cell] = path
    return inputs


def mutagenesis_rows(data: Path) -> list[dict[str, str]]:
    """The saturation mutagenesis of the HNF4A promoter; `Coefficient` is the effect of `Alt`.

    Raises:
        InputError: if it does not rise with RNA / DNA of the barcodes that carry `Alt`, which it is made from.
    """
    rows = [*rows_of(data / MUTAGENESIS)]
    counts = np.array([[float(row[name]) for name in ("RNA", "DNA", "Coefficient")] for row in rows])
    rna, dna, coefficient = counts[(counts[:, :2] > 0).all(axis=1)].T
    control = float(np.corrcoef(coefficient, np.log(rna / dna))[0, 1])
    if control < LEAST_CONTROL:
        raise InputError(f"{MUTAGENESIS}: Coefficient is not the effect of Alt: r {control:.2f} with log(RNA / DNA)")
    return rows


def mutagenesis_inputs(data: Path, work: Path) -> dict[str, Any]:
    """Task 5: saturation mutagenesis of the HNF4A promoter; an effect, and no classes."""
    mutagenesis_rows(data)
    return {"genome": data / CONTIGS["chr20"], "variants": data / MUTAGENESIS, "effect": "Coefficient"}


def dsqtl_rows(data: Path) -> list[dict[str, str]]:
    """The dsQTLs, all positives, with `beta` turned to be the effect of `alt`.

    In the table it is that of `vcf_alt`, which is the genome's base in 61 of 314 rows.

    Raises:
        InputError: where the sign is not that of the more accessible allele, which the table says in another column.
    """
    rows = [*rows_of(data / DSQTLS)]
    for row in rows:
        beta = float(row["beta"]) * (1 if row["vcf_alt"] == row["alt"] else -1)
        if (beta > 0) != (row["high_allele"] == row["alt"]):
            raise InputError(f"{DSQTLS}: {row['id_hg18']}: beta has not the sign of high_allele")
        row["beta"] = f"{beta:g}"
    return rows


def dsqtl_inputs(data: Path, work: Path) -> dict[str, Any]:
    """Task 5: dsQTLs of chr20 and chr22, only positives."""
    columns = ("chrom", "pos_hg19", "ref_hg19", "alt", "beta")
    lines = ["\t".join(row[name] for name in columns) for row in dsqtl_rows(data)]
    path = write_lines(work / "dsqtl.tsv", ["\t".join(columns), *lines])
    return {"genome": genome(data, work), "variants": path, "effect": "beta"}


def dsqtl_pairs(data: Path) -> datasets.Dataset:
    """Task 5: the 5,668 dsQTLs of all chromosomes as pairs of 100 bp, without a genome: low allele 1, high allele 2.

    Raises:
        InputError: where the alleles of a pair are not the low and high ones of the table of dsQTLs.
    """
    low, high = ([*read_fasta(data / path)] for path in DSQTL_PAIRS.values())
    places = [name.split(".") for _, name, _ in low]
    columns = {
        "id": [*range(len(low))],
        "chrom": [chrom for chrom, _ in places],
        "position": [int(position) for _, position in places],
        "sequence1": [sequence for _, _, sequence in low],
        "sequence2": [sequence for _, _, sequence in high],
    }
    alleles = {
        name: next((one, two) for one, two in zip(less, more, strict=True) if one != two)
        for (_, name, less), (_, _, more) in zip(low, high, strict=True)
    }
    for row in dsqtl_rows(data):
        if alleles[row["id_hg18"]] != (row["low_allele"], row["high_allele"]):
            raise InputError(f"{DSQTL_PAIRS['high']}: {row['id_hg18']}: has not the high allele of {DSQTLS}")
    same = {"label": None, "effect": 1.0, "used": True, "effect_allele": 2}
    return datasets.Dataset.from_dict(columns | {name: [value] * len(low) for name, value in same.items()})


def gue_folder(data: Path, work: Path) -> Path:
    """The sets of GUE as `datasets_hyenadna` reads them, a folder each."""
    for name in GUE:
        for split in ("train", "dev", "test"):
            target = work / "gue" / name / f"{split}.csv.gz"
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(data / f"benchmarks/GUE_{name}_{split}.csv.gz", target)
    return work / "gue"
