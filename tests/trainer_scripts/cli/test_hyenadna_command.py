"""The command `hyenadna`: exit status, output, and errors of one line."""

import json
import re
from pathlib import Path

import pytest

from trainer_scripts.cli import hyenadna
from trainer_scripts.messages import result

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
    assert err == f"hyenadna: {output}: already exists; name a new or empty folder\n"
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


GENOME = FIXTURES / "genome" / "genome.fa"
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "


def embed(tmp_path, name, *options):
    """Words of a short run, whose model writes notes."""
    bed = tmp_path / "regions.bed"
    bed.write_text("chr5\t5000\t5100\nchr5\t6000\t6100\nnowhere\t1\t2\n")
    words = ("embed", "--regions", bed, "--genome", GENOME, "--model", GOLDEN[0], "--output", tmp_path / name)
    return (*words, "--device", "cpu", *options)


def test_a_log_file_has_the_words_the_notes_and_the_errors_of_one_run_after_another(tmp_path, capsys, monkeypatch):
    log = tmp_path / "log.txt"
    status, _, err = run(capsys, monkeypatch, *embed(tmp_path, "a.parquet", "--batch-size", 2, "--log-file", log))
    assert status == 0, err
    done = [re.sub(f"^{TIME}", "", line) for line in log.read_text().splitlines()]
    assert done[0].startswith("INFO hyenadna embed --regions ")
    assert any(line.startswith("WARNING ") and "nowhere" in line for line in done)
    begun = f"vectors of 2 regions with {GOLDEN[0]} on cpu, float32, about 2 passes of up to 100 tokens, batches of 2, "
    assert [line for line in done if line.startswith(f"INFO {begun}at least ")]
    assert done[-1] == "INFO exit status 0"
    notes = [line.partition(" ")[2] for line in done[1:-1]]
    assert err.splitlines() == notes

    status, _, err = run(capsys, monkeypatch, "--quiet", *embed(tmp_path, "b.txt"), f"--log_file={log}")
    assert status == 1
    added = log.read_text().splitlines()[len(done) :]
    assert len(added) == 2
    assert re.fullmatch(f"{TIME}ERROR {re.escape(err.strip().removeprefix('hyenadna: '))}", added[1])


def test_quiet_writes_nothing_and_a_file_of_another_kind_is_no_log(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "")
    status, out, err = run(capsys, monkeypatch, *embed(tmp_path, "a.parquet"), "--quiet")
    assert (status, err) == (0, "")
    assert "2 regions" in out
    bed = tmp_path / "regions.bed"
    before = bed.read_bytes()
    status, out, err = run(capsys, monkeypatch, *embed(tmp_path, "b.parquet"), "--log-file", bed)
    assert (status, out) == (1, "")
    assert err == f"hyenadna: {bed}: already exists and is not the log of a command; name another file\n"
    assert bed.read_bytes() == before


@pytest.mark.parametrize(("rank", "printed"), [("0", "found\n"), ("1", "")])
def test_the_first_of_several_processes_prints_the_result(capsys, monkeypatch, rank, printed):
    monkeypatch.setenv("RANK", rank)
    result({}, "found")
    assert capsys.readouterr().out == printed
