"""The command from end to end: golden result, resumption after kill -9, two processes, and every bad input."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from datasets_dart import BUILDERS, load_dart
from datasets_dart.alphabet import reverse_complement
from evaluation_dart.models.families import FAMILIES
from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.records import read_record, validate_record, write_record
from evaluation_dart.shards import PLACE, read_shard, write_shard
from modeling_hyenadna import HyenaDNAForCausalLM, HyenaDNATokenizer
from tests.trainer_scripts.cli.in_process import dart_eval

FIXTURES = Path(__file__).parents[2] / "fixtures"
GENOME, ELEMENTS = FIXTURES / "genome" / "genome.fa", FIXTURES / "task1" / "ccre.bed"
MODEL = FIXTURES / "model" / "tiny1k_d128_l2_s1026"
BERT = FIXTURES / "task1" / "bert_char"
MOTIFS = FIXTURES / "task2" / "motifs.meme"
SMALL = FIXTURES / "model" / "small_d32_l2_s130"


def command(*arguments, launcher=("-m",)):
    return [sys.executable, *launcher, "trainer_scripts.cli.dart_eval", *map(str, arguments)]


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    """A copy, because an index is written beside a genome."""
    folder = tmp_path_factory.mktemp("genome")
    return Path(shutil.copy(GENOME, folder))


@pytest.fixture(scope="module")
def run_options(genome, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return ("run", "--genome", genome, "--elements", ELEMENTS, "--cache-dir", cache)


@pytest.fixture(scope="module")
def finished(run_options, tmp_path_factory):
    """Standard output and record folder of a whole run of protocol paper."""
    output = tmp_path_factory.mktemp("results")
    done = dart_eval(*run_options, "--model", MODEL, "--protocol", "paper", "--output", output)
    assert done.returncode == 0, done.stderr
    (results,) = output.rglob("results.json")
    return done, results.parent


def test_run_equals_the_original(finished):
    done, folder = finished
    assert folder.parts[-4::2] == ("local__tiny1k_d128_l2_s1026", "regulatory_elements")
    assert folder.name == "zero_shot_likelihood"
    record, golden = read_record(folder), FIXTURES / "task1" / "zero_shot_hyenadna_tiny1k"
    metrics = json.loads((golden / "metrics.json").read_text())
    assert record["metrics"]["accuracy"]["value"] == metrics["acc"]
    assert record["metrics"]["median_diff"]["value"] == pytest.approx(metrics["median_diff"], abs=4e-3)
    assert record["recipe"] == {
        "name": "dart-eval",
        "reduction": "sum",
        "strand": "forward",
        "special_tokens": "not scored",
        "window": 350,
    }
    assert record["processes"] == 1
    assert record["model"]["id"] == "local/tiny1k_d128_l2_s1026"
    assert record["dataset"]["rows"] == record["predictions"]["rows"] == 122
    predictions = pq.read_table(folder / "predictions.parquet")
    scores = np.loadtxt(golden / "scores.tsv", skiprows=1)
    assert predictions["id"].to_pylist() == scores[:, 0].astype(int).tolist()
    assert np.abs(predictions["score"].to_numpy() - scores[:, 1]).max() <= 2e-3
    assert np.abs(predictions["control_score"].to_numpy() - scores[:, 2]).max() <= 2e-3
    assert "accuracy" in done.stdout
    assert str(folder) in done.stdout.replace("\n", "")
    assert sorted(path.name for path in folder.iterdir()) == ["predictions.parquet", "results.json"]
    assert "valid (122 predictions)" in dart_eval("validate", folder).stdout


def test_two_processes_equal_one(run_options, finished, tmp_path):
    options = (*run_options, "--model", MODEL, "--protocol", "paper", "--output", tmp_path, "--batch-size", "16")
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m")
    # Shards of 16 pairs, so that both processes have some
    environment = {**os.environ, "DART_EVAL_SHARD_ROWS": "16", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command(*options, launcher=torchrun), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    (results,) = tmp_path.rglob("results.json")
    assert read_record(results.parent)["processes"] == 2
    two, one = (pq.read_table(folder / "predictions.parquet") for folder in (results.parent, finished[1]))
    assert two["id"].equals(one["id"])
    for column in ("score", "control_score"):
        np.testing.assert_allclose(two[column].to_numpy(), one[column].to_numpy(), rtol=1e-5)


@pytest.fixture
def one_thread():
    """Sums in the same order as those of a process started with OMP_NUM_THREADS=1."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# The command, killed as kill -9 does once its third part of the predictions is in place
