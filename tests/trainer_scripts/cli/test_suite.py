"""`dart-eval suite --config` from end to end: its tables, report and pictures."""

import pytest
import yaml

from tests.trainer_scripts.cli.in_process import dart_eval
from tests.trainer_scripts.cli.test_suite_paper import ELEMENTS, GENOME, MODEL

BOARD = "regulatory_elements_zero_shot_likelihood"


def test_a_suite_writes_a_report(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="the extra plot is not installed")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    genome = tmp_path / "genome.fa"
    genome.write_bytes(GENOME.read_bytes())
    content = {"models": [str(MODEL), f"random:{MODEL}"], "tasks": ["regulatory_elements"], "genome": str(genome)}
    content |= {"elements": str(ELEMENTS), "window": 100}
    config, output = tmp_path / "suite.yaml", tmp_path / "out"
    config.write_text(yaml.safe_dump(content))
    command = ("suite", "--config", config, "--output", output, "--device", "cpu", "--figures")
    status, _, err = dart_eval(*command, "gif")
    assert (status, "figure.gif: a figure is written as .png, .svg, .pdf" in err) == (1, True)
    assert not output.exists()
    status, _, _ = dart_eval(*command, "svg,png")
    assert status == 0
    assert sorted(path.name for path in (output / "figures").iterdir()) == [
        f"{BOARD}_{look}.{ending}" for look in ("chromosomes", "differences", "forest") for ending in ("png", "svg")
    ]
    page = (output / "report.md").read_text()
    assert "2 records on 1 board." in page
    assert f"](figures/{BOARD}_forest.svg)" in page
    assert "[PNG](figures/" in page
    assert (output / "report.tex").read_text().count("\\toprule") == 3
    status, _, _ = dart_eval(*command, "none")
    assert (status, (output / "figures").exists()) == (0, False)
    (output / "report.tex").write_text("mine")
    status, _, err = dart_eval(*command, "none")
    assert (status, "report.tex: already exists, and is not of a report" in err) == (1, True)
