"""Pretraining: short runs on a made-up genome, killed and continued."""

import json
import math
import os
import re
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import modeling_hyenadna
from evaluation_dart.baselines import encode_bases
from trainer_scripts import pretrain
from trainer_scripts.pretrain import DataArguments, ModelArguments, TrainingArguments, train

REPOSITORY = Path(pretrain.__file__).parents[1]
CONTEXT = 32


@pytest.fixture
def genome(tmp_path):
    rng = np.random.default_rng(0)
    bases = "".join(rng.choice(list("ACGT"), 3000))
    path = tmp_path / "g.fa"
    path.write_text(f">one\n{bases[:2000]}\n>two\n{bases[2000:2500]}{'N' * 100}{bases[2500:]}\n")
    return path


@pytest.fixture
def arguments(genome, tmp_path):
    """A run of 6 steps with dropout, a state after every second."""
    return (
        ModelArguments(d_model=16, n_layer=1, context=CONTEXT, embed_dropout=0.1),
        DataArguments(genome=str(genome), validation_block=500, validation_windows=4),
        TrainingArguments(
            output_dir=str(tmp_path / "run"),
            steps=6,
            batch_size=2,
            accumulation=2,
            warmup_lengths=[16],
            warmup_length_steps=2,
            warmup_steps=2,
            log_every=1,
            evaluate_every=3,
            checkpoint_every=2,
        ),
    )


def read_log(folder: str) -> list[dict]:
    entries = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in entry.items() if key != "tokens_per_second"} for entry in entries]


def flags(*dataclasses) -> list[str]:
    words = []
    for name, value in (item for dataclass in dataclasses for item in asdict(dataclass).items()):
        if value is not None:
            words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return words


KILLED_WHILE_WRITING_A_STATE = """
import os, signal, sys
from trainer_scripts import pretrain
replace = os.replace
def killed(source, target):
    if str(target).endswith("step-00000004"):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = killed
pretrain.main()
"""


