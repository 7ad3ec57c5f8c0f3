"""Comparison: differences and p-values by hand, what is matched with what, and what is said of the rest."""

import csv
import dataclasses
import itertools
import json
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evaluation_dart import compare
from evaluation_dart.comparison import described_by, difference_of
from evaluation_dart.records import (
    Record,
    all_metrics,
    fingerprint,
    load_record,
    record_folder,
    split_by_value,
    task_estimates,
    write_record,
)
from evaluation_dart.statistics import estimates
from evaluation_dart.statistics.blocks import column_blocks
from evaluation_dart.statistics.significance import holm
from evaluation_dart.tasks import TASKS
from tests.evaluation_dart.report.test_report import run, submit

BLOCK = 1_000_000


def pairs_table(score, control, blocks):
    """Predictions of task 1: rows in blocks of these numbers."""
    n = len(score)
    return pa.table({"id": range(n), "chrom": ["chr5"] * n, "start": np.asarray(blocks) * BLOCK + np.arange(n),
                     "score": np.asarray(score, float), "control_score": np.asarray(control, float)})  # fmt: skip


def made(root, table, model="org/a", spec=None, task="regulatory_elements", setting="zero_shot_likelihood", **changes):
    """The record of these predictions, at its place below `root`."""
    content = dict(load_record(submit(root / "template" / model.replace("/", "_"))).content)
    content |= {"task": task, "setting": setting, "spec": spec or {}, "kind": "task", "schema_version": 4}
    content |= {"model": {"id": model, "revision": "abc"}, "blocks": "1Mb"} | changes
    content["dataset"] = content["dataset"] | {"rows": table.num_rows}
    content |= {"fingerprint": fingerprint(content)} | split_by_value(all_metrics(table, content))
    folder = record_folder(root / "records", content)
    return Record(folder, write_record(folder, content, table))


def wins(record):
    table = record.predictions()
    return (table["score"].to_numpy() > table["control_score"].to_numpy()).astype(float)


@pytest.fixture
def two(tmp_path):
    """Two models on 60 rows in 12 blocks of 2 to 8 rows."""
    rng = np.random.default_rng(3)
    blocks = np.repeat(np.arange(12), [2, 8, 5, 5, 4, 6, 5, 5, 7, 3, 5, 5])
    control = rng.normal(0, 1, 60)
    own = [made(tmp_path, pairs_table(rng.normal(mean, 1, 60), control, blocks), f"org/{name}")
           for name, mean in (("a", 1.2), ("b", 0.4))]  # fmt: skip
    return own, blocks


def test_difference_interval_and_power_by_hand(two):
    (a, b), blocks = two
    found = compare(a, b).metrics["accuracy"]
    d = wins(a) - wins(b)
    assert found.difference == pytest.approx(d.mean())
    assert (found.a, found.b, found.n) == (pytest.approx(wins(a).mean()), pytest.approx(wins(b).mean()), 60)
    without = np.array([d[blocks != block].mean() for block in range(12)])
    error = np.sqrt(11 / 12 * ((without - without.mean()) ** 2).sum())
    share = np.bincount(blocks) / 60
    df = 1 / (share**2).sum() - 1
    reach = stats.t.ppf(0.975, df) * error
    assert (found.low, found.high) == (pytest.approx(d.mean() - reach), pytest.approx(d.mean() + reach))
    assert found.detectable == pytest.approx((stats.t.ppf(0.975, df) + stats.t.ppf(0.8, df)) * error)
    assert found.method == (
        f"jackknife of 12 1-Mb blocks of the genome, t({df:.3g}), paired; p by turning the signs of 12 blocks"
    )


def test_p_of_a_mean_is_that_of_all_signs_of_the_blocks(two):
    (a, b), blocks = two
    for name, d in (("accuracy", wins(a) - wins(b)), ("mean_diff", difference(a) - difference(b))):
        sums = np.bincount(blocks, weights=d)
        totals = [abs(np.dot(signs, sums)) for signs in itertools.product((1, -1), repeat=12)]
        expected = np.mean(np.array(totals) >= abs(sums.sum()) - 1e-9)
        assert compare(a, b).metrics[name].p == pytest.approx(expected)


