"""Controls: what chance gives, by hand; which models are controls; and which way effects are turned."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation_dart.controls import (
    GC,
    KMERS,
    MARKOV,
    PERMUTED,
    SCRATCH,
    TRACK,
    TWIN,
    chance,
    control_kind,
    expected_controls,
    orientation,
)
from evaluation_dart.records import Record, load_record, write_record
from evaluation_dart.tasks import TASKS
from tests.evaluation_dart.report.test_report import run, submit


@pytest.mark.parametrize(
    ("identity", "setting", "more", "kind"),
    [
        ("org/model", "probed", {}, ""),
        ("local/markov-order-7", "zero_shot_likelihood", {}, MARKOV),
        ("local/best-in-order-7", "zero_shot_likelihood", {"parameters": 5}, ""),
        ("ab-initio/kmers-6", "ab_initio", {}, KMERS),
        ("ab-initio/gc-content", "zero_shot_embedding", {}, GC),
        ("track/phyloP", "ab_initio", {}, TRACK),
        ("org/model-random-weights", "zero_shot_likelihood", {"parameters": 5}, TWIN),
        ("org/model-random-weights", "ab_initio", {"parameters": 5}, SCRATCH),
        ("table/chrombpnet_logfc", "ab_initio", {}, ""),
    ],
)
def test_which_model_is_a_control(identity, setting, more, kind):
    assert control_kind({"model": {"id": identity, **more}, "setting": setting}) == kind


def test_which_controls_a_board_should_have():
    assert expected_controls("regulatory_elements", "zero_shot_likelihood") == (PERMUTED, TWIN, MARKOV)
    assert expected_controls("variant_effects", "probed") == (PERMUTED, SCRATCH, KMERS, GC, TRACK)
    assert expected_controls("cell_type_elements", "clustering") == (PERMUTED, TWIN, KMERS, GC)
    assert expected_controls("variant_effects", "no such setting") == (PERMUTED,)


def test_chance_of_pairs_is_one_half(tmp_path):
    record = load_record(submit(tmp_path))
    assert record.metrics["accuracy"].value > 0.6
    found = chance(record, permutations=50)
    assert found["accuracy"].value == pytest.approx(0.5, abs=0.05)
    assert found["accuracy"].low < 0.5 < found["accuracy"].high
    assert found["mean_diff"].value == pytest.approx(0, abs=0.1)
    assert found == chance(record, permutations=50)
    assert found != chance(record, permutations=50, seed=1)


def test_numbers_of_tokens_change_places_with_their_scores():
    table = pa.table(
        {"score": range(9), "control_score": range(9, 18), "tokens": range(9), "control_tokens": range(9, 18)}
    )
    permuted = TASKS["regulatory_elements"].settings["zero_shot_likelihood"].permute(table, np.random.default_rng(0))
    assert permuted["score"].to_pylist() == permuted["tokens"].to_pylist() != table["score"].to_pylist()
    for one, two in zip(permuted["score"].to_pylist(), permuted["control_score"].to_pylist(), strict=True):
        assert abs(one - two) == 9


def test_permutations_keep_what_they_do_not_permute():
    rng = np.random.default_rng(0)
    table = pa.table({"id": range(6), "label": [0, 1, 0, 1, None, 1], "effect": [0.0, 1, 2, 3, 4, 5],
                      "used": [True, True, True, True, False, True]})  # fmt: skip
    permuted = TASKS["variant_effects"].settings["probed"].permute(table, rng)
    assert permuted["id"].to_pylist() == list(range(6))
    assert (permuted["label"][4].as_py(), permuted["effect"][4].as_py()) == (None, 4.0)
    pairs = {(row["label"], row["effect"]) for row in table.to_pylist()}
    assert {(row["label"], row["effect"]) for row in permuted.to_pylist()} == pairs
    assert permuted["effect"].to_pylist() != table["effect"].to_pylist()


def test_motif_and_shuffle_change_places_on_both_strands():
    rows = [(b, m, s, k) for b in range(20) for m in ("x", "y") for s in ("f", "r") for k in ("motif", "shuffled")]
    rows += [(b, None, s, "raw") for b in range(20) for s in ("f", "r")]
    names = ("background", "motif", "strand", "kind")
    table = pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    permute = TASKS["motif_footprinting"].settings["zero_shot_likelihood"].permute
    found = permute(table, np.random.default_rng(0)).to_pylist()
    turned = {}
    for row, before in zip(found, rows, strict=True):
        assert (row["background"], row["motif"], row["strand"]) == before[:3]
        if before[3] == "raw":
            assert row["kind"] == "raw"
        else:
            turned.setdefault(before[:2], set()).add(row["kind"] != before[3])
    assert all(len(own) == 1 for own in turned.values())
    assert 10 < sum(True in own for own in turned.values()) < 30


@pytest.fixture
def variants(tmp_path):
    """A record of four variants whose effects are turned right for allele 2, and wrong for allele 1."""
    predictions = pa.table(
        {
            "id": [0, 1, 2, 3, 4],
            "effect": [1.0, -1.0, 1.0, 0.0, 1.0],
            "effect_allele": [2, 2, 1, 1, 2],
            "used": [True, True, True, True, False],
        }
    )
    content = {
        **load_record(submit(tmp_path / "base")).content,
        "task": "variant_effects",
        "dataset": {"rows": 5, "fingerprint": "f"},
    }
    content["metrics"] = {name: dict(metric) for name, metric in content["metrics"].items()}
    whole = write_record(tmp_path / "v", content, predictions)
    table = tmp_path / "column.parquet"
    pq.write_table(pa.table({"id": range(5), "logfc": [0.5, -0.5, -0.5, 0.5, -1.0], "name": list("abcde")}), table)
    return Record(tmp_path / "v", whole), table


def test_effects_turned_wrong_show_in_their_allele(variants):
    record, table = variants
    found = orientation(record, "logfc", table)
    assert {name: (own.agreeing, own.n) for name, own in found.items()} == {
        "all": (2, 3),
        "allele 1": (0, 1),
        "allele 2": (2, 2),
    }
    assert found["all"].share == 2 / 3


def test_orientation_needs_signs(variants, tmp_path):
    record, table = variants
    with pytest.raises(ValueError, match="column 'name' does not hold numbers"):
        orientation(record, "name", table)
    with pytest.raises(ValueError, match="has no effect of variants, whose signs could be compared"):
        orientation(load_record(submit(tmp_path / "other")), "score")


def test_the_command_shows_the_orientation(variants, tmp_path, capsys, monkeypatch):
    record, table = variants
    options = ("--orientation", "logfc", "--table", table, "--output", tmp_path / "made")
    status, out, err = run(capsys, monkeypatch, "report", record.folder, *options)
    assert (status, err) == (0, "")
    assert [line.split() for line in out.splitlines()[-3:]] == [
        ["all", "2", "3", "0.6667"], ["allele", "1", "0", "1", "0"], ["allele", "2", "2", "2", "1"],
    ]  # fmt: skip
    text = (tmp_path / "made/orientation.tsv").read_text().splitlines()
    assert text[0] == "model\tsetting\tcolumn\teffects_of\tagreeing\tn\tshare\trecord"
    assert len(text) == 4
    status, _, err = run(capsys, monkeypatch, "report", submit(tmp_path / "other"), *options)
    assert (status, err.count("\n")) == (1, 1)
