"""Former names of options and models, exit statuses, and what the commands share."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from datasets_dart.errors import InputError, MissingExtra
from trainer_scripts.cli.app import new_app, run_app
from trainer_scripts.messages import result, say
from trainer_scripts.options import OLD_NAMES, renamed

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("words", "new", "lines"),
    [
        (["--vcf", "a.vcf", "--fasta=g.fa"], ["--variants", "a.vcf", "--genome=g.fa"], 2),
        (["--bed", "r.bed", "--output_dir", "o"], ["--regions", "r.bed", "--output", "o"], 2),
        (["--batch_size", "3", "--no_logo"], ["--batch-size", "3", "--no-logo"], 0),
        (["--half"], ["--stored-dtype", "float16"], 1),
        (["--set", "batch_size=3"], ["--set", "batch_size=3"], 0),
        (["--model", "m.safetensors"], ["--model", "markov:m.safetensors"], 1),
        (["--model=h12.meme.gz"], ["--model=motifs:h12.meme.gz"], 1),
        (["--model", "kmers-6"], ["--model", "kmers:6"], 1),
        (["--model", "gc-content"], ["--model", "gc"], 1),
        (["--model", "chrombpnet-like"], ["--model", "network:chrombpnet-like"], 1),
        (["--model", "org/model"], ["--model", "org/model"], 0),
        (["--model", "markov:m.safetensors"], ["--model", "markov:m.safetensors"], 0),
        (["--setting", "probed", "--model", "org/m"], ["--setting", "probed", "--model", "org/m"], 0),
        (["--setting", "ab_initio", "--model", "org/m"], ["--setting", "ab_initio", "--model", "random:org/m"], 1),
        (["--setting=ab_initio", "--model", "p.csv"], ["--setting=ab_initio", "--model", "table:p.csv"], 1),
    ],
)
def test_former_names(words, new, lines, capsys):
    assert renamed(words, "hyenadna score") == new
    errors = capsys.readouterr().err
    assert errors.count("\n") == errors.count("hyenadna score: ") == lines


def test_names_of_one_command(monkeypatch):
    monkeypatch.setitem(OLD_NAMES, "finetune --model cnn", "network:cnn")
    assert renamed(["--model", "cnn"], "finetune") == ["--model", "network:cnn"]
    assert renamed(["--model", "cnn"], "pretrain") == ["--model", "cnn"]


@pytest.fixture
def run(monkeypatch, capsys):
    """Exit status, output and errors of a small app on some words."""
    app = new_app("An app.")

    @app.command()
    def give(text: str, fault: bool = False, bug: bool = False, extra: bool = False) -> None:
        if bug:
            raise ValueError("a bug")
        if fault:
            raise InputError("in.bed:3:\nno number")
        if text == "/no/where":
            Path(text).read_text()
        if text == "much":
            raise MemoryError("Unable to allocate 93 GiB")
        if extra:
            raise MissingExtra("writing .zarr", "zarr")
        say("a note")
        result({"text": text}, text)

    @app.command()
    def other() -> None: ...

    def run(*words):
        monkeypatch.setattr("sys.argv", ["prog", *words])
        with pytest.raises(SystemExit) as done:
            run_app(app, "prog")
        captured = capsys.readouterr()
        return done.value.code or 0, captured.out, captured.err

    return run


def test_results_and_notes(run):
    assert run("give", "x") == (0, "x\n", "a note\n")
    assert run("give", "x", "--quiet") == (0, "x\n", "")
    status, out, _ = run("give", "x", "--json")
    assert (status, json.loads(out)) == (0, {"text": "x"})
    status, out, _ = run("--version")
    assert (status, out.count(".")) == (0, 2)


def test_faults_are_one_line_and_bugs_keep_their_traceback(run):
    assert run("give", "x", "--fault") == (1, "", "prog: in.bed:3: no number\n")
    status, _, errors = run("give", "x", "--extra")
    assert (status, errors) == (1, "prog: writing .zarr needs more packages: pip install 'hyenadna-dart[zarr]'\n")
    with pytest.raises(InputError):
        run("give", "x", "--fault", "--debug")
    with pytest.raises(ValueError, match="a bug"):
        run("give", "x", "--bug")
    assert run("give", "much")[::2] == (1, "prog: not enough memory: Unable to allocate 93 GiB\n")
    assert run("give", "/no/where")[::2] == (1, "prog: /no/where: no such file or directory\n")
    assert run("give", "x", "--no-such-option")[0] == 2
    assert run("give")[0] == 2
    assert run("give", "--help")[0] == 0
    name = os.fsdecode(b"caf\xe9")  # of a file system that is not in UTF-8
    assert run("give", name)[::2] == (
        1,
        "prog: 'caf\\udce9': is not text in UTF-8; rename the file or folder, or set a locale of UTF-8\n",
    )


def test_sigterm_ends_a_program_without_a_word():
    code = (
        "import time, trainer_scripts.options as o; o.run(lambda _: (print('on', flush=True), time.sleep(600)), 'prog')"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (143, "")
