"""A small model folder, and sequences, for the clients. Weights are large enough that a fault would show."""

import random

import pytest
import torch

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNATokenizer

LIMIT = 130


@pytest.fixture(autouse=True)
def gradients():
    """Some of the clients switch gradients off for the whole process."""
    torch.set_grad_enabled(True)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    config = HyenaDNAConfig(
        d_model=16, n_layer=2, max_seq_len=LIMIT, filter_order=8, embed_dropout=0.0, initializer_range=0.3
    )
    path = tmp_path_factory.mktemp("clients") / "model"
    HyenaDNAForCausalLM(config).save_pretrained(path)
    HyenaDNATokenizer(model_max_length=LIMIT).save_pretrained(path)
    return str(path)


@pytest.fixture(scope="session")
def model(folder):
    return HyenaDNAForCausalLM.from_pretrained(folder).eval()


@pytest.fixture(scope="session")
def tokenizer(folder):
    return HyenaDNATokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def sequences():
    generator = random.Random(0)
    return ["".join(generator.choices("ACGT", k=length)) for length in (40, 17, 63, 5, 28, 31, 50, 12)]
