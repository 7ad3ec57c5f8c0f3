"""Scores of alleles: the same numbers, however often the model reads what they have in common."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, MistralConfig, MistralForCausalLM

import modeling_hyenadna  # noqa: F401
from datasets_dart.alphabet import reverse_complement
from datasets_dart.formats.fasta import open_genome
from datasets_dart.formats.vcf import Record, haplotypes
from evaluation_dart.models.language_model import LanguageModel, load_language_model
from evaluation_dart.recipes import RECIPES, variant_recipe
from evaluation_dart.scoring import alleles as variant_scoring
from evaluation_dart.scoring.alleles import VariantScorer, passes, shares_prefix
from evaluation_dart.scoring.embeddings import cosine_distance
from evaluation_dart.training.finetuning import load_classifier

FIXTURES = Path(__file__).parents[2] / "fixtures"
HYENADNA = FIXTURES / "model" / "small_d32_l2_s130"
WINDOW = 96
RECORDS = [
    (40, "A", "C,G,T"),
    (53, "ACG", "A"),
    (61, "T", "TACGTACG,G"),
    (2, "C", "T"),
    (399, "G", "A"),
    (200, "AC", "GT"),
]


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    """Sequences of records with one to three alternative alleles, and of which record each is."""
    bases = list(np.random.default_rng(0).choice(list("ACGT"), 400))
    for position, reference, _ in RECORDS:
        bases[position - 1 : position - 1 + len(reference)] = reference
    fasta = tmp_path_factory.mktemp("genome") / "g.fa"
    fasta.write_text(">c\n" + "".join(bases) + "\n")
    records = [Record(1, b"", "c", position, ref, tuple(alt.split(","))) for position, ref, alt in RECORDS]
    cut = haplotypes(records, open_genome(fasta), WINDOW)
    assert [len(sequence) for sequence in cut.sequences] == [WINDOW] * 15
    return cut.sequences, cut.group


@pytest.fixture(scope="module")
def hyenadna():
    return load_language_model(HYENADNA, device="cpu")


def pairs(sequences, record):
    """Row of REF, and row of ALT, of each alternative allele."""
    rows = [row for row in range(len(record)) if row and record[row] == record[row - 1]]
    return np.array([record.tolist().index(record[row]) for row in rows]), np.array(rows)


def mistral(tokenizer_of):
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=16, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, sliding_window=16,
    )  # fmt: skip
    return LanguageModel(MistralForCausalLM(config), tokenizer_of.tokenizer, "causal", "mistral", "random")


@pytest.mark.parametrize("strand", ["forward", "reverse", "mean"])
@pytest.mark.parametrize("name", ["whole-alleles", "traitgym", "carbon", "embedding-cosine", "embedding-l2"])
def test_what_is_common_is_read_once_with_the_same_result(hyenadna, windows, name, strand):
    sequences, record = windows
    recipe = variant_recipe(name, strand)
    scorer = VariantScorer(hyenadna, recipe, batch_size=4)
    assert scorer.shares
    whole = VariantScorer(hyenadna, recipe, batch_size=64, share=False)(sequences, record)
    shared = scorer(sequences, record)
    assert shared.status == whole.status == [""] * len(whole.score)
    for one, two in zip(shared[:3], whole[:3], strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6 if name.startswith("embedding") else 2e-4)
    reference, alternative = pairs(sequences, record)
    strands = {"forward": [sequences], "reverse": [[*map(reverse_complement, sequences)]]}
    strands["mean"] = strands["forward"] + strands["reverse"]
    expected = []
    for strand_sequences in strands[strand]:
        if name.startswith("embedding"):
            one, two = (hyenadna.embed(strand_sequences)[rows].astype(float) for rows in (reference, alternative))
            l2 = name == "embedding-l2"
            expected.append(np.sqrt(((one - two) ** 2).sum(axis=1)) if l2 else cosine_distance(one, two))
        else:
            options = {"reduction": RECIPES[name].reduction, "special_tokens": RECIPES[name].special_tokens}
            values = hyenadna.log_likelihood(strand_sequences, **options)
            expected.append(values[alternative] - values[reference])
    np.testing.assert_allclose(whole.score, np.mean(expected, axis=0), atol=1e-5)


def test_tokens_in_common_go_through_a_causal_model_once(hyenadna, windows, monkeypatch):
    sequences, record = windows
    positions = []
    forward = type(hyenadna.model).forward

    def counted(self, *args, **kwargs):
        positions.append(kwargs["input_ids"].numel())
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(hyenadna.model), "forward", counted)
    VariantScorer(hyenadna, variant_recipe("whole-alleles"), share=False)(sequences[:4], record[:4])
    assert positions == [4 * (WINDOW + 1)]
    scorer = VariantScorer(hyenadna, variant_recipe("whole-alleles"))
    positions.clear()
    scorer(sequences[:4], record[:4])
    left = sequences[0].index("A", 39)  # the window begins at the contig's first base
    assert left == 39
    assert positions == [left, 4 * (WINDOW + 1 - left)]
    positions.clear()
    VariantScorer(hyenadna, variant_recipe("dart-eval"), share=False)(sequences[:4], record[:4])
    assert positions == [left]


def test_attention_models_share_through_their_cache(hyenadna, windows):
    sequences, record = windows
    attention = mistral(hyenadna)
    recipe = variant_recipe("traitgym")
    scorer = VariantScorer(attention, recipe, batch_size=6)
    assert scorer.shares
    whole = VariantScorer(attention, recipe, share=False)(sequences, record)
    np.testing.assert_allclose(scorer(sequences, record).score, whole.score, atol=1e-4)


def test_a_model_whose_cache_is_not_exact_reads_whole_windows(hyenadna, monkeypatch):
    assert shares_prefix(hyenadna)
    original = variant_scoring._pass

    def forgetful(*args):
        part = original(*args)
        part.output.logits.add_(torch.randn_like(part.output.logits))
        return part

    monkeypatch.setattr(variant_scoring, "_pass", forgetful)
    assert not shares_prefix(hyenadna)
    assert not VariantScorer(hyenadna, variant_recipe("carbon")).shares
    monkeypatch.undo()
    bert = load_language_model(FIXTURES / "task1" / "bert_char", device="cpu")
    assert not VariantScorer(bert, variant_recipe("whole-alleles")).shares


def test_every_sequence_is_in_one_pass(hyenadna, windows):
    sequences, record = windows
    inputs, own = hyenadna.encode(sequences)
    first = np.searchsorted(record, record)
    parts = list(passes(hyenadna, inputs, own, first, batch_size=3))
    assert sorted(np.concatenate([part.rows for part in parts]).tolist()) == list(range(len(sequences)))
    assert max(len(part.rows) for part in parts) == 4  # a record of four alleles stays in one piece
    assert min(part.start for part in parts) == 0  # a variant near the contig's start: nothing worth sharing


def whole_masked_pass(scorer, one, two):
    """log p of one sequence's tokens less that of another's, over all of one masked pass read to its end."""
    ids = [scorer.tokenizer(own, return_tensors="pt")["input_ids"] for own in (one, two)]
    with torch.no_grad():
        masked = ids[0].masked_fill(ids[0] != ids[1], scorer.tokenizer.mask_token_id)
        log_p = scorer.model(input_ids=masked).logits[0].log_softmax(-1).double()
    shift = int(scorer.kind == "causal")
    sums = [log_p[: len(own[0]) - shift].gather(1, own[0, shift:, None]).sum() for own in ids]
    return float(sums[1] - sums[0])


@pytest.mark.parametrize("strand", ["forward", "mean"])
@pytest.mark.parametrize("name", ["hyenadna", "bert_char"])
def test_masked_alleles_as_the_benchmark_scores_them(hyenadna, windows, name, strand):
    sequences, record = windows
    scorer = hyenadna if name == "hyenadna" else load_language_model(FIXTURES / "task1" / name, device="cpu")
    reference, alternative = pairs(sequences, record)
    one, two = ([sequences[row] for row in rows] for rows in (reference, alternative))
    expected = np.zeros(len(one))
    strands = (
        [(one, two)]
        if strand == "forward"
        else [(one, two), ([*map(reverse_complement, one)], [*map(reverse_complement, two)])]
    )
    for ref, alt in strands:
        expected += np.array([whole_masked_pass(scorer, *pair) for pair in zip(ref, alt, strict=True)]) / len(strands)
    scores = VariantScorer(scorer, variant_recipe("dart-eval", strand), batch_size=3)(sequences, record)
    # The ends of windows differ by insertions and deletions, and one end is what a causal model reads first in reverse.
    ends = np.array([ref[-1] != alt[-1] for ref, alt in zip(one, two, strict=True)])
    missing = ends & (strand == "mean") & (name == "hyenadna")
    assert [bool(status) for status in scores.status] == missing.tolist()
    np.testing.assert_allclose(scores.score[~missing], expected[~missing], atol=2e-4)
    np.testing.assert_allclose(scores.alternative - scores.reference, scores.score, atol=1e-9)


def test_masked_models_score_whole_alleles(windows):
    sequences, record = windows[0][:4], windows[1][:4]
    bert = load_language_model(FIXTURES / "task1" / "bert_char", device="cpu")
    scores = VariantScorer(bert, variant_recipe("whole-alleles"))(sequences, record)
    values = bert.log_likelihood(sequences)
    np.testing.assert_allclose(scores.score, values[1:] - values[0], atol=1e-4)
    np.testing.assert_allclose(scores.reference, values[0], atol=1e-4)


def test_alleles_of_unequal_tokens_have_no_masked_score():
    bert = load_language_model(FIXTURES / "task1" / "bert_bpe", device="cpu")
    rng = np.random.default_rng(1)
    left, right = ("".join(rng.choice(list("ACGT"), 20)) for _ in range(2))
    sequences = [left + base + right for base in "ACGT"]
    lengths = [len(bert.tokenizer(sequence)["input_ids"]) for sequence in sequences]
    assert len(set(lengths)) > 1
    scores = VariantScorer(bert, variant_recipe("dart-eval"))(sequences, np.zeros(4, int))
    assert np.isnan(scores.score).tolist() == [length != lengths[0] for length in lengths[1:]]
    assert scores.status == ["unequal_tokens" if length != lengths[0] else "" for length in lengths[1:]]


@pytest.mark.parametrize(("strand", "missing"), [("forward", [0]), ("reverse", [1]), ("mean", [0, 1])])
def test_the_first_token_is_not_predicted(hyenadna, strand, missing):
    """Of a causal model without a start token, and of nothing else."""
    sequence = "".join(np.random.default_rng(2).choice(list("ACGT"), WINDOW))
    first, last = "ACGT".replace(sequence[0], ""), "ACGT".replace(sequence[-1], "")
    pairs = [sequence, first[0] + sequence[1:], sequence, sequence[:-1] + last[0]]
    record = np.repeat([0, 1], 2)
    for recipe in ("dart-eval", "whole-alleles"):
        scores = VariantScorer(hyenadna, variant_recipe(recipe, strand))(pairs, record)
        expected = ["not_predicted" if row in missing and recipe == "dart-eval" else "" for row in range(2)]
        assert scores.status == expected
        assert np.isnan(scores.score).tolist() == [bool(status) for status in expected]


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_heads(windows, tmp_path, hyenadna, outputs):
    sequences, record = windows
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_pretrained(HYENADNA, num_labels=outputs).save_pretrained(tmp_path)
    hyenadna.tokenizer.save_pretrained(tmp_path)
    head = load_classifier(str(tmp_path), None, device="cpu")
    if outputs == 3:
        with pytest.raises(ValueError, match="3 outputs: name one of LABEL_0, LABEL_1, LABEL_2 as label"):
            VariantScorer(head, variant_recipe("head"))
        with pytest.raises(ValueError, match="no output '3' among LABEL_0"):
            VariantScorer(head, variant_recipe("head", label=3))
    with torch.no_grad():
        logits = head.model(**head.encode(sequences)[0]).logits.double().numpy()
    label = 2 if outputs == 3 else None
    values = logits[:, 0] if outputs == 1 else logits[:, -1] - np.log(np.exp(logits[:, :-1]).sum(axis=1))
    reference, alternative = pairs(sequences, record)
    scores = VariantScorer(head, variant_recipe("head", label=label), batch_size=4)(sequences, record)
    np.testing.assert_allclose(scores.score, values[alternative] - values[reference], atol=1e-6)


def test_models_that_cannot_do_it_are_refused():
    with pytest.raises(ValueError, match="trained head"):
        load_classifier(str(HYENADNA), None)
    for name, strand in (("dart", None), ("carbon", "both")):
        with pytest.raises(ValueError, match="there are "):
            variant_recipe(name, strand)


def test_golden_scores_of_the_original():
    """Log-odds of the original's variants, from its windows in float64 (variants without N in reach)."""
    rows = [line.split("\t") for line in (FIXTURES / "task5/Afr.CaQTLS.tsv").read_text().splitlines()[1:]]
    kinds = [line.split("\t") for line in (FIXTURES / "task5/Afr.CaQTLS_kinds.tsv").read_text().splitlines()]
    kind, case = kinds[0].index("kind"), kinds[0].index("allele_case")
    golden = np.loadtxt(FIXTURES / "task5/Afr.CaQTLS_delta_float64.txt")
    plain = [row for row, words in enumerate(kinds[1:]) if words[kind] == "plain" and words[case] != "neither"][:8]
    records, sign = [], []
    for row in plain:
        chrom, position, one, two = rows[row][:4]
        first = kinds[1 + row][case] == "allele1_ref"
        records.append(Record(1, b"", chrom, int(position), *((one, (two,)) if first else (two, (one,)))))
        sign.append(1 if first else -1)
    cut = haplotypes(records, open_genome(FIXTURES / "genome/genome.fa"), 2114)
    assert cut.status == [[""]] * len(plain)
    scorer = load_language_model(FIXTURES / "model" / "long_d32_l2_s2116", device="cpu")
    scores = VariantScorer(scorer, variant_recipe("dart-eval"))(cut.sequences, cut.group)
    known = np.array(["N" not in sequence for sequence in cut.sequences[::2]])  # where it is, the original reads A
    assert known.sum() == 7
    np.testing.assert_allclose((scores.score * sign)[known], golden[plain][known], atol=1e-3)
