"""Arguments of runs and suites from files that people write: right, or one error, whatever stands in them."""

import contextlib
import datetime
from pathlib import Path

import pytest
import yaml

from datasets_dart.errors import InputError
from evaluation_dart.spec import TYPES, RunSpec, unrooted
from evaluation_dart.suite import read_suite, specifications

ODD = [
    *(True, False, 0, -1, 10**90, 1.5, float("nan"), float("inf"), "", "x", "a\nb", b"x", datetime.date(2020, 1, 1)),
    *([], [1], ["a"], [[1]], {}, {"a": 1}, {1: 2}, {"a": {"b": [1]}}, {1, 2}),
]


@pytest.mark.parametrize("name", [*TYPES, "genome", "elements", "nope", 1])
def test_an_argument_of_any_type_is_taken_or_named(name):
    for setting in ("zero_shot_likelihood", "probed"):
        for value in ODD:
            arguments = {"model": "m", "task": "regulatory_elements", "setting": setting, name: value}
            with contextlib.suppress(InputError):
                RunSpec.of(arguments).recorded()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("seed", -1, "seed is -1, not from 0 to"),
        ("limit", 0, "limit is 0, not from 1 to"),
        ("num_proc", 0, "num_proc is 0"),
        ("dtype", "float23", "dtype 'float23': there are float32"),
        ("inputs", [1], "inputs is \\[1\\], but should be dict"),
        ("genome", 5, "genome is 5, but should be text"),
        ("task", ["x"], "task is .*, but should be str"),
    ],
)
def test_a_value_that_no_run_can_begin_with(name, value, message):
    with pytest.raises(InputError, match=message):
        RunSpec.of({"model": "m", "task": "regulatory_elements", name: value})


@pytest.mark.parametrize("name", ["models", "tasks", "settings", "seeds", "output", "genome", "nope", 1])
def test_a_suite_of_any_types_is_taken_or_refused(name, tmp_path):
    path = tmp_path / "suite.yaml"
    for value in ODD:
        path.write_text(yaml.safe_dump({"models": ["m"], "tasks": ["regulatory_elements"], name: value}))
        with contextlib.suppress(InputError):
            own = {"seeds": [0], "settings": None} | read_suite(path)
            models, tasks, settings, seeds = (own.pop(key) for key in ("models", "tasks", "settings", "seeds"))
            list(specifications(models, tasks, settings, seeds, own))


def test_a_record_keeps_no_place_on_this_machine():
    for value in ("/home/me/x.bed", "markov:/home/me/x.bed", "~/x.bed", str(Path.home() / "x.bed")):
        assert unrooted({"a": [value]})["a"][0].removeprefix("markov:") == "x.bed"
    for value in ("org/model", "markov:x.bed", "results/x.bed", 5):
        assert unrooted(value) == value
