"""`dart-eval check` from files and from a task to its tables, JSON and the table for seqleak."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from trainer_scripts.cli.dart_eval import app

FIXTURES = Path(__file__).parents[2] / "fixtures"
GENOME, TASK1 = FIXTURES / "genome" / "genome.fa", FIXTURES / "task1"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("COLUMNS", "160")

    def run(*words):
        result = CliRunner().invoke(app, [*map(str, words)])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_files_of_each_split(run, tmp_path):
    (tmp_path / "train.csv").write_text("sequence,label\n" + "ACGTTGCAAT,1\nGGGGGCCCAT,0\n" * 10)
    (tmp_path / "test.csv").write_text("sequence,label\n" + "ACGTTGCAAT,1\nATGGGCCCCC,0\n" * 6)
    files = (tmp_path / "train.csv", tmp_path / "test.csv")
    said = run("check", *files, "--no-seqleak", "--output", tmp_path / "o.parquet")
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.splitlines() if line.startswith("│")]
    assert ["test", "12", "train", "6", "6", "0", "–"] in cells
    assert [cells[-1][0], cells[-1][1]] == ["GC", "test and not train"]
    assert ["GC", "label 1", "0.000"] in [row[:3] for row in cells]
    assert "homology was not looked at" in said
    assert "seqleak was not called: it was not wanted" in said
    assert pq.read_table(tmp_path / "o.parquet").num_rows == 32
    found = json.loads(run("--json", "check", *files, "--no-seqleak"))
    assert found["duplicates"]["test"]["against"]["train"]["reverse_complement"] == 6


def test_a_task_with_its_inputs(run):
    elements = ("--genome", GENOME, "--elements", TASK1 / "ccre.bed")
    found = json.loads(run("--json", "check", "regulatory_elements", *elements, "--no-seqleak"))
    assert found["rows"] == {"train": 2 * 52, "validation": 2 * 40, "test": 2 * 122}
    of_label = {own["property"]: own["value"] for own in found["shortcuts"]}
    assert of_label["length"] == 0.5
    assert of_label["GC"] == pytest.approx(0.5, abs=0.05)  # shuffles have the bases of their elements


def test_a_downstream_task(run, tmp_path):
    folder = tmp_path / "toy"
    folder.mkdir()
    for split, sequences in (("train", "AC"), ("dev", "G"), ("test", "CT")):
        rows = "".join(f"{base * 30},{number % 2}\n" for number, base in enumerate(sequences))
        (folder / f"{split}.csv").write_text(f"sequence,label\n{rows}")
    found = json.loads(run("--json", "check", "gue/toy", "--data", tmp_path, "--no-seqleak"))
    against = found["duplicates"]["test"]["against"]
    assert (against["train"]["same"], against["train"]["reverse_complement"]) == (1, 1)
    assert against["validation"]["reverse_complement"] == 1  # C of G


def test_an_input_of_a_task_does_not_go_with_a_file(run, tmp_path):
    (tmp_path / "all.csv").write_text("sequence,split\nACGT,train\n")
    with pytest.raises(ValueError, match="--elements is an input of a task"):
        run("check", tmp_path / "all.csv", "--elements", TASK1 / "ccre.bed")
