"""Records as the Hub reads them, and what is refused of those that others hand in."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import DatasetCard, eval_result_entries_to_yaml, parse_eval_result_entries

from evaluation_dart.records import (
    LIMITS,
    fingerprint,
    measured,
    record_folder,
    validate_submission,
    write_record,
)
from evaluation_dart.report.benchmark import BENCHMARK, FINGERPRINTS, MISSING, not_published
from evaluation_dart.report.hub import check_eval_yaml, entries_among, eval_results, eval_tasks, write_report
from evaluation_dart.report.leaderboard import board_row
from evaluation_dart.report.tables import SCHEMA, data_name, record_folders, results_table, sound_metrics
from evaluation_dart.tasks import dart_eval_tasks
from trainer_scripts.cli import dart_eval


def submit(root, model="org/model", seed=0, setting="zero_shot_likelihood", **changes):
    """A valid record of task 1 at its place below `root`, unless `changes` say otherwise; returns the folder."""
    rng = np.random.default_rng(seed)
    rows = 40
    table = pa.table(
        {
            "id": np.arange(rows),
            "chrom": ["chr5"] * rows,
            "start": np.arange(rows) * 1_000_000,
            "score": rng.normal(1, 1, rows),
            "control_score": rng.normal(0, 1, rows),
        }
    )
    record = {
        "schema_version": 4,
        "kind": "task",
        "spec": {},
        "blocks": "1Mb",
        "task": "regulatory_elements",
        "split": "test",
        "setting": setting,
        "protocol": "fixed",
        "recipe": {"name": "dart-eval", "window": 350},
        "model": {"id": model, "revision": "abc123", "parameters": 1000},
        "dataset": {"rows": rows, "subset": "all", "fingerprint": "f" * 64,
                    "inputs": {"genome": "hg38.fa sha256:0", "elements": "ENCFF420VPZ.bed.gz sha256:1"}},
        "versions": {"hyenadna-dart": "0.1.0"},
        "device": "cpu",
        "processes": 1,
        "seconds": 1.5,
        "sequences_per_second": 53.3,
        "date": "2026-11-21T10:00:00+00:00",
    }  # fmt: skip
    record |= changes
    record["metrics"] = measured(table, record)
    record["fingerprint"] = fingerprint(record)
    folder = record_folder(root, record)
    write_record(folder, record, table)
    return folder


def read(folder):
    return json.loads((folder / "results.json").read_text())


def change(folder, **changes):
    path = folder / "results.json"
    path.write_text(json.dumps(read(folder) | changes))


def run(capsys, monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["dart-eval", *map(str, arguments)])
    with pytest.raises(SystemExit) as done:
        dart_eval.main()
    captured = capsys.readouterr()
    return done.value.code, captured.out, captured.err


def test_eval_results_go_through_huggingface_hub_and_back(tmp_path):
    record = read(submit(tmp_path))
    entries = eval_results([record], "org/dart-eval", "https://huggingface.co/datasets/org/results")
    assert parse_eval_result_entries(eval_result_entries_to_yaml(entries)) == entries
    (entry,) = entries
    accuracy = sound_metrics(record)["accuracy"]
    assert (entry.dataset_id, entry.task_id) == ("org/dart-eval", "regulatory-elements-zero-shot-likelihood")
    assert (entry.value, entry.date) == (accuracy["value"], "2026-11-21")
    assert entry.notes == (
        f"not the published data of DART-Eval: accuracy [{accuracy['low']:.4g}, {accuracy['high']:.4g}], n = 40, "
        "ENCFF420VPZ, test split, recipe dart-eval"
    )
    assert [task["id"] for task in eval_tasks([record])] == [entry.task_id]


def test_one_number_for_each_model_and_task(tmp_path):
    first, second = (read(submit(tmp_path / name, seed=seed)) for name, seed in (("a", 0), ("b", 1)))
    with pytest.raises(ValueError, match=r"two records of org/model are of regulatory-elements-zero-shot-likelihood"):
        eval_results([first, second], "org/dart-eval")
    other = read(submit(tmp_path / "c", model="org/other"))
    with pytest.raises(ValueError, match="records of several models, org/model and org/other"):
        eval_results([first, other], "org/dart-eval")


def test_table_has_a_row_for_each_metric(tmp_path):
    record = read(submit(tmp_path))
    table = results_table([record])
    assert table.schema == SCHEMA
    shown = sound_metrics(record)
    assert table.num_rows == len(shown)
    row = next(row for row in table.to_pylist() if row["metric"] == "accuracy")
    accuracy = shown["accuracy"]
    assert {key: row[key] for key in ("value", "low", "high", "method")} == {
        key: accuracy[key] for key in ("value", "low", "high", "method")
    }
    assert (row["iid_low"], row["iid_high"]) == (accuracy["iid"]["low"], accuracy["iid"]["high"])
    assert (row["control"], row["controls_beside"]) == ("", "no control")
    twin = read(submit(tmp_path, model="org/model-random-weights"))
    rows = results_table([record, twin]).to_pylist()
    assert {(row["control"], row["controls_beside"]) for row in rows} == {
        ("", "untrained twin"), ("untrained twin", "untrained twin"),
    }  # fmt: skip
    assert (row["model"], row["data"], row["window"], row["record"]) == (
        "org/model", "ENCFF420VPZ", 350, record["fingerprint"]
    )  # fmt: skip


def test_the_interval_that_is_shown_allows_for_rows_that_are_alike():
    ends = {"low": 0.2, "high": 0.8, "method": "wide"}
    metric = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9, "method": "narrow", "higher_is_better": True}
    narrow = {"low": 0.4, "high": 0.6, "method": "narrow"}
    old = {"protocol": "fixed", "metrics": {"accuracy": metric, "accuracy_by_block": metric | ends}}
    assert sound_metrics(old) == {"accuracy": metric | ends | {"iid": narrow, "published": None}}
    assert sound_metrics(old | {"protocol": "paper"})["accuracy"] == metric | ends | {"iid": None, "published": narrow}
    paper = {"protocol": "paper", "metrics": {"accuracy": metric | {"iid": None, "honest": ends}}}
    assert sound_metrics(paper) == {"accuracy": metric | ends | {"iid": None, "published": narrow}}
    fixed = {"protocol": "fixed", "metrics": {"accuracy": metric | {"iid": ends, "honest": None}}}
    assert sound_metrics(fixed) == {"accuracy": metric | {"iid": ends, "published": None}}


@pytest.mark.parametrize(
    ("inputs", "subset", "name"),
    [
        ({"genome": "g.fa sha256:0", "variants": "v.tsv.gz sha256:1"}, "all", "v"),
        ({"peaks": "K562=a.bed sha256:0, GM12878=b.bed sha256:1"}, "the first 5", "a, b (the first 5)"),
        ({}, "all", "unnamed"),
    ],
)
def test_data_name(inputs, subset, name):
    assert data_name({"dataset": {"inputs": inputs, "subset": subset}}) == name


def test_baselines_are_marked(tmp_path):
    marked = {}
    twins = [{"id": f"local/tiny-{kind}", "parameters": 5} for kind in ("random", "untrained", "random-weights")]
    for index, model in enumerate(({"id": "local/markov-order-3"}, *twins, {"id": "a/b", "parameters": 5})):
        record = read(submit(tmp_path / str(index), model={**model, "revision": "r"}["id"]))
        marked[model["id"]] = board_row(record | {"model": model | {"revision": "r"}})["baseline"]
    assert marked == {"local/markov-order-3": True, "a/b": False} | {twin["id"]: True for twin in twins}


def test_report_command(tmp_path, capsys, monkeypatch):
    root, output = tmp_path / "results", tmp_path / "report"
    submit(root)
    submit(root, model="org/other", seed=1)
    command = ("report", root, "--output", output, "--dataset", "org/dart-eval", "--no-figures")
    status, out, _ = run(capsys, monkeypatch, *command)
    assert (status, out.startswith(f"{output}: 2 records of 2 models, ")) == (0, True)
    results = output / "models/org__other/.eval_results/dart-eval.yaml"
    (entry,) = parse_eval_result_entries(yaml.safe_load(results.read_text()))
    assert entry.dataset_id == "org/dart-eval"
    assert entry.notes.startswith("not the published data of DART-Eval: accuracy [")
    tasks = yaml.safe_load((output / "dataset/eval.yaml").read_text())
    assert list(tasks) == ["name", "description", "evaluation_framework", "tasks"]
    assert tasks["name"] == "org/dart-eval: tasks of DART-Eval on other data"
    assert tasks["tasks"] == [
        {"id": "regulatory-elements-zero-shot-likelihood", "config": "regulatory_elements", "split": "test"}
    ]
    assert set(pq.read_table(output / "results/data")["model"].to_pylist()) == {"org/model", "org/other"}
    assert DatasetCard.load(output / "results/README.md").data.license == "apache-2.0"

    change(record_folders([root])[0], seconds="long")
    status, _, err = run(capsys, monkeypatch, *command)
    assert (status, err.count("\n")) == (0, 1)
    assert "skipped: " in err
    assert "'seconds' is 'long', of the wrong type" in err


FULL = {"rows": 40, "subset": "all", "fingerprint": "f" * 64}
OTHER = "its data have the fingerprint fff.*, not that of the published ones"


@pytest.mark.parametrize(
    ("changes", "known", "why"),
    [
        ({}, ("0" * 64, "f" * 64), None),
        ({}, (), "the fingerprint of the published data of regulatory_elements is not known yet: .* ENCFF420VPZ"),
        ({}, ("0" * 64,), OTHER),
        ({"dataset": FULL | {"subset": "the first 40"}}, ("f" * 64,), "not all rows of the test"),
        ({"split": "validation"}, ("f" * 64,), r"not all rows of the test split \(validation"),
        ({"recipe": {"budget": "small"}}, ("f" * 64,), "trained with the small budget"),
        ({"model": "local/a-random-weights"}, ("f" * 64,), "not a pretrained model"),
    ],
)
@pytest.mark.parametrize("named", [(), ("--dataset", "DART-Eval/dart-eval")])
def test_entries_of_the_benchmark_are_whole_runs_on_the_published_data(
    changes, known, why, named, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(FINGERPRINTS, "regulatory_elements", known)
    submit(tmp_path / "results", **changes)
    command = ("report", tmp_path / "results", "--output", tmp_path / "report", "--no-figures", *named)
    status, _, err = run(capsys, monkeypatch, *command)
    assert status == 0, err
    entries = [*(tmp_path / "report").rglob("dart-eval.yaml"), *(tmp_path / "report").rglob("eval.yaml")]
    assert len(entries) == (2 if why is None else 0)
    assert not any("other data" in path.read_text() for path in entries)
    assert pq.read_table(tmp_path / "report" / "results" / "data").num_rows
    assert (err == "") if why is None else re.search(f"no entry of (?i:dart-eval/dart-eval): .*: {why}", err)


def test_what_is_known_of_the_published_data():
    """Fingerprints are digests; of a task without one somebody must say why; no other task is on these boards."""
    assert [*FINGERPRINTS] == [*MISSING] == dart_eval_tasks()
    assert all(re.fullmatch("[0-9a-f]{64}", own) for several in FINGERPRINTS.values() for own in several)
    assert not_published("splicing", "f" * 64) == "splicing is not a task of dart-eval/dart-eval"
    assert not_published("long_range_recall", "f" * 64) == "long_range_recall is not a task of dart-eval/dart-eval"


def test_a_limited_run_of_random_weights_on_own_data_is_no_entry_of_any_board(tmp_path, capsys, monkeypatch):
    folder, output = tmp_path / "results", tmp_path / "report"
    submit(folder, model="local/tiny-random-weights", dataset=FULL | {"subset": "the first 64"})
    for named in ((), ("--dataset", "me/my-data")):
        status, _, err = run(capsys, monkeypatch, "report", folder, "--output", output, "--no-figures", *named)
        assert (status, err.count("not all rows of the test split (test, the first 64)")) == (0, 1)
        assert not [*output.rglob("*eval.yaml")]


def test_several_records_of_one_board_break_no_report(tmp_path):
    """The default one is the entry, or else the newest; the others are named, as is a model of one folder's name."""
    default, older, carbon = (
        read(submit(tmp_path / str(seed), seed=seed)) | {"date": f"2026-11-{day}T10:00:00+00:00", "spec": spec}
        for seed, (day, spec) in enumerate([("21", {}), ("20", {}), ("25", {"recipe": "carbon", "seed": 1})])
    )
    twin = older | {"model": older["model"] | {"id": "org__model"}, "date": "2026-11-01T10:00:00+00:00"}
    chosen, reasons = entries_among([twin, carbon, older, default], "org/data")
    assert chosen == [default]
    board = "another record of it is the one of regulatory-elements-zero-shot-likelihood"
    assert sorted(reason.rpartition(": ")[2] for reason in reasons) == [
        "another model has a folder of this name",
        *(board, board),
    ]
    assert entries_among([carbon], "org/data")[0] == [carbon]
    everything = [default, older, carbon, twin]
    values, left_out = write_report(everything, tmp_path / "report", "org/data")
    assert values == 4 * len(sound_metrics(default))
    assert len(left_out) == 3
    assert len([*(tmp_path / "report").rglob("dart-eval.yaml")]) == 1
    write_report(everything, tmp_path / "report", BENCHMARK)  # and then none
    assert not [*(tmp_path / "report").rglob("*eval.yaml")]


