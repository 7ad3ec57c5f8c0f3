"""HyenaDNA in transformers' shared tests. Run by run.py, which makes the package `tests` of transformers importable."""

import unittest

from tests.generation.test_utils import GenerationTesterMixin
from tests.test_configuration_common import ConfigTester
from tests.test_modeling_common import ModelTesterMixin, ids_tensor, random_attention_mask
from tests.test_tokenization_common import TokenizerTesterMixin
from tests.test_training_mixin import TrainingTesterMixin
from transformers.models.auto import modeling_auto
from transformers.testing_utils import torch_device

from modeling_hyenadna import (
    HyenaDNAConfig,
    HyenaDNAForCausalLM,
    HyenaDNAForSequenceClassification,
    HyenaDNAForTokenClassification,
    HyenaDNAModel,
    HyenaDNATokenizer,
)

# The shared tests know which labels a head wants by these tables of names, where only transformers' own models stand.
for names, model_class in (
    (modeling_auto.MODEL_MAPPING_NAMES, HyenaDNAModel),
    (modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, HyenaDNAForCausalLM),
    (modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES, HyenaDNAForSequenceClassification),
    (modeling_auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES, HyenaDNAForTokenClassification),
):
    names["hyenadna"] = model_class.__name__


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
