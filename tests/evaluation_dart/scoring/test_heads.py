"""One number of a head for variants, mutagenesis and attribution, on every kind of head."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from tangermeme.utils import one_hot_encode

import modeling_hyenadna  # noqa: F401
from datasets_dart.errors import InputError
from evaluation_dart.recipes import variant_recipe
from evaluation_dart.scoring.alleles import VariantScorer
from evaluation_dart.scoring.heads import head_score, head_scores, label_index
from evaluation_dart.tools.attribution import OneHotModel
from evaluation_dart.tools.mutagenesis import mutagenesis
from evaluation_dart.tools.variants import score_variants
from evaluation_dart.training.finetuning import load_classifier

FIXTURES = Path(__file__).parents[2] / "fixtures"
HYENA, BERT = FIXTURES / "model" / "small_d32_l2_s130", FIXTURES / "task1" / "bert_char"
SEQUENCE = "TTGACCAGGGACCAATGCAG"
HEADS = [
    (1, "regression", None),
    (2, None, None),
    (2, "single_label_classification", "off"),
    (2, "multi_label_classification", "on"),
    (3, None, 1),
    (3, "multi_label_classification", "2"),
]


def classifier_of(folder, outputs, problem):
    torch.manual_seed(0)
    classifier = load_classifier(folder, outputs)
    classifier.model.config.problem_type = problem
    if outputs == 2:
        classifier.model.config.id2label = {0: "off", 1: "on"}
    *_, head = (module for module in classifier.model.modules() if isinstance(module, torch.nn.Linear))
    torch.nn.init.normal_(head.weight, std=0.5)  # so that substitutions show
    return classifier


@pytest.mark.parametrize("folder", [HYENA, BERT], ids=["hyenadna", "bert"])
@pytest.mark.parametrize(("outputs", "problem", "label"), HEADS)
def test_three_tools_agree(tmp_path, folder, outputs, problem, label):
    classifier = classifier_of(folder, outputs, problem)
    classifier.model.save_pretrained(tmp_path / "model")
    classifier.tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "g.fa").write_text(f">chr1\n{SEQUENCE}\n")
    window, options = len(SEQUENCE), {"model": tmp_path / "model", "label": label, "device": "cpu"}

    mutated = mutagenesis(tmp_path / "g.fa", region="1:10-11", window=window, **options).to_pydict()
    variants = {
        "chrom": ["1"] * 6,
        "pos": [start + 1 for start in mutated["start"]],
        "ref": mutated["ref"],
        "alt": mutated["alt"],
    }
    scored = score_variants(pa.table(variants), tmp_path / "g.fa", window=window, recipe="head", **options)
    wrapped = OneHotModel(classifier, label)
    mutants = [
        SEQUENCE[:start] + alt + SEQUENCE[start + 1 :]
        for start, alt in zip(mutated["start"], mutated["alt"], strict=True)
    ]
    with torch.no_grad():
        one_hot = torch.stack([one_hot_encode(sequence).float() for sequence in [SEQUENCE, *mutants]])
        attributed = wrapped(one_hot)[:, 0].double().numpy()
    differences = attributed[1:] - attributed[0]
    np.testing.assert_allclose(scored["score"].to_numpy(), mutated["change"], atol=1e-6)
    np.testing.assert_allclose(differences, mutated["change"], atol=1e-6)
    assert np.ptp(differences) > 1e-4

    inputs, _ = classifier.encode([SEQUENCE])
    with torch.no_grad():
        logits = classifier.model(**inputs).logits[0].double().numpy()
    own = {None: outputs - 1, "off": 0, "on": 1, 1: 1, "2": 2}[label]
    expected = logits[own]
    if outputs > 1 and problem != "multi_label_classification":
        expected = logits[own] - np.log(np.exp(np.delete(logits, own)).sum())
    assert head_scores(classifier, [SEQUENCE], label)[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("outputs", "problem"), [(3, None), (2, "multi_label_classification")])
def test_one_of_several_must_be_named(outputs, problem):
    classifier = classifier_of(HYENA, outputs, problem)
    message = f"{outputs} outputs: name one of"
    with pytest.raises(ValueError, match=message):
        VariantScorer(classifier, variant_recipe("head"))
    with pytest.raises(ValueError, match=message):
        OneHotModel(classifier)
    with pytest.raises(ValueError, match=message):
        head_score(torch.zeros(1, outputs), classifier.model.config)
    for label in (outputs, "no", "-1", -1, "٣", "1.0"):
        with pytest.raises(ValueError, match=f"there is no output '{label}'"):
            label_index(classifier.model.config, label)


def test_a_label_that_means_two_outputs_is_refused():
    config = classifier_of(HYENA, 3, None).model.config
    config.id2label = {0: "2", 1: "one", 2: "1"}
    assert [label_index(config, label) for label in (0, 1, 2, "0", "one")] == [0, 1, 2, 0, 1]
    for label, meant in (("2", r"0 \(2\) and 2 \(1\)"), ("1", r"1 \(one\) and 2 \(1\)")):
        with pytest.raises(InputError, match=f"label '{label}' is of the outputs {meant}: which one"):
            label_index(config, label)
    config.id2label = {0: "same", 1: "same", 2: "other"}
    with pytest.raises(InputError, match=r"of the outputs 0 \(same\) and 1 \(same\)"):
        label_index(config, "same")