def test_a_killed_run_goes_on_to_the_same_end(arguments, tmp_path):
    model_arguments, data_arguments, training = arguments
    whole = replace(training, output_dir=str(tmp_path / "whole"))
    train(model_arguments, data_arguments, whole)
    expected = read_log(whole.output_dir)
    assert [entry["step"] for entry in expected] == [1, 2, 3, 4, 5, 6]
    # 2 windows x 2 forward passes of 32 bases, or as many bases in windows of 16.
    assert [entry["tokens"] for entry in expected] == [128, 256, 384, 512, 640, 768]
    assert [i + 1 for i, entry in enumerate(expected) if "validation_loss" in entry] == [3, 6]

    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", KILLED_WHILE_WRITING_A_STATE, *flags(*arguments)]
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    folder = Path(training.output_dir)
    assert [path.name for path in (folder / "checkpoints").glob("step-*")] == ["step-00000002"]
    assert [entry["step"] for entry in read_log(training.output_dir)] == [1, 2, 3, 4]

    with (folder / "log.jsonl").open("a") as log:
        log.write('{"step": 5, "tok')
    train(*arguments)
    assert read_log(training.output_dir) == expected
    assert (folder / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["step-00000004", "step-00000006"]


def test_the_folder_that_comes_out(arguments):
    train(*arguments)
    folder = Path(arguments[2].output_dir)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert isinstance(model, modeling_hyenadna.HyenaDNAForCausalLM)
    assert model.config.tie_word_embeddings
    assert model.config.max_seq_len == CONTEXT + 2
    assert model.lm_head.weight is model.get_input_embeddings().weight
    ids = AutoTokenizer.from_pretrained(folder)("ACGTN", return_tensors="pt").input_ids
    assert ids.tolist() == [[7, 8, 9, 10, 11, 1]]
    assert model(ids).logits.shape == (1, 6, 16)
    assert (folder / "loss_curve.png").read_bytes().startswith(b"\x89PNG")
    blocks = [line.split("\t") for line in (folder / "validation.bed").read_text().splitlines()]
    assert [int(end) - int(start) for _, start, end in blocks] == [500]


def test_another_run_is_not_gone_on_with(arguments):
    model_arguments, data_arguments, training = arguments
    train(model_arguments, data_arguments, replace(training, steps=2))
    train(model_arguments, data_arguments, replace(training, steps=3))  # more steps may follow
    with pytest.raises(ValueError, match=r"run\.json: this run was started with learning_rate=0\.0006, not 0\.1"):
        train(model_arguments, data_arguments, replace(training, learning_rate=0.1))


def test_errors_are_one_line(genome, tmp_path, monkeypatch):
    command = ["pretrain", "--genome", str(genome), "--steps", "1", "--output_dir", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", [*command, "--chromosomes", "chrX"])
    with pytest.raises(SystemExit) as stopped:
        pretrain.main()
    assert re.fullmatch(r"pretrain: .*g\.fa.*'chrX'.*", stopped.value.code)


def test_excluded_bases_are_in_no_window(arguments, tmp_path, monkeypatch):
    model_arguments, data_arguments, training = arguments
    (tmp_path / "excluded.bed").write_text("one\t600\t700\ntwo\t100\t110\n")
    (tmp_path / "validation.bed").write_text("one\t1500\t1700\n")
    data_arguments = replace(
        data_arguments,
        exclude=[str(tmp_path / "excluded.bed")],
        exclude_margin=50,
        validation=str(tmp_path / "validation.bed"),
        reverse_complement=False,
        max_unknown=0,
    )
    drawn = []

    def remember(codes, regions, *rest):
        # Draw positions instead of bases.
        drawn.append((regions, draw(np.arange(len(codes)), regions, *rest)))
        return codes[drawn[-1][1]]

    draw = pretrain.draw_windows
    monkeypatch.setattr(pretrain, "draw_windows", remember)
    train(model_arguments, data_arguments, training)
    regions = drawn[0][0]
    assert regions.tolist() == [[0, 550], [750, 1500], [1700, 2000], [2000, 2050], [2160, 3100]]
    for _, windows in drawn:
        for window in windows:
            assert any(start <= window[0] and window[-1] < end for start, end in regions.tolist())


def test_learning_rate():
    factors = [pretrain.learning_rate_factor(step, steps=11, warmup=4, final=0.2) for step in range(11)]
    np.testing.assert_allclose(factors[:5], [0.25, 0.5, 0.75, 1, 1])
    assert factors[7] == pytest.approx(0.6)
    assert factors[10] == pytest.approx(0.2)


def test_window_lengths():
    assert [pretrain.window_length(step, 64, [16, 32], 2) for step in range(6)] == [16, 16, 32, 32, 64, 64]


def test_parameter_groups(arguments):
    tokenizer = modeling_hyenadna.HyenaDNATokenizer()
    model = pretrain.new_model(arguments[0], tokenizer)
    rest, filters = pretrain.parameter_groups(model, replace(arguments[2], filter_learning_rate=1e-4))
    # 5 -> 64 -> 64 -> 64 -> 16 with biases but for the last, and one vector of frequencies.
    assert sum(p.numel() for p in filters["params"]) == 5 * 64 + 64 + 2 * (64 * 64 + 64) + 64 * 16 + 64
    assert sum(p.numel() for p in rest["params"] + filters["params"]) == model.num_parameters()
    assert (filters["weight_decay"], filters["peak"]) == (0, 1e-4)
    assert (rest["weight_decay"], rest["peak"]) == (0.1, 6e-4)


def test_unknown_bases_are_read_but_not_predicted():
    token_ids = pretrain.base_token_ids(modeling_hyenadna.HyenaDNATokenizer())
    batch = pretrain.language_model_batch(encode_bases("ACNGT")[None], token_ids, torch.device("cpu"))
    assert batch["input_ids"].tolist() == [[7, 8, 11, 9, 10]]
    assert batch["labels"].tolist() == [[7, 8, -100, 9, 10]]


def test_window_losses_are_those_of_the_model(arguments):
    tokenizer = modeling_hyenadna.HyenaDNATokenizer()
    model = pretrain.new_model(arguments[0], tokenizer).eval()
    windows = np.stack([encode_bases("ACGTNACG"), encode_bases("TTTTACGA"), encode_bases("CCCCACGA")])
    token_ids = pretrain.base_token_ids(tokenizer)
    losses = pretrain.window_losses(model, windows, token_ids, model.device, batch_size=2)
    assert losses.shape == (3, 7)
    assert np.argwhere(np.isnan(losses)).tolist() == [[0, 3]]
    batch = pretrain.language_model_batch(windows, token_ids, model.device)
    assert np.nanmean(losses) == pytest.approx(model(**batch).loss.item(), rel=1e-5)
    assert np.nanmean(losses) == pytest.approx(math.log(16), abs=0.2)  # small initial weights: nearly uniform