def difference(record):
    table = record.predictions()
    return table["score"].to_numpy() - table["control_score"].to_numpy()


def test_p_of_another_metric_is_of_the_paired_t(two):
    (a, b), _ = two
    found = compare(a, b)
    one, other = (task_estimates(own.predictions(), own.content)["median_diff"] for own in (a, b))
    apart = estimates.difference(one, other)
    t = apart.value / estimates.standard_error(apart)
    expected = 2 * stats.t.sf(abs(t), estimates.degrees_of_freedom(apart))
    assert found.metrics["median_diff"].p == pytest.approx(expected)
    assert found.metrics["median_diff"].method.endswith("; p of the same t")
    assert found.only.undefined["wilcoxon_p"] == "not compared: a p-value"


@settings(max_examples=25, deadline=None)
@given(
    scores=st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.booleans()), min_size=24, max_size=40),
    metric=st.sampled_from(["mean", "auroc", "spearman"]),
)
def test_a_model_against_itself_and_turned_round(scores, metric):
    one, two, positive = (np.array(own) for own in zip(*scores, strict=True))
    blocks = column_blocks(np.arange(len(one)) % 12, "values of block")
    make = {
        "mean": lambda x: estimates.mean(x.astype(float), blocks),
        "auroc": lambda x: estimates.auroc(x.astype(float), positive, blocks),
        "spearman": lambda x: estimates.spearman(x.astype(float), two + 0.1 * np.arange(len(one)), blocks),
    }[metric]
    name = "accuracy" if metric == "mean" else metric
    same = difference_of(name, make(one), make(one))
    assert same.difference == 0 or np.isnan(same.difference)
    if make(one).without is not None:
        assert same.p == 1
    there, back = difference_of(name, make(one), make(two)), difference_of(name, make(two), make(one))
    if np.isfinite(there.difference):
        assert there.difference == -back.difference
        assert there.p == pytest.approx(back.p)
        assert (there.low, there.high) == tuple(
            None if end is None else pytest.approx(-end, abs=1e-12) for end in (back.high, back.low)
        )


def test_a_record_against_itself(two):
    (a, _), _ = two
    found = compare(a, a)
    assert all(own.difference == 0 for own in found.metrics.values())
    assert found.metrics["accuracy"].p == found.metrics["q25_diff"].p == 1
    assert found.metrics["accuracy"].method == "no interval: the same in every block"


def test_an_interval_goes_no_further_than_a_difference_can(tmp_path):
    blocks = np.arange(24) // 2
    score = np.where(np.arange(24) == 0, -1.0, 1.0)
    a, b = (made(tmp_path, pairs_table(sign * score, np.zeros(24), blocks), f"org/{sign}") for sign in (1, -1))
    found = compare(a, b).metrics["accuracy"]
    assert (found.difference, found.high) == (pytest.approx(22 / 24), 1)


def test_too_few_blocks_have_no_interval_and_no_p(tmp_path):
    rng = np.random.default_rng(0)
    a, b = (made(tmp_path, pairs_table(rng.normal(1, 1, 20), np.zeros(20), np.arange(20) % 5), name)
            for name in ("org/a", "org/b"))  # fmt: skip
    found = compare(a, b).metrics["accuracy"]
    assert (found.low, found.high, found.p, found.detectable) == (None, None, None, None)
    assert found.method == "no interval: 5 1-Mb blocks of the genome, fewer than 10"


def test_records_with_other_blocks_are_listed_without_intervals(two, tmp_path):
    (a, b), _ = two
    content = {**b.content, "blocks": "chromosomes"}
    other = Record(b.folder, content)
    found = compare(a, other)
    assert found.metrics["accuracy"].p is None
    assert found.metrics["accuracy"].method == "no interval: the records have other blocks (1Mb and chromosomes)"
    assert compare(a, other, blocks="1Mb").metrics["accuracy"] == compare(a, b).metrics["accuracy"]


