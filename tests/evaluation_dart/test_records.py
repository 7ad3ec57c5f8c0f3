"""Records that others may have written: whatever is in them, reading ends in an InputError or in a record."""

import copy
import hashlib
import json
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import typer
from huggingface_hub import eval_result_entries_to_yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasets_dart.errors import InputError
from datasets_dart.formats.documents import yaml_text
from evaluation_dart import records
from evaluation_dart.recipes import with_current_name
from evaluation_dart.records import (
    MOST_BYTES,
    check_schema,
    fingerprint,
    measured,
    read_bounded,
    read_record,
    read_written,
    record_folder,
    schema_validator,
    validate_record,
    validate_submission,
    write_record,
)
from evaluation_dart.report.benchmark import BENCHMARK
from evaluation_dart.report.hub import eval_results, eval_tasks, no_entry, write_report
from evaluation_dart.report.leaderboard import board_row, script
from evaluation_dart.report.tables import records_below, results_table, valid_records_below
from studies.remeasure import remeasure_all

RECORDS = sorted((Path(__file__).parents[2] / "leaderboard" / "records").glob("*/results.json"))
ODD = [
    None,
    True,
    {},
    "",
    "\x00",
    "a\nb",
    "\ud800",
    -1,
    10**400,
    float("nan"),
    ["a"] * 2000,
    {"a": {"b": {"c": [1]}}},
    [[[[[]]]]],
    "x" * 200_000,
    "..",
    "é" * 150,
]


