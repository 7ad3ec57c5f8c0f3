"""Checks of data with splits: what they read, leakage, shortcuts, and the table that seqleak reads."""

import gzip
import json
import os
import stat
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict

from datasets_dart.alphabet import reverse_complement
from evaluation_dart.tools import checks
from evaluation_dart.tools.checks import check, ends, linter_table, position_motif, properties, read_data, rows_of_task


def random_sequences(count, length, seed, letters="ACGT"):
    return ["".join(row) for row in np.random.default_rng(seed).choice(list(letters), (count, length))]


@pytest.fixture
def leaky():
    """30 test rows: 2 are in train, one as its other strand; the positive ones are longer, and begin with TATA."""
    train, test = random_sequences(60, 60, 0), random_sequences(30, 60, 1)
    test[0], test[1] = train[0], reverse_complement(train[3])
    data = {}
    for split, sequences in (("train", train), ("test", test)):
        label = [row % 2 for row in range(len(sequences))]
        data[split] = Dataset.from_dict({"sequence": sequences, "label": label})
    return DatasetDict(data)


def areas(shortcuts):
    return {(own.property, own.of): own.value for own in shortcuts}


def test_leakage_between_splits_is_counted(leaky):
    report = check(leaky, seqleak=False)
    assert report.rows == {"train": 60, "test": 30}
    found = report.duplicates["test"]["against"]["train"]
    assert found == {"same": 1, "reverse_complement": 1, "near": 0, "overlapping": None}
    assert report.duplicates["train"]["within"]["same"] == 0
    assert report.seqleak == {"called": False, "why": "it was not wanted"}
    assert json.loads(json.dumps(report.content()))["rows"] == {"train": 60, "test": 30}


def test_properties_of_a_sequence():
    found = properties(["ACGT", "acGGNN", "", "UUU"])
    assert found["length"].tolist() == [4, 6, 0, 3]
    assert found["lower case"].tolist() == [0, 2 / 6, 0, 0]
    assert found["N"].tolist() == [0, 2 / 6, 0, 0]
    assert found["GC"].tolist() == [0.5, 0.75, 0, 0]


def test_a_property_that_gives_the_label_away_is_found():
    rows = [("A" * 20 + "C" * (20 + label), label) for label in [0, 1] * 20]
    data = {"test": Dataset.from_dict({"sequence": [text for text, _ in rows], "label": [label for _, label in rows]})}
    report = check(data, seqleak=False)
    found = areas(report.shortcuts)
    assert found["length", "label 1"] == found["GC", "label 1"] == 1.0
    assert found["N", "label 1"] == found["lower case", "label 1"] == 0.5
    assert "position motif: there are no training rows to learn it on" in report.notes
    assert report.homology == {"looked_at": False, "why": "there are not both train and test"}


def test_a_motif_at_a_fixed_place_is_learned_on_train(leaky):
    def planted(rows):
        return rows.map(lambda row: {"sequence": ("TATAAA" if row["label"] else "GCGCGC") + row["sequence"][6:]})

    data = {split: planted(rows) for split, rows in leaky.items()}
    found = check(data, seqleak=False)
    assert areas(found.shortcuts)["position motif", "label 1"] == 1.0
    scores = position_motif(leaky["train"], leaky["test"], ["0", "1"])
    assert set(scores) == {"0", "1"}
    assert scores["0"] + scores["1"] == pytest.approx(np.ones(30))


def test_ends_are_one_hot_from_either_end():
    codes = ends(["ACG"]).reshape(2, checks.MOTIF_BASES, 4)
    assert codes[0, :3].argmax(axis=1).tolist() == codes[1, -3:].argmax(axis=1).tolist() == [0, 1, 2]
    assert codes.sum() == 6


def test_what_tells_splits_apart_is_found():
    data = {
        "train": Dataset.from_dict({"sequence": ["ACGT" * 3] * 20}),
        "test": Dataset.from_dict({"sequence": ["acgt" * 4] * 20}),
    }
    report = check(data, seqleak=False)
    found = areas(report.between)
    assert found["length", "test and not train"] == found["lower case", "test and not train"] == 1.0
    assert found["GC", "test and not train"] == 0.5
    assert report.shortcuts == []
    assert "shortcuts: the data have no labels" in report.notes


def test_each_class_of_several_is_compared_with_the_rest():
    letters = "ACGT"
    data = {
        "test": Dataset.from_dict({"sequence": [letters[row % 3] * 30 for row in range(30)], "label": list("xyz") * 10})
    }
    found = areas(check(data, seqleak=False).shortcuts)
    assert found["GC", "label x"] == 0.0  # A alone has no G or C
    assert found["GC", "label y"] == found["GC", "label z"] == 0.75
    many = Dataset.from_dict({"sequence": ["A"] * 12, "label": list(range(12))})
    assert check({"test": many}, seqleak=False).notes == [
        "shortcuts: 12 different labels, where 2 to 10 can be compared"
    ]


