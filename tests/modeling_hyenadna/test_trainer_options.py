"""Options of `Trainer`, as of a native model: rows grouped by length, and evaluation of rows of different lengths."""

import numpy as np
import pytest
import torch
from datasets import Dataset, concatenate_datasets
from transformers import DataCollatorForLanguageModeling, DataCollatorWithPadding, Trainer, TrainingArguments

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNAForSequenceClassification, HyenaDNATokenizer

LENGTHS = (5, 40, 6, 38, 7, 30, 8, 33)


@pytest.fixture(scope="module")
def tokenizer():
    # To the right: a pad to the left would have the label of the first base, of which nothing is predicted.
    return HyenaDNATokenizer(model_max_length=64, padding_side="right")


@pytest.fixture(scope="module")
def rows(tokenizer):
    rng = np.random.default_rng(0)
    sequences = ["".join(rng.choice([*"ACGT"], length)) for length in LENGTHS]
    return Dataset.from_list([{**tokenizer(own), "labels": index % 2} for index, own in enumerate(sequences)])


def model(kind=HyenaDNAForCausalLM):
    torch.manual_seed(0)
    config = HyenaDNAConfig(
        d_model=16, n_layer=1, max_seq_len=64, filter_order=8, embed_dropout=0.0, initializer_range=0.3
    )
    return kind(config)


def options(folder, **changes):
    settings = {"per_device_train_batch_size": 2, "per_device_eval_batch_size": 3, "report_to": "none"}
    return TrainingArguments(folder, use_cpu=True, disable_tqdm=True, **settings, **changes)


def test_rows_are_grouped_by_length(rows, tokenizer, tmp_path):
    def pads(strategy):
        seen = []

        class Collator(DataCollatorWithPadding):
            def __call__(self, features):
                seen.append([len(feature["input_ids"]) for feature in features])
                return super().__call__(features)

        settings = options(tmp_path, train_sampling_strategy=strategy, num_train_epochs=1, save_strategy="no")
        network, data = model(HyenaDNAForSequenceClassification), concatenate_datasets([rows] * 4)
        Trainer(network, settings, train_dataset=data, data_collator=Collator(tokenizer)).train()
        assert sorted(length for own in seen for length in own) == sorted([length + 1 for length in LENGTHS] * 4)
        return sum(max(own) - min(own) for own in seen)

    assert pads("group_by_length") < pads("random") / 2


def test_loss_of_rows_of_different_lengths(rows, tokenizer, tmp_path):
    language_model = model().eval()
    trainer = Trainer(
        language_model,
        options(tmp_path),
        eval_dataset=rows.remove_columns("labels"),
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
    )
    found = trainer.evaluate()["eval_loss"]
    losses = []
    for start in range(0, len(LENGTHS), 3):  # Trainer's mean is over batches, weighted by their rows
        batch = rows["input_ids"][start : start + 3]
        of_tokens = []
        for ids in batch:
            with torch.no_grad():
                log_p = language_model(torch.tensor([ids])).logits[0, :-1].log_softmax(dim=-1)
            of_tokens += (-log_p.gather(1, torch.tensor(ids)[1:, None])[:, 0]).tolist()
        losses += [np.mean(of_tokens)] * len(batch)
    assert found == pytest.approx(np.mean(losses), abs=1e-5)


def test_predictions_of_rows_of_different_lengths(rows, tokenizer, tmp_path):
    """Logits of each batch are as long as its longest row; Trainer fills them up with -100."""
    language_model = model().eval()
    collator = DataCollatorForLanguageModeling(tokenizer, mlm=False)
    trainer = Trainer(language_model, options(tmp_path), data_collator=collator)
    found = trainer.predict(rows.remove_columns("labels")).predictions
    assert found.shape == (len(LENGTHS), max(LENGTHS) + 1, 16)
    for start in range(0, len(LENGTHS), 3):
        for row, length in enumerate(LENGTHS[start : start + 3], start):
            with torch.no_grad():
                expected = language_model(torch.tensor([rows["input_ids"][row]])).logits[0]
            np.testing.assert_allclose(found[row, : length + 1], expected, atol=1e-4)
        width = max(LENGTHS[start : start + 3]) + 1
        assert (found[start : start + 3, width:] == -100).all()
