"""TraitGym's and Carbon's metrics, by hand and against scikit-learn; intervals from leaving blocks out one by one."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

from evaluation_dart.records import task_estimates
from evaluation_dart.statistics.blocks import Blocks, row_blocks
from evaluation_dart.statistics.variant_boards import auroc_by_chromosome, carbon, precision_by_chromosome, traitgym

CHROM = np.array([*"aaaa", *"bbb", *"cc"])
POSITIVE = np.array([1, 0, 1, 0, 0, 1, 0, 0, 0], dtype=bool)
LLR = np.array([-3.0, -2.0, -1.0, 4.0, 0.5, -0.5, -0.75, 1.0, 2.0])


def test_by_hand():
    """Chromosome a (4 variants), b (3), and c (2), which has no positives."""
    found = traitgym(LLR, POSITIVE, CHROM, row_blocks(9))
    # -LLR: a has its positives first and third of 3, 2, 1, -4; b has .75, .5 (positive), -.5
    assert found["traitgym_auprc_minus_llr"].value == pytest.approx((4 * (1 + 2 / 3) / 2 + 3 * 1 / 2 + 2 * 0) / 9)
    assert found["traitgym_auroc_minus_llr"].value == pytest.approx((4 * 3 / 4 + 3 * 1 / 2) / 7)
    # |LLR|: a has 4, 3 (positive), 2, 1 (positive); b has .75, .5 and .5, of which one is positive
    assert found["traitgym_auprc_abs_llr"].value == pytest.approx((4 * (1 / 2 + 2 / 4) / 2 + 3 * 1 / 3 + 2 * 0) / 9)
    assert found["traitgym_auroc_abs_llr"].value == pytest.approx((4 * 1 / 4 + 3 * 1 / 4) / 7)
    board = carbon(LLR, POSITIVE, CHROM, row_blocks(9), np.where(CHROM == "a", [1, 2, 3, 4, *[np.nan] * 5], np.nan))
    assert board["carbon_auroc_by_chromosome"].value == pytest.approx((4 * 3 / 4 + 3 * 1 / 2) / 7)
    assert board["carbon_auprc_by_chromosome"].value == pytest.approx((4 * (1 + 2 / 3) / 2 + 3 * 1 / 2) / 7)
    assert board["carbon_spearman"].value == pytest.approx(1)
    # In order of -LLR: + - + - + - - - -, so precision 1, 1/2, 2/3, 2/4, 3/5 at recall 1/3, 1/3, 2/3, 2/3, 1
    assert board["carbon_auprc"].value == pytest.approx((1 + (1 / 2 + 2 / 3) / 2 + (2 / 4 + 3 / 5) / 2) / 3)
    assert board["carbon_auroc"].value == pytest.approx((6 + 5 + 4) / 18)
    only_carbon = {*carbon(LLR, POSITIVE, CHROM, row_blocks(9))}
    assert only_carbon == {*board} - {"carbon_spearman"}


def traitgym_definition(score, positive, chrom, metric):
    names = np.unique(chrom)
    return sum((chrom == c).sum() * metric(positive[chrom == c], score[chrom == c]) for c in names) / len(chrom)


def carbon_definition(score, positive, chrom, metric):
    kept = [c for c in np.unique(chrom) if 0 < positive[chrom == c].sum() < (chrom == c).sum()]
    rows = np.isin(chrom, kept)
    return traitgym_definition(score[rows], positive[rows], chrom[rows], metric)


@pytest.mark.filterwarnings("ignore:No positive class:UserWarning")
def test_values_and_values_without_each_block_as_scikit_learn_has_them():
    rng = np.random.default_rng(0)
    n = 400
    chrom, positive = rng.choice([*"abcdefg"], n), rng.random(n) < 0.3
    llr = rng.normal(0, 1, n).round(1) - positive  # with ties
    blocks = Blocks(np.unique(rng.integers(0, 40, n), return_inverse=True)[1], "places")
    positive[chrom == "g"] = False
    for every, definition in ((True, traitgym_definition), (False, carbon_definition)):
        found = precision_by_chromosome(-llr, positive, chrom, blocks, every)
        assert found.value == pytest.approx(definition(-llr, positive, chrom, average_precision_score))
        assert len(found.without) == len(blocks)
        for block in range(0, len(blocks), 7):
            left = blocks.code != block
            expected = definition(-llr[left], positive[left], chrom[left], average_precision_score)
            assert found.without[block] == pytest.approx(expected)
    found = auroc_by_chromosome(np.abs(llr), positive, chrom, blocks)
    assert found.value == pytest.approx(carbon_definition(np.abs(llr), positive, chrom, roc_auc_score))
    for block in range(0, len(blocks), 7):
        left = blocks.code != block
        expected = carbon_definition(np.abs(llr[left]), positive[left], chrom[left], roc_auc_score)
        assert found.without[block] == pytest.approx(expected)
    board = carbon(llr, positive, chrom, blocks)
    precision, recall, _ = precision_recall_curve(positive, -llr)
    assert board["carbon_auprc"].value == pytest.approx(auc(recall, precision))
    left = blocks.code != 3
    precision, recall, _ = precision_recall_curve(positive[left], -llr[left])
    assert board["carbon_auprc"].without[3] == pytest.approx(auc(recall, precision))


def test_a_chromosome_that_is_one_block_is_left_out_whole():
    rng = np.random.default_rng(1)
    chrom = np.repeat([*"abcdefghijkl"], 30)
    positive, score = rng.random(360) < 0.4, rng.normal(size=360)
    found = auroc_by_chromosome(score, positive, chrom, Blocks(np.repeat(np.arange(12), 30), "chromosomes"))
    left = chrom != "e"
    assert found.without[4] == pytest.approx(carbon_definition(score[left], positive[left], chrom[left], roc_auc_score))


def test_no_chromosome_with_both_classes():
    found = auroc_by_chromosome(LLR, CHROM == "a", CHROM, row_blocks(9))
    assert np.isnan(found.value)
    assert found.why == "not defined: no chromosome has both classes"


@pytest.mark.parametrize("recipe", ["traitgym", "carbon", "carbon-both-strands", "dart-eval", "whole-alleles"])
def test_records_of_a_projects_recipe_have_its_metrics(recipe):
    """Of the variants that are used and have a label, as the board's own; effects of allele 1 do not turn the sign."""
    rows = len(LLR) + 2
    table = pa.table(
        {
            "id": range(rows),
            "chrom": [*CHROM, "a", "a"],
            "position": [*range(rows)],
            "label": pa.array([*POSITIVE.tolist(), True, None]),
            "effect": np.arange(rows, dtype=float),
            "used": [*[True] * len(LLR), False, True],
            "effect_allele": [1, 2] * (rows // 2) + [1],
            "score1": np.ones(rows),
            "score2": [*(1 + LLR), 50.0, -50.0],
        }
    )
    record = {"task": "variant_effects", "setting": "zero_shot_likelihood", "protocol": "fixed", "kind": "task"}
    found = task_estimates(table, record | {"recipe": {"name": recipe}})
    board = {name: own.value for name, own in found.items() if name.startswith(("traitgym", "carbon"))}
    project = {"traitgym": traitgym, "carbon": carbon, "carbon-both-strands": carbon}.get(recipe)
    effects = () if recipe == "traitgym" else (np.arange(len(LLR), dtype=float),)
    expected = project(LLR, POSITIVE, CHROM, row_blocks(len(LLR)), *effects) if project else {}
    assert board == pytest.approx({name: own.value for name, own in expected.items()})
    assert "auroc" in found
