"""The command `hyenadna`: exit status, output, and errors of one line."""

import json
from pathlib import Path

import pytest

from trainer_scripts.cli import hyenadna

FIXTURES = Path(__file__).parents[2] / "fixtures"
GOLDEN = sorted((FIXTURES / "model").iterdir())


def run(capsys, monkeypatch, *arguments):
    """The command's exit status, output and errors."""
    monkeypatch.setattr("sys.argv", ["hyenadna", *map(str, arguments)])
    with pytest.raises(SystemExit) as done:
        hyenadna.main()
    captured = capsys.readouterr()
    return done.value.code, captured.out, captured.err


def test_command(tmp_path, capsys, monkeypatch):
    golden, output = GOLDEN[0], tmp_path / "official"
    status, out, _ = run(capsys, monkeypatch, "convert", "--to-official", golden, "--output", output)
    assert (status, out) == (0, f"written to {output}\n")
    before = (output / "model.safetensors").read_bytes()

    status, out, err = run(capsys, monkeypatch, "convert", "--to-official", GOLDEN[1], "--output", output)
    assert (status, out) == (1, "")
    assert err == f"hyenadna: {output}: is there already; name a new or empty folder\n"
    assert (output / "model.safetensors").read_bytes() == before

    nowhere = tmp_path / "nowhere"
    status, _, err = run(capsys, monkeypatch, "convert", "--to-official", nowhere, "--output", tmp_path / "other")
    assert (status, err) == (1, f"hyenadna: {nowhere}: no such folder\n")
    assert not (tmp_path / "other").exists()


def test_help_has_a_line_to_copy(capsys, monkeypatch):
    status, out, _ = run(capsys, monkeypatch, "convert", "--help")
    assert status == 0
    assert "hyenadna convert --to-official my-model --output my-model-hf" in out


def test_convert_original_checkpoint(tmp_path, capsys, monkeypatch):
    original, output = FIXTURES / "lightning_ckpt", tmp_path / "converted"
    arguments = ["--config", original / "config.json", "--output", output]
    status, out, _ = run(capsys, monkeypatch, "convert", original / "weights.ckpt", *arguments)
    assert (status, out) == (0, f"written to {output}\n")
    assert (output / "model.safetensors").is_file()

    arguments[-1] = tmp_path / "other"
    status, out, err = run(capsys, monkeypatch, "convert", original / "malicious_weights.ckpt", *arguments)
    assert (status, out) == (1, "")
    assert err.startswith(f"hyenadna: {original / 'malicious_weights.ckpt'}: refused: it names posix.system")
    assert err.count("\n") == 1
    assert not (tmp_path / "other").exists()


def test_convert_fine_tuned_checkpoint(tmp_path, capsys, monkeypatch):
    original, output = FIXTURES / "lightning_ckpt", tmp_path / "converted"
    arguments = ["--config", original / "config.json", "--decoder-mode", "last", "--output", output]
    status, out, _ = run(capsys, monkeypatch, "convert", original / "weights_decoder.ckpt", *arguments)
    assert (status, out) == (0, f"written to {output}\n")
    config = json.loads((output / "config.json").read_text())
    assert (config["architectures"], config["pooling"]) == (["HyenaDNAForSequenceClassification"], "last")
    assert config["classifier_bias"] is True
    arguments = ["--decoder-mode", "middle", "--config", original / "config.json", "--output", tmp_path / "other"]
    status, _, err = run(capsys, monkeypatch, "convert", original / "weights_decoder.ckpt", *arguments)
    assert (status, err) == (1, "hyenadna: decoder mode 'middle': there are pool, last, first, sum, ragged\n")


def test_convert_says_what_it_needs(tmp_path, capsys, monkeypatch):
    status, _, err = run(capsys, monkeypatch, "convert", "weights.ckpt", "--output", tmp_path / "converted")
    assert status == 1
    assert err == "hyenadna: weights.ckpt: give either --config (an original checkpoint) or --to-official (a folder)\n"
