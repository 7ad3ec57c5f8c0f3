"""optuna through `Trainer.hyperparameter_search`."""

import pytest
from datasets import Dataset
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

from modeling_hyenadna import HyenaDNAForSequenceClassification

pytest.importorskip("optuna", reason="optuna is not installed")


def test_search_finds_the_best_of_its_trials(folder, tokenizer, sequences, tmp_path):
    rows = Dataset.from_list([{**tokenizer(own), "labels": index % 2} for index, own in enumerate(sequences)])
    trainer = Trainer(
        model_init=lambda _: HyenaDNAForSequenceClassification.from_pretrained(folder, num_labels=2),
        args=TrainingArguments(tmp_path, max_steps=2, eval_strategy="steps", eval_steps=2, save_strategy="no",
                               report_to="none", disable_tqdm=True, use_cpu=True),
        train_dataset=rows,
        eval_dataset=rows,
        data_collator=DataCollatorWithPadding(tokenizer),
    )  # fmt: skip
    losses = []

    def objective(metrics):
        losses.append(metrics["eval_loss"])
        return metrics["eval_loss"]

    best = trainer.hyperparameter_search(
        hp_space=lambda trial: {"learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)},
        compute_objective=objective,
        backend="optuna",
        n_trials=2,
        direction="minimize",
    )
    assert len(losses) == 2
    assert best.objective == min(losses)
    assert set(best.hyperparameters) == {"learning_rate"}
