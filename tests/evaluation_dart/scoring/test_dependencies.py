"""Dependency maps are the projects' numbers: beside each, a derivation of the project's whole path.

The definitions were read in gagneurlab/dependencies_DNALM at e20c4bc (`compute_dependency_map`, of masked models) and
in Open-Athena/marin-dna at 1121f27 (`nucleotide_dependency_map`, of causal ones).
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.scoring.dependencies import dependencies_of, logits_of_odds, strand_map

FIXTURES = Path(__file__).parents[2] / "fixtures"
SEQUENCE = "".join(np.random.default_rng(7).choice([*"ACGT"], 24))
COMPLEMENT = str.maketrans("ACGT", "TGCA")


@pytest.fixture(scope="module")
def bert():
    return load_language_model(FIXTURES / "task1" / "bert_char", device="cpu")


@pytest.fixture(scope="module")
def hyenadna():
    return load_language_model(FIXTURES / "model" / "small_d32_l2_s130", device="cpu")


def probabilities(scorer, sequence):
    """(L, 4) of the four bases, softmax over the whole vocabulary: what the model says at each base's own token."""
    ids = scorer.tokenizer(sequence)["input_ids"]
    bases = [scorer.tokenizer(base, add_special_tokens=False)["input_ids"][0] for base in "ACGT"]
    with torch.no_grad():
        logits = scorer.model(input_ids=torch.tensor([ids])).logits[0].double()
    if scorer.kind == "causal":
        logits = torch.cat([torch.zeros_like(logits[:1]), logits])
    return logits.softmax(-1)[scorer.before : scorer.before + len(sequence), bases].numpy()


def gagneur(scorer, sequence):
    """All mutants' log2 odds less those of the sequence, largest of 3 x 4, rows the mutated base; 0 on the diagonal."""

    def odds(own):
        p = probabilities(scorer, own) + 1e-10
        p = p / p.sum(axis=1, keepdims=True)
        return np.log2(p) - np.log2(1 - p)

    found = np.zeros((len(sequence), len(sequence)))
    for place, base in enumerate(sequence):
        mutants = [sequence[:place] + other + sequence[place + 1 :] for other in "ACGT" if other != base]
        found[place] = np.max([np.abs(odds(own) - odds(sequence)).max(axis=1) for own in mutants], axis=0)
    np.fill_diagonal(found, 0)
    return found


def marin(scorer, sequence, combine):
    """Both strands' upper triangles of the categorical Jacobian's largest entries, stitched and made symmetric."""

    def triangle(own):
        def log_p(text):
            p = probabilities(scorer, text)
            return np.log(p / p.sum(axis=1, keepdims=True))

        found = np.zeros((len(own), len(own)))
        for place in range(len(own)):
            blocks = [np.abs(log_p(own[:place] + base + own[place + 1 :]) - log_p(own)) for base in "ACGT"]
            found[place] = np.max(blocks, axis=(0, 2))
        return np.triu(found, 1)

    stitched = triangle(sequence) + triangle(sequence.translate(COMPLEMENT)[::-1])[::-1, ::-1]
    return (stitched + stitched.T) / 2 if combine == "mean" else np.maximum(stitched, stitched.T)


def test_masked_models_as_gagneurs_code_has_them(bert):
    found = dependencies_of(bert, SEQUENCE, 0, 24, "log-odds", "directed", both_strands=False)
    assert found == pytest.approx(gagneur(bert, SEQUENCE), abs=2e-4)
    assert found.max() > 0.05
    part = dependencies_of(bert, SEQUENCE, 5, 15, "log-odds", "directed", both_strands=False)
    assert part == pytest.approx(found[5:15, 5:15], abs=2e-4)
    turned = gagneur(bert, SEQUENCE.translate(COMPLEMENT)[::-1])[::-1, ::-1]
    both = dependencies_of(bert, SEQUENCE, 0, 24, "log-odds", "directed", both_strands=True)
    assert both == pytest.approx((gagneur(bert, SEQUENCE) + turned) / 2, abs=2e-4)


@pytest.mark.parametrize("combine", ["mean", "max"])
def test_causal_models_as_marindnas_code_has_them(hyenadna, combine):
    found = dependencies_of(hyenadna, SEQUENCE, 0, 24, "log-probability", combine, both_strands=True)
    assert found == pytest.approx(marin(hyenadna, SEQUENCE, combine), abs=2e-5)
    assert found == pytest.approx(found.T)
    assert (found[~np.eye(24, dtype=bool)] > 0).all()


def test_one_strand_of_a_causal_model_has_one_direction(hyenadna):
    found = dependencies_of(hyenadna, SEQUENCE, 0, 24, "log-probability", "directed", both_strands=False)
    assert np.isnan(found[np.tril_indices(24, -1)]).all()
    assert np.isfinite(found[np.triu_indices(24)]).all()
    both = dependencies_of(hyenadna, SEQUENCE, 0, 24, "log-probability", "directed", both_strands=True)
    assert found[np.triu_indices(24)] == pytest.approx(both[np.triu_indices(24)])
    reflected = dependencies_of(hyenadna, SEQUENCE, 0, 24, "log-probability", "mean", both_strands=False)
    assert reflected == pytest.approx(reflected.T)
    assert reflected[0, 5] == found[0, 5]


def test_unknown_bases_have_no_dependencies(bert):
    found = strand_map(bert, SEQUENCE[:10] + "N" + SEQUENCE[11:], 0, 24, "log-odds")
    assert np.isnan(found[10]).all()
    assert np.isnan(found[:, 10]).all()
    assert np.isnan(found).sum() == 24 + 23


def test_odds_by_hand():
    found = logits_of_odds(np.log([[0.5, 0.25, 0.125, 0.125]]))
    assert found == pytest.approx(np.log2([[1, 1 / 3, 1 / 7, 1 / 7]]), abs=1e-8)
    assert np.isfinite(logits_of_odds(np.array([[0.0, -800, -800, -800]]))).all()
