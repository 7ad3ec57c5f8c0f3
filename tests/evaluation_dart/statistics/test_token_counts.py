"""The control by numbers of tokens; a random BPE model passes task 1, and the control says by what."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, trainers
from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

from evaluation_dart.models.language_model import LanguageModel
from evaluation_dart.recipes import RECIPES
from evaluation_dart.statistics import token_counts
from evaluation_dart.statistics.blocks import row_blocks
from evaluation_dart.tasks import TASKS, Job


def repetitive(rng, length):
    """Sequence with a few words in it, as real sequence has."""
    words = ["ATATAT", "GGCGGC", "TTTTTTTT", "CACACA"]
    return "".join(words[w] if w < 4 else "ACGT"[w - 4] for w in rng.integers(0, 8, length))[:length]


@pytest.fixture(scope="module")
def bpe():
    """A causal model with random weights, of a BPE vocabulary learned from repetitive sequence."""
    rng = np.random.default_rng(0)
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    special = ["<pad>", "<unk>"]
    trainer = trainers.BpeTrainer(
        vocab_size=64, special_tokens=special, initial_alphabet=[*"ACGT"], show_progress=False
    )
    tokenizer.train_from_iterator([repetitive(rng, 200) for _ in range(60)], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>")
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2,
    )  # fmt: skip
    return LanguageModel(MistralForCausalLM(config).eval(), fast, "causal", "random bpe", "random")


def pairs(n):
    rng = np.random.default_rng(1)
    elements = [repetitive(rng, 100) for _ in range(n)]
    controls = ["".join(rng.permutation([*own])) for own in elements]
    places = {"id": [*range(n)], "chrom": ["chr5"] * n, "start": [1_000_000 * row for row in range(n)]}
    return Dataset.from_dict(places | {"sequence": elements, "control": controls})


def test_a_random_bpe_model_passes_task_1_and_the_control_says_by_what(bpe):
    rows = pairs(60)
    task = TASKS["regulatory_elements"]
    setting = task.settings["zero_shot_likelihood"]
    columns = setting.score(bpe, rows, Job(RECIPES["dart-eval"], None, 16))(range(60))
    tokens = [len(bpe.tokenizer(own)["input_ids"]) for own in [*rows["sequence"], *rows["control"]]]
    assert [*columns["tokens"], *columns["control_tokens"]] == tokens
    predictions = pa.table(dict(columns))
    found = task.metrics(predictions, "fixed", "zero_shot_likelihood")
    assert found["accuracy"].value > 0.9
    assert found["accuracy_of_fewer_tokens"].value > 0.9
    assert found["wilcoxon_p"].value < 1e-3
    assert "no model" in found["accuracy_of_fewer_tokens"].method
    permuted = task.metrics(setting.permute(predictions, np.random.default_rng(0)), "fixed", "zero_shot_likelihood")
    assert abs(permuted["accuracy_of_fewer_tokens"].value - 0.5) < 0.2
    without = task.metrics(predictions.drop_columns(["tokens", "control_tokens"]), "fixed", "zero_shot_likelihood")
    assert {*found} - {*without} == {"accuracy_of_fewer_tokens"}


def test_pairs_by_hand():
    found = token_counts.of_pairs(np.array([3, 5, 4, 4]), np.array([4, 4, 4, 9]), row_blocks(4))
    assert found["accuracy_of_fewer_tokens"].value == (1 + 0 + 0.5 + 1) / 4


def test_motifs_by_hand(bpe):
    """Two motifs in three backgrounds, on one strand: motif, then shuffle."""
    counts = {"m1": [(3, 4), (5, 4), (4, 4)], "m2": [(1, 2), (1, 2), (1, 2)]}
    rows = [
        (background, motif, "+", kind, tokens)
        for motif, own in counts.items()
        for background, both in enumerate(own)
        for kind, tokens in zip(("motif", "shuffled"), both, strict=True)
    ]
    columns = [np.array(own) for own in zip(*rows, strict=True)]
    found = token_counts.of_motifs(*columns)["accuracy_of_fewer_tokens"]
    assert found.value == pytest.approx((0.5 + 1) / 2)
    assert found.n == 2


def test_trials_of_task_2_carry_their_numbers_of_tokens(bpe):
    rng = np.random.default_rng(2)
    trials = [
        (b, m, s, kind)
        for b in range(2)
        for s in ("fwd", "rev")
        for kind, m in (("raw", None), ("motif", "m"), ("shuffled", "m"))
    ]
    names = ("background", "motif", "strand", "kind")
    rows = Dataset.from_dict(
        dict(zip(names, map(list, zip(*trials, strict=True)), strict=True))
        | {"id": [*range(12)], "sequence": [repetitive(rng, 60) for _ in range(12)]}
    )
    task = TASKS["motif_footprinting"]
    columns = task.settings["zero_shot_likelihood"].score(bpe, rows, Job(RECIPES["dart-eval"], None, 16))(range(12))
    assert columns["tokens"].tolist() == [len(bpe.tokenizer(own)["input_ids"]) for own in rows["sequence"]]
    assert "accuracy_of_fewer_tokens" in task.metrics(pa.table(dict(columns)), "fixed", "zero_shot_likelihood")
