"""MarinDNA's scores of SNVs, next-token JSD and the LLR among four bases, beside a derivation of the project's path.

The definition was read in Open-Athena/marin-dna at 3a120d2 (compute_variant_score_bundle); both strands are averaged as
its evals_v2 does. tests/clients/test_benchmarks.py runs the project's own function.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

from evaluation_dart.models.language_model import LanguageModel, load_language_model
from evaluation_dart.recipes import JSD, TOKENS_L2
from evaluation_dart.scoring.four_bases import snv_scores
from evaluation_dart.tools.variants import score_variants

FIXTURES = Path(__file__).parents[2] / "fixtures"
WINDOW = 40
CONTIG = "".join(np.random.default_rng(5).choice([*"ACGT"], 150))
PLACES = (25, 60, 71, 99, 120)
SNVS = [(place, CONTIG[place], "ACGT".replace(CONTIG[place], "")[place % 3]) for place in PLACES]
COMPLEMENT = str.maketrans("ACGT", "TGCA")


def mistral():
    """A causal model of bases whose tokenizer puts <bos> before a sequence, as MarinDNA's do."""
    words = {word: number for number, word in enumerate(["<pad>", "<bos>", "N", *"ACGT"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="N"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("<bos>|."), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    torch.manual_seed(3)
    config = MistralConfig(
        vocab_size=7, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=200, initializer_range=0.4,
    )  # fmt: skip
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="N", bos_token="<bos>")
    return LanguageModel(MistralForCausalLM(config).eval(), fast, "causal", "mistral", "random")


@pytest.fixture(scope="module", params=["hyenadna", "mistral"])
def scorer(request):
    small = FIXTURES / "model" / "small_d32_l2_s130"
    return load_language_model(small, device="cpu") if request.param == "hyenadna" else mistral()


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    fasta = tmp_path_factory.mktemp("genome") / "g.fa"
    fasta.write_text(f">c\n{CONTIG}\n")
    return fasta


def four_base_log_p(scorer, window):
    """(L, 4) log p of each base of a window, among A, C, G and T; NaN where no token is before it."""
    ids = scorer.tokenizer(window)["input_ids"]
    bases = [scorer.tokenizer(base, add_special_tokens=False)["input_ids"][0] for base in "ACGT"]
    with torch.no_grad():
        logits = scorer.model(input_ids=torch.tensor([ids])).logits[0][:, bases].double()
    after_before = torch.cat([torch.full((1, 4), torch.nan), logits.log_softmax(-1)])[scorer.before :]
    return after_before[: len(window)].numpy()


def project(scorer, window, place, base):
    """(LLR, JSD) of one strand."""
    other = window[:place] + base + window[place + 1 :]
    one, two = four_base_log_p(scorer, window), four_base_log_p(scorer, other)
    index = ["ACGT".index(letter) for letter in window]
    llr = one[place, "ACGT".index(base)] - one[place, index[place]]
    after = range(place + 1, len(window))
    llr += sum(two[row, index[row]] - one[row, index[row]] for row in after)
    return llr, np.mean([jensenshannon(np.exp(one[row]), np.exp(two[row])) ** 2 for row in after])


def expected(scorer, strand="mean"):
    found = []
    for place, _, alternative in SNVS:
        start = place - WINDOW // 2
        window = CONTIG[start : start + WINDOW]
        forward = project(scorer, window, WINDOW // 2, alternative)
        turned = window.translate(COMPLEMENT)[::-1]
        back = project(scorer, turned, WINDOW - 1 - WINDOW // 2, alternative.translate(COMPLEMENT))
        found.append(np.mean([forward, back], axis=0) if strand == "mean" else forward)
    return np.array(found).T


def table(variants=SNVS):
    rows = [{"chrom": "c", "position": place + 1, "ref": ref, "alt": alt} for place, ref, alt in variants]
    return pa.Table.from_pylist(rows)


@pytest.mark.parametrize("strand", ["mean", "forward"])
def test_scores_are_the_projects(scorer, genome, strand):
    llr, jsd = expected(scorer, strand)
    given = None if strand == "mean" else strand  # the mean is the default, as there
    found = score_variants(table(), genome, scorer, recipe="four-base-llr", window=WINDOW, strand=given)
    assert found["score"].to_pylist() == pytest.approx(llr.tolist(), abs=2e-5)
    difference = np.array(found["alt_score"].to_pylist()) - found["ref_score"].to_numpy()
    assert difference == pytest.approx(llr, abs=2e-5)
    found = score_variants(table(), genome, scorer, recipe="next-token-jsd", window=WINDOW, strand=given)
    assert found["score"].to_pylist() == pytest.approx(jsd.tolist(), abs=1e-6)
    assert found["ref_score"].null_count == len(SNVS)
    assert jsd.min() > 1e-5


def test_distances_of_all_hidden_states(scorer, genome):
    """compute_euclidean_distance of the same file: the hidden states of all tokens in a row."""
    found = score_variants(table(), genome, scorer, recipe=TOKENS_L2, window=WINDOW, strand="forward")
    wanted = []
    for place, _, alternative in SNVS:
        start = place - WINDOW // 2
        windows = [
            CONTIG[start:place] + base + CONTIG[place + 1 : start + WINDOW] for base in (CONTIG[place], alternative)
        ]
        ids = [scorer.tokenizer(window)["input_ids"] for window in windows]
        with torch.no_grad():
            hidden = scorer.model(input_ids=torch.tensor(ids), output_hidden_states=True).hidden_states[-1].double()
        own = hidden[:, scorer.before : scorer.before + WINDOW]
        wanted.append(float((own[1] - own[0]).norm()))
    assert found["score"].to_pylist() == pytest.approx(wanted, rel=1e-4)


def test_several_alleles_of_a_record_and_other_variants(genome):
    small = FIXTURES / "model" / "small_d32_l2_s130"
    scorer = load_language_model(small, device="cpu")
    others = [base for base in "ACGT" if base != CONTIG[60]]
    rows = table([(60, CONTIG[60], ",".join(others)), (80, CONTIG[80], CONTIG[80] + "T")])
    found = score_variants(rows, genome, scorer, recipe=JSD, window=WINDOW)
    single = [
        score_variants(table([(60, CONTIG[60], base)]), genome, scorer, recipe=JSD, window=WINDOW) for base in others
    ]
    assert found["score"].to_pylist()[:3] == pytest.approx([own["score"][0].as_py() for own in single], abs=1e-6)
    assert found["status"].to_pylist() == ["", "", "", "not_snv"]


def test_a_variant_with_nothing_before_or_after_it_has_no_score(genome):
    scorer = load_language_model(FIXTURES / "model" / "small_d32_l2_s130", device="cpu")
    ends = [(0, CONTIG[0], "ACGT".replace(CONTIG[0], "")[0]), (149, CONTIG[149], "ACGT".replace(CONTIG[149], "")[0])]
    found = score_variants(table(ends), genome, scorer, recipe=JSD, window=WINDOW, strand="forward")
    assert found["status"].to_pylist() == ["not_predicted", "not_predicted"]
    assert found["score"].null_count == 2


def test_models_that_have_no_such_scores(genome):
    with pytest.raises(ValueError, match="is not a causal language model, whose next tokens the recipe compares"):
        score_variants(table(), genome, str(FIXTURES / "task1" / "bert_char"), recipe=JSD, window=WINDOW)


def test_one_snv_by_hand():
    """Two tokens behind the variant: of uniform probabilities after REF, and of one sure base after ALT."""
    even, sure = torch.full((4,), 0.25), torch.tensor([1.0, 1e-30, 1e-30, 1e-30])
    reference = torch.stack([even, even, even]).log()
    alternative = torch.stack([even, sure, sure]).log()
    tokens, other = torch.tensor([3, 0, 0, 1]), torch.tensor([3, 2, 0, 1])
    found = snv_scores(reference, alternative, tokens, other, torch.tensor([True, True, True, False]))
    # Of the one base behind the variant: 0.5 (KL of sure from the mixture + KL of even from it)
    mixture = np.array([0.625, 0.125, 0.125, 0.125])
    divergence = 0.5 * (np.log(1 / 0.625) + (0.25 * np.log(0.25 / mixture)).sum())
    assert found.divergence == pytest.approx(divergence, abs=1e-6)
    assert found.alternative - found.reference == pytest.approx(np.log(0.25) - 2 * np.log(0.25), abs=1e-6)
