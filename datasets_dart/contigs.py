"""Names of contigs: which of two files are the same, what build they tell, and joins by them.

The rule: "20" and "chr20" are the same contig, and so are "M", "MT", "chrM" and "chrMT"; other names are compared
unchanged. Files are read under the names of the genome that they go with, so that a comparison after that is exact.
"""

import logging
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from datasets_dart.errors import InputError, refuse_rows
from datasets_dart.files import warn_once

log = logging.getLogger(__name__)

MITOCHONDRION = ("chrM", "M", "MT", "chrMT")
BUILDS = {  # lengths in bp of chr1 to chr22, X and Y, as in UCSC's chrom.sizes
    "hg19": (
        "249250621 243199373 198022430 191154276 180915260 171115067 159138663 146364022 "
        "141213431 135534747 135006516 133851895 115169878 107349540 102531392 90354753 "
        "81195210 78077248 59128983 63025520 48129895 51304566 155270560 59373566"
    ),
    "hg38": (
        "248956422 242193529 198295559 190214555 181538259 170805979 159345973 145138636 "
        "138394717 133797422 135086622 133275309 114364328 107043718 101991189 90338345 "
        "83257441 80373285 58617616 64444167 46709983 50818468 156040895 57227415"
    ),
}


class Join(NamedTuple):
    """Contigs of one file and of another."""

    names: dict[str, str]  # of those that both have: the name here -> the name there
    only_here: list[str]
    only_there: list[str]


def find_contig(name: str, contigs: Collection[str]) -> str | None:
    """The name that `contigs` has for a contig; None if they do not have it."""
    bare = name.removeprefix("chr")
    mitochondrion = MITOCHONDRION if bare in ("M", "MT") else ()
    names = (name, bare if name.startswith("chr") else f"chr{name}", *mitochondrion)
    return next((other for other in names if other in contigs), None)


def join_contigs(path: str | os.PathLike[str], here: Iterable[str], there: Collection[str]) -> Join:
    """Which contigs of a file are which of `there`, under either name.

    Raises ValueError naming file and contigs where they have none in common.
    """
    here = list(dict.fromkeys(here))
    names = {name: other for name in here if (other := find_contig(name, there)) is not None}
    if not names and here and there:
        raise InputError(
            f"{path}: has none of the contigs {', '.join(sorted(there)[:5])}: it has {', '.join(sorted(here)[:5])}: "
            "other names, another build?"
        )
    found = set(names.values())
    return Join(names, [name for name in here if name not in names], [name for name in there if name not in found])


def named_contigs(
    option: str, names: Iterable[str], contigs: Collection[str], path: str | os.PathLike[str] | None = None
) -> list[str]:
    """The contigs that a user names, as a file has them, without repetition; spaces around a name do not count.

    Raises ValueError naming the file, if `path` is given, the option and the first name that none of `contigs` has,
    with what there is.
    """
    found = []
    option = option if path is None else f"{path}: {option}"
    for name in filter(None, map(str.strip, names)):
        own = find_contig(name, contigs)
        if own is None:
            there = ", ".join(sorted(contigs)[:8]) + (", ..." if len(contigs) > 8 else "")
            raise InputError(f"{option}: there is no contig {name!r}; there are {there or 'none'}")
        found.append(own)
    if not found:
        raise InputError(f"{option}: names no contig")
    return list(dict.fromkeys(found))


def note_missing(path: str | os.PathLike[str], names: Collection[str], what: str = "the genome") -> None:
    """Warn, once for a file, of those of its contigs that something else does not have."""
    if names:
        warn_once(log, path, f"{path}: {len(names)} of its contigs are not in {what}: {some_of(names)}")


def some_of(names: Iterable[str], most: int = 5) -> str:
    """Names of contigs, the first few of them in alphabetical order, for people to read."""
    known = sorted(set(names))
    return ", ".join(known[:most]) + (", ..." if len(known) > most else "")


def renamed(chrom: np.ndarray, contigs: Collection[str]) -> np.ndarray:
    """(n,) str objects: names as `contigs` has them; those of which it has none stay. chrom: (n,) str objects."""
    names = {name: find_contig(name, contigs) or name for name in set(chrom.tolist())}
    return np.array([names[name] for name in chrom.tolist()], dtype=object)


def contig_ends(chrom: np.ndarray, contigs: Mapping[str, int], unknown: int = -1) -> np.ndarray:
    """(n,) int64: length in bp of the contig of each row, `unknown` where it is none of `contigs`."""
    return np.array([contigs.get(name, unknown) for name in chrom.tolist()], dtype=np.int64)


def numbers_of(names: Iterable[str], known: dict[str, int]) -> np.ndarray:
    """(n,) int32: the number of each name in `known`, to which new names are added."""
    return np.fromiter((known.setdefault(name, len(known)) for name in names), dtype=np.int32)


def rows_by_contig(chrom: np.ndarray) -> dict[str, np.ndarray]:
    """Row numbers of each contig, in order of first appearance. chrom: (n,) str objects."""
    return {name: np.flatnonzero(chrom == name) for name in dict.fromkeys(chrom.tolist())}


def check_within(
    path: str | os.PathLike[str],
    lines: np.ndarray,
    chrom: np.ndarray,
    end: np.ndarray,
    contigs: Mapping[str, int],
    name: Callable[[int], str],
    genome_path: str | os.PathLike[str] = "the genome",
) -> None:
    """Raise ValueError naming file, line and row of the first that is on none of `contigs`, or ends beyond its contig.

    lines, end: (n,) int64; chrom: (n,) str objects; name: what to call a row, from its number.
    """
    lengths = contig_ends(chrom, contigs)

    def why(row: int) -> str:
        if lengths[row] < 0:
            return f"{name(row)} is on a contig that {genome_path} does not have"
        return f"{name(row)} ends beyond its contig in {genome_path}: another build?"

    refuse_rows(path, lines, end > lengths, why)


def genome_build(path: str | os.PathLike[str], contigs: Mapping[str, int]) -> str | None:
    """Name of the human build, hg19 or hg38, that the lengths in bp of a file's contigs show; None if they show none.

    Raises ValueError naming file, contigs and lengths where some are those of one build and some of the other.
    """
    found: dict[str, str] = {}
    for build, lengths in BUILDS.items():
        for name, length in zip([*map(str, range(1, 23)), "X", "Y"], lengths.split(), strict=True):
            contig = find_contig(name, contigs)
            if contig and contigs[contig] == int(length):
                found.setdefault(build, f"{contig} of {build} ({length} bp)")
    if len(found) > 1:
        raise InputError(f"{path}: mixes genome builds: {' and '.join(found.values())}")
    return next(iter(found), None)


def check_same_build(
    path: str | os.PathLike[str],
    contigs: Mapping[str, int],
    genome: Mapping[str, int],
    genome_path: str | os.PathLike[str] = "the genome",
) -> None:
    """Raise ValueError where a file (a bigWig, a BAM, a VCF's header) gives a contig another length than the genome.

    contigs, genome: lengths in bp by name. A mitochondrion under another name may be another sequence, as "chrM" of
    UCSC's hg19 and "MT" are.
    """
    for name, length in contigs.items():
        own = name if name in MITOCHONDRION else find_contig(name, genome)
        if own is not None and genome.get(own, length) != length:
            here, there = genome_build(path, contigs), genome_build(genome_path, genome)
            raise InputError(
                f"{path}: {name} has {length} bp (build {here or 'unknown'}), but {genome[own]} bp "
                f"in {genome_path} (build {there or 'unknown'})"
            )
