"""Your own regions, peaks or signal as rows to train on.

The folder that is written has train.parquet, validation.parquet and test.parquet, as datasets.load_dataset(FOLDER)
reads them, README.md, a dataset's card for the Hub, and dataset.json, which says what they were made of.
"""

import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import ClassLabel, Features, Value

from datasets_dart.alphabet import checked_bases, decode_bases, encode_bases, reverse_complement
from datasets_dart.contigs import (
    check_same_build,
    contig_ends,
    find_contig,
    join_contigs,
    named_contigs,
    note_missing,
    renamed,
)
from datasets_dart.errors import InputError
from datasets_dart.files import input_file, number_of, replacing, write_text
from datasets_dart.formats.bed import NO_BASE, STRAND, Windows, centred_start, note_strands, read_narrowpeak
from datasets_dart.formats.bigwig import Signal, log_counts
from datasets_dart.formats.element_tables import read_windows
from datasets_dart.formats.fasta import Genome, open_genome, window_strings
from datasets_dart.gc_matching import gc_matched_negatives
from datasets_dart.outputs import whole_folder
from datasets_dart.peaks import consensus_windows, overlaps_any
from datasets_dart.shuffling import item_seed, shuffle_known
from datasets_dart.splits import SPLITS, assign_splits, read_splits
from evaluation_dart.inputs import described_inputs
from evaluation_dart.tools.data_card import data_card
from evaluation_dart.tools.regions import NO_CONTIG, read_bed

log = logging.getLogger(__name__)

ABOUT = "dataset.json"
WINDOW = 512
LARGEST = float(np.finfo(np.float32).max)  # of what a model can predict
NEGATIVES = ("gc_matched", "shuffled")
KINDS = {"regions": "bed"}  # what dataset.json calls them
NEGATIVE, POSITIVE = "negative", "positive"
SAME = "shuffles: the sequence itself, as its dinucleotides have no other order that was found"
MOST_CLASSES_SHOWN = 10
MISSING = (".", "na", "n/a", "nan", "null")  # what may say, in lower case, that there is no label
SHARES = {"validation": 0.1, "test": 0.2}  # of random splits


PartOf = Callable[[Windows], np.ndarray]  # (n,) int: the split of each window, -1 for none


class Source(NamedTuple):
    """Sequences with what is to be learned of them, what that means, and how many were left out, by reason.

    Columns of rows are chrom ("" where it is not known), start (-1), end, sequence, label, the number of a class or a
    value, and group, which numbers the rows that must not be parted by a split: a peak and its shuffles.
    """

    rows: pa.Table
    classes: list[str] | None  # None of values
    target: str
    left_out: Counter[str]


