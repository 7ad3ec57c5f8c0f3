"""What a user has for a paper's cells."""

import pytest

from datasets_dart.errors import InputError
from evaluation_dart.papers.plan import Measured, failures, measured_of, plan_of, read_plan
from evaluation_dart.papers.tables import Cell, Model, read_paper

CELL = Cell("Table 4.1", "finetuned", "CNN", "human_or_worm", 93.0, "printed", {"metric": "accuracy", "per_cent": True})


def test_the_users_models_stand_in_for_the_papers():
    paper = read_paper("hyenadna")
    models = {"HyenaDNA from scratch": "org/small", "CNN": None, "GPT": {"model": "org/gpt", "note": "theirs"}}
    plan = plan_of(paper, {"models": models}, None, "out")
    scratch = plan.models["HyenaDNA from scratch"]
    assert (scratch.name, scratch.note) == ("org/small", "in place of the recipe's model")
    assert scratch.arguments == {"random_weights": True}  # what the row is, whatever the model
    assert plan.models["CNN"] == Model(missing="left out")
    assert plan.models["GPT"] == Model("org/gpt", note="theirs")
    assert plan.models["k-mers"] == paper.models["k-mers"]
    other = plan_of(read_paper("dart-eval"), {"models": {"Caduceus": "org/own"}}, None, "out").models["Caduceus"]
    assert (other.arguments, other.note) == ({}, f"in place of {read_paper('dart-eval').models['Caduceus'].name}")


def test_a_cell_without_model_or_data_says_so():
    paper = read_paper("hyenadna")

    def inputs_of(name):
        if name == "species":
            raise InputError("no genomes")
        return {"data": name}

    content = {"models": {"CNN": {"missing": "no time"}}, "tables": ["Table 4.1", "Table 4.5"]}
    plan = plan_of(paper, content, inputs_of, "out")
    reasons = {(own.table, own.row): plan.unavailable(own) for own in paper.cells}
    assert reasons["Table 4.1", "HyenaDNA"] is None
    assert reasons["Table 4.1", "CNN"].reason == "no model: no time"
    assert reasons["Table 4.5", "HyenaDNA"].reason == "no data of species: no genomes"
    assert reasons["Table 4.3", "HyenaDNA 1k"].reason == "the table is left out"
    without = plan_of(paper, {}, None, "out")
    assert without.unavailable(paper.cells[-1]).reason == "no data of genomic_benchmarks: no inputs are named for it"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"models": {"BERT": "a/b"}}, "models: BERT is none of the paper's: Caduceus, "),
        ({"inputs": {"variants": {}}}, "inputs: variants is none of the paper's: regulatory_elements, "),
        ({"tables": ["Table 9"]}, "tables: Table 9 is none of the paper's: Task 1, "),
        ({"models": {"Caduceus": 3}}, "model of Caduceus is 3, not a name"),
        ({"models": {"Caduceus": {"model": "a", "rate": 1}}}, "model of Caduceus: rate is none of model, "),
    ],
)
def test_what_the_paper_does_not_have_is_an_error(content, said):
    with pytest.raises(InputError, match=said):
        plan_of(read_paper("dart-eval"), content, None, "out")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seeds: [1]", "seeds is none of models, inputs, arguments, tables, output"),
        ("models: [a]", "models is .*, not a mapping"),
        ("tables: Task 1", "tables must be a list of names, and output the name of a folder"),
    ],
)
def test_a_file_that_is_no_plan_is_an_error(tmp_path, text, said):
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=f"{path}: {said}"):
        read_plan(path)


def test_a_cell_is_measured_in_its_own_unit():
    metrics = {"accuracy": {"value": 0.75, "low": 0.5, "high": 0.875, "n": 32}}
    own = measured_of(CELL, metrics, Model("network:cnn", note="small"), "cnn", "runs/cnn")
    assert own == Measured(75.0, 50.0, 87.5, 32, "cnn", "small", record="runs/cnn")
    metrics["accuracy"] |= {"low": None, "high": None}
    assert measured_of(CELL, metrics, Model(), "cnn", "").low is None
    metrics["accuracy"] |= {"value": None}
    assert measured_of(CELL, metrics, Model(), "cnn", "").reason == "accuracy is not defined"
    none = measured_of(CELL, {"mcc": {}}, Model(), "cnn", "")
    assert (none.value, none.reason) == (None, "on these rows there is no accuracy")


def test_reasons_of_failures_are_told_once():
    measured = [Measured(reason="a", failed=True), Measured(reason="b"), Measured(reason="a", failed=True)]
    assert failures(measured) == ["a"]