def test_the_table_for_the_linter(leaky, tmp_path):
    path = tmp_path / "out" / "checks.parquet"
    check(leaky, output=path, seqleak=False)
    table = pq.read_table(path)
    assert table.column_names == ["id", "split", "sequence", "label"]
    assert table["split"].to_pylist() == ["train"] * 60 + ["test"] * 30
    assert table["id"][60].as_py() == "test_0"
    assert table["sequence"].to_pylist() == leaky["train"]["sequence"][:] + leaky["test"]["sequence"][:]
    check({"test": leaky["test"]}, output=path, seqleak=False)  # its own former table is replaced
    assert len(pq.read_table(path)) == 30
    path.write_text("somebody else's")
    with pytest.raises(ValueError, match=r"checks\.parquet"):
        check(leaky, output=path, seqleak=False)
    assert path.read_text() == "somebody else's"
    check(leaky, output=path, seqleak=False, overwrite=True)
    assert len(pq.read_table(path)) == 90


def test_places_are_in_the_table_where_all_splits_have_them():
    with_place = Dataset.from_dict({"sequence": ["ACG"], "chrom": ["chr1"], "start": [3], "end": [6]})
    assert linter_table({"train": with_place, "test": with_place}).column_names[-3:] == ["chrom", "start", "end"]
    without = Dataset.from_dict({"sequence": ["ACG"]})
    assert linter_table({"train": with_place, "validation": without})["split"].to_pylist() == ["train", "dev"]
    assert linter_table({"train": with_place, "validation": without}).column_names == ["id", "split", "sequence"]


def test_the_linter_is_called_where_it_is_installed(leaky):
    pytest.importorskip("seqleak")
    found = check(leaky).seqleak
    assert found["called"]
    assert found["checks"]["overlap.exact"]["value"] == pytest.approx(2 / 30)
    assert found["checks"]["overlap.near"]["status"] == "WARN"
    assert found["verdict"] == "WARN"


def test_without_the_linter_or_labels_the_reason_is_said(leaky, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert check(leaky).seqleak == {"called": False, "why": "it is not installed (extra `seqleak`)"}
    monkeypatch.undo()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert check({"test": leaky["test"].remove_columns("label")}).seqleak["why"] == "it needs labels"


PROGRAM = """#!{python}
import sys
words = sys.argv
if "blastn" in words[0]:
    queries = open(words[words.index("-query") + 1]).read().split(">")[1:]
    lengths = {{own.split()[0]: len(own.split()[1]) for own in queries}}
    with open(words[words.index("-out") + 1], "w") as out:
        out.write(f"0\\t95.0\\t{{lengths['0']}}\\n1\\t79.9\\t{{lengths['1']}}\\n2\\t99\\t{{lengths['2'] // 2 - 1}}\\n")
        out.write(f"0\\t85.0\\t{{lengths['0']}}\\n3\\t80.0\\t{{lengths['3'] // 2}}\\n")
"""


def test_hits_of_an_aligner_count_by_identity_and_length(leaky, monkeypatch, tmp_path):
    for name in ("blastn", "makeblastdb"):
        program = tmp_path / name
        program.write_text(PROGRAM.format(python=sys.executable))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    found = check(leaky, seqleak=False).homology
    assert found == {"looked_at": True, "program": "blastn", "rows": 30, "related": 2}
    (tmp_path / "blastn").write_text(f"#!{sys.executable}\nimport sys; sys.exit('no such database')\n")
    assert check(leaky, seqleak=False).homology == {"looked_at": False, "why": "blastn failed: no such database"}
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert "neither BLAST+" in check(leaky, seqleak=False).homology["why"]


def test_files_of_each_form_are_read(tmp_path):
    (tmp_path / "all.csv").write_text("seq,label,split\nACGT,1,train\nACGA,0,dev\nAC,1,Test\n")
    (tmp_path / "all.tsv").write_text("sequence\ttarget\tset\tchrom\tstart\tend\nACGT\tx\ttrain\tchr1\t3\t7\n")
    pq.write_table(pa.table({"sequence": ["A", "C"], "split": ["train", "test"]}), tmp_path / "all.parquet")
    (tmp_path / "all.fa").write_text(">one label=1 split=train\nAC\nGT\n>two label=0 split=test\nGGG\n")
    with gzip.open(tmp_path / "mine_train.csv.gz", "wt") as file:
        file.write("sequence,label\nACGT,1\n")
    (tmp_path / "mine_dev.csv").write_text("sequence,label\nAC,1\nGG,0\n")

    def read(*names):
        data = read_data([tmp_path / name for name in names])
        return {split: rows.to_dict() for split, rows in data.items()}

    assert read("all.csv") == {
        "train": {"sequence": ["ACGT"], "label": [1]},
        "validation": {"sequence": ["ACGA"], "label": [0]},
        "test": {"sequence": ["AC"], "label": [1]},
    }
    one = {"sequence": ["ACGT"], "label": ["x"], "chrom": ["chr1"], "start": [3], "end": [7]}
    assert read("all.tsv") == {"train": one}
    assert read("all.parquet") == {"train": {"sequence": ["A"]}, "test": {"sequence": ["C"]}}
    assert read("all.fa")["test"] == {"sequence": ["GGG"], "label": ["0"]}
    both = {"train": {"sequence": ["ACGT"], "label": [1]}, "validation": {"sequence": ["AC", "GG"], "label": [1, 0]}}
    assert read("mine_train.csv.gz", "mine_dev.csv") == both


def test_folders_are_read(tmp_path, leaky):
    leaky.save_to_disk(tmp_path / "saved")
    assert read_data([tmp_path / "saved"])["test"]["sequence"][:] == leaky["test"]["sequence"][:]
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "train.csv").write_text("sequence,label\nACGT,1\n")
    (tmp_path / "files" / "test.csv").write_text("sequence,label\nAC,1\n")
    (tmp_path / "files" / "readme.csv").write_text("x\n1\n")
    assert {split: len(rows) for split, rows in read_data([tmp_path / "files"]).items()} == {"train": 1, "test": 1}
    one = Dataset.from_dict({"sequence": ["A", "C"], "split": ["train", "val"]})
    one.save_to_disk(tmp_path / "one")
    assert set(read_data([tmp_path / "one"])) == {"train", "validation"}


