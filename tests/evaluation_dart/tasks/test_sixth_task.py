"""A task of another package, one file and one builder, is run, validated, reported and shown like our own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from datasets_dart import BUILDERS
from evaluation_dart import TASKS

MARKOV = Path(__file__).parents[3] / "model_cards" / "markov-chrX" / "markov.safetensors"
LEADERBOARD = Path(__file__).parents[3] / "leaderboard"
BUILDER = """
from dataclasses import dataclass

from datasets_dart.base import DartBuilder, DartConfig, file_input


@dataclass
class PalindromesConfig(DartConfig):
    words: str = file_input("a word a line")


class Palindromes(DartBuilder):
    BUILDER_CONFIG_CLASS = PalindromesConfig
    NEEDS = (("words",),)
    DESCRIPTION = "Words: {report}."

    def columns(self):
        return {"id": "int64", "sequence": "string", "palindrome": "bool"}

    def shards(self, report):
        return {"test": [self.config.words]}, {}

    def rows_of(self, shards, split):
        for path in shards:
            lines = open(path).read().split()
            other = str.maketrans("ACGT", "TGCA")
            flags = [line == line.translate(other)[::-1] for line in lines]
            yield {"id": range(len(lines)), "sequence": lines, "palindrome": flags}
"""
TASK = """
from evaluation_dart.tasks.base import Input, Setting, Task, taken


def score(scorer, dataset, job):
    from evaluation_dart.scoring.likelihoods import score_sequences

    def of(rows):
        batch = dataset[rows]
        scores = score_sequences(scorer, job.crop(batch["sequence"]), job.recipe, batch_size=job.batch_size)
        return taken(batch, ("id", "palindrome")) | {"score": scores}

    return of


def estimates(predictions, protocol, blocks):
    from evaluation_dart.statistics.estimates import mean

    return {"mean": mean(predictions["score"].to_numpy(), blocks)}


COLUMNS = ("id", "palindrome", "score")
TASK = Task(
    name="palindromes",
    title="words that are their own reverse complement",
    inputs={"words": Input("a word a line", names_data=True)},
    columns={"sequence": "the word"},
    settings={"zero_shot_likelihood": Setting("likelihoods", COLUMNS, score, estimates, ("mean",))},
    number=6,
)
"""
PROGRAM = """
import json, sys
from evaluation_dart import TASKS, evaluate
record = evaluate(sys.argv[1], "palindromes", words=sys.argv[2], output=sys.argv[3], cache_dir=sys.argv[4])
print(json.dumps({"tasks": [*TASKS], "mean": record.metrics["mean"].value, "folder": str(record.folder)}))
"""


@pytest.fixture
def package(tmp_path):
    """The environment of a process in which the package `palindromes` is installed."""
    folder = tmp_path / "site"
    about = folder / "palindromes-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "palindrome_rows.py").write_text(BUILDER)
    (folder / "palindrome_task.py").write_text(TASK)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: palindromes\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[datasets_dart.tasks]\npalindromes = palindrome_rows:Palindromes\n\n"
        "[evaluation_dart.tasks]\npalindromes = palindrome_task:TASK\n"
    )
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}, about


def run(environment, *words):
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_file_and_one_builder_are_enough(package, tmp_path):
    environment, _ = package
    words, output = tmp_path / "words.txt", tmp_path / "results"
    words.write_text("ACGT\nAAAA\nGAATTC\n")
    out = run(environment, "-c", PROGRAM, f"markov:{MARKOV}", words, output, tmp_path / "cache")
    found = json.loads(out.splitlines()[-1])
    assert found["tasks"].index("palindromes") > found["tasks"].index("variant_effects")
    assert found["mean"] < 0
    command = ("-m", "trainer_scripts.cli.dart_eval")
    assert "palindromes: zero_shot_likelihood" in run(environment, *command, "ls")
    assert "valid (3 predictions)" in run(environment, *command, "validate", found["folder"])
    board = tmp_path / "leaderboard"
    board.mkdir()
    (board / "published.json").write_text("[]")
    report = ("report", output, "--output", tmp_path / "report", "--leaderboard", board)
    assert "1 records of 1 models, 1 values" in run(environment, *command, *report)
    data = (board / "data.js").read_text()
    assert '"palindromes":"6: words that are their own reverse complement"' in data
    assert '"headline":"mean"' in data
    assert '"data":"words"' in data
    options = ("run", "--model", f"markov:{MARKOV}", "--task", "palindromes", "--words", words, "--output", output)
    assert "record:" in run(environment, *command, *options, "--cache-dir", tmp_path / "cache")


def test_a_task_without_its_builder_is_an_error(package):
    environment, about = package
    (about / "entry_points.txt").write_text("[evaluation_dart.tasks]\npalindromes = palindrome_task:TASK\n")
    program = "from evaluation_dart import TASKS; list(TASKS)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert "task 'palindromes' of evaluation_dart.tasks has no entry in datasets_dart.tasks" in done.stderr


@pytest.mark.parametrize("name", list(TASKS))
def test_tasks_and_builders_agree(name):
    known = BUILDERS[name].BUILDER_CONFIG_CLASS.inputs()
    for own, taken in TASKS[name].inputs.items():
        assert known[own].metadata["file"] == (taken.kind != "text"), own
        assert known[own].metadata["several"] == (taken.kind == "files"), own