KILLED = """
import os, signal
from tests.trainer_scripts.cli.in_process import dart_eval
from trainer_scripts.cli.dart_eval import main

replace, parts = os.replace, []

def replace_and_count(source, target):
    replace(source, target)
    parts.append(str(target).endswith(".parquet"))
    if sum(parts) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

os.replace = replace_and_count
main()
"""


def test_a_killed_run_goes_on(run_options, tmp_path, monkeypatch, one_thread):
    options = (*run_options, "--model", MODEL, "--protocol", "paper", "--output", tmp_path, "--batch-size", "4")
    environment = {**os.environ, "DART_EVAL_SHARD_ROWS": "4", "OMP_NUM_THREADS": "1"}
    killed = subprocess.run([sys.executable, "-c", KILLED, *map(str, options)], env=environment, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    shards = list(tmp_path.rglob("*.parquet"))
    assert len(shards) == 3
    assert not list(tmp_path.rglob("results.json"))
    monkeypatch.setenv("DART_EVAL_SHARD_ROWS", "4")
    # What is there is taken over, not scored again: mark it, and find the mark in the result
    first = min(shards)
    marked, identity = read_shard(first), pq.read_schema(first).metadata[PLACE].decode().split()[-1]
    first.unlink()
    write_shard(first.parent, range(4), marked.set_column(3, "score", pa.array([1.5] * 4)), identity)

    assert dart_eval(*options).returncode == 0
    (results,) = tmp_path.rglob("results.json")
    assert dart_eval(*options, "--output", tmp_path / "uninterrupted").returncode == 0
    (others,) = (tmp_path / "uninterrupted").rglob("results.json")
    resumed, whole = (pq.read_table(path.with_name("predictions.parquet")) for path in (results, others))
    assert resumed["score"].to_pylist()[:4] == [1.5] * 4
    assert resumed.slice(4).equals(whole.slice(4))
    assert resumed["control_score"].equals(whole["control_score"])
    assert sorted(path.name for path in results.parent.iterdir()) == ["predictions.parquet", "results.json"]


def test_quiet_runs_write_nothing_but_the_result(run_options, tmp_path):
    options = (*run_options, "--model", SMALL, "--limit", "2", "--window", "64", "--output")
    seen = [
        subprocess.run(command(*quiet, *options, tmp_path / name), capture_output=True, text=True, check=True)
        for name, quiet in (("aloud", ()), ("still", ("--quiet",)))
    ]
    assert "scoring" in seen[0].stderr
    assert seen[1].stderr == ""
    assert "accuracy" in seen[1].stdout


def test_a_finished_run_is_kept_and_another_does_not_replace_it(run_options, finished, tmp_path):
    folder = finished[1]
    output = folder.parents[3]
    before = (folder / "results.json").read_bytes()
    options = (*run_options, "--model", MODEL, "--output", output)
    assert "accuracy" in dart_eval(*options, "--protocol", "paper").stdout
    refused = dart_eval(*options, "--protocol", "fixed")
    assert refused.returncode == 1
    assert "is the record of another run (protocol is 'paper' there and 'fixed' here)" in refused.stderr
    assert (folder / "results.json").read_bytes() == before
    torn = tmp_path / "torn"
    shutil.copytree(output, torn)
    (predictions,) = torn.rglob("predictions.parquet")
    predictions.unlink()
    refused = dart_eval(*options[:-1], torn, "--protocol", "paper")
    assert refused.returncode == 1
    assert "predictions.parquet: no such file" in refused.stderr
    assert dart_eval(*options[:-1], torn, "--protocol", "paper", "--overwrite").returncode == 0
    assert pq.read_table(predictions).num_rows == 122


def test_window_crops_the_centre_and_is_recorded(run_options, tmp_path):
    options = (*run_options, "--model", SMALL, "--limit", "6")
    refused = dart_eval(*options, "--output", tmp_path / "whole")
    assert refused.returncode == 1
    assert "reads at most 130 tokens, but 350 bases are 351 tokens" in refused.stderr
    assert not (tmp_path / "whole").exists()
    assert dart_eval(*options, "--output", tmp_path / "cropped", "--window", "128").returncode == 0
    (results,) = tmp_path.rglob("results.json")
    record = read_record(results.parent)
    assert record["recipe"]["window"] == 128
    assert record["dataset"]["rows"] == 6

    genome, cache = run_options[2], run_options[6]
    row = load_dart("regulatory_elements", genome=genome, elements=ELEMENTS, cache_dir=cache, split="test")[0]
    ids = HyenaDNATokenizer()(row["sequence"][111:239], return_tensors="pt").input_ids
    with torch.no_grad():
        log_p = HyenaDNAForCausalLM.from_pretrained(SMALL).eval()(ids).logits.log_softmax(-1)
    expected = log_p[0, :127].gather(-1, ids[0, 1:128, None]).sum().item()
    predictions = pq.read_table(results.parent / "predictions.parquet")
    assert predictions["score"][0].as_py() == pytest.approx(expected, abs=2e-3)
    too_long = dart_eval(*options, "--output", tmp_path / "long", "--window", "351")
    assert "window 351 is not within the 350 bp" in too_long.stderr


def test_masked_model_on_both_strands_of_blocks_of_ones_own(run_options, tmp_path):
    splits = tmp_path / "splits.bed"
    splits.write_text("chr6\t0\t1000000\ttest\nchr5\t0\t1000000\ttrain\n")
    done = dart_eval(
        *(*run_options, "--model", BERT, "--output", tmp_path, "--splits", splits, "--limit", "3"),
        *("--window", "40", "--recipe", "dart-eval-both-strands"),
    )
    assert done.returncode == 0, done.stderr
    # 2 sequences x 3 pairs x 40 bases x 2 strands
    assert "masked model: about 480 rows through the model, one for each token" in done.stderr
    (results,) = tmp_path.rglob("results.json")
    record = read_record(results.parent)
    assert record["recipe"]["name"] == "dart-eval-both-strands"
    assert record["recipe"]["strand"] == "mean"
    assert record["dataset"]["inputs"]["splits"].startswith("splits.bed sha256:")
    predictions = pq.read_table(results.parent / "predictions.parquet")
    assert set(predictions["chrom"].to_pylist()) == {"chr6"}

    inputs = {"genome": run_options[2], "elements": ELEMENTS, "splits": splits, "cache_dir": run_options[6]}
    row = load_dart("regulatory_elements", split="test", **inputs)[0]
    crop = row["control"][155:195]
    forward, reverse = load_language_model(BERT).log_likelihood([crop, reverse_complement(crop)])
    assert predictions["control_score"][0].as_py() == pytest.approx((forward + reverse) / 2, abs=1e-4)
    assert predictions["id"][0].as_py() == row["id"]


@pytest.mark.parametrize(
    ("bed", "message"),
    [
        ("chr5\t100\t300\nchr14\t5\t200\n", "elements.bed:2: chr14:5-200 is on a contig that"),
        ("chr5\t100\t300\nchr10\t1000\t900000000\n", "elements.bed:2: chr10:1000-900000000 ends beyond its contig"),
        ("chr5\t100\t300\nchr5\tten\t300\n", "elements.bed:2"),
        ("chr5\t100\n", "elements.bed:1"),
        ("", "elements.bed: the file is empty"),
        ("chrM\t100\t300\n", "none of its 1 rows lies in a split"),
        ("chr6\t100\t300\n", "no element is in split 'test'; there are validation"),
    ],
)
def test_bad_elements(bed, message, genome, tmp_path):
    elements = tmp_path / "elements.bed"
    elements.write_text(bed)
    output = tmp_path / "results"
    done = dart_eval(
        *("run", "--model", MODEL, "--genome", genome, "--elements", elements, "--output", output),
        *("--cache-dir", tmp_path / "cache"),
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not output.exists()


def test_bad_models_and_options(run_options, tmp_path):
    headless = tmp_path / "headless"
    shutil.copytree(MODEL, headless)
    config = json.loads((headless / "config.json").read_text())
    config["architectures"] = ["HyenaDNAForSequenceClassification"]
    (headless / "config.json").write_text(json.dumps(config))
    for options, message in [
        (("--model", headless), "no language-model head to take likelihoods from"),
        (("--model", tmp_path / "nothing"), "nothing"),
        (("--model", MODEL, "--recipe", "secret"), "recipe secret: there are dart-eval"),
        (("--model", MODEL, "--task", "variant_effects"), "variant_effects takes no argument 'elements'"),
        (("--model", MODEL, "--setting", "clustering"), "regulatory_elements has no setting clustering: there are"),
        (
            ("--model", f"motifs:{MOTIFS}"),
            "has no likelihoods, which regulatory_elements asks for in zero_shot_likelihood",
        ),
        (
            ("--model", MODEL, "--task", "chromatin_activity", "--peaks", "a=b", "--peaks", "c"),
            "for all of them, or for",
        ),
        (("--model", MODEL, "--genome", tmp_path / "no.fa"), "no.fa: no such file"),
        (("--model", MODEL, "--device", "abacus"), "device 'abacus' cannot be used"),
        (("--model", MODEL, "--revision", "v1"), "a folder has no revision 'v1'"),
    ]:
        done = dart_eval(*run_options, *options, "--output", tmp_path / "results")
        assert done.returncode == 1, message
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_list():
    out = dart_eval("ls").stdout
    assert "regulatory_elements: zero_shot_likelihood" in out
    for task in BUILDERS:
        assert f"{task}: " in out
    of_benchmark, beyond = out.split("tasks beyond DART-Eval, run when named")
    assert "variant_effects: " in of_benchmark
    assert beyond.index("long_range_recall: exact_repeat, mutated_repeat") < beyond.index("recipes for")
    for family in FAMILIES.values():
        assert f"{family.name}, {family.kind}, {family.model}: {family.status}\n" in out


@pytest.mark.parametrize("tampering", ["value", "n", "rows", "ids", "digest", "schema", "model", "p"])
def test_validate_refuses_tampering(tampering, finished, tmp_path):
    folder = Path(shutil.copytree(finished[1], tmp_path / "record"))
    record, predictions = read_record(folder), pq.read_table(folder / "predictions.parquet")
    record.pop("predictions")
    message = {
        "value": "accuracy value is 0.9, but the predictions give 0.508",
        "n": "accuracy n is 1000, but the predictions give 122",
        "rows": "121 rows, but the record counts 121 of a dataset of 122",
        "ids": "id 0 occurs 2 times",
        "digest": r"its SHA-256 differs",
        "schema": "the record has no 'protocol'",
        "model": "the fingerprint is not that of task, split, setting, protocol, recipe, model, dataset",
        "p": "wilcoxon_p value is 0.5[0-9]+, but the predictions give 0.5300",
    }[tampering]
    if tampering == "value":
        record["metrics"]["accuracy"]["value"] = 0.9
    if tampering == "n":
        record["metrics"]["accuracy"]["n"] = 1000
    if tampering == "rows":
        predictions = predictions.slice(1)
    if tampering == "ids":
        predictions = pa.concat_tables([predictions.slice(0, 1), predictions.slice(0, 1), predictions.slice(2)])
    if tampering == "model":
        record["model"]["id"] = "someone/another-model"
    if tampering == "p":
        record["metrics"]["wilcoxon_p"]["value"] *= 1 + 1e-4
    write_record(folder, record, predictions)
    if tampering == "digest":
        pq.write_table(predictions.slice(0, 5), folder / "predictions.parquet")
    if tampering == "schema":
        del record["protocol"]
        (folder / "results.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=message):
        validate_record(folder)


def test_a_task_beyond_the_benchmark_runs_when_it_is_named(tmp_path):
    """All its inputs are options; "all" tasks do not have it."""
    done = dart_eval(
        *("run", "--task", "long_range_recall", "--setting", "mutated_repeat", "--model", SMALL, "--genome", GENOME),
        *("--distances", "8,24,4096", "--segment", "16", "--context", "128", "--trials", "2", "--mutation-rate", "0.1"),
        *("--draw", "3", "--align", "1", "--output", tmp_path / "results", "--cache-dir", tmp_path / "cache"),
    )
    assert done.returncode == 0, done.stderr
    assert "copy_advantage_24" in done.stdout
    assert "2 windows at a distance of 4096 bp left out, more than 128 bp" in done.stderr
    (results,) = (tmp_path / "results").rglob("results.json")
    assert read_record(results.parent)["spec"]["distances"] == "8,24,4096"
    assert validate_record(results.parent)["recipe"]["copy"] == "mutated"
    refused = dart_eval("run", "--task", "long_range_recall", "--model", SMALL, "--genome", GENOME, "--trials", "some")
    assert refused.returncode == 1
    assert "trials='some' must be a whole number of at least 1" in refused.stderr
