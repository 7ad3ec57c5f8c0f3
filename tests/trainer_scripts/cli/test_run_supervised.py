"""`dart-eval run --setting probed | finetuned | ab_initio` from end to end, on a small genome made up here."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pyBigWig
import pytest
import yaml

from evaluation_dart.records import read_record, validate_record
from tests.trainer_scripts.cli.in_process import dart_eval

FIXTURES = Path(__file__).parents[2] / "fixtures"
MODEL = FIXTURES / "model" / "small_d32_l2_s130"
LENGTH, WINDOW, BLOCK = 240_000, 100, 80_000
QUICK = ("--set", "num_train_epochs=1", "--set", "batch_size=8", "--set", "learning_rate=1e-3", "--window", WINDOW)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Genome of one contig in three blocks: train, validation, test; elements, peaks, signal and variants on it."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    bases = rng.choice(list("ACGT"), size=LENGTH)
    starts = np.arange(3000, LENGTH - 3000, 5000)
    for start in starts[::2]:  # elements of every second place are rich in GC
        bases[start : start + 300] = rng.choice(list("ACGGCC"), size=300)
    (folder / "genome.fa").write_text(">chr1\n" + "".join(bases) + "\n")
    names = ("train", "validation", "test")
    blocks = [f"chr1\t{i * BLOCK}\t{(i + 1) * BLOCK}\t{name}" for i, name in enumerate(names)]
    (folder / "splits.bed").write_text("\n".join(blocks) + "\n")
    lines = [f"chr1\t{start}\t{start + 300}\t{('K562', 'HEPG2')[i % 2]}" for i, start in enumerate(starts)]
    (folder / "elements.bed").write_text("\n".join(lines) + "\n")
    for name, first in (("peaks", 0), ("nonpeaks", 1)):
        (folder / f"{name}.bed").write_text("\n".join(lines[first::2]) + "\n")
    with pyBigWig.open(str(folder / "signal.bw"), "w") as track:
        track.addHeader([("chr1", LENGTH)])
        values = [10.0 + i if i % 2 == 0 else 1.0 + i for i in range(len(starts))]
        at = starts.tolist()
        track.addEntries(["chr1"] * len(at), at, ends=[start + 300 for start in at], values=values)
    variants = ["chrom\tpos\tallele1\tallele2\tbeta"]
    for start in starts[:12].tolist():
        other = "A" if bases[start + 100] != "A" else "C"
        variants.append(f"chr1\t{start + 101}\t{bases[start + 100]}\t{other}\t{rng.normal():.3f}")
    (folder / "variants.tsv").write_text("\n".join(variants) + "\n")
    return folder


def inputs(data, task):
    files = {
        "regulatory_elements": {"elements": "elements.bed", "splits": "splits.bed"},
        "cell_type_elements": {"elements": "elements.bed", "splits": "splits.bed"},
        "chromatin_activity": {"peaks": "peaks.bed", "idr": "peaks.bed", "nonpeaks": "nonpeaks.bed"}
        | {"signal": "signal.bw", "splits": "splits.bed"},
        "variant_effects": {"variants": "variants.tsv"},
    }[task]
    named = [f"--{name}={data / file}" for name, file in ({"genome": "genome.fa"} | files).items()]
    extra = {
        "chromatin_activity": ["--cell-type", "GM12878"],
        "variant_effects": ["--effect", "beta", "--effect-allele", "allele2"],
    }
    return ["--task", task, "--cache-dir", data / "cache", *named, *extra.get(task, [])]


def run(data, output, task, model, setting, *more):
    where = ("--output", output / "results", "--training", output / "training")
    return dart_eval("run", "--model", model, "--setting", setting, *inputs(data, task), *where, *more)


def record_of(done):
    status, out, err = done
    assert status == 0, err
    folder = Path(out.rpartition("record: ")[2].strip())
    validate_record(folder)
    return folder, read_record(folder)


def test_probed_with_cache_equals_on_the_fly_but_for_half_precision(data, tmp_path):
    folder, record = record_of(run(data, tmp_path, "cell_type_elements", MODEL, "probed", *QUICK))
    recipe = record["recipe"]
    assert (recipe["method"], recipe["num_train_epochs"], recipe["batch_size"], recipe["window"]) == (
        "probing",
        1,
        8,
        WINDOW,
    )
    assert recipe["budget"] == "full"
    assert recipe["train_rows"] == 16
    written = [*(tmp_path / "training").rglob("training.yaml")]
    assert len(written) == 1
    choices = yaml.safe_load(written[0].read_text())
    assert choices["training"]["learning_rate"] == 1e-3
    assert choices["model"]["trained_parameters"] == 32 * 32 + 32 + 2 * (32 * 32 * 8 + 32) + 32 * 5 + 5
    cached = run(data, tmp_path / "c", "cell_type_elements", MODEL, "probed", *QUICK, "--cache", tmp_path / "cache")
    assert "MB to write" in cached[2]
    other, _ = record_of(cached)
    one, two = (pq.read_table(own / "predictions.parquet")["logit_K562"].to_numpy() for own in (folder, other))
    np.testing.assert_allclose(one, two, atol=5e-3)
    again = run(data, tmp_path, "cell_type_elements", MODEL, "probed", *QUICK)
    assert record_of(again)[1] == record


def test_finetuned_on_pairs_and_the_same_architecture_from_random_weights(data, tmp_path):
    tuned = record_of(run(data, tmp_path, "regulatory_elements", MODEL, "finetuned", *QUICK))[1]
    assert tuned["recipe"]["method"] == "lora"
    assert tuned["metrics"]["accuracy"]["n"] == 2 * tuned["dataset"]["rows"]
    random = record_of(run(data, tmp_path, "regulatory_elements", f"random:{MODEL}", "ab_initio", *QUICK))[1]
    assert random["model"]["id"] == tuned["model"]["id"] + "-random-weights"
    assert random["model"]["trained_parameters"] == random["model"]["parameters"] > tuned["model"]["trained_parameters"]


def test_full_finetuning_and_linear_probe_lie_beside_the_others(data, tmp_path):
    more = ("--method", "full", *QUICK, "--set", "bf16=true", "--set", "reverse_complement=true")
    record = record_of(run(data, tmp_path, "cell_type_elements", MODEL, "finetuned", *more))[1]
    assert record["recipe"]["reverse_complement"] is True
    more = ("--method", "linear", "--window", WINDOW)
    record = record_of(run(data, tmp_path, "cell_type_elements", MODEL, "probed", *more))[1]
    assert record["recipe"]["name"] == "probed-linear"
    assert record["recipe"]["features"].startswith("layer ")
    names = sorted(path.name for path in (tmp_path / "training").glob("*/*/cell_type_elements/*"))
    assert names == ["finetuned-full", "probed-linear"]


@pytest.mark.parametrize("model", ["network:probing-head-like", "kmers:3", "gc-content"])
def test_small_models_from_scratch_learn_gc(data, tmp_path, model):
    """Also by former names of a model and a hyper-parameter."""
    more = ("--set", "epochs=30", "--set", "batch_size=8", "--window", 300) if model.startswith("network") else ()
    record = record_of(run(data, tmp_path, "cell_type_elements", model, "ab_initio", *more))[1]
    assert record["model"]["id"] == f"ab-initio/{model.removeprefix('network:').replace(':', '-')}"
    assert record["metrics"]["auroc_K562"]["value"] > 0.9


@pytest.mark.parametrize(
    ("model", "setting"), [(MODEL, "probed"), ("network:probing-head-like", "ab_initio"), ("gc", "ab_initio")]
)
def test_variants_by_the_model_of_task_4(data, tmp_path, model, setting):
    more = QUICK if model != "gc" else ("--window", WINDOW)
    early = run(data, tmp_path, "variant_effects", model, setting, "--window", WINDOW)
    assert early[0] == 1
    assert "no such file; train the model first" in early[2]
    _, trained = record_of(run(data, tmp_path, "chromatin_activity", model, setting, *more))
    assert "spearman_all" in trained["metrics"] or "spearman_peaks" in trained["metrics"]
    folder, record = record_of(run(data, tmp_path, "variant_effects", model, setting, "--window", WINDOW))
    assert record["recipe"]["weights"] == trained["recipe"]["weights"]
    change = pq.read_table(folder / "predictions.parquet")
    assert (change["score1"].to_numpy() != change["score2"].to_numpy()).any()


def test_budget_small_draws_rows(data, tmp_path, monkeypatch):
    from evaluation_dart import run as runs
    from evaluation_dart.training import supervised

    monkeypatch.setattr(runs, "SMALL_TEST_ROWS", 5)
    monkeypatch.setattr(supervised, "SMALL_ROWS", {"train": 8, "validation": 6})
    monkeypatch.setattr(supervised, "SMALL", {"num_train_epochs": 2, "batch_size": 4})
    more = ("--budget", "small", "--window", WINDOW)
    record = record_of(run(data, tmp_path, "cell_type_elements", MODEL, "finetuned", *more))[1]
    assert (record["recipe"]["train_rows"], record["recipe"]["validation_rows"], record["recipe"]["steps"]) == (8, 6, 4)
    assert record["dataset"]["rows"] == 5
    assert record["recipe"]["budget"] == "small"


def test_a_table_of_predictions(data, tmp_path):
    folder, record = record_of(run(data, tmp_path, "cell_type_elements", "gc", "ab_initio"))
    table = pq.read_table(folder / "predictions.parquet")
    pq.write_table(table, tmp_path / "elsewhere.parquet")
    given = record_of(
        run(data, tmp_path, "cell_type_elements", f"table:{tmp_path / 'elsewhere.parquet'}", "ab_initio")
    )[1]
    assert given["model"]["id"] == "table/elsewhere"
    assert given["metrics"] == record["metrics"]


def test_bad_wishes_are_one_line(data, tmp_path):
    def refused(message, *arguments):
        status, _, err = run(data, tmp_path, "cell_type_elements", *arguments)
        assert status == 1, arguments
        assert message in err.splitlines()[-1]

    refused("method cnn: setting finetuned has lora, full", MODEL, "finetuned", "--method", "cnn")
    refused("there is no hyper-parameter 'depth'", MODEL, "probed", "--window", WINDOW, "--set", "depth=3")
    many = ("--set", "num_train_epochs=many")
    refused("hyper-parameter num_train_epochs: 'many' is not of type int", MODEL, "probed", "--window", WINDOW, *many)
    refused("setting finetuned trains a Hub id or folder, not gc", "gc", "finetuned")
    refused("kmers:1 to kmers:8", "kmers:12", "ab_initio")
    refused("network:cnn: there are network:probing-head-like", "network:cnn", "ab_initio")
    refused("no such file", tmp_path / "none.tsv", "ab_initio")
    blocks = (data / "splits.bed").read_text().splitlines()
    (tmp_path / "no_validation.bed").write_text("\n".join([blocks[0], blocks[2]]) + "\n")
    splits = f"--splits={tmp_path / 'no_validation.bed'}"
    refused("no element is in split 'validation'", "gc", "ab_initio", splits)


def test_hyperparameters_of_a_training_can_be_taken_again(data, tmp_path):
    record_of(run(data, tmp_path, "cell_type_elements", MODEL, "finetuned", *QUICK))
    (choices,) = (tmp_path / "training").rglob("training.yaml")
    more = ("--hyperparameters", choices, "--window", WINDOW)
    again = record_of(run(data, tmp_path / "again", "cell_type_elements", MODEL, "finetuned", *more))[1]
    first = read_record(next((tmp_path / "results").rglob("results.json")).parent)
    assert again["recipe"] == first["recipe"]


def test_profile(tmp_path):
    length = ("--length", 100, "--batch-size", 2, "--warmup", 1, "--batches", 2, "--device", "cpu")
    status, out, err = dart_eval("profile", "--model", MODEL, *length, "--output", tmp_path / "profile.json")
    assert status == 0, err
    found = json.loads(out)
    assert found == json.loads((tmp_path / "profile.json").read_text())
    assert found["parameters"] == found["trained_parameters"]
    assert found["batches"] == 2
    status, _, err = dart_eval("profile", "--model", MODEL, "--setting", "clustering")
    assert (status, "setting clustering" in err) == (1, True)
