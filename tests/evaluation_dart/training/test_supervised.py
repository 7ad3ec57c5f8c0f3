"""Training: order of the rows, what is learned from, resuming, choices, metrics, and whole runs."""

import copy
import dataclasses
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from accelerate import Accelerator
from datasets import ClassLabel, Dataset, Features, Value
from safetensors.torch import load_file
from scipy.special import logsumexp
from sklearn import metrics as sklearn_metrics

import modeling_hyenadna  # noqa: F401
from evaluation_dart.models.families import family_of
from evaluation_dart.models.kmers import gc_content, kmer_frequencies
from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.models.linear import (
    LinearPredictor,
    choose_linear,
    fit_linear,
    load_linear,
    save_linear,
)
from evaluation_dart.models.networks import build
from evaluation_dart.models.table import PredictionTable
from evaluation_dart.records import validate_record
from evaluation_dart.run import evaluate_rows
from evaluation_dart.spec import RunSpec
from evaluation_dart.statistics.blocks import genome_blocks, row_blocks
from evaluation_dart.statistics.estimates import metrics_of
from evaluation_dart.statistics.metrics import class_estimates, pair_classification_estimates
from evaluation_dart.statistics.scores import original_log_odds
from evaluation_dart.tasks import TASKS
from evaluation_dart.tools.profile import resource_profile
from evaluation_dart.training.embedding_cache import write_cache
from evaluation_dart.training.finetuning import FineTuned, load_classifier
from evaluation_dart.training.loop import counted_rows, fit, load_trained, take_step, validation_loss
from evaluation_dart.training.objective import Objective
from evaluation_dart.training.order import epoch_batches, epoch_rows, reversed_rows, steps_of, thinned
from evaluation_dart.training.paper_choices import choices
from evaluation_dart.training.probing import Embedder, Probed
from evaluation_dart.training.recipe import SupervisedTraining, Training, changed
from evaluation_dart.training.rows import labelled_rows
from evaluation_dart.training.supervised import Predictor, source_of, train_predictor, training_of

FIXTURES = Path(__file__).parents[2] / "fixtures"
HYENADNA = FIXTURES / "model" / "small_d32_l2_s130"
CLASSES = ("GM12878", "H1ESC", "HEPG2", "IMR90", "K562")


def sequences(n, length, seed=0, gc=0.5):
    rng = np.random.default_rng(seed)
    return [
        "".join(row)
        for row in rng.choice(list("ACGT"), p=[(1 - gc) / 2, gc / 2, gc / 2, (1 - gc) / 2], size=(n, length))
    ]


def places(n):
    return {"id": list(range(n)), "chrom": ["chr1"] * n, "start": [i * 1_000_000 for i in range(n)]}


def pairs(n=24, length=40):
    """Elements of much GC, controls of little."""
    return Dataset.from_dict(
        places(n) | {"sequence": sequences(n, length, 1, 0.7), "control": sequences(n, length, 2, 0.3)}
    )


def cell_types(n=24, labels=None):
    rows = places(n) | {"sequence": sequences(n, 40), "label": labels or [i % 5 for i in range(n)]}
    features = Features(
        id=Value("int64"),
        chrom=Value("string"),
        start=Value("int64"),
        sequence=Value("string"),
        label=ClassLabel(names=list(CLASSES)),
    )
    return Dataset.from_dict(rows, features=features)


def activity(n=30, length=40, cell_type="GM12878"):
    texts = sequences(n, length)
    counts = [text.count("G") / 10 for text in texts]
    category = ["peaks" if i < 10 else "nonpeaks" for i in range(n)]
    rows = places(n) | {"sequence": texts, "log_counts": counts, "category": category}
    return Dataset.from_dict(rows | {"cell_type": [cell_type] * n})


COLUMNS = {"regulatory_elements": ("sequence", "control")}


def examples_of(dataset, task, objective=None, split="train"):
    objective = objective or TASKS[task].objective(dataset)
    return labelled_rows(dataset, COLUMNS.get(task, ("sequence",)), objective, split)


def golden_orders():
    return json.loads((FIXTURES / "task4" / "loaders" / "expected.json").read_text())["configs"]


