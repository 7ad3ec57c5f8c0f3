"""Original Lightning checkpoints: what becomes of them, and what is refused without being executed."""

import json
import pickle
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForSequenceClassification, HyenaDNATokenizer
from modeling_hyenadna.convert_checkpoint import (
    config_of_original,
    convert_lightning_checkpoint,
    read_lightning_checkpoint,
    write_official_folder,
)

FIXTURES = Path(__file__).parents[1] / "fixtures/lightning_ckpt"
PAYLOAD = Path(tempfile.gettempdir()) / "pwned_by_pickle"  # what the malicious files make when something runs them


@pytest.fixture
def original():
    return read_lightning_checkpoint(FIXTURES / "weights.ckpt")


@pytest.mark.parametrize(
    ("checkpoint", "config"),
    [
        ("weights", "config"),
        ("weights", "config_new_key_short_filter_order"),
        ("weights_gradckpt", "config_gradckpt"),
        ("weights_gradckpt", "config"),  # the naming is told from the keys
    ],
)
def test_converted_checkpoint_computes_what_the_original_does(checkpoint, config, tmp_path):
    convert_lightning_checkpoint(FIXTURES / f"{checkpoint}.ckpt", FIXTURES / f"{config}.json", tmp_path / "converted")
    model, loading = AutoModelForCausalLM.from_pretrained(tmp_path / "converted", output_loading_info=True)
    assert not loading["missing_keys"] | loading["unexpected_keys"]
    expected = load_file(FIXTURES / "expected.safetensors")
    with torch.no_grad():
        outputs = model.eval()(expected["input_ids"], output_hidden_states=True)
    torch.testing.assert_close(outputs.hidden_states[-1], expected["last_hidden_state"], rtol=1e-4, atol=2e-4)
    torch.testing.assert_close(outputs.logits, expected["logits_tied"], rtol=1e-4, atol=2e-4)
    assert not model.config.tie_word_embeddings

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "converted")
    assert type(tokenizer) is HyenaDNATokenizer
    assert tokenizer.model_max_length == model.config.max_seq_len == 130


def decoded(states, mode, weight, bias):
    """What the original's SequenceDecoder gives for states (B, L, D): float64."""
    pooled = {
        "pool": states.mean(dim=1),
        "last": states[:, -1],
        "first": states[:, 0],
        "sum": states.sum(dim=1),
        "ragged": states,
    }[mode]
    return pooled @ weight.double().T + bias.double()


@pytest.mark.parametrize("mode", [None, "pool", "last", "first", "sum", "ragged"])
def test_a_fine_tuned_checkpoint_keeps_its_decoder(mode, tmp_path):
    convert_lightning_checkpoint(
        FIXTURES / "weights_decoder.ckpt", FIXTURES / "config.json", tmp_path / "converted", decoder_mode=mode
    )
    kind = AutoModelForTokenClassification if mode == "ragged" else AutoModelForSequenceClassification
    model, loading = kind.from_pretrained(tmp_path / "converted", output_loading_info=True)
    assert not loading["missing_keys"] | loading["unexpected_keys"]
    assert model.config.num_labels == 3
    expected = load_file(FIXTURES / "expected.safetensors")
    with torch.no_grad():
        logits = model.eval()(expected["input_ids"]).logits
    if mode in (None, "pool"):  # of the original code
        torch.testing.assert_close(logits, expected["decoder_logits"], rtol=1e-4, atol=2e-4)
    states = expected["last_hidden_state"].double()
    of_mode = decoded(states, mode or "pool", expected["decoder.weight"], expected["decoder.bias"])
    torch.testing.assert_close(logits.double(), of_mode, rtol=1e-4, atol=2e-4 * (51 if mode == "sum" else 1))
    with pytest.raises(ValueError, match=r"classifier_bias is True|has no HyenaDNAForTokenClassification|pooling is"):
        write_official_folder(tmp_path / "converted", tmp_path / "official")


def test_a_classifier_of_before_has_no_bias(tmp_path):
    model = HyenaDNAForSequenceClassification(HyenaDNAConfig(d_model=16, n_layer=1, max_seq_len=18, num_labels=2))
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config.pop("classifier_bias", None)
    (tmp_path / "config.json").write_text(json.dumps(config))
    again, loading = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert again.score.bias is None
    assert not loading["missing_keys"] | loading["unexpected_keys"]


@pytest.mark.parametrize(
    ("change", "mode", "message"),
    [
        (
            {"decoder.1.weight": torch.zeros(3)},
            None,
            r"decoder\.1\.weight \(3,\) is not a linear decoder of 32 channels",
        ),
        (
            {"decoder.0.output_transform.bias": None},
            None,
            r"decoder\.0\.output_transform\.weight \(3, 32\) is not a linear",
        ),
        ({}, "mean", "decoder mode 'mean': there are pool, last, first, sum, ragged"),
        (
            dict.fromkeys(f"decoder.0.output_transform.{name}" for name in ("weight", "bias")),
            "last",
            "has no decoder, so there is no decoder mode 'last' to keep",
        ),
    ],
)
def test_decoders_that_cannot_be_kept(change, mode, message, tmp_path):
    state = read_lightning_checkpoint(FIXTURES / "weights_decoder.ckpt") | change
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    torch.save({"state_dict": state}, tmp_path / "weights.ckpt")
    with pytest.raises(ValueError, match=message):
        convert_lightning_checkpoint(
            tmp_path / "weights.ckpt", FIXTURES / "config.json", tmp_path / "converted", decoder_mode=mode
        )
    assert not (tmp_path / "converted").exists()


