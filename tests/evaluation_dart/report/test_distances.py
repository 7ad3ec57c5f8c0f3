"""Long context by distance: tables, a figure, and the line of a model's card, which the cards and the page have."""

import json
from pathlib import Path

import pytest

from evaluation_dart.records import Record
from evaluation_dart.report.distances import card_line, distance_figure, distance_table

ROOT = Path(__file__).parents[3]
RECORDS = ROOT / "docs" / "records" / "long_context"
DEMO = "hyenadna-tiny-1k-demo"


def records(model):
    files = [*RECORDS.glob(f"{model}-l*.json")]
    found = [Record(RECORDS, json.loads(path.read_text())) for path in files]
    return sorted(found, key=lambda record: (record.task, record.setting))


def test_the_line_is_that_of_card_and_page():
    line = card_line(records(DEMO))
    exact = next(record for record in records(DEMO) if record.setting == "exact_repeat").metrics["copy_advantage_448"]
    assert (
        f"{exact.value:.4f} [{exact.low:.4f}, {exact.high:.4f}] (n 128) nats a base of a segment 448 bp later" in line
    )
    assert line in (ROOT / "model_cards" / DEMO / "README.md").read_text()
    assert line in (ROOT / "docs" / "long_context.md").read_text()
    twin = next(own for own in records(f"{DEMO}-random-weights") if own.setting == "exact_repeat")
    own = twin.metrics["copy_advantage_448"]
    said = f"{own.value:.4f} [{own.low:.4f}, {own.high:.4f}]"
    assert said in (ROOT / "model_cards" / DEMO / "README.md").read_text()
    assert said in (ROOT / "docs" / "long_context.md").read_text()


def test_tables_and_figures(tmp_path):
    rows = [row for record in records(DEMO) for row in distance_table(record).to_pylist()]
    assert {row["measure"] for row in rows} == {"copy_advantage", "nats", "worth"}
    recall = [row["distance"] for row in rows if row["setting"] == "exact_repeat"]
    assert recall == [64, 256, 448]
    pytest.importorskip("matplotlib", reason="the extra plot is not installed")
    distance_figure(tmp_path / "one.svg", rows)
    text = (tmp_path / "one.svg").read_text()
    distance_figure(tmp_path / "one.svg", rows)
    assert (tmp_path / "one.svg").read_text() == text


def test_what_has_no_line():
    with pytest.raises(ValueError, match="a card is of one model, not of local/hyenadna-tiny-1k-demo, local/"):
        card_line([*records(DEMO), *records(f"{DEMO}-random-weights")])
    with pytest.raises(ValueError, match="a card's line of long context needs a record of likelihood_by_position"):
        card_line([record for record in records(DEMO) if record.task == "long_range_recall"])
    other = Record(RECORDS, {**records(DEMO)[0].content, "task": "variant_effects"})
    with pytest.raises(ValueError, match="variant_effects has no metrics at a distance"):
        distance_table(other)