@pytest.mark.parametrize("name", ["few_nonpeaks", "many_nonpeaks", "similar"])
def test_rows_of_each_epoch_are_the_originals(name):
    golden = golden_orders()[name]
    peaks, nonpeaks = (np.array([int(row) for row in golden[f"{kind}_counts_by_row"]]) for kind in ("peak", "nonpeak"))
    is_nonpeak = np.repeat([False, True], [len(peaks), len(nonpeaks)])
    named = [[0, row] for row in peaks.tolist()] + [[1, row] for row in nonpeaks.tolist()]
    for epoch in range(12):
        block = golden["probing/nonpeak_loader_alone_rows_per_epoch"][epoch]
        assert nonpeaks[thinned(len(nonpeaks), epoch, "block")].tolist() == block
        stride = golden["finetune/nonpeak_rows_per_epoch"][epoch]
        assert nonpeaks[thinned(len(nonpeaks), epoch, "stride")].tolist() == stride
        found = epoch_rows(is_nonpeak, epoch, "first_block")
        assert [named[row] for row in found] == golden["probing/original_interleaved_per_epoch"]["order"]
        found = epoch_rows(is_nonpeak, epoch, "block")
        assert [named[row] for row in found] == golden["probing/block_epoch_mod_10_interleaved_per_epoch"][epoch]


def test_orders_are_of_epoch_and_seed_alone():
    training = SupervisedTraining(batch_size=8, num_train_epochs=2, seed=3)
    lengths, nonpeak = np.full(50, 40), np.zeros(50, bool)
    first = np.concatenate(epoch_batches(lengths, nonpeak, training, 0))
    assert np.concatenate(epoch_batches(lengths, nonpeak, training, 0)).tolist() == first.tolist()
    assert sorted(first.tolist()) == list(range(50))
    assert 10 < reversed_rows(50, 0, 3).sum() < 40
    assert np.concatenate(epoch_batches(lengths, nonpeak, training, 1)).tolist() != first.tolist()
    in_order = dataclasses.replace(training, train_sampling_strategy="sequential")
    assert np.concatenate(epoch_batches(lengths, nonpeak, in_order, 1)).tolist() == list(range(50))
    with pytest.raises(ValueError, match="there are all, first_block"):
        thinned(3, 0, "some")


def test_steps_are_counted_with_the_nonpeaks_of_each_epoch():
    nonpeak = np.repeat([False, True], [5, 23])
    training = SupervisedTraining(batch_size=4, num_train_epochs=12)
    counted = sum(len(epoch_batches(np.ones(28), nonpeak, training, epoch, "stride")) for epoch in range(12))
    assert steps_of(nonpeak, training, "stride") == counted
    assert steps_of(nonpeak, dataclasses.replace(training, max_steps=3), "stride") == 3


def test_pairs_lose_as_the_original_does():
    objective = Objective("pairs", 2)
    logits, labels = torch.tensor([[0.0, 1], [2, 0], [0, 3], [1, 1]]), torch.tensor([[1, 0], [1, 0]])
    elements = torch.nn.functional.cross_entropy(logits[:2], torch.tensor([1, 1]))
    controls = torch.nn.functional.cross_entropy(logits[2:], torch.tensor([0, 0]))
    torch.testing.assert_close(objective.total_loss(logits, labels) / 2, elements + controls)
    assert objective.loss(logits.numpy(), labels.numpy()) == pytest.approx(float(elements + controls))


def test_flipped_rows_are_the_other_strand():
    dataset = Dataset.from_dict({"id": [0], "sequence": ["AACGN"], "control": ["ACCCC"]})
    rows = examples_of(dataset, "regulatory_elements")
    assert rows.read(np.array([0]))[0] == ["AACGN", "ACCCC"]
    assert rows.read(np.array([0]), flip=np.array([True]))[0] == ["NCGTT", "GGGGT"]


def test_what_cannot_be_learned_from(tmp_path):
    whole = cell_types()
    objective = TASKS["cell_type_elements"].objective(whole)
    with pytest.raises(ValueError, match="'validation' is empty"):
        examples_of(whole.select([]), "cell_type_elements", objective, "validation")
    with pytest.raises(ValueError, match="row 4: label 4 is none of 4 classes"):
        examples_of(whole, "cell_type_elements", objective._replace(outputs=4))
    unlabelled = whole.map(lambda row: {"label": -1 if row["id"] == 1 else row["label"]})
    with pytest.raises(ValueError, match="row 1: label -1"):  # ClassLabel of a row without label
        examples_of(unlabelled, "cell_type_elements", objective)
    assert (TASKS["variant_effects"].objective, TASKS["variant_effects"].trained_on) == (None, "chromatin_activity")
    with pytest.raises(ValueError, match="motif_footprinting has no training data"):
        train_predictor(
            "gc", TASKS["motif_footprinting"], "ab_initio", None, protocol="fixed", folder=tmp_path, inputs={}
        )
    both = Dataset.from_list([*activity(2), *activity(2, cell_type="K562")])
    with pytest.raises(ValueError, match="one cell type, not for GM12878, K562"):
        examples_of(both, "chromatin_activity")
    infinite = activity(3).map(lambda row: {"log_counts": float("inf") if row["id"] == 2 else 1.0})
    with pytest.raises(ValueError, match="row 2: log_counts is inf"):
        examples_of(infinite, "chromatin_activity")


