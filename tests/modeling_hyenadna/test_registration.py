"""transformers and peft, in fresh processes in which nothing is patched, know HyenaDNA as one of their own models."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM
from modeling_hyenadna.export_hub_code import export_hub_code

ROOT = Path(__file__).parents[2]
# `model`, HyenaDNAForCausalLM, is there when this begins.
LABEL_SMOOTHING = """
import torch
from transformers import Trainer, TrainingArguments

ids = torch.randint(7, 11, (2, 40), generator=torch.Generator().manual_seed(0))
settings = TrainingArguments("out", label_smoothing_factor=0.1, report_to="none", use_cpu=True)
with torch.no_grad():
    loss = Trainer(model, settings).compute_loss(model, {"input_ids": ids, "labels": ids.clone()})
    log_p = model(ids).logits[:, :-1].log_softmax(dim=-1)
expected = -0.9 * log_p.gather(-1, ids[:, 1:, None]).mean() - 0.1 * log_p.mean()
torch.testing.assert_close(loss, expected)
"""

# `peft` and `causal` are there. peft is imported after the package in one test, before the Hub code in the other.
DEFAULT_LAYERS = """
adapted = peft.get_peft_model(causal, peft.LoraConfig())
assert adapted.peft_config["default"].target_modules == {"in_proj", "out_proj", "fc1", "fc2"}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    config = HyenaDNAConfig(
        d_model=16, n_layer=1, max_seq_len=64, filter_order=8, embed_dropout=0.0, initializer_range=0.5
    )
    path = tmp_path_factory.mktemp("registration") / "model"
    HyenaDNAForCausalLM(config).save_pretrained(path)
    return path


def run(program, cwd, *options):
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(cwd / "home"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *options, "-c", program],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_the_package_enters_its_names(folder, tmp_path):
    pytest.importorskip("peft")
    program = f"""
import sys
import modeling_hyenadna
from transformers import AutoModelForCausalLM, pipeline
assert "peft" not in sys.modules
model = causal = AutoModelForCausalLM.from_pretrained({str(folder)!r})
{LABEL_SMOOTHING}
tokenizer = modeling_hyenadna.HyenaDNATokenizer(model_max_length=64)
pipeline("text-generation", model=model, tokenizer=tokenizer)
for task, auto in (("text-classification", "SequenceClassification"), ("token-classification", "TokenClassification")):
    model = getattr(modeling_hyenadna, f"HyenaDNAFor{{auto}}")(model.config)
    pipeline(task, model=model, tokenizer=tokenizer)
import peft
{DEFAULT_LAYERS}
"""
    assert "is not supported for" not in run(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{program}", tmp_path)


def test_hub_code_enters_its_names(folder, tmp_path):
    pytest.importorskip("peft")
    export_hub_code(folder)
    program = f"""
import sys
sys.modules["modeling_hyenadna"] = None  # importing it is an error
import peft
from transformers import AutoModelForCausalLM
model = causal = AutoModelForCausalLM.from_pretrained({str(folder)!r}, trust_remote_code=True)
assert type(model).__module__.startswith("transformers_modules.")
{LABEL_SMOOTHING}
{DEFAULT_LAYERS}
"""
    run(program, tmp_path)
