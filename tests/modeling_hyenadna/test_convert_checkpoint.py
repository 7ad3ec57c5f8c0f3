"""Writing the official Hub layout, against the golden folders that the official port wrote and reads."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from modeling_hyenadna import (
    HyenaDNAConfig,
    HyenaDNAForCausalLM,
    HyenaDNAForSequenceClassification,
    HyenaDNAForTokenClassification,
    HyenaDNATokenizer,
)
from modeling_hyenadna.convert_checkpoint import write_official_folder

GOLDEN = sorted((Path(__file__).parents[1] / "fixtures/model").iterdir())
TINY = {"d_model": 16, "n_layer": 2, "max_seq_len": 34, "emb_dim": 5, "activation_freq": 10}


def written(model, folder, **options):
    model.save_pretrained(folder / "ours", **options)
    write_official_folder(folder / "ours", folder / "official")
    return load_file(folder / "official/model.safetensors")


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda folder: folder.name)
def test_official_folder_equals_the_golden_one(golden, tmp_path):
    ours, official = tmp_path / "ours", tmp_path / "official"
    AutoModelForCausalLM.from_pretrained(golden).save_pretrained(ours)
    buffers = ("pos_emb.z", "pos_emb.t", "modulation.deltas")
    assert not any(name.endswith(buffers) for name in load_file(ours / "model.safetensors"))
    write_official_folder(ours, official)

    expected, got = load_file(golden / "model.safetensors"), load_file(official / "model.safetensors")
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in got.items()} == {
        name: (tensor.shape, tensor.dtype) for name, tensor in expected.items()
    }
    for name, tensor in expected.items():
        # Times j / (L - 1) differ from torch.linspace in the last bit here and there; nothing else does.
        atol = 2**-24 if name.endswith(buffers) else 0
        torch.testing.assert_close(got[name], tensor, rtol=0, atol=atol, msg=name)
    size = (golden / "model.safetensors").stat().st_size
    assert (official / "model.safetensors").stat().st_size == size

    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        assert (official / name).read_text() == (golden / name).read_text()
    config, golden_config = (json.loads((folder / "config.json").read_text()) for folder in (official, golden))
    about_the_writer = {"_name_or_path", "transformers_version"}
    assert config.keys() == golden_config.keys()
    assert {name for name in config if config[name] != golden_config[name]} == about_the_writer
    assert sorted(path.name for path in official.iterdir()) == [
        "config.json", "model.safetensors", "special_tokens_map.json", "tokenizer_config.json"
    ]  # fmt: skip


def test_official_folder_loads_again_with_the_same_logits(tmp_path):
    model = HyenaDNAForCausalLM(HyenaDNAConfig(**TINY)).eval()
    written(model, tmp_path)
    again, loading = AutoModelForCausalLM.from_pretrained(tmp_path / "official", output_loading_info=True)
    assert not loading["missing_keys"]
    ids = HyenaDNATokenizer.from_pretrained(tmp_path / "official")("ACGTNACGT", return_tensors="pt")
    assert torch.equal(again.eval()(**ids).logits, model(**ids).logits)


def test_a_tied_head_is_stored_beside_the_embedding(tmp_path):
    model = HyenaDNAForCausalLM(HyenaDNAConfig(**TINY, tie_word_embeddings=True))
    state = written(model, tmp_path)
    embedding = state["hyena.backbone.embeddings.word_embeddings.weight"]
    assert torch.equal(state["lm_head.weight"], embedding)
    assert torch.equal(embedding, model.lm_head.weight)
    assert json.loads((tmp_path / "official/config.json").read_text())["tie_word_embeddings"] is False


def test_half_precision_and_sharded_folders_become_one_float32_file(tmp_path):
    model = HyenaDNAForCausalLM(HyenaDNAConfig(**TINY)).bfloat16()
    state = written(model, tmp_path, max_shard_size="20KB")
    assert len(list((tmp_path / "ours").glob("*.safetensors"))) > 1
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    name = "hyena.backbone.layers.1.mlp.fc1.weight"
    assert torch.equal(state[name], model.state_dict()[name].float())


def test_classifiers_keep_their_labels(tmp_path):
    labels = {0: "closed", 1: "open", 2: "poised"}
    model = HyenaDNAForSequenceClassification(HyenaDNAConfig(**TINY, pooling="last", id2label=labels))
    state = written(model, tmp_path)
    assert torch.equal(state["score.weight"], model.score.weight)
    config = json.loads((tmp_path / "official/config.json").read_text())
    assert config["architectures"] == ["HyenaDNAForSequenceClassification"]
    assert config["id2label"] == {"0": "closed", "1": "open", "2": "poised"}


@pytest.mark.parametrize(
    ("model_class", "settings", "message"),
    [
        (HyenaDNAForCausalLM, {"shift": 0.0}, "shift is 0.0, but the official port computes with 0.05"),
        (HyenaDNAForCausalLM, {"short_filter_order": 4}, "short_filter_order is 4"),
        (HyenaDNAForCausalLM, {"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon is 1e-06"),
        (HyenaDNAForSequenceClassification, {}, "pooling is 'mean', but the official port computes with 'last'"),
        (HyenaDNAForTokenClassification, {}, "the official port has no HyenaDNAForTokenClassification"),
    ],
)
def test_what_the_official_port_would_compute_otherwise_is_refused(model_class, settings, message, tmp_path):
    model_class(HyenaDNAConfig(**TINY, **settings)).save_pretrained(tmp_path / "ours")
    with pytest.raises(ValueError, match=message):
        write_official_folder(tmp_path / "ours", tmp_path / "official")
    assert [path.name for path in tmp_path.iterdir()] == ["ours"]


def test_a_config_that_is_none_of_ours_is_refused(tmp_path):
    HyenaDNAForCausalLM(HyenaDNAConfig(**TINY)).save_pretrained(tmp_path / "ours")
    path = tmp_path / "ours/config.json"
    for change, message in (({"hyena_order": 3}, "hyena_order must be 2"), ({"model_type": "gpt2"}, "not 'hyenadna'")):
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        with pytest.raises(ValueError, match=rf"ours.*{message}"):
            write_official_folder(tmp_path / "ours", tmp_path / "official")


def test_missing_weights_are_refused(tmp_path):
    model = HyenaDNAForCausalLM(HyenaDNAConfig(**TINY))
    model.hyena.save_pretrained(tmp_path / "ours")
    config = json.loads((tmp_path / "ours/config.json").read_text())
    (tmp_path / "ours/config.json").write_text(json.dumps(config | {"architectures": ["HyenaDNAForCausalLM"]}))
    with pytest.raises(ValueError, match=r"ours: no weights for lm_head\.weight"):
        write_official_folder(tmp_path / "ours", tmp_path / "official")
