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
from datasets_dart.differential import Differential, top_elements
from evaluation_dart.models.language_model import LanguageModel, load_language_model
from evaluation_dart.scoring.embeddings import cosine_distance, name_order, pool
from evaluation_dart.statistics.blocks import row_blocks
from evaluation_dart.statistics.intervals import normal_interval
from evaluation_dart.statistics.metrics import (
    PUBLISHED_ELEMENTS,
    activity_estimates,
    motif_metrics,
    variant_estimates,
)
from evaluation_dart.statistics.scores import auroc
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


def test_coverage_of_published_intervals():
    """How often they hold the true accuracy of a fifth of the pairs, over all outcomes by their probability."""
    truth, published = 0.876, 2 * PUBLISHED_ELEMENTS
    pairs = PUBLISHED_ELEMENTS // 5
    spread = (truth * (1 - truth) / pairs) ** 0.5
    wins = np.arange(int(pairs * (truth - 8 * spread)), int(pairs * (truth + 8 * spread)))
    probability = stats.binom.pmf(wins, pairs, truth)

    def coverage(n):
        half = 1.959964 * np.sqrt(wins / pairs * (1 - wins / pairs) / n)
        return probability[np.abs(wins / pairs - truth) <= half].sum()

    assert coverage(pairs) == pytest.approx(0.95, abs=0.001)
    assert coverage(published) == pytest.approx(0.4646, abs=0.002)  # of 1.96 / sqrt(10) standard errors
    assert coverage(PUBLISHED_ELEMENTS) == pytest.approx(0.6192, abs=0.002)  # of 1.96 / sqrt(5)
    low, high = normal_interval(truth, published)
    assert (high - low) / (2 * 1.959964 * spread) == pytest.approx(10**-0.5, rel=1e-3)  # 3.2 times too narrow


@pytest.mark.parametrize("method", ["lora", "probing"])
def test_rows_are_in_the_order_of_the_file(elements, method):
    """In protocol paper a training reads the lines of the file in their order, epoch after epoch; "fixed" does not."""
    lines = np.array(elements["paper"]["train"]["id"])  # numbers of the file's lines
    read = {}
    for protocol in ("paper", "fixed"):
        training = choices(method, "pairs", "hyenadna", protocol)
        none = np.zeros(len(lines), bool)
        orders = [np.concatenate(epoch_batches(none.astype(int), none, training, epoch)) for epoch in range(2)]
        read[protocol] = [lines[order].tolist() for order in orders]
    assert read["paper"] == [sorted(lines.tolist())] * 2
    one, two = read["fixed"]
    assert one != two
    assert sorted(one) == sorted(two) == read["paper"][0]


def test_a_probe_summed_over_more_tokens_than_it_was_trained_on(monkeypatch):
    """In protocol paper the head of task 4's Caduceus reads two tokens; task 5 gives the same head all of them."""
    scorer = load_language_model(HYENADNA, device="cpu")
    monkeypatch.setattr(scorer.model.config, "model_type", "caduceus", raising=False)
    bases = 1000  # that this model takes; the original's 2,114 differ in nothing else
    batch = ["".join(row) for row in np.random.default_rng(0).choice(list("ACGT"), size=(1, bases))]
    torch.manual_seed(0)
    hidden = torch.randn(1, bases + 1, 8)
    changed = hidden.clone()
    changed[:, bases // 2] += 1.0
    head = ProbingHead(8, 1, kernel=choices("probing", "counts", "caduceus", "paper").kernel)
    read = {
        task: torch.from_numpy(tokens_read(scorer, batch, task, "paper", bases + 1))
        for task in ("chromatin_activity", "variant_effects")
    }
    assert {task: tokens.shape[1] for task, tokens in read.items()} == {
        "chromatin_activity": 2, "variant_effects": bases + 1
    }  # fmt: skip
    trained, applied = (lambda states, task=task: head(per_base(states, read[task])) for task in read)
    assert torch.equal(trained(changed), trained(hidden))
    assert not torch.equal(applied(changed), applied(hidden))
    with torch.no_grad():
        same = hidden[:, :1].expand(-1, bases + 1, -1)
        sums = [(head(per_base(same, tokens)) - head.fc1.bias).abs().item() for tokens in read.values()]
    assert sums[1] > bases / 10 * sums[0]


def test_smallest_p_without_a_sign():
    """Of six elements with the smallest p, three are closed in the cell line: the original takes them all."""
    fold_change = np.array([2.0, -3.0, 2.5, -2.0, 3.0, -4.0, 2.2, 2.1])
    adjusted = np.array([1e-9, 2e-9, 3e-9, 4e-9, 5e-9, 6e-9, 1e-5, 2e-5])
    mine = Differential(np.ones(8), fold_change, np.ones(8), fold_change, adjusted, adjusted)
    none = mine._replace(adjusted=np.full(8, np.nan))
    paper, fixed = (
        np.flatnonzero(top_elements({"K562": mine, "H1ESC": none}, protocol, top=6) == 0).tolist()
        for protocol in ("paper", "fixed")
    )
    assert paper == [0, 1, 2, 3, 4, 5]
    assert fixed == [0, 2, 4, 6, 7]
    assert (fold_change[paper] < 0).sum() == 3


def test_labels_by_row_and_vectors_by_index():
    """Labels of the rows in an index, in the table's order, beside vectors in the index's order."""
    labels = np.array(["a", "b", "c", "d", "e"])

    def share_paired(index):
        by_row = [label for row, label in enumerate(labels) if row in index]
        return np.mean(labels[index] == by_row)

    assert share_paired(np.array([0, 2, 4])) == 1
    assert share_paired(np.array([4, 0, 2])) == 0


def test_losses_depend_on_the_batch_size():
    """A sum of batch means over n, and a choice between two epochs that it turns round."""

    def original(losses, batch):
        return sum(part.mean() for part in np.split(losses, range(batch, len(losses), batch))) / len(losses)

    even = np.ones(1024)
    assert [original(even, batch) for batch in (256, 1024)] == [4 / 1024, 1 / 1024]
    first, second = np.ones(1025), np.r_[np.full(1024, 0.9), 2.0]  # a last batch of one row
    assert second.mean() < first.mean()
    assert original(second, 512) > original(first, 512)


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
    signed, unsigned = (
        variant_estimates(distance, None, effect, row_blocks(4), directed=False, protocol=protocol)["pearson"].value
        for protocol in ("paper", "fixed")
    )
    assert signed < 0
    assert unsigned == pytest.approx(1.0)

    prediction, counts = np.array([1.0, 1.0, 2.0]), np.array([2.0, 1.0, 3.0])
    category = np.array(["peaks"] * 3)
    ranks = [
        activity_estimates(prediction, counts, category, row_blocks(3), p)["spearman_peaks"].value
        for p in ("paper", "fixed")
    ]
    assert ranks == pytest.approx([0.5, 0.8660254])
