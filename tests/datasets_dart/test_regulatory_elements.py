"""Task 1 against the original's own output, and what it makes of bad input."""

import csv
import gzip
import shutil
from pathlib import Path

import numpy as np
import pysam
import pytest
from datasets import IterableDataset, disable_progress_bars
from datasets.exceptions import DatasetGenerationError

from datasets_dart import load_dart
from datasets_dart.regulatory_elements import Elements, RegulatoryElements, pairs, strand_draws
from datasets_dart.samples import cpg_islands_chrx
from datasets_dart.shuffling import item_seed, shuffle_known

FIXTURES = Path(__file__).parents[1] / "fixtures"
GENOME = FIXTURES / "genome" / "genome.fa"
ELEMENTS = FIXTURES / "task1" / "ccre.bed"
PROCESSED = FIXTURES / "task1" / "processed.tsv"
SPLIT_FILES = {"train": "pairs_train.tsv", "validation": "pairs_val.tsv", "test": "pairs_test.tsv"}
COLUMNS = ["id", "chrom", "start", "end", "element_start", "element_end", "reverse_complement", "sequence", "control"]

disable_progress_bars()


@pytest.fixture
def load(tmp_path, monkeypatch):
    """`load_dart` of task 1 with the golden inputs, a cache of its own, and shards of 16 rows."""
    monkeypatch.setattr("datasets_dart.base.CHUNK_ROWS", 16)

    def load(**options):
        return load_dart(
            "regulatory_elements",
            **{"genome": GENOME, "elements": ELEMENTS, "cache_dir": tmp_path / "cache", **options},
        )

    return load


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def golden(split):
    processed = table(PROCESSED)
    return [
        {
            "id": int(pair["idx"]),
            "chrom": pair["chr"],
            "start": int(processed[int(pair["idx"])]["input_start"]),
            "end": int(processed[int(pair["idx"])]["input_end"]),
            "element_start": int(pair["ccre_start"]),
            "element_end": int(pair["ccre_end"]),
            "reverse_complement": pair["reverse_complement"] == "True",
            "sequence": pair["seq"],
            "control": pair["ctrl"],
        }
        for pair in table(FIXTURES / "task1" / SPLIT_FILES[split])
    ]


def write_bed(path, *rows):
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    return path


def test_paper_protocol_equals_the_original(load):
    data = load(protocol="paper")
    assert {split: len(data[split]) for split in data} == {"train": 52, "validation": 40, "test": 122}
    report, duplicates = data["test"].info.description.split("Rows: ")[1].split(".\nDuplicates: ")
    assert dict(reversed(part.split(" ", 1)) for part in report.split("; ")) == {
        "in train": "52",
        "in validation": "40",
        "in test": "122",
        "in no split, left out": "2",
    }
    assert duplicates == (
        "train: 52 rows, repeated within: 2 the same, 12 nearly the same, 16 overlapping in place. validation: 40 "
        "rows, repeated within: 11 nearly the same, 18 overlapping in place; as in train: none. test: 122 rows, "
        "repeated within: 30 nearly the same, 47 overlapping in place; as in train: 1 the same; as in validation: 1 "
        "nearly the same."
    )
    for split in SPLIT_FILES:
        assert data[split].column_names == COLUMNS
        assert list(data[split]) == golden(split)


def test_the_originals_own_table_is_accepted_as_elements(load):
    assert list(load(protocol="paper", elements=PROCESSED, split="test")) == golden("test")


