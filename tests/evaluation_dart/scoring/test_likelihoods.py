"""Scores against DART-Eval's own code (tests/fixtures/task1), and adapters of other shapes of model."""

import csv
import itertools
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    EsmConfig,
    EsmForMaskedLM,
    EsmTokenizer,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
)

import modeling_hyenadna  # noqa: F401
from evaluation_dart.models.language_model import added_tokens, load_language_model
from evaluation_dart.recipes import RECIPES
from evaluation_dart.scoring.likelihoods import (
    causal_log_likelihood,
    masked_log_likelihood,
    reverse_complement,
    score_sequences,
)
from evaluation_dart.statistics.blocks import row_blocks
from evaluation_dart.statistics.estimates import metrics_of
from evaluation_dart.statistics.metrics import paired_likelihood_estimates

FIXTURES = Path(__file__).parents[2] / "fixtures"
TASK1 = FIXTURES / "task1"
MODELS = {
    "hyenadna_tiny1k": FIXTURES / "model" / "tiny1k_d128_l2_s1026",
    "bert_bpe": TASK1 / "bert_bpe",
    "bert_char": TASK1 / "bert_char",
}
TINY = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


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
    metrics = metrics_of(paired_likelihood_estimates(score, control, row_blocks(len(scores)), "paper"))
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
    config = MistralConfig(vocab_size=20, num_key_value_heads=2, max_position_embeddings=64, **TINY)
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


def test_special_tokens_of_the_nucleotide_transformer(tmp_path):
    """[CLS] and 6-mers, the rest as single bases, no [EOS]: all but [CLS] is scored, the last base too."""
    kmers = ["".join(kmer) for kmer in itertools.product("ACGT", repeat=6)]
    vocabulary = ["<unk>", "<pad>", "<mask>", "<cls>", *kmers, *"ATCGN"]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary))
    tokenizer = EsmTokenizer(str(tmp_path / "vocab.txt"), eos_token=None, bos_token=None)
    assert added_tokens(tokenizer) == (1, 0)
    tokenizer.save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = EsmConfig(vocab_size=len(vocabulary), mask_token_id=2, pad_token_id=1, **TINY)
    model = EsmForMaskedLM(config)
    parts = {name: value for name, value in model.state_dict().items() if "contact_head" not in name}
    model.save_pretrained(tmp_path, state_dict=parts)
    scorer = load_language_model(tmp_path)
    inputs, own = scorer.encode(["ACGTACGTAC", "ACGTAC"])
    first, second = inputs["input_ids"].tolist()
    assert first == [3, 4 + kmers.index("ACGTAC"), *(vocabulary.index(base, 4100) for base in "GTAC")]
    assert second == first[:2] + [1] * 4
    assert own.tolist() == [[False, *[True] * 5], [False, True, *[False] * 4]]
    assert scorer.forward_passes(["ACGTACGTAC", "ACGTAC"]) == 6
    together = scorer.log_likelihood(["ACGTACGTAC", "ACGTAC"])
    assert together == pytest.approx([scorer.log_likelihood([s])[0] for s in ("ACGTACGTAC", "ACGTAC")], abs=1e-5)


@pytest.mark.parametrize(("name", "added"), [("hyenadna_tiny1k", (0, 1)), ("bert_bpe", (1, 1)), ("bert_char", (0, 1))])
def test_special_tokens_and_masks(name, added):
    scorer = load_language_model(MODELS[name])
    assert (scorer.before, scorer.after) == added
    assert scorer.takes_mask == (name != "bert_char")
    _, own = scorer.encode(["ACGTNACGTA"])
    assert own.sum() == own.shape[1] - sum(added)


