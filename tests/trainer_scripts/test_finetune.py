"""Fine-tuning on downstream tasks: small runs, killed and continued, and what a prediction depends on."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from accelerate import Accelerator
from accelerate.utils import set_seed
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from datasets_dart.errors import InputError
from datasets_hyenadna.builder import FAMILIES
from datasets_hyenadna.genomic_benchmarks import TASKS
from datasets_hyenadna.nucleotide_transformer import CLASSES
from evaluation_dart.report.hub import write_report
from evaluation_dart.report.tables import valid_records_below
from evaluation_dart.training import loop as training_loop
from evaluation_dart.training.classifiers import ConvolutionalClassifier, SequenceClassifier
from evaluation_dart.training.finetuning import load_classifier
from evaluation_dart.training.loop import fit, load_trained, parameter_groups, predict
from evaluation_dart.training.objective import Objective
from evaluation_dart.training.order import epoch_batches, reversed_rows, shares
from evaluation_dart.training.recipe import DownstreamTraining, Training
from evaluation_dart.training.rows import LabelledRows, limited
from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNATokenizer
from trainer_scripts.finetune import RECIPES, build_network, finetune, main, parse, recipe_of, train

COLUMNS = ("output_0", "output_1", "label")
CLASSES_OF_TWO = Objective("classes", 2)
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A causal checkpoint of one small block, with dropout."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    torch.manual_seed(0)
    config = HyenaDNAConfig(d_model=16, n_layer=1, max_seq_len=66, emb_dim=5, filter_order=16, initializer_range=0.1)
    HyenaDNAForCausalLM(config).save_pretrained(folder)
    HyenaDNATokenizer(model_max_length=66).save_pretrained(folder)
    return str(folder)


def labelled(rows: int, label: int | None = None) -> list[tuple[str, int]]:
    """Rows of 20 to 60 bases, those of class 1 rich in G and C."""
    made = []
    for row in range(rows):
        own = row % 2 if label is None else label
        weights = np.array([1, 1, 1, 1]) if own == 0 else np.array([1, 4, 4, 1])
        made.append(("".join(RNG.choice(list("ACGT"), int(RNG.integers(20, 60)), p=weights / weights.sum())), own))
    return made


def rows_of(pairs) -> LabelledRows:
    sequences, labels = zip(*pairs, strict=True)
    return LabelledRows(Dataset.from_dict({"sequence": sequences}), np.array(labels), max_length=60)


@pytest.fixture(scope="module")
def gue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gue")
    (folder / "toy").mkdir()
    for split, rows in (("train", 96), ("dev", 40), ("test", 60)):
        lines = [f"{sequence},{label}" for sequence, label in labelled(rows)]
        (folder / "toy" / f"{split}.csv").write_text("sequence,label\n" + "\n".join(lines) + "\n")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path_factory.getbasetemp() / "datasets"))


def batches_of(lengths, batch_size, epoch, seed, by_length):
    strategy = "group_by_length" if by_length else "random"
    choices = Training(batch_size=batch_size, seed=seed, train_sampling_strategy=strategy)
    return epoch_batches(lengths, np.zeros(len(lengths), bool), choices, epoch)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=300), st.integers(1, 7), st.booleans())
def test_an_epoch_reads_every_row_once(lengths, batch_size, by_length):
    batches = batches_of(np.array(lengths), batch_size, 3, 5, by_length)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert sorted(len(batch) for batch in batches)[1:] == [batch_size] * (len(batches) - 1)
    again = batches_of(np.array(lengths), batch_size, 3, 5, by_length)
    assert all((one == two).all() for one, two in zip(batches, again, strict=True))


def test_grouping_by_length_saves_padding():
    lengths = np.random.default_rng(0).integers(50, 1000, 4000)
    padded = [
        sum(len(batch) * lengths[batch].max() for batch in batches_of(lengths, 32, 0, 0, by_length))
        for by_length in (False, True)
    ]
    assert padded[1] < 1.1 * lengths.sum() < 1.7 * lengths.sum() < padded[0]


@given(st.integers(1, 50), st.integers(1, 4), st.integers(1, 9))
def test_processes_share_a_batch(rows, processes, forward_rows):
    batch = np.arange(rows)
    parts = [shares(batch, process, processes, forward_rows) for process in range(processes)]
    assert len({len(own) for own in parts}) == 1
    assert all(len(part) <= forward_rows for own in parts for part in own)
    assert sorted(np.concatenate([part for own in parts for part in own]).tolist()) == list(range(rows))


def test_rows_are_cut_flipped_and_drawn_the_same_way_every_time():
    rows = rows_of([("ACGTA" * 20, 1), ("CCGN", 0)])
    assert rows.lengths.tolist() == [60, 4]
    sequences, labels = rows.read(np.array([1, 0]), flip=np.array([True, False]))
    assert sequences == ["NCGG", "ACGTA" * 12]
    assert labels.tolist() == [0, 1]
    assert 0.4 < reversed_rows(1000, 0, 0).mean() < 0.6
    assert (reversed_rows(1000, 0, 0) != reversed_rows(1000, 1, 0)).any()
    many = Dataset.from_dict({"sequence": [str(i) for i in range(100)]})
    assert limited(many, 10)["sequence"][:] == limited(many, 10)["sequence"][:]
    assert limited(many, 1000) is many


@pytest.mark.parametrize("pooling", ["mean", "last", "max", "first", "sum"])
def test_batch_composition_changes_no_prediction(model, pooling):
    sequences = [sequence for sequence, _ in labelled(12)]
    network = SequenceClassifier(load_classifier(model, 3, changes={"pooling": pooling}), 60).eval()
    with torch.no_grad():
        alone = torch.cat([network([sequence]) for sequence in sequences])
        together = network(sequences)
        pairs = torch.cat([network([sequence, "A" * 60])[:1] for sequence in sequences])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(pairs, alone, atol=1e-5, rtol=0)
    assert alone.std(dim=0).min() > 1e-3, "sequences do differ"


def test_padding_side_changes_no_prediction_where_pads_are_masked(model):
    loaded = load_classifier(model, 2)
    found = {}
    for side in ("left", "right"):
        encoded = loaded.tokenizer(["ACGTACGTA", "ACG"], padding=True, padding_side=side, return_tensors="pt")
        with torch.no_grad():
            found[side] = loaded.model(**encoded).logits
    torch.testing.assert_close(found["left"], found["right"], atol=1e-6, rtol=0)


def test_unmasked_reading_is_the_originals(model):
    """Left pads up to max_length, convolved and averaged (spec 6.0)."""
    loaded = load_classifier(model, 2)
    network = SequenceClassifier(loaded, 30, masked=False).eval()
    ids = torch.tensor([[4] * 26 + [7, 8, 9, 10]])
    with torch.no_grad():
        hidden = loaded.model.hyena(ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        torch.testing.assert_close(network(["ACGT"]), loaded.model.score(hidden.mean(dim=1)))
        masked = SequenceClassifier(loaded, 30).eval()(["ACGT"])
    assert (network(["ACGT"]) - masked).abs().max() > 1e-3


def test_unmasked_reading_with_special_tokens_has_room_for_them(model):
    network = SequenceClassifier(load_classifier(model, 2), 30, special_tokens=True, masked=False).eval()
    with torch.no_grad():
        both = network(["ACGTAC" * 5, "ACGT"])  # as long as may be, and shorter
        torch.testing.assert_close(network(["ACGT"]), both[1:], atol=1e-6, rtol=0)


def test_too_long_for_the_model(model):
    with pytest.raises(ValueError, match="reads at most 66 tokens, but 100 bases are 100: choose max_length 66"):
        SequenceClassifier(load_classifier(model, 2), 100)


def test_parameter_groups_are_the_originals(model):
    """Filters with a rate of their own and no decay; everything else decayed, biases and norms too (spec 1.9)."""
    network = SequenceClassifier(load_classifier(model, 2), 60)
    groups = parameter_groups(network, Training(learning_rate=1e-3, filter_learning_rate=1e-4, weight_decay=0.2))
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(1e-3, 0.2), (1e-4, 0.0)]
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    grouped = [{names[id(parameter)] for parameter in group["params"]} for group in groups]
    assert grouped[0] | grouped[1] == set(names.values())
    assert not grouped[0] & grouped[1]
    assert all(".implicit_filter." in name for name in grouped[1])
    assert len(grouped[1]) == 8  # four layers, three with a bias, and the frequencies


def training(**changes) -> Training:
    return replace(Training(num_train_epochs=3, batch_size=16, learning_rate=1e-2, save_steps=2), **changes)


def run(model, folder, train, validation, **changes):
    set_seed(0)
    network = SequenceClassifier(load_classifier(model, 2, changes={"embed_dropout": 0.1}), 60)
    labels = validation.labels
    progress = fit(
        network,
        train,
        validation,
        CLASSES_OF_TWO,
        training(**changes),
        folder,
        {"model": "tiny"},
        score=lambda outputs: float((outputs.argmax(axis=1) == labels).mean()),
    )
    return progress, network


@pytest.fixture(scope="module")
def data():
    return rows_of(labelled(90)), rows_of(labelled(30))


def test_forward_passes_do_not_change_a_step(model, data, tmp_path):
    """The gradient is that of the mean over the batch, the smaller last one included."""
    found = []
    for forward_rows in (16, 5):
        set_seed(0)
        network = SequenceClassifier(load_classifier(model, 2, changes={"embed_dropout": 0.0}), 60)
        choices = training(num_train_epochs=1, per_device_train_batch_size=forward_rows)
        fit(network, *data, CLASSES_OF_TWO, choices, tmp_path / str(forward_rows), {}, score=lambda outputs: 0.0)
        found.append(load_file(tmp_path / str(forward_rows) / "weights.safetensors"))
    for name in found[0]:
        np.testing.assert_allclose(found[0][name], found[1][name], atol=2e-5)


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", [1, 4])
def test_a_killed_run_goes_on_to_the_same_weights(model, data, tmp_path, monkeypatch, at):
    """Dropout on; killed while writing a state, within an epoch and after one."""
    whole, _ = run(model, tmp_path / "whole", *data)
    save, calls = Accelerator.save_state, []

    def killed_while_writing(self, folder, *args, **kwargs):
        calls.append(folder)
        save(self, folder, *args, **kwargs)
        if len(calls) == at:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Accelerator, "save_state", killed_while_writing)
        with pytest.raises(Killed):
            run(model, tmp_path / "killed", *data)
    again, _ = run(model, tmp_path / "killed", *data)
    assert again == whole
    one, two = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "killed"))
    assert all((one[name] == two[name]).all() for name in one)
    assert not (tmp_path / "killed" / "checkpoints").exists()


def test_a_finished_run_that_is_damaged_is_refused(model, data, tmp_path):
    """A flipped byte, a cut, nothing: of the weights or the log; whole, it is loaded."""
    folder = tmp_path / "run"
    progress, _ = run(model, folder, *data, num_train_epochs=1)
    assert progress.weights == hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    for name in ("weights.safetensors", "log.json", "training.yaml"):
        whole = (folder / name).read_bytes()
        middle = len(whole) // 2
        for damaged in (b"", whole[:middle], b"[" * 5000, whole[:middle] + b"\xff" + whole[middle + 1 :]):
            (folder / name).write_bytes(damaged)
            with pytest.raises(InputError, match=str(folder / name)):
                run(model, folder, *data, num_train_epochs=1)
        (folder / name).write_bytes(whole)
    assert run(model, folder, *data, num_train_epochs=1)[0] == progress


def test_the_best_epoch_is_kept_and_a_finished_run_is_only_loaded(model, data, tmp_path, monkeypatch):
    scores = iter([0.2, 0.7, 0.7])
    set_seed(0)
    network = SequenceClassifier(load_classifier(model, 2), 60)
    progress = fit(network, *data, CLASSES_OF_TWO, training(), tmp_path / "run", {}, score=lambda outputs: next(scores))
    assert (progress.best, progress.best_epoch, progress.epoch, progress.step) == (0.7, 2, 3, 18)
    kept = load_file(tmp_path / "run" / "weights.safetensors")
    assert all((network.state_dict()[name].numpy() == value).all() for name, value in kept.items())
    monkeypatch.setattr(training_loop, "take_step", None)
    again = SequenceClassifier(load_classifier(model, 2), 60)
    assert fit(again, *data, CLASSES_OF_TWO, training(), tmp_path / "run", {}) == progress
    assert (again.model.score.weight == network.model.score.weight).all()
    with pytest.raises(ValueError, match=r"of another run: training.batch_size is 16 there and 8 here"):
        fit(again, *data, CLASSES_OF_TWO, training(batch_size=8), tmp_path / "run", {})


def test_early_stopping_and_plateaus(model, data, tmp_path):
    scores = iter([0.5, 0.4, 0.4])
    set_seed(0)
    network = SequenceClassifier(load_classifier(model, 2), 60)
    choices = training(num_train_epochs=9, lr_scheduler_type="reduce_lr_on_plateau", early_stopping_patience=2)
    progress = fit(network, *data, CLASSES_OF_TWO, choices, tmp_path / "run", {}, score=lambda outputs: next(scores))
    assert (progress.epoch, progress.best_epoch, progress.stopped) == (3, 1, True)
    with pytest.raises(ValueError, match="lr_scheduler_type 'linear'"):
        fit(network, *data, CLASSES_OF_TWO, training(lr_scheduler_type="linear"), tmp_path / "other", {})


def test_predictions_are_in_the_rows_order(model, data):
    network = SequenceClassifier(load_classifier(model, 2), 60).eval()
    outputs = predict(network, data[0], 7)
    with torch.no_grad():
        expected = torch.cat([network([sequence]) for sequence in data[0].rows["sequence"]])
    np.testing.assert_allclose(outputs, expected.numpy(), atol=1e-5)


def command(task, gue, model, folder, *more):
    words = ["--task", task, "--data", str(gue), "--model", model, "--output", str(folder), *more]
    return [*words, "--batch_size", "16", "--num_train_epochs", "6", "--learning_rate", "1e-2"]


@pytest.mark.parametrize("kind", ["hyenadna", "scratch", "network:cnn", "kmers:2"])
def test_every_kind_of_model_learns_a_task(model, gue, tmp_path, kind):
    more = ["--max_length", "60", *(["--random_weights", "true"] if kind == "scratch" else [])]
    name = model if kind in ("hyenadna", "scratch") else kind
    task, arguments, choices, about = parse(command("gue/toy", gue, name, tmp_path / "run", *more))
    record = finetune(task, arguments, choices, about["published"])
    assert record["metrics"]["accuracy"]["value"] > 0.8
    assert record["metrics"]["mcc"]["n"] == 60
    assert record["rows"] == {"train": 96, "validation": 40, "test": 60}
    assert record["steps"] == (None if kind == "kmers:2" else 36)
    assert record["model"]["pretrained_on"] == ("unknown" if kind == "hyenadna" else "nothing")
    assert record["dataset"]["in_pretraining"]["inside"] == (None if kind == "hyenadna" else 0)
    found = record["dataset"]["duplicates"]
    assert (found["rows"], set(found["against"])) == (60, {"train", "validation"})
    table = pq.read_table(tmp_path / "run" / "predictions.parquet").to_pydict()
    right = [int(two > one) == own for one, two, own in zip(*(table[c] for c in COLUMNS), strict=True)]
    assert np.mean(right) == record["metrics"]["accuracy"]["value"]
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == json.loads(json.dumps(record))
    valid, skipped = valid_records_below([tmp_path])
    assert ([own.kind for own in valid], skipped) == (["finetune"], [])
    values, left_out = write_report([own.content for own in valid], tmp_path / "report", "org/data")
    assert (values, left_out) == (len(record["metrics"]), [])  # on no board, but in the table


def test_two_processes_are_one(model, gue, tmp_path):
    """Over gloo, dropout off; 96 rows in batches of 20 in passes of 3, so that no share is even."""
    more = ["--batch_size", "20", "--per_device_train_batch_size", "3", "--embed_dropout", "0"]
    more += ["--num_train_epochs", "2", "--max_length", "60"]
    words = ["--task", "gue/toy", "--data", str(gue), "--model", model, "--learning_rate", "1e-2", *more]
    one = finetune(*parse([*words, "--output", str(tmp_path / "one")])[:3])
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    subprocess.run(
        [*launch, "-m", "trainer_scripts.finetune", *words, "--output", str(tmp_path / "two")],
        env=os.environ | {"ACCELERATE_USE_CPU": "1", "HF_DATASETS_CACHE": str(tmp_path / "cache")},
        cwd=RECIPES.parents[1],
        check=True,
        capture_output=True,
    )
    two = json.loads((tmp_path / "two" / "results.json").read_text())
    assert two["processes"] == 2
    assert two["metrics"].keys() == one["metrics"].keys()
    for name, metric in one["metrics"].items():
        assert two["metrics"][name]["value"] == pytest.approx(metric["value"], abs=1e-5)
    weights = [load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two")]
    for name in weights[0]:
        np.testing.assert_allclose(weights[0][name], weights[1][name], atol=1e-5)


def test_protocols_choose_on_different_rows(model, gue, tmp_path):
    (task, arguments, choices, _) = parse(
        command("gue/toy", gue, model, tmp_path, "--protocol", "paper", "--max_length", "60")
    )
    assert (arguments.masked, choices.train_sampling_strategy, task.protocol) == (False, "random", "paper")
    (task, arguments, choices, _) = parse(command("gue/toy", gue, model, tmp_path, "--budget", "small"))
    assert (arguments.masked, choices.train_sampling_strategy) == (True, "group_by_length")
    assert (choices.num_train_epochs, choices.filter_learning_rate) == (6, 1e-3)  # said, and the small budget's


def test_every_recipe_is_of_tasks_and_arguments_that_there_are():
    for family, tasks in (("genomic_benchmarks", TASKS), ("nucleotide_transformer", CLASSES)):
        assert set(yaml.safe_load((RECIPES / f"{family}.yaml").read_text())["tasks"]) == set(tasks)
        for task in tasks:
            arguments, about = recipe_of(f"{family}/{task}")
            assert arguments["model"].startswith("LongSafari/hyenadna-")
            assert 50 < about["published"]["HyenaDNA"] < 100
    assert recipe_of("species", 450000)[0]["learning_rate"] == 6e-4
    assert recipe_of("species")[0]["max_length"] == 1024
    for family in FAMILIES.keys() - {"biotypes"}:
        recipe_of(f"{family}/x")


def test_a_recipe_with_a_word_that_is_no_argument(tmp_path):
    (tmp_path / "own.yaml").write_text("all: {learning_rat: 1}\n")
    with pytest.raises(ValueError, match=r"own.yaml: learning_rat is not an argument"):
        recipe_of("gue/toy", path=tmp_path / "own.yaml")
    (tmp_path / "own.yaml").write_text("- 1\n")
    with pytest.raises(ValueError, match="not a recipe"):
        recipe_of("gue/toy", path=tmp_path / "own.yaml")


@pytest.mark.parametrize("value", [True, -1, 10**90, float("nan"), "x", [1], [[1]], {}, {"a": 1}, {1: 2}])
def test_a_recipe_of_any_types_is_taken_or_refused(tmp_path, value):
    path = tmp_path / "own.yaml"
    fields = ("learning_rate", "batch_size", "bf16", "genome", "pooling", "splits", 1)
    for content in (
        {"all": {}, "tasks": {"toy": value}, "lengths": {1024: value}},
        *({"all": {}, name: value} for name in ("all", "tasks", "lengths", "metric", "model", "published")),
        *({"all": {name: value}} for name in fields),
    ):
        path.write_text(yaml.safe_dump(content))
        for task in ("gue/toy", "species/x"):
            with contextlib.suppress(InputError):
                recipe_of(task, path=path)
    path.write_text("all: {learning_rate: [1]}\n")
    with pytest.raises(InputError, match=r"own.yaml: learning_rate: \[1\] is not of type float"):
        recipe_of("gue/toy", path=path)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--metric", "f2"], "--metric f2: of 2 classes, accuracy, mcc, f1_macro, f1"),
        (["--budget", "tiny"], "--budget tiny: small or full"),
        (["--task", "gue/none"], "none: no such folder"),
        (["--max_length", "1000", "--masked", "false"], "max_length 66"),
        (["--model", "kmers:9"], "kmers:1 to kmers:8"),
    ],
)
def test_errors_are_one_line(model, gue, tmp_path, monkeypatch, capsys, more, message):
    monkeypatch.setattr("sys.argv", ["finetune", *command("gue/toy", gue, model, tmp_path / "run"), *more])
    with pytest.raises(SystemExit) as exit:
        main()
    error = capsys.readouterr().err
    assert exit.value.code == 1
    assert error.startswith("finetune: ")
    assert message in error
    assert error.count("\n") == 1


def test_only_what_a_run_wrote_is_overwritten(model, gue, tmp_path):
    """A folder that no training of ours wrote is refused; in one of ours, other files stay."""
    mine, folder = tmp_path / "mine", tmp_path / "run"
    (mine / "deep").mkdir(parents=True)
    for name in ("results.json", "deep/notes.txt"):
        (mine / name).write_text("mine")
        with pytest.raises(InputError, match=r"already exists, and .*mine is not the folder of a training"):
            train(command("gue/toy", gue, "kmers:2", mine) + ["--overwrite"])
    with pytest.raises(InputError, match=r"results\.json: already exists"):
        train(command("gue/toy", gue, "kmers:2", mine))
    assert (mine / "deep" / "notes.txt").read_text() == (mine / "results.json").read_text() == "mine"

    train(command("gue/toy", gue, "kmers:2", folder))
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"training\.yaml is of another run: model\.model"):
        train(command("gue/toy", gue, "kmers:3", folder))
    train(command("gue/toy", gue, "kmers:3", folder) + ["--overwrite"])
    assert (folder / "notes.txt").read_text() == "mine"


def test_former_names_are_accepted(model, gue, tmp_path, capsys):
    words = ["--task", "gue/toy", "--data", str(gue), "--model", "cnn", "--output_dir", str(tmp_path), "--epochs", "2"]
    _, arguments, choices, _ = parse([*words, "--forward_rows", "8", "--final_learning_rate", "0.2"])
    assert (arguments.model, arguments.output) == ("network:cnn", str(tmp_path))
    assert (choices.num_train_epochs, choices.per_device_train_batch_size, choices.min_lr_rate) == (2, 8, 0.2)
    assert "finetune: --epochs is now --num-train-epochs" in capsys.readouterr().err


def test_chromatin_profiles(model, tmp_path):
    bases = "".join(RNG.choice(list("ACGT"), 30_000, p=[0.25] * 4))
    bases = "".join(own if (i // 500) % 2 else own.replace("A", "G") for i, own in enumerate(bases))
    (tmp_path / "g.fa").write_text(f">chr1\n{bases}\n")
    for split, first in (("train", 0), ("val", 20_000), ("test", 23_000)):
        rows = [
            f"0,{s},{s + 50},{int((s // 500) % 2 == 0)},{i % 2},0" for i, s in enumerate(range(first, first + 3000, 50))
        ]
        header = "Chr_No,Start,End,y_CTCF,y_DNase,y_H3K4me1"
        (tmp_path / f"{split}_hg38_coords_targets.csv").write_text("\n".join([header, *rows]) + "\n")
    words = command("chromatin_profile", tmp_path, model, tmp_path / "run", "--genome", str(tmp_path / "g.fa"))
    task, arguments, choices, about = parse([*words, "--window", "60", "--max_length", "60"])
    record = finetune(task, arguments, choices, about["published"])
    assert record["metrics"]["median_auroc_TF"]["value"] > 0.9
    assert "median_auroc_HM" not in record["metrics"]
    assert record["published"]["HyenaDNA 1k"]["median_auroc_TF"] == 96.4


def test_species_with_fresh_windows(model, tmp_path):
    for name, weights in (("human", [4, 1, 1, 4]), ("hippo", [1, 4, 4, 1])):
        for number in (1, 2, 5):
            path = tmp_path / "species" / name / f"chr{number}.fna"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f">c\n{''.join(RNG.choice(list('ACGT'), 500, p=np.array(weights) / 10))}\n")
    words = command("species", tmp_path / "species", model, tmp_path / "run", "--length", "40", "--windows", "64")
    task, arguments, choices, _ = parse([*words, "--max_length", "40"])
    assert task.fresh_windows
    assert finetune(task, arguments, choices)["metrics"]["accuracy"]["value"] > 0.9


def warming(**changes) -> DownstreamTraining:
    choices = DownstreamTraining(num_train_epochs=4, batch_size=16, learning_rate=1e-2, save_steps=2)
    return replace(choices, warmup_lengths=[8, 20], warmup_length_epochs=[1, 2], **changes)


def test_the_first_epochs_read_shorter_sequences(model, data, tmp_path, monkeypatch):
    read, seen = LabelledRows.read, []

    def noted(self, rows, epoch=None, flip=None, bases=None):
        found = read(self, rows, epoch, flip, bases)
        if epoch is not None:
            seen.append((epoch, bases, max(map(len, found[0])), len(rows)))
        return found

    monkeypatch.setattr(LabelledRows, "read", noted)
    network = SequenceClassifier(load_classifier(model, 2), 60)
    choices = warming(per_device_train_batch_size=5)
    fit(network, *data, CLASSES_OF_TWO, choices, tmp_path, {})
    assert {(epoch, bases) for epoch, bases, _, _ in seen} == {(0, 8), (1, 20), (2, 20), (3, None)}
    longest = int(data[0].lengths.max())
    for epoch, bases in ((0, 8), (1, 20), (3, longest)):
        assert max(length for at, _, length, _ in seen if at == epoch) == bases
    # As many bases in a pass: 5 rows of all, more of 20 bases, the whole batch of 8.
    assert [max(rows for at, _, _, rows in seen if at == epoch) for epoch in (0, 1, 3)] == [16, 5 * (longest // 20), 5]
    with pytest.raises(ValueError, match="take 3 epochs, which leaves none of 3"):
        warming(num_train_epochs=3).stages()
    with pytest.raises(
        ValueError,
        match=r"warmup_length_epochs: \[1, 2\] must be one number of at least 1, or one for each of 1 lengths",
    ):
        replace(warming(), warmup_lengths=[8]).stages()


@pytest.mark.parametrize("at", [2, 9])
def test_a_run_killed_while_it_warms_up_goes_on_to_the_same_weights(model, data, tmp_path, monkeypatch, at):
    """Within the second stage and after it: the optimiser's state is that of all steps before, of whatever length."""

    def once(folder):
        set_seed(0)
        network = SequenceClassifier(load_classifier(model, 2, changes={"embed_dropout": 0.1}), 60)
        return fit(network, *data, CLASSES_OF_TWO, warming(), tmp_path / folder, {})

    whole = once("whole")
    save, calls = Accelerator.save_state, []

    def killed_after_writing(self, folder, *args, **kwargs):
        save(self, folder, *args, **kwargs)
        calls.append(folder)
        if len(calls) == at:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Accelerator, "save_state", killed_after_writing)
        with pytest.raises(Killed):
            once("killed")
    assert once("killed") == whole
    assert whole.step == 24
    one, two = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "killed"))
    assert all((one[name] == two[name]).all() for name in one)


