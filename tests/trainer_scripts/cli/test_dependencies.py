"""hyenadna dependencies: table, figure in the genome's coordinates, defaults of both kinds of models, and errors."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.scoring.dependencies import dependencies_of
from hyenadna_dart import dependency_map
from trainer_scripts.cli.hyenadna import main

FIXTURES = Path(__file__).parents[2] / "fixtures"
GENOME = FIXTURES / "genome" / "genome.fa"
SMALL, BERT = FIXTURES / "model" / "small_d32_l2_s130", FIXTURES / "task1" / "bert_char"


def run(capsys, monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["hyenadna", "dependencies", *map(str, arguments)])
    status = 0
    try:
        main()
    except SystemExit as stop:
        status = stop.code or 0
    return status, *capsys.readouterr()


def test_a_region(capsys, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra plot is not installed")
    output, figure = tmp_path / "map.parquet", tmp_path / "map.svg"
    options = ("--genome", GENOME, "--region", "chr10:20,001-20,012", "--window", 60, "--model", SMALL)
    status, out, err = run(capsys, monkeypatch, *options, "--output", output, "--figure", figure)
    assert status == 0, err
    assert "chr10:20001-20012, log-probability, strands both" in out
    table = pq.read_table(output)
    assert table.num_rows == 12 * 11
    scorer = load_language_model(SMALL, device="cpu")
    text = GENOME.read_text().split(">chr10\n")[1].split(">")[0].replace("\n", "").upper()
    window = text[19976:20036]  # the region's middle is 20,006
    expected = dependencies_of(scorer, window, 24, 36, "log-probability", "mean", both_strands=True)
    row = {(own["start"], own["target"]): own for own in table.to_pylist()}[20_001, 20_010]
    assert row["dependency"] == pytest.approx(expected[1, 10], abs=1e-6)
    assert (row["ref"], row["target_ref"]) == (text[20_001], text[20_010])
    picture = figure.read_text()
    about = json.loads((tmp_path / "map.parquet.json").read_text())
    assert about["source"].startswith("Open-Athena/marin-dna@1121f27")
    assert about["measure"] == "log-probability"
    assert "<svg" in picture
    status, _, _ = run(capsys, monkeypatch, *options, "--output", output, "--figure", figure)
    assert status == 0
    assert figure.read_text() == picture


def test_masked_models_are_read_as_the_paper_reads_them():
    table = dependency_map(GENOME, str(BERT), region="chr10:20001-20008")
    assert table.num_rows == 8 * 7
    directed = {(row["start"], row["target"]): row["dependency"] for row in table.to_pylist()}
    assert directed[20_000, 20_003] != directed[20_003, 20_000]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "has 5 sequences; name a region of one"),
        (("--region", "chr10:1-3000"), "has 3,000 bases; a map has at most 2,048"),
        (("--region", "chr10:1-9", "--model", FIXTURES / "task1" / "bert_bpe"), "reads k-mers or BPE"),
        (("--region", "chr10:1-9", "--output", "map.txt"), "map.txt: a table is written as .parquet"),
    ],
)
def test_what_cannot_be(options, message, capsys, monkeypatch, tmp_path):
    given = ("--genome", GENOME, "--model", SMALL, "--output", tmp_path / "map.tsv", *options)
    status, _, err = run(capsys, monkeypatch, *given)
    assert status == 1
    assert message in err
    status, _, err = run(capsys, monkeypatch, "--genome", GENOME, "--model", SMALL)
    assert (status, "a map needs --output, --figure, or both" in err) == (1, True)
