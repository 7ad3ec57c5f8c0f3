"""Recording and replaying forward passes, without a GPU: a stand-in for a graph repeats the operations that torch did,
on the same memory. test_cuda_device.py does it on one."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import DynamicCache

from modeling_hyenadna import (
    HyenaDNAConfig,
    HyenaDNAForCausalLM,
    HyenaDNAForSequenceClassification,
    cuda_graphs,
    modeling_hyenadna,
)
from modeling_hyenadna.cuda_graphs import cuda_graphs as replaying
from modeling_hyenadna.long_conv.online import BLOCK

WAITS = ("aten::_local_scalar_dense", "aten::equal", "aten::nonzero", "aten::is_nonzero")


class HostGraph(TorchDispatchMode):
    """What a CUDA graph is on a GPU: operations on fixed memory, recorded without being done, and done by `replay`.

    What decides in Python has decided once; what would wait for the GPU to decide is an error.
    """

    def __init__(self):
        super().__init__()
        self.tape, self.written = [], []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        assert func._schema.name not in WAITS, f"{func} waits for what is being recorded"
        named = dict(zip([argument.name for argument in func._schema.arguments], args, strict=False)) | kwargs
        for argument in func._schema.arguments:
            if argument.alias_info is not None and argument.alias_info.is_write:
                self.written.append((named[argument.name], named[argument.name].clone()))
        outputs = func(*args, **kwargs)
        self.tape.append((func, args, kwargs, outputs))
        return outputs

    def undo(self):
        for tensor, before in reversed(self.written):
            tensor.copy_(before)

    def replay(self):
        for func, args, kwargs, outputs in self.tape:
            for old, new in zip(tree_leaves(outputs), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():  # neither in place nor a view
                    old.copy_(new)


@pytest.fixture
def recorded(monkeypatch):
    """CPU tensors stand for a GPU's; the number of recordings and of replays."""
    counts = {"recorded": 0, "replayed": 0}

    def captured(work):
        counts["recorded"] += 1
        graph = HostGraph()
        with monkeypatch.context() as patched, graph:
            patched.setattr(modeling_hyenadna, "followed", lambda: True)  # what a CPU looks at, a GPU does not
            outputs = work()
        graph.undo()

        def replay():
            counts["replayed"] += 1
            graph.replay()

        return outputs, replay

    monkeypatch.setattr(cuda_graphs, "captured", captured)
    monkeypatch.setattr(cuda_graphs, "on_gpu", lambda tensor: True)
    return counts


@pytest.fixture(params=[HyenaDNAForCausalLM, HyenaDNAForSequenceClassification])
def model(request):
    torch.manual_seed(0)
    return request.param(HyenaDNAConfig(d_model=16, n_layer=2, d_inner=32, max_seq_len=66)).eval()


def batches(number, rows=3, length=20):
    generator = torch.Generator().manual_seed(0)
    for _ in range(number):
        mask = torch.ones(rows, length, dtype=torch.long)
        mask[0, :4] = 0
        yield {"input_ids": torch.randint(7, 11, (rows, length), generator=generator), "attention_mask": mask}


def test_outputs_are_the_models_own(model, recorded):
    given = [*batches(5), *batches(3, length=31), *batches(2)]
    with torch.inference_mode():
        expected = [model(**batch) for batch in given]
        with replaying(model):
            found = [model(**batch) for batch in given]
    for ours, theirs in zip(found, expected, strict=True):
        assert type(ours) is type(theirs)
        torch.testing.assert_close(ours.logits, theirs.logits)
    assert recorded == {"recorded": 2, "replayed": 4 + 2 + 2}
    assert "forward" not in vars(model)


