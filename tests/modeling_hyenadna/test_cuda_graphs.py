"""Recording and replaying forward passes, without a GPU: a stand-in for a graph does the work again, into the same
tensors. test_cuda_device.py does it on one."""

import pytest
import torch

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNAForSequenceClassification, cuda_graphs
from modeling_hyenadna.cuda_graphs import cuda_graphs as replaying


@pytest.fixture
def recorded(monkeypatch):
    """CPU tensors stand for a GPU's; the number of recordings and of replays."""
    counts = {"recorded": 0, "replayed": 0}

    def captured(work):
        counts["recorded"] += 1
        outputs = work()

        def replay():
            counts["replayed"] += 1
            for name, value in work().items():
                for old, new in zip(
                    *(x if isinstance(x, tuple) else (x,) for x in (outputs[name], value)), strict=True
                ):
                    old.copy_(new)

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
            model.generate(ids, max_new_tokens=4, do_sample=False)
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
