"""Metrics of parts of a test set: which rows are in which part, and what is refused."""

import csv
import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation_dart.records import all_metrics, load_record
from evaluation_dart.report.analyses import bars
from evaluation_dart.report.figures import Bar
from evaluation_dart.report.row_properties import row_property, share
from evaluation_dart.report.strata import strata_of, strata_table
from tests.evaluation_dart.report.test_report import run, submit


@pytest.fixture
def record(tmp_path):
    return load_record(submit(tmp_path / "records"))


def by(table, metric, stratum):
    (row,) = [own for own in table.to_pylist() if (own["metric"], own["stratum"]) == (metric, stratum)]
    return row


def test_strata_of_a_joined_column(record, tmp_path):
    predictions = record.predictions()
    path = tmp_path / "rows.tsv"
    lines = [f"{i}\t{'promoter' if i < 25 else 'enhancer'}" for i in range(39, 2, -1)]  # another order; 0 to 2 missing
    path.write_text("id\tclass\n" + "\n".join(lines) + "\n")
    found = strata_table(record, "class", table=path)
    assert set(found["stratum"].to_pylist()) == {"promoter", "enhancer"}
    assert set(found["strata"].to_pylist()) == {2}
    assert set(found["rows_without"].to_pylist()) == {3}
    promoter = by(found, "accuracy", "promoter")
    own = predictions.slice(3, 22)
    wins = own["score"].to_numpy() > own["control_score"].to_numpy()
    assert (promoter["rows"], promoter["n"], promoter["value"]) == (22, 22, wins.mean())
    expected = all_metrics(own, record.content)["accuracy"]
    assert (promoter["low"], promoter["high"], promoter["method"]) == (expected.low, expected.high, expected.method)
    assert sorted({row["metric"] for row in found.to_pylist()}) == sorted(all_metrics(own, record.content))


def test_numbers_are_cut_at_quantiles(record, tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"id": np.arange(40), "af": np.arange(40) / 100}), path)
    found = strata_table(record, "af", table=path)
    assert list(dict.fromkeys(found["stratum"].to_pylist())) == [
        "0 to 0.09",
        "0.1 to 0.19",
        "0.2 to 0.29",
        "0.3 to 0.39",
    ]
    assert set(found["rows"].to_pylist()) == {10}


@pytest.mark.parametrize(
    ("values", "bins", "names", "of_row"),
    [
        ([3, 1, 1, None], 4, ["1", "3"], [1, 0, 0, -1]),
        ([0.0, 0, 0, 0, 1, 2, 3, 4, 5], 3, ["0 to 0", "1 to 2", "3 to 5"], [0, 0, 0, 0, 1, 1, 2, 2, 2]),
        (["b", "a", None, "b", ""], 4, ["a", "b"], [1, 0, -1, 1, -1]),
        ([True, False, True], 4, ["False", "True"], [1, 0, 1]),
        ([1.0, float("nan"), float("inf"), 2.0], 4, ["1", "2"], [0, -1, -1, 1]),
    ],
)
def test_which_stratum_a_row_is_in(values, bins, names, of_row):
    found, numbers = strata_of(pa.array(values), "c", bins)
    assert found == names
    assert numbers.tolist() == of_row


def test_a_stratum_without_metrics_says_why(tmp_path):
    rows = 30
    table = {"id": np.arange(rows), "chrom": ["chr1"] * 10 + ["chr2"] * 20, "start": np.arange(rows)}
    folder = submit(tmp_path)
    content = json.loads((folder / "results.json").read_text())
    table |= {"score": np.ones(rows), "control_score": np.r_[np.full(10, np.nan), np.zeros(20)]}
    pq.write_table(pa.table(table), folder / "predictions.parquet")
    content["predictions"]["sha256"] = hashlib.sha256((folder / "predictions.parquet").read_bytes()).hexdigest()
    (folder / "results.json").write_text(json.dumps(content))
    found = strata_table(load_record(folder), "chrom").to_pylist()
    assert found[0]["method"] == "no metrics: the scores of row 0, 1.0 and nan, are not finite"
    assert (found[0]["metric"], found[0]["value"], found[0]["rows"]) == (None, None, 10)
    assert found[1]["stratum"] == "chr2"


def test_shares_of_bases():
    assert share("GCgcAATT", "gc") == 0.5
    assert share("GCgcAATT", "repeat") == 0.25
    assert share("NNGA", "gc") == 0.5
    assert np.isnan(share("NN", "gc"))


def test_gc_and_repeats_of_the_genome(record, tmp_path):
    predictions = record.predictions().slice(0, 3)
    genome = tmp_path / "g.fa"
    genome.write_text(">5\n" + "GC" * 100 + "at" * 200 + "\n")
    gc = row_property(record, predictions, "gc", genome=genome).to_pylist()
    assert gc == [200 / 350, None, None]  # the other windows lie beyond the contig
    assert row_property(record, predictions, "repeat", genome=genome).to_pylist() == [150 / 350, None, None]
    genome.write_text(">5\n" + "GC" * 300 + "\n")
    with pytest.raises(ValueError, match="no base of the rows is in lower case"):
        row_property(record, predictions, "repeat", genome=genome)