def test_pads_that_are_read_fill_a_shorter_stage_only(model, data, tmp_path):
    """By protocol paper: as the original, whose windows are of the stage's length."""
    network = SequenceClassifier(load_classifier(model, 2), 60, special_tokens=True, masked=False).eval()
    ids = torch.tensor([[4] * 4 + [7, 8, 9, 10, 1]])
    with torch.no_grad():
        network.read_at_most(8)
        torch.testing.assert_close(network(["ACGT"]), network.model(ids, attention_mask=torch.ones_like(ids)).logits)
        network.read_at_most(None)
        ids = torch.cat([torch.full((1, 52), 4), ids], dim=1)
        torch.testing.assert_close(network(["ACGT"]), network.model(ids, attention_mask=torch.ones_like(ids)).logits)
    told = []
    fit(network, *data, CLASSES_OF_TWO, warming(), tmp_path, {}, stage=told.append)
    assert told == [8, None, 20, None, 20, None, None, None]


def test_a_warm_up_of_lengths_in_one_command(model, gue, tmp_path):
    more = ["--warmup_lengths", "15", "30", "--warmup_length_epochs", "2", "--max_length", "60"]
    words = command("gue/toy", gue, model, tmp_path / "run", *more)
    record = train(words)
    assert record["steps"] == 36
    assert (record["recipe"]["warmup_lengths"], record["recipe"]["warmup_length_epochs"]) == ([15, 30], [2])
    assert record["metrics"]["accuracy"]["value"] > 0.8
    _, _, choices, _ = parse(["--task", "species", "--data", "x", "--length", "450000", "--output", "y"])
    assert choices.stages()[:2] == [(1024, 1), (2048, 1)]
    assert choices.bases_read(9) == 250_000
    assert choices.bases_read(10) is None