def test_undefined_metrics_are_listed(tmp_path):
    n, rng = 40, np.random.default_rng(0)
    base = {"id": range(n), "chrom": ["chr1"] * n, "position": np.arange(n) * BLOCK, "label": [None] * n}
    base |= {"effect": rng.normal(size=n), "used": [True] * n, "effect_allele": [2] * n, "score1": np.zeros(n)}
    records = [
        made(tmp_path, pa.table(base | {"score2": score}), model, task="variant_effects")
        for model, score in (("org/a", np.ones(n)), ("org/b", rng.normal(size=n)))
    ]
    found = compare(*records)
    assert found.only.undefined["pearson"].startswith("not compared: of a not defined: what is correlated is constant")
    assert "direction_accuracy" in found.metrics
    assert "pearson: not compared: of a not defined" in str(found)
    assert ("pearson", None) in [(row["metric"], row["difference"]) for row in found.table.to_pylist()]


def test_folders_are_matched_and_all_pairs_corrected(tmp_path):
    rng = np.random.default_rng(1)
    blocks, control = np.arange(40) // 2, rng.normal(0, 1, 40)
    for name, mean in (("a", 2.0), ("b", 1.0), ("c", 0.0)):
        made(tmp_path, pairs_table(rng.normal(mean, 1, 40), control, blocks), f"org/{name}")
    alone = made(tmp_path, pairs_table(rng.normal(0, 1, 40), control, blocks), "org/a", setting="probed")
    found = compare(*(tmp_path / "records" / f"org__{name}" for name in "abc"))
    assert [(pair.a.label, pair.b.label) for pair in found.pairs] == [
        ("org/a", "org/b"), ("org/a", "org/c"), ("org/b", "org/c"),
    ]  # fmt: skip
    assert found.left_out == ("not compared: org/a: the only model on regulatory_elements, probed",)
    p = np.array([pair.metrics["accuracy"].p for pair in found.pairs])
    assert [pair.metrics["accuracy"].p_holm for pair in found.pairs] == pytest.approx(holm(p))
    every = [own for pair in found.pairs for own in pair.metrics.values() if own.p is not None]
    corrected = stats.false_discovery_control([own.p for own in every])
    assert [own.p_bh for own in every] == pytest.approx(corrected)
    rows = found.table.to_pylist()
    assert {row["setting"] for row in rows} == {"zero_shot_likelihood"}
    with pytest.raises(ValueError, match="3 pairs were compared: see pairs, or table"):
        found.metrics  # noqa: B018
    text = str(found).splitlines()
    assert text[0].split() == [
        "task", "setting", "model_a", "model_b", "metric", "a", "b", "difference", "low", "high", "p",
        "p_holm_over_pairs", "p_bh_over_table", "detectable_at_80_power", "n",
    ]  # fmt: skip
    assert len(text) == 6  # of the metric to look at only, with its method and what was left out
    assert compare(tmp_path / "records").table == found.table
    assert alone.folder.name == "probed"


