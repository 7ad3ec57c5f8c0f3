"""Recipes named after projects give those projects' numbers: beside each, the project's whole path from its definition.

The definitions were read in the projects' code at the commits that `RECIPES` names. Each derivation here goes from the
genome's text, a position and two alleles to one number, variant by variant, without anything of this package.
"""

from collections import namedtuple
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

import modeling_hyenadna  # noqa: F401
from evaluation_dart.models.language_model import LanguageModel, load_language_model
from evaluation_dart.recipes import RECIPES, recipe_named
from evaluation_dart.scoring.likelihoods import masked_allele_log_likelihoods, score_alleles
from evaluation_dart.tools.variants import score_variants

FIXTURES = Path(__file__).parents[2] / "fixtures"
WINDOW = 36  # TraitGym's k-mers want a variant in the middle of one: here of 2 or 6 bases
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")
TINY = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
Variant = namedtuple("Variant", "position reference alternative")  # position from 0


def contig():
    """180 bases, some of them N, some in lower case in the file."""
    bases = "".join(np.random.default_rng(3).choice([*"ACGT"], 180))
    return bases[:57] + "NNN" + bases[60:]


CONTIG = contig()
SNVS = [
    Variant(place, CONTIG[place], "ACGT".replace(CONTIG[place], "")[place % 3]) for place in (2, 18, 71, 90, 161, 178)
]
OTHERS = [
    Variant(99, CONTIG[99], CONTIG[99] + "TG"),
    Variant(110, CONTIG[110:113], CONTIG[110]),
    Variant(120, CONTIG[120:122], CONTIG[120:122].translate(COMPLEMENT)),
]


def turned(sequence):
    return sequence.translate(COMPLEMENT)[::-1]


def log_p_of(model, ids):
    """(T, V) log-probabilities from one forward pass over a list of tokens."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)


def causal_sum(model, ids):
    """log p of every token but the first, given those before it."""
    return float(log_p_of(model, ids)[:-1].gather(1, torch.tensor(ids[1:])[:, None]).double().sum())


def padded_window(variant):
    """The window that biofoundation and TraitGym cut: the variant at half of it, N beyond the contig."""
    text = "N" * WINDOW + CONTIG + "N" * WINDOW
    start = variant.position - WINDOW // 2 + WINDOW
    window = text[start : start + WINDOW]
    assert window[WINDOW // 2] == variant.reference
    return window


def substituted(window, place, base):
    return window[:place] + base + window[place + 1 :]


def biofoundation(scorer, variant):
    """compute_llr_clm and compute_llr_mlm, of transform_llr_clm and transform_llr_mlm."""
    model, tokenizer, window, middle = scorer.model, scorer.tokenizer, padded_window(variant), WINDOW // 2
    if scorer.kind == "causal":
        other = substituted(window, middle, variant.alternative)
        return causal_sum(model, tokenizer.encode(other)) - causal_sum(model, tokenizer.encode(window))
    ids = tokenizer.encode(window)
    ids[middle] = tokenizer.mask_token_id
    log_p = log_p_of(model, ids)[middle]
    reference, alternative = (tokenizer.encode(base)[0] for base in (variant.reference, variant.alternative))
    return float(log_p[alternative] - log_p[reference])


def traitgym(scorer, variant):
    """run_vep_llr_hyenadna, gpn.ss.run_vep and run_vep_llr_nucleotide_transformer: the mean of both strands."""
    return (_traitgym(scorer, variant, False) + _traitgym(scorer, variant, True)) / 2


def _traitgym(scorer, variant, reverse):
    model, tokenizer, window, middle = scorer.model, scorer.tokenizer, padded_window(variant), WINDOW // 2
    reference, alternative = variant.reference, variant.alternative
    if reverse:
        window, middle = turned(window), WINDOW - 1 - middle
        reference, alternative = turned(reference), turned(alternative)
    if scorer.kind == "causal":
        ids = [tokenizer(substituted(window, middle, base))["input_ids"] for base in (reference, alternative)]
        return causal_sum(model, ids[1]) - causal_sum(model, ids[0])
    prefix = int(tokenizer("A")["input_ids"][0] == tokenizer.cls_token_id)
    k = 2 if "AC" in tokenizer.get_vocab() else 1
    if k == 1:
        ids = tokenizer(substituted(window, middle, tokenizer.mask_token))["input_ids"]
        log_p = log_p_of(model, ids)[middle + prefix]
        tokens = [tokenizer(base)["input_ids"][prefix] for base in (reference, alternative)]
        return float(log_p[tokens[1]] - log_p[tokens[0]])
    number, place = divmod(middle, k)
    own = window[number * k : (number + 1) * k]
    kmers = [window[start : start + k] for start in range(0, WINDOW, k)]
    ids = tokenizer("".join(kmer if "N" not in kmer else "N" for kmer in kmers))["input_ids"]
    ids[prefix + number] = tokenizer.mask_token_id
    log_p = log_p_of(model, ids)[prefix + number]
    tokens = [tokenizer.convert_tokens_to_ids(substituted(own, place, base)) for base in (reference, alternative)]
    return float(log_p[tokens[1]] - log_p[tokens[0]])


def carbon(scorer, variant, both_strands=False):
    """vep_eval on the windows of prep_traitgym; None where that leaves a variant out."""
    start, end = variant.position - WINDOW // 2, variant.position + WINDOW // 2
    if start < 0 or end > len(CONTIG):
        return None
    window = CONTIG[start:end]
    other = window[: WINDOW // 2] + variant.alternative + window[WINDOW // 2 + 1 :]
    deltas = [carbon_mean(scorer, other) - carbon_mean(scorer, window)]
    if both_strands:
        deltas.append(carbon_mean(scorer, turned(other)) - carbon_mean(scorer, turned(window)))
    return sum(deltas) / len(deltas)


def carbon_mean(scorer, sequence):
    if hasattr(scorer.model, "score_sequence"):
        return float(scorer.model.score_sequence(sequence)[1].log().mean())
    if "carbon" in scorer.name:
        sequence = "<dna>" + sequence[: len(sequence) // 6 * 6]
    ids = scorer.tokenizer(sequence, add_special_tokens=False)["input_ids"]
    return causal_sum(scorer.model, ids) / (len(ids) - 1)


def dart_eval(scorer, one, two):
    """Spec section 6c: both alleles off one pass over allele 1's tokens, those that differ masked."""
    ids1, ids2 = (scorer.tokenizer(sequence)["input_ids"] for sequence in (one, two))
    masked = [scorer.tokenizer.mask_token_id if a != b else a for a, b in zip(ids1, ids2, strict=True)]
    log_p, shift = log_p_of(scorer.model, masked), int(scorer.kind == "causal")
    sums = [sum(float(log_p[place - shift, ids[place]]) for place in range(1, len(ids))) for ids in (ids1, ids2)]
    return sums[1] - sums[0]