def network(outputs=2, length=40, seed=0):
    torch.manual_seed(seed)
    return build("probing-head-like", length, outputs)


QUICK = SupervisedTraining(
    method="probing-head-like", num_train_epochs=3, batch_size=8, learning_rate=1e-3, weight_decay=0.0, save_steps=2
)


class Killed(Exception):
    pass


def cached_probe(folder, dataset, objective):
    """A probing head, and the rows as it reads them from embeddings on disk."""
    torch.manual_seed(0)
    embedder = Embedder(load_language_model(HYENADNA, device="cpu"), "regulatory_elements")
    rows = examples_of(dataset, "regulatory_elements", objective)

    def read(numbers):
        found = rows.sequences(numbers)
        return [text for row in range(len(numbers)) for text in found[row :: len(numbers)]]

    rows.cache = write_cache(folder, embedder, len(dataset), read, {"model": "m"}, members=2, shard_rows=5)
    return Probed(embedder, 2), rows


@pytest.mark.parametrize("at", [2, 6])  # within the first epoch, and after the second
@pytest.mark.parametrize("method", ["lora", "scratch", "probing"])
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path, monkeypatch, method, at):
    """Dropout of LoRA on; killed while writing a state."""
    dataset = pairs()
    objective = TASKS["regulatory_elements"].objective(dataset)
    rows = examples_of(dataset, "regulatory_elements")
    training = dataclasses.replace(QUICK, reverse_complement=method != "probing")

    def fresh():
        torch.manual_seed(0)
        if method == "scratch":
            return network(), rows
        if method == "probing":
            return cached_probe(tmp_path / "cache", dataset, objective)
        return FineTuned(load_classifier(HYENADNA, 2, device="cpu"), (2, 16, 0.1)), rows

    def trained(folder):
        module, own = fresh()
        return module, fit(module, own, own, objective, training, tmp_path / folder, {})

    _, whole = trained("whole")
    assert whole.step == 9
    save, calls = Accelerator.save_state, []

    def killed_while_writing(self, folder, *arguments, **options):
        save(self, folder, *arguments, **options)
        calls.append(folder)
        if len(calls) == at:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Accelerator, "save_state", killed_while_writing)
        with pytest.raises(Killed):
            trained("killed")
    states = tmp_path / "killed" / "checkpoints"
    (state,) = states.glob("step-*")
    assert sorted(path.name for path in state.iterdir() if path.suffix not in (".safetensors", ".json")) == [
        "optimizer.bin",
        "random_states_0.pkl",
    ]
    if method == "lora":  # a state has no frozen weights
        assert all("lora_" in name or "score" in name for name in load_file(state / "model.safetensors"))
    resumed, again = trained("killed")
    assert again == whole
    one, two = (load_file(tmp_path / folder / "weights.safetensors") for folder in ("whole", "killed"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == [
        "log.json",
        "training.yaml",
        "weights.safetensors",
    ]
    loaded, _ = fresh()
    load_trained(loaded, tmp_path / "whole")
    outputs = [Predictor(own, objective).predict(dataset["sequence"][:3]) for own in (resumed, loaded)]
    assert np.array_equal(*outputs)


def test_the_first_epoch_of_smallest_validation_loss_is_kept(tmp_path, monkeypatch, caplog):
    dataset = pairs()
    objective = TASKS["regulatory_elements"].objective(dataset)
    rows = examples_of(dataset, "regulatory_elements")
    losses, states, trained = iter([3.0, 1.0, 1.0, 2.0]), [], network()

    def scripted(self, outputs, labels):
        states.append({name: tensor.clone() for name, tensor in trained.state_dict().items()})
        return next(losses)

    monkeypatch.setattr(Objective, "loss", scripted)
    training = dataclasses.replace(QUICK, num_train_epochs=4)
    caplog.set_level(logging.INFO, logger="evaluation_dart.training.loop")
    progress = fit(trained, rows, rows, objective, training, tmp_path, {})
    assert (progress.best_epoch, progress.validation_loss, progress.step) == (2, 1.0, 12)
    batch, passed = training.batch_size, min(training.batch_size, training.per_device_train_batch_size)
    counts = f"training on {len(rows)} rows, {len(rows)} for validation: 12 steps of {batch} rows"
    assert caplog.messages == [f"{counts}, {passed} a forward pass, on cpu, float32"]
    kept = load_file(tmp_path / "weights.safetensors")
    assert all(torch.equal(kept[name], states[1][name]) for name in kept)


def test_the_number_of_passes_does_not_change_a_step_of_weighted_classes(tmp_path):
    dataset = cell_types(labels=[0] * 15 + [1] * 6 + [2, 3, 4])
    rows = examples_of(dataset, "cell_type_elements")
    objective = TASKS["cell_type_elements"].objective(dataset).weighted(rows.labels)
    assert objective.class_weights == pytest.approx((24 / 75, 24 / 30, 24 / 5, 24 / 5, 24 / 5))
    found = []
    for forward_rows in (8, 3):
        training = dataclasses.replace(QUICK, num_train_epochs=1, per_device_train_batch_size=forward_rows)
        fit(network(5), rows, rows, objective, training, tmp_path / str(forward_rows), {})
        found.append(load_file(tmp_path / str(forward_rows) / "weights.safetensors"))
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name], atol=2e-5, rtol=1e-4)


