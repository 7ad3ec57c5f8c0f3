"""Fine-tuning: a language model under a head for sequences, with LoRA or in full (DART-Eval spec section 1.7)."""

import copy
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.modeling_outputs import SequenceClassifierOutput

from datasets_dart.errors import InputError
from evaluation_dart.models.checkpoints import (
    check_size,
    commit_of,
    folder_digest,
    load_config,
    loading_of,
    register_models,
    usable_device,
    usable_dtype,
)
from evaluation_dart.models.families.own_code import declared_class, load_own_code, runs_own_code
from evaluation_dart.models.language_model import SPELT, LanguageModel, load_language_model
from evaluation_dart.scoring.embeddings import pool
from evaluation_dart.training.lora import BESIDE_THE_BACKBONE, add_lora, layers_called

# What a checkpoint of a language model may lack: heads, and the pooler that comes with BERT's.
HEADS = ("pooler", "contact_head")
TRAINED_POOLINGS = ("mean", "max", "last")


def load_classifier(
    name: str | os.PathLike[str],
    outputs: int | None,
    revision: str | None = None,
    device: str | torch.device | None = None,
    trust_remote_code: bool = False,
    random_weights: bool = False,
    changes: Mapping[str, Any] | None = None,
    dtype: str = "float32",
) -> LanguageModel:
    """A model of the Hub or a folder as `AutoModelForSequenceClassification`, with its tokenizer.

    Args:
        outputs: of a new head; None for the head that the checkpoint was saved with.
        random_weights: the same architecture, initialised afresh.
        changes: fields of the configuration (dropout, pooling), as far as the model has them.
        dtype: of the weights.

    Raises:
        ValueError: if the model has no such head, the checkpoint lacks weights of its backbone, or was to have a
            trained head and has none.
        OSError: if there is no such model.
    """
    name = os.fspath(name)
    weights = usable_dtype(dtype)
    register_models()
    with loading_of(name, revision) as folder:  # a new head is what is wanted; what else is missing is told below
        commit = folder_digest(folder) if folder else commit_of(name, revision)
        remote: dict[str, Any] = {"trust_remote_code": trust_remote_code, "revision": None if folder else commit}
        new_head = {} if outputs is None else {"num_labels": outputs}
        config, family = load_config(name, remote["revision"], trust_remote_code, **new_head)
        saved = config.architectures or ["no architecture"]
        if outputs is None and not any("ForSequenceClassification" in architecture for architecture in saved):
            raise InputError(f"{name}: no trained head: saved as {', '.join(saved)}")
        config.update({field: value for field, value in (changes or {}).items() if hasattr(config, field)})
        check_size(config, AutoModelForSequenceClassification, folder, trust_remote_code=trust_remote_code)
        tokenizer = AutoTokenizer.from_pretrained(name, **remote)
        if getattr(config, "pad_token_id", None) is None:
            config.pad_token_id = tokenizer.pad_token_id if tokenizer.pad_token else tokenizer.eos_token_id
        missing: list[str] = []
        own = declared_class(config, AutoModelForSequenceClassification.__name__, family)
        if own is not None and runs_own_code(config, own, trust_remote_code):
            model, read = load_own_code(name, own, config, family, remote["revision"], weights, random_weights)
            prefix = "" if outputs is None else f"{model.base_model_prefix}."
            missing = [key for key in read.missing if key.startswith(prefix)]
            if read.mismatched:
                raise InputError(f"{name}: weights of another shape than config.json says: {read.mismatched[0][0]}")
        elif random_weights:
            del remote["revision"]
            model = AutoModelForSequenceClassification.from_config(config, **remote)
        else:
            model, loading = AutoModelForSequenceClassification.from_pretrained(
                name, config=config, dtype=weights, output_loading_info=True, **remote
            )
            prefix = "" if outputs is None else f"{model.base_model_prefix}."
            missing = [key for key in loading["missing_keys"] if key.startswith(prefix)]
        classifier = LanguageModel(model, tokenizer, "causal", name, commit)
    if missing := sorted(key for key in missing if outputs is None or not any(head in key for head in HEADS)):
        raise InputError(f"{name}: the checkpoint lacks {', '.join(missing[:5])}")
    classifier.model = model.to(usable_device(device))
    return classifier


