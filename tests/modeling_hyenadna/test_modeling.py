"""The model against golden files of the official port (tests/fixtures/model) and against its own contract."""

import math
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from huggingface_hub.errors import StrictDataclassClassValidationError
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

from modeling_hyenadna import (
    HyenaDNAConfig,
    HyenaDNAForCausalLM,
    HyenaDNAForSequenceClassification,
    HyenaDNAForTokenClassification,
    HyenaDNAModel,
)
from modeling_hyenadna.long_conv import short_convolution
from modeling_hyenadna.modeling_hyenadna import decay_rates, positional_features

GOLDEN = Path(__file__).parents[1] / "fixtures" / "model"
FOLDERS = sorted(folder.name for folder in GOLDEN.iterdir())
BATCHES = [
    (folder, key.removesuffix(".input_ids"))
    for folder in FOLDERS
    for key in sorted(load_file(GOLDEN / folder / "expected.safetensors"))
    if key.endswith(".input_ids")
]
TOLERANCE = {"atol": 2e-4, "rtol": 1e-4}  # of the fixtures
PAD, SEP = 4, 1

# name: (d_model, n_layer, max_seq_len, parameters untied as on the Hub); hyenadna.md section 1.10
RELEASED = {
    "tiny-1k": (128, 2, 1026, 438_144),
    "tiny-1k-d256": (256, 2, 1026, 1_645_184),
    "tiny-16k-d128": (128, 2, 16_386, 438_144),
    "small-32k": (256, 4, 32_770, 3_281_664),
    "medium-160k": (256, 8, 160_002, 6_554_624),
    "medium-450k": (256, 8, 450_002, 6_554_624),
    "large-1m": (256, 8, 1_000_002, 6_554_624),
}


def tiny_config(**changes) -> HyenaDNAConfig:
    settings = {
        "d_model": 16,
        "n_layer": 2,
        "max_seq_len": 130,
        "emb_dim": 5,
        "filter_order": 16,
        "activation_freq": 10,
    }
    return HyenaDNAConfig(**{**settings, **changes})


