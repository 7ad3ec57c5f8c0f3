"""Rows that begin alike, read together: what whole rows give, whichever way the convolution is computed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from modeling_hyenadna import (
    HyenaDNAConfig,
    HyenaDNAForCausalLM,
    HyenaDNAForSequenceClassification,
    HyenaDNAForTokenClassification,
    HyenaDNAModel,
)
from modeling_hyenadna.lockstep import lockstep_of
from modeling_hyenadna.long_conv import hyena_mixer, prepare_kernel
from modeling_hyenadna.long_conv.differences import difference_mixer, reference_mixer

LENGTH = 150
REFERENCE = torch.tensor([0, 0, 0, 3, 3, 5, 3])
SHORTEST = 60  # tokens that all rows have in common with their references


def network(kind=HyenaDNAForCausalLM, **options):
    torch.manual_seed(0)
    return kind(HyenaDNAConfig(d_model=24, n_layer=3, max_seq_len=LENGTH, emb_dim=5, **options)).eval()


def rows():
    """(7, L) token ids, and a mask with padding on both sides."""
    torch.manual_seed(1)
    ids = torch.randint(7, 11, (len(REFERENCE), LENGTH))
    for row, own in enumerate(REFERENCE.tolist()):
        if row != own:
            ids[row, : SHORTEST + row] = ids[own, : SHORTEST + row]
    mask = torch.ones_like(ids)
    mask[1, -20:] = 0
    mask[3:5, :4] = mask[6, :4] = 0
    return ids, mask


def close(found, expected, limit=1e-5):
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= limit * expected.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("backend", ["auto", "torch", "plain", "reference"])
def test_alleles_are_as_whole_rows(backend, dtype):
    model = network(long_conv_backend=backend).to(dtype)
    ids, mask = rows()
    limit = {torch.float32: 1e-5, torch.float64: 1e-13, torch.bfloat16: 2e-2}[dtype]
    with torch.no_grad():
        for own in (None, mask):
            whole = model(ids, attention_mask=own, output_hidden_states=True)
            alike = model.read_alike(ids, REFERENCE, own, output_hidden_states=True)
            close(alike.logits, whole.logits, limit)
            assert len(alike.hidden_states) == len(whole.hidden_states) == 4
            torch.testing.assert_close(alike.hidden_states[2:][-1], alike.hidden_states[3])
            for found, expected in zip(alike.hidden_states, whole.hidden_states, strict=True):
                close(found, expected, limit)


def test_sums_of_hidden_states():
    """Of what is counted in all rows up to where they differ, and of what is not."""
    model, (ids, mask) = network(), rows()
    counted = mask == 1
    counted[:, :5] = False
    other = counted.clone()
    other[1, 20] = False
    with torch.no_grad():
        alike = model.read_alike(ids, REFERENCE, output_hidden_states=True).hidden_states
        for own in (counted, other):
            for layer in (0, 2, -1):
                sums = alike.sums(layer, own)
                assert sums.dtype == torch.float64
                expected = (alike[layer].double() * own[..., None]).sum(dim=1)
                torch.testing.assert_close(sums, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pooling", ["mean", "max", "last", "first", "sum"])
def test_heads(pooling):
    ids, mask = rows()
    with torch.no_grad():
        model = network(HyenaDNAForSequenceClassification, pooling=pooling)
        for own in (None, mask):
            close(model.read_alike(ids, REFERENCE, own).logits, model(ids, attention_mask=own).logits)
        ids[:, -3:] = model.config.pad_token_id
        close(model.read_alike(ids, REFERENCE).logits, model(ids).logits)
        for kind in (HyenaDNAModel, HyenaDNAForTokenClassification):
            model = network(kind)
            close(model.read_alike(ids, REFERENCE)[0], model(ids)[0])


def tokens_read(model):
    """How many tokens each forward pass of the embeddings had, as they come."""
    seen = []
    model.base_model.backbone.embeddings.register_forward_hook(lambda *call: seen.append(call[1][0].numel()))
    return seen


def test_the_price_is_what_lies_behind_the_first_difference():
    model, (ids, mask) = network(), rows()
    seen = tokens_read(model)
    with torch.no_grad():
        model.read_alike(ids, REFERENCE)
        model.read_alike(ids, REFERENCE, mask)  # in which row 1 differs at its end, later than in its tokens
        model.read_alike(ids[[0, 0]], torch.tensor([0, 0]))  # of equal rows, the last token
    first = SHORTEST + 1
    assert (ids[1, : first + 1] != ids[0, : first + 1]).any()
    assert seen == [3 * LENGTH + 4 * (LENGTH - first)] * 2 + [LENGTH + 1]


def test_whole_rows_where_others_cannot_be_had():
    model, (ids, _) = network(), rows()
    seen, whole = tokens_read(model), ids.numel()
    model.read_alike(ids, REFERENCE).logits.sum().backward()
    assert model.lm_head.weight.grad is not None
    with torch.no_grad():
        model.train().read_alike(ids, REFERENCE)
        model.eval().read_alike(ids, torch.arange(len(ids)))
        other = ids.clone()
        other[1, 1] = 11 - (other[1, 1] == 11).long()  # within the first taps of the short convolution
        close(model.read_alike(other, REFERENCE).logits, model(other).logits)
        short = model.hyena.backbone.layers[1].mixer.short_filter
        with_hook = short.register_forward_hook(lambda module, given, output: None)
        close(model.read_alike(ids, REFERENCE).logits, model(ids).logits)
        with_hook.remove()
        assert seen == [whole] * 7
        model.hyena.backbone.layers[1].mixer.out_proj.register_forward_hook(lambda module, given, output: 2 * output)
        close(model.read_alike(ids, REFERENCE).logits, model(ids).logits)
        assert seen[7] < whole
        nn.utils.parametrizations.weight_norm(model.hyena.backbone.layers[0].mixer.in_proj)
        close(model.read_alike(ids, REFERENCE).logits, model(ids).logits)


def test_options_that_speak_of_whole_rows_have_them():
    model, (ids, mask) = network(), rows()
    with torch.no_grad():
        for options in (
            {"logits_to_keep": 5},
            {"labels": ids},
            {"use_cache": True},
            {"labels": ids, "return_dict": True},
        ):
            alike, whole = (
                model.read_alike(ids, REFERENCE, mask, **options),
                model(input_ids=ids, attention_mask=mask, **options),
            )
            assert alike.keys() == whole.keys()
            assert alike.logits.shape == whole.logits.shape
            close(alike.logits, whole.logits)
            if "labels" in options:
                torch.testing.assert_close(alike.loss, whole.loss)
        close(model.read_alike(ids, REFERENCE, return_dict=False)[0], model(ids).logits)
        model.config.return_dict = False
        close(model.read_alike(ids, REFERENCE)[0], model(ids)[0])


def test_what_cannot_be_is_refused():
    model, (ids, _) = network(), rows()
    with torch.no_grad(), pytest.raises(ValueError, match="is itself compared with another"):
        model.read_alike(ids, torch.tensor([0, 0, 1, 3, 3, 5, 3]))
    with torch.no_grad(), pytest.raises(ValueError, match="151 tokens, but this model's limit"):
        model.read_alike(torch.cat([ids, ids[:, :1]], dim=1), REFERENCE)
    assert lockstep_of(ids, torch.arange(len(ids)), None) is None
    u, weight, bias, k, skip = (torch.randn(shape) for shape in ((1, 9, 6), (6, 3), (6,), (2, 9), (2,)))
    for start in (1, 9):
        with pytest.raises(ValueError, match=f"from 2 to 8, not from {start}"):
            reference_mixer(u, weight, bias, k, skip, None, start)
    _, kept = reference_mixer(u, weight, bias, k, skip, None, 4)
    with pytest.raises(ValueError, match="kept is of 5 positions, but projected has 4"):
        difference_mixer(u[:, 5:], kept, torch.tensor([0]), weight, bias, k, skip, None)
    with pytest.raises(ValueError, match="k covers 3 taps, but projected has length 5"):
        difference_mixer(u[:, 4:], kept, torch.tensor([0]), weight, bias, k[:, :3], skip, None)


@settings(max_examples=40)
@given(
    st.integers(1, 20), st.integers(3, 400), st.integers(1, 8), st.booleans(), st.sampled_from(["auto", "torch"]),
    st.data(),
)  # fmt: skip
def test_the_operator_by_itself(channels, length, taps, prepared, backend, data):
    """Any number of channels, any length, any number of taps, the kernel prepared or not."""
    start = data.draw(st.integers(min(taps - 1, length - 1), length - 1))
    if start < taps - 1:
        return
    torch.manual_seed(length)
    projected = torch.randn(5, length, 3 * channels)
    reference = torch.tensor([0, 1, 1])  # of rows 2, 3, 4
    projected[2:, :start] = projected[reference, :start]
    weight, bias, skip = torch.randn(3 * channels, taps), torch.randn(3 * channels), torch.randn(channels)
    k = torch.randn(channels, length) * torch.linspace(1, 0.01, length)
    expected = hyena_mixer(projected.double(), weight.double(), bias.double(), k.double(), skip.double())
    rest = length - start
    one, two = (prepare_kernel(k, n, backend) if prepared else k for n in (length, rest))
    y, kept = reference_mixer(projected[:2], weight, bias, one, skip, None, start, backend)
    z = difference_mixer(projected[2:, start:], kept, reference, weight, bias, two, skip, None, backend)
    limit = 2e-5 * expected.abs().max()
    assert (y - expected[:2]).abs().max() <= limit
    assert (z - expected[2:, start:]).abs().max() <= limit
