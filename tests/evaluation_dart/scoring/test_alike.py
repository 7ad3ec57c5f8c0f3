"""Batches of rows that begin alike: which rows are together, and that every row is there."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datasets_dart.alphabet import reverse_complement
from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.recipes import RECIPES
from evaluation_dart.scoring.alike import by_length, common_tokens, first_rows, planned, reads_alike
from evaluation_dart.scoring.heads import head_scores
from evaluation_dart.scoring.likelihoods import score_sequences
from evaluation_dart.training.finetuning import load_classifier
from tests.evaluation_dart.scoring.test_alleles import HYENADNA, tokens_read


@pytest.fixture(scope="module")
def hyenadna():
    return load_language_model(HYENADNA, device="cpu")


def test_first_rows_of_records_in_any_order():
    assert first_rows([("b", 1), ("a", 1), ("b", 1), ("a", 2), ("a", 1)]).tolist() == [0, 1, 0, 3, 1]


def test_common_tokens_by_hand():
    ids = torch.tensor([[1, 2, 3, 4], [1, 2, 9, 4], [1, 2, 3, 4], [5, 2, 3, 4]])
    own = torch.ones(4, 4, dtype=torch.bool)
    own[3, 3] = False
    assert common_tokens(ids, own, np.array([0, 0, 0, 3])).tolist() == [3, 2, 3, 3]
    assert common_tokens(ids, own, np.array([0, 0, 0, 0])).tolist() == [3, 2, 3, 0]


def test_batches_by_hand():
    """REF of 10 tokens with alleles that differ from tokens 9, 2, 8 and 5 on, and a row of no record."""
    first, common, length = np.array([0, 0, 0, 0, 0, 5]), np.array([9, 9, 2, 8, 5, 9]), np.full(6, 10)
    plans = [planned(first, common, length, 2, alike) for alike in (True, False)]
    assert [own.tolist() for own in plans[0]] == [[0, 2], [0, 3, 4], [0, 1], [5]]  # 18, 20, 11 and 10 of 20
    assert [own.tolist() for own in plans[1]] == [[0, 2], [0, 4], [0, 3], [0, 1], [5]]
    assert next(own.tolist() for own in planned(first, common, length, 1, True)) == [0, 2]
    assert planned(first[:0], common[:0], length[:0], 2, True) == []
    lengths = np.array([10, 10, 10, 4, 4, 4])
    apart = planned(np.array([0, 0, 0, 3, 3, 3]), np.array([9, 1, 1, 3, 1, 1]), lengths, 3, False)
    assert [own.tolist() for own in apart] == [[3, 4, 5], [0, 1, 2]]


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 6), st.booleans(), st.randoms(use_true_random=False))
def test_every_row_is_in_a_batch_with_its_first(n, batch_size, records, alike, random):
    first = first_rows([random.randrange(records) for _ in range(n)])
    length = np.array([random.choice([20, 30]) for _ in range(n)])
    common = np.array([random.randrange(own) for own in length])
    plan = planned(first, common, length, batch_size, alike)
    assert {row for rows in plan for row in rows.tolist()} == set(range(n))
    others = [row for rows in plan for row in rows.tolist() if first[row] != row]
    assert len(others) == len({*others})
    for rows in plan:
        assert {*first[rows].tolist()} <= {*rows.tolist()}
        assert rows.tolist() == sorted({*rows.tolist()})
        assert alike or len(rows) <= max(2, batch_size)


@pytest.mark.parametrize("strand", ["forward", "mean"])
def test_records_in_any_order_score_as_whole_sequences(hyenadna, strand):
    """Of several lengths, the rows of a record among those of others."""
    rng = np.random.default_rng(0)
    backgrounds = ["".join(rng.choice(list("ACGT"), 60 + 20 * number)) for number in range(3)]
    record = rng.integers(3, size=24)
    middles = ["".join(rng.choice(list("ACGT"), 6)) for _ in record]
    rows = zip([backgrounds[own] for own in record], middles, strict=True)
    sequences = [own[: len(own) // 2] + middle + own[len(own) // 2 + 6 :] for own, middle in rows]
    recipe = RECIPES["whole-alleles"]._replace(strand=strand)
    seen, hook = tokens_read(hyenadna.model)
    found = score_sequences(hyenadna, sequences, recipe, record, batch_size=5)
    alike, seen[:] = sum(seen), []
    expected = score_sequences(hyenadna, sequences, recipe, batch_size=5)
    hook.remove()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-4)
    assert alike < 0.8 * sum(seen)
    vectors = hyenadna.embed(sequences, record=record, batch_size=5)
    np.testing.assert_allclose(vectors, hyenadna.embed(sequences), atol=1e-5)
    assert hyenadna.embed([], record=[]).shape == (0, 0)
    assert score_sequences(hyenadna, [], recipe, []).shape == (0,)


def test_batches_of_about_one_length_keep_the_order(hyenadna):
    rng = np.random.default_rng(1)
    sequences = ["".join(rng.choice(list("ACGT"), length)) for length in (90, 20, 60, 20, 91, 21)]
    assert by_length(sequences).tolist() == [1, 3, 5, 2, 0, 4]
    seen, hook = tokens_read(hyenadna.model)
    found = hyenadna.log_likelihood(sequences, batch_size=3)
    hook.remove()
    assert seen == [3 * 22, 3 * 92]
    expected = [hyenadna.log_likelihood([own])[0] for own in sequences]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    one_by_one = np.concatenate([hyenadna.embed([own]) for own in sequences])
    np.testing.assert_allclose(hyenadna.embed(sequences, batch_size=3), one_by_one, atol=1e-5)
    # What counts padding keeps its batches
    pads = hyenadna.embed(sequences, pooling="mean_all", attention_mask=False, batch_size=3)
    by_hand = [hyenadna.embed(own, pooling="mean_all", attention_mask=False) for own in (sequences[:3], sequences[3:])]
    np.testing.assert_allclose(pads, np.concatenate(by_hand), atol=1e-6)


def test_heads(hyenadna, tmp_path):
    torch.manual_seed(0)
    from transformers import AutoModelForSequenceClassification

    AutoModelForSequenceClassification.from_pretrained(HYENADNA, num_labels=2).save_pretrained(tmp_path)
    hyenadna.tokenizer.save_pretrained(tmp_path)
    head = load_classifier(str(tmp_path), None, device="cpu")
    assert reads_alike(head)
    sequences = ["ACGTTGCA" * 8 + base + "TTGACCAA" * 3 for base in "ACGT"]
    for strand in ("forward", "mean"):
        found = head_scores(head, sequences, strand=strand, record=[0] * 4)
        np.testing.assert_allclose(found, head_scores(head, sequences, strand=strand), atol=1e-6)
    turned = head_scores(head, [*map(reverse_complement, sequences)])
    np.testing.assert_allclose(head_scores(head, sequences, strand="reverse", record=[0] * 4), turned, atol=1e-6)
    assert head_scores(head, [], record=[]).shape == (0,)