def test_language_models_that_are_code_of_their_repository(tmp_path, monkeypatch):
    """GENA-LM: the masked model is declared as AutoModel, and transformers' own BERT would load in its place."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    folder = tmp_path / "gena"
    BertForMaskedLM(BertConfig(vocab_size=20, **TINY)).save_pretrained(folder)
    kmer_tokenizer().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "modeling_gena.GenaForMaskedLM"}
    (folder / "config.json").write_text(json.dumps(config))
    code = folder / "modeling_gena.py"
    code.write_text("from transformers import BertForMaskedLM\n\n\nclass GenaForMaskedLM(BertForMaskedLM):\n    pass\n")
    with pytest.raises(
        ValueError, match=r"code of its repository \(modeling_gena.GenaForMaskedLM\).*trust_remote_code"
    ):
        load_language_model(folder)
    scorer = load_language_model(folder, trust_remote_code=True)
    assert type(scorer.model).__name__ == "GenaForMaskedLM"
    assert scorer.kind == "masked"
    assert np.isfinite(scorer.log_likelihood(["ACGTAC"])).all()
    changed = tmp_path / "changed"
    shutil.copytree(folder, changed)
    (changed / code.name).write_text(code.read_text() + "# another model\n")
    assert load_language_model(changed, trust_remote_code=True).revision != scorer.revision
    code.write_text("import a_package_that_is_not_here\n" + code.read_text())
    with pytest.raises(ValueError, match="a_package_that_is_not_here"):
        load_language_model(folder, trust_remote_code=True)


def test_models_of_the_hub_are_known_by_their_commit(tmp_path, monkeypatch):
    """From a cache as the Hub's client leaves it; main stands for one commit, and another is there too."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    main, older = "0123456789abcdef" * 2 + "01234567", "fedcba9876543210" * 2 + "fedcba98"
    repository = tmp_path / "models--someone--hyenadna"
    shutil.copytree(MODELS["hyenadna_tiny1k"], repository / "snapshots" / main)
    shutil.copytree(MODELS["hyenadna_tiny1k"], repository / "snapshots" / older)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(main)
    assert load_language_model("someone/hyenadna").revision == main
    assert load_language_model("someone/hyenadna", revision="main").revision == main
    assert load_language_model("someone/hyenadna", revision=older).revision == older
    with pytest.raises(OSError, match=r"someone/else: .* in the cache"):
        load_language_model("someone/else")


def test_damaged_checkpoints_and_wrong_options_are_refused(tmp_path):
    def copy(name):
        return Path(shutil.copytree(MODELS["hyenadna_tiny1k"], tmp_path / name))

    damaged = copy("damaged")
    weights = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(weights[:1000])
    wrong = copy("wrong")
    config = (wrong / "config.json").read_text()
    (wrong / "config.json").write_text(config.replace('"n_layer": 2', '"n_layer": "two"'))
    other = copy("other")
    (other / "config.json").write_text(config.replace('"d_model": 128', '"d_model": 64'))
    for arguments, message in [
        ({"name": damaged}, "damaged: .*header"),
        ({"name": wrong}, "wrong: .*n_layer"),
        ({"name": other}, r"other: weights of another shape.* hyena.* in the checkpoint, \(.*64.*\) by the config"),
        ({"name": MODELS["bert_bpe"], "device": "abacus"}, "device 'abacus' cannot be used"),
        ({"name": MODELS["bert_bpe"], "dtype": "float31"}, "dtype"),
        ({"name": MODELS["bert_bpe"], "revision": "v1"}, "bert_bpe: a folder has no revision 'v1'"),
    ]:
        with pytest.raises(ValueError, match=message):
            load_language_model(**arguments)


def test_out_of_memory_says_what_to_do(monkeypatch):
    scorer = load_language_model(MODELS["hyenadna_tiny1k"])

    def exhausted(**inputs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(scorer.model, "forward", exhausted)
    monkeypatch.setattr(type(scorer), "device", torch.device("cpu"))
    with pytest.raises(
        ValueError, match=r"64 rows of 5 tokens do not fit into memory on cpu: take a smaller batch size"
    ):
        scorer.log_likelihood(["ACGT"])


def test_models_without_the_needed_head_are_refused(tmp_path):
    config = BertConfig(vocab_size=20, **TINY)
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    kmer_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="saved as BertForSequenceClassification, not as"):
        load_language_model(tmp_path)
    config.architectures = ["BertForMaskedLM"]  # says it has a head, and has not
    config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"the checkpoint lacks cls\.[a-zA-Z., ]*bias$"):
        load_language_model(tmp_path)
    config.auto_map = {"AutoModelForMaskedLM": "bert_layers.BertForMaskedLM"}  # as DNABERT-2
    config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"the checkpoint lacks cls.*code of its own.*\(trust_remote_code\)"):
        load_language_model(tmp_path)
    for name in ("missing", "config.json"):
        with pytest.raises(FileNotFoundError, match=f"{name}: no such folder"):
            load_language_model(tmp_path / name)
    (tmp_path / "config.json").write_text('{"model_type": "unheard-of"}')
    with pytest.raises(ValueError, match=f"^{tmp_path}: .*unheard-of"):
        load_language_model(tmp_path)
