"""One test for each page of docs/audit: what the original computes, what is right, and that they differ."""

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

import modeling_hyenadna  # noqa: F401
from datasets_dart import load_dart
from evaluation_dart.models.language_model import LanguageModel, load_language_model
from evaluation_dart.scoring.embeddings import cosine_distance, name_order, pool
from evaluation_dart.statistics.intervals import exact_interval, normal_interval
from evaluation_dart.statistics.metrics import (
    PUBLISHED_ELEMENTS,
    activity_metrics,
    auroc,
    motif_metrics,
    paired_likelihood_metrics,
    variant_metrics,
)
from evaluation_dart.training.order import epoch_batches
from evaluation_dart.training.paper_choices import choices
from evaluation_dart.training.probing import ProbingHead, per_base, tokens_read

FIXTURES = Path(__file__).parents[1] / "fixtures"
HYENADNA = FIXTURES / "model" / "tiny1k_d128_l2_s1026"


@pytest.fixture(scope="module")
def elements(tmp_path_factory):
    """Task 1 in both protocols."""
    folder = tmp_path_factory.mktemp("task1")
    genome = folder / "genome.fa"
    genome.write_bytes((FIXTURES / "genome" / "genome.fa").read_bytes())
    inputs = {"genome": genome, "elements": FIXTURES / "task1" / "ccre.bed", "cache_dir": folder}
    return {protocol: load_dart("regulatory_elements", protocol, **inputs) for protocol in ("paper", "fixed")}


def test_scrambled_order():
    """Embeddings by which every motif should score 1: a motif moves the background's vector further than a shuffle."""
    rng = np.random.default_rng(0)
    motifs, backgrounds = 40, 50
    columns = {"background": [], "motif": [], "strand": [], "kind": [], "vector": []}
    for background in range(backgrounds):
        bare = rng.normal(size=16)
        rows = [("", "forward", "raw", 0.0)]
        for motif in range(motifs):
            rows += [(f"m{motif}", "forward", "motif", 0.5), (f"m{motif}", "forward", "shuffled", 0.1)]
        for name, strand, kind, shift in rows:
            vector = bare + shift * rng.normal(size=16) / 4
            values = (background, name, strand, kind, vector)
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
    background, motif, strand, kind, vectors = (np.array(column) for column in columns.values())

    def accuracy(order):
        ordered = vectors[order]
        raw = {background[i]: ordered[i] for i in np.flatnonzero(kind == "raw")}
        distance = cosine_distance(ordered, np.array([raw[number] for number in background]))
        return motif_metrics(background, motif, strand, kind, distance, distances=True).accuracy

    assert accuracy(np.arange(len(vectors))).mean() > 0.95
    assert abs(accuracy(name_order(len(vectors))).mean() - 0.5) < 0.08


def test_two_token_gather(monkeypatch):
    """In protocol paper a head reads two tokens of Caduceus: all others may change without an effect."""
    scorer = load_language_model(HYENADNA, device="cpu")
    monkeypatch.setattr(scorer.model.config, "model_type", "caduceus", raising=False)
    batch = ["".join(row) for row in np.random.default_rng(0).choice(list("ACGT"), size=(2, 350))]
    torch.manual_seed(0)
    hidden = torch.randn(2, 351, 8)
    changed = hidden.clone()
    changed[:, 1:350] = torch.randn(2, 349, 8)
    head = ProbingHead(8, 1, kernel=choices("probing", "pairs", "caduceus", "paper").kernel)
    moved = {}
    for protocol in ("paper", "fixed"):
        tokens = torch.from_numpy(tokens_read(scorer, batch, "regulatory_elements", protocol, 351))
        moved[protocol] = (head(per_base(changed, tokens)) - head(per_base(hidden, tokens))).abs().max().item()
    assert moved["paper"] == 0
    assert moved["fixed"] > 0.01


