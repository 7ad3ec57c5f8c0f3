"""Pictures of scores: classes of variants, and what is written of them."""

import numpy as np
import pytest

from datasets_dart.errors import InputError
from evaluation_dart.recipes import DISTANCES, FOUR_BASES, HEAD, JSD, RECIPES, variant_recipe
from evaluation_dart.report.variant_figures import by_class, is_signed, score_figure, unit_of, variant_class


@pytest.mark.parametrize(
    ("ref", "alt", "expected"),
    [
        ("A", "C", "SNV"),
        ("ACG", "ATG", "SNV"),  # padded on both sides
        ("A", "ACT", "insertion"),
        ("AA", "AAA", "insertion"),
        ("ACT", "A", "deletion"),
        ("TTTT", "TT", "deletion"),
        ("AC", "GT", "other"),
        ("ACG", "TCC", "other"),  # the base between is the same
        ("AC", "GTT", "other"),
        ("A", "A", "other"),
    ],
)
def test_class_of_a_variant(ref, alt, expected):
    assert variant_class(ref, alt) == expected


def test_scores_by_class():
    found = by_class(["A", "a", "AC", "A"], ["C", "g", "A", "AT"], np.array([1.0, np.nan, 3.0, np.inf]))
    assert [(own.name, own.scores.tolist()) for own in found] == [("SNV", [1.0]), ("deletion", [3.0])]


def test_every_recipe_has_a_unit():
    units = {name: unit_of(variant_recipe(name)) for name in (*RECIPES, *DISTANCES, JSD, FOUR_BASES, HEAD)}
    assert units["whole-alleles"] == "log-likelihood, ALT - REF (nats)"
    assert units["carbon"] == "log-likelihood, ALT - REF (nats a token)"
    assert units["embedding-cosine"] == "cosine distance of REF and ALT (0 to 2)"
    assert units["embedding-l2"].startswith("Euclidean distance")
    assert {name for name in units if not is_signed(variant_recipe(name))} == {*DISTANCES, JSD}


def test_what_a_picture_says(tmp_path):
    pytest.importorskip("matplotlib", reason="the extra plot is not installed")
    classes = by_class(["A"] * 3 + ["AC"], ["C", "G", "T", "A"], np.array([1.0, 2.0, 4.0, -3.0]))
    path = tmp_path / "scores.svg"
    score_figure(path, classes, "a score (nats)", "a model", signed=True, without=2)
    text = path.read_text()
    for said in (
        "SNV, n = 3, median 2 (line)",
        "deletion, n = 1, median -3 (line)",
        "a score (nats)",
        "alleles",
        "a model",
        "2 alleles without a score are left out",
    ):
        assert f"<!-- {said}" in text.replace("\u2212", "-") or f"{said} -->" in text, said
    assert text.count("#0072b2") > 0
    assert "#d55e00" not in text  # no insertions
    (tmp_path / "again").mkdir()
    score_figure(tmp_path / "again" / path.name, classes, "a score (nats)", "a model", signed=True, without=2)
    assert (tmp_path / "again" / path.name).read_text() == text
    with pytest.raises(InputError, match="no allele has a score to draw"):
        score_figure(path, [], "a score (nats)", "a model")
