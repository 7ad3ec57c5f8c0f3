"""LoRA against minLoRA, as DART-Eval uses it (tests/fixtures/task4/minlora)."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn
from transformers import MixtralConfig, MixtralModel

import modeling_hyenadna  # noqa: F401
from evaluation_dart.training import lora as adapters
from evaluation_dart.training.finetuning import FineTuned, load_classifier
from evaluation_dart.training.lora import WeightLoRA, add_lora, layers_called, merge_lora

FIXTURES = Path(__file__).parents[2] / "fixtures"
GOLDEN = FIXTURES / "task4" / "minlora"
HYENADNA, BPE = FIXTURES / "model" / "small_d32_l2_s130", FIXTURES / "task1" / "bert_bpe"


class Net(nn.Module):
    """The net that the golden values are of (info.json)."""

    def __init__(self):
        super().__init__()
        self.emb, self.norm = nn.Embedding(12, 16), nn.LayerNorm(16)
        self.lin, self.lin_nobias = nn.Linear(16, 12), nn.Linear(12, 16, bias=False)
        self.conv_depthwise = nn.Conv1d(16, 16, 3, padding=2, groups=16)
        self.conv_grouped, self.conv = nn.Conv1d(16, 16, 4, groups=4), nn.Conv1d(16, 12, 5, padding=2)

    def forward(self, ids):
        x = self.norm(self.emb(ids))
        x = self.lin_nobias(torch.tanh(self.lin(x))) + x
        x = self.conv_depthwise(x.transpose(1, 2))[:, :, : ids.shape[1]]
        return self.conv(self.conv_grouped(x))


def golden(name):
    return load_file(GOLDEN / f"{name}.safetensors")


def base_net():
    net = Net()
    net.load_state_dict({name.removeprefix("base."): tensor for name, tensor in golden("base").items()})
    return net


def pairs(net):
    """minLoRA's name of each adapter's parameter, and ours; of embeddings peft's are transposed."""
    found = {}
    for layer in ("conv", "conv_depthwise", "conv_grouped", "lin", "lin_nobias", "emb"):
        module = getattr(net, layer)
        for letter in "AB":
            name = f"model.{layer}.parametrizations.weight.0.lora_{letter}"
            if layer.startswith("conv"):
                found[name] = getattr(module.parametrizations.weight[0], f"lora_{letter}")
            elif layer == "emb":
                found[name] = getattr(module, f"lora_embedding_{letter}")["default"]
            else:
                found[name] = getattr(module, f"lora_{letter}")["default"].weight
    return found


def oriented(name, tensor):
    return tensor.T if ".emb." in name else tensor


@pytest.fixture
def net():
    adapted = add_lora(base_net(), rank=3, alpha=16, dropout=0.05).eval()
    ours = pairs(adapted)
    with torch.no_grad():
        for name, tensor in golden("lora").items():
            ours[name].copy_(oriented(name, tensor))
    return adapted


def test_without_training_nothing_changes():
    expected = golden("expected")
    adapted = add_lora(base_net(), rank=3).eval()
    torch.testing.assert_close(adapted(expected["net.ids"]), expected["net.base_output"], atol=1e-5, rtol=1e-5)


def test_outputs_are_minloras(net):
    expected = golden("expected")
    # Through all six layers float32 rounds otherwise in peft's activations than in minLoRA's weights: 3e-5.
    torch.testing.assert_close(net(expected["net.ids"]), expected["net.lora_output"], atol=5e-5, rtol=1e-5)
    exact = net.double()(expected["net.ids"]).float()
    torch.testing.assert_close(exact, expected["net.lora_output"], atol=1e-5, rtol=1e-5)
    net.float()
    for layer in ("conv", "conv_depthwise", "conv_grouped", "lin", "lin_nobias", "emb"):
        found = getattr(net, layer)(expected[f"{layer}.input"])
        torch.testing.assert_close(found, expected[f"{layer}.output"], atol=1e-5, rtol=1e-5)
    for layer in ("conv", "conv_depthwise", "conv_grouped"):
        weight = getattr(net, layer).weight
        torch.testing.assert_close(weight, expected[f"merged.{layer}.weight"], atol=1e-6, rtol=1e-6)


def test_gradients_are_minloras(net):
    net.double()  # what is left is the rounding of the golden values, which are float32
    (net(golden("expected")["net.ids"]) ** 2).mean().backward()
    gradients, ours = golden("grads"), pairs(net)
    for name, parameter in ours.items():
        expected = oriented(name, gradients[f"{name}.grad"])
        torch.testing.assert_close(parameter.grad.float(), expected, atol=1e-4, rtol=1e-4)
    trained = {id(parameter) for parameter in net.parameters() if parameter.requires_grad}
    assert trained == {id(parameter) for parameter in ours.values()}


