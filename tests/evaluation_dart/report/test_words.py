"""Names of metrics, settings and tasks in words, the same as on the leaderboard's page; and chance."""

import json
import re
from pathlib import Path

import pytest

from evaluation_dart.report import words
from evaluation_dart.report.words import known_chance, metric_axis, setting_words, task_words
from evaluation_dart.tasks import TASKS

PAGE = Path(__file__).parents[3] / "leaderboard"


def script_table(file, name):
    """A constant of the page's scripts, an object of texts or numbers, or a set of texts, as Python has it."""
    text = (PAGE / file).read_text()
    body = re.search(rf"const {name} = (?:new Set\()?([{{\[].*?[}}\]])\)?;", text, re.DOTALL)[1]
    return json.loads(re.sub(r",\s*\}$", "}", re.sub(r"(\w+):(?= )", r'"\1":', body.replace("probed: a", "probed@ a"))))


def test_the_page_has_the_same_words_and_chances():
    assert script_table("parts.js", "METRIC_WORDS") == words.METRICS
    settings = {name: text.replace("@", ":") for name, text in script_table("parts.js", "SETTING_WORDS").items()}
    assert settings == words.SETTINGS
    assert script_table("scale.js", "CHANCE") == words.CHANCE
    assert tuple(script_table("scale.js", "PAIRED")) == words.PAIRED


@pytest.mark.parametrize(
    ("metric", "axis"),
    [
        ("auroc_K562", "AUROC, K562 (0 to 1)"),
        ("spearman_peaks", "Spearman's rho, peaks (-1 to 1)"),
        ("accuracy", "accuracy (share, 0 to 1)"),
        ("copy_advantage_512", "copy advantage 512 (nats a base)"),
        ("something_else", "something else (no unit)"),
    ],
)
def test_axes_have_words_and_units(metric, axis):
    assert metric_axis(metric) == axis


def test_tasks_and_settings():
    assert task_words("regulatory_elements") == "1: regulatory elements against their shuffled controls"
    assert task_words("my_own") == "my own"
    assert (setting_words("probed"), setting_words("exact_repeat")) == (words.SETTINGS["probed"], "exact repeat")


def test_chance_by_definition():
    zero_shot = ("regulatory_elements", "zero_shot_likelihood")
    assert known_chance("accuracy", *zero_shot) == 0.5
    assert known_chance("accuracy", "regulatory_elements", "probed") is None  # of the classes' shares
    assert known_chance("auroc_K562", "cell_type_elements", "probed") == 0.5
    assert known_chance("spearman", "variant_effects", "zero_shot_likelihood") == 0
    assert known_chance("copy_advantage", "long_range_recall", "exact_repeat") is None


def test_every_metric_to_look_at_has_a_unit():
    heads = {name for task in TASKS.values() for setting in task.settings.values() for name in setting.headlines}
    assert {name for name in heads if metric_axis(name).endswith("(no unit)")} == set()