def test_a_bed_is_read_with_its_genome(tmp_path):
    (tmp_path / "g.fa").write_text(f">chr1\n{'ACGTTGCAAT' * 10}\n>chr20\n{'GGGGCCCCAA' * 10}\n")
    (tmp_path / "e.bed").write_text("chr1\t10\t20\tx\n20\t0\t10\ty\nchr99\t0\t10\ty\n")
    with pytest.raises(ValueError, match="a BED is one file, with the genome"):
        read_data([tmp_path / "e.bed"])
    data = read_data([tmp_path / "e.bed"], tmp_path / "g.fa", window=10)
    assert data["test"].to_dict() == {
        "sequence": ["GGGGCCCCAA"], "chrom": ["chr20"], "start": [0], "end": [10], "label": ["y"]
    }  # fmt: skip
    assert data["train"]["sequence"][:] == ["ACGTTGCAAT"]
    assert read_data([tmp_path / "e.bed"], tmp_path / "g.fa")["test"]["end"][:] == [10]
    with (tmp_path / "e.bed").open("a") as file:
        file.write("chr1\t10\t25\tx\n")
    with pytest.raises(ValueError, match="its intervals are of 10 to 15 bp: name one window"):
        read_data([tmp_path / "e.bed"], tmp_path / "g.fa")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("label,split\n1,train\n", "has no column sequence"),
        ("sequence,label\nACGT,1\n", "has no column split"),
        ("sequence,split\nACGT,holdout\n", "split 'holdout' is none of train, training"),
        ("sequence,split\n7,train\n", "column sequence is not of sequences"),
        ("sequence,label,split\nACGT,1,train\n,1,test\n", "data.csv: row 1: no sequence"),
        ("sequence,split\nMKVLLQ,train\n", "not DNA or RNA; a protein"),
    ],
)
def test_tables_that_cannot_be_checked_are_refused(tmp_path, content, said):
    path = tmp_path / "data.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=said):
        read_data([path])


def test_data_without_rows_are_refused(tmp_path):
    with pytest.raises(ValueError, match="the data have no rows in train, validation or test"):
        check({"test": Dataset.from_dict({"sequence": []})})
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: no saved dataset, and no file named by train"):
        read_data([tmp_path / "empty"])


def test_rows_of_the_tasks():
    pairs = Dataset.from_dict({"chrom": ["chr1"], "start": [1], "end": [4], "sequence": ["ACG"], "control": ["GCA"]})
    assert rows_of_task({"test": pairs})["test"].to_dict() == {
        "chrom": ["chr1"] * 2, "start": [1] * 2, "end": [4] * 2, "sequence": ["GCA", "ACG"], "label": [0, 1]
    }  # fmt: skip
    motifs = {"kind": ["raw", "motif", "shuffled", "motif"], "strand": ["forward"] * 3 + ["reverse"]}
    rows = Dataset.from_dict(motifs | {"sequence": ["A", "C", "G", "T"]})
    assert rows_of_task({"test": rows})["test"].to_dict() == {"sequence": ["C", "G"], "label": ["motif", "shuffled"]}
    variants = {"chrom": ["chr1"], "position": [6], "sequence1": ["ACGT"], "sequence2": ["ACTT"], "label": [True]}
    assert rows_of_task({"test": Dataset.from_dict(variants)})["test"].to_dict() == {
        "sequence": ["ACGT"], "label": [True], "chrom": ["chr1"], "start": [3], "end": [7]
    }  # fmt: skip
    activity = Dataset.from_dict({"category": ["peaks"], "sequence": ["A"], "log_counts": [1.0]})
    assert rows_of_task({"test": activity})["test"]["label"][:] == ["peaks"]
