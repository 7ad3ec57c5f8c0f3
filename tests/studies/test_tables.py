"""`make tables`: pages from records."""

import json

import pytest

from studies.pages import END, START, put, take, with_interval
from studies.tables import (
    audit_table,
    duplicates_line,
    gue_table,
    read_before,
    record_tables,
    rows_shown,
    supervised_tables,
)

METRIC = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 1200, "method": "exact", "higher_is_better": True}


def record(task, **metrics):
    recipe = {"name": "dart-eval", "window": 1024}
    what = {"task": task, "setting": "zero_shot_likelihood", "model": {"id": "local/tiny"}, "recipe": recipe}
    return json.dumps(what | {"metrics": metrics})


def test_records_become_tables(tmp_path):
    place = tmp_path / "results" / "promoters" / "local__tiny" / "0" / "regulatory_elements" / "zero_shot_likelihood"
    place.mkdir(parents=True)
    (place / "results.json").write_text(record("regulatory_elements", accuracy=METRIC))
    (place / "predictions.parquet").write_text("not taken")
    take(tmp_path / "results", tmp_path / "records")
    assert [path.name for path in (tmp_path / "records").rglob("*.*")] == ["results.json"]
    lines = record_tables(tmp_path / "records").splitlines()
    assert lines[0] == "### Task 1: regulatory_elements"
    assert lines[2] == "| run | model | setting | recipe | window | accuracy |"
    row = "| promoters | tiny | zero_shot_likelihood | dart-eval | 1,024 bp | 0.500 [0.400, 0.600], n 1,200 |"
    assert lines[4] == row
    assert lines[6] == "- accuracy: exact"
    assert with_interval(METRIC | {"low": None}) == "0.500, n 1,200"
    with pytest.raises(FileNotFoundError, match=r"nothing: no results.json"):
        take(tmp_path / "nothing", tmp_path / "records")


def test_pages_keep_what_is_written_by_hand(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{START}\nold\n{END}\nafter\n")
    put(page, "new\n")
    assert page.read_text() == f"before\n{START}\n\nnew\n\n{END}\nafter\n"
    page.write_text("nothing\n")
    with pytest.raises(ValueError, match="does not have both"):
        put(page, "new\n")


def test_audit_table(tmp_path):
    path = tmp_path / "audit.json"
    path.write_text(json.dumps([{"page": "interval_n", "what": "width", "original": 0.0007, "sound": 0.07, "n": 498}]))
    assert audit_table(path).splitlines()[-1] == "| [interval_n](interval_n.md) | width | 0.0007 | 0.07 | 498 |"


def test_supervised_tables_mark_what_was_still_improving(tmp_path):
    for setting, name, more in [
        ("finetuned", "tiny", {"steps": 256, "best_epoch": 4.0, "epochs": 4}),
        ("ab_initio", "kmers-6", {}),
    ]:
        place = tmp_path / setting
        place.mkdir()
        recipe = {"name": setting, "window": 350, "train_rows": 1024, **more}
        about = {"id": f"local/{name}", "trained_parameters": 4097}
        what = {"task": "regulatory_elements", "setting": setting, "model": about, "recipe": recipe}
        (place / "results.json").write_text(json.dumps(what | {"metrics": {"accuracy": METRIC}}))
    lines = supervised_tables(tmp_path).splitlines()
    assert lines[4].startswith(
        "| kmers-6 | ab_initio | 4,097 | 1,024 | to the optimum | 0.500 [0.400, 0.600], n 1,200 |"
    )
    assert lines[5].startswith("| tiny | finetuned | 4,097 | 1,024 | 256 † | 0.500")


def test_what_was_not_trained_has_no_steps(tmp_path):
    what = {"task": "chromatin_activity", "setting": "ab_initio", "model": {"id": "track/K562"}}
    what |= {"recipe": {"name": "column", "window": 1024}, "metrics": {"spearman_all": METRIC}}
    (tmp_path / "results.json").write_text(json.dumps(what))
    assert supervised_tables(tmp_path).splitlines()[4].startswith("| track/K562 | column |  | 0 | not trained | 0.500")


def test_gue_table(tmp_path):
    entry = {
        "model": {"id": "local/tiny"},
        "setting": "probed",
        "recipe": {"name": "probed"},
        "metrics": {"mcc": METRIC},
    }
    (tmp_path / "gue.json").write_text(json.dumps([entry | {"set": "tf_0"}, entry | {"set": "tf_1"}]))
    lines = gue_table(tmp_path / "gue.json").splitlines()
    assert lines[2] == "| model | setting | tf_0 | tf_1 |"
    assert lines[4] == "| tiny | probed | 0.500 [0.400, 0.600], n 1,200 | 0.500 [0.400, 0.600], n 1,200 |"
    assert gue_table(tmp_path / "none.json") == ""


def test_downstream_tables_say_which_test_rows_repeat_others(tmp_path):
    counts = {"same": 16, "reverse_complement": 0, "near": 11, "overlapping": None}
    none = dict.fromkeys(counts, 0)
    found = {"rows": 613, "within": none, "against": {"train": counts}}
    record = {"rows": {"train": 4904, "test": 613}, "dataset": {"duplicates": found}}
    (tmp_path / "results.json").write_text(json.dumps(record))
    assert duplicates_line(tmp_path / "results.json") == (
        "Of the 613 test rows, those that repeat another: within the split: none; in the 4,904 rows of train: "
        "16 the same, 11 nearly the same."
    )
    (tmp_path / "results.json").write_text("{}")
    assert "not counted" in duplicates_line(tmp_path / "results.json")


def test_tables_say_how_many_rows_were_read_before():
    def run(name, said, **found):
        return name, {
            "model": {"id": name, "revision": "r", "pretrained_on": said},
            "dataset": {"in_pretraining": found},
        }

    runs = [run("a", ["hg19"], rows=9, inside=2, by="coordinates"), run("b", "unknown"), run("c", "unknown")]
    assert read_before(runs) == [
        "- rows read before: 2 of 9 rows read in pretraining, by coordinates (a); pretraining unknown (b, c)",
        "",
    ]


def test_headlines_of_benchmarks_are_rows_that_there_are():
    record = {"benchmark": "b", "rows": [{"what": "forward, L=1"}, {"what": "backward, L=1"}, {"what": "forward, L=2"}]}
    assert [row["what"] for row in rows_shown(record, ["backward.*", "forward, L=2"])] == [
        "backward, L=1",
        "forward, L=2",
    ]
    with pytest.raises(ValueError, match="no row of benchmark b is 'sideways'"):
        rows_shown(record, ["forward.*", "sideways"])
