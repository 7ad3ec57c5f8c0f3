"""Compare what our readers make of real files with what samtools, bcftools, bedtools, pybigtools and Biopython do.

    .venv/bin/python -m tests.real_files.compare [FOLDER ...]

Looks below FOLDERs for VCF, BED, FASTA, bigWig, GTF and MEME files (by default below tests/fixtures/real_files, what
`fetch.sh` has laid in build/real_files, /usr and the installed Python packages), and prints a line for each that is not
read alike. Exit status 1 if there is one that is read differently, or that we refuse and the other tool reads, unless
`REFUSED_BY_US` says why. Debian packages with such files, and the tools (`.ci/run` fetches them where it can):

    tools: samtools bcftools bedtools
    files: htslib-test samtools-test bedtools-test python3-pybedtools python-pyvcf-examples python-pyfaidx-examples
           python-biopython-doc r-bioc-variantannotation r-bioc-rtracklayer r-bioc-rsamtools r-bioc-biostrings
           r-bioc-genomicfeatures vcftools
    Python packages with files: pyBigWig
"""

import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pybigtools
import pyBigWig
import pysam

from datasets_dart.formats.bed import read_intervals
from datasets_dart.formats.bigwig import Signal
from datasets_dart.formats.fasta import open_genome
from datasets_dart.formats.gtf import read_genes
from datasets_dart.formats.meme import read_meme
from datasets_dart.formats.vcf import read_records

FIXTURES = Path(__file__).parents[1] / "fixtures" / "real_files"
LARGEST = 20_000_000  # bytes of a file; larger ones are left out, and counted
FETCHED = Path(__file__).parents[2] / "build" / "real_files"
DEFAULT_FOLDERS = [FIXTURES, FETCHED, Path("/usr/share"), Path("/usr/lib"), Path(pyBigWig.__file__).parent]
SAMPLES = 40  # intervals of a FASTA or a bigWig that are compared
TOOLS = {"vcf": "bcftools", "bed": "bedtools", "fasta": "samtools", "gtf": "bedtools"}
# Files that the other tool reads and we refuse, by what our message says, and why.
REFUSED_BY_US = {
    "appears a second time": "samtools keeps the first of two contigs of one name: which is meant?",
    "a header without a name": "samtools keeps a contig without a name",
    "not a sequence": "alignments with gaps, and spaces between bases",
    "a gene without gene_id or gene_biotype": "bedtools needs no attribute; a biotype is what we read GTF for",
    "not DNA or RNA; a protein?": "samtools knows no alphabet",
    "bases have a value, but none can be read": "libBigWig and bigtools read no value of it",
    "tab-separated columns where a VCF has": "bcftools skips a line of text among the records with a warning",
}


class Outcome(NamedTuple):
    """What became of a file: equal, refused (by both), other (tool refuses, we read), ours (we refuse), different."""

    path: Path
    kind: str
    state: str
    said: str = ""


class Refused(Exception):
    """What the other tool says of a file that it does not read."""


