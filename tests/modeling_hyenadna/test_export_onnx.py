"""A model as an ONNX program, run by onnxruntime."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from modeling_hyenadna import (
    HyenaDNAConfig,
    HyenaDNAForCausalLM,
    HyenaDNAForSequenceClassification,
    HyenaDNAModel,
)
from modeling_hyenadna.export_onnx import TOLERANCE, export_onnx

DEMO = Path(__file__).parents[2] / "model_cards/hyenadna-tiny-1k-demo"
SMALL = {"d_model": 16, "n_layer": 1, "max_seq_len": 130, "emb_dim": 5, "filter_order": 16, "activation_freq": 10}
needs_onnxruntime = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="onnx, onnxscript or onnxruntime is not installed",
)


def random_inputs(batch, length):
    ids = torch.randint(7, 11, (batch, length), generator=torch.Generator().manual_seed(length))
    mask = torch.ones_like(ids)
    if length > 8:
        mask[0, :3] = 0
        mask[-1, -2:] = 0
    return ids, mask


def ran(path, ids, mask):
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    assert [node.name for node in session.get_inputs()] == ["input_ids", "attention_mask"]
    (output,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    return torch.from_numpy(output)


@needs_onnxruntime
def test_trained_model_at_every_length_and_batch_size(tmp_path):
    model = HyenaDNAForCausalLM.from_pretrained(DEMO).eval()
    path = tmp_path / "demo.onnx"
    found = export_onnx(model, path)
    assert (found["max_length"], found["output"], set(found["checked"])) == (1026, "logits", {"33", "1026"})
    for batch, length in ((1, 1), (2, 2), (3, 33), (1, 1025), (2, 1026)):
        ids, mask = random_inputs(batch, length)
        with torch.no_grad():
            expected = model(ids, attention_mask=mask).logits
        real = mask != 0
        difference = (ran(path, ids, mask) - expected)[real].abs().max()
        assert difference < TOLERANCE / 10 * expected[real].abs().max()


@needs_onnxruntime
@pytest.mark.parametrize("kind", [HyenaDNAModel, HyenaDNAForSequenceClassification])
def test_other_heads(tmp_path, kind):
    torch.manual_seed(0)
    model = kind(HyenaDNAConfig(**SMALL)).train()
    found = export_onnx(model, tmp_path / "model.onnx", max_length=100)
    assert model.training
    assert found["output"] == ("logits" if hasattr(model, "score") else "last_hidden_state")
    ids, mask = random_inputs(2, 100)
    with torch.no_grad():
        expected = model.eval()(ids, attention_mask=mask)[0]
    value = ran(tmp_path / "model.onnx", ids, mask)
    real = mask != 0 if value.ndim == 3 else slice(None)
    torch.testing.assert_close(value[real], expected[real], rtol=1e-4, atol=1e-5)


def test_what_cannot_be_written_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("modeling_hyenadna.export_onnx.NEEDED", ())
    model = HyenaDNAModel(HyenaDNAConfig(**SMALL))
    with pytest.raises(ValueError, match="max_length must be from 2 to 130, this model's limit, got 131"):
        export_onnx(model, tmp_path / "model.onnx", max_length=131)
    named = HyenaDNAModel(HyenaDNAConfig(**SMALL, long_conv_backend="torch"))
    with pytest.raises(ValueError, match=r'the torch backend .* cannot be written as ONNX: .*"plain", or "auto"'):
        export_onnx(named, tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="only a model in float32 on a CPU"):
        export_onnx(model.bfloat16(), tmp_path / "model.onnx")
    monkeypatch.setattr("modeling_hyenadna.export_onnx.NEEDED", ("onnx_that_is_not_there",))
    with pytest.raises(ImportError, match=r"needs onnx_that_is_not_there: pip install 'hyenadna-dart\[onnx\]'"):
        export_onnx(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
