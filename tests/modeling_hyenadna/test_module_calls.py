"""Every weight is reached by its module's call: offloading, adapters, pruning, parametrisations and hooks act."""

import copy

import accelerate
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNAForSequenceClassification

IDS = torch.randint(7, 11, (2, 24), generator=torch.Generator().manual_seed(0))


def strong(kind=HyenaDNAForCausalLM, **changes):
    """A tiny model in evaluation mode, each part of which moves the output by far more than a tolerance."""
    torch.manual_seed(3)
    settings = {"d_model": 8, "n_layer": 2, "max_seq_len": 64, "emb_dim": 5, "filter_order": 8, "activation_freq": 10}
    model = kind(HyenaDNAConfig(**{**settings, **changes})).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "freq" not in name and "norm" not in name and "ln_f" not in name:
                parameter.normal_(std=0.3)
    return model


def logits_and_gradient(model):
    """Logits, and the gradient of their squares with respect to the embeddings of the tokens."""
    with torch.no_grad():
        logits = model(IDS).logits
    embedded = torch.sin(torch.arange(2 * 24 * 8.0)).view(2, 24, 8).requires_grad_()
    (gradient,) = torch.autograd.grad(model(inputs_embeds=embedded).logits.square().sum(), embedded)
    return logits, gradient


def device_map(model, offloaded, place):
    """`place` for the module of this name, "cpu" for everything else."""
    places = {}

    def cover(module, prefix):
        inside = f"{prefix}." if prefix else ""
        if prefix == offloaded or not offloaded.startswith(inside):
            places[prefix] = place if prefix == offloaded else "cpu"
            return
        for name, child in module.named_children():
            cover(child, inside + name)
        places.update({inside + name: "cpu" for name, _ in module.named_parameters(recurse=False)})

    cover(model, "")
    return places


@pytest.mark.parametrize("place", ["cpu", "disk"])
@pytest.mark.parametrize("kind", [HyenaDNAForCausalLM, HyenaDNAForSequenceClassification])
@pytest.mark.filterwarnings("ignore")
def test_offloading_at_every_cut_of_the_tree_equals_the_whole_model(place, kind, tmp_path):
    whole = strong(kind, n_layer=1)
    expected = logits_and_gradient(whole)
    causal = kind is HyenaDNAForCausalLM
    continued = whole.generate(IDS, max_new_tokens=4, do_sample=False) if causal else None
    cuts = [name for name, module in whole.named_modules() if name and next(module.parameters(), None) is not None]
    assert len(cuts) > 20
    for name in cuts if causal else ("hyena", "score"):
        model = copy.deepcopy(whole)
        if place == "cpu":
            accelerate.cpu_offload(model.get_submodule(name), execution_device="cpu")
        else:
            places = device_map(model, name, place)
            accelerate.dispatch_model(model, places, main_device="cpu", offload_dir=tmp_path / name, force_hooks=True)
        assert {parameter.device.type for parameter in model.get_submodule(name).parameters()} == {"meta"}, name
        for got, wanted in zip(logits_and_gradient(model), expected, strict=True):
            torch.testing.assert_close(got, wanted, atol=1e-6, rtol=1e-5, msg=lambda m, name=name: f"{name}: {m}")
        if causal:
            assert torch.equal(model.generate(IDS, max_new_tokens=4, do_sample=False), continued), name


def affine_layers(model):
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv1d)]


def test_pruning_and_parametrisation_of_every_linear_and_convolution():
    """A pruned or parametrised weight gives what the model with that weight gives; the gradient reaches it."""
    names = affine_layers(strong())
    assert len(names) == 2 * 5 + 1

    class Half(nn.Module):
        def forward(self, weight):
            return weight / 2

    for name in names:
        plain, pruned, halved = strong(), strong(), strong()
        prune.l1_unstructured(pruned.get_submodule(name), "weight", amount=0.5)
        parametrize.register_parametrization(halved.get_submodule(name), "weight", Half())
        for model, inner in ((pruned, "weight_orig"), (halved, "parametrizations.weight.original")):
            with torch.no_grad():
                plain.get_submodule(name).weight.copy_(model.get_submodule(name).weight)
            for got, wanted in zip(logits_and_gradient(model), logits_and_gradient(plain), strict=True):
                torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)
            model(IDS, labels=IDS).loss.backward()
            assert model.get_submodule(name).get_parameter(inner).grad.abs().max() > 0, name


def test_generation_with_a_pruned_convolution_continues_a_cache_as_without_one():
    model = strong()
    for block in model.hyena.backbone.layers:
        prune.random_unstructured(block.mixer.short_filter, "weight", amount=0.5)
    outputs = [model.generate(IDS, max_new_tokens=20, do_sample=False, use_cache=cached) for cached in (True, False)]
    assert torch.equal(*outputs)
    with torch.no_grad():
        cache = model(IDS[:, :20], use_cache=True).past_key_values
        rest = model(IDS[:, 20:], past_key_values=cache, use_cache=True).logits
        torch.testing.assert_close(rest, model(IDS).logits[:, 20:], atol=1e-5, rtol=1e-5)


def test_hooks_of_the_short_filter_see_an_ordinary_convolution():
    model = strong()
    expected = model(IDS).logits
    short, seen = model.hyena.backbone.layers[0].mixer.short_filter, []
    handles = [
        short.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0].shape, output.shape))),
        short.register_full_backward_hook(lambda module, given, taken: seen.append(taken[0].shape)),
    ]
    hooked = model(IDS)
    hooked.logits.sum().backward()
    assert seen == [((2, 24, 26), (2, 24, 24)), (2, 24, 24)]
    torch.testing.assert_close(hooked.logits, expected, atol=1e-5, rtol=1e-5)
    handles[0].remove()
    handles[1].remove()
    short.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    assert not torch.allclose(model(IDS).logits, expected, atol=1e-2)


@pytest.mark.parametrize("targets", ["all-linear", ["short_filter", "in_proj"]])
def test_lora_of_all_linear_layers_leaves_the_filter_and_acts(targets):
    peft = pytest.importorskip("peft")
    model = strong()
    before = model(IDS).logits.detach()
    settings = peft.LoraConfig(
        target_modules=targets, r=4, rank_pattern={"short_filter": 24}, init_lora_weights=False, task_type="CAUSAL_LM"
    )
    adapted = peft.get_peft_model(model, settings).eval()
    names = {name.rpartition(".lora_")[0] for name, _ in adapted.named_parameters() if "lora_" in name}
    assert names
    assert not any("implicit_filter" in name or "lm_head" in name for name in names)
    changed = adapted(IDS).logits
    assert (changed - before).abs().max() > 1e-2
    changed.square().sum().backward()
    assert all(p.grad.abs().max() > 0 for name, p in adapted.named_parameters() if "lora_" in name)
    generated = adapted.generate(IDS, max_new_tokens=8, do_sample=False)
    assert torch.equal(generated, adapted.generate(IDS, max_new_tokens=8, do_sample=False, use_cache=False))
    if targets == "all-linear":  # peft does not merge into a depthwise convolution
        torch.testing.assert_close(adapted.merge_and_unload()(IDS).logits, changed, atol=1e-3, rtol=1e-3)
