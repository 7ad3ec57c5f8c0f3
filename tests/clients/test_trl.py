"""trl: trainers that are given a folder's name and rows of text.

trl writes [SEP] after a text, or a completion, where the tokenizer is to write none: `add_eos_token=False`.
"""

import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer

trl = pytest.importorskip("trl", reason="trl is not installed: pip install 'hyenadna-dart[clients]'")
OPTIONS = {
    "max_steps": 1,
    "per_device_train_batch_size": 4,
    "report_to": "none",
    "use_cpu": True,
    "bf16": False,
    "logging_steps": 1,
    "save_strategy": "no",
    "disable_tqdm": True,
}


@pytest.fixture(scope="module")
def plain(folder):
    """The tokenizer that trl is to have."""
    return AutoTokenizer.from_pretrained(folder, add_eos_token=False)


def logged(trainer, key):
    return next(row[key] for row in trainer.state.log_history if key in row)


def bases_of(model, ids):
    """Log-probabilities of all tokens but the first."""
    with torch.no_grad():
        log_p = model(torch.tensor([ids])).logits[0, :-1].log_softmax(dim=-1)
    return log_p.gather(1, torch.tensor(ids)[1:, None])[:, 0]


def continuation(model, tokenizer, prompt, text):
    """log p of a continuation and of the [SEP] after it."""
    ids = [*tokenizer(prompt, add_special_tokens=False)["input_ids"], *tokenizer(text)["input_ids"]]
    return float(bases_of(model, ids)[len(prompt) - 1 :].sum())


@pytest.mark.parametrize("packing", [False, True])
def test_sft_loss_is_that_of_each_sequence_for_itself(folder, model, tokenizer, plain, sequences, tmp_path, packing):
    rows = Dataset.from_dict({"text": sequences[:4]})
    options = OPTIONS | {"packing": packing, "max_length": 130, "per_device_train_batch_size": 1 if packing else 4}
    settings = trl.SFTConfig(tmp_path, **options)
    trainer = trl.SFTTrainer(folder, settings, train_dataset=rows, processing_class=plain)
    trainer.train()
    log_p = torch.cat([bases_of(model, tokenizer(own)["input_ids"]) for own in sequences[:4]])
    assert logged(trainer, "loss") == pytest.approx(-float(log_p.mean()), abs=1e-4)


def test_sft_with_the_folder_alone_has_a_second_separator(folder, model, tokenizer, sequences, tmp_path):
    rows = Dataset.from_dict({"text": sequences[:4]})
    trainer = trl.SFTTrainer(folder, trl.SFTConfig(tmp_path, max_length=130, **OPTIONS), train_dataset=rows)
    trainer.train()
    separator = tokenizer.sep_token_id
    log_p = torch.cat([bases_of(model, [*tokenizer(own)["input_ids"], separator]) for own in sequences[:4]])
    assert logged(trainer, "loss") == pytest.approx(-float(log_p.mean()), abs=1e-4)


def test_dpo_log_probabilities_are_ours(folder, model, tokenizer, plain, sequences, tmp_path):
    rows = Dataset.from_dict({"prompt": sequences[:4], "chosen": ["ACGT"] * 4, "rejected": ["TTTTT"] * 4})
    settings = trl.DPOConfig(tmp_path, max_length=128, **OPTIONS)
    trainer = trl.DPOTrainer(folder, args=settings, train_dataset=rows, processing_class=plain)
    trainer.train()
    assert logged(trainer, "loss") == pytest.approx(0.6931472, abs=1e-4)
    expected = [continuation(model, tokenizer, own, "ACGT") for own in sequences[:4]]
    assert logged(trainer, "logps/chosen") == pytest.approx(sum(expected) / 4, abs=1e-2)


def test_reward(folder, sequences, tmp_path):
    rows = Dataset.from_dict({"chosen": sequences[:4], "rejected": sequences[4:]})
    trainer = trl.RewardTrainer(folder, args=trl.RewardConfig(tmp_path, max_length=128, **OPTIONS), train_dataset=rows)
    trainer.train()
    assert 0 < logged(trainer, "loss") < 5


def test_grpo(folder, plain, sequences, tmp_path):
    def share_of_gc(completions, **_):
        return [sum(base in "GC" for base in own) / max(len(own), 1) for own in completions]

    settings = OPTIONS | {"num_generations": 2, "max_completion_length": 8}
    rows = Dataset.from_dict({"prompt": sequences})
    arguments = trl.GRPOConfig(tmp_path, **settings)
    trainer = trl.GRPOTrainer(folder, share_of_gc, args=arguments, train_dataset=rows, processing_class=plain)
    trainer.train()
    assert 0 <= logged(trainer, "reward") <= 1
    assert 0 < logged(trainer, "completions/mean_length") <= 8
