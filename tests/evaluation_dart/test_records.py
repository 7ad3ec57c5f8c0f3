"""Records that others may have written: whatever is in them, reading ends in an InputError or in a record."""

import copy
import json
import random
from pathlib import Path

import pytest

from datasets_dart.errors import InputError
from evaluation_dart.records import check_schema, read_record
from evaluation_dart.report.hub import eval_results, eval_tasks
from evaluation_dart.report.leaderboard import board_row, script
from evaluation_dart.report.tables import records_below, results_table

RECORDS = sorted((Path(__file__).parents[2] / "leaderboard" / "records").glob("*/results.json"))
ODD = [
    None,
    True,
    [],
    {},
    "",
    "text",
    "\x00",
    "a\nb",
    -1,
    0,
    10**400,
    -(10**400),
    1e308,
    float("nan"),
    float("inf"),
    ["a"] * 2000,
    {"a": {"b": {"c": [1]}}},
    [[[[[]]]]],
    "x" * 200_000,
    "../../etc",
    3.5,
    "１２",
]


def places(value, path=()):
    """The path of every entry of nested mappings and lists."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, own in entries:
        yield (*path, name)
        yield from places(own, (*path, name))


def mutated(record, rng):
    """A copy with one to three entries replaced, removed or added."""
    record = copy.deepcopy(record)
    for _ in range(rng.randint(1, 3)):
        *parents, last = rng.choice([*places(record)])
        own = record
        try:
            for name in parents:
                own = own[name]
            change = rng.random()
            if change < 0.6:
                own[last] = copy.deepcopy(rng.choice(ODD))
            elif change < 0.8:
                del own[last]
            elif isinstance(own, dict):
                own[rng.choice(["new", "", "\x07", "window", "parameters", "x" * 1000])] = rng.choice(ODD)
        except (KeyError, IndexError, TypeError):
            continue
    return record


def test_ten_thousand_mutated_records():
    rng = random.Random(0)
    originals = [json.loads(path.read_text()) for path in RECORDS[:20]]
    accepted = 0
    for number in range(10_000):
        record = mutated(originals[number % len(originals)], rng)
        try:
            check_schema(record, "results.json")
        except InputError:
            continue
        accepted += 1
        results_table([record])
        script([board_row(record, "records/a/results.json")])
        eval_tasks([record])
        eval_results([record], "org/dataset")
    assert 100 < accepted < 9_000


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", "[" * 100_000, '{"a": NaN}', '{"a": ' + "9" * 5000 + "}", "\xff"]
)
def test_files_that_are_no_records(text, tmp_path):
    (tmp_path / "results.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"results\.json: "):
        read_record(tmp_path)
    found, skipped = records_below([tmp_path])
    assert found == []
    assert len(skipped) == 1


def test_folders_of_mixed_records(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "own" / "results.json").write_bytes(RECORDS[0].read_bytes())
    (tmp_path / "foreign" / "results.json").write_text('{"accuracy": 1}')
    found, skipped = records_below([tmp_path])
    assert [record.folder.name for record in found] == ["own"]
    assert len(skipped) == 1
    assert "foreign" in skipped[0]
    assert found[0].kind == "task"
    assert found[0].spec == {}
    with pytest.raises(AttributeError, match="a record has no 'colour'"):
        found[0].colour  # noqa: B018
