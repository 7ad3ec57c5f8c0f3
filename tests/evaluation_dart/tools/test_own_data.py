"""Rows of own data: names of contigs in every style, and labels in each split."""

import json

import numpy as np
import pandas as pd
import pyBigWig
import pytest

from datasets_dart.errors import InputError
from evaluation_dart.tools.own_data import make_dataset

RNG = np.random.default_rng(0)
LENGTH = 60_000
STYLES = {"UCSC": "chr{}", "Ensembl": "{}"}
PLACES = [(number, start) for number in (1, 6, 20) for start in range(500, LENGTH - 2000, 4000)]


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    contigs = {f"chr{number}": "".join(RNG.choice(list("ACGT"), LENGTH)) for number in (1, 6, 20)}
    path.write_text("".join(f">{name}\n{bases}\n" for name, bases in contigs.items()))
    return path


def bed(path, style, column="", places=PLACES, length=100):
    lines = (f"{STYLES[style].format(number)}\t{start}\t{start + length}{column}\n" for number, start in places)
    path.write_text("".join(lines))
    return path


@pytest.mark.parametrize("style", STYLES)
def test_a_track_and_a_blacklist_of_any_names(genome, tmp_path, style):
    track = pyBigWig.open(str(tmp_path / "t.bw"), "w")
    track.addHeader([(STYLES[style].format(number), LENGTH) for number in (1, 6, 20)])
    for number in (1, 6, 20):
        track.addEntries([STYLES[style].format(number)], [0], ends=[LENGTH], values=[5.0])
    track.close()
    avoid = bed(tmp_path / "avoid.bed", style, places=PLACES[:1])
    regions = bed(tmp_path / "r.bed", "Ensembl")
    given = {"genome": genome, "signal": tmp_path / "t.bw", "window": 200, "avoid": [avoid]}
    about = make_dataset(tmp_path / "made", regions=regions, **given)
    assert about["left_out"] == {"touch what is to be avoided": 1}
    rows = pd.concat([pd.read_parquet(tmp_path / "made" / f"{split}.parquet") for split in about["rows"]])
    assert rows["label"].unique().tolist() == [np.log1p(1000.0)]
    assert len(rows) == len(PLACES) - 1
    about = make_dataset(tmp_path / "tiled", **given)
    assert set(about["rows"]) == {"train", "validation", "test"}


def test_regions_on_contigs_that_the_track_lacks_are_left_out(genome, tmp_path):
    track = pyBigWig.open(str(tmp_path / "t.bw"), "w")
    track.addHeader([("chr1", LENGTH), ("chr6", LENGTH)])
    track.addEntries(["chr1"], [0], ends=[LENGTH], values=[5.0])
    track.close()
    regions = bed(tmp_path / "r.bed", "UCSC")
    blocks = tmp_path / "blocks.bed"
    blocks.write_text("1\t0\t30000\ttrain\n1\t30000\t60000\tvalidation\n6\t0\t60000\ttest\n")
    about = make_dataset(
        tmp_path / "made", genome=genome, signal=tmp_path / "t.bw", regions=regions, window=200, splits=blocks
    )
    assert about["left_out"] == {"are on contigs that the track does not have": 15}
    track = pyBigWig.open(str(tmp_path / "other.bw"), "w")
    track.addHeader([("scaffold_1", LENGTH)])
    track.addEntries(["scaffold_1"], [0], ends=[LENGTH], values=[5.0])
    track.close()
    with pytest.raises(InputError, match=r"other\.bw: has none of the contigs chr1, chr20, chr6: it has scaffold_1"):
        make_dataset(tmp_path / "not", genome=genome, signal=tmp_path / "other.bw", regions=regions, window=200)


@pytest.mark.parametrize("splits", ["blocks", "random"])
def test_negatives_are_in_the_split_of_their_peaks(genome, tmp_path, splits):
    """Blocks within contigs, of very unequal numbers of peaks; and random splits."""
    peaks = tmp_path / "p.narrowPeak"
    places = [(number, start) for number, start in PLACES if number == 1 or start < 15_000]
    bed(peaks, "Ensembl", "\tp\t0\t.\t1\t2\t3\t50", places)
    blocks = tmp_path / "blocks.bed"
    parts = ((0, 30_000, "train"), (30_000, 45_000, "validation"), (45_000, 60_000, "test"))
    lines = [f"chr{n}\t{start}\t{end}\t{name}\n" for n in (1, 6, 20) for start, end, name in parts]
    blocks.write_text("".join(lines))
    chosen = blocks if splits == "blocks" else "random"
    about = make_dataset(tmp_path / "made", genome=genome, peaks=peaks, window=100, splits=chosen)
    missing = about["left_out"].get("negatives: no free candidate with the peak's GC", 0)
    lacking = [counts["positive"] - counts["negative"] for counts in about["rows"].values()]
    assert min(lacking) >= 0
    assert sum(lacking) == missing <= 3
    written = json.loads((tmp_path / "made" / "dataset.json").read_text())
    assert written["rows"] == about["rows"]


