"""`evaluate`, suites and comparison as a library: what goes in, what comes back, and what is left as it was."""

import dataclasses
import inspect
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

import evaluation_dart
from evaluation_dart import RECIPES, TASKS, compare, evaluate, evaluate_suite, load_record, load_scorer
from evaluation_dart.models.checkpoints import register_models
from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.records import record_folder, validate_record
from evaluation_dart.spec import RunSpec
from evaluation_dart.suite import read_suite
from evaluation_dart.tasks import dart_eval_tasks

FIXTURES = Path(__file__).parents[1] / "fixtures"
MODEL, BERT = FIXTURES / "model" / "small_d32_l2_s130", FIXTURES / "task1" / "bert_char"
MARKOV = f"markov:{Path(__file__).parents[2] / 'model_cards' / 'markov-chrX' / 'markov.safetensors'}"
ELEMENTS = FIXTURES / "task1" / "ccre.bed"


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Inputs of task 1 and options that make a run small."""
    folder = tmp_path_factory.mktemp("rows")
    genome = shutil.copy(FIXTURES / "genome" / "genome.fa", folder)
    return {"genome": genome, "elements": ELEMENTS, "cache_dir": folder / "cache", "limit": 12, "window": 100}


def test_a_record_of_a_model_in_memory(rows, tmp_path, capfd):
    register_models()
    model, tokenizer = AutoModelForCausalLM.from_pretrained(MODEL), AutoTokenizer.from_pretrained(MODEL)
    model.train()
    tokenizer.padding_side = "left"
    before = {name: module.training for name, module in model.named_modules()}
    scorer = load_scorer(model=model, tokenizer=tokenizer, kind="causal")
    record = evaluate(scorer, "regulatory_elements", output=tmp_path, **rows)
    assert {name: module.training for name, module in model.named_modules()} == before
    assert tokenizer.padding_side == "left"
    accuracy = record.metrics["accuracy"]
    assert (accuracy.n, accuracy.higher_is_better) == (12, True)
    assert accuracy.iid["low"] <= accuracy.value <= accuracy.iid["high"]
    assert "fewer than 10" in accuracy.method  # blocks of 1 Mb
    predictions = record.predictions()
    assert predictions.num_rows == 12
    assert accuracy.value == np.mean(predictions["score"].to_numpy() > predictions["control_score"].to_numpy())
    assert TASKS["regulatory_elements"].metrics(predictions, "fixed") == record.metrics
    assert capfd.readouterr().out == ""
    with torch.no_grad():
        model.lm_head.weight += 0.1
    changed = load_scorer(model=model, tokenizer=tokenizer)
    assert evaluate(changed, "regulatory_elements", output=tmp_path, **rows).folder != record.folder
    with pytest.raises(ValueError, match="of a model that is loaded by its name"):
        evaluate(changed, "regulatory_elements", output=tmp_path, dtype="bfloat16", **rows)
    named = evaluate(MODEL, output=tmp_path / "named", **rows)
    np.testing.assert_allclose(named.predictions()["score"], predictions["score"], atol=1e-4)
    assert named.model["id"] == "local/small_d32_l2_s130"


def test_a_second_call_reads_the_record(rows, tmp_path, monkeypatch):
    first = evaluate(MODEL, output=tmp_path, **rows)
    monkeypatch.setattr("evaluation_dart.run.score_in_shards", None)
    assert evaluate(MODEL, output=tmp_path, **rows) == first == load_record(first.folder)


def test_a_record_says_what_was_read_before_and_what_repeats(rows, tmp_path):
    unknown = evaluate(MARKOV, output=tmp_path / "card", **rows)
    assert unknown.model["pretrained_on"][0].startswith("hg19:training.bed sha256:")
    build = "the rows are of a build that their genome does not show"
    why = f"hg19:../hyenadna-tiny-1k-demo/training.bed: {build}"
    assert unknown.dataset["in_pretraining"] == {"rows": 12, "inside": None, "why": why}
    places = unknown.predictions()["chrom"].to_pylist()
    (tmp_path / "read.bed").write_text(f"{places[0]}\t0\t1000000000\n")
    told = evaluate(MARKOV, output=tmp_path / "told", pretrained_on=str(tmp_path / "read.bed"), **rows)
    inside = sum(place == places[0] for place in places)
    assert told.dataset["in_pretraining"] == {"rows": 12, "inside": inside, "by": "coordinates"}
    assert told.spec["pretrained_on"] == "read.bed"
    found = told.dataset["duplicates"]
    assert (found["rows"], found["against"]["train"]["same"]) == (122, 1)
    validate_record(told.folder)


def test_choices_live_side_by_side(rows, tmp_path):
    wide = {**rows, "window": None}
    folders = [
        evaluate(MARKOV, output=tmp_path, **wide).folder,
        evaluate(MARKOV, output=tmp_path, recipe="dart-eval-both-strands", **wide).folder,
        evaluate(f"random:{MODEL}", output=tmp_path, **rows).folder,
        evaluate(f"random:{MODEL}", output=tmp_path, seed=1, **rows).folder,
    ]
    assert [folder.name for folder in folders] == [
        "zero_shot_likelihood",
        "recipe=dart-eval-both-strands",
        "window=100",
        "window=100,seed=1",
    ]
    for folder in folders:
        record = validate_record(folder)
        assert record_folder(tmp_path, record) == folder
    seeds = [pq.read_table(folder / "predictions.parquet")["score"].to_numpy() for folder in folders[2:]]
    assert not np.allclose(*seeds)
    assert load_record(folders[2]).model["id"].endswith("-random-weights")


def test_every_batch_size_gives_the_same(rows, tmp_path):
    found = [
        evaluate(MODEL, output=tmp_path / str(size), batch_size=size, **rows).predictions() for size in (1, 5, "auto")
    ]
    for column in ("score", "control_score"):
        for other in found[1:]:
            np.testing.assert_allclose(found[0][column], other[column], rtol=1e-6)


def test_auto_halves_where_memory_runs_out(monkeypatch):
    scorer, sequences = load_language_model(MODEL), ["ACGTTGCA" * 3] * 40
    expected = scorer.log_likelihood(sequences, batch_size=7)
    forward, sizes = type(scorer.model).forward, []

    def small_device(self, input_ids, **options):
        sizes.append(len(input_ids))
        if len(input_ids) > 10:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return forward(self, input_ids=input_ids, **options)

    monkeypatch.setattr(type(scorer.model), "forward", small_device)
    np.testing.assert_allclose(scorer.log_likelihood(sequences, batch_size="auto"), expected, rtol=1e-6)
    assert sizes == [40, 32, 16, 8, 8, 8, 8, 8]
    sizes.clear()
    scorer.log_likelihood(sequences, batch_size="auto")
    assert sizes == [8] * 5
    with pytest.raises(ValueError, match="16 rows of 25 tokens do not fit into memory"):
        scorer.log_likelihood(sequences, batch_size=16)


def test_a_specification_is_keywords_options_and_yaml(rows, tmp_path):
    fields = {own.name: own.default for own in dataclasses.fields(RunSpec)}
    keywords = inspect.signature(evaluate).parameters
    assert fields.keys() - {"inputs"} == keywords.keys() - {"inputs"}
    assert all(
        keywords[name].default == fields[name] for name in fields.keys() - {"model", "inputs", "hyperparameters"}
    )
    given = {"model": str(MODEL), "genome": "/home/me/hg38.fa", "elements": "e.bed", "batch_size": 7, "seed": 0}
    spec = RunSpec.of(given)
    assert RunSpec.of(yaml.safe_load(yaml.safe_dump(spec.flat()))) == spec
    assert spec.recorded()["genome"] == "hg38.fa"
    record = evaluate(MODEL, output=tmp_path, **rows)
    again = RunSpec.of({**record.spec, **rows, "model": str(MODEL), "output": tmp_path})
    assert again == RunSpec.of({"model": MODEL, "output": tmp_path, **rows})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "secret"}, "task 'secret' is unknown; there are regulatory_elements, motif_footprinting"),
        ({"setting": "clustering"}, "regulatory_elements has no setting clustering: there are zero_shot_likelihood"),
        ({"motifs": "m.meme"}, "regulatory_elements takes no argument 'motifs'; its inputs are genome, elements"),
        ({"protocol": "papers"}, "protocol 'papers': there are fixed and paper"),
        ({"recipe": "secret"}, "recipe secret: there are dart-eval"),
        ({"batch_size": "some"}, "batch_size 'some' must be a whole number of rows, at least 1, or \"auto\""),
        ({"window": "wide"}, "window is 'wide', but should be int"),
        ({"overwrite": 1}, "overwrite is 1, but should be bool"),
        ({"limit": True}, "limit is True, but should be int"),
        ({"seed": 1}, "seed 1: nothing is drawn in zero_shot_likelihood of org/model"),
        ({"layer": 1}, "layer 1 is for embeddings, which zero_shot_likelihood does not take"),
        ({"method": "cnn"}, "method is for settings that train, which zero_shot_likelihood does not"),
        (
            {"task": "motif_footprinting", "setting": "zero_shot_embedding", "recipe": "carbon"},
            "recipe carbon is for likelihoods, which zero_shot_embedding does not take",
        ),
    ],
)
def test_arguments_that_cannot_be_or_have_no_effect_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        RunSpec.of({"model": "org/model", **arguments})


def test_what_a_model_cannot_do_is_said_before_data_are_read():
    missing = {"genome": "no.fa", "elements": "no.bed"}
    with pytest.raises(ValueError, match="kmers:3 has no likelihoods, which regulatory_elements asks for"):
        evaluate("kmers:3", **missing)
    with pytest.raises(ValueError, match=r"has no embeddings.*; of this task it can do zero_shot_likelihood"):
        evaluate(MARKOV, "variant_effects", "zero_shot_embedding", genome="no.fa", variants="no.tsv")
    with pytest.raises(ValueError, match="only sums over whole sequences"):
        evaluate(MARKOV, recipe="carbon", **missing)


def test_suite_goes_on_past_a_failure_and_resumes(rows, tmp_path, monkeypatch):
    config = tmp_path / "suite.yaml"
    models = [str(MODEL), "no/such-model", MARKOV]
    given = {name: value if isinstance(value, int) else str(value) for name, value in rows.items()}
    config.write_text(
        yaml.safe_dump({"models": models, "tasks": {"regulatory_elements": None}, "seeds": [0, 1]} | given)
    )
    arguments = read_suite(config) | {"output": tmp_path / "out"}
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = evaluate_suite(**arguments)
    table = done.table.to_pylist()
    assert [row["status"] == "done" for row in table] == [True, False, True]  # one seed: nothing is drawn
    assert len(done.failures) == 1
    assert "no/such-model on regulatory_elements" in done.failures[0]
    assert table[0]["metric"] == "accuracy"
    assert pq.read_table(tmp_path / "out" / "suite.parquet").equals(done.table)
    assert (tmp_path / "out" / "suite.csv").read_text().count("\n") == 4
    monkeypatch.setattr("evaluation_dart.run.score_in_shards", None)
    assert evaluate_suite(**arguments).table.equals(done.table)
    with pytest.raises(ValueError, match="no task has a setting clusters"):
        evaluate_suite(**arguments | {"settings": ["clusters"]})
    with pytest.raises(ValueError, match="none of the tasks regulatory_elements takes motifs"):
        evaluate_suite(**arguments, motifs="m.meme")


def test_suites_run_seeds_of_what_is_drawn(rows, tmp_path):
    done = evaluate_suite([f"random:{MODEL}"], ["regulatory_elements"], seeds=[0, 1], output=tmp_path, **rows)
    *runs, mean = done.table.to_pylist()
    assert [(row["seed"], row["status"]) for row in runs] == [(0, "done"), (1, "done")]
    assert (mean["seed"], mean["status"], mean["record"]) == (None, "mean of 2 seeds", None)
    assert {row["control"] for row in (*runs, mean)} == {"untrained twin"}
    assert mean["value"] == pytest.approx(np.mean([row["value"] for row in runs]))
    assert not done.failures


def test_blocks_are_recorded_and_another_choice_measures_again(rows, tmp_path, monkeypatch):
    first = evaluate(MARKOV, output=tmp_path, **rows)
    assert (first.blocks, first.schema_version) == ("1Mb", 4)
    assert "1-Mb blocks of the genome" in first.metrics["accuracy"].method
    monkeypatch.setattr("evaluation_dart.run.score_in_shards", None)  # nothing is scored
    again = evaluate(MARKOV, output=tmp_path, blocks="id", **rows)
    assert again.blocks == "id"
    assert "values of id" in again.metrics["mean_diff"].method
    assert again.metrics["mean_diff"].value == first.metrics["mean_diff"].value
    assert again.metrics["mean_diff"].low < again.metrics["mean_diff"].value < again.metrics["mean_diff"].high
    validate_record(again.folder)
    refused = r"^blocks length: of regulatory_elements there are 1Mb, chromosomes, id, chrom"
    with pytest.raises(ValueError, match=refused):
        evaluate(MARKOV, output=tmp_path, blocks="length", **rows)


def test_compare_pairs_rows(rows, tmp_path):
    one = evaluate(MODEL, output=tmp_path / "a", **rows)
    two = evaluate(MARKOV, output=tmp_path / "b", **{**rows, "limit": 9})
    found = compare(one, two.folder)
    assert (found.rows, found.only_a, found.only_b) == (9, 3, 0)
    shared = one.predictions().slice(0, 9)
    wins = np.mean(shared["score"].to_numpy() > shared["control_score"].to_numpy())
    accuracy = found.metrics["accuracy"]
    assert accuracy.difference == pytest.approx(wins - two.metrics["accuracy"].value)
    assert accuracy.n == 9
    assert "accuracy" in str(found)
    assert "9 rows in common; only in a: 3, only in b: 0" in str(found)


def test_records_to_compare_must_agree(rows, tmp_path):
    one = evaluate(MODEL, output=tmp_path / "a", **rows)
    content = json.loads((one.folder / "results.json").read_text())
    changed = dataclasses.replace(one, content=content | {"protocol": "paper"})
    with pytest.raises(ValueError, match=r"the records differ in protocol \(fixed and paper\)"):
        compare(one, changed)


def test_rows_at_once_change_no_prediction_of_motifs(tmp_path, monkeypatch):
    backgrounds = tmp_path / "backgrounds.txt"
    backgrounds.write_text("".join((FIXTURES / "task2" / "backgrounds.txt").open().readlines()[:3]))
    inputs = {"motifs": FIXTURES / "task2" / "motifs.meme", "backgrounds": backgrounds, "cache_dir": tmp_path / "cache"}
    found = [evaluate(MARKOV, "motif_footprinting", output=tmp_path / "many", **inputs).predictions()]
    monkeypatch.setenv("DART_EVAL_SHARD_ROWS", "2")  # of which some are backgrounds, without a motif
    found.append(evaluate(MARKOV, "motif_footprinting", output=tmp_path / "two", **inputs).predictions())
    assert found[0]["motif"].null_count == 6
    assert found[0].equals(found[1])


def test_public_names():
    for name in evaluation_dart.__all__:
        assert getattr(evaluation_dart, name) is not None
    assert list(TASKS) == [
        "regulatory_elements",
        "motif_footprinting",
        "cell_type_elements",
        "chromatin_activity",
        "variant_effects",
        "long_range_recall",
        "likelihood_by_position",
        "conservation_gap",
    ]
    assert dart_eval_tasks() == list(TASKS)[:5]
    assert "dart-eval" in RECIPES
    with pytest.raises(AttributeError, match="no attribute 'evaluator'"):
        evaluation_dart.evaluator  # noqa: B018