class PooledClassifier(nn.Module):
    """A backbone of the Hub under a linear layer with bias on pooled hidden states: the head of HyenaDNA's paper."""

    base_model_prefix = "backbone"

    def __init__(self, backbone: Any, outputs: int, pooling: str):
        super().__init__()
        if pooling not in TRAINED_POOLINGS:
            raise InputError(f"pooling {pooling!r}: of any model, {', '.join(TRAINED_POOLINGS)}")
        self.backbone, self.config, self.pooling = backbone, backbone.config, pooling
        self.score = nn.Linear(backbone.config.hidden_size, outputs)

    @property
    def device(self) -> torch.device:
        """Where the head is."""
        return self.score.weight.device

    def num_parameters(self) -> int:
        """Those of backbone and head."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> SequenceClassifierOutput:
        """Logits (B, outputs) of tokens (B, T), pooled over those of the mask; without one, over all."""
        inputs = {} if attention_mask is None else {"attention_mask": attention_mask}
        hidden = self.backbone(input_ids=input_ids, **inputs).last_hidden_state
        own = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return SequenceClassifierOutput(logits=self.score(pool(hidden, own.bool(), self.pooling)))


def load_pooled_classifier(
    name: str | os.PathLike[str],
    outputs: int,
    *,
    changes: Mapping[str, Any],
    device: str | torch.device | None = None,
    **loading: Any,
) -> LanguageModel:
    """A model of the Hub or a folder as a [`PooledClassifier`], with its tokenizer.

    Args:
        changes: with `pooling`. loading: of [`load_language_model`].

    Raises:
        InputError: for a model whose own head pools, or a pooling that there is not.
    """
    seed = int(torch.randint(1 << 31, ()))  # of weights that are drawn anew, if any: from the caller's random stream
    loaded = load_language_model(os.fspath(name), head=False, device="cpu", seed=seed, **loading)
    if hasattr(loaded.model.config, "pooling"):
        raise InputError(f"{name}: its own head pools, by the same choice of pooling")
    classifier = copy.copy(loaded)
    head: Any = PooledClassifier(loaded.model.base_model, outputs, changes["pooling"])
    classifier.model = head.to(usable_device(device))
    return classifier


def freeze_backbone(classifier: LanguageModel) -> None:
    """Train only what is beside the backbone of a classifier: its head, and the pooler that comes with BERT's.

    Raises:
        InputError: if it has no backbone of its own.
    """
    prefix = classifier.model.base_model_prefix
    backbone = getattr(classifier.model, prefix, None)
    if not isinstance(backbone, nn.Module):
        raise InputError(f"{classifier.name}: the classifier has no backbone {prefix!r} to freeze")
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(BESIDE_THE_BACKBONE in name.split("."))


class FineTuned(nn.Module):
    """A classifier of [`load_classifier`] that reads strings: (B, outputs).

    Args:
        lora: rank, alpha and dropout of adapters on the backbone, all of it frozen but them; None trains everything.
    """

    def __init__(self, classifier: LanguageModel, lora: tuple[int, int, float] | None):
        super().__init__()
        self.classifier = classifier  # no submodule: its model is, under a name of its own
        self.model = classifier.model
        prefix = self.model.base_model_prefix
        if lora is not None:
            if not isinstance(getattr(self.model, prefix, None), nn.Module):
                raise InputError(f"{classifier.name}: the classifier has no backbone {prefix!r} to adapt")
            rank, alpha, dropout = lora
            backbone = getattr(self.model, prefix)
            called = layers_called(backbone, self.pass_once)
            setattr(self.model, prefix, add_lora(backbone, rank, alpha, dropout, called))

    def pass_once(self) -> None:
        """A forward pass of one sequence, without gradients."""
        with torch.no_grad(), self.classifier.passing(1, len(SPELT)):
            self.forward([SPELT])

    def forward(self, sequences: Sequence[str]) -> torch.Tensor:
        """Outputs (B, outputs) of these sequences."""
        inputs, _ = self.classifier.encode(sequences)
        logits: torch.Tensor = self.model(**inputs).logits
        return logits.float()
