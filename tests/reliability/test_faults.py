"""A sample of the trials of `make reliability`: commands stopped before a file operation, and said again."""

import os
import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).with_name("run.py")


def test_a_sample_of_faults(tmp_path):
    seed = os.environ.get("RELIABILITY_SEED", "0")
    command = [sys.executable, str(RUN), "--sample", "30", "--seed", seed]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "30 trials, 0 wrong" in done.stdout