@whole_folder(ABOUT, "genome", "regions", "peaks", "positives", "signal", "avoid", "splits")
def make_dataset(
    output: str | Path,
    *,
    genome: str | Path | None = None,
    regions: str | Path | None = None,
    label_column: int = 4,
    regression: bool = False,
    peaks: str | Path | None = None,
    positives: str | Path | None = None,
    signal: str | Path | None = None,
    window: int = WINDOW,
    negatives: str = "gc_matched",
    ratio: int = 1,
    avoid: Sequence[str | Path] = (),
    splits: str | Path = "paper",
    validation: str | None = None,
    test: str | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Make rows to train on from a BED file with labels, from peaks, from sequences, or from a bigWig track.

    Args:
        output: folder to write; new or empty.
        genome: FASTA, plain, gzip or bgzip; not of `positives`.
        regions: BED with labels; with `signal`, the regions to take. label_column: of them, counted from 1.
            regression: the labels are numbers to predict.
        peaks: narrowPeak: windows on summits against negatives. positives: FASTA of sequences against shuffles.
            signal: bigWig: log(1 + sum) over windows.
        window: bases of a row, centred.
        negatives: of `peaks`: "gc_matched", elsewhere in the genome with the same GC; or "shuffled", keeping
            dinucleotides. ratio: negatives for each positive. avoid: BED files of what no window may touch.
        splits: "paper", "random", or a BED of blocks named train, validation, test. validation, test: contigs to
            validate and to test on, such as "chr8,chr9" or "8, 9"; all others are trained on. Rows in no split are left
            out, and counted; negatives are in their positive's split.
        limit: take so many rows at random. seed: of negatives, shuffles, `limit` and random splits.

    Returns:
        What dataset.json says: `rows` of each split and class, `left_out` by reason, and so on.

    Raises:
        InputError: naming file, line and value that cannot be used, or a split that would be empty.
        OSError: if there is no such file.
    """
    folder = Path(output)
    if negatives not in NEGATIVES:
        raise InputError(f"negatives {negatives!r}: there are {', '.join(NEGATIVES)}")
    given = {"regions": regions, "peaks": peaks, "positives": positives, "signal": signal}
    kinds = [name for name in ("peaks", "positives", "signal") if given[name]] or ["regions"] * (regions is not None)
    if len(kinds) != 1 or (regions is not None and kinds[0] not in ("regions", "signal")):
        raise InputError("give one of regions, peaks, positives and signal (regions may be added to signal)")
    if (validation is None) != (test is None):
        raise InputError("validation and test contigs go together")
    if positives is not None:
        if genome is not None or avoid:
            raise InputError("positives are sequences already: they take no genome, and nothing to avoid in one")
        source = from_sequences(Path(positives), ratio, seed)
        contigs: Collection[str] = source.rows["chrom"].unique().to_pylist()
        part_of = splitter(contigs, str(splits), validation, test)
    elif genome is None:
        raise InputError(f"the genome of the {kinds[0]} is needed")
    else:
        bases = open_genome(genome)
        away = [read_windows(input_file(path), bases.contigs) for path in avoid]
        contigs, part_of = bases.contigs, splitter(bases.contigs, str(splits), validation, test)
        if peaks is not None:
            source = from_peaks(bases, Path(peaks), window, negatives, ratio, away, part_of, seed)
        elif signal is not None:
            source = from_signal(bases, Path(signal), None if regions is None else Path(regions), window, away)
        else:
            source = from_bed(bases, Path(str(regions)), window, label_column, regression, away)
    rows = source.rows
    known = pc.match_substring_regex(rows["sequence"], "[ACGTacgt]")
    source.left_out["have no base but N"] += len(rows) - (pc.sum(known).as_py() or 0)
    rows = rows.filter(known)
    if limit is not None and limit < len(rows):
        chosen = np.random.default_rng(seed).choice(len(rows), limit, replace=False)
        rows = rows.take(np.sort(chosen))
    of_split, in_none = split_rows(rows, part_of, seed)
    source.left_out["are in no split"] += in_none
    again = repeated(of_split)
    files: dict[str, Any] = {"fasta": genome, "bed": regions, "peaks": peaks, "positives": positives, "signal": signal}
    files |= {"avoid": [*map(str, avoid)] or None, "splits": splits if Path(splits).is_file() else None}
    about = {
        "kind": KINDS.get(kinds[0], kinds[0]),
        "target": source.target,
        "classes": source.classes,
        "window": None if positives is not None else window,
        "negatives": negatives if peaks is not None else "shuffled" if positives is not None else None,
        "splits": splits if test is None else {"validation": validation, "test": test},
        "seed": seed,
        "inputs": described_inputs(**{name: path for name, path in files.items() if path is not None}),
        "rows": {name: counted(own, source.classes) for name, own in of_split.items()},
        "left_out": {reason: count for reason, count in source.left_out.items() if count},
    }
    if again:
        about["sequences_again"] = again
        said = "; ".join(f"{count} {what}" for what, count in again.items())
        log.warning("sequences that occur again, on either strand: %s", said)
    if test is not None and validation is not None:
        named = named_contigs("test", f"{validation},{test}".split(","), contigs)
        if without := [name for name in named if name not in rows["chrom"].unique().to_pylist()]:
            about["contigs_without_rows"] = without
            log.warning("validation, test: no row is on %s", ", ".join(without))
    write_rows(folder, of_split, source.classes, about)
    return about


def from_bed(genome: Genome, path: Path, window: int, column: int, regression: bool, avoid: list[Windows]) -> Source:
    """Windows centred on the regions of a BED file, and what its `column` (from 1) says of them.

    Raises:
        ValueError: naming file, line and value, for a label that is missing or, of a regression, no number.
    """
    left_out: Counter[str] = Counter()
    empty: list[int] = []
    chrom, start, end, line, extra = read_bed(path, (column - 1,), empty)
    left_out[NO_BASE] += len(empty)
    if column - 1 != STRAND:
        note_strands(input_file(path))
    texts = [text for (text,) in extra]
    windows = centred(path, genome, chrom, start, end, window)
    kept = usable(genome, path, windows, avoid, left_out)
    if regression:
        values = np.array([number(path, at, text) for at, text in zip(line.tolist(), texts, strict=True)])
        return Source(rows_of(genome, windows, kept, values), None, "value", left_out)
    if "" in texts:
        raise InputError(f"{path}:{line[texts.index('')]}: column {column} has no label")
    classes = sorted(set(texts))
    if len(classes) < 2:
        raise InputError(f"{path}: column {column} says {classes[0]!r} everywhere; two classes are needed")
    note_classes(path, classes)
    labels = np.searchsorted(classes, texts)
    return Source(rows_of(genome, windows, kept, labels), classes, "class", left_out)


def note_classes(path: Path, classes: Sequence[str]) -> None:
    """Warn of classes that are written alike, or as a missing value is; they are taken as they are."""
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(name.strip("\"' ").casefold(), []).append(name)
    for names in (own for own in alike.values() if len(own) > 1):
        log.warning("%s: classes %s are written alike; are they one?", path, " and ".join(map(repr, names)))
    if missing := [name for name in classes if name.strip("\"' ").casefold() in MISSING]:
        log.warning("%s: is class %s a missing label? It is taken as a class", path, " or ".join(map(repr, missing)))


def number(path: Path, line: int, text: str) -> float:
    """A finite number from a field, within float32; InputError with the file and the line for another."""
    try:
        value = number_of(text)
    except ValueError:
        value = np.nan
    if not abs(value) <= LARGEST:
        raise InputError(f"{path}:{line}: {text!r} is not a number to predict")
    return value


def centred(path: Path, genome: Genome, chrom: np.ndarray, start: np.ndarray, end: np.ndarray, window: int) -> Windows:
    """Windows centred on the intervals of a file, their contigs named as in the genome.

    Raises:
        InputError: naming the file, if it has none of the genome's contigs.
    """
    join_contigs(path, set(chrom.tolist()), genome.contigs)
    first = centred_start(start, end, window)
    return Windows(renamed(chrom, genome.contigs), first, first + window)


def usable(genome: Genome, path: Path, windows: Windows, avoid: list[Windows], left_out: Counter[str]) -> np.ndarray:
    """Row numbers of the windows within their contigs and away from `avoid`; how many are not is counted, by reason.

    Raises:
        InputError: naming the file, if none is left.
    """
    lengths = contig_ends(windows.chrom, genome.contigs)
    known = lengths >= 0
    inside = known & (windows.start >= 0) & (windows.end <= lengths)
    clear = ~np.logical_or.reduce([np.zeros(len(inside), bool), *(overlaps_any(windows, other) for other in avoid)])
    left_out[NO_CONTIG] += int((~known).sum())
    left_out["run past an end of their contig"] += int((known & ~inside).sum())
    left_out["touch what is to be avoided"] += int((inside & ~clear).sum())
    kept = np.flatnonzero(inside & clear)
    if not len(kept):
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count)
        raise InputError(f"{path}: no row is left: {reasons}")
    return kept


def rows_of(genome: Genome, windows: Windows, kept: np.ndarray, label: np.ndarray) -> pa.Table:
    """The rows of some windows, in this order, with the labels of these."""
    chrom, start, end = windows.take(kept)
    length = int(end[0] - start[0]) if len(kept) else 1
    return labelled(chrom, start, end, window_strings(genome, chrom, start, length, "fixed"), label[kept])


def labelled(chrom: np.ndarray, start: np.ndarray, end: np.ndarray, sequence: Any, label: np.ndarray) -> pa.Table:
    """Rows as [`Source`] has them, each a group of its own."""
    names = ["chrom", "start", "end", "sequence", "label", "group"]
    return pa.table([pa.array(chrom, pa.string()), start, end, sequence, label, np.arange(len(label))], names=names)


def from_peaks(
    genome: Genome,
    path: Path,
    window: int,
    negatives: str,
    ratio: int,
    avoid: list[Windows],
    part_of: PartOf | None,
    seed: int,
) -> Source:
    """Disjoint windows on the summits of a narrowPeak file, the best first, and their negatives.

    GC-matched ones overlap no peak of the file in its whole length, and are in their peak's split.
    """
    without_summit: Counter[str] = Counter()
    read = read_narrowpeak(input_file(path), left_out=without_summit)
    note_strands(input_file(path))
    join_contigs(path, set(read.chrom.tolist()), genome.contigs)
    read = read._replace(chrom=renamed(read.chrom, genome.contigs))
    windows, left_out = consensus_windows([read], "fixed", window, genome.contigs)
    left_out += without_summit
    kept = usable(genome, path, windows, avoid, left_out)
    found = rows_of(genome, windows, kept, np.ones(len(windows.start), dtype=np.int64))
    if negatives == "shuffled":
        return Source(with_shuffles(path, found, ratio, seed, left_out), [NEGATIVE, POSITIVE], "class", left_out)
    others, peak, missing = gc_matched_negatives(
        genome, windows.take(kept), window, ratio=ratio, seed=seed, avoid=[Windows(*read[:3]), *avoid], part_of=part_of
    )
    zeros = np.zeros(len(others.start), dtype=np.int64)
    background = rows_of(genome, others, np.arange(len(zeros)), zeros)
    rows = pa.concat_tables([found, background.drop_columns("group").append_column("group", pa.array(peak))])
    left_out += Counter({f"negatives: {reason}": count for reason, count in missing.items()})
    return Source(rows, [NEGATIVE, POSITIVE], "class", left_out)


def with_shuffles(path: Path, found: pa.Table, ratio: int, seed: int, left_out: Counter[str]) -> pa.Table:
    """Sequences of class 1 and `ratio` dinucleotide shuffles of each, of class 0, at the same place.

    Shuffles that are the sequence itself are left out, and counted.

    Raises:
        InputError: naming the file, if no shuffle is left.
    """
    tables = [found]
    for copy in range(ratio):
        shuffles = []
        for row in found.to_pylist():
            place, codes = (row["chrom"] or row["sequence"], row["start"], row["end"]), encode_bases(row["sequence"])
            shuffled = shuffle_known(codes, np.random.default_rng(item_seed(*place, seed * 1000 + copy)))
            if not np.array_equal(codes, shuffled):
                shuffles.append(row | {"sequence": decode_bases(shuffled), "label": 0})
        tables.append(pa.Table.from_pylist(shuffles, found.schema))
        left_out[SAME] += len(found) - len(shuffles)
    if not any(map(len, tables[1:])):
        raise InputError(f"{path}: none of its {len(found)} sequences has a dinucleotide shuffle other than itself")
    return pa.concat_tables(tables)


def from_sequences(path: Path, ratio: int, seed: int) -> Source:
    """The sequences of a FASTA file and their shuffles. A name like chr1:5-205 says where a sequence lies."""
    fasta = open_genome(path)
    places = [re.fullmatch(r"(.+):(\d+)-(\d+)", name) for name in fasta.contigs]
    chrom = np.array([place[1] if place else "" for place in places], dtype=object)
    start, end = (np.array([int(place[k]) if place else -1 for place in places], dtype=np.int64) for k in (2, 3))
    sequences = checked_bases(str(path), (fasta.fetch(name, 0, length) for name, length in fasta.contigs.items()))
    found = labelled(chrom, start, end, sequences, np.ones(len(sequences), dtype=np.int64))
    left_out: Counter[str] = Counter()
    return Source(with_shuffles(path, found, ratio, seed, left_out), [NEGATIVE, POSITIVE], "class", left_out)


def from_signal(genome: Genome, path: Path, bed: Path | None, window: int, avoid: list[Windows]) -> Source:
    """Windows centred on regions, or side by side over the track's contigs without N; log(1 + sum) of the signal."""
    track = Signal(path)
    check_same_build(track.path, track.contigs, genome.contigs, genome.path)
    left_out: Counter[str] = Counter()
    if bed is not None:
        empty: list[int] = []
        chrom, start, end, *_ = read_bed(bed, (), empty)
        left_out[NO_BASE] += len(empty)
        windows = centred(bed, genome, chrom, start, end, window)
        join_contigs(path, track.contigs, set(windows.chrom.tolist()) & genome.contigs.keys())
        known = contig_ends(windows.chrom, genome.contigs) >= 0
        lacking = np.array([find_contig(name, track.contigs) is None for name in windows.chrom.tolist()]) & known
        left_out["are on contigs that the track does not have"] += int(lacking.sum())
        windows = windows.take(np.flatnonzero(~lacking))
    else:
        joined = join_contigs(path, track.contigs, genome.contigs)
        note_missing(path, joined.only_here)
        note_missing(genome.path, joined.only_there, str(path))
        shared = sorted(joined.names.values(), key=[*genome.contigs].index)
        grids = [np.arange(0, genome.contigs[name] - window + 1, window, dtype=np.int64) for name in shared]
        start = np.concatenate(grids)
        chrom = np.repeat(np.array(shared, dtype=object), [len(grid) for grid in grids])
        windows = Windows(chrom, start, start + window)
    kept = usable(genome, bed or path, windows, avoid, left_out)
    values = np.zeros(len(windows.start))
    values[kept] = log_counts(track, windows.chrom[kept], windows.start[kept], window)
    rows = rows_of(genome, windows, kept, values)
    if bed is None:
        unknown = pc.match_substring(rows["sequence"], "N")
        left_out["have an N"] = pc.sum(unknown).as_py() or 0
        rows = rows.filter(pc.invert(unknown))
    return Source(rows, None, "log(1 + sum of the signal)", left_out)


def splitter(contigs: Collection[str], splits: str, validation: str | None, test: str | None) -> PartOf | None:
    """Which split windows are in, -1 for none, of the contigs that there are; None of random splits.

    Raises:
        InputError: naming a contig that is not there, or is named twice; as [`read_splits`].
    """
    contigs = [name for name in contigs if name]
    if test is not None and validation is not None:
        if splits != "paper":
            raise InputError(f"splits {splits}, and contigs to validate and to test on: give one of the two")
        named = {"validation": named_contigs("validation", validation.split(","), contigs)}
        named["test"] = named_contigs("test", test.split(","), contigs)
        if both := sorted(set(named["validation"]) & set(named["test"])):
            raise InputError(f"{both[0]} is in validation and in test")
        split_of = {name: SPLITS.index(split) for split, names in named.items() for name in names}

        def by_contig(windows: Windows) -> np.ndarray:
            train = SPLITS.index("train")
            return np.array([split_of.get(name, train) for name in windows.chrom.tolist()], dtype=np.int8)

        return by_contig
    if splits == "random":
        return None
    blocks = read_splits(splits, contigs)
    return lambda windows: assign_splits(blocks, *windows)


def split_rows(rows: pa.Table, part_of: PartOf | None, seed: int) -> tuple[dict[str, pa.Table], int]:
    """Rows by split, and how many are in none and left out.

    Raises:
        InputError: if a split is empty, saying which contigs there are.
    """
    chrom, start, end, group = (rows[name].to_numpy() for name in ("chrom", "start", "end", "group"))
    if part_of is None:
        groups = np.unique(group)
        order = np.random.default_rng(seed).permutation(groups)
        ends = np.cumsum([max(1, round(SHARES[name] * len(groups))) for name in ("validation", "test")])
        validated, tested, _ = np.split(order, ends)
        assigned = np.where(np.isin(group, validated), SPLITS.index("validation"), SPLITS.index("train"))
        assigned[np.isin(group, tested)] = SPLITS.index("test")
    else:
        assigned = part_of(Windows(chrom, start, end))
    found = {name: rows.take(np.flatnonzero(assigned == number)) for number, name in enumerate(SPLITS)}
    if empty := [name for name, own in found.items() if not len(own)]:
        contigs = sorted(set(chrom.tolist()))
        there = ", ".join(contigs[:8]) + (", ..." if len(contigs) > 8 else "")
        raise InputError(
            f"no row is in split {empty[0]!r}: the rows are on {there or 'no contig that their names tell'}; name "
            "contigs (validation, test) or blocks (splits, a BED file), or ask for random splits"
        )
    return found, int((assigned < 0).sum())


def repeated(of_split: dict[str, pa.Table]) -> dict[str, int]:
    """How many rows of validation and test have a sequence of train, and how many of all that of another label.

    A sequence and its reverse complement are one; so are letters of either case.
    """
    labels: dict[str, set[float]] = {}
    kept: dict[str, list[str]] = {}
    for split, rows in of_split.items():
        kept[split] = [min(own, reverse_complement(own)) for own in map(str.upper, rows["sequence"].to_pylist())]
        for sequence, label in zip(kept[split], rows["label"].to_pylist(), strict=True):
            labels.setdefault(sequence, set()).add(label)
    trained = set(kept["train"])
    counts = {
        f"rows of {name} have a sequence that is in train": sum(sequence in trained for sequence in kept[name])
        for name in ("validation", "test")
    }
    counts["rows have a sequence that another row has with another label"] = sum(
        len(labels[sequence]) > 1 for own in kept.values() for sequence in own
    )
    return {what: count for what, count in counts.items() if count}


def spelt(split: str, count: int | Mapping[str, int]) -> str:
    """The rows of a split in words, those of each class after them, unless there are many classes."""
    if isinstance(count, int):
        return f"{count} {split}"
    total = f"{sum(count.values())} {split}"
    if len(count) > MOST_CLASSES_SHOWN:
        return total
    return f"{total} ({', '.join(f'{number} {name}' for name, number in count.items())})"


def counted(rows: pa.Table, classes: list[str] | None) -> int | dict[str, int]:
    """How many rows there are, of each class where there are classes."""
    if classes is None:
        return len(rows)
    return dict(zip(classes, np.bincount(rows["label"], minlength=len(classes)).tolist(), strict=True))


def write_rows(folder: Path, of_split: dict[str, pa.Table], classes: list[str] | None, about: dict[str, Any]) -> None:
    """Parquet files that carry the names of the classes; the card; dataset.json last, by which the folder is whole."""
    label = Value("float64") if classes is None else ClassLabel(names=classes)
    columns = {"chrom": Value("string"), "start": Value("int64"), "end": Value("int64"), "sequence": Value("string")}
    schema = Features(columns | {"label": label}).arrow_schema
    folder.mkdir()
    for split, rows in of_split.items():
        with replacing(folder / f"{split}.parquet") as temporary:
            pq.write_table(rows.select(schema.names).cast(schema), temporary)
    write_text(folder / "README.md", data_card(folder.name, about))
    write_text(folder / ABOUT, json.dumps(about, indent=1, default=str) + "\n")