def test_of_folders_a_record_without_predictions_is_left_out(tmp_path):
    rng = np.random.default_rng(1)
    a, _, c = (made(tmp_path, pairs_table(rng.normal(1, 1, 40), np.zeros(40), np.arange(40) // 2), f"org/{name}")
               for name in "abc")  # fmt: skip
    (c.folder / "predictions.parquet").unlink()
    found = compare(tmp_path / "records")
    assert (found.only.a.label, found.only.b.label) == ("org/a", "org/b")
    assert len(found.left_out) == 2
    assert all("predictions.parquet: no such file" in why for why in found.left_out)
    with pytest.raises(FileNotFoundError, match="no such file"):
        compare(a, c)


def test_records_that_differ_in_their_seed_are_one_model(tmp_path):
    rng = np.random.default_rng(2)
    blocks, control = np.arange(40) // 2, rng.normal(0, 1, 40)
    seeds = [made(tmp_path, pairs_table(rng.normal(1, 1, 40), control, blocks), "org/a-random-weights", {"seed": seed})
             for seed in (0, 1)]  # fmt: skip
    other = made(tmp_path, pairs_table(rng.normal(0, 1, 40), control, blocks), "org/b")
    found = compare(tmp_path / "records")
    assert (found.only.a.label, found.only.b.label) == ("org/a-random-weights, mean over 2 seeds", "org/b")
    accuracy = found.metrics["accuracy"]
    assert accuracy.a == pytest.approx(np.mean([wins(own).mean() for own in seeds]))
    assert accuracy.difference == pytest.approx(accuracy.a - wins(other).mean())
    assert "with the spread over 2 seeds" in accuracy.method


def test_settings_and_recipes_of_one_model_are_told_apart(tmp_path):
    rng = np.random.default_rng(2)
    tables = [pairs_table(rng.normal(1, 1, 40), np.zeros(40), np.arange(40) // 2) for _ in range(2)]
    made(tmp_path, tables[0], "org/a")
    made(tmp_path, tables[1], "org/a", {"recipe": "carbon"}, recipe={"name": "carbon", "window": 350})
    found = compare(tmp_path / "records")
    assert {found.only.a.label, found.only.b.label} == {"org/a", "org/a (recipe=carbon)"}


def test_what_is_refused(two, tmp_path):
    (a, b), _ = two
    other = dataclasses.replace(a, content=a.content | {"task": "variant_effects"})
    with pytest.raises(ValueError, match=r"the records differ in task \(regulatory_elements and variant_eff"):
        compare(a, other)
    with pytest.raises(ValueError, match="there are no two records to compare: not compared: org/a: the only model"):
        compare(a)
    table = b.predictions()
    moved = made(tmp_path / "moved", table.set_column(2, "start", pa.array(np.arange(60) + 7)), "org/c")
    with pytest.raises(ValueError, match=r"the records differ in start of id 0: 0 and 7"):
        compare(a, moved)
    apart = made(tmp_path / "apart", table.set_column(0, "id", pa.array(np.arange(60) + 100)), "org/c")
    with pytest.raises(ValueError, match="have no row in common"):
        compare(a, apart)


def test_the_command_writes_a_table_and_a_figure(two, tmp_path, capsys, monkeypatch):
    (a, b), _ = two
    output, figure = tmp_path / "d.tsv", tmp_path / "d.svg"
    options = ("--output", output, "--figure", figure)
    status, out, _ = run(capsys, monkeypatch, "compare", a.folder, b.folder, *options)
    assert status == 0
    assert out == f"{compare(a, b)}\n"
    rows = list(csv.DictReader(output.open(), delimiter="\t"))
    accuracy = next(row for row in rows if row["metric"] == "accuracy")
    assert float(accuracy["difference"]) == compare(a, b).metrics["accuracy"].difference
    drawn = figure.read_bytes()
    assert b"<svg" in drawn
    assert run(capsys, monkeypatch, "compare", a.folder, b.folder, *options)[0] == 0
    assert figure.read_bytes() == drawn
    status, out, _ = run(capsys, monkeypatch, "--json", "compare", tmp_path / "records")
    assert {row["model_a"] for row in json.loads(out)["differences"]} == {"org/a"}
    status, _, err = run(capsys, monkeypatch, "compare", a.folder, b.folder, "--figure", "d.jpg")
    assert (status, err) == (1, "dart-eval: d.jpg: a figure is written as .png, .svg, .pdf\n")
    status, _, err = run(capsys, monkeypatch, "compare", a.folder, b.folder, "--per-motif", tmp_path / "m.tsv")
    assert (status, err.count("\n")) == (1, 1)
    assert "none of the pairs is of motif_footprinting, which has motifs" in err


@pytest.mark.parametrize("task", TASKS)
def test_what_a_model_says_describes_no_row(task, tmp_path):
    """Columns that two models may differ in are not among those that must be the same."""
    models = r"score.*|control_score|distance|prediction|(logit|cluster|output|loss)_.*|.*_loss|.*_sum|status"
    template = load_record(submit(tmp_path)).content
    for name, setting in TASKS[task].settings.items():
        record = Record(tmp_path, {**template, "task": task, "setting": name})
        own = {column for column in setting.columns if not re.fullmatch(models, column)}
        assert described_by(record) == own
