"""bitsandbytes and torchao: the projections are quantised, the implicit filter stays float32."""

from functools import partial

import pytest
import torch
from transformers import BitsAndBytesConfig, TorchAoConfig

from modeling_hyenadna import HyenaDNAForCausalLM


def bitsandbytes(folder, **options):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    return HyenaDNAForCausalLM.from_pretrained(folder, quantization_config=BitsAndBytesConfig(**options))


def torchao(folder):
    quantization = pytest.importorskip("torchao.quantization", reason="torchao is not installed")
    settings = TorchAoConfig(quantization.Int8WeightOnlyConfig())
    return HyenaDNAForCausalLM.from_pretrained(folder, quantization_config=settings)


WAYS = {
    "8 bit": partial(bitsandbytes, load_in_8bit=True),
    "4 bit": partial(bitsandbytes, load_in_4bit=True, bnb_4bit_quant_type="nf4"),
    "torchao int8": torchao,
}


@pytest.mark.parametrize("way", WAYS)
def test_projections_are_quantised_and_the_filter_is_not(folder, model, tokenizer, sequences, way):
    quantised = WAYS[way](folder).eval()
    own, whole = (m.hyena.backbone.layers[0].mixer for m in (quantised, model))
    weight = own.in_proj.weight
    assert type(weight) is not torch.nn.Parameter or weight.dtype in (torch.int8, torch.uint8)
    torch.testing.assert_close(own.filter_fn(64).float(), whole.filter_fn(64), atol=1e-5, rtol=1e-5)
    inputs = tokenizer(sequences, padding=True, return_tensors="pt")
    with torch.no_grad():
        found, expected = (m(**inputs, labels=inputs["input_ids"]).loss.float() for m in (quantised, model))
    assert 0 < abs(found - expected) < 0.2 * expected
