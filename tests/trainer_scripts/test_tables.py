"""`make tables`: pages from records."""

import json

import pytest

from trainer_scripts.tables import END, START, audit_table, put, record_tables, take, with_interval

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
    with pytest.raises(ValueError, match="has not both"):
        put(page, "new\n")


def test_audit_table(tmp_path):
    path = tmp_path / "audit.json"
    path.write_text(json.dumps([{"page": "interval_n", "what": "width", "original": 0.0007, "sound": 0.07, "n": 498}]))
    assert audit_table(path).splitlines()[-1] == "| [interval_n](interval_n.md) | width | 0.0007 | 0.07 | 498 |"