def strong(model):
    """Scale the weights up so that every part of the model moves the output by far more than a tolerance."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "freq" not in name and "norm" not in name and "ln_f" not in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return strong(HyenaDNAForCausalLM(tiny_config()))


@pytest.fixture(scope="module")
def golden_models():
    return {folder: HyenaDNAForCausalLM.from_pretrained(GOLDEN / folder).eval() for folder in FOLDERS}


def random_ids(batch, length, seed=0):
    return torch.randint(7, 12, (batch, length), generator=torch.Generator().manual_seed(seed))


# Golden files


@pytest.mark.parametrize(("folder", "batch"), BATCHES, ids=lambda value: value)
def test_golden_outputs(golden_models, folder, batch):
    expected = load_file(GOLDEN / folder / "expected.safetensors")
    model = golden_models[folder]
    labels = expected.get(f"{batch}.labels")
    with torch.no_grad():
        out = model(expected[f"{batch}.input_ids"], labels=labels, output_hidden_states=True)
    torch.testing.assert_close(out.logits, expected[f"{batch}.logits"], **TOLERANCE)
    assert len(out.hidden_states) == model.config.n_layer + 1
    for index in range(model.config.n_layer):
        if (golden := expected.get(f"{batch}.hidden_states.{index}")) is not None:
            torch.testing.assert_close(out.hidden_states[index], golden, **TOLERANCE)
    if (golden := expected.get(f"{batch}.last_hidden_state")) is not None:
        torch.testing.assert_close(out.hidden_states[-1], golden, **TOLERANCE)
    if labels is not None:
        torch.testing.assert_close(out.loss, expected[f"{batch}.loss"], atol=2e-5, rtol=0)


@pytest.mark.parametrize("folder", FOLDERS)
def test_golden_gradients(golden_models, folder):
    expected = load_file(GOLDEN / folder / "expected.safetensors")
    model = golden_models[folder]
    model.zero_grad()
    model(expected["odd.input_ids"], labels=expected["odd.labels"]).loss.backward()
    names = [key.removeprefix("odd.grad.") for key in expected if key.startswith("odd.grad.")]
    assert len(names) > 10
    for name in names:
        golden, ours = expected[f"odd.grad.{name}"], model.get_parameter(name).grad
        assert (ours - golden).abs().max() <= 1e-3 * golden.abs().max(), name


@pytest.mark.parametrize("folder", FOLDERS)
def test_golden_filters(golden_models, folder):
    expected = load_file(GOLDEN / folder / "expected.safetensors")
    model = golden_models[folder]
    for key in [key for key in expected if key.startswith("filter.")]:
        filter_fn = model.hyena.backbone.layers[int(key.split(".")[1].removeprefix("layer"))].mixer.filter_fn
        kernel = filter_fn(model.config.max_seq_len).T
        kernel = kernel[:, ::16] if key.endswith("every_16th_channel") else kernel
        torch.testing.assert_close(kernel, expected[key], **TOLERANCE)


@pytest.mark.parametrize("folder", FOLDERS)
def test_recomputed_buffers_equal_the_official_ones(folder):
    official = load_file(GOLDEN / folder / "model.safetensors")
    config = AutoConfig.from_pretrained(GOLDEN / folder)
    features = positional_features(config.max_seq_len, config)
    prefix = "hyena.backbone.layers.0.mixer.filter_fn"
    torch.testing.assert_close(features[None], official[f"{prefix}.pos_emb.z"], atol=5e-7, rtol=0)
    torch.testing.assert_close(features[None, :, :1], official[f"{prefix}.pos_emb.t"], atol=1e-7, rtol=0)
    torch.testing.assert_close(decay_rates(config.d_model), official[f"{prefix}.modulation.deltas"][0, 0])


@pytest.mark.parametrize("case", ["nopad", "pad_left", "pad_right", "pad_inside", "pad_first"])
def test_golden_classifier(case, tmp_path):
    for name in ("config.json", "model.safetensors"):
        shutil.copy(GOLDEN / "small_d32_l2_s130" / name, tmp_path)
    golden = load_file(GOLDEN / "small_d32_l2_s130" / "seqcls.safetensors")
    save_file(
        {**load_file(tmp_path / "model.safetensors"), "score.weight": golden["score.weight"]},
        tmp_path / "model.safetensors",
    )
    model = HyenaDNAForSequenceClassification.from_pretrained(tmp_path, num_labels=3, pooling="last").eval()
    ids = golden[f"{case}.input_ids"]
    out = model(ids, labels=golden[f"{case}.labels_class"])
    torch.testing.assert_close(out.logits, golden[f"{case}.logits"], **TOLERANCE)
    torch.testing.assert_close(out.loss, golden[f"{case}.loss_class"], atol=2e-5, rtol=0)
    out = model(ids, labels=golden[f"{case}.labels_multi"])
    torch.testing.assert_close(out.loss, golden[f"{case}.loss_multi"], atol=2e-5, rtol=0)
    assert model.config.problem_type is None


# Files, sizes, initial weights


@pytest.mark.parametrize("name", RELEASED)
def test_parameter_counts_of_the_released_configurations(name):
    d_model, n_layer, max_seq_len, untied = RELEASED[name]
    config = {"d_model": d_model, "n_layer": n_layer, "max_seq_len": max_seq_len, "emb_dim": 5, "activation_freq": 10}
    with torch.device("meta"):
        assert HyenaDNAForCausalLM(HyenaDNAConfig(**config)).num_parameters() == untied
        tied = HyenaDNAForCausalLM(HyenaDNAConfig(**config, tie_word_embeddings=True))
    assert tied.num_parameters() == untied - 16 * d_model
    assert not list(tied.buffers())


@pytest.mark.parametrize("folder", FOLDERS)
def test_official_files_load_and_save_without_loss(folder, tmp_path):
    model, info = AutoModelForCausalLM.from_pretrained(GOLDEN / folder, output_loading_info=True)
    assert not any(info.values())
    model.save_pretrained(tmp_path)
    official, saved = load_file(GOLDEN / folder / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    recomputed = ("pos_emb.z", "pos_emb.t", "modulation.deltas")
    assert set(saved) == {key for key in official if not key.endswith(recomputed)}
    assert all(torch.equal(saved[key], official[key]) for key in saved)
    assert AutoConfig.from_pretrained(tmp_path).auto_map == {}  # nothing remote to point at
    assert "auto_map" not in (tmp_path / "config.json").read_text()
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    assert AutoModel.from_pretrained(tmp_path).state_dict().keys() == model.hyena.state_dict().keys()


def test_frequency_aliases_of_the_original_are_ignored(tmp_path):
    source = GOLDEN / "small_d32_l2_s130"
    tensors = load_file(source / "model.safetensors")
    for key in [key for key in tensors if key.endswith("implicit_filter.1.freq")]:
        tensors |= {key.replace(".1.freq", f".{alias}.freq"): tensors[key].clone() for alias in (3, 5)}
    save_file(tensors, tmp_path / "model.safetensors")
    shutil.copy(source / "config.json", tmp_path)
    _, info = HyenaDNAForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())


def test_tied_weights_survive_saving(tmp_path):
    model = HyenaDNAForCausalLM(tiny_config(tie_word_embeddings=True))
    assert model.lm_head.weight is model.get_input_embeddings().weight
    model.save_pretrained(tmp_path)
    again = HyenaDNAForCausalLM.from_pretrained(tmp_path)
    assert again.lm_head.weight is again.get_input_embeddings().weight
    assert torch.equal(again.lm_head.weight, model.lm_head.weight)


def test_initial_weights_follow_the_original():
    torch.manual_seed(0)
    model = HyenaDNAForCausalLM(HyenaDNAConfig(d_model=128, n_layer=8, max_seq_len=1026, emb_dim=5, activation_freq=10))
    block = model.hyena.backbone.layers[3]
    for weight, std in [
        (block.mixer.in_proj.weight, 0.02),
        (block.mlp.fc1.weight, 0.02),
        (block.mixer.filter_fn.implicit_filter["2"].weight, 0.02),
        (model.lm_head.weight, 0.02),
        (model.get_input_embeddings().weight, 0.02),
        (block.mixer.out_proj.weight, 0.02 / math.sqrt(16)),
        (block.mlp.fc2.weight, 0.02 / math.sqrt(16)),
        (block.mixer.short_filter.weight, 1 / 3),  # uniform on +-1/sqrt(3)
        (block.mixer.filter_fn.bias, 1.0),
    ]:
        assert weight.std().item() == pytest.approx(std, rel=0.2)
    assert block.mixer.in_proj.bias.abs().max() == 0
    assert (block.mixer.filter_fn.implicit_filter["1"].freq == 10).all()


def test_resized_vocabulary_survives_saving(tmp_path, model):
    resized = HyenaDNAForCausalLM(tiny_config())
    assert resized.config.padded_vocab_size == 16
    resized.resize_token_embeddings(20)
    assert resized.lm_head.weight.shape == (20, 16)
    resized.save_pretrained(tmp_path)
    again = HyenaDNAForCausalLM.from_pretrained(tmp_path)
    assert again(torch.tensor([[7, 19]])).logits.shape == (1, 2, 20)


def test_device_map(tmp_path, model):
    model.save_pretrained(tmp_path)
    placed = HyenaDNAForCausalLM.from_pretrained(tmp_path, device_map="auto")
    ids = random_ids(2, 20)
    torch.testing.assert_close(placed(ids).logits, model(ids).logits)


# Configuration


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hyena_order": 3}, "hyena_order must be 2"),
        ({"short_filter_order": 0}, "short_filter_order must be at least 1, got 0"),
        ({"emb_dim": 4}, "emb_dim must be odd and at least 3"),
        ({"use_bias": False}, "use_bias=False is not supported"),
        ({"long_conv_backend": "cufft"}, "one of auto, reference, plain, torch, cpu, cuda, got 'cufft'"),
        ({"pooling": "median"}, "pooling must be one of mean, last, first, max, sum, got 'median'"),
    ],
)
def test_config_refuses_what_the_maths_does_not_cover(change, message):
    with pytest.raises(StrictDataclassClassValidationError, match=message):
        HyenaDNAConfig(**change)


def test_config_aliases():
    config = HyenaDNAConfig(hidden_size=64, num_hidden_layers=3)
    assert (config.d_model, config.d_inner, config.n_layer, config.intermediate_size) == (64, 256, 3, 256)
    assert config.layer_types == ["hyena"] * 3
    assert "layer_types" not in config.to_dict()


@pytest.mark.parametrize("taps", [1, 2, 3, 5])
def test_any_short_filter_is_causal_and_right(taps):
    model = strong(HyenaDNAForCausalLM(tiny_config(short_filter_order=taps)))
    conv = model.hyena.backbone.layers[0].mixer.short_filter
    x = torch.randn(2, 11, 48, generator=torch.Generator().manual_seed(0))
    expected = conv(torch.nn.functional.pad(x.transpose(1, 2), (taps - 1, 0))).transpose(1, 2)
    torch.testing.assert_close(short_convolution(x, conv.weight[:, 0], conv.bias), expected)
    ids = random_ids(1, 30)
    changed = ids.clone()
    changed[0, 20] = 18 - changed[0, 20]
    torch.testing.assert_close(model(changed).logits[:, :20], model(ids).logits[:, :20], atol=1e-5, rtol=0)


def test_shift_is_added_to_the_window():
    kernel, decayed = (
        strong(HyenaDNAModel(tiny_config(shift=shift))).backbone.layers[0].mixer.filter_fn(130) for shift in (0.05, 0.0)
    )
    window = torch.exp(decay_rates(16)[:, None] * torch.arange(130) / 129)
    torch.testing.assert_close(kernel / decayed, (window + 0.05) / window, rtol=1e-4, atol=0)


# Masks and lengths


@pytest.mark.parametrize("pads", [[(0, 0), (5, 0), (0, 7), (9, 3)], [(12, 12), (1, 22), (23, 0), (0, 1)]])
def test_padding_is_exact(model, pads):
    width = 60
    ids = torch.full((len(pads), width), PAD)
    mask = torch.zeros(len(pads), width, dtype=torch.long)
    rows = []
    for row, (left, right) in enumerate(pads):
        rows.append(random_ids(1, width - left - right, seed=row))
        ids[row, left : width - right] = rows[-1][0]
        mask[row, left : width - right] = 1
    with torch.no_grad():
        logits = model(ids, attention_mask=mask).logits
        for row, (left, right) in enumerate(pads):
            torch.testing.assert_close(logits[row, left : width - right], model(rows[row]).logits[0], atol=1e-5, rtol=0)
        assert (model(ids).logits - logits).abs().max() > 0.01  # without a mask, pads are ordinary tokens


def test_pads_without_a_mask_warn_once(model, monkeypatch):
    messages = []
    monkeypatch.setattr(transformers.modeling_utils.logger, "warning_once", messages.append)
    model(torch.tensor([[7, 8, 9], [7, PAD, 9]]))
    assert not messages
    model(torch.tensor([[PAD, 7, 8], [7, 8, 9]]))
    assert len(messages) == 1
    assert "attention_mask" in messages[0]
    torch.compiler.reset()
    torch.compile(model, backend="eager", fullgraph=True)(torch.tensor([[PAD, 7, 8], [7, 8, 9]]))
    assert len(messages) == 1  # not while tracing


def test_too_long_inputs_name_length_and_limit(model):
    with pytest.raises(ValueError, match=r"131 tokens, but this model's limit \(config.max_seq_len\) is 130"):
        model(random_ids(1, 131))
    with pytest.raises(ValueError, match=r"attention_mask must be \(1, 9\) for these inputs, got \(1, 8\)"):
        model(random_ids(1, 9), attention_mask=torch.ones(1, 8))
    with pytest.raises(ValueError, match="exactly one of input_ids or inputs_embeds"):
        model()


def test_inputs_embeds_equal_input_ids(model):
    ids = random_ids(2, 15)
    torch.testing.assert_close(model(inputs_embeds=model.get_input_embeddings()(ids)).logits, model(ids).logits)


# Precision


def filter_dtypes(model):
    return {parameter.dtype for name, parameter in model.named_parameters() if "filter_fn" in name}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_filter_of_a_new_model_is_float32(dtype):
    new = AutoModelForCausalLM.from_config(tiny_config(), dtype=dtype)
    assert filter_dtypes(new) == {torch.float32}
    assert new.lm_head.weight.dtype == dtype
    assert new(random_ids(2, 40)).logits.dtype == dtype


@pytest.mark.parametrize(
    "kind", [HyenaDNAModel, HyenaDNAForCausalLM, HyenaDNAForSequenceClassification, HyenaDNAForTokenClassification]
)
def test_a_configuration_that_asks_for_tuples(kind):
    model, ids = kind(tiny_config(return_dict=False)).eval(), random_ids(2, 40)
    (found,) = model(ids)
    assert torch.equal(found, model(ids, return_dict=True)[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_filter_stays_float32(tmp_path, model, dtype):
    model.save_pretrained(tmp_path)
    ids = random_ids(2, 40)
    for half in (
        HyenaDNAForCausalLM.from_pretrained(tmp_path, dtype=dtype),
        HyenaDNAForCausalLM.from_pretrained(tmp_path).to(dtype),
        HyenaDNAForCausalLM.from_pretrained(tmp_path).half().to(dtype),
    ):
        assert filter_dtypes(half) == {torch.float32}
        assert half.lm_head.weight.dtype == dtype
        kernel, expected = (m.hyena.backbone.layers[0].mixer.filter_fn(40) for m in (half, model))
        assert torch.equal(kernel, expected)
        logits = half.eval()(ids).logits
        assert logits.dtype == dtype
        torch.testing.assert_close(logits.float(), model(ids).logits, atol=0.15, rtol=0.05)


def test_filter_stays_float32_under_autocast(model):
    ids = random_ids(2, 40)
    kernel = model.hyena.backbone.layers[0].mixer.filter_fn(40)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model.hyena.backbone.layers[0].mixer.filter_fn(40), kernel)
        logits = model(ids).logits
    torch.testing.assert_close(logits.float(), model(ids).logits, atol=0.15, rtol=0.05)


def test_float64_model_is_float64_throughout(model):
    double = strong(HyenaDNAForCausalLM(tiny_config())).double()
    assert filter_dtypes(double) == {torch.float64}
    ids = random_ids(2, 40)
    torch.testing.assert_close(double(ids).logits, model(ids).logits.double(), atol=1e-3, rtol=1e-4)


# Training features


def test_activation_checkpointing_changes_no_gradient():
    plain, checkpointed = (strong(HyenaDNAForCausalLM(tiny_config(embed_dropout=0.0))).train() for _ in range(2))
    # transformers before 5.23 has the older name
    getattr(checkpointed, "activation_checkpointing_enable", checkpointed.gradient_checkpointing_enable)()
    ids = random_ids(2, 40)
    for model in (plain, checkpointed):
        model(ids, labels=ids).loss.backward()
    for a, b in zip(plain.parameters(), checkpointed.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_dropout_is_applied_in_training_alone():
    for field in ("embed_dropout", "resid_dropout", "hyena_dropout"):
        model = strong(HyenaDNAForCausalLM(tiny_config(**{"embed_dropout": 0.0, field: 0.5})))
        ids = random_ids(2, 40)
        assert torch.equal(model(ids).logits, model(ids).logits)
        model.train()
        assert not torch.equal(model(ids).logits, model(ids).logits)


@pytest.mark.parametrize("backend", ["torch", "reference"])
def test_every_backend_gives_the_same_model(model, backend):
    other = strong(HyenaDNAForCausalLM(tiny_config(long_conv_backend=backend)))
    ids, mask = random_ids(2, 40), torch.ones(2, 40, dtype=torch.long)
    mask[0, :7] = 0
    logits, expected = (m(ids, attention_mask=mask).logits for m in (other, model))
    torch.testing.assert_close(logits, expected, atol=1e-3, rtol=1e-3)


def test_compiles_as_one_graph():
    model = HyenaDNAForCausalLM(tiny_config(d_model=8, n_layer=1)).eval()
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True)
    ids = random_ids(2, 33)
    mask = torch.ones_like(ids)
    mask[0, :3] = 0
    with torch.no_grad():
        logits = compiled(ids, attention_mask=mask).logits
    torch.testing.assert_close(logits, model(ids, attention_mask=mask).logits)


@pytest.mark.parametrize(
    "targets",
    [
        {"target_modules": ["in_proj", "out_proj", "fc1", "fc2"]},
        {"target_modules": ["short_filter"], "r": 48},  # peft wants a multiple of the convolution's groups
        {"target_modules": [], "target_parameters": [f"implicit_filter.{index}.weight" for index in (0, 2, 4, 6)]},
    ],
    ids=["linear", "convolution", "filter"],
)
@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_lora_changes_the_logits_and_is_trained(targets, backend):
    peft = pytest.importorskip("peft")
    ids = random_ids(2, 40)
    base = strong(HyenaDNAForCausalLM(tiny_config(long_conv_backend=backend)))
    before = base(ids).logits.detach()
    settings = peft.LoraConfig(**{"r": 4, "init_lora_weights": False, **targets})
    model = peft.get_peft_model(base, settings).eval()
    changed = model(ids).logits
    assert (changed - before).abs().max() > 1e-3
    changed.square().mean().backward()
    adapters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert adapters
    assert all("lora" in name and parameter.grad.abs().max() > 0 for name, parameter in adapters.items())
    if targets["target_modules"] == ["short_filter"]:
        with pytest.raises(NotImplementedError, match="groups"):  # peft's limit
            model.merge_and_unload()
    else:
        torch.testing.assert_close(model.merge_and_unload()(ids).logits, changed, atol=5e-3, rtol=1e-3)


# Heads


def test_pooling_reads_real_tokens_only():
    ids, mask = torch.full((2, 12), PAD), torch.zeros(2, 12, dtype=torch.long)
    ids[0, 3:9], mask[0, 3:9] = random_ids(1, 6)[0], 1
    ids[1], mask[1] = random_ids(1, 12)[0], 1
    for pooling, expected in {
        "mean": lambda h: h.mean(0),
        "last": lambda h: h[-1],
        "first": lambda h: h[0],
        "max": lambda h: h.amax(0),
    }.items():
        model = strong(HyenaDNAForSequenceClassification(tiny_config(pooling=pooling, num_labels=3)))
        hidden = model.hyena(ids, attention_mask=mask).last_hidden_state
        logits = model(ids, attention_mask=mask).logits
        torch.testing.assert_close(logits[0], model.score(expected(hidden[0, 3:9])))
        torch.testing.assert_close(logits[1], model.score(expected(hidden[1])))


def test_classifier_losses():
    ids = random_ids(3, 12)
    model = strong(HyenaDNAForSequenceClassification(tiny_config(num_labels=1)))
    target = torch.tensor([0.5, -1.0, 2.0])
    out = model(ids, labels=target)
    torch.testing.assert_close(out.loss, (out.logits[:, 0] - target).square().mean())
    model = strong(HyenaDNAForSequenceClassification(tiny_config(num_labels=3)))
    classes = torch.tensor([2, 0, 1])
    out = model(ids, labels=classes)
    torch.testing.assert_close(out.loss, -out.logits.log_softmax(-1)[torch.arange(3), classes].mean())
    several = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    out = model(ids, labels=several)
    p = out.logits.sigmoid()
    torch.testing.assert_close(out.loss, -(several * p.log() + (1 - several) * (1 - p).log()).mean())
    model = strong(HyenaDNAForSequenceClassification(tiny_config(num_labels=3, problem_type="regression")))
    out = model(ids, labels=several)
    torch.testing.assert_close(out.loss, (out.logits - several).square().mean())


def test_token_classifier():
    model = strong(HyenaDNAForTokenClassification(tiny_config(num_labels=4)))
    ids = random_ids(2, 9)
    labels = torch.randint(0, 4, (2, 9), generator=torch.Generator().manual_seed(1))
    labels[0, :4] = -100
    out = model(ids, labels=labels)
    assert out.logits.shape == (2, 9, 4)
    chosen = -out.logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    torch.testing.assert_close(out.loss, chosen[labels != -100].mean())


def test_auto_classes_find_the_heads(tmp_path):
    HyenaDNAForSequenceClassification(tiny_config(num_labels=5)).save_pretrained(tmp_path)
    assert isinstance(AutoModelForSequenceClassification.from_pretrained(tmp_path), HyenaDNAForSequenceClassification)
    assert isinstance(AutoModel.from_pretrained(tmp_path), HyenaDNAModel)


@pytest.mark.parametrize("head", ["classification", "regression", "tokens", "causal"])
def test_trainer_accumulation_leaves_the_loss_unscaled(head, tmp_path):
    """Four accumulated batches of one row must report the loss, and make the step, of one batch of four rows."""
    from transformers import Trainer, TrainingArguments

    def build():
        if head == "causal":
            return strong(HyenaDNAForCausalLM(tiny_config(embed_dropout=0.0)))
        if head == "tokens":
            return strong(HyenaDNAForTokenClassification(tiny_config(embed_dropout=0.0, num_labels=3)))
        return strong(
            HyenaDNAForSequenceClassification(
                tiny_config(embed_dropout=0.0, num_labels=1 if head == "regression" else 3)
            )
        )

    ids = random_ids(4, 12)
    labels = {
        "causal": ids,
        "tokens": ids % 3,
        "classification": torch.tensor([0, 1, 2, 1]),
        "regression": torch.tensor([0.1, -1.0, 2.0, 0.7]),
    }[head]
    rows = [{"input_ids": ids[i], "labels": labels[i]} for i in range(4)]
    results = []
    for accumulate in (1, 4):
        arguments = TrainingArguments(
            output_dir=str(tmp_path / f"{accumulate}"),
            per_device_train_batch_size=4 // accumulate,
            gradient_accumulation_steps=accumulate,
            max_steps=1,
            learning_rate=0.1,
            optim="sgd",
            max_grad_norm=0.0,
            logging_steps=1,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            save_strategy="no",
        )
        trainer = Trainer(build(), arguments, train_dataset=rows)
        trainer.train()
        results.append((trainer.state.log_history[0]["loss"], trainer.model))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-4)
    for a, b in zip(results[0][1].parameters(), results[1][1].parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_cuda(model, dtype):
    ids = random_ids(2, 100)
    there = strong(HyenaDNAForCausalLM(tiny_config())).to("cuda", dtype)
    assert filter_dtypes(there) == {torch.float32}
    tolerance = 1e-3 if dtype == torch.float32 else 0.15
    torch.testing.assert_close(there(ids.cuda()).logits.float().cpu(), model(ids).logits, atol=tolerance, rtol=0.05)


@pytest.mark.parametrize("options", [{}, {"num_items_in_batch": 500}])
def test_pieces_of_positions_change_nothing(options):
    model = HyenaDNAForCausalLM.from_pretrained(GOLDEN / "long_d32_l2_s2116").eval()
    ids = torch.randint(7, 12, (2, 2100), generator=torch.Generator().manual_seed(0))
    mask, labels = torch.ones_like(ids), ids.clone()
    mask[0, :50], labels[0, :51] = 0, -100
    whole = model(ids, attention_mask=mask, labels=labels, **options)
    with torch.no_grad():
        pieces = model(ids, attention_mask=mask, labels=labels, **options)
    torch.testing.assert_close(pieces.loss, whole.loss.detach())
    torch.testing.assert_close(pieces.logits, whole.logits.detach(), atol=1e-5, rtol=1e-5)


# What is asked of a model


def test_any_mark_in_a_mask_but_zero_is_a_real_token():
    ids = random_ids(2, 30)
    mask = torch.ones(2, 30, dtype=torch.long)
    mask[0, :5] = 0
    numbered = mask.clone()
    numbered[:, 15:] *= 2
    model = strong(HyenaDNAForCausalLM(tiny_config()))
    expected = model(ids, attention_mask=mask).logits
    for same in (
        mask.bool(),
        mask.float(),
        mask.bfloat16(),
        mask.to(torch.uint8),
        numbered,
        -numbered,
        mask[:, :, None],
    ):
        if same.ndim == 2:
            assert torch.equal(model(ids, attention_mask=same).logits, expected)
        else:
            with pytest.raises(
                ValueError, match=r"attention_mask must be \(2, 30\) for these inputs, got \(2, 30, 1\)"
            ):
                model(ids, attention_mask=same)
    for pooling in ("mean", "last", "first", "max"):
        head = strong(HyenaDNAForSequenceClassification(tiny_config(pooling=pooling)))
        plain, marked = (head(ids, attention_mask=m).logits for m in (mask, numbered))
        assert torch.equal(plain, marked)
    prompt = torch.cat([ids, torch.full((2, 1), SEP)], dim=1)
    moved = [model.mask_final_separator(prompt, torch.cat([m, m[:, -1:]], dim=1)) for m in (mask, numbered)]
    assert torch.equal(moved[0][1], moved[1][1])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"input_ids": torch.zeros(2, 0, dtype=torch.long)}, ValueError, "the input is empty: 2 rows of 0 tokens"),
        ({"output_attentions": True}, ValueError, "HyenaDNA has no attention"),
        ({"is_causal": False}, ValueError, "HyenaDNA is causal"),
        ({"token_type_ids": torch.zeros(1, 4)}, TypeError, "HyenaDNA does not take the argument token_type_ids"),
        ({"head_mask": torch.ones(1)}, TypeError, "does not take the argument head_mask"),
    ],
)
def test_what_would_be_ignored_is_refused(arguments, error, message):
    for kind in (
        HyenaDNAModel,
        HyenaDNAForCausalLM,
        HyenaDNAForSequenceClassification,
        HyenaDNAForTokenClassification,
    ):
        model = kind(tiny_config())
        with pytest.raises(error, match=message):
            model(**{"input_ids": torch.tensor([[7, 8, 9, 10]]), **arguments})


def test_heads_without_a_cache():
    for kind in (HyenaDNAForSequenceClassification, HyenaDNAForTokenClassification):
        model = strong(kind(tiny_config()))
        ids = random_ids(1, 9)
        assert torch.equal(model(ids, use_cache=False, past_key_values=None).logits, model(ids).logits)
        for arguments in ({"use_cache": True}, {"past_key_values": transformers.DynamicCache(config=model.config)}):
            with pytest.raises(
                ValueError, match="reads whole sequences: it takes no past_key_values, nor use_cache=True"
            ):
                model(ids, **arguments)


def test_vocab_size_is_the_width_of_the_logits():
    model = HyenaDNAForCausalLM(tiny_config())
    assert model.vocab_size == model(random_ids(1, 3)).logits.shape[-1] == 16
    model.resize_token_embeddings(20)
    assert model.vocab_size == model(random_ids(1, 3)).logits.shape[-1] == 20


def test_half_precision_of_single_parts_leaves_the_filter_float32():
    model = strong(HyenaDNAForCausalLM(tiny_config(tie_word_embeddings=True)))
    mixer = model.hyena.backbone.layers[0].mixer
    mixer.half()
    mixer.filter_fn.implicit_filter.bfloat16()
    mixer.filter_fn.implicit_filter["0"].half()
    mixer.filter_fn.implicit_filter["1"].half()
    assert filter_dtypes(model) == {torch.float32}
    assert mixer.in_proj.weight.dtype == torch.float16
    for dtype in (torch.float16, torch.bfloat16):
        assert model.to(dtype).lm_head.weight is model.get_input_embeddings().weight


def test_filter_weights_that_were_rounded_are_computed_with_in_float32(tmp_path):
    """accelerate casts weights past a module's own methods: then positions at least are exact."""
    from accelerate import load_checkpoint_and_dispatch

    model = strong(HyenaDNAForCausalLM(tiny_config()))
    model.save_pretrained(tmp_path)
    kept, cast = HyenaDNAForCausalLM(tiny_config()), HyenaDNAForCausalLM(tiny_config())
    load_checkpoint_and_dispatch(kept, str(tmp_path / "model.safetensors"), device_map={"": "cpu"})
    load_checkpoint_and_dispatch(
        cast, str(tmp_path / "model.safetensors"), device_map={"": "cpu"}, dtype=torch.bfloat16
    )
    exact, same, rounded = (m.hyena.backbone.layers[0].mixer.filter_fn(130) for m in (model, kept, cast))
    assert torch.equal(same, exact)
    assert rounded.dtype == torch.float32
    assert len(rounded[0].unique()) == 130