def test_dropout_takes_input_features_for_all_outputs(monkeypatch):
    base, lora, expected = golden("base"), golden("lora"), golden("expected")
    adapter = WeightLoRA(base["base.lin.weight"], 3, 16, 0.05).train()
    with torch.no_grad():
        for letter in "AB":
            own = lora[f"model.lin.parametrizations.weight.0.lora_{letter}"]
            getattr(adapter, f"lora_{letter}").copy_(own)
    monkeypatch.setattr(adapters.F, "dropout", lambda ones, p, training: expected["lin.train_mask"])
    found = adapter(base["base.lin.weight"])
    torch.testing.assert_close(found, expected["lin.train_weight_given_mask"], atol=1e-6, rtol=1e-6)


def test_names_that_end_alike_are_not_taken_for_each_other():
    class Twins(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Sequential(nn.Linear(4, 4)), nn.Sequential(nn.Conv1d(4, 4, 1))

        def forward(self, x):
            return self.b(self.a(x).transpose(1, 2))

    twins = add_lora(Twins(), rank=2)
    assert sorted(name for name, parameter in twins.named_parameters() if parameter.requires_grad) == [
        "a.0.lora_A.default.weight",
        "a.0.lora_B.default.weight",
        "b.0.parametrizations.weight.0.lora_A",
        "b.0.parametrizations.weight.0.lora_B",
    ]


def test_nothing_to_adapt():
    with pytest.raises(ValueError, match="LayerNorm has no Linear"):
        add_lora(nn.LayerNorm(3))


def test_hyenadna_is_adapted_in_all_its_layers_and_learns_through_them():
    torch.manual_seed(0)
    network = FineTuned(load_classifier(HYENADNA, 5, device="cpu"), (4, 16, 0.0))
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name or name == "model.score.weight" for name in trained)
    mixer = "model.hyena.backbone.layers.1.mixer."
    assert {mixer + "short_filter.parametrizations.weight.0.lora_A", mixer + "in_proj.lora_A.default.weight"} <= trained
    batch = ["ACGTTGCA", "TTTTACGT"]
    plain = load_classifier(HYENADNA, 5, device="cpu")
    plain.model.score.load_state_dict(network.model.score.state_dict())
    torch.testing.assert_close(network.eval()(batch), FineTuned(plain, None).eval()(batch))
    F.cross_entropy(network(batch), torch.tensor([0, 4])).backward()
    without = {name for name, p in network.named_parameters() if p.requires_grad and p.grad is None}
    assert not without


def test_poolers_are_trained_in_full():
    network = FineTuned(load_classifier(BPE, 2, device="cpu"), (4, 16, 0.05))
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert {"model.bert.pooler.dense.weight", "model.classifier.weight"} <= trained
    assert not any("pooler" in name and "lora_" in name for name in trained)


def test_random_weights_are_of_the_same_architecture_and_seeded():
    def weights(seed):
        torch.manual_seed(seed)
        return load_classifier(HYENADNA, 2, device="cpu", random_weights=True).model.state_dict()

    one, again = weights(0), weights(0)
    assert all(torch.equal(one[name], again[name]) for name in one)
    trained = load_classifier(HYENADNA, 2, device="cpu").model.state_dict()
    name = "hyena.backbone.layers.0.mixer.in_proj.weight"
    assert one.keys() == trained.keys()
    assert not torch.equal(one[name], trained[name])


def test_no_such_model(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_classifier(tmp_path / "none", 2)


def test_experts_and_routers_of_mixtral():
    """As many parameters as adapters of nn.Linear have, of which transformers 4 made up each expert and the router."""
    torch.manual_seed(0)
    width, inner, experts, rank = 8, 12, 3, 2
    config = MixtralConfig(
        vocab_size=11,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_local_experts=experts,
        num_experts_per_tok=2,
    )
    model = MixtralModel(config)
    ids = torch.arange(11)[None]
    before = model(ids).last_hidden_state
    add_lora(model, rank, 4, 0.0, layers_called(model, lambda: model(ids)))
    torch.testing.assert_close(model(ids).last_hidden_state, before)
    trained = {name: own for name, own in model.named_parameters() if own.requires_grad}
    linear = 4 * (width + width) + (width + experts) + experts * 3 * (width + inner) + (11 + width)
    assert sum(own.numel() for own in trained.values()) == rank * linear
    generator = torch.Generator().manual_seed(1)
    for own in trained.values():
        own.data.normal_(0, 0.3, generator=generator)
    layer = model.layers[0].mlp.experts
    a, b = (getattr(layer.parametrizations.gate_up_proj[0], f"lora_{letter}") for letter in "AB")
    original = layer.parametrizations.gate_up_proj.original
    for expert in range(experts):
        for part in range(2):  # gate, then up
            rows = slice(part * inner, (part + 1) * inner)
            expected = original[expert, rows] + 4 / rank * b[expert, part] @ a[expert, part]
            torch.testing.assert_close(layer.gate_up_proj[expert, rows], expected)
    adapted = model(ids).last_hidden_state
    adapted.square().sum().backward()
    assert all(own.grad is not None and own.grad.any() for own in trained.values())
    merge_lora(model)
    torch.testing.assert_close(model(ids).last_hidden_state, adapted)
    assert layer.gate_up_proj.shape == (experts, 2 * inner, width)
