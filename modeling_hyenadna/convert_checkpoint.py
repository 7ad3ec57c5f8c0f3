"""Checkpoints between this package's folders and those of others.

`write_official_folder` gives a model the file layout of the official Hub port (LongSafari/hyenadna-*-hf).
"""

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoConfig

from .configuration_hyenadna import HyenaDNAConfig
from .modeling_hyenadna import (
    HyenaDNAForCausalLM,
    HyenaDNAForSequenceClassification,
    HyenaDNAModel,
    HyenaDNAPreTrainedModel,
    decay_rates,
    positional_features,
)
from .tokenization_hyenadna import VOCABULARY

logger = logging.getLogger(__name__)

# The fields of the official config.json, besides those that say who wrote it.
OFFICIAL_CONFIG_FIELDS = (
    "activation_freq",
    "d_inner",
    "d_model",
    "emb_dim",
    "embed_dropout",
    "filter_order",
    "hyena_dropout",
    "hyena_filter_dropout",
    "hyena_order",
    "initializer_range",
    "layer_norm_epsilon",
    "max_seq_len",
    "n_layer",
    "num_inner_mlps",
    "pad_token_id",
    "pad_vocab_size_multiple",
    "short_filter_order",
    "train_freq",
    "use_bias",
    "vocab_size",
)
OFFICIAL_AUTO_MAP = {
    "AutoConfig": "configuration_hyena.HyenaConfig",
    "AutoModel": "modeling_hyena.HyenaDNAModel",
    "AutoModelForCausalLM": "modeling_hyena.HyenaDNAForCausalLM",
    "AutoModelForSequenceClassification": "modeling_hyena.HyenaDNAForSequenceClassification",
}
OFFICIAL_CLASSES: dict[str, type[HyenaDNAPreTrainedModel]] = {
    model.__name__: model for model in (HyenaDNAForCausalLM, HyenaDNAForSequenceClassification, HyenaDNAModel)
}
# What the official port computes whatever its config says; a model that differs would change its outputs there.
OFFICIAL_CONSTANTS = {"shift": 0.05, "short_filter_order": 3, "layer_norm_epsilon": 1e-5}


def write_official_folder(folder: str | os.PathLike, output: str | os.PathLike) -> None:
    """Write the model in `folder` (or of that Hub name) to `output` as the official Hub port keeps its files.

    `model.safetensors` holds float32 weights under the official keys, the buffers that the port reads
    (`pos_emb.z`, `pos_emb.t`, `modulation.deltas`) recomputed from the config, and an untied `lm_head.weight`;
    `config.json`, `tokenizer_config.json` and `special_tokens_map.json` are the official ones. `auto_map` names the
    port's Python files, which the official repositories hold; put them beside these to load with trust_remote_code.

    Raises:
        FileExistsError: if `output` is there already and not an empty folder.
        ValueError: if the port has no such model: another architecture, or a setting that it ignores.
        OSError: if `folder` holds no model.
    """
    with written_folder(Path(output)) as unfinished:
        config = AutoConfig.from_pretrained(folder)
        architecture = official_architecture(config, folder)
        loaded: Any = OFFICIAL_CLASSES[architecture].from_pretrained(
            folder, config=config, dtype=torch.float32, output_loading_info=True
        )
        model, report = loaded
        if missing := sorted(report["missing_keys"]):
            raise ValueError(f"{folder}: no weights for {', '.join(missing)}")
        save_file(official_state_dict(model), unfinished / "model.safetensors", metadata={"format": "pt"})
        name = Path(folder).resolve().name
        write_json(official_config(config, architecture, name), unfinished / "config.json")
        write_json(official_tokenizer_config(config.max_seq_len), unfinished / "tokenizer_config.json")
        write_json(official_special_tokens_map(), unfinished / "special_tokens_map.json")
        if _upper_cases(Path(folder)):
            logger.warning(
                f"{folder}: the official tokenizer does not know do_upper_case; upper-case its input yourself"
            )


