"""tangermeme: predictions and attributions of one-hot sequences by OneHotModel."""

import pytest
import torch

from evaluation_dart import load_scorer
from evaluation_dart.tools.attribution import OneHotModel, path_rule

pytest.importorskip("tangermeme", reason="tangermeme is not installed: pip install 'hyenadna-dart[attribution]'")
from tangermeme.deep_lift_shap import deep_lift_shap
from tangermeme.predict import predict
from tangermeme.utils import one_hot_encode


def test_predictions_are_likelihoods_and_attributions_add_up(folder, sequences):
    scorer = load_scorer(folder)
    model = OneHotModel(scorer)
    x = one_hot_encode(sequences[0])[None].float()
    found = predict(model, x, device="cpu")
    torch.testing.assert_close(
        found[:, 0].double(), torch.tensor(scorer.log_likelihood(sequences[:1])), atol=1e-3, rtol=1e-4
    )
    reference = one_hot_encode(sequences[0][::-1])[None, None].float()
    options = {"additional_nonlinear_ops": path_rule(32), "device": "cpu", "batch_size": 1, "hypothetical": False}
    attributed = deep_lift_shap(model, x, references=reference, raw_outputs=True, warning_threshold=1e9, **options)
    total = (attributed * (x[:, None] - reference)).sum()
    difference = found[0, 0] - predict(model, reference[0], device="cpu")[0, 0]
    torch.testing.assert_close(total, difference, rtol=2e-2, atol=1e-2)
