"""Folders of models that are damaged or foreign: each is one error that names it, at once, and runs nothing."""

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from transformers.utils import logging

from datasets_dart.errors import InputError
from evaluation_dart.models.checkpoints import folder_of, loading_of, usable_dtype
from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.training.finetuning import load_classifier
from trainer_scripts.cli import hyenadna
from trainer_scripts.pretrain import checkpoint

SOURCE = Path(__file__).parents[2] / "fixtures" / "model" / "small_d32_l2_s130"


def config(**changes):
    def damage(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return damage


def text(name, content):
    return lambda folder: (folder / name).write_text(content)


def cut(name, length):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:length])


def long_header(folder):
    path = folder / "model.safetensors"
    path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])


class Planted:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def planted(new, raw=False):
    def damage(folder):
        (folder / "model.safetensors").unlink()
        path, own = folder / "pytorch_model.bin", Planted(folder / "ran")
        if raw:
            path.write_bytes(pickle.dumps(own))
        else:
            torch.save({"weight": own}, path, _use_new_zipfile_serialization=new)

    return damage


def planted_adapter(folder):
    settings = {"peft_type": "LORA", "base_model_name_or_path": str(SOURCE), "target_modules": ["fc1"], "r": 2}
    (folder / "adapter_config.json").write_text(json.dumps(settings | {"lora_alpha": 2, "task_type": "CAUSAL_LM"}))
    torch.save({"weight": Planted(folder / "ran")}, folder / "adapter_model.bin")


def foreign_code(folder):
    """Code of its own beside the model, named in every place that can name it."""
    for name in ("configuration_x.py", "modeling_x.py", "tokenization_x.py"):
        (folder / name).write_text(f"import os\nos.mkdir({str(folder / 'ran')!r})\n")
    config(model_type="x", auto_map={"AutoConfig": "configuration_x.C", "AutoModelForCausalLM": "modeling_x.M"})(folder)
    text(
        "tokenizer_config.json",
        json.dumps({"tokenizer_class": "T", "auto_map": {"AutoTokenizer": ["tokenization_x.T"] * 2}}),
    )(folder)