def test_the_originals_own_hdf5_is_accepted(load, tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "data.h5"

    def one_hot(rows, name):
        return np.eye(4, dtype=np.uint8)[np.array([["ACGT".index(base) for base in row[name]] for row in rows])]

    with h5py.File(path, "w") as file:
        for split, group in {"train": "train", "validation": "val", "test": "test"}.items():
            rows = golden(split)
            file[f"{group}/seqs"], file[f"{group}/ctrls"] = one_hot(rows, "sequence"), one_hot(rows, "control")
            file[f"{group}/idxs"] = np.array([row["id"] for row in rows], dtype=np.uint32)
    data = load(genome=None, elements=None, processed=path, protocol="paper")
    for split in SPLIT_FILES:
        expected = [{**dict.fromkeys(COLUMNS), **row} for row in golden(split)]
        for row in expected:
            row |= dict.fromkeys(COLUMNS[1:7])
        assert list(data[split]) == expected
    stream = load(genome=None, elements=None, processed=path, split="test", streaming=True)
    assert list(stream) == list(data["test"])
    with h5py.File(path, "a") as file:
        del file["val/ctrls"]
    with pytest.raises(ValueError, match=r"data\.h5: /val has no ctrls of the shape of its seqs"):
        load(genome=None, elements=None, processed=path)
    with pytest.raises(ValueError, match="takes exactly one of the inputs elements and processed"):
        load(processed=path)


def test_strands_equal_the_originals_draws_and_leave_numpys_generator_alone():
    before = np.random.get_state()[1].copy()
    assert strand_draws(216).tolist() == [row["reverse_complement"] == "True" for row in table(PROCESSED)]
    assert (strand_draws(2_348_854)[:12] == [letter == "T" for letter in "TFFTFFFFFFFT"]).all()
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_fixed_protocol_keeps_n_where_it_is(load):
    fixed, paper = load(split="test"), load(protocol="paper", split="test")
    assert fixed["id"] == paper["id"]
    assert fixed["reverse_complement"] == paper["reverse_complement"]
    with_n = [row for row in fixed if "N" in row["sequence"]]
    assert len(with_n) == 26
    for row, original in zip(fixed, paper, strict=True):
        sequence = row["sequence"]
        assert sequence.replace("N", "A") == original["sequence"]
        assert [base == "N" for base in row["control"]] == [base == "N" for base in sequence]
        assert sorted(row["control"]) == sorted(sequence)
        if "N" not in sequence:
            assert row["control"] == original["control"]
    assert any(row["control"].replace("N", "A") != paper[i]["control"] for i, row in enumerate(fixed))


@pytest.mark.parametrize("protocol", ["fixed", "paper"])
def test_streaming_and_processes_give_the_same_rows(load, tmp_path, protocol):
    one = load(protocol=protocol)
    two = load(protocol=protocol, cache_dir=tmp_path / "two", num_proc=2)
    stream = load(protocol=protocol, streaming=True)
    for split in SPLIT_FILES:
        assert list(two[split]) == list(one[split])
        assert isinstance(stream[split], IterableDataset)
        assert stream[split].num_shards > 2
        assert list(stream[split]) == list(one[split])
        halves = [stream[split].shard(num_shards=2, index=index) for index in range(2)]
        assert sorted((row for half in halves for row in half), key=lambda row: row["id"]) == list(one[split])


def test_a_stream_goes_on_where_it_stopped(load):
    stream = load(streaming=True, split="test")
    rows = iter(stream)
    first = [next(rows) for _ in range(50)]
    state = stream.state_dict()
    again = load(streaming=True, split="test")
    again.load_state_dict(state)
    assert first + list(again) == list(load(split="test"))


def test_compression_and_case_make_no_difference(load, tmp_path):
    expected = list(load(split="test"))
    bgzip = tmp_path / "genome.fa.gz"
    pysam.tabix_compress(str(GENOME), str(bgzip))
    plain_gzip = tmp_path / "gzip.fa.gz"
    plain_gzip.write_bytes(gzip.compress(GENOME.read_bytes()))
    lower = tmp_path / "lower.fa"
    lower.write_text("".join(line if line[0] == ">" else line.lower() for line in GENOME.open()))
    elements = tmp_path / "elements.bed.gz"
    elements.write_bytes(gzip.compress(b"track name=x\n# comment\n\n" + ELEMENTS.read_bytes()))
    for genome in (bgzip, plain_gzip, lower):
        assert list(load(genome=genome, elements=elements, split="test")) == expected
    assert {path.name for path in tmp_path.glob("*.fa*")} >= {"genome.fa.gz.fai", "genome.fa.gz.gzi", "lower.fa.fai"}


def test_cache_is_named_by_contents_and_options(load, tmp_path):
    def folder(**options):
        data = load(split="test", **options)
        return Path(data.cache_files[0]["filename"]).parent

    first = folder()
    moved = shutil.copy(ELEMENTS, tmp_path / "moved.bed")
    assert folder(elements=moved) == first
    whole = write_bed(tmp_path / "splits.bed", ("chr5", 0, 10**6, "test"))
    other = Path(moved)
    other.write_text(other.read_text().replace("dELS", "dels"))
    folders = [first, folder(protocol="paper"), folder(window=400), folder(splits=whole), folder(elements=other)]
    assert len(set(folders)) == 5
    assert first.name == str(RegulatoryElements.VERSION)


def test_long_elements_are_cut_to_their_centre_in_fixed_and_refused_in_paper(load, tmp_path):
    elements = write_bed(tmp_path / "long.bed", ("chr5", 5000, 5150), ("chr5", 1000, 1501), ("chr5", 2000, 2351))
    short, long, odd = load(elements=elements, split="test")
    assert (short["start"], short["end"]) == (4900, 5250)
    assert (long["start"], long["end"], long["element_start"], long["element_end"]) == (1076, 1426, 1000, 1501)
    assert (odd["start"], odd["end"]) == (2001, 2351)
    for row in (long, odd):  # nothing but the element in the window: all of it is shuffled
        assert sorted(row["control"]) == sorted(row["sequence"]) != list(row["sequence"])
    with pytest.raises(ValueError, match=r"long\.bed:2: chr5:1000-1501 is longer than the window, 350 bp"):
        load(elements=elements, protocol="paper", split="test")


def test_windows_off_the_contig_are_padded_in_fixed(load, tmp_path):
    elements = write_bed(tmp_path / "edges.bed", ("chr5", 10, 200), ("chr5", 40, 230))
    first, second = load(elements=elements, split="test")
    assert (first["start"], first["reverse_complement"]) == (-70, True)
    assert first["sequence"].endswith("N" * 70)
    assert "N" not in first["sequence"][:-70]
    assert second["start"] == -40
    assert second["sequence"].startswith("N" * 40)
    with pytest.raises(ValueError, match=r"edges\.bed:1: chr5:10-200 has a window that starts before its contig"):
        load(elements=elements, protocol="paper")


def test_other_windows_show_the_same_element(load, tmp_path):
    published, wide = load(split="train"), load(split="train", window=1024)
    assert set(map(len, wide["sequence"])) == {1024}
    for small, large in zip(published, wide, strict=True):
        assert large["start"] == small["start"] - 337
        assert large["sequence"][337:-337] == small["sequence"]
        assert large["control"][337:-337] == small["control"]
    with pytest.raises(ValueError, match="window=1024"):
        load(protocol="paper", window=1024)


def test_blocks_of_a_bed_as_splits(load, tmp_path):
    elements = write_bed(
        tmp_path / "elements.bed",
        ("chr5", 1000, 1200),  # in the train block
        ("chr5", 1900, 2100),  # across the edge of two blocks: in none
        ("chr5", 2000, 2200),  # begins with the test block
        ("chr5", 3900, 4100),  # across two touching blocks of one split
        ("chrM", 1000, 1200),  # a contig in no block
        ("chr1", 1000, 1200),
    )
    blocks = write_bed(
        tmp_path / "blocks.bed",
        *[("chr5", 4000, 5000, "test"), ("chr5", 0, 2000, "train"), ("chr5", 2000, 4000, "test")],
        ("chr1", 0, 5000, "validation"),
    )
    data = load(elements=elements, splits=blocks)
    assert {split: data[split]["id"] for split in data} == {"train": [0], "validation": [5], "test": [2, 3]}
    with pytest.raises(ValueError, match="train"):
        load(elements=elements, splits=write_bed(tmp_path / "test.bed", ("chr5", 0, 5000, "test")), split="train")


def test_bundled_sample(tmp_path):
    data = load_dart("regulatory_elements", **cpg_islands_chrx(), cache_dir=tmp_path)
    assert list(data) == ["test"]
    rows = list(data["test"])
    assert len(rows) == 451
    for row in rows:
        assert (row["chrom"], row["start"], row["end"]) == ("chrX", row["element_start"], row["element_end"])
        assert len(row["sequence"]) == 350
        assert set(row["sequence"]) == set("ACGT")
        assert sorted(row["control"]) == sorted(row["sequence"]) != list(row["sequence"])
    wide = load_dart("regulatory_elements", **cpg_islands_chrx(), cache_dir=tmp_path, split="test", window=2114)
    assert sum("N" in sequence for sequence in wide["sequence"]) == 2  # beside gaps of hg19
    assert sum(path.stat().st_size for path in Path(cpg_islands_chrx()["genome"]).parent.glob("*.*")) < 1_000_000


def test_pairs_is_a_function_of_rows():
    class Repeats:
        def windows(self, chrom, starts, length):
            return np.frombuffer(b"NNNNNNRACGTTGCAAGG"[: length * len(starts)], dtype=np.uint8).reshape(-1, length)

    one = np.array([0])
    elements = Elements(one, np.array(["c"], dtype=object), one + 1, one + 15, one, np.array([False]))
    sequences, controls = pairs(elements, Repeats(), "fixed", 18)
    assert sequences.tobytes() == b"NNNNNNNACGTTGCAAGG"
    codes = np.array([4] * 6 + [0, 1, 2, 3, 3, 2, 1, 0], dtype=np.uint8)
    shuffled = shuffle_known(codes, np.random.default_rng(item_seed("c", 1, 15)))
    assert controls.tobytes() == b"N" + bytes(b"ACGTN"[code] for code in shuffled) + b"AGG"


BAD_ELEMENTS = {
    "contig": ("chr5\t100\t300\nchr22\t7\t300\n", r"bad\.bed:2: chr22:7-300 is on a contig that .*genome\.fa does not"),
    "past the end": ("#\nchr5\t99900\t10000000\n", r"bad\.bed:2: chr5:99900-10000000 ends beyond its contig"),
    "columns": ("chr5\t100\t300\nchr5\t100\n", r"bad\.bed:2: 2 columns where 3 are needed: 'chr5\\t100'"),
    "text": ("chr5\t1e3\t2000\n", r"bad\.bed:1: '1e3' is not a coordinate"),
    "negative": ("chr5\t-5\t300\n", r"bad\.bed:1: '-5' is not a coordinate"),
    "reversed": ("chr5\t300\t100\n", r"bad\.bed:1: the end 100 is before the start 300"),
    "no length": ("chr5\t300\t300\n", r"bad\.bed: has no rows"),
    "empty": ("", r"bad\.bed: the file is empty"),
    "comments only": ("# nothing\n", r"bad\.bed: has no rows"),
    "in no split": ("chrM\t100\t300\n", r"bad\.bed: none of its 1 rows lies in a split"),
    "not text": ("chr\udcff5\t1\t2\n", r"bad\.bed:1: .* is not UTF-8"),
}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("text", BAD_ELEMENTS)
def test_bad_elements(load, tmp_path, text, streaming):
    content, message = BAD_ELEMENTS[text]
    bad = tmp_path / "bad.bed"
    bad.write_text(content, errors="surrogateescape")
    with pytest.raises(ValueError, match=message):
        load(elements=bad, streaming=streaming)
    assert not list((tmp_path / "cache").rglob("*.arrow"))
    assert not list((tmp_path / "cache").rglob("*.incomplete"))


def test_bad_processed_table(load, tmp_path):
    header, first, *_ = PROCESSED.read_text().splitlines(keepends=True)
    bad = tmp_path / "bad.tsv"
    bad.write_text(header + first.replace("91357", "91358"))
    with pytest.raises(ValueError, match=r"bad\.tsv:2: input_start 91007, input_end 91358: not a window of 350 bp"):
        load(elements=bad)
    bad.write_text(header + first.replace("True", "1"))
    with pytest.raises(ValueError, match=r"bad\.tsv:2: reverse_complement is '1'"):
        load(elements=bad)


def test_bad_paths_and_options(load, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(elements=tmp_path / "nowhere.bed")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(genome=tmp_path / "nowhere.fa")
    with pytest.raises(ValueError, match="is a folder"):
        load(elements=tmp_path)
    with pytest.raises(ValueError, match="is a folder"):
        load(genome=tmp_path, streaming=True)
    with pytest.raises(ValueError, match="protocol='draft'"):
        load(protocol="draft")
    with pytest.raises(ValueError, match="val"):
        load(split="val")
    with pytest.raises(ValueError, match="lacks inputs: elements"):
        load(elements=None)
    with pytest.raises(ValueError, match="no input peaks"):
        load(peaks=ELEMENTS)
    with pytest.raises(ValueError, match="'task1' is unknown; there are "):
        load_dart("task1", genome=GENOME, elements=ELEMENTS)


def test_bad_split_blocks(load, tmp_path):
    blocks = tmp_path / "blocks.bed"
    with pytest.raises(ValueError, match=r"blocks\.bed:1: split 'dev' is not one of train, validation, test"):
        load(splits=write_bed(blocks, ("chr5", 0, 100, "dev")))
    with pytest.raises(ValueError, match=r"blocks\.bed:2: chr5:50-200 \(test\) overlaps chr5:0-100 \(train\)"):
        load(splits=write_bed(blocks, ("chr5", 0, 100, "train"), ("chr5", 50, 200, "test")))
    with pytest.raises(ValueError, match=r"blocks\.bed:1: 3 columns where 4 are needed"):
        load(splits=write_bed(blocks, ("chr5", 0, 100)))


def test_a_failure_while_rows_are_made_names_its_cause_and_leaves_nothing(load, tmp_path, monkeypatch):
    def fail(*arguments):
        raise ValueError("genome.fa: cannot be read")

    monkeypatch.setattr("datasets_dart.regulatory_elements.pairs", fail)
    with pytest.raises(ValueError, match=r"^genome\.fa: cannot be read$"):
        load()
    monkeypatch.setattr("datasets_dart.regulatory_elements.pairs", lambda *arguments: None)
    with pytest.raises(DatasetGenerationError):
        load()
    assert not list((tmp_path / "cache").rglob("*.arrow"))


def test_several_shuffles_of_each_element(load):
    one, three = load(split="test"), load(split="test", shuffles=3)
    assert three.column_names == [*COLUMNS, "control_2", "control_3"]
    assert three.select_columns(COLUMNS)[:] == one[:]
    for row in three:
        element = slice(row["element_start"] - row["start"], row["element_end"] - row["start"])
        if row["reverse_complement"]:
            element = slice(350 - element.stop, 350 - element.start)
        kept = {name: row[name][: element.start] + row[name][element.stop :] for name in ("control", "control_2")}
        assert kept["control"] == kept["control_2"]
        steps = [
            [row[name][element][place : place + 2] for place in range(element.stop - element.start - 1)]
            for name in ("control", "control_2", "control_3")
        ]
        assert sorted(steps[0]) == sorted(steps[1]) == sorted(steps[2])
    assert len({(row["control"], row["control_2"], row["control_3"]) for row in three}) == len(three)
    assert sum(row["control_2"] != row["control_3"] for row in three) > 0.9 * len(three)
    with pytest.raises(ValueError, match=r'shuffles=2: protocol="paper" and processed= have one control of an element'):
        load(shuffles=2, protocol="paper")
    with pytest.raises(ValueError, match="shuffles=0 must be a whole number of at least 1"):
        load(shuffles=0)


def test_one_shuffle_leaves_the_caches_name(tmp_path):
    """Caches that were made before there were several keep their names."""
    made = RegulatoryElements(cache_dir=str(tmp_path), genome=str(GENOME), elements=str(ELEMENTS))
    assert "shuffles" not in made.config.options()
    more = RegulatoryElements(cache_dir=str(tmp_path), genome=str(GENOME), elements=str(ELEMENTS), shuffles=2)
    assert more.config.options()["shuffles"] == 2