def places(value, path=()):
    """The path of every entry of nested mappings and lists."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, own in entries:
        yield (*path, name)
        yield from places(own, (*path, name))


def changed(record, changes):
    """A copy with entries replaced, or removed where the new value is `...`."""
    record = copy.deepcopy(record)
    for (*parents, last), value in changes:
        own = record
        try:
            for name in parents:
                own = own[name]
            if value is ...:
                del own[last]
            else:
                own[last] = value
        except (KeyError, IndexError, TypeError):
            continue
    return record


def check_line(error):
    assert len(str(error)) < 1000
    assert "\n" not in str(error)


def accepted(record, folder):
    """Whether the schema accepts a record; if it does, all that is made of records can be made of this one."""
    try:
        check_schema(record, "results.json")
    except InputError as error:
        check_line(error)
        return False
    no_entry(record, "org/dataset")
    no_entry(record, BENCHMARK)
    results_table([record])
    yaml_text(eval_result_entries_to_yaml(eval_results([record], "org/dataset")) + eval_tasks([record])).encode()
    script([board_row(record, "records/a/results.json")])
    record_folder(folder, record)
    (folder / "results.json").write_text(json.dumps(record))
    assert read_written(folder) == record
    read_record(folder)
    return True


def real_records():
    """One record of each task and setting, and one of each other kind."""
    found = {(record["task"], record["setting"]): record for record in map(json.loads, map(Path.read_text, RECORDS))}
    for record in found.values():
        record["metrics"] = dict(islice(record["metrics"].items(), 5))
    one = next(iter(found.values()))
    metric = next(iter(one["metrics"].values()))
    finetune = {"classes": ["a", "b"], "rows": {"test": 1}, "seed": 0, "budget": "full", "groups": {"all": [0]}}
    data = {"kind": "regions", "classes": ["a"], "rows": {"test": {"a": 1}}, "splits": {"test": "chr1"}, "window": 5}
    own = {"data": data, "training": {"best_epoch": 1}, "baselines": {"k": {"accuracy": metric}}}
    base = {name: value for name, value in one.items() if name != "sequences_per_second"}
    base |= {"schema_version": 2, "spec": {}}
    return [*found.values(), base | {"kind": "finetune"} | finetune, base | {"kind": "own model"} | own]


def test_every_entry_of_a_record_with_every_odd_value(tmp_path):
    """Of the entries that records have, each once over all records, with odd values in turn."""
    seen, taken = set(), 0
    for record in real_records():
        assert accepted(record, tmp_path)
        write_report([record], tmp_path, "org/dataset")
        for place in places(record):
            named = {"metrics", "versions", "inputs", "spec", "training"}  # whose entries are all alike
            shape = tuple(
                "*" if isinstance(own, int) or before in named else own for before, own in pairwise(("", *place))
            )
            if shape not in seen:
                seen.add(shape)
                odd_ones = [*ODD, ...][len(seen) % 6 :: 6]  # each place a sixth of them, to save time
                taken += sum(accepted(changed(record, [(place, odd)]), tmp_path) for odd in odd_ones)
    assert len(seen) > 80
    assert taken > 30


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_several_odd_values_at_once(data, tmp_path):
    record = data.draw(st.sampled_from(real_records()))
    new = st.sampled_from(["new", "", "\x07", "window", "parameters", "kind", "published", "x" * 1000]).map(
        lambda n: (n,)
    )
    place = st.sampled_from([*places(record)]) | new | new.map(lambda name: ("recipe", *name))
    json_like = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    )
    value = st.sampled_from([*ODD, ...]) | json_like
    accepted(changed(record, data.draw(st.lists(st.tuples(place, value), min_size=1, max_size=4))), tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", "[" * 100_000, '{"a": NaN}', '{"a": ' + "9" * 5000 + "}", "\xff"]
)
def test_files_that_are_no_records(text, tmp_path):
    (tmp_path / "results.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"results\.json: "):
        read_record(tmp_path)
    found, skipped = records_below([tmp_path])
    assert found == []
    assert len(skipped) == 1


def test_folders_of_mixed_records(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "own" / "results.json").write_bytes(RECORDS[0].read_bytes())
    (tmp_path / "foreign" / "results.json").write_text('{"accuracy": 1}')
    found, skipped = records_below([tmp_path])
    assert [record.folder.name for record in found] == ["own"]
    assert len(skipped) == 1
    assert "foreign" in skipped[0]
    assert found[0].kind == "task"
    assert found[0].spec == json.loads(RECORDS[0].read_text())["spec"]
    with pytest.raises(AttributeError, match="a record has no 'colour'"):
        found[0].colour  # noqa: B018


def test_a_small_file_that_decodes_to_gigabytes_is_refused(tmp_path, monkeypatch):
    """One text in every row: it is counted before it is written out for each."""
    rows, text = 70_000, "x" * 30_000
    indices = pa.array(np.zeros(rows, np.int32))
    table = pa.table({"chrom": pa.DictionaryArray.from_arrays(indices, [text]), "id": np.arange(rows)})
    path = tmp_path / "predictions.parquet"
    pq.write_table(table, path, store_schema=False)
    assert path.stat().st_size < 1 << 20
    assert rows * len(text) > MOST_BYTES
    monkeypatch.setattr(records, "MOST_BYTES", 1 << 26)  # to save time
    before = pa.total_allocated_bytes()
    with pytest.raises(InputError, match=r"predictions.parquet: 70,000 rows of [\d,]+ bytes, too many"):
        read_bounded(path)
    assert pa.total_allocated_bytes() - before < 1 << 26
    pq.write_table(pa.table({"chrom": ["chr1", "chr1", None], "score": [1.0, 2.0, None]}), path)
    assert read_bounded(path, flat=True).to_pydict() == {"chrom": ["chr1", "chr1", None], "score": [1.0, 2.0, None]}


@pytest.mark.parametrize(
    "column",
    [
        [[1.0] * 5] * 3,
        [{"a": 1}] * 3,
        [b"a"] * 3,
        pa.array([1, 2, 3], pa.decimal128(5)),
        pa.array([1, 2, 3], pa.date32()),
    ],
)
def test_columns_of_other_types_are_refused(column, tmp_path):
    pq.write_table(pa.table({"score": column}), tmp_path / "predictions.parquet")
    with pytest.raises(InputError, match=r"predictions.parquet: column 'score' is of type"):
        read_bounded(tmp_path / "predictions.parquet", flat=True)


def run_of_task_1(folder, **columns):
    """A record, and predictions of which some columns are others than it was made from."""
    rows = 40
    rng = np.random.default_rng(0)
    table = {
        "id": np.arange(rows),
        "chrom": ["chr5"] * rows,
        "start": np.arange(rows) * 1_000_000,
        "score": rng.normal(1, 1, rows),
        "control_score": rng.normal(0, 1, rows),
    }
    record = json.loads(next(p for p in RECORDS if '"zero_shot_likelihood"' in p.read_text()).read_text())
    record |= {"task": "regulatory_elements", "dataset": record["dataset"] | {"rows": rows}}
    record |= {"schema_version": 4, "kind": "task", "spec": {}, "blocks": "1Mb"}
    record["metrics"] = {name: dict(own) for name, own in measured(pa.table(table), record).items()}
    record["fingerprint"] = fingerprint(record)
    write_record(folder, record, pa.table(table))
    if columns:
        path = folder / "predictions.parquet"
        pq.write_table(pa.table({**table, **{name: values * rows for name, values in columns.items()}}), path)
        written = json.loads((folder / "results.json").read_text())
        written["predictions"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        (folder / "results.json").write_text(json.dumps(written))
    return folder


def test_a_recipe_is_read_by_the_name_that_it_has_now(tmp_path):
    """Its record is still valid, as its fingerprint is of what was written, and lies where it was put."""
    folder = run_of_task_1(tmp_path / "one")
    written = read_record(folder)
    written |= {"recipe": {"name": "biofoundation", "window": 350}, "spec": {"recipe": "biofoundation", "window": 350}}
    written |= {"schema_version": 3, "fingerprint": fingerprint(written)}
    place = record_folder(tmp_path, written)
    assert place.name == "recipe=biofoundation,window=350"
    write_record(place, written, pq.read_table(folder / "predictions.parquet"))
    for record in (read_record(place), validate_record(place), validate_submission(place, tmp_path)):
        assert record["recipe"]["name"] == record["spec"]["recipe"] == "whole-alleles"
        assert record["fingerprint"] == written["fingerprint"]
    assert with_current_name({"name": "biofoundation"}, None) == {"name": "whole-alleles"}
    assert with_current_name({"name": "biofoundation"}, 4) == {"name": "biofoundation"}
    assert with_current_name({"name": "carbon"}, 2) == {"name": "carbon"}
    assert with_current_name({}, 1) == {}


VALUES = [2**62, float("nan"), "x\ny", True, None]


@pytest.mark.parametrize("name", ["id", "chrom", "start", "score"])
def test_odd_predictions_are_one_line(name, tmp_path):
    """Every column of every odd value, and nulls: refused, as no metric follows."""
    validate_record(run_of_task_1(tmp_path / "whole"))
    for number, value in enumerate(VALUES):
        folder = run_of_task_1(tmp_path / str(number), **{name: [value]})
        try:
            validate_record(folder)
        except InputError as error:
            check_line(error)
        else:
            assert name in ("start", "chrom"), value  # which some metrics do without


def of_version_3(folder):
    """A record as it was before blocks: without them, with an exact interval, a metric by block, and other p-values."""
    record = json.loads((run_of_task_1(folder) / "results.json").read_text())
    del record["blocks"]
    record["schema_version"] = 3
    for metric in record["metrics"].values():
        del metric["iid"], metric["honest"]
    accuracy = record["metrics"]["accuracy"]
    record["metrics"]["accuracy_by_block"] = dict(accuracy)
    accuracy |= {"low": 0.1, "high": 0.9, "method": "exact binomial (Clopper-Pearson)"}
    record["metrics"]["wilcoxon_p"]["value"] = 1e-9
    (folder / "results.json").write_text(json.dumps(record))
    return folder


def test_an_earlier_record_is_valid_by_its_values_and_measured_again(tmp_path):
    folder, fresh = of_version_3(tmp_path / "old"), read_record(run_of_task_1(tmp_path / "new"))
    validate_record(folder)
    (old, new), said = valid_records_below([tmp_path])
    assert said == ["measured again from their predictions: 1 records of earlier versions"]
    assert {old.folder.name, new.folder.name} == {"old", "new"}
    assert old.content["metrics"] == new.content["metrics"] == fresh["metrics"]
    assert read_record(folder)["schema_version"] == 3  # a report leaves it as it is
    remeasure_all(tmp_path)
    again = validate_record(folder)
    assert (again["schema_version"], again["blocks"], again["metrics"]) == (4, "1Mb", fresh["metrics"])
    assert again["recipe"]["name"] == "whole-alleles"  # biofoundation by its present name

    changed = of_version_3(tmp_path / "changed") / "results.json"
    record = json.loads(changed.read_text())
    record["metrics"]["mean_diff"]["value"] += 0.1
    changed.write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"mean_diff value is .*, but the predictions give"):
        validate_record(changed.parent)
    record["metrics"]["mean_diff"]["value"] -= 0.1
    record["metrics"]["unheard_of"] = record["metrics"]["mean_diff"]
    changed.write_text(json.dumps(record))
    with pytest.raises(InputError, match="metrics unheard_of are missing or unknown"):
        validate_record(changed.parent)
    with pytest.raises(typer.Exit):
        remeasure_all(tmp_path)


def test_further_intervals_of_a_metric_are_checked(tmp_path):
    folder = run_of_task_1(tmp_path)
    record = json.loads((folder / "results.json").read_text())
    record["metrics"]["accuracy"]["iid"]["low"] = 0.99
    (folder / "results.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"accuracy iid is .*, but the predictions give"):
        validate_record(folder)
    del record["metrics"]["accuracy"]["iid"]
    with pytest.raises(InputError, match=r"metrics\.accuracy has no 'iid'"):
        check_schema(record, folder)


def test_a_report_over_records_of_all_kinds_and_broken_ones(tmp_path):
    """Each broken one costs itself, with a line."""
    run_of_task_1(tmp_path / "whole")
    run_of_task_1(tmp_path / "other predictions", score=[0.25])
    run_of_task_1(tmp_path / "texts", score=["a"])
    (run_of_task_1(tmp_path / "lost") / "predictions.parquet").unlink()
    (run_of_task_1(tmp_path / "damaged") / "predictions.parquet").write_bytes(b"PAR1")
    (run_of_task_1(tmp_path / "nested") / "results.json").write_text("[" * 100_000)
    valid, skipped = valid_records_below([tmp_path])
    assert [record.folder.name for record in valid] == ["whole"]
    assert len(skipped) == 5
    assert all(line.startswith(f"skipped: {tmp_path}") and "\n" not in line for line in skipped)


def test_a_record_of_a_megabyte_of_faults_is_looked_through_as_far_as_needed(monkeypatch):
    """No rule collects the faults of all entries before the first is reported."""
    record = real_records()[0]
    seen = []
    number = schema_validator().TYPE_CHECKER.is_type

    def counted(self, instance, kind):
        seen.append(kind)
        return number(instance, kind)

    monkeypatch.setattr(type(schema_validator()), "is_type", counted)
    for place, value in (
        (("recipe", "a"), [[]] * 20_000),
        (("recipe", "a"), {f"b{n}": [] for n in range(20_000)}),
        (("spec",), {f"a{n}": {f"b{m}": {} for m in range(300)} for n in range(50)}),
    ):
        with pytest.raises(InputError):
            check_schema(changed(record, [(place, value)]), "results.json")
        assert len(seen) < 100_000, place
        seen.clear()


def test_versions_name_what_a_cpu_computes_with(monkeypatch):
    monkeypatch.delenv("HYENADNA_CPU", raising=False)
    assert records.package_versions()["cpu"] == torch.backends.cpu.get_cpu_capability()
    assert "HYENADNA_CPU" not in records.package_versions()
    monkeypatch.setenv("HYENADNA_CPU", "portable")
    assert records.package_versions()["HYENADNA_CPU"] == "portable"
