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
from evaluation_dart.scoring.alike import reads_alike
from evaluation_dart.scoring.alleles import VariantScorer
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
def test_alleles_read_from_where_they_differ_score_as_whole_ones(hyenadna, windows, name, strand):
    sequences, record = windows
    scorer = VariantScorer(hyenadna, variant_recipe(name, strand), batch_size=4)
    assert scorer.alike
    found = scorer(sequences, record)
    assert found.status == [""] * len(found.score)
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
    np.testing.assert_allclose(found.score, np.mean(expected, axis=0), atol=1e-6 if "embed" in name else 2e-5)


def tokens_read(model):
    """How many tokens each pass of a model has, as they come."""
    seen = []
    hook = model.base_model.backbone.embeddings.register_forward_hook(lambda *call: seen.append(call[1][0].numel()))
    return seen, hook


def test_alleles_cost_what_is_behind_them(hyenadna, windows):
    sequences, record = windows
    positions, hook = tokens_read(hyenadna.model)
    left = sequences[0].index("A", 39)  # the window begins at the contig's first base
    assert left == 39
    behind = WINDOW + 1 - left
    for name in ("whole-alleles", "embedding-cosine", "next-token-jsd", "embedding-l2-tokens"):
        VariantScorer(hyenadna, variant_recipe(name, "forward"))(sequences[:4], record[:4])
        assert positions == [WINDOW + 1 + 3 * behind], name
        positions.clear()
    VariantScorer(hyenadna, variant_recipe("whole-alleles", "reverse"))(sequences[:4], record[:4])
    assert positions == [WINDOW + 1 + 3 * (WINDOW + 1 - (WINDOW - 1 - left))]
    positions.clear()
    VariantScorer(hyenadna, variant_recipe("dart-eval"))(sequences[:4], record[:4])
    assert positions == [left]
    hook.remove()


def test_a_cpu_reads_about_as_many_tokens_at_once_by_any_window(hyenadna):
    recipe = variant_recipe("whole-alleles")
    sizes = {window: VariantScorer(hyenadna, recipe, "auto", window).batch_size for window in (8, 256, 1024, 8192)}
    assert sizes == {8: 256, 256: 64, 1024: 16, 8192: 3}
    assert VariantScorer(hyenadna, recipe, 5, 8192).batch_size == 5


def test_other_causal_models_read_whole_windows(hyenadna, windows):
    sequences, record = windows
    attention = mistral(hyenadna)
    assert not reads_alike(attention)
    scorer = VariantScorer(attention, variant_recipe("traitgym", "forward"), batch_size=6)
    assert scorer.alike is False
    reference, alternative = pairs(sequences, record)
    values = attention.log_likelihood(sequences, special_tokens="scored")
    np.testing.assert_allclose(scorer(sequences, record).score, values[alternative] - values[reference], atol=1e-4)
    assert VariantScorer(attention, variant_recipe("dart-eval")).alike is None


@pytest.mark.parametrize("name", ["next-token-jsd", "four-base-llr", "embedding-l2-tokens"])
def test_scores_of_snvs_are_those_of_one_record_a_batch(hyenadna, windows, name):
    sequences, record = windows
    kept = [row for row in range(len(record)) if record[row] in (0, 3, 4)]
    sequences, record = [sequences[row] for row in kept], record[kept]
    together = VariantScorer(hyenadna, variant_recipe(name), batch_size=64)(sequences, record)
    apart = [
        VariantScorer(hyenadna, variant_recipe(name), batch_size=1)([sequences[row] for row in rows], record[rows])
        for rows in (np.array([first, row]) for first, row in zip(*pairs(sequences, record), strict=True))
    ]
    np.testing.assert_allclose(together.score, np.concatenate([own.score for own in apart]), rtol=1e-4, atol=1e-6)


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
    scorer = VariantScorer(head, variant_recipe("head", label=label), batch_size=4)
    assert scorer.alike
    scores = scorer(sequences, record)
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
