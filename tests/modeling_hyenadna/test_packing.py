"""Packed rows: each sequence gives what it gives in a row of its own."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils import prune
from transformers import DataCollatorWithFlattening, DynamicCache

from modeling_hyenadna import (
    HyenaDNAConfig,
    HyenaDNAForCausalLM,
    HyenaDNAForSequenceClassification,
    HyenaDNAForTokenClassification,
)
from modeling_hyenadna.packing import read_packing

LIMIT = 64


def tiny(kind=HyenaDNAForCausalLM, **changes):
    torch.manual_seed(0)
    options = {"d_model": 8, "n_layer": 2, "max_seq_len": LIMIT, "emb_dim": 5, "filter_order": 8, "activation_freq": 10}
    model = kind(HyenaDNAConfig(**{**options, "embed_dropout": 0.0, **changes})).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "freq" not in name and "norm" not in name and "ln_f" not in name:
                parameter.normal_(std=0.3)
    return model


def sequences(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(7, 11, (length,), generator=generator) for length in lengths]


def flattened(rows):
    collator = DataCollatorWithFlattening(return_flash_attn_kwargs=True, return_seq_idx=True)
    return dict(collator([{"input_ids": row.tolist()} for row in rows]))


DESCRIPTIONS = ("position_ids", "cu_seq_lens_q", "seq_idx")
HINTS = ("cu_seq_lens_k", "max_length_q", "max_length_k")


@pytest.mark.parametrize("backend", ["auto", "torch", "reference"])
@pytest.mark.parametrize("lengths", [(20, 30, 25), (16, 16, 16, 16), (64, 1, 2, 1, 40, 33, 5), (1, 1)])
def test_logits_loss_and_gradients_equal_those_of_separate_rows(lengths, backend):
    model, rows = tiny(long_conv_backend=backend), sequences(lengths)
    batch = flattened(rows)
    model.zero_grad()
    apart = [model(row[None], labels=row[None] if len(row) > 1 else None) for row in rows]
    targets = sum(len(row) - 1 for row in rows)
    if targets:
        sum(out.loss * (len(row) - 1) for out, row in zip(apart, rows, strict=True) if len(row) > 1).div(
            targets
        ).backward()
    expected = {name: parameter.grad for name, parameter in model.named_parameters()}
    for name in DESCRIPTIONS:
        model.zero_grad()
        inputs = {"input_ids": batch["input_ids"], name: batch[name]}
        out = model(**inputs, labels=batch["input_ids"])  # labels at starts are ignored by the model itself
        torch.testing.assert_close(out.logits[0], torch.cat([x.logits[0] for x in apart]), atol=1e-5, rtol=1e-5)
        with torch.no_grad():
            torch.testing.assert_close(model(**inputs).logits, out.logits, atol=1e-5, rtol=1e-5)
        if targets:
            out.loss.backward()
            for parameter, (key, gradient) in zip(model.parameters(), expected.items(), strict=True):
                torch.testing.assert_close(
                    parameter.grad, gradient, atol=1e-5, rtol=1e-3, msg=lambda m, key=key: f"{key}: {m}"
                )
    everything = {name: batch[name] for name in ("input_ids", *DESCRIPTIONS, *HINTS)}
    torch.testing.assert_close(model(**everything).logits, out.logits, atol=1e-6, rtol=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_padding_anywhere_and_several_packed_rows(data):
    """Rows of segments and padding in any order, by positions or by numbers of segments."""
    model, width = tiny(n_layer=1), data.draw(st.integers(2, 20))
    row_of = st.lists(st.booleans(), min_size=width, max_size=width)
    real = torch.tensor(data.draw(st.lists(row_of, min_size=1, max_size=2)))
    begins = torch.tensor([data.draw(row_of) for _ in real])
    ids = torch.randint(7, 11, real.shape, generator=torch.Generator().manual_seed(width))
    numbers, positions = (begins & real).long().cumsum(1), torch.zeros_like(ids)
    own = [real[row] & (numbers[row] == number) for row in range(len(real)) for number in range(width + 1)]
    segments = [(index // (width + 1), place) for index, place in enumerate(own) if place.any()]
    for row, places in segments:
        positions[row, places] = torch.arange(int(places.sum()))
    with torch.no_grad():
        by_number = model(ids, attention_mask=real.long(), seq_idx=numbers).logits
        by_position = model(ids, attention_mask=real.long() * 3, position_ids=positions).logits
        torch.testing.assert_close(by_number[real], by_position[real])
        for row, places in segments:  # padding within a segment takes up room, as in any masked row
            first, last = places.nonzero()[[0, -1], 0].tolist()
            between = slice(first, last + 1)
            alone = model(ids[row : row + 1, between], attention_mask=places[None, between]).logits[0]
            torch.testing.assert_close(by_number[row, places], alone[places[between]], atol=1e-5, rtol=1e-5)


def test_a_packed_row_may_be_longer_than_the_limit_and_a_sequence_may_not():
    model, rows = tiny(), sequences((40, 50))
    batch = flattened(rows)
    logits = model(batch["input_ids"], position_ids=batch["position_ids"]).logits[0]
    torch.testing.assert_close(logits[40:], model(rows[1][None]).logits[0], atol=1e-5, rtol=1e-5)
    batch = flattened(sequences((40, 65)))
    with pytest.raises(ValueError, match="the input has 65 tokens"):
        model(batch["input_ids"], position_ids=batch["position_ids"])


def test_training_with_dropout_checkpointing_and_a_hooked_convolution():
    rows = sequences((20, 12, 12))
    batch = flattened(rows)
    model = tiny()
    expected = model(**batch).loss
    for block in model.hyena.backbone.layers:
        prune.identity(block.mixer.short_filter, "weight")
    torch.testing.assert_close(model(**batch).loss, expected)
    model.train().activation_checkpointing_enable()
    loss = model(**batch).loss
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    dropped = tiny(hyena_dropout=0.5).train()
    assert not torch.equal(dropped(**batch).loss, dropped(**batch).loss)


def test_shifted_labels_stay_within_sequences():
    model, batch = tiny(), flattened(sequences((9, 7)))
    ids = batch["input_ids"]
    following = torch.cat([ids[:, 1:], torch.full((1, 1), -100)], dim=1)
    loss = model(ids, position_ids=batch["position_ids"], labels=ids, shift_labels=following).loss
    torch.testing.assert_close(loss, model(ids, position_ids=batch["position_ids"], labels=ids).loss)


def test_heads():
    batch = flattened(sequences((9, 7)))
    ids, positions = batch["input_ids"], batch["position_ids"]
    tokens = tiny(HyenaDNAForTokenClassification, num_labels=3)
    expected = torch.cat([tokens(part).logits for part in ids.split([9, 7], dim=1)], dim=1)
    torch.testing.assert_close(tokens(ids, position_ids=positions).logits, expected, atol=1e-5, rtol=1e-5)
    whole = tiny(HyenaDNAForSequenceClassification)
    with pytest.raises(ValueError, match="packed rows have several sequences and one class"):
        whole(ids, position_ids=positions)
    torch.testing.assert_close(whole(ids, position_ids=torch.arange(16)[None]).logits, whole(ids).logits)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"position_ids": [[0, 1, 3, 4]]}, "in row 0, at token 2, 3 follows 1"),
        ({"position_ids": [[0, 1, 1, 2]]}, "go on by 1 or start again at 0"),
        ({"position_ids": [[0, 1, 2]]}, r"position_ids must be \(1, 4\) for these inputs, got \(1, 3\)"),
        ({"seq_idx": [0, 0, 1, 1]}, r"seq_idx must be \(1, 4\)"),
        ({"cu_seq_lens_q": [0, 2, 3]}, "must rise from 0 to the 4 tokens"),
        ({"cu_seq_lens_q": [0, 3, 2, 4]}, "must rise from 0 to the 4 tokens"),
        (
            {"position_ids": [[0, 1, 0, 1]], "cu_seq_lens_q": [0, 3, 4]},
            "describe different segments: .* token 2 of row 0",
        ),
        ({"position_ids": [[0, 1, 0, 1]], "seq_idx": [[0, 0, 0, 0]]}, "position_ids and seq_idx describe different"),
        ({"position_ids": [[0, 1, 0, 1]], "use_cache": True}, "packed rows keep no cache"),
    ],
)
def test_descriptions_that_cannot_be_are_refused(arguments, message):
    given = {name: value if isinstance(value, bool) else torch.tensor(value) for name, value in arguments.items()}
    with pytest.raises(ValueError, match=message):
        tiny()(torch.tensor([[7, 8, 9, 10]]), **given)


def test_several_rows_have_no_cumulated_lengths():
    with pytest.raises(ValueError, match="cu_seq_lens_q describes one row of tokens, but the input has 2"):
        tiny()(torch.full((2, 4), 7), cu_seq_lens_q=torch.tensor([0, 2, 4]))


def test_positions_that_begin_no_sequence_change_nothing():
    """As other code makes them for padding on the left, with and without a cache."""
    model = tiny()
    ids = torch.cat([torch.full((1, 3), 4), sequences((12,))[0][None]], dim=1)
    mask = (torch.arange(15) >= 3).long()[None]
    counted = mask.cumsum(1) - 1
    expected = model(ids, attention_mask=mask).logits
    for positions in (counted.clamp(min=0), counted.masked_fill(mask == 0, 1), torch.arange(15)[None], counted + 7):
        assert torch.equal(model(ids, attention_mask=mask, position_ids=positions).logits, expected)
        cache = DynamicCache(config=model.config)
        for piece in ([0, 2], [2, 5], [5, 14], [14, 15]):
            here = slice(*piece)
            options = {"attention_mask": mask[:, : piece[1]], "past_key_values": cache, "use_cache": True}
            out = model(ids[:, here], position_ids=positions[:, here], **options)
        torch.testing.assert_close(out.logits[:, -1], expected[:, -1], atol=1e-5, rtol=1e-5)
    for positions in ([[0]], [[5, 0]]):
        positions = torch.tensor(positions)
        with pytest.raises(ValueError, match="packed rows cannot continue a cache"):
            model(torch.full_like(positions, 7), position_ids=positions, past_key_values=cache, use_cache=True)


def test_segments_of_about_one_length_are_computed_together():
    lengths = [100, 99, 80, 50, 49, 20, 3, 1]
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    packing = read_packing((1, len(positions[0])), position_ids=positions)
    assert [tuple(group.places.shape) for group in packing.groups] == [(3, 100), (2, 50), (3, 20)]
    equal = read_packing((2, 30), position_ids=torch.arange(10).repeat(3)[None])
    assert [tuple(group.places.shape) for group in equal.groups] == [(6, 10)]
    assert equal.groups[0].mask is None
    assert read_packing((1, 30), position_ids=torch.arange(30)[None]) is None


def test_packed_rows_cannot_be_exported():
    model = tiny(n_layer=1)
    ids, positions = torch.full((1, 8), 7), torch.arange(4).repeat(2)[None]
    with pytest.raises(Exception, match="cannot be exported or traced"):
        torch.export.export(model, (ids,), {"position_ids": positions})
    with torch.no_grad():
        torch.compiler.reset()
        compiled = torch.compile(model, backend="eager")
        torch.testing.assert_close(
            compiled(ids, position_ids=positions).logits, model(ids, position_ids=positions).logits
        )
