"""A small masked language model as repositories on the Hub have them: code of its own, written for transformers 4.

It has, in few lines, what stops such code under transformers 5: names that are no longer there to import, a
configuration without the fields of transformers 4, methods that models inherited, `tie_weights` without arguments,
tensors computed while the network is built, and a layer whose weight is read by the module above it.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

WIDTH = 8
VOCABULARY = {
    word: number for number, word in enumerate(("[PAD]", "[MASK]", "[CLS]", "[UNK]", "A", "C", "G", "T", "N"))
}
CONFIGURATION = """
from transformers import PretrainedConfig


class SmallConfig(PretrainedConfig):
    model_type = "small_old_code"

    def __init__(self, width=8, vocab_size=9, **kwargs):
        self.width, self.vocab_size = width, vocab_size
        super().__init__(**kwargs)
"""
MODEL = """
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput, SequenceClassifierOutput
from transformers.modeling_utils import find_pruneable_heads_and_indices as of_modeling_utils
from transformers.pytorch_utils import find_pruneable_heads_and_indices

from .configuration_small import SmallConfig

try:
    import triton as kernels
except ImportError:
    kernels = None


class SmallPreTrainedModel(PreTrainedModel):
    config_class = SmallConfig
    base_model_prefix = "small"
    _tied_weights_keys = ["head.weight"]

    def _init_weights(self, module):
        if isinstance(module, nn.Embedding):
            module.weight.data.normal_()


class SmallModel(SmallPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.width)
        self.mix = nn.Linear(config.width, config.width, bias=False)
        self.decoder = config.is_decoder or config.add_cross_attention
        self.register_buffer("slopes", 1 / torch.arange(1, config.width + 1), persistent=False)
        places = torch.arange(64)
        self.distances = (places[:, None] - places).abs() / 10.0
        self.post_init()

    def get_input_embeddings(self):
        return self.embed

    def forward(self, input_ids, attention_mask=None, output_hidden_states=None):
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        assert self.get_head_mask(None, 1) == [None]
        mask = self.get_extended_attention_mask(attention_mask, input_ids.shape)[:, 0]
        states = self.embed(input_ids) * self.slopes
        length = input_ids.shape[1]
        attention = (mask - self.distances[:length, :length]).softmax(-1)
        states = states + attention @ states @ self.mix.weight.T
        return BaseModelOutput(last_hidden_state=states, hidden_states=(states,))


class SmallForMaskedLM(SmallPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.small = SmallModel(config)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.small.embed

    def get_output_embeddings(self):
        return self.head

    def tie_weights(self):
        super().tie_weights()

    def forward(self, input_ids, attention_mask=None, output_hidden_states=None):
        states = self.small(input_ids, attention_mask).last_hidden_state
        return MaskedLMOutput(logits=self.head(states), hidden_states=(states,))


class SmallForSequenceClassification(SmallPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.small = SmallModel(config)
        self.score = nn.Linear(config.width, config.num_labels, bias=False)
        self.post_init()
        self.score.weight.data.fill_(0.25)

    def forward(self, input_ids, attention_mask=None):
        states = self.small(input_ids, attention_mask).last_hidden_state
        return SequenceClassifierOutput(logits=self.score(states[:, 0]))
"""
AUTO_MAP = {
    "AutoConfig": "configuration_small.SmallConfig",
    "AutoModel": "modeling_small.SmallModel",
    "AutoModelForMaskedLM": "modeling_small.SmallForMaskedLM",
    "AutoModelForSequenceClassification": "modeling_small.SmallForSequenceClassification",
}


def small_weights(seed: int = 0) -> dict[str, torch.Tensor]:
    """Those of a checkpoint as transformers 4 saves it: without the head's, which is tied."""
    generator = torch.Generator().manual_seed(seed)
    embed = torch.randn(len(VOCABULARY), WIDTH, generator=generator)
    return {"small.embed.weight": embed, "small.mix.weight": torch.randn(WIDTH, WIDTH, generator=generator)}


def small_states(weights: dict[str, torch.Tensor], ids: torch.Tensor) -> torch.Tensor:
    """Hidden states (T, C) of a sequence's ids (T), written out."""
    states = weights["small.embed.weight"][ids] / torch.arange(1, WIDTH + 1)
    place = torch.arange(len(ids))
    closeness = torch.exp(-(place[:, None] - place).abs() / 10.0)
    attention = closeness / closeness.sum(dim=1, keepdim=True)
    return states + attention @ states @ weights["small.mix.weight"].T


def small_tokenizer() -> PreTrainedTokenizerFast:
    """[CLS] and a token a base."""
    tokenizer = Tokenizer(models.WordLevel(VOCABULARY, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A", special_tokens=[("[CLS]", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", mask_token="[MASK]", cls_token="[CLS]", unk_token="[UNK]"
    )


def write_small(
    folder: Path, auto_map: dict[str, str] | None = None, code: str = MODEL, file: str = "modeling_small"
) -> dict[str, torch.Tensor]:
    """Write such a repository, with its weights, which are given back."""
    folder.mkdir(parents=True)
    declared = {name: own.replace("modeling_small", file) for name, own in (auto_map or AUTO_MAP).items()}
    config = {"model_type": "small_old_code", "architectures": ["SmallForMaskedLM"], "auto_map": declared}
    (folder / "config.json").write_text(json.dumps(config | {"width": WIDTH, "vocab_size": len(VOCABULARY)}))
    (folder / "configuration_small.py").write_text(CONFIGURATION)
    (folder / f"{file}.py").write_text(code)
    weights = small_weights()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    small_tokenizer().save_pretrained(folder)
    return weights