def test_a_report_without_a_valid_record_is_an_error(tmp_path, capsys, monkeypatch):
    folder = submit(tmp_path / "results")
    (folder / "predictions.parquet").unlink()
    status, _, err = run(capsys, monkeypatch, "report", tmp_path / "results", "--output", tmp_path / "report")
    assert (status, err.count("\n")) == (1, 1)
    assert "no valid record: skipped: " in err
    shutil.copytree(folder, tmp_path / "results" / "more")
    status, _, err = run(capsys, monkeypatch, "report", tmp_path / "results", "--output", tmp_path / "report")
    assert (status, err.count("skipped: "), err.count("\n")) == (1, 2, 2)  # a line each
    assert not (tmp_path / "report").exists()


def test_valid_submission(tmp_path, capsys, monkeypatch):
    folder = submit(tmp_path / "submissions")
    assert validate_submission(folder, tmp_path / "submissions")["model"]["id"] == "org/model"
    status, out, _ = run(capsys, monkeypatch, "validate", folder, "--submitted-to", tmp_path / "submissions")
    assert (status, out) == (0, f"{folder}: valid (40 predictions)\n")


def rewrite(folder, **columns):
    """Other predictions under the record, their digest mended as a careful forger would."""
    import hashlib

    path = folder / "predictions.parquet"
    table = pq.read_table(path)
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, [values(table[name].to_pylist())])
    pq.write_table(table, path)
    predictions = {"rows": table.num_rows, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    change(folder, predictions=predictions)


def shorten(folder):
    path = folder / "predictions.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    rewrite(folder)


def tampered_metric(key, value):
    def tamper(folder):
        metrics = read(folder)["metrics"]
        metrics["accuracy"][key] = value
        change(folder, metrics=metrics)

    return tamper


def linked(folder):
    path = folder / "predictions.parquet"
    path.rename(folder.parent / "elsewhere.parquet")
    path.symlink_to(folder.parent / "elsewhere.parquet")


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (tampered_metric("value", 0.99), r"accuracy value is 0\.99, but the predictions give"),
        (tampered_metric("n", 4000), r"accuracy n is 4000, but the predictions give 40"),
        (tampered_metric("low", 0.98), r"accuracy low is 0\.98, but the predictions give"),
        (shorten, r"predictions\.parquet: 39 rows, but the record counts 39 of a dataset of 40"),
        (lambda folder: rewrite(folder, id=lambda ids: [0, 0, *ids[2:]]), r"id 0 occurs 2 times"),
        (lambda folder: rewrite(folder, score=lambda scores: [9.0, *scores[1:]]), "but the predictions give"),
        (lambda folder: rewrite(folder, score=lambda scores: [None, *scores[1:]]), "'score' has 1 missing values"),
        (lambda folder: change(folder, seconds=[1]), "'seconds' is"),
        (lambda folder: (folder / "predictions.parquet").write_bytes(b"PAR1"), "not a Parquet file"),
        (lambda folder: (folder / "predictions.parquet").unlink(), "predictions.parquet: no such file"),
        (lambda folder: (folder / "run.py").write_text("print()"), r"run\.py: a submission holds only .*"),
        (linked, r"predictions\.parquet: is not a plain file"),
        (
            lambda folder: change(folder, model={"id": "../../org", "revision": "abc123"}),
            "a record of this model, task and setting belongs into",
        ),
    ],
)
def test_what_does_not_follow_is_refused_with_the_reason(tamper, message, tmp_path):
    folder = submit(tmp_path / "submissions")
    tamper(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        validate_submission(folder, tmp_path / "submissions")


def test_oversized_and_misplaced_submissions_are_refused(tmp_path, monkeypatch):
    root = tmp_path / "submissions"
    folder = submit(root)
    outside = submit(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="is not in"):
        validate_submission(outside, root)
    with pytest.raises(ValueError, match="is not in"):
        validate_submission(root / ".." / outside.relative_to(tmp_path), root)
    (root / "linked").symlink_to(folder.parents[3])
    with pytest.raises(ValueError, match="linked: is a link"):
        validate_submission(root / "linked" / folder.relative_to(folder.parents[3]), root)
    monkeypatch.setattr("evaluation_dart.records.MOST_ROWS", 39)
    with pytest.raises(ValueError, match=r"40 rows of [\d,]+ bytes, too many to be read"):
        validate_submission(folder, root)
    with open(folder / "results.json", "ab") as file:
        os.truncate(file.fileno(), LIMITS["results.json"] + 1)
    with pytest.raises(ValueError, match=r"results\.json: 1,048,577 bytes, more than 1,048,576"):
        validate_submission(folder, root)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        validate_submission(Path(root / "nowhere"), root)


EVAL = {
    "name": "n",
    "description": "d",
    "evaluation_framework": "f",
    "tasks": [{"id": "a", "config": "c", "split": "s"}],
}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "is not a mapping"),
        (EVAL | {"name": 5}, "name is 5, not text"),
        (EVAL | {"evaluation_framework": ""}, "evaluation_framework is ''"),
        (EVAL | {"tasks": []}, "has no list of tasks"),
        (EVAL | {"tasks": [{"config": "c"}]}, "has no id"),
        (EVAL | {"tasks": [{"id": "a", "metric": "m"}]}, "unknown 'metric'"),
        (EVAL | {"tasks": [{"id": "a", "split": 1}]}, "not text"),
        (EVAL | {"tasks": [{"id": "a"}, {"id": "a"}]}, "two tasks are called 'a'"),
    ],
)
def test_eval_yaml_follows_the_hubs_schema(content, message):
    check_eval_yaml(EVAL, "eval.yaml")
    with pytest.raises(ValueError, match=f"eval.yaml: .*{message}"):
        check_eval_yaml(content, "eval.yaml")


def test_exported_datasets_have_such_an_eval_yaml(tmp_path):
    from datasets import Dataset, DatasetDict

    from datasets_dart.export import export_parquet

    rows = DatasetDict({"test": Dataset.from_dict({"id": [0], "sequence": ["ACGT"]})})
    export_parquet(rows, tmp_path, "regulatory_elements", "fixed")
    check_eval_yaml(yaml.safe_load((tmp_path / "eval.yaml").read_text()), tmp_path / "eval.yaml")
