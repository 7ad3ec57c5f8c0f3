"""`hyenadna verify`: recorded values, digests and the official code beside ours."""

import hashlib
import json
import re
import sys

import pytest
import torch

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNATokenizer, verify_checkpoint
from modeling_hyenadna.export_hub_code import export_hub_code
from trainer_scripts.cli import hyenadna

TINY = {"d_model": 16, "n_layer": 2, "max_seq_len": 34, "emb_dim": 5, "activation_freq": 10}
RELEASED = json.loads(verify_checkpoint.REFERENCE.read_text())["checkpoints"]


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """A small model's folder, and recorded values that are its own, as if it were a released one."""
    torch.manual_seed(0)
    model = HyenaDNAForCausalLM(HyenaDNAConfig(**TINY)).eval()
    model.save_pretrained(tmp_path / "model")
    HyenaDNATokenizer(model_max_length=34).save_pretrained(tmp_path / "model")
    values = verify_checkpoint.hidden_states(model.hyena, "ACGTNACGT").mean(dim=0).tolist()
    digest = hashlib.sha256((tmp_path / "model/model.safetensors").read_bytes()).hexdigest()
    facts = {
        "config": TINY,
        "sha256": {"model.safetensors": digest},
        "pooled_hidden_states": [{"sequence": "ACGTNACGT", "values": values}],
    }
    reference = tmp_path / "reference.json"
    reference.write_text(json.dumps({"checkpoints": {"small": facts}}))
    monkeypatch.setattr(verify_checkpoint, "REFERENCE", reference)
    return tmp_path / "model", facts, reference


def outcome(*arguments):
    return [(check.what.split()[0], check.passed) for check in verify_checkpoint.verify_checkpoint(*arguments)]


def run(capsys, monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["hyenadna", "verify", *map(str, arguments)])
    capsys.readouterr()  # what the test itself has loaded and saved
    with pytest.raises(SystemExit) as done:
        hyenadna.main()
    captured = capsys.readouterr()
    return done.value.code, captured.out, captured.err


def test_the_right_checkpoint_passes(checkpoint, capsys, monkeypatch):
    folder, *_ = checkpoint
    assert outcome(str(folder)) == [
        ("tokenizer", True), ("config", True), ("model.safetensors", True), ("mean", True)
    ]  # fmt: skip
    status, out, _ = run(capsys, monkeypatch, folder)
    assert status == 0
    assert re.search(r"passed  mean hidden state of ACGTNACGT, 16 values: largest difference 0\.0e\+00", out)


def test_other_weights_fail(checkpoint, capsys, monkeypatch):
    folder, *_ = checkpoint
    model = HyenaDNAForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.hyena.backbone.layers[1].mixer.filter_fn.bias += 0.01
    model.save_pretrained(folder)
    assert outcome(str(folder)) == [
        ("tokenizer", True), ("config", True), ("model.safetensors", None), ("mean", False)
    ]  # fmt: skip
    status, _, err = run(capsys, monkeypatch, folder)
    assert status == 1
    assert err == f"hyenadna: {folder}: differs in mean hidden state of ACGTNACGT, 16 values\n"


def test_another_shape_is_named(checkpoint, tmp_path):
    HyenaDNAForCausalLM(HyenaDNAConfig(**TINY | {"d_model": 8})).save_pretrained(tmp_path / "other")
    HyenaDNATokenizer().save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="no released checkpoint has its shape; there are small"):
        verify_checkpoint.verify_checkpoint(str(tmp_path / "other"))
    checks = verify_checkpoint.verify_checkpoint(str(tmp_path / "other"), name="small")
    assert [(check.outcome, check.passed) for check in checks][1] == ("d_model is 8, not 16", False)
    with pytest.raises(ValueError, match="'large' is not a released checkpoint"):
        verify_checkpoint.verify_checkpoint(str(tmp_path / "other"), name="large")


def test_where_nothing_is_recorded_it_says_so(checkpoint, capsys, monkeypatch):
    folder, facts, reference = checkpoint
    reference.write_text(json.dumps({"checkpoints": {"small": {"config": facts["config"]}}}))
    status, out, err = run(capsys, monkeypatch, folder)
    assert status == 1
    assert "-       hidden states: none are recorded for this checkpoint" in out
    assert "nothing recorded tells whether these are the right weights" in err


def test_official_code_is_run_beside_ours(checkpoint, capsys, monkeypatch, tmp_path):
    """With the exported Hub code in the official port's place, and a folder that gives it another decay."""
    folder, *_ = checkpoint
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    for name in [own for own in sys.modules if own.partition(".")[0] == "transformers_modules"]:
        monkeypatch.delitem(sys.modules, name)  # of another cache
    code = tmp_path / "code"
    code.mkdir()
    (code / "config.json").write_text((folder / "config.json").read_text())
    export_hub_code(code)
    status, out, _ = run(capsys, monkeypatch, folder, "--remote-code", code)
    assert status == 0
    assert f"passed  hidden states of the code in {code}" in out

    path = code / "modeling_hyenadna.py"
    path.write_text(path.read_text().replace("add_(self.config.shift)", "add_(0.0)"))
    status, _, err = run(capsys, monkeypatch, folder, "--remote-code", code)
    assert status == 1
    assert f"differs in hidden states of the code in {code}" in err


def test_recorded_facts_are_well_formed():
    assert len(RELEASED) == 7
    shapes = {tuple(facts["config"].values()) for facts in RELEASED.values()}
    assert len(shapes) == 7
    for facts in RELEASED.values():
        assert re.fullmatch("[0-9a-f]{40}", facts.get("revision", "0" * 40))
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in facts.get("sha256", {}).values())
        assert all(len(vector["values"]) in (8, 32) for vector in facts.get("pooled_hidden_states", ()))
    first = RELEASED["hyenadna-medium-160k-seqlen"]["pooled_hidden_states"][0]
    assert (first["sequence"], first["values"][:2]) == ("ACGTNACGT", [0.28749451, -0.38026249])
