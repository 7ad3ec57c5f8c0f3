"""Per-base probabilities, as Carbon's evaluation asks a model for them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNATokenizer


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = HyenaDNAConfig(d_model=16, n_layer=1, max_seq_len=64, filter_order=8, initializer_range=0.5)
    return HyenaDNAForCausalLM(config).eval()


def by_hand(model, sequence):
    """(L - 1, 16) probabilities of the tokens after each base but the last."""
    ids = HyenaDNATokenizer()(sequence, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return model(ids).logits[0, :-1].softmax(dim=-1), ids[0]


@settings(deadline=None, max_examples=20)
@given(st.lists(st.text("ACGTN", min_size=2, max_size=20), min_size=1, max_size=4))
def test_probabilities_are_those_of_the_logits(model, sequences):
    of_all, of_own = model.score_sequence(sequences)
    for sequence, bases, own in zip(sequences, of_all, of_own, strict=True):
        expected, ids = by_hand(model, sequence)
        torch.testing.assert_close(bases, expected[:, 7:11])
        torch.testing.assert_close(own, expected.gather(1, ids[1:, None])[:, 0])


def test_one_sequence_has_no_list_around_it(model):
    one, several = model.score_sequence("ACGTT"), model.score_sequence(["ACGTT"])
    assert one[0].shape == (4, 4)
    assert one[1].shape == (4,)
    for alone, (first,) in zip(one, several, strict=True):
        torch.testing.assert_close(alone, first, atol=0, rtol=0)


def test_letters_are_read_as_the_bases_they_stand_for(model):
    _, expected = model.score_sequence("ACGTTN")
    torch.testing.assert_close(model.score_sequence("acguTr")[1], expected, atol=0, rtol=0)


@pytest.mark.parametrize("sequence", ["", "A", "AC-G", "[SEP]A"])
def test_what_is_no_sequence_is_refused(model, sequence):
    with pytest.raises(ValueError, match="at least two bases, got"):
        model.score_sequence(["ACGT", sequence])


@pytest.mark.parametrize(("sequences", "message"), [([], "at least one sequence"), ([b"ACGT"], "str, got bytes")])
def test_what_are_no_sequences_is_refused(model, sequences, message):
    with pytest.raises(ValueError, match=message):
        model.score_sequence(sequences)
