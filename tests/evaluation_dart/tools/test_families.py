"""verify-family on small stand-ins: what passes, what fails, and the line for ls."""

import json
from datetime import date
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from evaluation_dart.models.families import FAMILIES
from evaluation_dart.tools.families import line_of, verify_family
from tests.evaluation_dart.models.families.old_code import MODEL, write_small
from trainer_scripts.cli import dart_eval as command

FIXTURES = Path(__file__).parents[2] / "fixtures"


def outcomes(report):
    return {check.what: check.passed for check in report.checks}


@pytest.fixture
def wide(tmp_path):
    """A stand-in that reads 512 tokens, in a folder whose name says its family."""
    folder = tmp_path / "caduceus-small"
    write_small(folder, code=MODEL.replace("torch.arange(64)", "torch.arange(512)"))
    return folder


def test_a_stand_in_passes(wide):
    report = verify_family("caduceus", str(wide), device="cpu", trust_remote_code=True)
    assert outcomes(report) == dict.fromkeys(
        ("loading", "tokens", "direction", "padding", "forward", "fine-tuning"), True
    )
    told = {check.what: check.outcome for check in report.checks}
    assert told["loading"] == "SmallForMaskedLM of its repository's code, 136 parameters, masked"
    assert told["tokens"] == "1 bases each; 1 before and 0 after a sequence"
    where = f"local/caduceus-small@{report.line.partition('@')[2][:12]}, {date.today()}"
    assert report.line == f"Caduceus: loads here ({where}, transformers {transformers.__version__})"
    assert not report.failed


def test_what_is_wrong_is_found(wide, tmp_path):
    code = (wide / "modeling_small.py").read_text()
    faults = {
        # what changes in the code, and which checks then fail
        "padding": ("(mask - self", "(0 * mask - self"),
        "direction": ("states = states + attention @ states", "states = states + 0 * attention @ states"),
    }
    for what, (right, wrong) in faults.items():
        folder = tmp_path / f"caduceus-{what}"
        write_small(folder, code=code.replace(right, wrong))
        assert code.replace(right, wrong) != code
        assert verify_family("caduceus", str(folder), device="cpu", trust_remote_code=True).failed == [what]
    weights = load_file(wide / "model.safetensors")
    save_file(weights | {"small.mix.weight": torch.full((8, 8), torch.nan)}, wide / "model.safetensors")
    found = verify_family("caduceus", str(wide), device="cpu", trust_remote_code=True)
    assert {"forward", "fine-tuning"} <= {*found.failed}


def test_another_family_and_nothing_at_all(wide, tmp_path):
    report = verify_family("hyenadna", str(wide), device="cpu", trust_remote_code=True)
    assert report.failed == ["loading"]
    assert "known as a model of Caduceus" in report.line
    report = verify_family("caduceus", str(wide), device="cpu")
    assert report.failed == ["loading"]
    assert report.line.startswith("Caduceus: fails (")
    plain = tmp_path / "small"
    write_small(plain, code=MODEL.replace("torch.arange(64)", "torch.arange(512)"))
    assert verify_family("other", str(plain), device="cpu", trust_remote_code=True).line.startswith(
        "another model: loads here (local/small@"
    )
    report = verify_family("hyenadna", str(plain), device="cpu", trust_remote_code=True)
    assert report.checks[0].outcome.endswith("known as a model of no family of the paper")
    with pytest.raises(ValueError, match=r"family 'mamba': there are hyenadna, caduceus, .* and other for any other"):
        verify_family("mamba", str(wide))
    today = date.today().isoformat()
    assert line_of(FAMILIES["gena_lm"], "org/model", "0123456789abcdef", []) == (
        f"GENA-LM: loads here (org/model@0123456789ab, {today}, transformers {transformers.__version__})"
    )


def test_the_command(wide):
    runner = CliRunner()
    words = ["verify-family", "caduceus", str(wide), "--device", "cpu", "--trust-remote-code"]
    done = runner.invoke(command.app, words)
    assert done.exit_code == 0, done.output
    assert "passed  padding: changes embeddings by " in done.output
    assert "for ls: Caduceus: loads here (local/caduceus-small@" in done.output
    (wide / "model.safetensors").unlink()
    done = runner.invoke(command.app, ["--json", *words])
    assert done.exit_code == 1
    (check,) = json.loads(done.output.partition("\n}")[0] + "\n}")["checks"]
    assert check["passed"] is False
    assert "none of model.safetensors" in check["outcome"]


def test_our_own_model_needs_no_trust():
    model = FIXTURES / "model" / "long_d32_l2_s2116"
    report = verify_family("hyenadna", str(model), device="cpu")
    assert outcomes(report) == dict.fromkeys(
        ("loading", "tokens", "direction", "padding", "forward", "fine-tuning"), True
    )
    assert "HyenaDNAForCausalLM of modeling_hyenadna" in report.checks[0].outcome
