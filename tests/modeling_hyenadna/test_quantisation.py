"""Quantised models: the implicit filter and its sine stay float32, whichever way asks for fewer bits."""

import copy
import importlib

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, TorchAoConfig

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM
from modeling_hyenadna.modeling_hyenadna import HyenaDNAFilter, HyenaDNAFilterLayer

IDS = torch.randint(7, 11, (2, 50), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def model(request):
    torch.manual_seed(0)
    sizes = {"d_model": 64, "n_layer": 2, "max_seq_len": 66, "emb_dim": 5, "filter_order": 32, "activation_freq": 10}
    model = HyenaDNAForCausalLM(HyenaDNAConfig(**sizes, tie_word_embeddings=request.param)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "freq" not in name:
                parameter.mul_(4)
    return model


def bitsandbytes(**options):
    def load(model, folder):
        pytest.importorskip("bitsandbytes")
        config = BitsAndBytesConfig(**options)
        return AutoModelForCausalLM.from_pretrained(folder, quantization_config=config, device_map="cpu")

    return load


def torchao_configuration(model, folder):
    quantization = pytest.importorskip("torchao.quantization")
    config = TorchAoConfig(quantization.Int8WeightOnlyConfig())
    return AutoModelForCausalLM.from_pretrained(folder, quantization_config=config, device_map="cpu")


def torchao_quantize(model, folder):
    quantization = pytest.importorskip("torchao.quantization")
    quantised = copy.deepcopy(model)
    quantization.quantize_(quantised, quantization.Int8WeightOnlyConfig())
    return quantised


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated")
def torch_dynamic(model, folder):
    module = importlib.import_module("torch.ao.quantization")
    return module.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


WAYS = {
    "bitsandbytes 4 bit": bitsandbytes(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32),
    "bitsandbytes 8 bit": bitsandbytes(load_in_8bit=True),
    "TorchAoConfig": torchao_configuration,
    "torchao.quantize_": torchao_quantize,
    "quantize_dynamic": torch_dynamic,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.filterwarnings("ignore")
def test_the_filter_stays_float32_and_the_head_tied(model, tmp_path, way):
    model.save_pretrained(tmp_path)
    quantised = WAYS[way](model, tmp_path).eval()
    filters = [module for module in quantised.modules() if isinstance(module, HyenaDNAFilter)]
    originals = [module for module in model.modules() if isinstance(module, HyenaDNAFilter)]
    for own, original in zip(filters, originals, strict=True):
        assert {type(layer) for name, layer in own.implicit_filter.items() if name != "1"} == {HyenaDNAFilterLayer}
        for ours, wanted in zip(own.parameters(), original.parameters(), strict=True):
            assert type(ours) is nn.Parameter
            assert ours.dtype == torch.float32
            assert torch.equal(ours, wanted)
        assert torch.equal(own(66), original(66))
    # something was quantised indeed
    linear = quantised.hyena.backbone.layers[0].mixer.in_proj
    assert type(linear) is not nn.Linear or type(linear.weight) is not nn.Parameter
    embedding = quantised.get_input_embeddings().weight
    assert (quantised.lm_head.weight is embedding) == model.config.tie_word_embeddings
    with torch.no_grad():
        logits, expected = (m(IDS).logits.float() for m in (quantised, model))
    assert 0 < (logits - expected).norm() < 0.6 * expected.norm()
