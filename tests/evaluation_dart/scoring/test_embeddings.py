"""Embeddings and token spans of the in-tree architectures, with characters, k-mers and BPE, and of remote code."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    EsmConfig,
    EsmForMaskedLM,
    EsmTokenizer,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
)

import modeling_hyenadna  # noqa: F401
from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.recipes import RECIPES
from evaluation_dart.scoring.embeddings import cosine_distance, hidden_states, name_order

FIXTURES = Path(__file__).parents[2] / "fixtures"
TINY = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SEQUENCES = ["ACGTACGTTA", "ACGT", "TTGACCAG"]


def pairs_tokenizer():
    vocabulary = {"<pad>": 0, "<mask>": 1, "<cls>": 2, "<unk>": 3}
    vocabulary |= {a + b: 4 + i for i, (a, b) in enumerate(itertools.product("ACGT", repeat=2))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(".."), "isolated")
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


@pytest.fixture(params=["hyenadna", "bert_bpe", "bert_char", "mistral", "esm", "remote"])
def scorer(request, tmp_path, monkeypatch):
    name = request.param
    torch.manual_seed(0)
    if name == "hyenadna":
        return load_language_model(FIXTURES / "model" / "small_d32_l2_s130")
    if name.startswith("bert"):
        return load_language_model(FIXTURES / "task1" / name)
    if name == "esm":
        kmers = ["".join(kmer) for kmer in itertools.product("ACGT", repeat=3)]
        vocabulary = ["<unk>", "<pad>", "<mask>", "<cls>", *kmers, *"ATCGN"]
        (tmp_path / "vocab.txt").write_text("\n".join(vocabulary))
        EsmTokenizer(str(tmp_path / "vocab.txt"), eos_token=None, bos_token=None).save_pretrained(tmp_path)
        config = EsmConfig(vocab_size=len(vocabulary), mask_token_id=2, pad_token_id=1, **TINY)
        EsmForMaskedLM(config).save_pretrained(tmp_path)
        return load_language_model(tmp_path)
    pairs_tokenizer().save_pretrained(tmp_path)
    if name == "mistral":
        config = MistralConfig(vocab_size=20, num_key_value_heads=2, max_position_embeddings=64, **TINY)
        MistralForCausalLM(config).save_pretrained(tmp_path)
        return load_language_model(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    BertForMaskedLM(BertConfig(vocab_size=20, **TINY)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["auto_map"] = {"AutoModelForMaskedLM": "modeling_remote.RemoteForMaskedLM"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    code = "from transformers import BertForMaskedLM\n\n\nclass RemoteForMaskedLM(BertForMaskedLM):\n    pass\n"
    (tmp_path / "modeling_remote.py").write_text(code)
    return load_language_model(tmp_path, trust_remote_code=True)


def test_embeddings_do_not_depend_on_the_batch(scorer):
    # A model of both directions that takes no mask reads padding; the tasks' sequences are of one length.
    sequences = SEQUENCES if scorer.takes_mask or scorer.kind == "causal" else ["ACGTACGT", "TTGACCAG", "GGGTACAA"]
    together = scorer.embed(sequences)
    assert together.dtype == np.float32
    alone = np.concatenate([scorer.embed([sequence]) for sequence in sequences])
    np.testing.assert_allclose(together, alone, atol=2e-5)
    by_one = scorer.embed(sequences, batch_size=1)
    np.testing.assert_allclose(together, by_one, atol=2e-5)


def test_embedding_is_the_mean_of_own_tokens(scorer):
    inputs, own = scorer.encode(SEQUENCES[:1])
    with torch.no_grad():
        states = scorer.model(**inputs, output_hidden_states=True).hidden_states
    for layer in (-1, 1):
        expected = states[layer][own].mean(dim=0)
        np.testing.assert_allclose(scorer.embed(SEQUENCES[:1], layer=layer)[0], expected, atol=1e-5)
    with pytest.raises(ValueError, match="no layer 99"):
        scorer.embed(SEQUENCES, layer=99)
    with pytest.raises(ValueError, match="pooling 'maximum': there are mean"):
        scorer.embed(SEQUENCES, pooling="maximum")


@pytest.mark.parametrize("auto_class", [AutoModel, AutoModelForSequenceClassification])
def test_a_model_without_a_language_model_head_embeds_all_the_same(tmp_path, auto_class):
    folder = FIXTURES / "model" / "small_d32_l2_s130"
    whole = load_language_model(folder)
    auto_class.from_pretrained(folder).save_pretrained(tmp_path)
    whole.tokenizer.save_pretrained(tmp_path)
    headless = load_language_model(tmp_path, head=False)
    np.testing.assert_allclose(headless.embed(SEQUENCES), whole.embed(SEQUENCES), atol=1e-6)
    with pytest.raises(ValueError, match="has no likelihoods"):
        RECIPES["dart-eval"].check(headless)
    with pytest.raises(ValueError, match="no language-model head"):
        load_language_model(tmp_path)


def test_every_base_has_its_token(scorer):
    for sequence, tokens in zip(SEQUENCES, scorer.base_tokens(SEQUENCES), strict=True):
        assert len(tokens) == len(sequence)
        assert tokens[0] == scorer.before
        assert set(np.diff(tokens)) <= {0, 1}
        (_, own) = scorer.encode([sequence])
        assert own[0].nonzero().flatten().tolist() == np.unique(tokens).tolist()


def test_hidden_states_of_remote_code():
    """DNABERT-2 returns the last layer alone, as a tensor."""
    tensor = torch.zeros(1, 2, 3)
    assert hidden_states(type("Output", (), {"hidden_states": tensor}), -1, "m") is tensor
    with pytest.raises(ValueError, match="m: the model returns no hidden states"):
        hidden_states(object(), -1, "m")


def test_cosine_distance_and_order():
    one, two = np.array([[1.0, 0], [1, 1]]), np.array([[0.0, 2], [-1, -1]])
    assert cosine_distance(one, two) == pytest.approx([1.0, 2.0])
    assert name_order(0).tolist() == []
    assert name_order(130).tolist() == [*range(64), *range(128, 130), *range(64, 128)]
    assert sorted(name_order(10_000).tolist()) == list(range(10_000))
