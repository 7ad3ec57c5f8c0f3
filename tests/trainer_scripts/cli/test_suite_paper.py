"""`dart-eval suite --paper` from end to end, on a small genome made up here: run, marked, and read again."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.trainer_scripts.cli.in_process import dart_eval

FIXTURES = Path(__file__).parents[2] / "fixtures"
MOTIFS = FIXTURES / "task2" / "motifs.meme"
GENOME, ELEMENTS = FIXTURES / "genome" / "genome.fa", FIXTURES / "task1" / "ccre.bed"
MODEL = FIXTURES / "model" / "small_d32_l2_s130"
BASES, READ = 20_000, 60


def rows_of(output):
    with open(output / "tables.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path_factory.getbasetemp() / "datasets"))


def plan_file(folder, **content):
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_cells_of_dart_eval_are_run_or_marked(tmp_path):
    genome = tmp_path / "genome.fa"
    genome.write_bytes(GENOME.read_bytes())
    inputs = {"regulatory_elements": {"genome": str(genome), "elements": str(ELEMENTS), "window": 100}}
    rng = np.random.default_rng(0)
    backgrounds = tmp_path / "backgrounds.txt"
    backgrounds.write_text("".join("".join(rng.choice(list("ACGT"), 350)) + "\n" for _ in range(2)))
    inputs["motif_footprinting"] = {"motifs": str(MOTIFS), "backgrounds": str(backgrounds), "window": 100}
    models = {
        "HyenaDNA": {"model": str(MODEL), "note": "a small one"},
        "Caduceus": str(tmp_path / "none"),
        "DNABERT-2": {"missing": "no weights"},
    }
    models |= dict.fromkeys(("GENA-LM", "Mistral-DNA", "Nucleotide Transformer"))
    arguments = {"budget": "small", "hyperparameters": {"num_train_epochs": 1}}
    config = plan_file(
        tmp_path, models=models, inputs=inputs, arguments=arguments, tables=["Task 1", "Task 2", "Task 3"]
    )
    output = tmp_path / "out"
    line = ("suite", "--paper", "dart-eval", "--config", config, "--output", output, "--figures", "svg", "--device")
    status, out, _ = dart_eval(*line, "cpu")
    rows = rows_of(output)
    assert len(rows) == 334
    assert status == 1
    assert "failed: " in out
    by_row = {row["row"]: row for row in rows if (row["table"], row["setting"]) == ("Task 1", "zero_shot_likelihood")}
    trained = [row for row in rows if row["table"] == "Task 1" and row["setting"] != "zero_shot_likelihood"]
    assert all(row["measured"] for row in trained if row["row"] in ("HyenaDNA", "Probing-head-like"))
    own = by_row["HyenaDNA"]
    record = json.loads((Path(own["record"]) / "results.json").read_text())
    metric = record["metrics"]["accuracy"]
    assert (record["protocol"], own["note"], own["published"]) == ("paper", "a small one", "0.891")
    assert float(own["measured"]) == metric["value"]
    assert int(own["n"]) == metric["n"]
    assert float(own["difference"]) == pytest.approx(metric["value"] - 0.891)
    assert metric["honest"]["low"] is None  # of too few blocks there is no sound interval
    assert own["low"] == own["difference_low"] == ""
    assert "none" in by_row["Caduceus"]["reason"]
    assert by_row["DNABERT-2"]["reason"] == "no model: no weights"
    assert by_row["GENA-LM"]["reason"] == "no model: left out"
    reasons = {row["table"]: row["reason"] for row in rows if row["row"] == "HyenaDNA"}
    assert reasons["Task 3"] == "no data of cell_type_elements: no inputs are named for it"
    assert reasons["Task 5"] == "the table is left out"
    assert all(row["measured"] or row["reason"] for row in rows)
    likelihoods, embeddings = (row for row in rows if (row["table"], row["row"]) == ("Task 2", "HyenaDNA"))
    assert (likelihoods["source"], likelihoods["measured"] != "") == ("plot", True)
    assert (embeddings["published"], embeddings["difference"], embeddings["measured"] != "") == ("", "", True)
    drawn = {"task_1.svg", "task_2.svg", "task_2_zero_shot_likelihood.svg", "task_4.svg"}
    assert {path.name for path in (output / "figures").iterdir()} >= drawn
    kept = (Path(own["record"]) / "results.json").stat().st_mtime_ns
    dart_eval(*line, "cpu")
    assert rows_of(output) == rows
    assert (Path(own["record"]) / "results.json").stat().st_mtime_ns == kept


def genomic_benchmarks(folder):
    """Two sets of coordinates: elements rich in G and C, and others."""
    rng = np.random.default_rng(0)
    bases = rng.choice(list("ACGT"), size=BASES)
    starts = np.arange(0, BASES - READ, 100)
    for start in starts[::2]:
        bases[start : start + READ] = rng.choice(list("ACGGCC"), size=READ)
    (folder / "hg38.fa").write_text(">chr1\n" + "".join(bases) + "\n")
    for name in ("human_enhancers_cohn", "human_nontata_promoters"):
        for split, own in (("train", starts[:140]), ("test", starts[140:])):
            for number, label in enumerate(("positive", "negative")):
                lines = [f"{i},chr1,{start},{start + READ},+" for i, start in enumerate(own[number::2])]
                path = folder / "genomic_benchmarks" / name / split / f"{label}.csv"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("id,region,start,end,strand\n" + "\n".join(lines) + "\n")


def test_cells_of_hyenadna_are_run_or_marked(tmp_path):
    genomic_benchmarks(tmp_path)
    tables = ["Table A.4", "Table 4.5", "Figure 4.1", "Figure 4.2"]
    models = {"k-mers": "kmers:2", "HyenaDNA": None, "HyenaDNA from scratch": str(MODEL)}
    models["HyenaDNA in context"] = {"model": str(MODEL), "arguments": {"num_train_epochs": 1}}
    arguments = {"num_train_epochs": 1, "longest": 1, "max_length": READ}
    config = plan_file(tmp_path, models=models, arguments=arguments, tables=tables)
    output = tmp_path / "out"
    line = ("suite", "--paper", "hyenadna", "--config", config, "--inputs", tmp_path, "--output", output)
    line = (*line, "--figures", "none", "--device", "cpu")
    status, out, _ = dart_eval(*line)
    rows = rows_of(output)
    assert len(rows) == 352
    assert all(row["measured"] or row["reason"] for row in rows)
    cells = {(row["table"], row["row"], row["column"]): row for row in rows}
    one = cells["Table A.4", "k-mers", "human_enhancers_cohn"]
    record = json.loads((Path(one["record"]) / "results.json").read_text())
    assert float(one["measured"]) == pytest.approx(100 * record["metrics"]["accuracy"]["value"])
    assert (one["published"], one["note"]) == ("69.8", "in place of kmers:6")
    assert float(one["difference"]) == pytest.approx(float(one["measured"]) - 69.8)
    scratch = cells["Table A.4", "HyenaDNA from scratch", "human_nontata_promoters"]
    record = json.loads((Path(scratch["record"]) / "results.json").read_text())
    assert record["model"]["id"].endswith("-random-weights")
    assert cells["Table A.4", "HyenaDNA", "human_enhancers_cohn"]["reason"] == "no model: left out"
    assert cells["Table 4.5", "HyenaDNA from scratch", "1k"]["reason"].startswith("no data of species: ")
    assert "demo_human_or_worm" in cells["Table A.4", "k-mers", "demo_human_or_worm"]["reason"]
    assert "longer than the 1 tokens" in cells["Figure 4.1", "GPT with fused attention", "1,024 tokens"]["reason"]
    soft = {row["column"]: row for row in rows if row["setting"] == "soft_prompt, human_enhancers_cohn"}
    assert soft["2 vectors"]["measured"]
    assert soft["512 vectors"]["reason"]  # more than the model reads
    assert status == 1
    assert out.startswith("hyenadna: ")
    dart_eval(*line)
    assert rows_of(output) == rows


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--paper", "bert"), "no paper 'bert': there are dart-eval, hyenadna"),
        (("--paper", "dart-eval", "--figures", "gif"), "a figure is written as"),
        (("--paper", "dart-eval", "--tasks", "variant_effects"), "the tasks of --paper are those of its tables"),
        (("--paper", "hyenadna", "--batch-size", "4"), "batches are those of the paper"),
        (("--paper", "hyenadna", "--inputs", "none"), "none: is not a folder of inputs"),
        ((), "a suite needs --config suite.yaml, or --paper"),
        (("--config", "suite.yaml", "--inputs", "data"), "--inputs is for the tables of --paper"),
    ],
)
def test_bad_lines_are_refused_before_any_work(tmp_path, words, said):
    status, _, err = dart_eval("suite", *words, "--output", tmp_path / "out")
    assert (status, said in err) == (1, True)
    assert not (tmp_path / "out").exists()


def test_an_argument_that_no_program_has_is_refused(tmp_path):
    config = plan_file(tmp_path, arguments={"rate": 1})
    status, _, err = dart_eval("suite", "--paper", "hyenadna", "--config", config, "--output", tmp_path / "out")
    assert (status, "rate is not an argument of the programs" in err) == (1, True)
