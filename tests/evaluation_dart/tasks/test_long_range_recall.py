"""Copy advantages are recall-bench's own numbers, recorded from its code, on a causal and a masked model.

Version 0.2.1; of the masked model by its adapter HFMaskedLM without the [CLS] that the tokenizer does not add either.
tests/clients/test_recall_bench.py runs recall-bench itself beside the task.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from evaluation_dart import TASKS, evaluate
from evaluation_dart.report.row_properties import windows
from evaluation_dart.scoring.token_losses import LONGER
from evaluation_dart.tasks.long_range_recall import pieces

FIXTURES = Path(__file__).parents[2] / "fixtures"
GENOME = FIXTURES / "genome" / "genome.fa"
HYENADNA, BERT = FIXTURES / "model" / "long_d32_l2_s2116", FIXTURES / "task1" / "bert_char"
MARKOV = Path(__file__).parents[3] / "model_cards" / "markov-chrX" / "markov.safetensors"
# Segments of 32 bp, 4 trials, mutation rate 0.1, blocks chr5 and chr10: copy advantage and ends of its interval
OPTIONS = {"genome": GENOME, "segment": 32, "trials": 4, "mutation_rate": 0.1, "protocol": "paper"}
OF_HYENADNA = {
    ("exact_repeat", 64): (0.03589737415313721, 0.011258244514465332, 0.06162154674530029),
    ("exact_repeat", 700): (0.0012113451957702637, -0.0026465654373168945, 0.00496518611907959),
    ("mutated_repeat", 64): (0.03791457414627075, -0.0046653151512146, 0.06634044647216797),
    ("mutated_repeat", 700): (0.0005412101745605469, -0.003172636032104492, 0.004255056381225586),
    ("inverted_repeat", 64): (0.04043763875961304, -0.009623050689697266, 0.09049832820892334),
    ("inverted_repeat", 700): (0.0001010894775390625, -0.0007907748222351074, 0.0005971193313598633),
    ("exact_repeat_foreign_control", 64): (0.03331667184829712, -0.002991318702697754, 0.09678393602371216),
    ("exact_repeat_foreign_control", 700): (-0.0011397004127502441, -0.006939828395843506, 0.0032917261123657227),
    ("mutated_repeat_foreign_control", 64): (0.047874510288238525, 0.00833660364151001, 0.09719586372375488),
    ("mutated_repeat_foreign_control", 700): (-0.0008118152618408203, -0.004628419876098633, 0.004292011260986328),
    ("inverted_repeat_foreign_control", 64): (0.03785693645477295, 0.008907794952392578, 0.06189286708831787),
    ("inverted_repeat_foreign_control", 700): (-0.0022499561309814453, -0.003995418548583984, -0.0005044937133789062),
}
OF_BERT = {
    "exact_repeat": (0.02338433265686035, -0.007708072662353516, 0.052217721939086914),
    "mutated_repeat": (0.028905034065246582, -0.006685972213745117, 0.06139349937438965),
    "inverted_repeat": (-0.021231412887573242, -0.05083632469177246, 0.008373498916625977),
    "exact_repeat_foreign_control": (0.02876603603363037, -0.024695634841918945, 0.07888495922088623),
    "mutated_repeat_foreign_control": (-0.008894920349121094, -0.04522299766540527, 0.030254125595092773),
    "inverted_repeat_foreign_control": (-0.015849709510803223, -0.04801356792449951, 0.013503313064575195),
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("recall")


def ends(metric):
    return metric.value, metric.low, metric.high


@pytest.mark.parametrize("setting", OF_BERT)
def test_numbers_are_recall_benchs(setting, cache, tmp_path):
    where = {"output": tmp_path, "cache_dir": cache}
    found = evaluate(str(HYENADNA), "long_range_recall", setting, distances=[64, 700], **OPTIONS, **where).metrics
    for distance in (64, 700):
        assert ends(found[f"copy_advantage_{distance}"]) == pytest.approx(OF_HYENADNA[setting, distance], abs=2e-6)
    options = {**OPTIONS, "distances": 64, "context": 256}
    found = evaluate(str(BERT), "long_range_recall", setting, **options, **where).metrics
    assert ends(found["copy_advantage_64"]) == pytest.approx(OF_BERT[setting], abs=2e-6)


def test_windows_that_a_model_does_not_read_have_no_value_and_a_reason(cache, tmp_path):
    record = evaluate(
        str(HYENADNA), "long_range_recall", distances="64,4096", output=tmp_path, cache_dir=cache, **OPTIONS
    )
    assert record.undefined == {"copy_advantage_4096": "not defined: the windows are longer than the model reads"}
    assert record.predictions()["status"].to_pylist() == [""] * 4 + [LONGER] * 4
    assert record.predictions()["repeat_loss"].null_count == 4
    assert record.metrics["copy_advantage"].n == 4
    assert record.recipe["window"] is None


def test_intervals_of_the_fixed_protocol_are_those_of_blocks():
    advantage = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0])
    table = pa.table(
        {
            "distance": [64] * 10 + [256] * 10,
            "chrom": ["chr1"] * 20,
            "start": [number * 1_000_000 for number in range(10)] * 2,
            "draw": [0] * 20,
            "control_loss": np.concatenate([advantage, advantage - 5.5]),
            "repeat_loss": np.zeros(20),
        }
    )
    found = TASKS["long_range_recall"].metrics(table)
    # The mean of ten blocks of one window each: 5.5 -+ t(9) x sqrt(variance / 10)
    reach = 2.2621571627409915 * np.sqrt(advantage.var(ddof=1) / 10)
    assert ends(found["copy_advantage_64"]) == pytest.approx((5.5, 5.5 - reach, 5.5 + reach))
    assert found["copy_advantage_256"].value == pytest.approx(0)
    assert found["recall_distance"].value == 64
    assert found["copy_advantage"].value == pytest.approx(2.75)


def test_pieces_by_hand():
    row = {
        "sequence": "TTTT" + "CCC" + "GG" + "AAC",
        "lead": 4,
        "mutated": "AGC",
        "foreign": "GAT",
        "mutated_beside_foreign": "TAC",
        "foreign_beside_mutated": "CAT",
    }
    assert pieces(row, "exact", "native") == (["TTTT", "CCC", "GG", "AAC"], ["TTTT", "AAC", "GG", "AAC"])
    assert pieces(row, "inverted", "foreign") == (["TTTT", "GAT", "GG", "AAC"], ["TTTT", "GTT", "GG", "AAC"])
    assert pieces(row, "mutated", "native") == (["TTTT", "CCC", "GG", "AAC"], ["TTTT", "AGC", "GG", "AAC"])
    assert pieces(row, "mutated", "foreign") == (["TTTT", "CAT", "GG", "AAC"], ["TTTT", "TAC", "GG", "AAC"])


def test_models_and_arguments_that_cannot_be(cache, tmp_path):
    where = {"output": tmp_path, "cache_dir": cache, **OPTIONS}
    with pytest.raises(ValueError, match="has no tokens, which long_range_recall asks for"):
        evaluate(f"markov:{MARKOV}", "long_range_recall", distances=64, **where)
    with pytest.raises(ValueError, match="window 100: the windows of this task are as long"):
        evaluate(str(HYENADNA), "long_range_recall", distances=64, window=100, **where)
    with pytest.raises(ValueError, match="recipe carbon is for likelihoods"):
        evaluate(str(HYENADNA), "long_range_recall", distances=64, recipe="carbon", **where)


def test_strata_of_windows_of_several_lengths_are_refused(cache, tmp_path):
    record = evaluate(str(HYENADNA), "long_range_recall", distances=64, output=tmp_path, cache_dir=cache, **OPTIONS)
    with pytest.raises(ValueError, match="its rows have windows of several lengths; give a table of their sequences"):
        windows(record, record.predictions())
