"""captum: integrated gradients of embeddings add up; its DeepLIFT has no rule for a gate."""

import pytest
import torch

from modeling_hyenadna import HyenaDNAForSequenceClassification

captum = pytest.importorskip("captum", reason="captum is not installed")
from captum.attr import DeepLift, IntegratedGradients, LayerIntegratedGradients  # noqa: E402


@pytest.fixture(scope="module")
def classifier(folder):
    torch.manual_seed(0)
    return HyenaDNAForSequenceClassification.from_pretrained(folder, num_labels=2).eval()


@pytest.fixture(scope="module")
def ids(tokenizer, sequences):
    return tokenizer(sequences[0], add_special_tokens=False, return_tensors="pt")["input_ids"]


def score(classifier, embedded):
    return classifier(inputs_embeds=embedded).logits[:, 1]


def test_integrated_gradients_add_up(classifier, ids):
    embedded = classifier.get_input_embeddings()(ids).detach()
    baseline = torch.zeros_like(embedded)
    attributed = IntegratedGradients(lambda x: score(classifier, x)).attribute(embedded, baseline, n_steps=64)
    difference = score(classifier, embedded) - score(classifier, baseline)
    assert difference.abs() > 1e-3
    torch.testing.assert_close(attributed.sum(dim=(1, 2)).float(), difference.detach(), rtol=2e-2, atol=1e-4)


def test_layer_integrated_gradients_take_token_ids(classifier, ids):
    explain = LayerIntegratedGradients(lambda x: classifier(x).logits[:, 1], classifier.get_input_embeddings())
    baseline = torch.full_like(ids, 11)  # N
    attributed = explain.attribute(ids, baseline, n_steps=64)
    difference = (classifier(ids).logits - classifier(baseline).logits)[:, 1]
    torch.testing.assert_close(attributed.sum(dim=(1, 2)).float(), difference.detach(), rtol=5e-2, atol=2e-3)


def test_deep_lift_does_not_add_up(classifier, ids):
    """What the page says: gates and functional layers have no rule there, so what it gives is not an attribution."""

    class OfEmbeddings(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.classifier = classifier

        def forward(self, embedded):
            return score(self.classifier, embedded)

    embedded = classifier.get_input_embeddings()(ids).detach()
    baseline = torch.zeros_like(embedded)
    _, missing = DeepLift(OfEmbeddings()).attribute(embedded, baseline, return_convergence_delta=True)
    assert missing.abs().max() > 1e-3