def test_another_training_is_not_taken_for_this_one(tmp_path):
    dataset = cell_types()
    rows = examples_of(dataset, "cell_type_elements")
    objective = TASKS["cell_type_elements"].objective(dataset).weighted(rows.labels)
    training = dataclasses.replace(QUICK, num_train_epochs=1, class_weights=True, bf16=True)
    first = fit(network(5), rows, rows, objective, training, tmp_path, {"model": {"id": "a"}})
    written = yaml.safe_load((tmp_path / "training.yaml").read_text())
    assert written["training"] == dataclasses.asdict(training)
    assert written["rows"] == {"train": 24, "validation": 24}
    assert fit(network(5), rows, rows, objective, training, tmp_path, {"model": {"id": "a"}}) == first
    other = dataclasses.replace(training, learning_rate=0.1)
    with pytest.raises(ValueError, match=r"training\.learning_rate is 0\.001 there and 0\.1 here"):
        fit(network(5), rows, rows, objective, other, tmp_path, {"model": {"id": "a"}})
    with pytest.raises(ValueError, match=r"network.pos_emb has shape \(40, 1\) in the file, \(50, 1\) in the model"):
        load_trained(network(5, 50), tmp_path)


def test_former_names_of_hyperparameters(caplog):
    old = {
        "epochs": 2,
        "batch_size": 24,
        "accumulate": 4,
        "learning_rate": "1e-3",
        "precision": "bf16",
        "shuffle": False,
    }
    found = changed(SupervisedTraining(), old)
    assert found == SupervisedTraining(
        num_train_epochs=2,
        batch_size=96,
        per_device_train_batch_size=24,
        learning_rate=1e-3,
        bf16=True,
        train_sampling_strategy="sequential",
    )
    assert "hyper-parameter epochs is now num_train_epochs" in caplog.text
    assert changed(found, {"filter_learning_rate": None}) == found
    with pytest.raises(ValueError, match=r"hyper-parameter max_steps: 1\.5 is not of type int"):
        changed(found, {"max_steps": 1.5})


def test_paper_and_fixed_choices():
    paper = choices("lora", "counts", "nucleotide_transformer", "paper")
    assert (paper.per_device_train_batch_size, paper.batch_size, paper.num_train_epochs) == (24, 4 * 24, 10)
    assert (paper.learning_rate, paper.filter_learning_rate) == (1e-4, None)
    assert (paper.lora_rank, paper.lora_alpha, paper.lora_dropout, paper.weight_decay) == (8, 16, 0.05, 0.01)
    assert (paper.lr_scheduler_type, paper.max_grad_norm) == ("constant", 0)
    assert (paper.train_sampling_strategy, paper.nonpeaks) == ("random", "stride")
    assert choices("lora", "classes", "hyenadna", "paper").train_sampling_strategy == "sequential"
    probing = choices("probing", "counts", "caduceus", "paper")
    assert (probing.train_sampling_strategy, probing.nonpeaks) == ("sequential", "first_block")
    assert (probing.kernel, probing.num_train_epochs) == (3, 150)
    assert choices("probing", "classes", "nucleotide_transformer", "paper").learning_rate == 1e-3
    assert choices("probing", "pairs", "caduceus", "fixed").kernel == 8
    names = {
        ("AIRI-Institute/gena-lm-bert-large-t2t", "bert"): "gena_lm",
        ("zhihan1996/DNABERT-2-117M", "bert"): "dnabert2",
        ("folder", "esm"): "nucleotide_transformer",
        ("folder", "hyenadna"): "hyenadna",
    }
    assert {key: family_of(*key).key for key in names} == names


