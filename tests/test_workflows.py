"""The GitHub workflows: actions pinned by commit, lowest versions, and which changes of submissions are refused."""

import os
import re
import runpy
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_and_may_only_read(path):
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    for line in path.read_text().splitlines():
        if "uses:" in line:
            assert re.fullmatch(r"\s+(- )?uses: [\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)


def test_tested_pythons_are_those_of_setup_cfg():
    text = (ROOT / "setup.cfg").read_text()
    workflow = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.11", "3.12", "3.13"]
    assert re.findall(r"Programming Language :: Python :: (3\.\d+)", text) == matrix["python"]


def test_lowest_versions(tmp_path):
    (tmp_path / "setup.cfg").write_text(
        "[options]\ninstall_requires =\n    numpy>=2\n    datasets>=5,<6\n    tokenizers\n"
        "[options.extras_require]\nplot =\n    matplotlib>=3.9\ndev =\n    own[plot]\n    ruff>=0.17\n"
    )
    lowest = runpy.run_path(str(ROOT / ".github/lowest.py"))["lowest"]
    assert lowest(tmp_path / "setup.cfg") == {"numpy": "2", "datasets": "5", "matplotlib": "3.9", "ruff": "0.17"}


def git(folder, *words):
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def add(path):
    path.parent.mkdir(parents=True)
    path.write_text("{}")


CHANGES = {
    "adds a record": (lambda there: add(there.parents[1] / "b/results.json"), True),
    "deletes another's": (lambda there: there.unlink(), False),
    "changes another's": (lambda there: there.write_text('{"better": 1}'), False),
    "renames another's": (lambda there: there.parent.rename(there.parents[1] / "b"), False),
}


@pytest.mark.parametrize("what", CHANGES)
def test_submissions_may_only_add(tmp_path, what):
    """The steps of the workflow, run in a repository with one record, with a `dart-eval` that says what it is asked."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/submissions.yml").read_text())
    steps = [step for step in workflow["jobs"]["validate"]["steps"] if step.get("working-directory") == "submitted"]
    repository, record = tmp_path / "submitted", tmp_path / "submitted/submissions/a/results.json"
    add(record)
    git(repository, "init", "--quiet")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "one record")
    base = git(repository, "rev-parse", "HEAD").strip()
    change, allowed = CHANGES[what]
    change(record)
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "a submission")
    command = tmp_path / "bin/dart-eval"
    add(command)
    command.write_text('#!/bin/sh\necho "$@" >> "$RUNNER_TEMP/asked"\n')
    command.chmod(0o755)
    environment = {**os.environ, "BASE": base, "RUNNER_TEMP": str(tmp_path)}
    environment["PATH"] = f"{command.parent}:{os.environ['PATH']}"
    for step in steps:
        run = subprocess.run(["bash", "-e", "-c", step["run"]], cwd=repository, env=environment, capture_output=True)
        if run.returncode:
            break
    assert (run.returncode == 0) == allowed, run.stderr
    asked = tmp_path / "asked"
    assert asked.exists() == allowed
    if allowed:
        assert asked.read_text() == "validate --submitted-to submissions submissions/b\n"
