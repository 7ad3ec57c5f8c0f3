"""What context is worth, against sums over the model's own logits, and by hand."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from datasets_dart import load_dart
from evaluation_dart import TASKS, evaluate, load_scorer
from evaluation_dart.models.checkpoints import register_models
from evaluation_dart.scoring.token_losses import LONGER, base_losses

FIXTURES = Path(__file__).parents[2] / "fixtures"
GENOME = FIXTURES / "genome" / "genome.fa"
MODEL, BERT = FIXTURES / "model" / "small_d32_l2_s130", FIXTURES / "task1" / "bert_char"
BPE = FIXTURES / "task1" / "bert_bpe"


@pytest.fixture(scope="module")
def losses_of():
    """-log p of all bases of a sequence but the first, from a pass of transformers' model."""
    register_models()
    model = AutoModelForCausalLM.from_pretrained(MODEL).eval()
    tokenizer = AutoTokenizer.from_pretrained(MODEL)

    def losses(sequence):
        ids = tokenizer(sequence, add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            log_p = model(ids).logits[0, :-1].double().log_softmax(-1)
        return -log_p.gather(1, ids[0, 1:, None])[:, 0].numpy()

    return losses


@pytest.fixture
def options(tmp_path):
    where = {"output": tmp_path / "results", "cache_dir": tmp_path / "cache"}
    return {"genome": GENOME, "length": 100, "trials": 3, "segment": 20, **where}


def rows_of(options):
    inputs = {name: value for name, value in options.items() if name != "output"}
    return load_dart("likelihood_by_position", split="test", **inputs)


def test_by_position_is_of_the_models_logits(losses_of, options):
    record = evaluate(str(MODEL), "likelihood_by_position", **options)
    rows = rows_of(options)
    losses = np.stack([losses_of(sequence) for sequence in rows["sequence"]])  # of bases 1 to 99
    for context in (1, 2, 16, 32, 64):
        expected = losses[:, context - 1 : 2 * context - 1].mean()
        assert record.metrics[f"nats_{context}"].value == pytest.approx(expected, abs=1e-5)
    worth = losses[:, 15:31].mean() - losses[:, 63:].mean()
    assert record.metrics["worth_64"].value == pytest.approx(worth, abs=1e-5)
    assert record.metrics["context_worth"] == record.metrics["worth_64"]
    assert "nats_128" not in record.metrics
    assert record.metrics["nats_1"].higher_is_better is False


def test_same_bases_are_read_with_less_before_them(losses_of, options):
    record = evaluate(str(MODEL), "likelihood_by_position", "same_bases", **options)
    rows = rows_of(options)
    for context in (1, 16, 64):
        expected = np.mean([losses_of(sequence[-20 - context :])[-20:] for sequence in rows["sequence"]])
        assert record.metrics[f"nats_given_{context}"].value == pytest.approx(expected, abs=1e-5)
    assert "nats_given_128" not in record.metrics  # of 100 bp, 80 come before the last 20
    assert record.metrics["context_worth"].n == 3


def test_metrics_by_hand():
    names = TASKS["likelihood_by_position"].settings["by_position"].columns[3:-1]
    table = pa.table({name: pa.nulls(12, pa.float64()) for name in names})
    columns = {"loss_16": np.full(12, 1.4), "loss_32": np.full(12, 1.3), "loss_64": np.arange(12) / 10}
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    table = table.append_column("chrom", [["chr1"] * 12]).append_column("start", [[n * 1_000_000 for n in range(12)]])
    found = TASKS["likelihood_by_position"].metrics(table)
    assert set(found) == {"context_worth", "nats_16", "nats_32", "nats_64", "worth_32", "worth_64"}
    assert found["worth_32"].value == pytest.approx(0.1)
    assert found["context_worth"].value == pytest.approx(1.4 - 0.55)
    reach = 2.200985160082949 * np.arange(12).std(ddof=1) / 10 / math.sqrt(12)  # t(11)
    assert found["worth_64"].high - found["worth_64"].value == pytest.approx(reach)


def test_what_a_model_cannot_read(options):
    with pytest.raises(ValueError, match="no metric has a value: context_worth is not defined: the windows are longer"):
        evaluate(str(MODEL), "likelihood_by_position", **(options | {"length": 1000}))
    record = evaluate(str(MODEL), "likelihood_by_position", "same_bases", **(options | {"length": 148}))
    assert record.predictions()["status"].to_pylist() == [LONGER] * 3
    assert record.predictions()["loss_given_64"].null_count == 0
    assert record.predictions()["loss_given_128"].null_count == 3
    with pytest.raises(ValueError, match="a masked model reads both sides of a base"):
        evaluate(str(BERT), "likelihood_by_position", **options)
    with pytest.raises(ValueError, match="window 50: choose the length"):
        evaluate(str(MODEL), "likelihood_by_position", window=50, **options)
    with pytest.raises(ValueError, match="length='10' must be a whole number of at least 21"):
        evaluate(str(MODEL), "likelihood_by_position", **(options | {"length": 10}))


def test_a_token_of_several_bases_shares_its_loss_out():
    """Of a model of BPE tokens, taken for a causal one: bases add up to tokens."""
    scorer = load_scorer(BPE)
    scorer.kind = "causal"
    sequence = "ACGTTGCATTAGGACCATCAGCTTGACGATACCGTGAACTGG"
    (losses,) = base_losses(scorer, [sequence])
    (tokens,) = scorer.base_tokens([sequence])
    ids = scorer.encode([sequence])[0]["input_ids"]
    with torch.no_grad():
        log_p = scorer.model(ids).logits[0].log_softmax(-1)
    for token in np.unique(tokens):
        expected = float(-log_p[token - 1, ids[0, token]]) if token else math.nan
        assert losses[tokens == token].sum() == pytest.approx(expected, rel=1e-4, nan_ok=True)