def golden_classes(case):
    inputs = np.load(FIXTURES / "task3" / "metrics_inputs.npz")
    expected = json.loads((FIXTURES / "task3" / "metrics_expected.json").read_text())["cases"][case]
    return inputs[f"{case}/logits"], inputs[f"{case}/labels"], expected["probing/batch64"]["metrics"]


@pytest.mark.parametrize(("case", "tolerance"), [("ordinary", 1e-6), ("tied", 1e-3), ("extreme_finite", 1e-3)])
def test_class_metrics_are_the_originals(case, tolerance):
    logits, labels, expected = golden_classes(case)
    found = metrics_of(class_estimates(logits, labels, CLASSES, row_blocks(len(labels)), "paper"))
    assert found["accuracy"]["value"] == pytest.approx(expected["test_acc"], abs=1e-6)
    for name in CLASSES:
        for kind, ours, within in (
            ("auroc", "auroc", tolerance),
            ("auprc", "auprc", tolerance),
            ("mcc", "mcc", 1e-6),
            ("acc", "accuracy", 1e-6),
        ):
            assert found[f"{ours}_{name}"]["value"] == pytest.approx(expected[f"class_{name}_{kind}"], abs=within)
    golden = np.load(FIXTURES / "task3" / "metrics_log_odds.npz")[f"{case}/probing/log_odds"]
    near = np.abs(golden) < 8
    np.testing.assert_allclose(original_log_odds(logits)[near], golden[near], atol=1e-4, rtol=1e-5)


def test_exact_log_odds_keep_apart_what_rounds_to_one():
    logits, labels, _ = golden_classes("extreme_finite")
    fixed = metrics_of(class_estimates(logits, labels, CLASSES, row_blocks(len(labels))))
    exact = logits.astype(np.float64)
    odds = exact[:, 0] - logsumexp(exact[:, 1:], axis=1)
    expected = sklearn_metrics.roc_auc_score(labels == 0, odds)
    assert fixed["auroc_GM12878"]["value"] == pytest.approx(expected, abs=1e-12)
    assert fixed["accuracy"]["iid"]["method"].startswith("exact")
    assert fixed["accuracy"]["low"] is not None


def test_infinite_logits_and_unknown_labels_are_refused():
    logits, labels, _ = golden_classes("ordinary")
    with pytest.raises(ValueError, match="is not finite"):
        class_estimates(np.where(logits == logits[3, 2], np.inf, logits), labels, CLASSES, row_blocks(len(labels)))
    with pytest.raises(ValueError, match="label 4 is none of"):
        class_estimates(logits[:, :4], labels, CLASSES[:4], row_blocks(len(labels)))


def test_pair_metrics():
    rng = np.random.default_rng(0)
    score, control = rng.normal(0.5, 1, 200), rng.normal(-0.2, 1, 200)
    blocks = genome_blocks(np.repeat("chr1", 200), np.arange(200) * 500_000)
    found = metrics_of(pair_classification_estimates(score, control, blocks))
    both, positive = np.concatenate([score, control]), np.repeat([True, False], 200)
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(positive, both > 0),
        "accuracy_paired": (score > control).mean(),
        "auroc": sklearn_metrics.roc_auc_score(positive, both),
        "auprc": sklearn_metrics.average_precision_score(positive, both),
        "mcc": sklearn_metrics.matthews_corrcoef(positive, both > 0),
    }
    for name, value in expected.items():
        assert found[name]["value"] == pytest.approx(value, abs=1e-12)
        assert found[name]["low"] < value < found[name]["high"]
    paper = metrics_of(pair_classification_estimates(score, control, blocks, "paper"))["accuracy"]
    half = 1.959963984540054 * np.sqrt(paper["value"] * (1 - paper["value"]) / (2 * 2_348_854))
    assert paper["high"] - paper["value"] == pytest.approx(half)


def run(scorer, dataset, task, setting, folder, recipe=None):
    spec = RunSpec(model="fixture", task=task, setting=setting, output=str(folder))
    fixture = {"id": "local/fixture", "revision": "0"}
    record = evaluate_rows(scorer, dataset, spec, recipe, inputs={}, described=fixture)
    validate_record(record.folder)
    return record.predictions(), record.content


