"""Downstream tasks through plain Trainer: the page's program, and what it does that Trainer alone does not."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

from evaluation_dart.training.loop import parameter_groups
from evaluation_dart.training.recipe import Training
from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNATokenizer

ROOT = Path(__file__).resolve().parents[2]
RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder as the page assumes it: a checkpoint of one small block, and a task of two kinds of sequence."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    config = HyenaDNAConfig(d_model=16, n_layer=1, max_seq_len=66, emb_dim=5, filter_order=16, initializer_range=0.1)
    HyenaDNAForCausalLM(config).save_pretrained("model_cards/hyenadna-tiny-1k-demo")
    HyenaDNATokenizer(model_max_length=66).save_pretrained("model_cards/hyenadna-tiny-1k-demo")
    Path("GUE/prom_core_tata").mkdir(parents=True)
    for split, rows in (("train", 200), ("dev", 40), ("test", 60)):
        lines = []
        for row in range(rows):
            weights = np.array([[1, 1, 1, 1], [1, 4, 4, 1]][row % 2], dtype=float)
            bases = RNG.choice(list("ACGT"), int(RNG.integers(30, 60)), p=weights / weights.sum())
            lines.append(f"{''.join(bases)},{row % 2}")
        Path(f"GUE/prom_core_tata/{split}.csv").write_text("sequence,label\n" + "\n".join(lines) + "\n")
    return tmp_path


def test_the_page_trains_with_plain_trainer(folder, monkeypatch):
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "downstream.md").read_text(), re.DOTALL)
    program = program.replace('"results/prom_core_tata",', '"results/prom_core_tata", disable_tqdm=True, use_cpu=True,')
    program = program.replace("learning_rate=1e-3", "learning_rate=1e-2")  # a small model, few steps
    monkeypatch.setattr("builtins.print", lambda *_, **__: None)
    names: dict = {}
    exec(program, names)
    assert names["test"]["eval_mcc"] > 0.6
    trained = {group["lr"] > 0 for group in names["optimizer"].param_groups}
    assert trained == {True}


def test_trainer_alone_decays_other_weights(folder):
    """Trainer decays the implicit filters and spares biases and norms; the original does it the other way round."""
    model = AutoModelForSequenceClassification.from_pretrained("model_cards/hyenadna-tiny-1k-demo", num_labels=2)
    trainer = Trainer(model, TrainingArguments(str(folder / "out"), report_to="none", use_cpu=True))
    theirs = set(trainer.get_decay_parameter_names(model))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, Training())
    ours = {names[id(p)] for group in groups if group["weight_decay"] for p in group["params"]}
    assert any(".implicit_filter." in name for name in theirs)
    assert not any(".implicit_filter." in name for name in ours)
    assert {
        name for name in names.values() if name.endswith("bias") and ".implicit_filter." not in name
    } <= ours - theirs


def test_pads_and_pooling_as_in_issue_60_change_predictions(folder):
    """Left pads without a mask, and the last token, as the official port: not so with the mask and the mean."""
    checkpoint = "model_cards/hyenadna-tiny-1k-demo"
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, num_labels=2).eval()
    assert model.config.pooling == "mean"
    alone = tokenizer(["ACGTACG"], return_tensors="pt")
    padded = tokenizer(["ACGTACG", "C" * 60], padding=True, padding_side="left", return_tensors="pt")
    with torch.no_grad():
        expected = model(**alone).logits
        torch.testing.assert_close(model(**padded).logits[:1], expected, atol=1e-5, rtol=0)
        for pooling in ("mean", "last"):
            model.config.pooling = pooling
            own = model(**alone).logits
            unmasked = model(padded["input_ids"], attention_mask=torch.ones_like(padded["input_ids"])).logits[:1]
            assert (unmasked - own).abs().max() > 1e-4
