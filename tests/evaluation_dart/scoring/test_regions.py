"""Vectors of sequences of any length, against the model's hidden states."""

from pathlib import Path

import numpy as np
import pytest
import torch

import modeling_hyenadna  # noqa: F401
from datasets_dart.alphabet import reverse_complement
from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.scoring.regions import LONGEST_CHUNK, RegionRecipe, chunk_length, embed_sequences

FIXTURES = Path(__file__).parents[2] / "fixtures"
RNG = np.random.default_rng(0)
SEQUENCES = ["".join(RNG.choice(list("ACGT"), length)) for length in (50, 7, 120, 33, 50)]


@pytest.fixture(scope="module", params=["hyenadna", "bert_char", "bert_bpe"])
def scorer(request):
    folder = FIXTURES / ("model/small_d32_l2_s130" if request.param == "hyenadna" else f"task1/{request.param}")
    return load_language_model(folder, device="cpu")


def states(scorer, sequence, layer=-1):
    """(T, C) of a sequence's own tokens, and the token of each base among them."""
    inputs, own = scorer.encode([sequence])
    with torch.no_grad():
        hidden = scorer.model(**inputs, output_hidden_states=True).hidden_states[layer][own]
    return hidden.numpy(), scorer.base_tokens([sequence])[0] - scorer.before


@pytest.mark.parametrize("pooling", ["mean", "max", "last"])
@pytest.mark.parametrize("layer", [-1, 1])
def test_pooled(scorer, pooling, layer):
    pool = {"mean": lambda x: x.mean(axis=0), "max": lambda x: x.max(axis=0), "last": lambda x: x[-1]}[pooling]
    vectors = embed_sequences(scorer, SEQUENCES, RegionRecipe(pooling, layer), batch_size=3)
    for sequence, vector in zip(SEQUENCES, vectors, strict=True):
        assert vector.dtype == np.float32
        np.testing.assert_allclose(vector, pool(states(scorer, sequence, layer)[0]), atol=2e-5)


def test_per_base(scorer):
    for sequence, vectors in zip(SEQUENCES, embed_sequences(scorer, SEQUENCES, RegionRecipe(None)), strict=True):
        hidden, token = states(scorer, sequence)
        np.testing.assert_allclose(vectors, hidden[token], atol=2e-5)


@pytest.mark.parametrize("pooling", ["mean", None])
def test_strands(scorer, pooling):
    recipe = RegionRecipe(pooling)
    forward = embed_sequences(scorer, SEQUENCES, recipe)
    other = embed_sequences(scorer, [*map(reverse_complement, SEQUENCES)], recipe)
    if pooling is None:
        other = [vectors[::-1] for vectors in other]
    reverse = embed_sequences(scorer, SEQUENCES, recipe._replace(strand="reverse"))
    mean = embed_sequences(scorer, SEQUENCES, recipe._replace(strand="mean"))
    for one, two, back, both in zip(forward, other, reverse, mean, strict=True):
        np.testing.assert_allclose(back, two, atol=1e-6)
        np.testing.assert_allclose(both, (one + two) / 2, atol=1e-6)


def test_long_sequences_are_read_in_chunks(scorer):
    (sequence,) = SEQUENCES[2:3]
    pieces = [sequence[start : start + 50] for start in (0, 50, 100)]
    hidden = [states(scorer, piece)[0] for piece in pieces]
    tokens = np.concatenate(hidden)
    for pooling, expected in (("mean", tokens.mean(axis=0)), ("max", tokens.max(axis=0)), ("last", tokens[-1])):
        (vector,) = embed_sequences(scorer, [sequence], RegionRecipe(pooling, chunk=50))
        np.testing.assert_allclose(vector, expected, atol=2e-5)
    (vectors,) = embed_sequences(scorer, [sequence], RegionRecipe(None, chunk=50))
    expected = np.concatenate([states(scorer, piece)[0][states(scorer, piece)[1]] for piece in pieces])
    np.testing.assert_allclose(vectors, expected, atol=2e-5)


@pytest.mark.parametrize("max_tokens", [130, 1_000_002, None])
def test_chunks_that_a_model_reads(scorer, monkeypatch, max_tokens):
    """As many bases as leave room for the special tokens around them, and never more than the longest chunk."""
    monkeypatch.setattr(scorer, "max_tokens", max_tokens)
    special = len(scorer.tokenizer("A")["input_ids"]) - 1
    assert special in (1, 2)
    assert chunk_length(scorer) == (130 - special if max_tokens == 130 else LONGEST_CHUNK)


def test_unknown_words():
    with pytest.raises(ValueError, match="pooling median: there are mean, max, last"):
        RegionRecipe("median").checked()
    with pytest.raises(ValueError, match="strand both: there are forward"):
        RegionRecipe("mean", strand="both").checked()
