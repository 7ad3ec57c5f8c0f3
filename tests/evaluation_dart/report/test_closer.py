"""Closer looks at records: motifs and families, labels, calibration, seeds; as tables, figures and commands."""

import csv

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from scipy.special import expit

from evaluation_dart import compare
from evaluation_dart.records import Record, all_metrics, load_record, split_by_value, write_record
from evaluation_dart.report.analyses import seeds_table, tables_of
from evaluation_dart.report.classes import calibration_table, label_table
from evaluation_dart.report.motifs import families_of, family_table, motif_differences, motif_table, stem
from evaluation_dart.report.strata import strata_table
from tests.evaluation_dart.report.test_report import run
from tests.evaluation_dart.test_comparison import made, pairs_table, wins

BACKGROUNDS = 12


def trials(gain, seed=0):
    """Predictions of task 2: motifs KLF4.X, KLF5.X and SP1.X, whose scores are above their shuffles' by about gain."""
    rng = np.random.default_rng(seed)
    rows = [
        (background, motif, strand, kind)
        for background in range(BACKGROUNDS)
        for motif in (None, "KLF4.X", "KLF5.X", "SP1.X")
        for strand in ("forward", "reverse")
        for kind in (("raw",) if motif is None else ("motif", "shuffled"))
    ]
    columns = dict(zip(("background", "motif", "strand", "kind"), map(list, zip(*rows, strict=True)), strict=True))
    score = [rng.normal(0, 1) + gain.get(row[1], 0) * (row[3] == "motif") for row in rows]
    return pa.table({"id": range(len(rows)), **columns, "score": score})


@pytest.fixture
def motifs(tmp_path):
    def record(gain, model="org/a", seed=0):
        return made(tmp_path, trials(gain, seed), model, task="motif_footprinting", blocks="background")

    return record


def rows_of(table, name):
    return {row[name]: row for row in table.to_pylist()}


def test_each_motif_by_hand(motifs):
    record = motifs({"KLF4.X": 9, "KLF5.X": 0.5})
    table = record.predictions().to_pylist()
    found = rows_of(motif_table(record), "motif")
    for name, row in found.items():
        score = {kind: np.array([own["score"] for own in table if (own["motif"], own["kind"]) == (name, kind)])
                 for kind in ("motif", "shuffled")}  # fmt: skip
        right = score["motif"] > score["shuffled"]
        assert (row["accuracy"], row["trials"]) == (right.mean(), 2 * BACKGROUNDS)
    assert found["KLF4.X"]["accuracy"] == 1
    assert found["KLF4.X"]["p"] == 1 / 2**BACKGROUNDS  # of all signs of the backgrounds, only the observed one
    p = [row["p"] for row in found.values()]
    assert [row["p_bh_over_motifs"] for row in found.values()] == pytest.approx(stats.false_discovery_control(p))
    low, high = stats.binomtest(BACKGROUNDS, BACKGROUNDS).proportion_ci(method="exact")
    assert (found["KLF4.X"]["low"], found["KLF4.X"]["high"]) == (pytest.approx(low), high)
    assert record.metrics["share_significant_bh"].value == np.mean([row["p_bh_over_motifs"] < 0.05
                                                                    for row in found.values()])  # fmt: skip


def test_families_are_means_over_their_motifs(motifs, tmp_path):
    record = motifs({"KLF4.X": 9, "KLF5.X": 0.5})
    each, found = rows_of(motif_table(record), "motif"), rows_of(family_table(record), "family")
    assert list(found) == ["KLF", "SP"]
    assert found["KLF"]["motifs"] == 2
    assert found["KLF"]["accuracy"] == pytest.approx((1 + each["KLF5.X"]["accuracy"]) / 2)
    assert found["KLF"]["low"] < found["KLF"]["accuracy"] < found["KLF"]["high"]
    assert found["KLF"]["share_of_motifs_significant_bh"] in (0.5, 1)
    path = tmp_path / "families.tsv"
    path.write_text("Motif\tTF family\nKLF4.X\tC2H2\nSP1.X\tC2H2\nKLF5.X\t\n")
    found = rows_of(family_table(record, families_of(path)), "family")
    assert {name: row["motifs"] for name, row in found.items()} == {"C2H2": 2}
    assert rows_of(motif_table(record, families_of(path)), "motif")["KLF5.X"]["family"] is None
    with pytest.raises(ValueError, match=r"families\.tsv: no column class; there are Motif, TF family"):
        families_of(path, "class")
    path.write_text("Motif\tTF family\nother\tC2H2\n")
    with pytest.raises(ValueError, match=r"none of its motifs, such as KLF4\.X, has a family"):
        family_table(record, families_of(path))


