"""Cards that are written for others, as the Hub's own parsers read them, and what each must say."""

import re
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, load_dataset
from huggingface_hub import DatasetCard, ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from transformers.pipelines import SUPPORTED_TASKS

from datasets_dart import BUILDERS
from datasets_dart.export import balance, export_parquet
from evaluation_dart.tools.data_card import class_table
from evaluation_dart.tools.own_data import make_dataset

ROOT = Path(__file__).parents[1]
CARDS = sorted((ROOT / "model_cards").glob("*/README.md"))
LICENCES = {"apache-2.0", "bsd-3-clause"}  # of the Hub's list, those that are used here


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.parent.name)
def test_model_cards_say_how_to_load_and_what_for(path):
    card = ModelCard(path.read_text(encoding="utf-8"), ignore_metadata_errors=False)
    assert card.data.license in LICENCES
    assert card.data.pipeline_tag in (*SUPPORTED_TASKS, "other")
    for results in (card.data.eval_results or [],):
        assert all(isinstance(own.metric_value, float) and own.dataset_type for own in results)
    if index := card.data.to_dict().get("model-index"):
        name, results = model_index_to_eval_results(index)
        assert name == path.parent.name
        assert results == card.data.eval_results
    assert "```python" in card.text
    assert re.search(r"^## Use\b", card.text, re.MULTILINE)
    assert re.search(r"^## (Limits|Use and limits)$", card.text, re.MULTILINE)
    again = ModelCard(str(card), ignore_metadata_errors=False)
    assert again.data.to_dict() == card.data.to_dict()


def test_the_card_of_a_dataset_of_ones_own(tmp_path):
    fasta = tmp_path / "p.fa"
    fasta.write_text("".join(f">s{n}\n{'ACGTTGCAACGTGGCATTCAGGATC'[n % 9 :] * 2}\n" for n in range(30)))
    about = make_dataset(tmp_path / "mine", positives=fasta, splits="random", seed=0)
    card = DatasetCard((tmp_path / "mine/README.md").read_text(encoding="utf-8"), ignore_metadata_errors=False)
    assert card.data.license == "unknown"
    assert card.data.task_categories == ["text-classification"]
    assert [part["split"] for part in card.data.configs[0]["data_files"]] == ["train", "validation", "test"]
    for name in ("negative", "positive"):
        counts = [about["rows"][split].get(name, 0) for split in ("train", "validation", "test")]
        assert f"| {name} | {counts[0]} | {counts[1]} | {counts[2]} |" in card.text
    assert 'load_dataset("mine", split="train")' in card.text
    assert "## Use" in card.text
    rows = load_dataset(str(tmp_path / "mine"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(part) for split, part in rows.items()} == {
        split: sum(own.values()) for split, own in about["rows"].items()
    }


def test_rows_by_class_and_split():
    assert class_table({"train": {"a": 1_200}, "test": {"a": 3, "b|c": 1}}, ["a", "b|c"]).splitlines() == [
        "| class | train | test |",
        "|---|---:|---:|",
        "| a | 1,200 | 3 |",
        "| b\\|c | 0 | 1 |",
    ]
    assert class_table({"train": 5, "test": 2}, None).splitlines()[2:] == ["| all | 5 | 2 |"]


def rows_of(labels, kind):
    return Dataset.from_dict({"label": labels}, features=Features({"label": kind}))


def test_class_balance_of_a_configuration():
    kind = ClassLabel(names=["open", "closed"])
    rows = DatasetDict({"train": rows_of([1, 0, 1], kind), "test": rows_of([0], kind)})
    assert balance(rows) == " By class: train `open` 1, `closed` 2; test `open` 1."
    assert balance(DatasetDict({"test": rows_of([True, False, True], Value("bool"))})) == (
        " By class: test `false` 1, `true` 2."
    )
    assert balance(DatasetDict({"test": rows_of([0.5], Value("float64"))})) == ""


def test_the_card_of_the_benchmark_says_how_to_load_it_and_what_for(tmp_path):
    kind = ClassLabel(names=["a", "b"])
    rows = DatasetDict({"test": rows_of([0, 1, 1], kind)})
    export_parquet(rows, tmp_path / "repo", "cell_type_elements", "fixed")
    card = DatasetCard((tmp_path / "repo/README.md").read_text(encoding="utf-8"), ignore_metadata_errors=False)
    assert card.data.dataset_info["config_name"] == "cell_type_elements"
    assert "Rows: 3 test. By class: test `a` 1, `b` 2." in card.text
    assert "load_dataset(" in card.text
    assert "\n## Use\n" in card.text
    assert "cell_type_elements" in BUILDERS
