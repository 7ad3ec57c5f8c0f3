"""Perplexity on held-out bases, against values worked out by hand."""

import json
import math
import sys

import numpy as np
import pytest
from scipy import stats

from evaluation_dart.models.markov import MarkovModel
from evaluation_dart.statistics.blocks import column_blocks
from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNATokenizer
from trainer_scripts import perplexity
from trainer_scripts.perplexity import PerplexityArguments, measure, metrics_of


def test_windows_of_one_block_are_alike():
    """Ten blocks of two equal windows: Student's interval of ten means; the second model is 1 nat above the first."""
    nats = np.repeat(np.random.default_rng(0).random(10), 2)
    blocks = column_blocks(np.arange(20) // 2, "blocks")
    first, second = (metrics_of(own, nats, blocks, 99) for own in (nats, nats + 1))
    low, high = stats.t.interval(0.95, 9, nats[::2].mean(), nats[::2].std(ddof=1) / np.sqrt(10))
    assert (first["nats_per_base"].low, first["nats_per_base"].high) == pytest.approx((low, high))
    assert (first["perplexity"].low, first["perplexity"].high) == pytest.approx((np.exp(low), np.exp(high)))
    assert second["nats_above_first"].value == pytest.approx(1)
    assert second["nats_above_first"].n == 99
    assert second["nats_above_first"].method.startswith("no interval: every block says the same")


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
    record = measure(PerplexityArguments(genome, str(tmp_path / "p.json"), markov=markov, windows=3, length=4, block=4))
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
    assert difference["method"] == "no interval: 3 4-bp blocks, fewer than 10, paired"
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