def test_predictions_of_every_task(tmp_path):
    rows = cell_types()
    predictor = Predictor(network(5).eval(), TASKS["cell_type_elements"].objective(rows))
    predictions, record = run(predictor, rows, "cell_type_elements", "probed", tmp_path)
    logits = np.stack([predictions[f"logit_{name}"].to_numpy() for name in CLASSES], axis=1)
    np.testing.assert_allclose(logits, predictor.predict(rows["sequence"][:]))
    right = [CLASSES[i] for i in logits.argmax(1)] == predictions["label"].to_numpy()
    assert record["metrics"]["accuracy"]["value"] == right.mean()

    elements = pairs()
    predictor = Predictor(network(), TASKS["regulatory_elements"].objective(elements))
    predictions, record = run(predictor, elements, "regulatory_elements", "finetuned", tmp_path)
    outputs = predictor.predict(elements["control"][:])
    np.testing.assert_allclose(predictions["control_score"].to_numpy(), outputs[:, 1] - outputs[:, 0])
    assert {"accuracy", "accuracy_paired", "auroc", "auprc", "mcc"} <= record["metrics"].keys()

    bins = activity()
    counts = Predictor(network(1), TASKS["chromatin_activity"].objective(bins))
    _, record = run(counts, bins, "chromatin_activity", "probed", tmp_path)
    assert {"pearson_peaks", "spearman_all"} <= record["metrics"].keys()

    variants = Dataset.from_dict(
        {"id": [0, 1, 2], "chrom": ["chr1"] * 3, "position": [5, 6, 7], "label": [True, True, False]}
        | {"effect": [0.1, -0.2, None], "used": [True] * 3, "effect_allele": [2] * 3}
        | {"sequence1": sequences(3, 40, 5), "sequence2": sequences(3, 40, 6)}
    )
    predictions, _ = run(counts, variants, "variant_effects", "probed", tmp_path)
    np.testing.assert_allclose(predictions["score2"].to_numpy(), counts.predict(variants["sequence2"][:])[:, 0])


def test_tables_of_predictions(tmp_path):
    rows = activity(12)
    path = tmp_path / "enformer.tsv"
    lines = [f"GM12878\t{rows[i]['category']}\t{i}\t{i / 7}" for i in reversed(range(12))]
    path.write_text("cell_type\tcategory\tid\tprediction\n" + "\n".join(lines) + "\n")
    predictions, _ = run(PredictionTable(path), rows, "chromatin_activity", "ab_initio", tmp_path)
    np.testing.assert_allclose(predictions["prediction"].to_numpy(), np.arange(12) / 7)

    def look_up():
        return PredictionTable(path).columns(rows[:], TASKS["chromatin_activity"].keys, ["prediction"])

    def refused(text, message):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            look_up()

    head = "cell_type\tcategory\tid\tprediction\n"
    refused("id\tprediction\n1\t2\n", "no column 'cell_type'")
    refused(head + lines[0] + "\n" + lines[0] + "\n", "id 11 occurs a second time in row 2")
    refused(head + "\n".join(lines[1:]) + "\n", "no prediction for cell_type GM12878, category nonpeaks, id 11")
    refused(head + "\n".join([*lines[1:], lines[0].rpartition("\t")[0] + "\tnan"]) + "\n", "id 11 is nan")
    words = head + "\n".join([*lines[1:], lines[0].rpartition("\t")[0] + "\tmuch"]) + "\n"
    refused(words, "'prediction' does not hold numbers")
    with pytest.raises(FileNotFoundError, match=r"none\.csv: no such file"):
        PredictionTable(tmp_path / "none.csv")


def test_composition():
    assert gc_content(["GGCA", "NNAT", "NN"]).tolist() == [[0.75], [0.0], [0.0]]
    two = kmer_frequencies(["AACN", "GTT"], 2)
    assert two.shape == (2, 10)
    assert np.array_equal(two[0], two[1])
    assert sorted(two[0][two[0] > 0].tolist()) == [0.5, 0.5]
    assert kmer_frequencies(["ACGTACGT"], 6).shape == (1, 2080)


def test_linear_models_tell_elements_by_gc_content(tmp_path):
    dataset = pairs(60, 100)
    objective = TASKS["regulatory_elements"].objective(dataset)
    rows = examples_of(dataset, "regulatory_elements")
    texts = rows.sequences(range(60))
    features = {"noise": np.random.default_rng(0).normal(size=(120, 1)), "gc": gc_content(texts)}
    labels = rows.labels.T.flatten()
    chosen = choose_linear(features, labels, features, labels, objective)
    assert chosen.features == "gc"
    assert chosen.validation_loss < 0.1
    save_linear(chosen.model, tmp_path / "weights.safetensors")
    predictor = LinearPredictor(load_linear(tmp_path / "weights.safetensors"), gc_content, objective)
    _, record = run(predictor, dataset, "regulatory_elements", "ab_initio", tmp_path)
    assert record["metrics"]["accuracy_paired"]["value"] == 1