DAMAGES = {
    "config.json empty": (text("config.json", ""), "config.json"),
    "config.json a list": (text("config.json", "[]"), "config.json"),
    "config.json nested": (text("config.json", '{"a":' * 100_000), "recursion"),
    "config.json cut short": (cut("config.json", 50), "config.json"),
    "a number of 5,000 digits": (
        text("config.json", '{"model_type": "hyenadna", "n_layer": ' + "9" * 5000), "config.json|digits"
    ),
    "10^7 layers": (config(n_layer=10**7), "n_layer must be from 1 to 10,000, got 10000000"),
    "10^7 layers of BERT": (
        config(model_type="bert", num_hidden_layers=10**7, architectures=["BertForMaskedLM"]), "10000000 layers"
    ),
    "10^7 layers of the filter": (config(num_inner_mlps=10**7), "num_inner_mlps"),
    "-1 layers": (config(n_layer=-1), "n_layer"),
    "layers as text": (config(n_layer="x"), "n_layer"),
    "a layer more than the weights": (config(n_layer=3), "the checkpoint lacks"),
    "10^12 tokens": (config(vocab_size=10**12), "vocab_size"),
    "10^8 tokens": (config(vocab_size=10**8), "parameters, but the weights have"),
    "a width of 10^6": (config(d_model=10**6), "parameters, but the weights have"),
    "a width of 16": (config(d_model=16), "weights of another shape|size mismatch|mismatch"),
    "an unknown dtype": (config(dtype="float23"), "float23"),
    "an unknown quantisation": (config(quantization_config=3), "int"),
    "weights empty": (cut("model.safetensors", 0), "header too small"),
    "weights cut short": (cut("model.safetensors", -10), "incomplete metadata"),
    "weights of a huge header": (long_header, "header too large"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "no file named model.safetensors"),
    "a pickle": (planted(True), "the weights are a pickle"),
    "an old pickle": (planted(False), "the weights are a pickle"),
    "a bare pickle": (planted(True, raw=True), "the weights are a pickle"),
    "a pickled adapter": (planted_adapter, "adapter_model.safetensors"),
    "code of its own": (foreign_code, "custom code|trust_remote_code"),
    "tokenizer empty": (text("tokenizer_config.json", ""), "char 0"),
    "tokenizer a list": (text("tokenizer_config.json", "[]"), "list"),
    "tokenizer's length as text": (
        text("tokenizer_config.json", '{"tokenizer_class": "HyenaDNATokenizer", "model_max_length": "x"}'),
        "not supported",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_folder_is_one_error(tmp_path, what):
    damage, reason = DAMAGES[what]
    folder = tmp_path / "model"
    shutil.copytree(SOURCE, folder)
    damage(folder)
    for load in (load_language_model, lambda name: load_classifier(name, 2)):
        with pytest.raises((InputError, OSError), match=reason) as error:
            load(str(folder))
        assert str(error.value).startswith(str(folder))
        assert "weights_only" not in str(error.value)  # torch's advice to run the pickle
        assert not (folder / "ran").exists()


@pytest.mark.parametrize("load", [load_language_model, lambda name, **options: load_classifier(name, 2, **options)])
def test_a_folder_has_no_revision_and_weights_have_a_known_type(load):
    with pytest.raises(InputError, match="a folder has no revision 'main'"):
        load(str(SOURCE), revision="main")
    with pytest.raises(InputError, match="dtype 'float23': there are float32, bfloat16"):
        load(str(SOURCE), dtype="float23")
    assert folder_of(str(SOURCE)) == SOURCE
    assert usable_dtype("torch.float16") is usable_dtype(torch.float16) is torch.float16


@pytest.mark.parametrize("shown", [True, False])
def test_progress_bars_and_messages_are_as_they_were(shown, tmp_path):
    before = logging.get_verbosity()
    (logging.enable_progress_bar if shown else logging.disable_progress_bar)()
    try:
        with loading_of(str(tmp_path)):
            assert not logging.is_progress_bar_enabled()
        with pytest.raises(InputError, match=f"{tmp_path}: wrong"), loading_of(str(tmp_path)):
            raise ValueError("wrong")
        load_language_model(SOURCE)
        assert (logging.is_progress_bar_enabled(), logging.get_verbosity()) == (shown, before)
    finally:
        logging.enable_progress_bar()


@pytest.mark.parametrize(
    "words", [["verify"], ["convert", "--to-official", "--output", "made"]], ids=lambda words: words[0]
)
@pytest.mark.parametrize(
    "what", ["code of its own", "10^7 layers", "weights cut short", "a pickle", "config.json nested"]
)
def test_commands_that_load_by_themselves(tmp_path, monkeypatch, capsys, words, what):
    """One line, no question whether to run the code, and nothing runs."""
    folder = tmp_path / "model"
    shutil.copytree(SOURCE, folder)
    DAMAGES[what][0](folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question"))
    monkeypatch.setattr("sys.argv", ["hyenadna", *words, str(folder)])
    with pytest.raises(SystemExit) as done:
        hyenadna.main()
    errors = capsys.readouterr().err
    assert (done.value.code, errors.count("\n")) == (1, 1), errors
    assert str(folder) in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    assert not (folder / "ran").exists()


def test_pretraining_goes_on_from_whole_checkpoints_only(tmp_path):
    for what in ("code of its own", "a layer more than the weights", "a pickle"):
        folder = tmp_path / str(len(what))
        shutil.copytree(SOURCE, folder)
        DAMAGES[what][0](folder)
        with pytest.raises((InputError, OSError), match=str(folder)), loading_of(str(folder)):
            checkpoint(str(folder), 0.0)
        assert not (folder / "ran").exists()
