"""Scores against DART-Eval's own code (tests/fixtures/task1), and adapters of other shapes of model."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
)

import modeling_hyenadna  # noqa: F401
from evaluation_dart.language_models import load_language_model
from evaluation_dart.likelihood import (
    RECIPES,
    causal_log_likelihood,
    masked_log_likelihood,
    reverse_complement,
    score_sequences,
)
from evaluation_dart.metrics import paired_likelihood_metrics

FIXTURES = Path(__file__).parents[1] / "fixtures"
TASK1 = FIXTURES / "task1"
MODELS = {
    "hyenadna_tiny1k": FIXTURES / "model" / "tiny1k_d128_l2_s1026",
    "bert_bpe": TASK1 / "bert_bpe",
    "bert_char": TASK1 / "bert_char",
}


def rows(path):
    with open(path) as file:
        return list(csv.DictReader(file, delimiter="\t"))


def golden_pairs():
    return {int(row["idx"]): (row["seq"], row["ctrl"]) for row in rows(TASK1 / "pairs_test.tsv")}


@pytest.mark.parametrize("name", MODELS)
def test_golden_scores(name):
    """All pairs of HyenaDNA; of the masked models, one pass a token, the first few."""
    golden = rows(TASK1 / f"zero_shot_{name}" / "scores.tsv")
    golden = golden if name.startswith("hyenadna") else golden[:3]
    pairs = golden_pairs()
    scorer = load_language_model(MODELS[name])
    scores = scorer.log_likelihood([s for row in golden for s in pairs[int(row["idx"])]], batch_size=128)
    expected = np.array([float(row[key]) for row in golden for key in ("seq_score", "ctrl_score")])
    assert np.abs(scores - expected).max() <= 2e-3


@pytest.mark.parametrize("name", MODELS)
def test_golden_metrics(name):
    scores = rows(TASK1 / f"zero_shot_{name}" / "scores.tsv")
    score, control = (np.array([float(row[key]) for row in scores]) for key in ("seq_score", "ctrl_score"))
    metrics = paired_likelihood_metrics(score, control, np.array(["chr5"] * len(scores)), np.arange(len(scores)))
    golden = json.loads((TASK1 / f"zero_shot_{name}" / "metrics.json").read_text())
    assert metrics["accuracy"]["value"] == golden["acc"]
    assert metrics["wilcoxon_p"]["value"] == pytest.approx(golden["pval"], rel=1e-3)
    assert metrics["wilcoxon_statistic"]["value"] == pytest.approx(golden["signed_rank_sum"], rel=1e-3)
    for key in ("mean_diff", "q05_diff", "q25_diff", "median_diff", "q75_diff", "q95_diff"):
        assert metrics[key]["value"] == pytest.approx(golden[key], abs=4e-3)


class Fixed:
    """A model whose logits are given by a table: row t of (T, V), whatever it reads."""

    def __init__(self, logits):
        self.table, self.calls = logits, []

    def __call__(self, input_ids):
        self.calls.append(input_ids.clone())
        return type("Output", (), {"logits": self.table.expand(len(input_ids), -1, -1)})


def test_causal_likelihood_by_hand():
    p = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])
    tokens = torch.tensor([[0, 1, 2]])
    own = torch.tensor([[True, True, False]])  # the last is a [SEP]
    total, count = causal_log_likelihood(Fixed(p.log()), {"input_ids": tokens}, own)
    assert total.item() == pytest.approx(math.log(0.25))  # token 1 given token 0; token 0 has nothing before it
    assert count.tolist() == [1]


def test_masked_likelihood_by_hand():
    p = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])
    tokens = torch.tensor([[0, 1, 2], [2, 2, 2]])
    own = torch.tensor([[True, True, False], [False, True, True]])
    model = Fixed(p.log())
    total, count = masked_log_likelihood(model, {"input_ids": tokens}, own, mask_token=1, rows=3)
    assert total.tolist() == pytest.approx([math.log(0.5) + math.log(0.2), math.log(0.7) + math.log(0.4)])
    assert count.tolist() == [2, 2]
    seen = torch.cat(model.calls).tolist()
    assert seen == [[1, 1, 2], [0, 1, 2], [2, 1, 2], [2, 2, 1]]  # one token masked at a time
    assert tokens.tolist() == [[0, 1, 2], [2, 2, 2]]


def kmer_tokenizer():
    vocabulary = {"<pad>": 0, "<mask>": 1, "<cls>": 2, "<unk>": 3}
    vocabulary |= {a + b: 4 + i for i, (a, b) in enumerate((a, b) for a in "ACGT" for b in "ACGT")}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(".."), "isolated")
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def test_causal_kmer_model_and_padding(tmp_path):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = MistralConfig(vocab_size=20, num_key_value_heads=2, max_position_embeddings=64, **sizes)
    MistralForCausalLM(config).save_pretrained(tmp_path)
    kmer_tokenizer().save_pretrained(tmp_path)
    scorer = load_language_model(tmp_path)
    assert scorer.kind == "causal"
    sequences = ["ACGTACGT", "ACGT", "TTGACCAGTA"]
    together = scorer.log_likelihood(sequences)
    assert together == pytest.approx([scorer.log_likelihood([s])[0] for s in sequences], abs=1e-4)
    means = scorer.log_likelihood(sequences, reduction="mean")
    assert means == pytest.approx(together / [3, 1, 4])  # tokens less the first
    with pytest.raises(ValueError, match=r"reads at most 64 tokens, but 200 bases are 100 tokens"):
        scorer.log_likelihood(["A" * 200])


def test_recipes():
    class Content:
        def log_likelihood(self, sequences, reduction="sum"):
            counts = np.array([s.count("A") + 10.0 * s.count("C") for s in sequences])
            return counts / [len(s) for s in sequences] if reduction == "mean" else counts

    assert reverse_complement("AACGTN") == "NACGTT"
    sequences = ["AAC", "GT"]
    assert score_sequences(Content(), sequences, RECIPES["dart-eval"]).tolist() == [12.0, 0.0]
    assert score_sequences(Content(), sequences, RECIPES["dart-eval-mean"]).tolist() == [4.0, 0.0]
    assert score_sequences(Content(), sequences, RECIPES["dart-eval-both-strands"]).tolist() == [6.0, 5.5]


def test_models_without_the_needed_head_are_refused(tmp_path):
    config = BertConfig(vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    kmer_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="saved as BertForSequenceClassification, not as"):
        load_language_model(tmp_path)
    config.architectures = ["BertForMaskedLM"]  # says it has a head, and has not
    config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="the checkpoint lacks cls"):
        load_language_model(tmp_path)
    with pytest.raises(OSError, match="missing"):
        load_language_model(tmp_path / "missing")