def test_freeze_trains_only_the_head(model, gue, tmp_path):
    before = load_classifier(model, 2).model.state_dict()
    words = command("gue/toy", gue, model, tmp_path / "run", "--freeze", "--protocol", "paper", "--max_length", "60")
    record = train(words)
    weights = load_file(tmp_path / "run" / "weights.safetensors")
    assert {name: array.shape for name, array in weights.items()} == {
        "model.score.weight": (2, 16),
        "model.score.bias": (2,),
    }
    assert record["model"]["parameters"] == 2 * 16 + 2
    assert record["reading"]["frozen"] is True
    _, arguments, choices, _ = parse(words)
    set_seed(choices.seed)
    network, _ = build_network(arguments, 2, 60)
    load_trained(network, tmp_path / "run")
    after = network.model.state_dict()
    backbone = [name for name in before if not name.startswith("score")]
    assert backbone
    assert all(torch.equal(before[name], after[name]) for name in backbone)
    with pytest.raises(ValueError, match="network:cnn has no pretrained backbone to freeze"):
        train(command("gue/toy", gue, "network:cnn", tmp_path / "cnn", "--freeze", "true"))


def test_length_alone_tells_classes_of_different_lengths(tmp_path):
    (tmp_path / "toy").mkdir()
    for split in ("train", "dev", "test"):
        lines = [f"{'ACGT' * (5 + 5 * (i % 2))},{i % 2}" for i in range(40)]
        (tmp_path / "toy" / f"{split}.csv").write_text("sequence,label\n" + "\n".join(lines) + "\n")
    task, arguments, choices, _ = parse(command("gue/toy", tmp_path, "length", tmp_path / "run"))
    assert finetune(task, arguments, choices)["metrics"]["accuracy"]["value"] == 1


def test_the_cnn_pads_shorter_sequences_with_nothing():
    network = ConvolutionalClassifier(9, 2).eval()
    with torch.no_grad():
        torch.testing.assert_close(network(["ACGTA"]), network(["NNACGTANN"]))