def tokenizer_of(pattern, words, before=(), after=()):
    """A tokenizer that cuts a sequence by a pattern into words, with special tokens around it."""
    special = ["<pad>", "<mask>", "<cls>", "<sep>", "<unk>", "N", "<dna>"]
    vocabulary = {word: number for number, word in enumerate([*special, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    around = " ".join([*before, "$A", *after])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=around, special_tokens=[(name, vocabulary[name]) for name in {*before, *after}]
    )
    named = {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>", "cls_token": "<cls>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)


def masked_model(tokenizer, name="bert"):
    torch.manual_seed(1)
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=200, **TINY, initializer_range=0.5)
    return LanguageModel(BertForMaskedLM(config).eval(), tokenizer, "masked", name, "random")


def causal_model(tokenizer, name="mistral"):
    torch.manual_seed(2)
    config = MistralConfig(
        vocab_size=len(tokenizer), num_key_value_heads=2, max_position_embeddings=200, initializer_range=0.5, **TINY
    )
    return LanguageModel(MistralForCausalLM(config).eval(), tokenizer, "causal", name, "random")


class ScoresBases(MistralForCausalLM):
    """A model whose own code gives a probability for each base, one sequence or several at a time."""

    def score_sequence(self, sequences):
        of = {"A": 0.1, "C": 0.2, "G": 0.3, "T": 0.4, "N": 0.5}
        many = [
            torch.tensor([of[base] for base in own]) for own in [sequences] * isinstance(sequences, str) or sequences
        ]
        return None, many[0] if isinstance(sequences, str) else many


TWO_MERS = [one + two for one in "ACGT" for two in "ACGT"]
SIX_MERS = [one + two + three for one in TWO_MERS for two in TWO_MERS for three in TWO_MERS]
LETTERS = {"pattern": ".", "words": "ACGT"}


@pytest.fixture(scope="module")
def scorers():
    bases = causal_model(tokenizer_of(**LETTERS), "bases")
    bases.model.__class__ = ScoresBases
    return {
        "hyenadna": load_language_model(FIXTURES / "model" / "small_d32_l2_s130", device="cpu"),
        "bert_char": load_language_model(FIXTURES / "task1" / "bert_char", device="cpu"),
        "bert without a start": masked_model(tokenizer_of(**LETTERS, after=["<sep>"])),
        "bert with a start": masked_model(tokenizer_of(**LETTERS, before=["<cls>"], after=["<sep>"])),
        "bert of 2-mers": masked_model(tokenizer_of("N|[ACGT]{2}|.", [*"ACGT", *TWO_MERS], ["<cls>"])),
        "mistral with a start": causal_model(tokenizer_of(**LETTERS, before=["<cls>"], after=["<sep>"])),
        "tiny-carbon": causal_model(tokenizer_of("<dna>|[ACGT]{6}|.", [*"ACGT", *SIX_MERS], ["<cls>"]), "tiny-carbon"),
        "bases": bases,
    }


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    fasta = tmp_path_factory.mktemp("genome") / "g.fa"
    fasta.write_text(f">c\n{CONTIG[:80]}{CONTIG[80:].lower()}\n")
    return fasta


def scored(scorer, genome, recipe, variants):
    """What `score_variants` says: scores, None where there is none, and statuses."""
    rows = [
        {"chrom": "c", "position": own.position + 1, "ref": own.reference, "alt": own.alternative} for own in variants
    ]
    found = score_variants(pa.Table.from_pylist(rows), genome, scorer, recipe=recipe, window=WINDOW)
    return found["score"].to_pylist(), found["status"].to_pylist()


PROJECTS = {
    "biofoundation": biofoundation,
    "traitgym": traitgym,
    "carbon": carbon,
    "carbon-both-strands": lambda scorer, variant: carbon(scorer, variant, both_strands=True),
}
CASES = [
    *(("biofoundation", name) for name in ("hyenadna", "bert without a start", "mistral with a start", "tiny-carbon")),
    *(("traitgym", name) for name in ("hyenadna", "bert_char", "bert with a start", "bert of 2-mers")),
    *(("traitgym", name) for name in ("mistral with a start",)),
    *(("carbon", name) for name in ("hyenadna", "mistral with a start", "tiny-carbon", "bases")),
    *(("carbon-both-strands", name) for name in ("hyenadna", "tiny-carbon")),
]


@pytest.mark.parametrize(("recipe", "name"), CASES)
def test_snvs_as_the_project_scores_them(scorers, genome, recipe, name):
    scorer = scorers[name]
    scores, status = scored(scorer, genome, recipe, SNVS)
    expected = [PROJECTS[recipe](scorer, variant) for variant in SNVS]
    assert status == ["" if own is not None else "beyond_window" for own in expected]
    assert [own is None for own in scores] == [own is None for own in expected]
    for own, wanted in zip(scores, expected, strict=True):
        assert own == (None if wanted is None else pytest.approx(wanted, abs=2e-5))
    assert max(abs(own) for own in scores if own is not None) > 0.005


@pytest.mark.parametrize(("recipe", "name"), CASES)
def test_windows_of_a_task_as_the_project_scores_them(scorers, recipe, name):
    """`dart-eval run`, whose windows are the task's: the variants with a whole window, without N."""
    inside = [own for own in SNVS if "N" not in padded_window(own)]
    assert len(inside) >= 2
    scorer = scorers[name]
    own = recipe_named(recipe).of(scorer)
    own.check(scorer, alleles=True)
    windows = [padded_window(variant) for variant in inside]
    others = [substituted(one, WINDOW // 2, variant.alternative) for one, variant in zip(windows, inside, strict=True)]
    one, two = score_alleles(scorer, windows, others, own)
    expected = [PROJECTS[recipe](scorer, variant) for variant in inside]
    np.testing.assert_allclose(two - one, expected, atol=2e-5)


@pytest.mark.parametrize("name", ["hyenadna", "bert_char", "bert without a start", "bert of 2-mers"])
@pytest.mark.parametrize("recipe", ["dart-eval", "dart-eval-both-strands"])
def test_dart_eval(scorers, genome, recipe, name):
    scorer, inside = scorers[name], [own for own in SNVS if "N" not in padded_window(own)]
    windows = [padded_window(variant) for variant in inside]
    others = [substituted(one, WINDOW // 2, variant.alternative) for one, variant in zip(windows, inside, strict=True)]
    expected = [dart_eval(scorer, *pair) for pair in zip(windows, others, strict=True)]
    if recipe == "dart-eval-both-strands":
        back = [dart_eval(scorer, turned(one), turned(two)) for one, two in zip(windows, others, strict=True)]
        expected = np.mean([expected, back], axis=0)
    np.testing.assert_allclose(scored(scorer, genome, recipe, inside)[0], expected, atol=2e-5)
    one, two = score_alleles(scorer, windows, others, RECIPES[recipe])
    np.testing.assert_allclose(two - one, expected, atol=2e-5)


def test_a_kmer_with_n_is_unknown_with_either_allele(scorers, genome):
    """So that TraitGym's difference is 0."""
    variant = Variant(56, CONTIG[56], "ACGT".replace(CONTIG[56], "")[0])
    assert CONTIG[57] == "N"
    assert scored(scorers["bert of 2-mers"], genome, "traitgym", [variant]) == ([0.0], [""])
    assert traitgym(scorers["bert of 2-mers"], variant) == 0


@pytest.mark.parametrize("name", ["hyenadna", "bert without a start"])
@pytest.mark.parametrize("recipe", ["biofoundation", "traitgym"])
def test_other_variants_have_no_number_there(scorers, genome, recipe, name):
    scores, status = scored(scorers[name], genome, recipe, OTHERS)
    assert scores == [None] * 3
    assert status == ["not_snv"] * 3


def test_carbon_takes_any_two_windows(scorers, genome):
    """Its data are SNVs, its scorer reads whatever windows it is given."""
    scorer = scorers["tiny-carbon"]
    scores, status = scored(scorer, genome, "carbon", OTHERS)
    assert status == [""] * 3
    mnv = OTHERS[2]  # whose middle is its second base
    start = mnv.position + 1 - WINDOW // 2
    one = CONTIG[start : start + WINDOW]
    two = one[: WINDOW // 2 - 1] + mnv.alternative + one[WINDOW // 2 + 1 :]
    assert scores[2] == pytest.approx(carbon_mean(scorer, two) - carbon_mean(scorer, one), abs=2e-5)


@pytest.mark.parametrize(
    ("recipe", "name", "message"),
    [
        ("biofoundation", "bert with a start", "a token before the sequence, or several bases a token"),
        ("biofoundation", "bert of 2-mers", "several bases a token"),
        ("carbon", "bert_char", "is a masked model, and the project's are causal"),
    ],
)
def test_models_that_the_project_cannot_score(scorers, genome, recipe, name, message):
    with pytest.raises(ValueError, match=message):
        scored(scorers[name], genome, recipe, SNVS)


def test_a_window_without_a_6_mer_is_refused(scorers):
    """Of which Carbon's mean would be over no token."""
    with pytest.raises(ValueError, match="tiny-carbon: reads 6-mers, and 5 bases are fewer: take a longer window"):
        scorers["tiny-carbon"].log_likelihood(["ACGTAC", "ACGTA"], text=RECIPES["carbon"].text)


def test_tokens_of_several_lengths(genome):
    """Of a masked BPE model TraitGym has no number; of a causal one, none where the alleles' tokens do not stack."""
    bpe = load_language_model(FIXTURES / "task1" / "bert_bpe", device="cpu")
    assert bpe.bases_per_token is None
    with pytest.raises(ValueError, match=r"tokens of .* are of several lengths"):
        scored(bpe, genome, "traitgym", SNVS)
    causal = causal_model(bpe.tokenizer, "bpe")
    scores, status = scored(causal, genome, "biofoundation", SNVS)
    for own, state, variant in zip(scores, status, SNVS, strict=True):
        window = padded_window(variant)
        other = substituted(window, WINDOW // 2, variant.alternative)
        as_many = len(bpe.tokenizer.encode(window)) == len(bpe.tokenizer.encode(other))
        assert state == ("" if as_many else "unequal_tokens")
        assert own == (pytest.approx(biofoundation(causal, variant), abs=2e-5) if as_many else None)
    assert {*status} == {"", "unequal_tokens"}
    window = padded_window(SNVS[status.index("unequal_tokens")])
    other = substituted(window, WINDOW // 2, SNVS[status.index("unequal_tokens")].alternative)
    with pytest.raises(ValueError, match="unequal numbers of tokens"):
        score_alleles(causal, [window], [other], RECIPES["biofoundation"].of(causal))


def test_masked_alleles_have_one_home(scorers):
    """The scorer's method, which tasks use, is the function that `score` uses, with an error in a status's place."""
    scorer, window = scorers["hyenadna"], CONTIG[80:116]
    others = [substituted(window, place, "ACGT".replace(window[place], "")[0]) for place in (0, 5)]
    one, two, status = masked_allele_log_likelihoods(scorer, [window] * 2, others)
    assert status == ["not_predicted", ""]
    assert np.isnan([one[0], two[0]]).all()
    np.testing.assert_allclose(scorer.allele_log_likelihoods([window], others[1:]), [one[1:], two[1:]])
    with pytest.raises(ValueError, match="first token of its window"):
        scorer.allele_log_likelihoods([window], others[:1])
