"""Perplexity on held-out bases, against values worked out by hand."""

import json
import math
import sys

import numpy as np
import pytest

from evaluation_dart.models.markov import MarkovModel
from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNATokenizer
from trainer_scripts import perplexity
from trainer_scripts.perplexity import PerplexityArguments, block_means, measure


def test_resampled_blocks():
    # Block A has one window of 1 nat, block B two of 4: AA gives 1, AB (1 + 8) / 3, BB 4.
    draws = block_means(np.array([1.0, 4.0, 4.0]), np.array([7, 9, 9]), resamples=4000, seed=0)
    values, counts = np.unique(draws.round(12), return_counts=True)
    assert values.tolist() == [1, 3, 4]
    np.testing.assert_allclose(counts / 4000, [0.25, 0.5, 0.25], atol=0.03)


def test_models_are_resampled_alike():
    losses = np.random.default_rng(0).random(20)
    draws = block_means(np.stack([losses, losses + 1]), np.arange(20) // 3, resamples=50, seed=0)
    np.testing.assert_allclose(draws[1] - draws[0], 1)


@pytest.fixture
def genome(tmp_path):
    (tmp_path / "g.fa").write_text(">c\nAAACACGTNAAAAACC\n")
    return str(tmp_path / "g.fa")


@pytest.fixture
def markov(tmp_path):
    model = MarkovModel.fit(["AAC"], order=1, strength=1.0)
    model.save(tmp_path / "markov.safetensors")
    return str(tmp_path / "markov.safetensors")


def test_markov_models_by_hand(genome, markov, tmp_path):
    # Windows of four on the grid, without the one with N: AAAC, ACGT and AACC; the first base of each is not scored.
    record = measure(
        PerplexityArguments(
            genome, str(tmp_path / "p.json"), markov=markov, windows=3, length=4, block=4, resamples=100
        )
    )
    a, c, g, t = (2 + 0.25) / 4, (1 + 0.25) / 4, 0.25 / 4, 0.25 / 4
    order_0 = -np.log([a, a, c, c, g, t, a, c, c]).mean()
    aa, ac = (1 + a) / 3, (1 + c) / 3
    # After C and G nothing was seen, so order 0 stands in.
    order_1 = -np.log([aa, aa, ac, ac, g, t, aa, ac, c]).mean()
    assert record["scored_bases"] == 9
    assert record["models"]["Markov, order 0"]["nats_per_base"]["value"] == pytest.approx(order_0, rel=1e-12)
    assert record["models"]["Markov, order 0"]["perplexity"]["value"] == pytest.approx(math.exp(order_0), rel=1e-12)
    assert record["models"]["Markov, order 1"]["nats_per_base"]["value"] == pytest.approx(order_1, rel=1e-12)
    difference = record["models"]["Markov, order 1"]["nats_above_first"]
    assert difference["value"] == pytest.approx(order_1 - order_0, rel=1e-12)
    assert difference["low"] <= difference["value"] <= difference["high"]
    assert not difference["higher_is_better"]


def test_command(genome, markov, tmp_path, monkeypatch, capsys):
    folder = str(tmp_path / "model")
    HyenaDNAForCausalLM(HyenaDNAConfig(d_model=16, n_layer=1, max_seq_len=18)).save_pretrained(folder)
    HyenaDNATokenizer(model_max_length=18).save_pretrained(folder)
    output = tmp_path / "out" / "p.json"
    command = ["perplexity", "--genome", genome, "--model", folder, "--random", folder, "--markov", markov]
    monkeypatch.setattr(sys, "argv", [*command, "--windows", "3", "--length", "4", "--output", str(output)])
    perplexity.main()
    record = json.loads(output.read_text())
    assert list(record["models"]) == [folder, "random initialisation", "Markov, order 0", "Markov, order 1"]
    for name in (folder, "random initialisation"):  # small weights: nearly uniform over 16 tokens
        assert record["models"][name]["perplexity"]["value"] == pytest.approx(16, rel=0.2)
    assert f"written to {output}" in capsys.readouterr().out

    monkeypatch.setattr(sys, "argv", [*command, "--windows", "4", "--length", "4", "--output", str(output)])
    with pytest.raises(SystemExit):
        perplexity.main()
    assert "g.fa: only 3 windows of 4 bases without N, not 4\n" in capsys.readouterr().err