@pytest.mark.parametrize(("motif", "gene"), [("KLF4.H12CORE.0.P.B", "KLF"), ("AHR", "AHR"), ("MA0004.1", "MA")])
def test_what_a_name_says(motif, gene):
    assert stem(motif) == gene


def test_motifs_of_two_models(motifs):
    a, b = motifs({"KLF4.X": 9, "SP1.X": 9}), motifs({"KLF4.X": 9}, "org/b", seed=1)
    found = rows_of(motif_differences(compare(a, b)), "motif")
    assert (found["KLF4.X"]["difference"], found["KLF4.X"]["p"]) == (0, 1)
    other = rows_of(motif_table(b), "motif")
    assert found["SP1.X"]["difference"] == pytest.approx(1 - other["SP1.X"]["accuracy"])
    assert found["SP1.X"]["p"] < 0.01
    turned = rows_of(motif_differences(compare(b, a)), "motif")
    for name, row in found.items():
        assert turned[name]["difference"] == -row["difference"]
        assert turned[name]["p"] == row["p"]


def test_motifs_in_strata(motifs, tmp_path):
    record = motifs({"KLF4.X": 9, "KLF5.X": 0.5})
    path = tmp_path / "families.tsv"
    path.write_text("motif\tfamily\nKLF4.X\tKLF\nKLF5.X\tKLF\nSP1.X\tSP\n")
    table = strata_table(record, "family", table=path, on=["motif"]).to_pylist()
    found = {row["stratum"]: row for row in table if row["metric"] == "accuracy"}
    each = rows_of(family_table(record), "family")
    assert {name: row["value"] for name, row in found.items()} == pytest.approx(
        {name: each[name]["accuracy"] for name in ("KLF", "SP")}
    )
    assert {row["rows_without"] for row in table} == {0}
    assert found["KLF"]["rows"] == 2 * 4 * BACKGROUNDS


@pytest.fixture
def classes(tmp_path):
    """A record of task 3 with three classes, of which the first two can be told."""
    rng = np.random.default_rng(0)
    label = np.arange(90) % 3
    logits = rng.normal(0, 1, (90, 3)) + 2 * (np.eye(3) * [1, 1, 0])[label]
    columns = {f"logit_{name}": logits[:, number] for number, name in enumerate("xyz")}
    table = pa.table({"id": range(90), "chrom": ["chr1"] * 90, "start": np.arange(90) // 3 * 1_000_000,
                      "label": [*map("xyz".__getitem__, label)], **columns})  # fmt: skip
    return made(tmp_path, table, task="cell_type_elements", setting="probed")


def test_each_class_with_corrected_p(classes):
    found = rows_of(label_table(classes), "label")
    for name, row in found.items():
        metric = classes.metrics[f"auroc_{name}"]
        assert (row["auroc"], row["low"], row["high"]) == (metric.value, metric.low, metric.high)
        assert (row["positives"], row["n"]) == (30, 90)
    p = [row["p"] for row in found.values()]
    assert [row["p_bh_over_labels"] for row in found.values()] == pytest.approx(stats.false_discovery_control(p))
    assert found["x"]["p"] < found["z"]["p"]