def official_architecture(config: Any, folder: str | os.PathLike) -> str:
    """The official class that computes what a model of `config` does; ValueError where there is none."""
    if not isinstance(config, HyenaDNAConfig):
        raise ValueError(f"{folder}: model_type is {config.model_type!r}, not 'hyenadna'")
    architecture = (config.architectures or ["HyenaDNAForCausalLM"])[0]
    if architecture not in OFFICIAL_CLASSES:
        raise ValueError(f"{folder}: the official port has no {architecture}, only {', '.join(OFFICIAL_CLASSES)}")
    fixed: dict[str, Any] = dict(OFFICIAL_CONSTANTS)
    if architecture == "HyenaDNAForSequenceClassification":
        fixed["pooling"] = "last"
    for name, value in fixed.items():
        if getattr(config, name) != value:
            raise ValueError(
                f"{folder}: {name} is {getattr(config, name)!r}, but the official port computes with {value!r} always"
            )
    return architecture


def official_state_dict(model: HyenaDNAPreTrainedModel) -> dict[str, torch.Tensor]:
    """`model`'s weights under the official keys, with the buffers that the official files hold, none sharing memory."""
    config = model.config
    prefix = "" if isinstance(model, HyenaDNAModel) else "hyena."
    features = positional_features(config.max_seq_len, config)[None]
    buffers = {
        "pos_emb.z": features,
        "pos_emb.t": features[..., :1],
        "modulation.deltas": decay_rates(config.d_model)[None, None],
    }
    state = dict(model.state_dict())
    for layer in range(config.n_layer):
        for name, buffer in buffers.items():
            state[f"{prefix}backbone.layers.{layer}.mixer.filter_fn.{name}"] = buffer
    return {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}


def official_config(config: HyenaDNAConfig, architecture: str, name: str) -> dict[str, Any]:
    """The official config.json of a model of `config`, as a dict."""
    fields = {field: getattr(config, field) for field in OFFICIAL_CONFIG_FIELDS}
    if architecture == "HyenaDNAForSequenceClassification":
        fields |= {"id2label": config.id2label, "label2id": config.label2id, "problem_type": config.problem_type}
    return fields | {
        "_name_or_path": name,
        "architectures": [architecture],
        "auto_map": OFFICIAL_AUTO_MAP,
        "model_type": "hyenadna",
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "transformers_version": transformers.__version__,
    }


SPECIAL_TOKENS = {
    "bos_token": "[BOS]",
    "cls_token": "[CLS]",
    "eos_token": "[SEP]",
    "mask_token": "[MASK]",
    "pad_token": "[PAD]",
    "sep_token": "[SEP]",
    "unk_token": "[UNK]",
}
PLAIN_TOKEN = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}


def official_tokenizer_config(max_seq_len: int) -> dict[str, Any]:
    """The official tokenizer_config.json, as a dict."""
    special = sorted({VOCABULARY[token]: token for token in SPECIAL_TOKENS.values()}.items())
    return {
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(index): {"content": token, **PLAIN_TOKEN, "special": True} for index, token in special
        },
        "auto_map": {"AutoTokenizer": ["tokenization_hyena.HyenaDNATokenizer", None]},
        "clean_up_tokenization_spaces": True,
        "model_max_length": max_seq_len,
        "padding_side": "left",
        "tokenizer_class": "HyenaDNATokenizer",
        **SPECIAL_TOKENS,
    }


def official_special_tokens_map() -> dict[str, dict[str, Any]]:
    """The official special_tokens_map.json, as a dict."""
    return {name: {"content": token, **PLAIN_TOKEN} for name, token in SPECIAL_TOKENS.items()}


def write_json(content: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@contextmanager
def written_folder(output: Path) -> Iterator[Path]:
    """A new folder beside `output` to write into, which becomes `output` if nothing goes wrong, else disappears."""
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise FileExistsError(f"{output}: is there already; name a new or empty folder")
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        yield unfinished
        unfinished.chmod(0o777 & ~_umask())
        os.replace(unfinished, output)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _upper_cases(folder: Path) -> bool:
    path = folder / "tokenizer_config.json"
    return path.is_file() and bool(json.loads(path.read_text(encoding="utf-8")).get("do_upper_case"))