def test_linear_logits_are_scikit_learns_and_ridge_recovers_a_line():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(90, 3)), np.arange(90) % 3
    features[:, 0] += labels
    standard = (features - features.mean(0)) / features.std(0)
    model = fit_linear(features, labels, Objective("classes", 3, ("a", "b", "c")), 0.1)
    expected = LogisticRegression(C=1 / 9, max_iter=1000).fit(standard, labels).decision_function(standard)
    np.testing.assert_allclose(model(features), expected, atol=1e-8)
    with_absent = fit_linear(features, labels, Objective("classes", 4, ("a", "b", "c", "d")), 0.1)(features)
    np.testing.assert_allclose(with_absent[:, :3], expected, atol=1e-8)
    assert (with_absent.argmax(1) < 3).all()
    line = fit_linear(features, 2 * features[:, 1] + 1, Objective("counts", 1), 1e-9)
    np.testing.assert_allclose(line(features)[:, 0], 2 * features[:, 1] + 1, atol=1e-6)


def test_profile():
    found = resource_profile(network(), [sequences(2, 40)] * 5, warmup=2, measured=3)
    assert found["parameters"] == found["trained_parameters"] == sum(p.numel() for p in network().parameters())
    assert found["batches"] == 3
    assert found["forward_seconds"]["mean"] > 0
    assert found["backward_bytes"]["mean"] > 0
    with pytest.raises(ValueError, match="2 batches, but 2 are for warming up"):
        resource_profile(network(), [sequences(2, 40)] * 2, warmup=2)


