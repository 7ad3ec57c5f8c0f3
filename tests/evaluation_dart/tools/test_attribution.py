"""Models as functions of one-hot sequences, and changes by substitution, of causal and masked models and of heads."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tangermeme.deep_lift_shap import deep_lift_shap
from tangermeme.marginalize import marginalize
from tangermeme.predict import predict
from tangermeme.saturation_mutagenesis import saturation_mutagenesis
from tangermeme.utils import one_hot_encode
from transformers import AutoModel, AutoTokenizer

import modeling_hyenadna  # noqa: F401
from datasets_dart.alphabet import BASES, reverse_complement
from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.recipes import RECIPES
from evaluation_dart.scoring.heads import head_score, head_scorer, label_index
from evaluation_dart.scoring.likelihoods import score_alleles
from evaluation_dart.scoring.substitutions import substitutions
from evaluation_dart.tools.attribution import OneHotModel, path_rule
from evaluation_dart.tools.mutagenesis import changes, importance, likelihood_changes
from evaluation_dart.training.finetuning import load_classifier

FIXTURES = Path(__file__).parents[2] / "fixtures"
HYENA, BERT = FIXTURES / "model" / "small_d32_l2_s130", FIXTURES / "task1" / "bert_char"
BPE = FIXTURES / "task1" / "bert_bpe"
SEQUENCES = ["ACGTTGCAACGTNTGCATTA", "TTGACCAGGGACCAATGCAG"]


def one_hot(sequences):
    return torch.stack([one_hot_encode(sequence, ignore=["N"]) for sequence in sequences]).float()


@pytest.fixture(scope="module", params=[HYENA, BERT], ids=["causal", "masked"])
def model(request):
    return load_language_model(request.param)


@pytest.fixture(scope="module", params=[HYENA, BERT], ids=["hyenadna", "bert"])
def classifier(request):
    torch.manual_seed(0)
    return load_classifier(request.param, 3)


def test_one_hot_likelihood_is_that_of_the_string(model):
    known = SEQUENCES[1:] + ["GGGTTTACAGACCCATTAGG"]
    got = predict(OneHotModel(model), one_hot(known))[:, 0]
    np.testing.assert_allclose(got, model.log_likelihood(known), rtol=1e-5)


def test_one_hot_classifier_is_that_of_the_string_even_with_an_unknown_base(classifier):
    got = predict(OneHotModel(classifier, label=1), one_hot(SEQUENCES))[:, 0]
    expected = head_scorer(classifier, 1)(SEQUENCES)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert np.ptp(expected) > 1e-3


def test_head_score():
    logits = torch.tensor([[1.0, 3.0]])
    config = SimpleNamespace(problem_type=None, id2label={0: "off", 1: "on"})
    assert head_score(logits, config).tolist() == [2.0]
    assert head_score(logits, config, 0).tolist() == [-2.0]
    three = torch.tensor([[0.0, 0.0, 1.0]])
    classes = SimpleNamespace(problem_type=None, id2label={0: "a", 1: "b", 2: "c"})
    assert head_score(three, classes, 2).item() == pytest.approx(1 - math.log(2))
    regression = SimpleNamespace(problem_type="regression", id2label={0: "LABEL_0"})
    assert head_score(torch.tensor([[0.5]]), regression).tolist() == [0.5]
    several = SimpleNamespace(problem_type="multi_label_classification", id2label={0: "a", 1: "b"})
    assert head_score(logits, several, 0).tolist() == [1.0]
    with pytest.raises(ValueError, match="2 outputs: name one of a, b"):
        head_score(logits, several)
    with pytest.raises(ValueError, match="no output '2' among off, on"):
        head_score(logits, config, 2)
    assert [label_index(config, name) for name in (None, "on", "0", 0)] == [1, 1, 0, 0]
    with pytest.raises(ValueError, match="no output 'up' among off, on"):
        label_index(config, "up")


def test_tokens_of_several_bases_and_models_without_a_head_are_refused(tmp_path):
    with pytest.raises(ValueError, match="reads k-mers or BPE"):
        OneHotModel(load_classifier(BPE, 2))
    AutoModel.from_pretrained(HYENA).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(HYENA).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="without a head"):
        OneHotModel(load_language_model(tmp_path, head=False))


def test_trained_head(tmp_path, classifier):
    classifier.model.save_pretrained(tmp_path)
    classifier.tokenizer.save_pretrained(tmp_path)
    again = load_classifier(tmp_path, None)
    np.testing.assert_array_equal(head_scorer(again, 2)(SEQUENCES), head_scorer(classifier, 2)(SEQUENCES))
    with pytest.raises(ValueError, match="no trained head: saved as HyenaDNAForCausalLM"):
        load_classifier(HYENA, None)


def test_path_attributions_add_up_to_the_difference_of_scores(classifier):
    wrapped, rows = OneHotModel(classifier, label=2), one_hot(SEQUENCES[1:])
    attributions, references = deep_lift_shap(
        *(wrapped, rows),
        additional_nonlinear_ops=path_rule(64),
        n_shuffles=3,
        batch_size=1,
        random_state=0,
        return_references=True,
        warning_threshold=0.1,
    )
    assert attributions.shape == rows.shape
    assert not attributions[rows == 0].any()
    difference = predict(wrapped, rows)[0, 0] - predict(wrapped, references[0]).mean()
    assert attributions.sum().item() == pytest.approx(difference.item(), abs=2e-3 + 0.01 * abs(difference.item()))


def test_tangermeme_takes_the_model(classifier):
    """Saturation mutagenesis there is ours here; a motif can be marginalised."""
    wrapped, sequence = OneHotModel(classifier, label=0), SEQUENCES[1]
    theirs = saturation_mutagenesis(wrapped, one_hot([sequence]))[0] * one_hot([sequence])[0]
    ours = importance(changes(head_scorer(classifier, 0), sequence, 0, len(sequence)), sequence)
    np.testing.assert_allclose(ours.T, theirs, atol=1e-5)

    before, after = marginalize(wrapped, one_hot([sequence]), "GGAA")
    middle = sequence[:8] + "GGAA" + sequence[12:]
    expected = head_scorer(classifier, 0)([sequence, middle])
    np.testing.assert_allclose([before.item(), after.item()], expected, atol=1e-5)


def test_substitutions():
    mutants, places = substitutions("ANCG", 1, 3)
    assert mutants == ["ANAG", "ANGG", "ANTG"]
    assert places.tolist() == [[1, 0], [1, 2], [1, 3]]
    assert substitutions("NN", 0, 2)[0] == []

    table = changes(lambda strings: np.array([string.count("G") for string in strings], float), "ANCG", 1, 4)
    np.testing.assert_array_equal(table, [[np.nan] * 4, [0, 0, 1, 0], [-1, -1, 0, -1]])
    np.testing.assert_array_equal(importance(table, "NCG"), [[0] * 4, [0, -0.25, 0, 0], [0, 0, 0.75, 0]])


@pytest.mark.parametrize("recipe", ["dart-eval", "dart-eval-both-strands", "dart-eval-mean", "whole-alleles", "carbon"])
def test_changes_are_differences_of_alleles(model, recipe):
    """Each change is what the recipe makes of the two sequences as the alleles of a variant."""
    sequence, (start, end) = SEQUENCES[1], (6, 9)
    table = likelihood_changes(model, sequence, start, end, RECIPES[recipe], batch_size=7)
    for row, position in enumerate(range(start, end)):
        for column, base in enumerate(BASES):
            mutant = sequence[:position] + base + sequence[position + 1 :]
            one, two = score_alleles(model, [sequence], [mutant], RECIPES[recipe])
            assert table[row, column] == pytest.approx(float(two[0] - one[0]), abs=3e-4)


def test_both_strands_see_the_same(model):
    recipe, sequence = RECIPES["dart-eval-both-strands"], SEQUENCES[1]
    table = likelihood_changes(model, sequence, 0, 20, recipe)
    other = likelihood_changes(model, reverse_complement(sequence), 0, 20, recipe)
    np.testing.assert_allclose(table, other[::-1, ::-1], atol=1e-5)


def test_masked_alleles_of_longer_tokens_are_refused():
    with pytest.raises(ValueError, match="needs a token for each base"):
        likelihood_changes(load_language_model(BPE), SEQUENCES[1], 0, 3, RECIPES["dart-eval"])


def test_the_model_is_left_in_its_mode():
    classifier = load_classifier(BERT, 2)
    wrapped, rows = OneHotModel(classifier), one_hot(SEQUENCES[1:])
    expected = head_scorer(classifier)(SEQUENCES[1:])
    classifier.model.train()  # with dropout
    assert predict(wrapped, rows)[0, 0].item() == pytest.approx(expected[0], abs=1e-5)
    assert all(module.training for module in classifier.model.modules())
