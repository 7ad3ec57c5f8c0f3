"""The Hub code, used where this package cannot be imported."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNATokenizer
from modeling_hyenadna import export_hub_code as exporter
from modeling_hyenadna.export_hub_code import AUTO_MAP, export_hub_code, hub_code

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "model_cards/hyenadna-tiny-1k-demo"
# What a reader of the Hub code does not have: a program that starts with this has it neither.
PACKAGES = (
    "modeling_hyenadna",
    "datasets_dart",
    "datasets_hyenadna",
    "evaluation_dart",
    "trainer_scripts",
    "hyenadna_dart",
)
HIDDEN = f"""
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {PACKAGES}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Hidden())
"""


def test_files_are_flat_and_need_nothing_of_the_package():
    files = hub_code()
    assert {
        "configuration_hyenadna.py",
        "modeling_hyenadna.py",
        "long_conv.py",
        "plain_backend.py",
        "torch_backend.py",
    } <= set(files)
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


@pytest.mark.parametrize("change", [lambda text: "", lambda text: text + text], ids=["not there", "there twice"])
@pytest.mark.parametrize("name", sorted(exporter.GLOBAL_NAMES))
def test_each_replacement_must_match_once(monkeypatch, name, change):
    flat = exporter.with_flat_imports

    def changed(path):
        source, needed = flat(path)
        return change(source) if path.name == name else source, needed

    monkeypatch.setattr(exporter, "with_flat_imports", changed)
    with pytest.raises(RuntimeError, match=rf"^{name}: .* occurs [02] times, not once"):
        hub_code()


# Evaluates the model in sys.argv[1] and writes what comes out to sys.argv[2]. The same lines for both sides.
MEASURE = """
import torch

PROMPTS = ("ACGTACGTAC", "GATTACAGATTACA")

def measure(tokenizer, model):
    found = {}
    for side in ("left", "right"):
        inputs = tokenizer(["ACGTNACGTT", "GGA"], padding=True, padding_side=side, return_tensors="pt")
        outputs = model(**inputs, labels=inputs.input_ids)
        found |= {f"{side} {name}": tensor for name, tensor in inputs.items()}
        found |= {f"{side} loss": outputs.loss.detach(), f"{side} logits": outputs.logits.detach()}
        found[f"{side} unmasked"] = model(input_ids=inputs.input_ids).logits.detach()
    outputs.loss.backward()
    found["gradient"] = model.hyena.backbone.layers[0].mixer.filter_fn.bias.grad.clone()
    found["alone"] = model(**tokenizer("GGA", return_tensors="pt")).logits.detach()
    inputs = tokenizer(list(PROMPTS), padding=True, return_tensors="pt", add_special_tokens=False)
    options = {"max_new_tokens": 40, "min_new_tokens": 40}
    found["greedy"] = model.generate(**inputs, do_sample=False, **options)
    found["beams"] = model.generate(**inputs, do_sample=False, num_beams=3, **options)
    torch.manual_seed(0)
    found["sampled"] = model.generate(**inputs, do_sample=True, **options)
    return found
"""


def test_a_folder_works_without_the_package(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(DEMO, folder)
    assert export_hub_code(folder) == sorted(hub_code())
    config = json.loads((folder / "config.json").read_text())
    assert config.pop("auto_map") == AUTO_MAP
    assert config == json.loads((DEMO / "config.json").read_text())
    program = f"""
from safetensors.torch import save_file
from transformers import (AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification,
                          AutoModelForTokenClassification, AutoTokenizer)

for package in {PACKAGES}:
    try:
        __import__(package)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{{package}} is there")

torch.set_num_threads(1)
load = lambda auto, **options: auto.from_pretrained({str(folder)!r}, trust_remote_code=True, **options)
tokenizer, model = load(AutoTokenizer), load(AutoModelForCausalLM).eval()
assert type(model).__module__.startswith("transformers_modules.")
found = measure(tokenizer, model)
inputs = tokenizer(["ACGTNACGTT", "GGA"], padding=True, return_tensors="pt")
# Derivatives of any kind, without a name of a backend.
embedded = model.get_input_embeddings()(inputs.input_ids).detach()
run = lambda x: model(inputs_embeds=x, attention_mask=inputs.attention_mask).logits
with torch.no_grad():
    numeric = (run(1.001 * embedded) - run(0.999 * embedded)) / 0.002
_, tangent = torch.func.jvp(run, (embedded,), (embedded,))
assert (tangent - numeric).norm() < 0.01 * numeric.norm()
embedded.requires_grad_()
(first,) = torch.autograd.grad(run(embedded).square().sum(), embedded, create_graph=True)
assert torch.autograd.grad(first.square().sum(), embedded)[0].isfinite().all()
for auto in (AutoModel, AutoModelForSequenceClassification, AutoModelForTokenClassification):
    load(auto).eval()(**inputs)
# The same code from another place, in one process; and saved again, it takes its code along.
model.save_pretrained({str(tmp_path / "again")!r})
again = AutoModelForCausalLM.from_pretrained({str(tmp_path / "again")!r}, trust_remote_code=True)
assert type(again) is not type(model)
assert all(torch.equal(tensor, found[name]) for name, tensor in measure(tokenizer, again.eval()).items())
save_file({{name: tensor.contiguous() for name, tensor in found.items()}}, {str(tmp_path / "found.safetensors")!r})
"""
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HIDDEN + MEASURE + program],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    found = load_file(tmp_path / "found.safetensors")

    # The Hub code computes with torch's FFTs, and so does the package when it is told to: not a bit differs.
    config = HyenaDNAConfig.from_pretrained(DEMO, long_conv_backend="torch")
    tokenizer = HyenaDNATokenizer.from_pretrained(DEMO)
    model = HyenaDNAForCausalLM.from_pretrained(DEMO, config=config).eval()
    measure: dict[str, Any] = {}
    exec(MEASURE, measure)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        expected = measure["measure"](tokenizer, model)
    finally:
        torch.set_num_threads(threads)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name

    # On either side, padding changes nothing where it is masked, and something where it is not.
    for side, own in (("left", slice(-4, None)), ("right", slice(4))):
        assert found[f"{side} attention_mask"].sum(1).tolist() == [11, 4]
        torch.testing.assert_close(found[f"{side} logits"][1, own], found["alone"][0], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(found["left unmasked"][1, -4:], found["alone"][0], rtol=1e-2, atol=1e-2)


def test_with_the_package_the_native_classes_load_it(tmp_path):
    shutil.copytree(DEMO, tmp_path / "model")
    export_hub_code(tmp_path / "model")
    model = HyenaDNAForCausalLM.from_pretrained(tmp_path / "model")
    assert model.config.auto_map == {}
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
