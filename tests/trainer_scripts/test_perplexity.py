"""Perplexity on held-out bases, against values worked out by hand."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pysam import FastaFile
from scipy import stats

from evaluation_dart.models.loading import load_scorer
from evaluation_dart.models.markov import MarkovModel
from evaluation_dart.statistics.blocks import column_blocks
from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNATokenizer
from trainer_scripts import perplexity
from trainer_scripts.perplexity import PerplexityArguments, measure, metrics_of

FIXTURES = Path(__file__).parents[1] / "fixtures"


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


HYENADNA = FIXTURES / "model" / "small_d32_l2_s130"


def fixed_ranges(tmp_path, bed="chr5\t69000\t70500\n", **options):
    """1,500 bases with a run of 600 N, in 24 windows, the last of 28 bases."""
    (tmp_path / "ranges.bed").write_text(bed)
    genome = str(FIXTURES / "genome" / "genome.fa")
    return PerplexityArguments(
        genome,
        str(tmp_path / "p.json"),
        model=[str(HYENADNA)],
        ranges=str(tmp_path / "ranges.bed"),
        length=64,
        **options,
    )


def test_fixed_ranges_by_protocol_paper_are_the_originals(tmp_path):
    """HG38FixedDataset of HazyResearch/hyena-dna at d553021, the official port: exp of the mean of 911 losses."""
    record = measure(fixed_ranges(tmp_path, protocol="paper"))
    assert (record["windows"], record["scored_tokens"]) == (24, 911)
    assert record["models"][str(HYENADNA)]["perplexity"]["value"] == pytest.approx(30.26335834, rel=1e-4)


def test_fixed_ranges_are_cut_into_windows_end_to_end(tmp_path):
    record = measure(fixed_ranges(tmp_path, block=64))
    found = record["models"][str(HYENADNA)]
    loaded = load_scorer(str(HYENADNA))
    bases = str(FastaFile(str(FIXTURES / "genome" / "genome.fa")).fetch("chr5", 69000, 70500)).upper()
    total, count = {}, {}
    for start in range(0, 1500, 64):
        window = bases[start : start + 64]
        ids = torch.tensor([[{"A": 7, "C": 8, "G": 9, "T": 10, "N": 11}[base] for base in window]])
        with torch.no_grad():
            losses = -loaded.model(input_ids=ids).logits[0, :-1].log_softmax(-1)[range(len(window) - 1), ids[0, 1:]]
        kept = losses[ids[0, 1:] != 11].double()
        if len(kept):
            block = (69000 + start) // 64
            total[block] = total.get(block, 0) + kept.sum().item()
            count[block] = count.get(block, 0) + len(kept)
    nats, n = sum(total.values()), sum(count.values())
    assert record["scored_bases"] == found["perplexity"]["n"] == n
    assert found["nats_per_base"]["value"] == pytest.approx(nats / n, rel=1e-5)
    without = np.array([(nats - total[block]) / (n - count[block]) for block in total])  # the jackknife over blocks
    error = np.sqrt((len(without) - 1) / len(without) * ((without - without.mean()) ** 2).sum())
    half = (found["nats_per_base"]["high"] - found["nats_per_base"]["low"]) / 2
    assert 1.96 * error < half < 3 * error  # Student's t of fewer degrees of freedom
    sample = measure(fixed_ranges(tmp_path, windows=5))
    assert sample["windows"] == 5


def test_fixed_ranges_in_one_command(tmp_path, monkeypatch, capsys):
    arguments = fixed_ranges(tmp_path)
    words = ["--genome", arguments.genome, "--model", str(HYENADNA), "--random", str(HYENADNA), "--length", "64"]
    monkeypatch.setattr(sys, "argv", ["perplexity", *words, "--ranges", arguments.ranges, "--output", arguments.output])
    perplexity.main()
    record = json.loads((tmp_path / "p.json").read_text())
    assert (record["ranges"], list(record["models"])) == ("ranges.bed", [str(HYENADNA), "random initialisation"])
    capsys.readouterr()
    for more, message in (
        (["--ranges", "hyenadna"], "genome.fa: ranges: there is no contig 'chr14'"),
        (["--ranges", arguments.ranges, "--markov", "m"], "a Markov model is scored on a sample of windows without N"),
        (["--protocol", "paper"], "protocol paper is of fixed ranges"),
    ):
        monkeypatch.setattr(sys, "argv", ["perplexity", *words, *more, "--output", str(tmp_path / "other.json")])
        with pytest.raises(SystemExit):
            perplexity.main()
        assert message in capsys.readouterr().err


def test_the_fixed_ranges_of_pretraining_are_of_hg38(tmp_path):
    (tmp_path / "g.fa").write_text(">chr14\nACGT\n>chrX\nACGT\n")
    with pytest.raises(ValueError, match="chr14 has 4 bases, not 106,677,047: not hg38"):
        measure(PerplexityArguments(str(tmp_path / "g.fa"), "p.json", model=[str(HYENADNA)], ranges="hyenadna"))
