"""Soft prompts and few-shot prompts: what is in them, what is trained, and that they learn."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.numpy import load_file

from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.training.downstream import called_classes
from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNATokenizer
from trainer_scripts.finetune import RECIPES, load_splits
from trainer_scripts.in_context import in_context, main, parse
from trainer_scripts.prompts import (
    NoRoom,
    PromptRows,
    PromptWriter,
    SoftPromptClassifier,
    SoftPromptOfShots,
    asked_logits,
    draw_shots,
    label_token_ids,
)

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    torch.manual_seed(0)
    config = HyenaDNAConfig(d_model=16, n_layer=2, max_seq_len=130, emb_dim=5, filter_order=16, initializer_range=0.1)
    HyenaDNAForCausalLM(config).save_pretrained(folder)
    HyenaDNATokenizer(model_max_length=130).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def gue(tmp_path_factory):
    """Two classes: rich and poor in G and C; 15 to 20 bases."""
    folder = tmp_path_factory.mktemp("gue")
    (folder / "toy").mkdir()
    for split, rows in (("train", 128), ("dev", 40), ("test", 60)):
        lines = []
        for row in range(rows):
            weights = np.array([[6, 1, 1, 6], [1, 6, 6, 1]][row % 2]) / 14
            lines.append("".join(RNG.choice(list("ACGT"), int(RNG.integers(15, 21)), p=weights)) + f",{row % 2}")
        (folder / "toy" / f"{split}.csv").write_text("sequence,label\n" + "\n".join(lines) + "\n")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path_factory.getbasetemp() / "datasets"))


def command(gue, model, folder, *more):
    return ["--task", "gue/toy", "--data", str(gue), "--model", model, "--output", str(folder), *more]


def test_labels_are_tokens(model):
    loaded = load_language_model(model)
    assert label_token_ids(loaded, 2).tolist() == [7, 11]
    assert label_token_ids(loaded, 3).tolist() == [7, 9, 11]
    outputs = np.zeros((4, 16))
    outputs[range(4), [7, 9, 11, 4]] = 1
    assert called_classes(outputs, np.array([7, 9, 11])).tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="labels of 5 classes have no tokens"):
        label_token_ids(loaded, 5)


def test_a_soft_prompt_stands_before_the_sequence_and_is_all_that_is_trained(model):
    loaded = load_language_model(model)
    torch.manual_seed(1)
    network = SoftPromptClassifier(loaded, 5, 20).eval()
    assert [name for name, p in network.named_parameters() if p.requires_grad] == ["prompt"]
    assert 0.01 < network.prompt.std() < 0.03
    embedding = loaded.model.get_input_embeddings()
    with torch.no_grad():
        embedded = torch.cat([network.prompt, embedding(torch.tensor([7, 8, 9, 1]))])
        expected = loaded.model(inputs_embeds=embedded[None]).logits[:, -1]
        torch.testing.assert_close(network(["ACG"]), expected)
        together = network(["ACG", "ACGTACGTACGTACGT"])
    torch.testing.assert_close(together[:1], expected, atol=1e-5, rtol=0)
    network.train()
    assert network.dropout.training
    assert not loaded.model.training
    network(["ACG"]).sum().backward()
    assert network.prompt.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in loaded.model.parameters())


def test_soft_prompts_are_those_of_peft_without_dropout(model):
    peft = pytest.importorskip("peft")
    loaded = load_language_model(model)
    network = SoftPromptClassifier(loaded, 4, 20).eval()
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4, num_attention_heads=1)
    base = HyenaDNAForCausalLM.from_pretrained(model)
    base.config.vocab_size = base.config.padded_vocab_size  # peft finds the embedding by its number of rows
    theirs = peft.get_peft_model(base, config).eval()
    with torch.no_grad():
        theirs.prompt_encoder["default"].embedding.weight.copy_(network.prompt)
        ids = torch.tensor([[7, 8, 9, 10, 1]])
        logits = theirs(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[:, -1]
        torch.testing.assert_close(network(["ACGT"]), logits)


@pytest.mark.parametrize(("vectors", "length", "fits"), [(99, 30, True), (100, 30, False)])
def test_vectors_count_against_the_models_limit(model, vectors, length, fits):
    loaded = load_language_model(model)
    if fits:
        assert SoftPromptClassifier(loaded, vectors, length)(["A" * length]).shape == (1, 16)
    else:
        with pytest.raises(ValueError, match=r"100 vectors, 30 bases and \[SEP\] are 131"):
            SoftPromptClassifier(loaded, vectors, length)


def test_a_prompt_has_its_labels_where_the_original_has_them(model):
    writer = PromptWriter(load_language_model(model), 6, 2)
    prompt = writer.write([("ACGT", 1), ("NNACGTACGT", 0)], "CC")
    pads, sep = [4, 4], 1
    assert prompt.ids.tolist() == [
        *(*pads, 7, 8, 9, 10, sep, 11, sep),
        *(11, 11, 7, 8, 9, 10, sep, 7, sep),
        *(*pads, *pads, 8, 8, sep),
    ]
    labels = np.flatnonzero(np.isin(np.arange(len(prompt.ids)), prompt.asked[:-1] + 1))
    assert labels.tolist() == [6 + 1, 2 * 6 + 4]  # spec 6.5
    assert prompt.asked[-1] == len(prompt.ids) - 1 == writer.tokens(2) - 1
    assert (prompt.mask == (prompt.ids != 4)).all()
    with pytest.raises(ValueError, match="reads at most 130 tokens: 14 shots of 6 bases and a sequence are 133"):
        writer.check(14)


def test_shots_are_of_every_class_and_never_the_question(model, gue, tmp_path):
    labels = np.array([0, 1, 1, 0, 1, 0])
    drawn = draw_shots(labels, 2, 2, np.random.default_rng(0))
    assert sorted(labels[drawn].tolist()) == [0, 0, 1, 1]
    assert len(set(drawn.tolist())) == 4
    with pytest.raises(ValueError, match="4 shots of a class: class 0 has 3 training rows"):
        draw_shots(labels, 4, 2, np.random.default_rng(0))


def test_few_shots_learn_after_instruction_tuning(model, gue, tmp_path):
    more = ["--method", "few_shot", "--shots", "2", "--tuning_rows", "128", "--max_length", "20"]
    arguments = parse([*command(gue, model, tmp_path, *more), "--learning_rate", "1e-2", "--batch_size", "4"])
    record = in_context(*arguments)
    assert record["metrics"]["accuracy"]["value"] > 0.75
    assert (record["shots"], record["tuning_rows"], record["steps"]) == (2, 128, 32)
    assert json.loads((tmp_path / "results.json").read_text())["rows"]["test"] == 60


def test_no_shots_are_the_question_alone(model, gue, tmp_path):
    more = ["--method", "few_shot", "--shots", "0", "--tuning_rows", "0", "--max_length", "20"]
    record = in_context(*parse(command(gue, model, tmp_path, *more)))
    assert record["steps"] == 0
    assert record["calls_of_no_class"] > 0, "an untuned model calls what is no label, too"


def test_soft_prompts_are_trained_and_nothing_else(model, gue, tmp_path):
    more = ["--method", "soft_prompt", "--virtual_tokens", "8", "--max_length", "20", "--num_train_epochs", "4"]
    arguments = parse(
        [*command(gue, model, tmp_path, *more), "--learning_rate", "0.1", "--per_device_train_batch_size", "16"]
    )
    assert arguments[3].lr_scheduler_type == "reduce_lr_on_plateau"
    assert (arguments[3].weight_decay, arguments[3].reverse_complement) == (0, True)
    record = in_context(*arguments)
    losses = [entry["validation_loss"] for entry in json.loads((tmp_path / "log.json").read_text())["history"]]
    assert min(losses[1:]) < losses[0]
    assert set(load_file(tmp_path / "weights.safetensors")) == {"prompt"}
    assert record["model"]["trained"] == 8 * 16
    assert in_context(*arguments)["metrics"] == record["metrics"], "a finished run is loaded"


def test_asked_logits_are_those_before_the_labels(model, gue):
    loaded = load_language_model(model)
    writer = PromptWriter(loaded, 8, 2)
    prompt = writer.write([("ACGTACGT", 0)], "CCCCCCCC")
    with torch.no_grad():
        whole = loaded.model(input_ids=torch.from_numpy(prompt.ids)[None]).logits[0]
        torch.testing.assert_close(asked_logits(loaded.model, [prompt])[0], whole[[8, len(prompt.ids) - 1]])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--method", "soft"], "--method soft: soft_prompt or few_shot"),
        (["--method", "few_shot", "--shots", "9", "--max_length", "20"], "reads at most 130 tokens: 18 shots"),
    ],
)
def test_errors_are_one_line(model, gue, tmp_path, monkeypatch, capsys, more, message):
    monkeypatch.setattr("sys.argv", ["in_context", *command(gue, model, tmp_path / "run", *more)])
    with pytest.raises(SystemExit) as exit:
        main()
    error = capsys.readouterr().err
    assert exit.value.code == 1
    assert error.startswith("in_context: ")
    assert message in error
    assert error.count("\n") == 1


def test_prompts_depend_on_seed_and_row_alone(model, gue):
    _, task, arguments, _ = parse(command(gue, model, "x", "--method", "few_shot", "--max_length", "20"))
    splits = load_splits(task, arguments.max_length)
    writer = PromptWriter(load_language_model(model), 20, 2)

    def prompt_of(seed):
        return PromptRows(writer, 1, 2, splits.train, splits.train, seed, numbers=np.array([9, 5])).prompt(5)

    one, labels = prompt_of(0)
    two, _ = PromptRows(writer, 1, 2, splits.train, splits.train, 0).prompt(5)
    assert (one.ids == two.ids).all()
    assert labels.tolist()[-1] == (7, 11)[splits.train.labels[5]]
    assert (one.ids != prompt_of(1)[0].ids).any()


class Killed(Exception):
    pass


METHODS = {
    "soft_prompt": ("--virtual_tokens", "4", "--num_train_epochs", "2", "--save_steps", "3"),
    "few_shot": ("--shots", "1", "--tuning_rows", "24", "--batch_size", "5", "--save_steps", "2"),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_run_goes_on_to_the_same_weights(model, gue, tmp_path, monkeypatch, method):
    """Dropout of the prompt on; killed while writing the second state, within the first epoch."""

    def run(folder):
        more = ["--method", method, *METHODS[method], "--max_length", "20"]
        return in_context(*parse(command(gue, model, tmp_path / folder, *more)))

    whole = run("whole")
    save, calls = Accelerator.save_state, []

    def killed_while_writing(self, folder, *arguments, **options):
        save(self, folder, *arguments, **options)
        calls.append(folder)
        if len(calls) == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Accelerator, "save_state", killed_while_writing)
        with pytest.raises(Killed):
            run("killed")
    again = run("killed")
    assert again | {"seconds": 0, "date": ""} == whole | {"seconds": 0, "date": ""}
    one, two = (load_file(tmp_path / folder / "weights.safetensors") for folder in ("whole", "killed"))
    assert one.keys() == two.keys()
    assert all((one[name] == two[name]).all() for name in one)


def test_two_processes_are_one(model, gue, tmp_path):
    """Tuning for few shots, over gloo: 24 prompts in batches of 5 in passes of 2, so that no share is even."""
    more = ["--method", "few_shot", *METHODS["few_shot"], "--max_length", "20", "--per_device_train_batch_size", "2"]
    # Without dropout, which each process draws for itself
    plain = tmp_path / "plain"
    config = HyenaDNAConfig.from_pretrained(model, embed_dropout=0.0, resid_dropout=0.0)
    HyenaDNAForCausalLM.from_pretrained(model, config=config).save_pretrained(plain)
    HyenaDNATokenizer(model_max_length=130).save_pretrained(plain)
    one = in_context(*parse(command(gue, str(plain), tmp_path / "one", *more)))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    subprocess.run(
        [*launch, "-m", "trainer_scripts.in_context", *command(gue, str(plain), tmp_path / "two", *more)],
        env=os.environ | {"ACCELERATE_USE_CPU": "1", "HF_DATASETS_CACHE": str(tmp_path / "cache")},
        cwd=RECIPES.parents[1],
        check=True,
        capture_output=True,
    )
    two = json.loads((tmp_path / "two" / "results.json").read_text())
    assert two["metrics"] == json.loads(json.dumps(one["metrics"]))
    weights = [load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two")]
    for name in weights[0]:
        np.testing.assert_allclose(weights[0][name], weights[1][name], atol=1e-5)


def test_a_soft_prompt_ahead_of_shots_predicts_the_label_of_the_question(model):
    loaded = load_language_model(model)
    writer = PromptWriter(loaded, 6, 2)
    prompts = [writer.write([("ACGT", 1), ("GGGG", 0)], query) for query in ("CC", "ACGTAC")]
    torch.manual_seed(1)
    network = SoftPromptOfShots(loaded, 3, writer.tokens(2) - 1).eval()
    embedding = loaded.model.get_input_embeddings()
    with torch.no_grad():
        found = network(prompts)
        for prompt, own in zip(prompts, found, strict=True):
            embedded = torch.cat([network.prompt, embedding(torch.from_numpy(prompt.ids))])
            mask = torch.from_numpy(np.concatenate([np.ones(3, bool), prompt.mask])).long()
            logits = loaded.model(inputs_embeds=embedded[None], attention_mask=mask[None]).logits[0]
            torch.testing.assert_close(own, logits[-1])
        network.train()
        network.dropout.eval()
        torch.testing.assert_close(network(prompts)[:, -1], found)
        assert network(prompts).shape == (2, 3, 16)
    with pytest.raises(NoRoom, match=r"111 vectors, 19 bases and \[SEP\] are 131"):
        SoftPromptOfShots(loaded, 111, 19)


def test_a_prompt_of_the_other_strand_has_all_its_sequences_from_there(model, gue):
    _, task, arguments, _ = parse(command(gue, model, "x", "--method", "few_shot", "--max_length", "20"))
    splits = load_splits(task, arguments.max_length)
    rows = PromptRows(PromptWriter(load_language_model(model), 20, 2), 1, 2, splits.train, splits.test, 0)
    (one, two), labels = rows.read(np.array([3, 3]), flip=np.array([False, True]))
    assert labels[0].tolist() == labels[1].tolist()
    complement = {7: 10, 8: 9, 9: 8, 10: 7}
    for end in one.asked:
        bases, other = (prompt.ids[end - 20 : end] for prompt in (one, two))
        assert [complement[base] for base in bases[bases != 4][::-1]] == other[other != 4].tolist()