def run(*command: str) -> str:
    """Standard output of a tool; Refused where it fails, or complains of a record."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120)
    if done.returncode:
        raise Refused(done.stderr.strip()[:200])
    return done.stdout


def vcf_ours(path: Path) -> list[tuple]:
    return [(r.chrom, r.position, r.reference, ",".join(r.alternatives) or ".") for r in read_records(path)]


def vcf_theirs(path: Path) -> list[tuple]:
    rows = (line.split("\t", 5) for line in run("bcftools", "view", "--no-header", str(path)).splitlines())
    return [(chrom, int(position), reference, alternatives) for chrom, position, _, reference, alternatives, _ in rows]


def bed_ours(path: Path) -> Counter:
    return Counter(
        (chrom, start, end)
        for _, chunk in read_intervals(path)
        for chrom, start, end in zip(chunk.chrom, chunk.start.tolist(), chunk.end.tolist(), strict=True)
    )


def bed_theirs(path: Path) -> Counter:
    rows = (line.split("\t") for line in run("bedtools", "sort", "-i", str(path)).splitlines())
    return Counter((chrom, int(start), int(end)) for chrom, start, end, *_ in rows if start != end)


def fasta_ours(path: Path) -> dict[str, int | str]:
    with tempfile.TemporaryDirectory() as folder:  # an index of our own
        copy = Path(shutil.copy(path, folder))
        genome = open_genome(copy, folder)
        return dict(genome.contigs) | {
            f"{name}:{start + 1}-{end}": genome.fetch(name, start, end, keep_case=True)
            for name, start, end in places(genome.contigs)
        }


def fasta_theirs(path: Path) -> dict[str, int | str]:
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copy(path, folder)
        try:
            run("samtools", "faidx", copy)
        except Refused:  # gzip, which samtools does not index
            if Path(copy).suffix != ".gz":
                raise
            run("gzip", "-d", copy)
            copy = copy.removesuffix(".gz")
            run("samtools", "faidx", copy)
        fai = Path(f"{copy}.fai").read_text().splitlines()
        lengths = {line.split("\t")[0]: int(line.split("\t")[1]) for line in fai}
        regions = [f"{name}:{start + 1}-{end}" for name, start, end in places(lengths)]
        with pysam.FastaFile(copy) as file:
            rna = str.maketrans("Uu", "Tt")
            return lengths | {region: file.fetch(region=region).translate(rna) for region in regions}


def places(lengths: dict[str, int]) -> Iterator[tuple[str, int, int]]:
    """SAMPLES intervals of up to 200 bp, the same for the same contigs, of which none has a colon in its name."""
    names = [name for name, length in lengths.items() if length and ":" not in name]
    rng = np.random.default_rng(0)
    for name in rng.choice(names, SAMPLES).tolist() if names else []:
        start = int(rng.integers(lengths[name]))
        yield name, start, min(start + 200, lengths[name])


def bigwig_ours(path: Path) -> list[tuple[str, float]]:
    signal = Signal(path)
    found = []
    for name, start, _ in places(signal.contigs):
        found.append((f"{name}:{start}", round(float(signal.sums(name, np.array([start]), 200)[0]), 3)))
    return found


def bigwig_theirs(path: Path) -> list[tuple[str, float]]:
    try:
        file = pybigtools.open(str(path))
        lengths = dict(file.chroms())
        found = []
        for name, start, _ in places(lengths):
            end = min(start + 200, lengths[name])
            covered = file.records(name, start, end)
            total = sum(value * (min(last, end) - max(first, start)) for first, last, value in covered)
            found.append((f"{name}:{start}", round(total, 3)))
        return found
    except BaseException as error:  # its panics are no exceptions of Python's kind
        if isinstance(error, KeyboardInterrupt):
            raise
        raise Refused(str(error)) from None


def gtf_ours(path: Path) -> Counter:
    return Counter((gene.chrom, gene.start, gene.end, gene.strand) for gene in read_genes(path))


def gtf_theirs(path: Path) -> Counter:
    rows = (line.split("\t") for line in run("bedtools", "sort", "-i", str(path)).splitlines())
    return Counter((row[0], int(row[3]) - 1, int(row[4]), row[6]) for row in rows if row[2] == "gene")


def meme_ours(path: Path) -> list[tuple]:
    return [(motif.name, motif.probabilities.round(4).tolist()) for motif in read_meme(path)]


def meme_theirs(path: Path) -> list[tuple]:
    """By Biopython where it is installed."""
    try:
        from Bio import motifs
    except ImportError:
        raise Refused("Biopython is not installed") from None
    with path.open() as file:
        read = motifs.parse(file, "minimal")
    return [
        (motif.name.split()[0], np.array([motif.pwm[base] for base in "ACGT"]).T.round(4).tolist()) for motif in read
    ]


READERS: dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]] = {
    "vcf": (vcf_ours, vcf_theirs),
    "bed": (bed_ours, bed_theirs),
    "fasta": (fasta_ours, fasta_theirs),
    "bigwig": (bigwig_ours, bigwig_theirs),
    "gtf": (gtf_ours, gtf_theirs),
    "meme": (meme_ours, meme_theirs),
}
SUFFIXES = {
    "vcf": ("vcf",),
    "bed": ("bed", "bed3", "bed4", "bed6", "bed12", "narrowpeak", "broadpeak", "bedgraph", "bg"),
    "fasta": ("fa", "fasta", "fna", "ffn"),
    "bigwig": ("bw", "bigwig"),
    "gtf": ("gtf",),
    "meme": ("meme",),
}


def kind_of(path: Path) -> str | None:
    """By its name, less a suffix of compression."""
    name = path.name.lower()
    for end in (".gz", ".bgz"):
        name = name.removesuffix(end)
    suffix = name.rsplit(".", 1)[-1]
    return next((kind for kind, ends in SUFFIXES.items() if suffix in ends), None)


def files(folders: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Files of a kind that we read, in order of their paths."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            kind = kind_of(path)
            if kind and path.is_file() and 0 < path.stat().st_size <= LARGEST:
                yield path, kind


def outcome(path: Path, kind: str) -> Outcome:
    """Read one file in both ways."""
    ours, theirs = READERS[kind]
    try:
        expected, refusal = theirs(path), ""
    except (Refused, ValueError, IndexError) as error:  # or what it prints is not of this kind
        expected, refusal = None, str(error)
    try:
        found = ours(path)
    except ValueError as error:
        return Outcome(path, kind, "refused" if expected is None else "ours", str(error))
    if expected is None:
        return Outcome(path, kind, "other", refusal)
    if found == expected:
        return Outcome(path, kind, "equal")
    return Outcome(path, kind, "different", difference(found, expected))


def difference(found: object, expected: object) -> str:
    """How many items each has, and the first of either that the other lacks."""
    here, there = ([*map(repr, x.items() if isinstance(x, dict) else x)] for x in (found, expected))  # type: ignore[call-overload]
    alone = (next((x for x in one if x not in other), "") for one, other in ((here, set(there)), (there, set(here))))
    return f"{len(here)} and {len(there)}: {' | '.join(text[:150] for text in alone)}"


def is_fault(one: Outcome) -> bool:
    """Whether a file is read differently, or refused by us for no reason that is known."""
    return one.state == "different" or (one.state == "ours" and not any(text in one.said for text in REFUSED_BY_US))


def main() -> int:
    folders = [Path(name) for name in sys.argv[1:]] or DEFAULT_FOLDERS
    outcomes = [outcome(path, kind) for path, kind in files(folders)]
    for one in outcomes:
        if one.state != "equal":
            print(f"{one.state}\t{one.kind}\t{one.path}\t{one.said}")
    for (kind, state), n in sorted(Counter((one.kind, one.state) for one in outcomes).items()):
        print(f"{kind}\t{state}\t{n}")
    return any(map(is_fault, outcomes))


if __name__ == "__main__":
    sys.exit(main())
