"""Grids of in-context learning: every cell, those without room, and a grid that was killed."""

import csv
import json
import os

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNATokenizer
from trainer_scripts.in_context_grid import GridArguments, cells, grid, main

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    torch.manual_seed(0)
    config = HyenaDNAConfig(d_model=16, n_layer=1, max_seq_len=100, emb_dim=5, filter_order=16, initializer_range=0.1)
    HyenaDNAForCausalLM(config).save_pretrained(folder)
    HyenaDNATokenizer(model_max_length=100).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def gue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gue")
    (folder / "toy").mkdir()
    for split, rows in (("train", 32), ("dev", 16), ("test", 24)):
        lines = ["sequence,label"]
        for row in range(rows):
            weights = np.array([[6, 1, 1, 6], [1, 6, 6, 1]][row % 2]) / 14
            lines.append("".join(RNG.choice(list("ACGT"), int(RNG.integers(8, 12)), p=weights)) + f",{row % 2}")
        (folder / "toy" / f"{split}.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path_factory.getbasetemp() / "datasets"))


def words(gue, model, *more):
    return ["--data", str(gue), "--model", model, "--max_length", "12", "--num_train_epochs", "1", *more]


def soft(output):
    return GridArguments("soft_prompt", str(output), ["gue/toy"], virtual_tokens=[0, 4, 90], shots=[0, 1])


def test_the_papers_grids():
    of_soft = cells(GridArguments("soft_prompt", "x"))
    assert len(of_soft) == 6 * 8
    assert of_soft[0] == {
        "task": "genomic_benchmarks/dummy_mouse_enhancers_ensembl",
        "method": "soft_prompt",
        "shots": 0,
        "virtual_tokens": 0,
        "seed": None,
    }
    assert len(cells(GridArguments("few_shot", "x", seeds=[1, 2]))) == 5 * 4 * 4 * 2
    with pytest.raises(ValueError, match="--tuning_rows is not of --method soft_prompt"):
        GridArguments("soft_prompt", "x", tuning_rows=[2])
    with pytest.raises(ValueError, match="--method few: soft_prompt or few_shot"):
        GridArguments("few", "x")


class Killed(Exception):
    pass


def test_a_grid_of_soft_prompts_that_was_killed_goes_on(model, gue, tmp_path, monkeypatch):
    more = ["--per_device_train_batch_size", "16", "--batch_size", "16", "--save_steps", "1"]
    whole = grid(soft(tmp_path / "whole"), words(gue, model, *more))
    save, calls = Accelerator.save_state, []

    def killed_after_writing(self, folder, *args, **kwargs):
        save(self, folder, *args, **kwargs)
        calls.append(folder)
        if len(calls) == 3:  # of two trained cells, in the second
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Accelerator, "save_state", killed_after_writing)
        with pytest.raises(Killed):
            grid(soft(tmp_path / "killed"), words(gue, model, *more))
    first = tmp_path / "killed" / "gue__toy" / "shots=0,virtual_tokens=4" / "results.json"
    written = os.stat(first).st_mtime_ns
    again = grid(soft(tmp_path / "killed"), words(gue, model, *more))
    assert again == whole
    assert os.stat(first).st_mtime_ns == written, "a finished cell is only read"

    table = list(csv.DictReader((tmp_path / "killed" / "grid.csv").open()))
    assert [(row["shots"], row["virtual_tokens"]) for row in table] == [(s, v) for s in "01" for v in ("0", "4", "90")]
    assert [row["n"] for row in table] == ["24", "24", "", "24", "24", ""]
    for row in (row for row in table if row["n"]):
        folder = tmp_path / "whole" / "gue__toy" / f"shots={row['shots']},virtual_tokens={row['virtual_tokens']}"
        record = json.loads((folder / "results.json").read_text())
        assert float(row["accuracy"]) == record["metrics"]["accuracy"]["value"]
        assert record["virtual_tokens"] == int(row["virtual_tokens"])
        assert record.get("shots", 0) == int(row["shots"])
        assert float(row["low"]) <= float(row["accuracy"]) <= float(row["high"])
    page = (tmp_path / "killed" / "grid.md").read_text()
    assert "| shots of a class | 0 soft tokens | 4 soft tokens | 90 soft tokens |" in page
    assert page.count(" – |") == 2
    assert "reads at most 100 tokens: 90 vectors, 11 bases and [SEP] are 102." in page


def test_instruction_tuning_in_one_command(model, gue, tmp_path, monkeypatch, capsys):
    line = ["in_context_grid", "--method", "few_shot", "--tasks", "gue/toy", "--shots", "0", "2", "40"]
    line += ["--tuning_rows", "2", "8", "--output", str(tmp_path), *words(gue, model)]
    monkeypatch.setattr("sys.argv", line)
    main()
    assert "6 cells, 2 without room" in capsys.readouterr().out
    page = (tmp_path / "grid.md").read_text()
    assert "| shots of a class | 2 rows of tuning | 8 rows of tuning |" in page
    assert "| 40 | – | – |" in page
    assert (tmp_path / "gue__toy" / "shots=2,tuning_rows=8" / "results.json").is_file()
    for more, message in (
        (["--seed", "3"], "in_context_grid: --seed is of one run: a grid has --tasks, --output and --seeds\n"),
        (["--virtual_tokens", "3"], "in_context_grid: --virtual_tokens is not of --method few_shot\n"),
    ):
        monkeypatch.setattr("sys.argv", [*line, *more])
        with pytest.raises(SystemExit):
            main()
        assert capsys.readouterr().err == message