def test_gc_of_a_table_of_sequences(record, tmp_path):
    path = tmp_path / "made" / "part.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({"id": [1, 0], "sequence": ["ACGT", "GGGA"]}), path)
    found = row_property(record, record.predictions().slice(0, 2), "gc", path.parent)
    assert found.to_pylist() == [0.75, 0.5]
    with pytest.raises(ValueError, match="no base is in lower case, so that repeats are not marked"):
        row_property(record, record.predictions(), "repeat", path.parent)


def test_what_is_refused(record, tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_text("id\tclass\n1\ta\n1\tb\n")
    with pytest.raises(ValueError, match=r"rows\.tsv: id 1 occurs more than once"):
        strata_table(record, "class", table=path)
    path.write_text("id\tclass\n100\ta\n")
    with pytest.raises(ValueError, match="has none of the rows of the predictions, such as id 0"):
        strata_table(record, "class", table=path)
    path.write_text("name\tclass\n100\ta\n")
    with pytest.raises(ValueError, match="no column 'id', by which rows are found; there are name, class"):
        strata_table(record, "class", table=path)
    with pytest.raises(ValueError, match=r"no column 'tss' in .*rows\.tsv or the predictions"):
        strata_table(record, "tss", table=path)
    with pytest.raises(ValueError, match="gc and repeat are computed where a genome or a table of sequences is given"):
        strata_table(record, "gc")
    with pytest.raises(ValueError, match="bins is 0"):
        strata_table(record, "start", bins=0)
    path.write_text("id\tclass\n" + "".join(f"{i}\tx{i}\n" for i in range(40)))
    with pytest.raises(ValueError, match="201 values that are no numbers; at most 200 are strata"):
        strata_of(pa.array([f"x{i}" for i in range(201)]), "class")
    assert len(set(strata_table(record, "class", table=path)["stratum"].to_pylist())) == 40


def test_the_command_writes_and_shows_a_table(record, tmp_path, capsys, monkeypatch):
    submit(tmp_path / "records", model="org/other", seed=1)
    table = tmp_path / "rows.tsv"
    table.write_text("id\tclass\n" + "".join(f"{i}\t{'ab'[i % 2]}\n" for i in range(40)))
    output = tmp_path / "made"
    arguments = ("report", tmp_path / "records", "--by", "class", "--table", table, "--chance", "--output", output)
    status, out, err = run(capsys, monkeypatch, *arguments)
    assert (status, err) == (0, "")
    assert f"{output}/strata_class.tsv" in out
    assert "strata: 2\nrows without: 0\n" in out
    rows = list(csv.DictReader((output / "strata_class.tsv").open(), delimiter="\t"))
    accuracy = [row for row in rows if row["metric"] == "accuracy"]
    assert [(row["model"], row["stratum"], row["n"]) for row in accuracy] == [
        ("org/model", "a", "20"), ("org/model", "b", "20"), ("org/other", "a", "20"), ("org/other", "b", "20"),
    ]  # fmt: skip
    expected = by(strata_table(record, "class", table=table), "accuracy", "a")["value"]
    assert float(accuracy[0]["value"]) == expected
    assert f"{expected:.4g}" in out
    chance = list(csv.DictReader((output / "chance.tsv").open(), delimiter="\t"))
    assert all(0.3 < float(row["labels_permuted_mean"]) < 0.7 for row in chance if row["metric"] == "accuracy")
    assert not (output / "results").exists()
    assert run(capsys, monkeypatch, *arguments)[0] == 0  # over its own tables
    (output / "chance.tsv").write_text("mine\n")
    status, _, err = run(capsys, monkeypatch, *arguments)
    assert (status, err.count("\n")) == (1, 1)
    assert "chance.tsv: already exists, and is not such a table" in err


def test_a_record_without_the_column_is_left_out_with_a_line(record, tmp_path, capsys, monkeypatch):
    status, _, err = run(capsys, monkeypatch, "report", tmp_path / "records", "--by", "tss", "--output", tmp_path)
    assert (status, err.count("\n")) == (1, 1)
    assert "no column 'tss' in the predictions" in err


def test_lines_of_a_figure_say_what_the_strata_are_of():
    row = {"by": "gc", "stratum": "0.31 to 0.52", "value": 0.7, "low": 0.6, "high": 0.8, "family": "AP1"}
    assert bars([row, row | {"value": None}], "stratum") == [Bar("gc 0.31 to 0.52", 0.7, 0.6, 0.8)]
    assert bars([row | {"by": "chrom", "stratum": "chr5"}], "stratum") == [Bar("chr5", 0.7, 0.6, 0.8)]
    assert bars([row | {"accuracy": 0.5}], "family") == [Bar("AP1", 0.5, 0.6, 0.8)]