def test_labels_are_named_after_their_groups(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=(60, 3))
    outputs = {f"output_{number}": labels[:, number] + rng.normal(0, 0.5, 60) for number in range(3)}
    table = pa.table({"id": range(60), "chrom": ["chr1"] * 60, "start": np.arange(60) // 3 * 1_000_000,
                      "labels": list(labels), **outputs})  # fmt: skip
    groups = {"dnase": [0, 2], "tf": [1]}
    more = {
        "kind": "finetune",
        "groups": groups,
        "classes": ["no", "yes"],
        "rows": {"test": 60},
        "seed": 0,
        "budget": "full",
    }
    folder = made(tmp_path, pairs_table(np.ones(60), np.zeros(60), np.arange(60) // 3)).folder
    content = {**load_record(folder).content, **more}
    del content["sequences_per_second"], content["processes"]
    content |= {"processes": 1} | split_by_value(all_metrics(table, content))
    found = label_table(Record(folder, write_record(folder, content, table))).to_pylist()
    assert [row["label"] for row in found] == ["dnase 0", "tf 1", "dnase 2"]
    assert [row["positives"] for row in found] == labels.sum(axis=0).tolist()
    assert all(row["p_bh_over_labels"] < 0.01 for row in found)


def test_calibration_of_records(classes, tmp_path):
    rows = calibration_table(classes).to_pylist()
    assert sum(row["n"] for row in rows) == 90
    assert {row["event"] for row in rows} == {"the likeliest class"}
    assert {row["brier"] for row in rows} == {classes.metrics["brier"].value}
    assert {row["calibration_error"] for row in rows} == {classes.metrics["calibration_error"].value}
    gap = sum(row["n"] * abs(row["predicted"] - row["observed"]) for row in rows) / 90
    assert gap == pytest.approx(classes.metrics["calibration_error"].value)
    score, control = np.array([2.0, 1.0] * 15), np.array([-1.0, 0.0] * 15)
    pairs = made(tmp_path, pairs_table(score, control, np.arange(30)), "org/p", setting="probed")
    rows = calibration_table(pairs).to_pylist()
    assert sum(row["n"] for row in rows) == 60
    expected = (np.sum((1 - expit(score)) ** 2) + np.sum(expit(control) ** 2)) / 60
    assert rows[0]["brier"] == pytest.approx(expected)
    likelihoods = made(tmp_path, pairs_table(score, control, np.arange(30)), "org/q")
    with pytest.raises(ValueError, match="zero_shot_likelihood of regulatory_elements gives no probabilities"):
        calibration_table(likelihoods)


def test_means_over_seeds(tmp_path):
    rng = np.random.default_rng(0)
    records = [
        made(tmp_path, pairs_table(rng.normal(1, 1, 40), np.zeros(40), np.arange(40) // 2), "org/r", {"seed": seed})
        for seed in (0, 1, 2)
    ]
    found = rows_of(seeds_table(records), "metric")["accuracy"]
    values = [wins(own).mean() for own in records]
    assert (found["value"], found["spread"]) == (pytest.approx(np.mean(values)), pytest.approx(np.std(values, ddof=1)))
    assert (found["seeds"], found["which"]) == (3, "0, 1, 2")
    assert "with the spread over 3 seeds" in found["method"]
    with pytest.raises(ValueError, match="no model has records of several seeds"):
        seeds_table(records[:1])
    tables, left_out = tables_of(records[:1], {"seeds": {}, "chance": {}})
    assert (list(tables), left_out) == (["chance"], ["no table seeds: no model has records of several seeds"])


def test_the_command_writes_tables_and_figures(motifs, classes, tmp_path, capsys, monkeypatch):
    motifs({"KLF4.X": 9})
    output = tmp_path / "made"
    options = ("--per-motif", "--per-label", "--calibration", "--by", "chrom", "--figures", "--output", output)
    status, out, err = run(capsys, monkeypatch, "report", tmp_path / "records", *options)
    assert status == 0
    assert "left out: " in err
    assert sorted(path.name for path in output.iterdir()) == [
        "calibration.png", "calibration.svg", "calibration.tsv", "labels.tsv", "motif_families.tsv", "motifs.png",
        "motifs.svg", "motifs.tsv", "strata_chrom.png", "strata_chrom.svg", "strata_chrom.tsv",
    ]  # fmt: skip
    assert all(b"<svg" in path.read_bytes() for path in output.glob("*.svg"))
    names = [row["motif"] for row in csv.DictReader((output / "motifs.tsv").open(), delimiter="\t")]
    assert names == ["KLF4.X", "KLF5.X", "SP1.X"]
    assert "p_bh_over_motifs" in out
    status, _, err = run(capsys, monkeypatch, "report", tmp_path / "records", "--table", output / "labels.tsv")
    assert (status, err.count("\n")) == (1, 1)
    assert "table is for a closer look, which none of the other options asks for" in err
