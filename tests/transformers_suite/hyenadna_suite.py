"""HyenaDNA in transformers' shared tests. Run by run.py, which makes the package `tests` of transformers importable."""

import unittest

from tests.generation.test_utils import GenerationTesterMixin
from tests.test_configuration_common import ConfigTester
from tests.test_modeling_common import ModelTesterMixin, ids_tensor, random_attention_mask
from tests.test_tokenization_common import TokenizerTesterMixin
from tests.test_training_mixin import TrainingTesterMixin
from transformers.testing_utils import torch_device

from modeling_hyenadna import (
    HyenaDNAConfig,
    HyenaDNAForCausalLM,
    HyenaDNAForSequenceClassification,
    HyenaDNAForTokenClassification,
    HyenaDNAModel,
    HyenaDNATokenizer,
)
from modeling_hyenadna.cache_hyenadna import HyenaDNACacheLayer


class HyenaDNAModelTester:
    """Small configurations and inputs, under the attribute names that the shared tests read."""

    causal_lm_class = HyenaDNAForCausalLM
    batch_size = 5
    seq_length = 9
    hidden_size = 16
    num_hidden_layers = 2
    is_training = True

    def __init__(self, parent):
        self.parent = parent

    def get_config(self):
        return HyenaDNAConfig(
            vocab_size=16,
            pad_vocab_size_multiple=1,  # the shared tests take config.vocab_size for the rows of the embedding
            d_model=self.hidden_size,
            n_layer=self.num_hidden_layers,
            max_seq_len=96,
            emb_dim=5,
            filter_order=8,
            activation_freq=10,
            embed_dropout=0.0,  # the shared training test asks for a loss near zero
        )

    def prepare_config_and_inputs_for_common(self):
        config = self.get_config()
        shape = [self.batch_size, self.seq_length]
        input_ids = ids_tensor(shape, config.vocab_size).clamp(min=5).to(torch_device)  # below are special tokens
        return config, {"input_ids": input_ids, "attention_mask": random_attention_mask(shape).to(torch_device)}


class HyenaDNAModelTest(ModelTesterMixin, GenerationTesterMixin, TrainingTesterMixin, unittest.TestCase):
    all_model_classes = (
        HyenaDNAModel,
        HyenaDNAForCausalLM,
        HyenaDNAForSequenceClassification,
        HyenaDNAForTokenClassification,
    )
    has_attentions = False

    def setUp(self):
        self.model_tester = HyenaDNAModelTester(self)
        self.config_tester = ConfigTester(
            self, config_class=HyenaDNAConfig, common_properties=["hidden_size", "num_hidden_layers"], d_model=16
        )

    def _check_past_key_values_for_generate(self, batch_size, past_key_values, seq_length, config):
        """The hook by which the tests of generation know the shape of a cache without keys and values."""
        assert len(past_key_values) == config.n_layer
        for layer in past_key_values.layers:
            assert isinstance(layer, HyenaDNACacheLayer)
            assert layer.get_seq_length() == layer.convolution.length == seq_length
            inputs_kept = max(config.short_filter_order - 1, layer.values.shape[1] if layer.record_past else 0)
            assert layer.values.shape == (batch_size, inputs_kept, 3 * config.d_model)

    def test_config(self):
        self.config_tester.run_common_tests()


class HyenaDNATokenizationTest(TokenizerTesterMixin, unittest.TestCase):
    tokenizer_class = HyenaDNATokenizer

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Of a length that the tests of padding to a multiple of 8 can truncate to.
        HyenaDNATokenizer(model_max_length=1024).save_pretrained(cls.tmpdirname)

    def get_input_output_texts(self, tokenizer):
        return "ACGTN", "ACGTN"  # what the mixin puts together has a space, which DNA has not
