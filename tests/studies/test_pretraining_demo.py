"""`make pretrain-demo`, a few steps of it."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from studies import pretraining_demo
from studies.pretraining_demo import known_stretches

REPOSITORY = Path(pretraining_demo.__file__).parents[1]


def test_known_stretches():
    codes = np.array([4, 0, 1, 4, 2, 2, 2, 4, 4, 3, 3])
    assert known_stretches(codes, 2).tolist() == [[1, 3], [4, 7], [9, 11]]
    assert known_stretches(codes, 3).tolist() == [[4, 7]]


def test_the_target_runs_the_command(tmp_path):
    run = ["make", "--no-print-directory", "-n", "-o", ".venv/.installed", "pretrain-demo"]
    run += [f"OUTPUT={tmp_path}", "STEPS=2", "GENOME=g.fa"]
    printed = subprocess.run(run, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    command = printed.replace("\\\n", " ").split()
    assert command[1:] == [
        "-m", "studies.pretraining_demo", "--output", str(tmp_path), "--genome", "g.fa", "--steps", "2",
    ]  # fmt: skip


@pytest.mark.parametrize("genome", [False, True])
def test_a_few_steps(tmp_path, capsys, genome):
    given = None
    if genome:
        bases = "".join(np.random.default_rng(0).choice(list("ACGT"), 4000))
        (tmp_path / "g.fa").write_text(f">one\n{bases}\n")
        given = str(tmp_path / "g.fa")
    output = tmp_path / "run"
    pretraining_demo.pretraining_demo(output, given, steps=2, context=64, d_model=16, batch_size=2)
    printed = capsys.readouterr().out
    for name in ("HyenaDNA, 2 steps", "Markov, order 1", "Markov, order 7"):
        assert name in printed
    assert (output / "model.safetensors").is_file()
    if not genome:
        held_out, stretches = ((output / name).read_text().splitlines() for name in ("held_out.bed", "stretches.bed"))
        assert held_out == stretches[::10]
        assert len(stretches) > 400
