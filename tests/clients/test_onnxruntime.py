"""onnxruntime runs what `export_onnx` writes: the same logits, at any batch and length."""

import numpy as np
import pytest
import torch

from modeling_hyenadna.export_onnx import export_onnx

pytest.importorskip("onnxscript", reason="onnxscript is not installed: pip install 'hyenadna-dart[onnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


def test_logits(model, tokenizer, sequences, tmp_path):
    export_onnx(model, tmp_path / "model.onnx", max_length=64)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    for own in (sequences[:3], sequences[3:4]):
        inputs = tokenizer(own, padding=True, return_tensors="pt")
        (found,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
        with torch.no_grad():
            expected = model(**inputs).logits.numpy()
        real = inputs["attention_mask"].numpy() != 0
        np.testing.assert_allclose(found[real], expected[real], atol=1e-3)
