"""What scaling.py measures with: a random genome of 24 Mb, variants and regions in it, the smallest models, and the
inputs of every builder, of as many rows as are asked for."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyBigWig
import torch

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNATokenizer

CONTIGS, LENGTH = ["chr5", "chr10", "chr14", "chr18", "chr20", "chr22"], 4_000_000  # of the test split
WINDOW, PROFILE = 64, 1000  # bp; of chromatin_activity, whose windows have no less
LONGEST = 1_000_000  # bp that the model reads
MARGIN = 1000  # bp at the ends of a contig where nothing is
LETTERS = np.frombuffer(b"ACGT", dtype=np.uint8)
VERSION, COLUMNS = "##fileformat=VCFv4.2\n", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
HEADER = VERSION + COLUMNS
EFFECT = '##INFO=<ID=EFF,Number=A,Type=Float,Description="effect">\n'
LABEL = '##INFO=<ID=USED,Number=A,Type=Integer,Description="label">\n'
MOTIF = "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF one\nletter-probability matrix: alength= 4 w= 8\n"
Genome = dict[str, str]
Place = tuple[str, int]  # contig and 0-based position


def random_bases(length: int, rng: np.random.Generator) -> str:
    """So many random letters."""
    return LETTERS[rng.integers(4, size=length)].tobytes().decode()


def write_fasta(path: Path, contigs: list[str], length: int, rng: np.random.Generator) -> Genome:
    """A random genome, also returned."""
    path.parent.mkdir(parents=True, exist_ok=True)
    genome = {name: random_bases(length, rng) for name in contigs}
    with path.open("w") as file:
        for name, bases in genome.items():
            lines = (bases[start : start + 80] for start in range(0, length, 80))
            file.write(f">{name}\n" + "\n".join(lines) + "\n")
    return genome


def write_model(folder: Path) -> None:
    """The smallest HyenaDNA, one layer of eight channels with random weights, that reads LONGEST bases."""
    torch.manual_seed(0)
    config = HyenaDNAConfig(d_model=8, n_layer=1, d_inner=16, filter_order=8, max_seq_len=LONGEST + 2)
    HyenaDNAForCausalLM(config).save_pretrained(folder)
    HyenaDNATokenizer(model_max_length=LONGEST + 2).save_pretrained(folder)


def places(rows: int, rng: np.random.Generator) -> list[Place]:
    """So many different places, sorted, away from the ends of their contigs."""
    counts = np.full(len(CONTIGS), rows // len(CONTIGS)) + (np.arange(len(CONTIGS)) < rows % len(CONTIGS))
    room = np.arange(MARGIN, LENGTH - MARGIN)
    return [
        (name, start)
        for name, number in zip(CONTIGS, counts.tolist(), strict=True)
        for start in np.sort(rng.choice(room, number, replace=False)).tolist()
    ]


def write_variants(path: Path, genome: Genome, rows: int, rng: np.random.Generator) -> None:
    """Nine SNVs, then a deletion of 2 bp, and so on."""
    with path.open("w") as file:
        file.write(HEADER)
        for number, (name, at) in enumerate(places(rows, rng)):
            base = genome[name][at]
            reference = genome[name][at : at + 3] if number % 10 == 9 else base
            alternative = base if number % 10 == 9 else "ACGT"[("ACGT".index(base) + 1) % 4]
            file.write(f"{name}\t{at + 1}\tv{number}\t{reference}\t{alternative}\t.\t.\t.\n")


def write_regions(path: Path, rows: int, rng: np.random.Generator, names: tuple[str, ...] = ()) -> Path:
    """Intervals of WINDOW bp; with names, those in turn as column 4."""
    with path.open("w") as file:
        for number, (contig, start) in enumerate(places(rows, rng)):
            name = f"\t{names[number % len(names)]}" if names else ""
            file.write(f"{contig}\t{start}\t{start + WINDOW}{name}\n")
    return path


def shares(rows: int) -> dict[str, int]:
    """Rows of splits: four of five for training, at least two for a test."""
    test = max(2, rows // 5)
    return {"train": rows - test, "test": test}


class Builders:
    """Inputs of builders, each a method of a name and a number of rows, in a folder of the genome's."""

    def __init__(self, folder: Path, genome: Genome, rng: np.random.Generator):
        self.folder, self.genome, self.rng, self.fasta = folder, genome, rng, str(folder / "genome.fa")

    def all(self) -> dict[str, Callable[[int], dict[str, object]]]:
        """Name of a task -> its inputs for so many rows."""
        return {
            "regulatory_elements": self.regulatory_elements,
            "motif_footprinting": self.motif_footprinting,
            "cell_type_elements": self.cell_type_elements,
            "chromatin_activity": self.chromatin_activity,
            "variant_effects": self.variant_effects,
            "long_range_recall": self.long_range_recall,
            "likelihood_by_position": self.likelihood_by_position,
            "conservation_gap": self.conservation_gap,
            "genomic_benchmarks/human_enhancers_cohn": self.genomic_benchmarks,
            "nucleotide_transformer/enhancers": self.nucleotide_transformer,
            "gue/random": self.gue,
            "chromatin_profile": self.chromatin_profile,
            "species": self.species,
            "biotypes": self.biotypes,
        }

    def path(self, name: str) -> Path:
        """A file whose folder is there."""
        path = self.folder / "inputs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def regions(self, name: str, rows: int, names: tuple[str, ...] = ()) -> str:
        """A BED of so many rows."""
        return str(write_regions(self.path(name), rows, self.rng, names))

    def regulatory_elements(self, rows: int) -> dict[str, object]:
        """Elements of WINDOW bp."""
        return {"genome": self.fasta, "elements": self.regions("elements.bed", rows), "window": WINDOW}

    def motif_footprinting(self, rows: int) -> dict[str, object]:
        """Of a background: both strands without a motif, and with the motif and its shuffle."""
        motifs, backgrounds = self.path("motifs.meme"), self.path("backgrounds.txt")
        motifs.write_text(MOTIF + "0.97 0.01 0.01 0.01\n0.01 0.97 0.01 0.01\n" * 4)
        lines = (random_bases(WINDOW, self.rng) for _ in range(max(1, rows // 6)))
        backgrounds.write_text("\n".join(lines) + "\n")
        return {"motifs": str(motifs), "backgrounds": str(backgrounds)}

    def cell_type_elements(self, rows: int) -> dict[str, object]:
        """Elements of three cell lines in turn."""
        elements = self.regions("cells.bed", rows, ("GM12878", "HEPG2", "K562"))
        return {"genome": self.fasta, "elements": elements, "window": WINDOW}

    def chromatin_activity(self, rows: int) -> dict[str, object]:
        """Half of them peaks, and a signal in pieces of 100 bp."""
        signal = self.path("K562.bw")
        with pyBigWig.open(str(signal), "w") as track:
            track.addHeader([(name, LENGTH) for name in CONTIGS])
            for name in CONTIGS:
                values = self.rng.gamma(1.0, size=LENGTH // 100)
                track.addEntries(name, 0, values=values, span=100, step=100)
        halves = {name: self.regions(f"{name}.bed", rows // 2) for name in ("peaks", "nonpeaks")}
        return {"genome": self.fasta, "signal": str(signal), "cell_type": "K562", "window": PROFILE, **halves}

    def variant_effects(self, rows: int) -> dict[str, object]:
        """A VCF of SNVs with effects and labels."""
        path = self.path("effects.vcf")
        with path.open("w") as file:
            file.write(VERSION + EFFECT + LABEL + COLUMNS)
            for number, (name, at) in enumerate(places(rows, self.rng)):
                base = self.genome[name][at]
                other = "ACGT"[("ACGT".index(base) + 1) % 4]
                file.write(f"{name}\t{at + 1}\t.\t{base}\t{other}\t.\t.\tEFF={number % 7 - 3};USED={number % 2}\n")
        names = {"effect": "EFF", "label": "USED", "effect_allele": "alt"}
        return {"genome": self.fasta, "variants": str(path), "window": WINDOW, **names}

    def long_range_recall(self, rows: int) -> dict[str, object]:
        """A sixth as many trials, as their windows are the longest."""
        return {"genome": self.fasta, "distances": "64", "segment": 16, "trials": max(1, rows // 6)}

    def likelihood_by_position(self, rows: int) -> dict[str, object]:
        """Windows drawn from the genome."""
        return {"genome": self.fasta, "trials": rows, "length": WINDOW, "segment": 16}

    def conservation_gap(self, rows: int) -> dict[str, object]:
        """Windows around regions."""
        return {"genome": self.fasta, "regions": self.regions("conserved.bed", rows), "length": WINDOW}

    def genomic_benchmarks(self, rows: int) -> dict[str, object]:
        """Intervals of two classes."""
        for split, number in shares(rows).items():
            for name, own in (("positive", number // 2), ("negative", number - number // 2)):
                path = self.path(f"human_enhancers_cohn/{split}/{name}.csv.gz")
                lines = (f"{at},{chrom},{start},{start + WINDOW},+" for at, (chrom, start) in self.numbered(own))
                path.write_bytes(gzip.compress(("id,region,start,end,strand\n" + "\n".join(lines) + "\n").encode(), 1))
        return {"genome": self.fasta, "data": str(self.path("."))}

    def nucleotide_transformer(self, rows: int) -> dict[str, object]:
        """FASTA with the class at the end of each header."""
        for split, number in shares(rows).items():
            entries = (f">{at}|{at % 2}\n{random_bases(WINDOW, self.rng)}\n" for at in range(number))
            self.path(f"enhancers/{split}.fasta").write_text("".join(entries))
        return {"data": str(self.path("."))}

    def gue(self, rows: int) -> dict[str, object]:
        """CSV of sequences and classes."""
        for split, number in shares(rows).items():
            lines = (f"{random_bases(WINDOW, self.rng)},{at % 2}\n" for at in range(number))
            self.path(f"random/{split}.csv").write_text("sequence,label\n" + "".join(lines))
        return {"data": str(self.path("."))}

    def chromatin_profile(self, rows: int) -> dict[str, object]:
        """Windows with one label."""
        for split, number in shares(rows).items():
            numbered = ((int(chrom[3:]) - 1, start, at % 2) for at, (chrom, start) in self.numbered(number))
            lines = (f"{chrom},{start},{start + WINDOW},{label}\n" for chrom, start, label in numbered)
            path = self.path(f"profile/{split}_hg38_coords_targets.csv")
            path.write_text("Chr_No,Start,End,y_DNase\n" + "".join(lines))
        return {"genome": self.fasta, "data": str(self.path("profile")), "window": WINDOW}

    def species(self, rows: int) -> dict[str, object]:
        """Three splits of as many windows each."""
        for name in ("one", "two"):
            if not (path := self.path(f"species/{name}/genome.fa")).exists():
                write_fasta(path, ["1", "2", "5"], LENGTH, self.rng)
        return {"data": str(self.path("species")), "length": WINDOW, "windows": max(1, rows // 3)}

    def biotypes(self, rows: int) -> dict[str, object]:
        """Genes of WINDOW bp, of two biotypes."""
        path = self.path("genes.gtf")
        with path.open("w") as file:
            for at, (chrom, start) in self.numbered(rows):
                what = f'gene_id "G{at}"; gene_biotype "{("lncRNA", "protein_coding")[at % 2]}";'
                file.write(f"{chrom}\tx\tgene\t{start + 1}\t{start + WINDOW}\t.\t+\t.\t{what}\n")
        return {"annotation": str(path), "genome": self.fasta}

    def numbered(self, rows: int) -> enumerate[Place]:
        """So many places with their numbers."""
        return enumerate(places(rows, self.rng))
