"""The list of builders is made of entry points; nothing heavy is imported before a builder is asked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from datasets_dart import BUILDERS, load_dart

ROOT = Path(__file__).parents[2]
DART_EVAL = ("regulatory_elements", "motif_footprinting", "cell_type_elements", "chromatin_activity", "variant_effects")
BEYOND = ("long_range_recall", "likelihood_by_position", "conservation_gap")
TOY = '''
"""A sixth task: words of a file."""
from dataclasses import dataclass

from datasets_dart.base import DartBuilder, DartConfig, file_input, option
from datasets_dart.files import input_file, numbered_lines


@dataclass
class ToyConfig(DartConfig):
    words: str = file_input("one word a line")
    window: int = option(9, "bp")


class Toy(DartBuilder):
    """Words."""

    BUILDER_CONFIG_CLASS = ToyConfig
    NEEDS = (("words",),)
    DESCRIPTION = "Words of {config.source}. {report}."

    def columns(self):
        return {"id": "int64", "sequence": "string"}

    def shards(self, report):
        lines = [line for line, _ in numbered_lines(input_file(self.config.words))]
        report["words"] = len(lines)
        return {"test": lines}, {}

    def rows_of(self, shards, split):
        for line, text in numbered_lines(input_file(self.config.words)):
            if line in shards:
                yield {"id": [line], "sequence": [text.decode().strip()]}
'''


def python(code, *arguments, path=ROOT):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(path), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_importing_the_packages_imports_nothing_heavy():
    heavy = "datasets numpy pyarrow pysam pyBigWig huggingface_hub torch transformers"
    code = (
        "import sys, datasets_dart, datasets_hyenadna, trainer_scripts.cli.inputs\n"
        "from trainer_scripts.cli import prepare, prepare_peaks\n"
        "list(datasets_dart.BUILDERS)\n"
        f"print([name for name in '{heavy}'.split() if name in sys.modules])"
    )
    assert python(code) == "[]\n"


def test_an_unknown_task_is_named_with_those_that_there_are():
    assert set(BUILDERS) == {*DART_EVAL, *BEYOND}
    with pytest.raises(
        ValueError, match="task 'toy' is unknown; there are regulatory_elements, motif_footprinting, cell_"
    ):
        load_dart("toy")
    wanted = (
        "task 'regulatory_element' is unknown; did you mean regulatory_elements\\? There are regulatory_elements, mot"
    )
    with pytest.raises(ValueError, match=wanted):
        load_dart("regulatory_element")
    with pytest.raises(KeyError):
        BUILDERS["toy"]


def test_a_builder_of_another_package_is_known_to_load_dart_and_prepare(tmp_path):
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "toy-1.dist-info").mkdir()
    (tmp_path / "toy-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1\n")
    (tmp_path / "toy-1.dist-info" / "entry_points.txt").write_text("[datasets_dart.tasks]\ntoy = toy:Toy\n")
    (tmp_path / "words.txt").write_text("AC\nGT\n")
    code = (
        "import sys; from datasets_dart import load_dart\n"
        "rows = load_dart('toy', words=sys.argv[1], cache_dir=sys.argv[2], split='test')\n"
        "print(rows['sequence'][:], rows.info.description)"
    )
    said = python(code, tmp_path / "words.txt", tmp_path / "cache", path=tmp_path)
    assert "['AC', 'GT'] Words of words.txt. 2 words." in said
    code = "import sys; sys.argv[0] = 'dart-eval'; from trainer_scripts.cli.dart_eval import main; main()"
    options = ("prepare", "--task", "toy", "--words", tmp_path / "words.txt", "--cache-dir", tmp_path / "cache")
    assert "test: 2 rows, id, sequence" in python(code, *options, path=tmp_path)
