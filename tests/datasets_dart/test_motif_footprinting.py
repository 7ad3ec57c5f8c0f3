"""Task 2 against the original's own output, and what it makes of bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
from datasets import IterableDataset, disable_progress_bars
from hypothesis import given
from hypothesis import strategies as st

from datasets_dart import load_dart
from datasets_dart.alphabet import reverse_complement, reverse_complement_letters
from datasets_dart.formats.meme import read_meme
from datasets_dart.motif_footprinting import PUBLISHED_ROWS, background_rows, insert, parse_key, shuffles

FIXTURES = Path(__file__).parents[1] / "fixtures"
TASK2 = FIXTURES / "task2"
MOTIFS, BACKGROUNDS, DATASET = TASK2 / "motifs.meme", TASK2 / "backgrounds.txt", TASK2 / "dataset.txt"
GENOME, ELEMENTS = FIXTURES / "genome" / "genome.fa", FIXTURES / "task1" / "ccre.bed"
PARSED = json.loads((TASK2 / "parsed_motifs_original.json").read_text())
KINDS = {"true": "motif", "shuffled": "shuffled"}

disable_progress_bars()


@pytest.fixture
def load(tmp_path):
    def load(**options):
        options = {"motifs": MOTIFS, "backgrounds": BACKGROUNDS, "cache_dir": tmp_path / "cache", **options}
        return load_dart("motif_footprinting", **options)

    return load


def golden():
    rows = []
    for line, text in enumerate(DATASET.read_text().splitlines()):
        key, sequence = text.split("\t")
        background, *name = key.split("_")
        raw = name[0] == "raw"
        rows.append(
            {
                "id": line,
                "background": int(background),
                "motif": None if raw else "_".join(name[:-2]),
                "strand": name[-1] if raw else name[-2],
                "kind": "raw" if raw else KINDS[name[-1]],
                "sequence": sequence,
                "element": None,
            }
        )
    return rows


def test_paper_protocol_equals_the_original(load):
    data = load(protocol="paper")
    assert list(data) == ["test"]
    assert list(data["test"]) == golden()


def test_fixed_protocol_differs_in_the_shuffles_only(load):
    fixed = list(load(split="test"))
    for row, original in zip(fixed, golden(), strict=True):
        if row["kind"] != "shuffled":
            assert row == original
        assert {**row, "sequence": sorted(row["sequence"])} == {
            **original,
            "sequence": sorted(original["sequence"]),
        }
    for motif in read_meme(MOTIFS):
        consensus = motif.consensus
        other = reverse_complement_letters(np.frombuffer(consensus.encode(), dtype=np.uint8)).tobytes().decode()
        rows = [row for row in fixed if row["motif"] == motif.name and row["kind"] == "shuffled"]
        start = [len(row["sequence"]) // 2 - len(consensus) // 2 for row in rows if row["strand"] == "forward"]
        forward = [row["sequence"] for row in rows if row["strand"] == "forward"]
        seen = {sequence[at : at + len(consensus)] for at, sequence in zip(start, forward, strict=True)}
        assert len(seen) > 1
        assert not seen & {consensus, other}
        for one, two in zip(rows[::2], rows[1::2], strict=True):
            assert two["sequence"] == one["sequence"].translate(str.maketrans("ACGT", "TGCA"))[::-1]


def test_a_shuffle_depends_on_its_background_and_motif_alone():
    motifs = read_meme(MOTIFS)
    assert shuffles(motifs, 5)[::-1] == shuffles(motifs[::-1], 5)
    assert shuffles(motifs[3:], 5) == shuffles(motifs, 5)[3:]
    assert shuffles(motifs, 5) != shuffles(motifs, 6)


@pytest.mark.parametrize("protocol", ["fixed", "paper"])
def test_streaming_and_processes_give_the_same_rows(load, tmp_path, protocol):
    one = list(load(protocol=protocol, split="test"))
    assert list(load(protocol=protocol, split="test", num_proc=2, cache_dir=tmp_path / "two")) == one
    stream = load(protocol=protocol, split="test", streaming=True)
    assert isinstance(stream, IterableDataset)
    assert stream.num_shards == 18
    assert list(stream.shard(num_shards=2, index=0)) + list(stream.shard(num_shards=2, index=1)) == one
    inputs = f"Made of: motifs.meme, backgrounds.txt. Protocol: {protocol}. 9 motifs; 18 backgrounds."
    assert stream.info.description.endswith(inputs)


def test_the_originals_own_table_is_accepted(load, monkeypatch):
    monkeypatch.setattr("datasets_dart.motif_footprinting.CHUNK_ROWS", 100)
    data = load(motifs=None, backgrounds=None, processed=DATASET, split="test")
    assert list(data) == golden()


def test_the_originals_own_hdf5_is_accepted(load, tmp_path):
    h5py = pytest.importorskip("h5py")
    table = golden()
    names = sorted({row["motif"] for row in table if row["motif"]})
    letters = {(row["kind"], row["motif"], row["background"], row["strand"]): row["sequence"] for row in table}

    def one_hot(kind, motif):
        rows = [letters[kind, motif, number, strand] for number in range(18) for strand in ("forward", "reverse")]
        codes = np.array([["ACGT".index(base) for base in row] for row in rows])
        return np.eye(4, dtype=np.uint8)[codes]

    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file["raw"] = one_hot("raw", None)[None]
        file["positive"] = np.stack([one_hot("motif", name) for name in names])
        file["shuffled"] = np.stack([one_hot("shuffled", name) for name in names])
    rows = list(load(backgrounds=None, processed=path, split="test"))
    assert [row["id"] for row in rows] == list(range(18 * (2 + 4 * 9)))
    assert {(row["kind"], row["motif"], row["background"], row["strand"]): row["sequence"] for row in rows} == letters
    with pytest.raises(ValueError, match=r"data\.h5: needs motifs="):
        load(motifs=None, backgrounds=None, processed=path)
    with h5py.File(path, "a") as file:
        del file["shuffled"]
    with pytest.raises(ValueError, match=r"data\.h5: /shuffled is missing, or its shape is not \(9, 36, 350, 4\)"):
        load(backgrounds=None, processed=path)


def test_backgrounds_of_elements_are_controls_of_task_1(load, tmp_path):
    assert len(PUBLISHED_ROWS) == 100
    assert (PUBLISHED_ROWS[:3], PUBLISHED_ROWS[-2:]) == ([567, 1018423, 103991], [692791, 711223])
    assert background_rows(2_348_854) == PUBLISHED_ROWS
    assert background_rows(3) == [0, 1, 2]
    assert background_rows(250)[:3] == [0, 2, 5]
    elements = tmp_path / "some.bed"
    elements.write_text("".join(line for line in ELEMENTS.open() if not line.startswith("chrM")))
    files = {"genome": GENOME, "elements": elements, "cache_dir": tmp_path / "cache"}
    task1 = {row["id"]: row for split in load_dart("regulatory_elements", **files).values() for row in split}
    data = load(backgrounds=None, genome=GENOME, elements=elements, split="test")
    raw = [row for row in data if row["kind"] == "raw" and row["strand"] == "forward"]
    assert [row["element"] for row in raw] == background_rows(len(task1))
    assert [row["sequence"] for row in raw] == [task1[row["element"]]["control"] for row in raw]
    blocks = tmp_path / "blocks.bed"
    blocks.write_text("chr5\t0\t1000000\ttrain\nchr10\t0\t1000000\ttest\n")
    split = load(backgrounds=None, genome=GENOME, elements=elements, splits=blocks)
    for name, chrom in (("train", "chr5"), ("test", "chr10")):
        kept = {row["element"] for row in split[name]}
        assert kept == {row["element"] for row in raw if task1[row["element"]]["chrom"] == chrom}
    with pytest.raises(
        ValueError, match=r"some\.bed: has \d+ elements; the published backgrounds are rows of a file of 2348854"
    ):
        load(backgrounds=None, genome=GENOME, elements=elements, protocol="paper")


@pytest.mark.parametrize("name", PARSED)
def test_motifs_as_read_by_the_original_and_as_they_are(name):
    paper = {motif.name: motif.consensus for motif in read_meme(TASK2 / name, "paper")}
    assert list(paper.items()) == list(PARSED[name].items())
    every = {motif.name: motif.consensus for motif in read_meme(TASK2 / name)}
    assert list(every.items()) == list(PARSED["motifs.meme"].items())


def test_motifs_that_the_original_loses_are_counted(load):
    lost = TASK2 / "meme_variants" / "no_url_no_blank_between.meme"
    assert "5 motifs; 18 backgrounds; 4 motifs are lost" in load(motifs=lost, protocol="paper")["test"].info.description
    assert "9 motifs; 18 backgrounds." in load(motifs=lost)["test"].info.description


def test_a_file_of_which_the_original_reads_no_motif_is_an_error_in_its_protocol(load, tmp_path):
    last = tmp_path / "last.meme"
    last.write_text(HEADER + "MOTIF a\n" + MATRIX)
    with pytest.raises(ValueError, match=r"last\.meme: the original's way of reading loses all of its motifs"):
        load(motifs=last, protocol="paper")
    assert len(load(motifs=last)["test"]) == 6 * 18


def test_rows_of_many_backgrounds_lie_in_few_tables(load, tmp_path):
    one, many = tmp_path / "one.meme", tmp_path / "many.txt"
    one.write_text(HEADER + "MOTIF a\n" + MATRIX)
    many.write_text("".join(f"ACGT{'A' * (number % 30)}ACGT\n" for number in range(700)))
    rows = load(motifs=one, backgrounds=many)["test"]
    assert rows["id"][:] == [*range(6 * 700)]
    assert len(rows.data.column("id").chunks) < 12  # of 1,000 rows or what is left of a table


@given(
    st.integers(0, 999), st.from_regex(r"[A-Za-z0-9._-]{1,20}", fullmatch=True), st.sampled_from(["forward", "reverse"])
)
def test_keys_of_the_originals_table(background, motif, strand):
    for there, here in KINDS.items():
        key = f"{background}_{motif}_{strand}_{there}"
        assert parse_key(DATASET, 1, key) == (background, motif, strand, here)
    assert parse_key(DATASET, 1, f"{background}_raw_{strand}") == (background, None, strand, "raw")


def test_insertion():
    inserted = insert(np.frombuffer(b"AAAAAAAAA", dtype=np.uint8), ["CG", "CTG", "CCCCCCCCC"])
    assert [row.tobytes() for row in inserted] == [b"AAACGAAAA", b"AAACTGAAA", b"CCCCCCCCC"]


HEADER = "MEME version 4\n\nALPHABET= ACGT\n\n"
MATRIX = "letter-probability matrix: alength= 4 w= 2 nsites= 9\n0.5 0.5 0 0\n0 0 0 1\n"
BAD_MEME = {
    "no MEME": ("MOTIF a\n" + MATRIX, r"bad\.meme:1: not a MEME file"),
    "protein": (
        "MEME version 4\nALPHABET= ACDEFGHIKLMNPQRSTVWY\n",
        r"bad\.meme:2: 'ALPHABET= ACD.*': the alphabet is not",
    ),
    "none": (HEADER, r"bad\.meme: has no motifs"),
    "no name": (HEADER + "MOTIF\n" + MATRIX, r"bad\.meme:5: a motif without a name"),
    "no matrix": (HEADER + "MOTIF a\nMOTIF b\n" + MATRIX, r"bad\.meme:5: motif 'a' has no letter-probability matrix"),
    "twice": (HEADER + ("MOTIF a\n" + MATRIX) * 2, r"bad\.meme:9: motif 'a' appears a second time, first in line 5"),
    "short": (
        HEADER + "MOTIF a\n" + MATRIX[: MATRIX.rindex("0 0 0")],
        r"bad\.meme:7: motif 'a' has 1 matrix rows, where w= 2",
    ),
    "sum": (
        HEADER + "MOTIF a\n" + MATRIX.replace("0.5 0.5", "0.5 0.1"),
        r"bad\.meme:7: '0\.5 0\.1 0 0' is not four prob",
    ),
    "columns": (
        HEADER + "MOTIF a\n" + MATRIX.replace("0.5 0.5 0 0", "0.5 0.5 0"),
        r"bad\.meme:7: '0\.5 0\.5 0' is not four",
    ),
    "nan": (HEADER + "MOTIF a\n" + MATRIX.replace("0 0 0 1", "0 0 nan 1"), r"bad\.meme:8: '0 0 nan 1' is not four"),
    "rna": (HEADER + "MOTIF a\n" + MATRIX.replace("alength= 4", "alength= 20"), r"bad\.meme:6: motif 'a': alength= 20"),
    "one base": (
        HEADER + "MOTIF a\n" + MATRIX.replace("0 0 0 1", "1 0 0 0"),
        r"bad\.meme:5: motif 'a': AA cannot be shuf",
    ),
    "empty": ("", r"bad\.meme: the file is empty"),
}


@pytest.mark.parametrize("case", BAD_MEME)
def test_bad_motifs(load, tmp_path, case):
    text, message = BAD_MEME[case]
    bad = tmp_path / "bad.meme"
    bad.write_text(text)
    with pytest.raises(ValueError, match=message):
        load(motifs=bad)
    assert not list((tmp_path / "cache").rglob("*.arrow"))


def test_bad_backgrounds_and_tables(load, tmp_path):
    bad = tmp_path / "bad.txt"
    for text, message in (
        ("ACGT" * 9 + "\nAC!T\n", r"bad\.txt:2: '!' is none of A, C, G, T, N"),
        ("ACGT" * 9 + "\n\n", r"bad\.txt:2: an empty line"),
        ("acgt" * 9 + "\nACGT\n", r"motif 'XL25\.GOLD\.2\.SM\.B' of 25 bp does not fit into background 1 of 4 bp"),
    ):
        bad.write_text(text)
        with pytest.raises(ValueError, match=message):
            load(backgrounds=bad)
    for text, message in (
        ("0_raw_forward\tACGT\n0_raw\tACGT\n", r"bad\.txt:2: '0_raw' is not background_raw_strand"),
        ("0_a_forward_positive\tACGT\n", r"bad\.txt:1: '0_a_forward_positive' is not background_raw_strand"),
        ("0_raw_forward ACGT\n", r"bad\.txt:1: '0_raw_forward ACGT.*' is not a key, a tab and a sequence"),
    ):
        bad.write_text(text)
        with pytest.raises(ValueError, match=message):
            load(motifs=None, backgrounds=None, processed=bad)
    with pytest.raises(ValueError, match=r"splits=.*backgrounds\.txt has no coordinates"):
        load(splits=bad)
    with pytest.raises(ValueError, match="takes exactly one of the inputs backgrounds, elements and processed"):
        load(genome=GENOME, elements=ELEMENTS)
    with pytest.raises(ValueError, match="lacks inputs: motifs"):
        load(motifs=None)
    with pytest.raises(ValueError, match="protocol='draft'"):
        load(protocol="draft")


def test_folds_set_a_fifth_of_the_backgrounds_aside(load, tmp_path):
    whole, folds = load(split="test"), load(splits="folds")
    by_split = {split: sorted(set(folds[split]["background"])) for split in folds}
    assert sorted(by_split["validation"] + by_split["test"]) == list(range(18))
    assert 0 < len(by_split["validation"]) < 9
    assert list(folds["validation"]) == [row for row in whole if row["background"] in by_split["validation"]]
    assert f"{len(by_split['validation'])} of the backgrounds in validation" in folds["test"].info.description
    # Neither other backgrounds nor their order change it, and another strand goes with its sequence
    lines = (TASK2 / "backgrounds.txt").read_text().split()
    (tmp_path / "b.txt").write_text("".join(f"{reverse_complement(line)}\n" for line in lines[:6:-1]))
    turned = load(backgrounds=tmp_path / "b.txt", splits="folds")
    chosen = [17 - row for row in range(11) if row in set(turned["validation"]["background"])]
    assert sorted(chosen) == [row for row in by_split["validation"] if row > 6]
    with pytest.raises(ValueError, match='splits="folds": in protocol="paper" all rows are for testing'):
        load(splits="folds", protocol="paper")


def test_folds_are_for_tasks_without_a_validation_split():
    with pytest.raises(ValueError, match='splits="folds": this task has validation rows of its own'):
        load_dart("regulatory_elements", genome=GENOME, elements=GENOME, splits="folds")