def test_hidden_states_and_positional_arguments(recorded):
    torch.manual_seed(0)
    model = HyenaDNAForCausalLM(HyenaDNAConfig(d_model=16, n_layer=2, d_inner=32, max_seq_len=66)).eval()
    with torch.no_grad(), replaying(model):
        found = [model(batch["input_ids"], output_hidden_states=True) for batch in batches(4)]
    for batch, ours in zip(batches(4), found, strict=True):
        theirs = model(batch["input_ids"], output_hidden_states=True)
        assert len(ours.hidden_states) == 3
        torch.testing.assert_close(ours.hidden_states, theirs.hidden_states)
    assert recorded == {"recorded": 1, "replayed": 3}


def test_weights_that_change_act(model, recorded):
    (batch,) = batches(1)
    with torch.no_grad(), replaying(model):
        for _ in range(3):
            before = model(**batch).logits
        for weight in model.parameters():
            weight.mul_(1.5)  # in place
        changed = model(**batch).logits
        assert recorded == {"recorded": 1, "replayed": 3}
        layer = model.base_model.backbone.layers[0].mixer.in_proj
        layer.weight = torch.nn.Parameter(2 * layer.weight.detach())  # another tensor
        replaced = model(**batch).logits
        assert recorded == {"recorded": 2, "replayed": 4}
    with torch.no_grad():
        torch.testing.assert_close(replaced, model(**batch).logits)
        layer.weight = torch.nn.Parameter(layer.weight.detach() / 2)
        torch.testing.assert_close(changed, model(**batch).logits)
    assert not torch.allclose(before, changed)
    assert not torch.allclose(changed, replaced)


def test_what_is_not_the_same_work_each_time_runs_as_ever(recorded):
    torch.manual_seed(0)
    model = HyenaDNAForCausalLM(HyenaDNAConfig(d_model=16, n_layer=2, d_inner=32, max_seq_len=66)).eval()
    (batch,) = batches(1)
    ids = batch["input_ids"]
    with replaying(model):
        for _ in range(3):
            model(**batch, labels=ids).loss.backward()
        with torch.no_grad():
            for _ in range(3):
                model(ids, use_cache=True)
            seen = []
            hook = model.base_model.backbone.layers[1].register_forward_hook(lambda *_: seen.append(1))
            for _ in range(3):
                model(**batch)
            hook.remove()
            assert len(seen) == 3
            model.train()
            for _ in range(3):
                model(**batch)
        with pytest.raises(RuntimeError, match="replaced already"), replaying(model):
            pass
    assert recorded == {"recorded": 0, "replayed": 0}


def test_graphs_used_longest_ago_are_given_up(model, recorded, monkeypatch):
    monkeypatch.setattr(cuda_graphs, "MOST_GRAPHS", 2)
    with torch.no_grad(), replaying(model):
        for length in (20, 21, 22, 20):
            for batch in batches(2, length=length):
                model(**batch)
        assert len(model.forward.recordings) == 2
    assert recorded["recorded"] == 4


def test_a_cpu_records_nothing(model):
    with torch.no_grad(), replaying(model):
        for batch in batches(3):
            model(**batch)
        assert not model.forward.recordings


@pytest.fixture
def generator_model():
    torch.manual_seed(0)
    config = HyenaDNAConfig(d_model=16, n_layer=2, d_inner=32, max_seq_len=400, eos_token_id=None)
    model = HyenaDNAForCausalLM(config).eval()
    model.generation_config.eos_token_id = None
    return model