@pytest.fixture(scope="module")
def six_mers():
    vocabulary = {"<pad>": 0, "<mask>": 1, "<cls>": 2, "<unk>": 3}
    pieces = [*("".join(kmer) for kmer in itertools.product("ACGT", repeat=6)), *"ACGTN"]
    vocabulary |= {piece: 4 + i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[ACGT]{6}|."), "isolated")
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>", "cls_token": "<cls>"}
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    from tokenizers.processors import TemplateProcessing

    wrapped.backend_tokenizer.post_processor = TemplateProcessing(single="<cls> $A", special_tokens=[("<cls>", 2)])
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    return LanguageModel(BertForMaskedLM(config), wrapped, "masked", "six-mers", "0")


def test_variant_beyond_the_map(six_mers):
    """A map of as many bases as there are tokens ends long before the variant."""
    sequence = "".join(np.random.default_rng(0).choice(list("ACGT"), 2114))
    (token_of,) = six_mers.base_tokens([sequence])
    tokens = token_of[-1] + 1
    assert tokens == 355  # with <cls>
    read = np.unique(token_of[:tokens])
    assert (read[0], read[-1]) == (1, 60)
    assert token_of[1057] == 177
    assert 177 not in read


def test_unknown_bases(elements):
    """An N is an A in protocol paper, and nothing else differs; the shuffles differ where an element has one."""
    differing = 0
    for split in elements["paper"]:
        for paper, fixed in zip(elements["paper"][split], elements["fixed"][split], strict=True):
            assert paper["id"] == fixed["id"]
            assert "N" not in paper["sequence"] + paper["control"]
            differing += "N" in fixed["sequence"]
            if not paper["reverse_complement"]:
                assert fixed["sequence"].replace("N", "A") == paper["sequence"]
    assert differing > 20


def test_windows_of_350_bp(elements):
    for row in elements["fixed"]["test"]:
        assert len(row["sequence"]) == row["end"] - row["start"] == 350
        middle = (row["element_start"] + row["element_end"]) / 2
        assert abs(middle - (row["start"] + row["end"]) / 2) <= 1


def test_is_causal_is_not_the_label():
    with open(FIXTURES / "task5" / "Afr.CaQTLS.tsv") as file:
        table = list(csv.DictReader(file, delimiter="\t"))
    label, used = (np.array([row[name] == "True" for row in table]) for name in ("label", "IsUsed"))
    score = np.abs([float(row["chrombpnet.encsr000emt.variantscore.logfc"]) for row in table])
    assert (label != used).mean() > 0.3
    assert auroc(score, label) > 0.65
    assert abs(auroc(score, used) - 0.5) < 0.15


def test_coverage_of_intervals():
    """How often an interval from 500 pairs holds the true accuracy, over all outcomes by their probability."""
    truth, n = 0.88, 500
    wins = np.arange(n + 1)
    probability = stats.binom.pmf(wins, n, truth)

    def coverage(intervals):
        return probability[[low <= truth <= high for low, high in intervals]].sum()

    assert coverage([exact_interval(int(w), n) for w in wins]) >= 0.95
    assert coverage([normal_interval(w / n, 2 * PUBLISHED_ELEMENTS) for w in wins]) <= 0.06
    rng = np.random.default_rng(0)
    where = np.full(n, "chr5"), np.arange(n) * 100_000
    metric = paired_likelihood_metrics(rng.normal(1, 1, n), np.zeros(n), *where, "paper")["accuracy"]
    assert "too narrow" in metric["method"]


def test_rows_are_in_genome_order(elements):
    """In protocol paper fine-tuning reads the lines of the file in their order, epoch after epoch; "fixed" does not."""
    lines = np.array(elements["paper"]["train"]["id"])  # numbers of the file's lines, which published files sort
    read = {}
    for protocol in ("paper", "fixed"):
        training = choices("lora", "pairs", "hyenadna", protocol)
        none = np.zeros(len(lines), bool)
        orders = [np.concatenate(epoch_batches(none.astype(int), none, training, epoch)) for epoch in range(2)]
        read[protocol] = [lines[order].tolist() for order in orders]
    assert read["paper"] == [sorted(lines.tolist())] * 2
    one, two = read["fixed"]
    assert one != two
    assert sorted(one) == sorted(two) == read["paper"][0]


def test_size_of_stored_embeddings():
    """A hidden state a token, as the original stores, of twice the 128 channels here; and what a run keeps of it."""
    scorer = load_language_model(HYENADNA, device="cpu")
    batch = ["ACGTTGCAAC" * 35] * 3
    inputs, _ = scorer.encode(batch)
    with torch.inference_mode():
        states = scorer.model(**inputs, output_hidden_states=True).hidden_states[-1]
    kept = scorer.embed(batch)
    assert (states.shape, kept.shape) == ((3, 351, 128), (3, 128))
    assert 2 * (2 * PUBLISHED_ELEMENTS) * states[0].nbytes / 1e12 == pytest.approx(1.69, abs=0.005)
    assert (2 * PUBLISHED_ELEMENTS) * kept[0].nbytes / 1e9 == pytest.approx(2.4, abs=0.01)


def test_smaller_defects():
    tie = {"background": np.zeros(2, int), "motif": np.array(["m", "m"]), "strand": np.array(["forward"] * 2)}
    tie |= {"kind": np.array(["motif", "shuffled"]), "score": np.array([-1.0, -1.0])}
    raw = {"background": 0, "motif": "", "strand": "forward", "kind": "raw", "score": -2.0}
    trials = {name: np.append(tie[name], raw[name]) for name in tie}
    assert motif_metrics(**trials, protocol="paper").accuracy.tolist() == [1.0]
    assert motif_metrics(**trials, protocol="fixed").accuracy.tolist() == [0.0]

    hidden, own = torch.tensor([[[1.0], [2.0], [9.0], [50.0]]]), torch.tensor([[True, True, False, False]])
    assert [pool(hidden, own, way).item() for way in ("mean", "mean_with_next", "mean_all")] == [1.5, 4.0, 15.5]

    distance, effect = np.array([1.0, 0.5, 2.0, 1.5]), np.array([-1.0, 0.5, -2.0, 1.5])
    place = np.full(4, "chr5"), np.arange(4)
    signed, unsigned = (
        variant_metrics(distance, None, effect, *place, directed=False, protocol=protocol)["pearson"]["value"]
        for protocol in ("paper", "fixed")
    )
    assert signed < 0
    assert unsigned == pytest.approx(1.0)

    prediction, counts = np.array([1.0, 1.0, 2.0]), np.array([2.0, 1.0, 3.0])
    category = np.array(["peaks"] * 3)
    ranks = [
        activity_metrics(prediction, counts, category, protocol=p)["spearman_peaks"]["value"]
        for p in ("paper", "fixed")
    ]
    assert ranks == pytest.approx([0.5, 0.8660254])
