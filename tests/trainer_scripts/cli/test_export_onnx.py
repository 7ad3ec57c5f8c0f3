"""`hyenadna export-onnx`, a small model to a file."""

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM


def export(*arguments):
    command = [sys.executable, "-m", "trainer_scripts.hyenadna", "export-onnx", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("onnx") / "model"
    config = HyenaDNAConfig(d_model=16, n_layer=1, max_seq_len=66, emb_dim=5, filter_order=16, long_conv_backend="cpu")
    HyenaDNAForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="onnx, onnxscript or onnxruntime is not installed",
)
def test_writes_runs_and_compares(folder, tmp_path):
    output = tmp_path / "model.onnx"
    done = export(folder, output, "--max-length", 40)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{output}: logits for up to 40 tokens, each input at the cost of the longest; ")
    about = json.loads((tmp_path / "model.onnx.json").read_text())
    assert about["max_length"] == 40
    assert about["checked"].keys() == {"33", "40"}
    assert export(folder, output, "--max-length", 40).stdout == done.stdout  # this very file is there
    foreign = tmp_path / "notes.onnx"
    foreign.write_text("another's")
    refused = export(folder, foreign, "--max-length", 40)
    assert refused.returncode == 1
    assert "notes.onnx: already exists" in refused.stderr.splitlines()[-1]
    assert foreign.read_text() == "another's"
    foreign.unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx.json"]


def test_faults_are_one_line(folder, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/config.json").write_text('{"model_type": "gpt2"}')
    output = tmp_path / "model.onnx"
    for model, length, message in (
        (tmp_path / "other", 40, "a gpt2 model; only HyenaDNA can be written as ONNX here"),
        (tmp_path / "missing", 40, "missing"),
        (folder, 67, "max_length must be from 2 to 66" if find_spec("onnxscript") else "hyenadna-dart[onnx]"),
    ):
        done = export(model, output, "--max-length", length)
        assert done.returncode == 1
        assert message in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
    assert not output.exists()