def test_shuffles_that_are_their_sequences_are_left_out(tmp_path):
    fasta = tmp_path / "p.fa"
    sequences = ["A" * 60 if number % 2 else "".join(RNG.choice(list("ACGT"), 60)) for number in range(20)]
    fasta.write_text("".join(f">s{number}\n{own}\n" for number, own in enumerate(sequences)))
    about = make_dataset(tmp_path / "made", positives=fasta, splits="random")
    assert list(about["left_out"].values()) == [10]
    assert sum(own["negative"] for own in about["rows"].values()) == 10
    fasta.write_text(">a\nAAAA\n>b\nNNNN\n>c\nA\n")
    with pytest.raises(InputError, match=r"p\.fa: none of its 3 sequences has a dinucleotide shuffle"):
        make_dataset(tmp_path / "none", positives=fasta, splits="random")


def test_sequences_of_several_splits_and_labels_are_counted(tmp_path, caplog):
    sequence = "".join(RNG.choice(list("ACGT"), 100))
    turned = sequence[::-1].translate(str.maketrans("ACGT", "TGCA"))
    other = "".join(RNG.choice(list("ACGT"), 100))
    contigs = {"chr1": sequence, "chr6": turned, "chr20": sequence + other}
    fasta, regions = tmp_path / "g.fa", tmp_path / "r.bed"
    fasta.write_text("".join(f">{name}\n{bases}\n" for name, bases in contigs.items()))
    regions.write_text("chr1\t0\t100\ta\nchr6\t0\t100\ta\nchr20\t0\t100\tb\nchr20\t100\t200\tb\n")
    about = make_dataset(tmp_path / "made", genome=fasta, regions=regions, window=100)
    assert [*about["sequences_again"].values()] == [1, 1, 3]
    assert "1 rows of test have a sequence that is in train" in caplog.text
    assert "sequences_again" in json.loads((tmp_path / "made" / "dataset.json").read_text())


@pytest.mark.parametrize("text", ["1_000", "1e39", "1,5", "nan", "\u0661"])
def test_numbers_to_predict(genome, tmp_path, text):
    with pytest.raises(InputError, match=r"r\.bed:1: .* is not a number to predict"):
        make_dataset(
            tmp_path / "made", genome=genome, regions=bed(tmp_path / "r.bed", "UCSC", f"\t{text}"), regression=True
        )


@pytest.mark.parametrize(("strand", "said"), [("-", True), ("+", False), (".", False)])
def test_the_strand_column_is_spoken_of(genome, tmp_path, caplog, strand, said):
    places = [(number, start, "ab"[start // 4000 % 2]) for number, start in PLACES]
    lines = (f"chr{number}\t{start}\t{start + 100}\t{label}\t0\t{strand}\n" for number, start, label in places)
    (tmp_path / "r.bed").write_text("".join(lines))
    make_dataset(tmp_path / "made", genome=genome, regions=tmp_path / "r.bed")
    assert ("on strand - (column 6), which is not looked at" in caplog.text) == said


def test_classes_that_may_be_one_or_none_are_named(genome, tmp_path, caplog):
    names = ("yes", "Yes", '"yes"', "NA", "no")
    lines = (f"chr{number}\t{start}\t{start + 9}\t{names[at % 5]}\n" for at, (number, start) in enumerate(PLACES))
    (tmp_path / "r.bed").write_text("".join(lines))
    about = make_dataset(tmp_path / "made", genome=genome, regions=tmp_path / "r.bed")
    assert about["classes"] == sorted(names)
    assert """classes '"yes"' and 'Yes' and 'yes' are written alike; are they one?""" in caplog.text
    assert "is class 'NA' a missing label? It is taken as a class" in caplog.text


def test_rows_of_n_are_left_out(tmp_path):
    fasta, regions = tmp_path / "g.fa", tmp_path / "r.bed"
    bases = "N" * 200 + "".join(RNG.choice(list("ACGT"), 400))
    fasta.write_text("".join(f">chr{number}\n{bases}\n" for number in (1, 6, 20)))
    lines = (
        f"chr{n}\t{start}\t{start + 100}\t{'ab'[start > 300]}\n" for n in (1, 6, 20) for start in (50, 150, 300, 400)
    )
    regions.write_text("".join(lines))
    about = make_dataset(tmp_path / "made", genome=fasta, regions=regions, window=100)
    assert about["left_out"] == {"have no base but N": 3}
    assert about["rows"]["train"] == {"a": 2, "b": 1}
