"""The scoring code of DNA benchmarks, from checkouts that environment variables name; none of it is in this project.

CARBON=... BIOFOUNDATION=... TRAITGYM=... pytest tests/clients/test_benchmarks.py
"""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from evaluation_dart import load_scorer


def checkout(variable, commit):
    folder = os.environ.get(variable)
    if not folder:
        pytest.skip(f"{variable} names no checkout; tested with commit {commit}")
    return Path(folder)


def load(path):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def of_bases(model, tokenizer, sequence):
    """Log-probabilities of all bases but the first."""
    ids = tokenizer(sequence, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return model(ids).logits[0, :-1].log_softmax(dim=-1).gather(1, ids[0, 1:, None])[:, 0]


def test_carbon(folder, model, tokenizer, sequences, monkeypatch):
    """`_shard_worker` of evaluation/vep_eval.py takes `score_sequence`; it is written for GPUs."""
    script = load(checkout("CARBON", "dabe6ce") / "evaluation/vep_eval.py")
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, *_: self)
    items = [{"uid": str(number), "seq": own} for number, own in enumerate(sequences[:5])]
    found = dict(script._shard_worker((0, items, folder, None, "float32", 2)))
    for item in items:
        assert found[item["uid"]] == pytest.approx(float(of_bases(model, tokenizer, item["seq"]).mean()), abs=1e-4)
    carbon = load_scorer(folder).log_likelihood(sequences[:5], reduction="mean", special_tokens="not added")
    assert list(found.values()) == pytest.approx(carbon.tolist(), abs=1e-4)


def test_biofoundation(folder, model, tokenizer, sequences, monkeypatch):
    monkeypatch.syspath_prepend(str(checkout("BIOFOUNDATION", "66cf4d4")))
    pytest.importorskip("bioframe", reason="biofoundation needs bioframe")
    pytest.importorskip("jaxtyping", reason="biofoundation needs jaxtyping")
    hf = pytest.importorskip("biofoundation.model.adapters.hf", reason="biofoundation's own imports fail")
    from biofoundation.data import transform_llr_clm
    from biofoundation.model.scoring import compute_llr_clm

    sequence = (sequences[0] + sequences[2])[:100]
    variant = {"chrom": "1", "pos": 51, "ref": sequence[50], "alt": "ACGT"["ACGT".index(sequence[50]) - 1]}
    inputs = transform_llr_clm(variant, hf.HFTokenizer(tokenizer), lambda *_: sequence, 100)["input_ids"][None]
    with torch.no_grad():
        (found,) = compute_llr_clm(hf.HFCausalLM(model), inputs)
    other = sequence[:50] + variant["alt"] + sequence[51:]
    one, two = load_scorer(folder).log_likelihood([sequence, other], special_tokens="scored")
    assert float(found) == pytest.approx(two - one, abs=1e-3)


def test_traitgym(folder, tokenizer, sequences, monkeypatch):
    """CLMforVEPModel of workflow/scripts/run_vep_llr_hyenadna.py; gpn, which it imports, only reads genomes."""
    path = checkout("TRAITGYM", "4d80fe8") / "workflow/scripts/run_vep_llr_hyenadna.py"
    for name in ("gpn", "gpn.model", "gpn.data"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for name in ("Genome", "load_dataset_from_file_or_dir", "token_input_id"):
        setattr(sys.modules["gpn.data"], name, None)
    monkeypatch.setattr(sys.modules["gpn"], "model", sys.modules["gpn.model"], raising=False)
    scored = load(path).CLMforVEPModel(folder).eval()
    pair = [sequences[0], sequences[0][:20] + "A" + sequences[0][21:]]
    ids = tokenizer(pair, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        found = scored(ids[:1], ids[1:], ids[:1], ids[1:])
    one, two = load_scorer(folder).log_likelihood(pair, special_tokens="scored")
    assert float(found) == pytest.approx(two - one, abs=1e-3)
