"""The kernel that an evaluating model keeps from forward to forward is never stale, and bounded in memory."""

import copy
import io

import peft
import pytest
import torch

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM
from modeling_hyenadna.kernel_cache import KernelCache
from modeling_hyenadna.modeling_hyenadna import HyenaDNAFilter

IDS = torch.tensor([[7, 8, 9, 10, 7, 7, 9, 10, 10, 8, 7, 9]])


@pytest.fixture
def model():
    torch.manual_seed(0)
    return HyenaDNAForCausalLM(HyenaDNAConfig(d_model=16, n_layer=2, max_seq_len=64, emb_dim=5)).eval()


def filters(model):
    return [module for module in model.modules() if isinstance(module, HyenaDNAFilter)]


def kept(model):
    return [sorted(f.kernels.state[1]) if f.kernels.state else [] for f in filters(model)]


def check(model, ids=IDS):
    """Logits with kept kernels equal those of filters computed anew; True if they were indeed kept."""
    with torch.no_grad():
        first = model(ids).logits
        assert all(ids.shape[1] in lengths for lengths in kept(model))
        again = model(ids).logits
    fresh = model(ids).logits  # with gradients nothing is kept
    torch.testing.assert_close(first, fresh.detach(), rtol=1e-5, atol=1e-5)
    assert torch.equal(first, again)
    return first


def test_kernels_are_computed_once_for_each_length(model, monkeypatch):
    computed = []
    kernel = HyenaDNAFilter.kernel
    monkeypatch.setattr(HyenaDNAFilter, "kernel", lambda self, n: computed.append(n) or kernel(self, n))
    with torch.inference_mode():
        for length in (12, 12, 8, 12, 8):
            model(IDS[:, :length])
    assert computed == [12, 12, 8, 8]  # two layers
    assert kept(model) == [[8, 12]] * 2


def test_optimizer_steps(model):
    before = check(model)
    for fused in (False, True):
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=fused)
        model(IDS, labels=IDS).loss.backward()
        optimizer.step()
        after = check(model)
        assert not torch.equal(after, before)
        before = after


def test_edits_that_torch_does_not_count(model):
    before = check(model)
    for f in filters(model):
        f.implicit_filter["2"].weight.data[3, 4] += 1e-3  # leaves the tensor's version as it was
    assert not torch.equal(check(model), before)
    with torch.no_grad():
        for f in filters(model):
            f.implicit_filter["2"].weight.numpy()[3, 4] += 1
    assert not torch.equal(check(model), before)


def test_load_state_dict_and_configuration(model):
    state = copy.deepcopy(model.state_dict())
    before = check(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    check(model)
    model.load_state_dict(state)
    assert torch.equal(check(model), before)
    model.config.max_seq_len = 128
    assert not torch.equal(check(model), before)


def test_adapters_switched_disabled_and_merged(model):
    plain = check(model)
    targets = ["filter_fn.implicit_filter.0.weight", "filter_fn.implicit_filter.2.weight"]
    settings = peft.LoraConfig(target_modules=[], target_parameters=targets, r=2)
    adapted = peft.get_peft_model(model, settings, adapter_name="one")
    adapted.add_adapter("two", settings)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.1 if ".one." in name else -0.2)
    adapted.eval()
    one = check(adapted)
    adapted.set_adapter("two")
    two = check(adapted)
    with adapted.disable_adapter():
        assert torch.equal(check(adapted), plain)
    adapted.set_adapter("one")
    assert torch.equal(check(adapted), one)
    assert not torch.equal(one, two)
    torch.testing.assert_close(check(adapted.merge_and_unload()), one, rtol=1e-5, atol=1e-5)


def test_nothing_is_kept_where_it_may_not_be(model):
    model(IDS)
    model.train()
    with torch.no_grad():
        model(IDS)
    assert kept(model) == [[], []]
    check(model.eval())
    known = kept(model)
    assert known[0]
    assert kept(model.eval()) == known  # as before every batch
    assert kept(copy.deepcopy(model)) == [[], []]
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    assert kept(torch.load(buffer, weights_only=False)) == [[], []]
    assert kept(model.double()) == [[], []]
    with torch.no_grad():
        model(IDS)
    assert kept(model) == [[], []]


def test_backends_do_not_share_kernels(model, monkeypatch):
    for backend in ("torch", "cpu", "reference", "auto"):
        monkeypatch.setenv("HYENADNA_LONG_CONV", backend)
        with torch.no_grad():
            logits = model(IDS).logits
        monkeypatch.setenv("HYENADNA_LONG_CONV", "reference")
        torch.testing.assert_close(logits, model(IDS).logits, rtol=1e-4, atol=1e-4)


def test_the_kernels_used_longest_ago_are_given_up():
    channels = 4
    cache = KernelCache(limit=3 * 4 * channels * 600)
    weights = torch.zeros(3)

    def get(length):
        return cache.get(weights, length, channels, lambda n: torch.zeros(channels, n), "torch")

    for length in (100, 200, 100, 300):
        get(length)
    assert list(cache.state[1]) == [100, 300]
    assert sum(kernel.nbytes for kernel in cache.state[1].values()) <= cache.limit
    assert get(601).shape == (channels, 601)  # too large to keep: the kernel itself
    assert list(cache.state[1]) == [100, 300]
    weights = torch.ones(3)
    get(5)
    assert list(cache.state[1]) == [5]


@pytest.mark.parametrize("of_all_modules", [False, True])
@pytest.mark.parametrize("name", ["", "implicit_filter.0", "implicit_filter.1", "implicit_filter.6"])
def test_hooks_are_called_for_every_input_and_act(model, name, of_all_modules):
    layer, calls = filters(model)[0].get_submodule(name), []

    def doubled(module, args, output):
        if module is not layer:
            return None
        calls.append(args)
        if name:  # only the kernel's own input: no test of the layer by other inputs would see this hook
            return 2 * output if len(args[0]) == IDS.shape[1] else None
        kernel, skip = output
        return 2 * kernel, skip

    before = check(model)
    register = torch.nn.modules.module.register_module_forward_hook if of_all_modules else layer.register_forward_hook
    handle = register(doubled)
    try:
        with torch.no_grad():
            first, called = model(IDS).logits, len(calls)
            again = model(IDS).logits
        assert len(calls) == 2 * called > 0
        torch.testing.assert_close(first, model(IDS).logits.detach(), rtol=1e-5, atol=1e-5)
    finally:
        handle.remove()
    assert torch.equal(first, again)
    assert not torch.allclose(first, before, rtol=1e-4, atol=1e-7)
    assert torch.equal(check(model), before)
