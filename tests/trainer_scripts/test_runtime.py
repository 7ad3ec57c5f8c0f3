"""Timing a pass forwards and backwards: what is kept, and what it is of."""

import json

import pytest

from datasets_dart.errors import InputError
from trainer_scripts.runtime import MODELS, ROUNDS, runtime


@pytest.mark.parametrize("model", MODELS)
def test_a_measurement_is_kept_and_read(tmp_path, model):
    path = tmp_path / "runtime.json"
    record = runtime(model, 32, path, device="cpu")
    metric = record["metrics"]["milliseconds"]
    assert 0 < metric["low"] <= metric["value"] <= metric["high"]
    assert metric["n"] == ROUNDS
    assert runtime(model, 32, path, device="cpu") == record == json.loads(path.read_text())
    with pytest.raises(InputError, match=f"is of {model}, 32 tokens"):
        runtime(model, 64, path, device="cpu")


def test_the_two_are_of_about_one_size():
    sizes = [sum(p.numel() for p in build(64).parameters()) for build in MODELS.values()]
    assert max(sizes) < 1.15 * min(sizes)


def test_an_unknown_model_is_an_error(tmp_path):
    with pytest.raises(
        InputError, match="no model 'LSTM' to measure: there are HyenaDNA of 2 layers, GPT with fused attention"
    ):
        runtime("LSTM", 32, tmp_path / "runtime.json")
