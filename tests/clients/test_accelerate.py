"""`accelerate estimate-memory` builds the model without weights from what the Hub says of it."""

import pytest
from accelerate.commands import estimate
from huggingface_hub import ModelInfo

from modeling_hyenadna import HyenaDNAModel


def test_estimate_memory_counts_all_weights(folder, monkeypatch, capsys):
    info = ModelInfo(id=folder, library_name="transformers", config={"model_type": "hyenadna"})
    monkeypatch.setattr(estimate, "verify_on_hub", lambda *_: info)  # the answer of the Hub, which this asks first
    arguments = estimate.estimate_command_parser().parse_args([folder, "--dtypes", "float32"])
    ((dtype, _, size, _),) = estimate.gather_data(arguments)
    assert dtype == "float32"
    assert size == pytest.approx(4 * HyenaDNAModel.from_pretrained(folder).num_parameters(), rel=0.01)
