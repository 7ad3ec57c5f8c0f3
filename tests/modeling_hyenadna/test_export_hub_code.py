"""The Hub code, used where this package cannot be imported."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from modeling_hyenadna import HyenaDNAForCausalLM, HyenaDNATokenizer
from modeling_hyenadna.export_hub_code import AUTO_MAP, export_hub_code, hub_code

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "model_cards/hyenadna-tiny-1k-demo"
HIDDEN = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("modeling_hyenadna", "trainer_scripts", "evaluation_dart", "datasets_dart"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Hidden())
"""


def test_files_are_flat_and_need_nothing_of_the_package():
    files = hub_code()
    assert {"configuration_hyenadna.py", "modeling_hyenadna.py", "long_conv.py", "torch_backend.py"} <= set(files)
    for name, source in files.items():
        assert source.startswith("# Part of HyenaDNA in hyenadna-dart, Apache-2.0.")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1
                for module in [node.module] if node.module else [alias.name for alias in node.names]:
                    assert f"{module}.py" in files, name
        assert not re.search(r"import (ctypes|subprocess)|\"hyenadna::|\[\"hyena\"\]", source), name
    # transformers fetches what it finds by this pattern, from file to file.
    reached, todo = set(), ["modeling_hyenadna"]
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += re.findall(r"^\s*from\s+\.(\S+)\s+import", files[f"{name}.py"], re.MULTILINE)
    assert {f"{name}.py" for name in reached} == set(files)


def test_a_folder_works_without_the_package(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(DEMO, folder)
    assert export_hub_code(folder) == sorted(hub_code())
    config = json.loads((folder / "config.json").read_text())
    assert config.pop("auto_map") == AUTO_MAP
    assert config == json.loads((DEMO / "config.json").read_text())
    program = f"""
import json
import torch
from transformers import (AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification,
                          AutoModelForTokenClassification, AutoTokenizer)

try:
    import modeling_hyenadna
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("the package is there")

load = lambda auto, **options: auto.from_pretrained({str(folder)!r}, trust_remote_code=True, **options)
torch.manual_seed(0)
tokenizer, model = load(AutoTokenizer), load(AutoModelForCausalLM)
inputs = tokenizer(["ACGTNACGTT", "GGA"], padding=True, return_tensors="pt")
outputs = model(**inputs, labels=inputs.input_ids)
outputs.loss.backward()
gradient = model.hyena.backbone.layers[0].mixer.filter_fn.bias.grad
generated = model.generate(**tokenizer("ACGTACGTAC", return_tensors="pt"), max_new_tokens=4, do_sample=False)
for auto in (AutoModel, AutoModelForSequenceClassification, AutoModelForTokenClassification):
    load(auto).eval()(**inputs)
# The same code from another place, in one process; and saved again, it takes its code along.
model.eval().save_pretrained({str(tmp_path / "again")!r})
again = AutoModelForCausalLM.from_pretrained({str(tmp_path / "again")!r}, trust_remote_code=True)
assert torch.equal(again.eval()(**inputs).logits, model(**inputs).logits)
assert type(again) is not type(model)
for each in (model, again):
    prompt = tokenizer("ACGTACGTAC", return_tensors="pt")
    assert torch.equal(each.generate(**prompt, max_new_tokens=4, do_sample=False), generated)
print(json.dumps([type(model).__module__, inputs.input_ids.tolist(), inputs.attention_mask.tolist(),
                  outputs.logits.tolist(), gradient.tolist(), generated.tolist()]))
"""
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HIDDEN + program],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    module, ids, mask, logits, gradient, generated = json.loads(run.stdout)
    assert module.startswith("transformers_modules.")

    tokenizer, model = HyenaDNATokenizer.from_pretrained(DEMO), HyenaDNAForCausalLM.from_pretrained(DEMO)
    inputs = tokenizer(["ACGTNACGTT", "GGA"], padding=True, return_tensors="pt")
    assert ids == inputs.input_ids.tolist()
    assert mask == inputs.attention_mask.tolist()
    outputs = model(**inputs, labels=inputs.input_ids)
    outputs.loss.backward()
    torch.testing.assert_close(torch.tensor(logits), outputs.logits.detach(), rtol=1e-4, atol=1e-4)
    expected = model.hyena.backbone.layers[0].mixer.filter_fn.bias.grad
    torch.testing.assert_close(torch.tensor(gradient), expected, rtol=1e-3, atol=1e-5)
    prompt = tokenizer("ACGTACGTAC", return_tensors="pt")
    assert generated == model.generate(**prompt, max_new_tokens=4, do_sample=False).tolist()


def test_with_the_package_the_native_classes_load_it(tmp_path):
    shutil.copytree(DEMO, tmp_path / "model")
    export_hub_code(tmp_path / "model")
    model = HyenaDNAForCausalLM.from_pretrained(tmp_path / "model")
    assert not hasattr(model.config, "auto_map")
    model.save_pretrained(tmp_path / "again")
    assert "auto_map" not in json.loads((tmp_path / "again/config.json").read_text())


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json: no such file"):
        export_hub_code(tmp_path)
    for content, message in (("{", "not JSON"), ('{"model_type": "gpt2"}', "not the config of a HyenaDNA model")):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(ValueError, match=message):
            export_hub_code(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