def test_two_processes_train_as_one_does(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "import torch\n"
        "from accelerate import PartialState\n"
        "from datasets import Dataset\n"
        "PartialState(cpu=True)\n"
        "from evaluation_dart.models.networks import build\n"
        "from evaluation_dart.training.loop import fit\n"
        "from evaluation_dart.tasks import TASKS\n"
        "from evaluation_dart.training.recipe import SupervisedTraining\n"
        "from evaluation_dart.training.rows import labelled_rows\n"
        "folder = Path(sys.argv[1])\n"
        f"dataset = Dataset.from_parquet({str(tmp_path / 'rows.parquet')!r}, cache_dir=str(folder))\n"
        "objective = TASKS['regulatory_elements'].objective(dataset)\n"
        "rows = labelled_rows(dataset, ('sequence', 'control'), objective, 'train')\n"
        "torch.manual_seed(0)\n"
        "training = SupervisedTraining(num_train_epochs=2, batch_size=9, learning_rate=1e-3, weight_decay=0.0,\n"
        "                              per_device_train_batch_size=2)\n"
        "fit(build('probing-head-like', 40, 2), rows, rows, objective, training, folder, {})\n"
    )
    pq.write_table(pa.table(pairs().to_dict()), tmp_path / "rows.parquet")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    for name, how in (("one", []), ("two", launch)):
        command = [sys.executable, *how, str(script), str(tmp_path / name)]
        subprocess.run(command, check=True, env=environment, capture_output=True, timeout=300)
    one, two = (json.loads((tmp_path / name / "log.json").read_text()) for name in ("one", "two"))
    assert one["step"] == two["step"] == 6
    losses = [[entry["validation_loss"] for entry in log["history"]] for log in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    weights = [load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two")]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, atol=1e-5, rtol=1e-4)


def test_protocol_paper_judges_an_epoch_by_the_originals_mean_of_batch_means():
    rng = np.random.default_rng(0)
    dataset = activity(13)
    rows = examples_of(dataset, "chromatin_activity")
    outputs = rng.normal(size=(13, 1)).astype(np.float32)
    squares = (outputs[:, 0] - rows.labels) ** 2
    training = dataclasses.replace(choices("lora", "counts", "hyenadna", "paper"), batch_size=8, loss_rows=4)
    streams = [np.flatnonzero(~rows.nonpeak), np.flatnonzero(rows.nonpeak)]  # fine-tuning: one loader each
    means = [squares[own[start : start + 4]].mean() for own in streams for start in range(0, len(own), 4)]
    assert validation_loss(outputs, rows, Objective("counts", 1), training) == pytest.approx(np.mean(means), rel=1e-6)
    probing = dataclasses.replace(choices("probing", "counts", "hyenadna", "paper"), loss_rows=4)
    order = epoch_rows(rows.nonpeak, 0)  # probing: peaks and nonpeaks in one
    means = [squares[order[start : start + 4]].mean() for start in range(0, 13, 4)]
    assert validation_loss(outputs, rows, Objective("counts", 1), probing) == pytest.approx(np.mean(means), rel=1e-6)

    pairs_rows = examples_of(pairs(5), "regulatory_elements")
    logits = rng.normal(size=(10, 2)).astype(np.float32)
    losses = logsumexp(logits, axis=1) - logits[range(10), [1] * 5 + [0] * 5]
    elements, controls = losses[:5], losses[5:]
    expected = np.mean([own[start : start + 4].mean() for own in (elements, controls) for start in (0, 4)]) * 2
    training = dataclasses.replace(choices("lora", "pairs", "hyenadna", "paper"), loss_rows=4)
    found = validation_loss(logits, pairs_rows, Objective("pairs", 2), training)
    assert found == pytest.approx(expected, rel=1e-6)


def test_protocol_paper_counts_an_epochs_last_forward_pass_as_any():
    """Rows 0 to 9 in batches of 4 + 4: the second step has one row alone in its pass, as the original accumulates."""
    training = SupervisedTraining(batch_size=8, per_device_train_batch_size=3, loss_rows=4)
    groups = [(rows.tolist(), share) for rows, share in counted_rows(np.arange(8, 13), training)]
    assert groups == [([8, 9, 10, 11], 2.0), ([12], 2.0)]
    assert [(len(rows), share) for rows, share in counted_rows(np.arange(5), Training())] == [(5, 1.0)]
    dataset = cell_types(5)
    rows = examples_of(dataset, "cell_type_elements")
    objective = TASKS["cell_type_elements"].objective(dataset)
    start = network(outputs=5, length=len(dataset["sequence"][0]))
    gradients = []
    trained = copy.deepcopy(start)
    optimizer = torch.optim.SGD(trained.parameters(), lr=1.0)
    before = torch.cat([parameter.detach().flatten() for parameter in trained.parameters()])
    take_step(Accelerator(), trained, optimizer, rows, np.arange(5), None, 0, objective, training)
    gradients.append(before - torch.cat([parameter.detach().flatten() for parameter in trained.parameters()]))
    for part in (slice(0, 4), slice(4, 5)):
        loss = torch.nn.functional.cross_entropy(start(dataset["sequence"][part]), torch.tensor(dataset["label"][part]))
        (loss / 2).backward()
    gradients.append(torch.cat([parameter.grad.flatten() for parameter in start.parameters()]))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_loss_rows_make_up_a_step():
    source = source_of("network:chrombpnet-counts", "ab_initio", revision=None, device=None, trust_remote_code=False)
    assert training_of(source, "counts", "paper", {"batch_size": 16}).loss_rows == 16
    assert training_of(source, "counts", "fixed", {}).loss_rows is None
    with pytest.raises(ValueError, match="batch_size 100: no multiple of the 64 rows"):
        training_of(source, "counts", "paper", {"batch_size": 100})


def test_a_fine_tuned_hyenadna_of_protocol_paper_has_the_ports_head(tmp_path):
    dataset = activity(12)
    found = train_predictor(
        str(HYENADNA), TASKS["chromatin_activity"], "finetuned", lambda split: dataset, protocol="paper",
        folder=tmp_path, inputs={}, device="cpu",
        hyperparameters={"num_train_epochs": 1, "batch_size": 8, "loss_rows": 4},
    )  # fmt: skip
    config = found.predictor.network.model.config
    assert (config.pooling, config.embed_dropout) == ("last", 0.0)
    assert found.description["head"] == {"pooling": "last", "embed_dropout": 0.0}
    scored = train_predictor(
        str(HYENADNA), TASKS["variant_effects"], "finetuned", lambda split: dataset, protocol="fixed", folder=tmp_path,
        inputs={}, device="cpu",
    )  # fmt: skip
    assert scored.predictor.network.model.config.pooling == "last"  # as it was trained, whatever it is asked by
    assert np.array_equal(*(each.predictor.predict(dataset["sequence"]) for each in (found, scored)))
    fixed = train_predictor(
        str(HYENADNA), TASKS["chromatin_activity"], "finetuned", lambda split: dataset, protocol="fixed",
        folder=tmp_path / "fixed", inputs={}, hyperparameters={"num_train_epochs": 1}, device="cpu",
    )  # fmt: skip
    assert fixed.predictor.network.model.config.pooling == "mean"
    assert "head" not in fixed.description