def test_config_of_original():
    assert (
        config_of_original(FIXTURES / "config.json").to_diff_dict()
        == HyenaDNAConfig(
            d_model=32, n_layer=2, d_inner=128, max_seq_len=130, emb_dim=5, activation_freq=10
        ).to_diff_dict()
    )


@pytest.mark.parametrize(("file", "name"), [("malicious_weights", "posix.system"), ("malicious_legacy", "exec")])
def test_malicious_checkpoints_are_refused_by_name_and_do_nothing(file, name, tmp_path):
    assert not PAYLOAD.exists()
    with pytest.raises(
        ValueError, match=rf"{file}\.ckpt: refused: it names {name}, which no HyenaDNA checkpoint needs"
    ):
        convert_lightning_checkpoint(FIXTURES / f"{file}.ckpt", FIXTURES / "config.json", tmp_path / "converted")
    assert not PAYLOAD.exists()
    assert not any(tmp_path.iterdir())


class Reduce:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "name"),
    [(print, "print"), (eval, "eval"), (pickle.loads, "pickle.loads"), (getattr, "getattr"), (Path, "pathlib.Path")],
)
def test_only_the_listed_names_are_allowed(original, function, name, tmp_path):
    torch.save({"state_dict": original, "callbacks": Reduce(function, "1")}, tmp_path / "weights.ckpt")
    with pytest.raises(ValueError, match=f"refused: it names {name}"):
        read_lightning_checkpoint(tmp_path / "weights.ckpt")


FILTER = "model.backbone.layers.1.mixer.filter_fn."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({FILTER + "implicit_filter.5.freq": torch.ones(1, 64)}, r"1\.mixer\..*\.implicit_filter\.5\.freq .* differs"),
        ({FILTER + "pos_emb.z": torch.zeros(1, 130, 5)}, r"pos_emb\.z .* differs from what 130 positions give"),
        ({FILTER + "pos_emb.t": torch.zeros(1, 66, 1)}, r"pos_emb\.t \(1, 66, 1\) differs .* \(1, 130, 1\)"),
        ({FILTER + "modulation.deltas": torch.zeros(1, 1, 32)}, r"modulation\.deltas .* differs"),
        ({FILTER + "bias": torch.zeros(48)}, r"filter_fn\.bias has shape \(48,\), but the config asks for \(32,\)"),
        ({FILTER + "bias": None}, r"lacks hyena\.backbone\.layers\.1\.mixer\.filter_fn\.bias \(1 keys"),
        ({"model.head.weight": torch.zeros(3)}, r"has unknown head\.weight"),
    ],
)  # fmt: skip
def test_a_state_dict_that_the_config_does_not_describe_is_refused(original, change, message, tmp_path):
    state = {name: tensor for name, tensor in (original | change).items() if tensor is not None}
    torch.save({"state_dict": state}, tmp_path / "weights.ckpt")
    with pytest.raises(ValueError, match=rf"weights\.ckpt: .*{message}"):
        convert_lightning_checkpoint(tmp_path / "weights.ckpt", FIXTURES / "config.json", tmp_path / "converted")
    assert not (tmp_path / "converted").exists()


@pytest.mark.parametrize("content", [{}, [1], {"state_dict": [1]}, {"state_dict": {"a": 1}}])
def test_other_pickles_are_refused(content, tmp_path):
    torch.save(content, tmp_path / "weights.ckpt")
    with pytest.raises(ValueError, match=r"weights\.ckpt: has no state_dict of tensors"):
        read_lightning_checkpoint(tmp_path / "weights.ckpt")


def test_damaged_and_missing_files(tmp_path):
    whole = (FIXTURES / "weights.ckpt").read_bytes()
    for content in (b"", b"ACGT\n", whole[: len(whole) // 2]):
        (tmp_path / "weights.ckpt").write_bytes(content)
        with pytest.raises(ValueError, match=r"weights\.ckpt: not a "):
            read_lightning_checkpoint(tmp_path / "weights.ckpt")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_lightning_checkpoint(tmp_path / "nowhere.ckpt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order": 3}, r"config\.json: layer\.order is 3; only 2 is HyenaDNA"),
        ({"modulate": False}, "layer.modulate is False"),
        ({"l_max": None}, "max_seq_len"),
        ({"l_max": ...}, "has no 'l_max', which an original config.json has"),
        ({"emb_dim": 4}, "emb_dim must be odd"),
    ],
)
def test_a_config_of_something_else_is_refused(change, message, tmp_path):
    config = json.loads((FIXTURES / "config.json").read_text())
    config["layer"] = {name: value for name, value in (config["layer"] | change).items() if value is not ...}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        config_of_original(tmp_path / "config.json")


def test_a_config_that_is_not_json_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("d_model: 32")
    with pytest.raises(ValueError, match=r"config\.json: Expecting value"):
        config_of_original(tmp_path / "config.json")
