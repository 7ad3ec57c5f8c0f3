"""The demo from end to end, on a few pairs."""

import json
from pathlib import Path

import pytest

from datasets_dart.samples import cpg_islands_chrx
from evaluation_dart.records import validate_record
from trainer_scripts import demo
from trainer_scripts.cli import hyenadna

CARDS = Path(__file__).parents[2] / "model_cards"
MODEL, MARKOV = CARDS / "hyenadna-tiny-1k-demo", CARDS / "markov-chrX" / "markov.safetensors"
LABELS = ["HyenaDNA, trained here", "HyenaDNA, untrained", *(f"Markov, order {order}" for order in demo.ORDERS)]


def run(capsys, monkeypatch, *arguments):
    """The command's exit status, output and errors."""
    monkeypatch.setattr("sys.argv", ["hyenadna", "demo", *map(str, arguments)])
    with pytest.raises(SystemExit) as done:
        hyenadna.main()
    captured = capsys.readouterr()
    return done.value.code, captured.out, captured.err


def test_demo(tmp_path, capsys, monkeypatch):
    arguments = ["--output", tmp_path / "out", "--limit", 6]
    status, out, err = run(capsys, monkeypatch, *arguments)
    assert status == 0
    printed = out + err
    for label in LABELS:
        assert printed.count(label) == 2  # once as it is scored, once in the table
    assert "n = 6" in printed
    assert f"{tmp_path}/out/demo.png" in printed
    assert (tmp_path / "out" / "demo.png").read_bytes().startswith(b"\x89PNG")

    folders = {path.parent for path in (tmp_path / "out").rglob("results.json")}
    assert len(folders) == len(LABELS)
    names = set()
    for folder in folders:
        assert str(folder) in printed
        record = validate_record(folder)
        names.add(record["model"]["id"])
        assert record["dataset"]["rows"] == 6
        assert record["metrics"]["accuracy"]["n"] == 6
        assert set(record["dataset"]["inputs"]) == set(cpg_islands_chrx())
    orders = {f"local/markov-order-{order}" for order in demo.ORDERS}
    assert names == {"local/hyenadna-tiny-1k-demo", "local/hyenadna-tiny-1k-demo-random-weights", *orders}
    assert [path for path in (tmp_path / "out").rglob(".*") if path.is_file()] == []

    status, out, err = run(capsys, monkeypatch, *arguments, "--json", "--quiet")
    assert status == 0
    assert set(json.loads(out)["records"]) == {str(folder) for folder in folders}
    assert "scoring the sample" not in err


def test_random_weights_are_the_same_every_time():
    first, second = (dict(demo.contestants(MODEL, MARKOV))["HyenaDNA, untrained"] for _ in range(2))
    assert first.log_likelihood(["ACGTACGT"]) == second.log_likelihood(["ACGTACGT"])


def test_without_a_checkpoint(tmp_path, monkeypatch, capsys):
    arguments = ["--model", tmp_path / "nothing", "--markov", MARKOV, "--output", tmp_path / "out", "--limit", 2]
    status, _, err = run(capsys, monkeypatch, *arguments)
    assert status == 1
    assert err.splitlines()[-1] == f"hyenadna: {tmp_path}/nothing: no such folder"
    assert not (tmp_path / "out").exists()
