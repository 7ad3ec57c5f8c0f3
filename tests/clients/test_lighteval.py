"""lighteval: log-likelihoods of continuations are ours. It adds no tokens when told so."""

import pytest
import torch

pytest.importorskip("lighteval", reason="lighteval is not installed")
from lighteval.models.transformers.transformers_model import TransformersModel, TransformersModelConfig
from lighteval.tasks.requests import Doc, SamplingMethod


def test_loglikelihood(folder, model, tokenizer, sequences):
    settings = TransformersModelConfig(
        model_name=folder, device="cpu", dtype="float32", add_special_tokens=False, batch_size=2, max_length=128
    )
    docs = [
        Doc(query=own[:-4], choices=[own[-4:], "TTTT"], gold_index=0, id=str(index), task_name="dna|0",
            sampling_methods=[SamplingMethod.LOGPROBS])
        for index, own in enumerate(sequences[:3])
    ]  # fmt: skip
    found = TransformersModel(settings).loglikelihood(docs)
    for doc, answer in zip(docs, found, strict=True):
        for choice, value in zip(doc.choices, answer.logprobs, strict=True):
            ids = tokenizer(doc.query + choice, add_special_tokens=False, return_tensors="pt")["input_ids"]
            with torch.no_grad():
                log_p = model(ids).logits[0, :-1].log_softmax(dim=-1).gather(1, ids[0, 1:, None])
            assert value == pytest.approx(float(log_p[-4:].sum()), abs=1e-3)
