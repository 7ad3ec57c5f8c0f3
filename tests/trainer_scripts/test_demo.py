"""The demo from end to end, on a few pairs."""

import sys

import pytest

from datasets_dart.samples import cpg_islands_chrx
from evaluation_dart.records import validate_record
from trainer_scripts import demo

LABELS = ["HyenaDNA, trained here", "HyenaDNA, untrained", *(f"Markov, order {order}" for order in demo.ORDERS)]


def test_demo(tmp_path, capsys):
    demo.demo(output=tmp_path / "out", limit=6)
    printed = capsys.readouterr().out
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
    orders = {f"local/markov-chrX-order-{order}" for order in demo.ORDERS}
    assert names == {"local/hyenadna-tiny-1k-demo", "local/hyenadna-tiny-1k-random", *orders}
    assert [path for path in (tmp_path / "out").rglob(".*") if path.is_file()] == []


def test_random_weights_are_the_same_every_time():
    first, second = (next(model for model in demo.contestants() if "untrained" in model.label) for _ in range(2))
    assert first.scorer.log_likelihood(["ACGTACGT"]) == second.scorer.log_likelihood(["ACGTACGT"])


def test_without_a_checkpoint(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "CHECKPOINT", tmp_path / "nothing")
    monkeypatch.setattr(sys, "argv", ["demo", "--output", str(tmp_path / "out"), "--limit", "2"])
    with pytest.raises(SystemExit) as stopped:
        demo.main()
    assert stopped.value.code == 1
    assert capsys.readouterr().err.startswith("demo: no ")
    assert not (tmp_path / "out").exists()