def prompts(rows=3, length=37, padded=False):
    ids = torch.randint(7, 11, (rows, length), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    if padded:
        mask[0, :5] = 0
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize(("length", "padded"), [(1, False), (37, False), (37, True), (260, True)])
@pytest.mark.parametrize("settings", [{}, {"do_sample": True, "top_k": 3}], ids=["greedy", "sampled"])
def test_generation_is_that_without_graphs(generator_model, recorded, length, padded, settings):
    options = {"max_new_tokens": 139, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
    found = {}
    for name in ("own", "graphs"):
        torch.manual_seed(5)
        given = prompts(length=length, padded=padded)
        if name == "own":
            found[name] = generator_model.generate(**given, **options | settings)
        else:
            with replaying(generator_model):
                found[name] = generator_model.generate(**given, **options | settings)
    assert torch.equal(found["graphs"].sequences, found["own"].sequences)
    torch.testing.assert_close(torch.stack(found["graphs"].logits), torch.stack(found["own"].logits))
    assert 1 <= recorded["recorded"] <= 4  # as often as what the cache keeps has outgrown its place
    assert recorded["replayed"] >= 138 - 2 * recorded["recorded"]


def test_beams_are_those_without_graphs(generator_model, recorded):
    options = {"max_new_tokens": 60, "num_beams": 3, "do_sample": False}
    expected = generator_model.generate(**prompts(), **options)
    with replaying(generator_model):
        assert torch.equal(generator_model.generate(**prompts(), **options), expected)


def test_two_caches_at_a_time_and_one_by_hand(generator_model, recorded):
    ids = prompts(rows=1, length=200)["input_ids"]

    @torch.inference_mode()
    def logits_of(*caches):
        found = []
        for at in range(100):
            for rows, cache in caches:
                token = rows[:, :20] if at == 0 else rows[:, 19 + at : 20 + at]
                found.append(generator_model(token, past_key_values=cache, use_cache=True).logits[:, -1])
        assert all(cache.get_seq_length() == 119 for _, cache in caches)
        return torch.stack(found)

    def pairs():
        return [(rows, DynamicCache(config=generator_model.config)) for rows in (ids, ids.flip(1))]

    expected = logits_of(*pairs())
    with replaying(generator_model):
        found = logits_of(*pairs())
    torch.testing.assert_close(found, expected)
    with torch.inference_mode():
        whole = [generator_model(rows[:, :119]).logits[:, 19:] for rows in (ids, ids.flip(1))]
    torch.testing.assert_close(found, torch.stack(whole, dim=2)[0].flatten(0, 1)[:, None], rtol=1e-4, atol=1e-4)
    assert recorded["replayed"] > 150


def test_several_tokens_and_tokens_taken_back_between_replayed_ones(generator_model, recorded):
    ids = prompts(rows=1, length=200)["input_ids"]
    cache = DynamicCache(config=generator_model.config)
    found, at = [], 0
    with torch.no_grad(), replaying(generator_model):
        for size in [10, *[1] * 40, 7, *[1] * 20, BLOCK, *[1] * 40]:
            output = generator_model(ids[:, at : at + size], past_key_values=cache, use_cache=True)
            assert output.past_key_values is cache
            found.append(output.logits)
            at += size
        cache.activate_past_recording()
        for _ in range(5):
            found.append(generator_model(ids[:, at : at + 1], past_key_values=cache, use_cache=True).logits)
            at += 1
        cache.crop(-3)
        found, at = [*found[:-3]], at - 3
        for _ in range(20):
            found.append(generator_model(ids[:, at : at + 1], past_key_values=cache, use_cache=True).logits)
            at += 1
        whole = generator_model(ids[:, :at]).logits
    torch.testing.assert_close(torch.cat(found, dim=1), whole, rtol=1e-4, atol=1e-4)
    assert recorded["replayed"] > 60


def test_a_step_that_is_refused_without_graphs_is_refused(generator_model, recorded):
    ids = prompts(rows=1, length=399)["input_ids"]
    cache = DynamicCache(config=generator_model.config)
    with torch.no_grad(), replaying(generator_model):
        generator_model(ids, past_key_values=cache, use_cache=True)
        generator_model(ids[:, :1], past_key_values=cache, use_cache=True)
        with pytest.raises(ValueError, match="401 tokens"):
            generator_model(ids[:, :1], past_key_values=cache, use_cache=True)
        cache = DynamicCache(config=generator_model.config)
        generator_model(ids[:, :20], past_key_values=cache, use_cache=True)
        with pytest.raises(ValueError, match="attention_mask must be"):
            generator_model(ids[:, :1], torch.ones(1, 5), past_key_values=cache, use_cache=True)
        assert cache.get_seq_length() == 20
