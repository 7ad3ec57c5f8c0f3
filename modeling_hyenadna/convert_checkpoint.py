"""Checkpoints between this package's folders and those of others.

`convert_lightning_checkpoint` makes a folder from an original `weights.ckpt` (LongSafari/hyenadna-* without -hf);
`write_official_folder` gives a model the file layout of the official Hub port (LongSafari/hyenadna-*-hf).
"""

import json
import logging
import os
import pickle
import re
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import save_file
from transformers import AutoConfig

from .configuration_hyenadna import HyenaDNAConfig
from .modeling_hyenadna import (
    HyenaDNAForCausalLM,
    HyenaDNAForSequenceClassification,
    HyenaDNAForTokenClassification,
    HyenaDNAModel,
    HyenaDNAPreTrainedModel,
    decay_rates,
    positional_features,
)
from .tokenization_hyenadna import HyenaDNATokenizer
from .vocabulary import VOCABULARY

logger = logging.getLogger(__name__)

# Besides tensors an original checkpoint pickles its training configuration and state, which nothing here needs. These
# are the names in it that torch.load(weights_only=True) does not allow by itself: plain containers, and classes that
# become an inert `Skipped`. Every other name is refused.
CONTAINERS = {
    "builtins.dict": dict,
    "builtins.int": int,
    "builtins.list": list,
    "collections.defaultdict": defaultdict,
}
SKIPPED = (
    "numpy.dtype",
    "numpy.ndarray",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.nodes.AnyNode",
    "typing.Any",
)
# Settings of the original that every released model has, and the only ones that HyenaDNAConfig describes.
ORIGINAL_CONSTANTS = {
    "_name_": "hyena",
    "activation": "id",
    "bidirectional": False,
    "inner_factor": 1,
    "modulate": True,
    "num_blocks": 1,
    "num_heads": 1,
    "order": 2,
    "outer_mixing": False,
    "post_order_ffn": False,
}

# The original's decoder.mode -> our pooling; "ragged" keeps every token.
DECODER_MODES = {"pool": "mean", "last": "last", "first": "first", "sum": "sum", "ragged": None}
DECODER = "0.output_transform."  # the only part of SequenceDecoder with weights

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
OFFICIAL_CONSTANTS: dict[str, Any] = {"shift": 0.05, "short_filter_order": 3, "layer_norm_epsilon": 1e-5}


class Skipped:
    """Replaces any object of a checkpoint that is not a tensor, and discards its contents."""

    def __init__(self, *args: Any):
        """Take any arguments."""

    def __setstate__(self, state: Any) -> None:
        """Take any state."""


def convert_lightning_checkpoint(
    checkpoint: str | os.PathLike[str],
    config: str | os.PathLike[str],
    output: str | os.PathLike[str],
    decoder_mode: str | None = None,
) -> None:
    """Write the model of an original Lightning `checkpoint` and its config.json to the new folder `output`.

    Nothing in the pickle is executed: tensors are rebuilt, the known rest is skipped, anything else is refused. Keys
    are recognised with and without gradient checkpointing. The language model's head is stored untied, as on the Hub.
    A fine-tuned model becomes a classifier with its decoder as `score`, and has no language model's head.

    Args:
        decoder_mode: of a fine-tuned model, the original's `decoder.mode`, which is not among its weights: "pool" (the
            mean, as all its configurations have it), "last", "first", "sum", or "ragged": outputs of every token. The
            original pools all tokens that it is given, and so does the classifier where it is given no mask.

    Raises:
        FileExistsError: if `output` exists and is not an empty folder.
        FileNotFoundError: if `checkpoint` or `config` is not there.
        ValueError: if one of them is not what it should be, naming file, key and value.
    """
    if decoder_mode is not None and decoder_mode not in DECODER_MODES:
        raise ValueError(f"decoder mode {decoder_mode!r}: there are {', '.join(DECODER_MODES)}")
    with written_folder(Path(output)) as unfinished:
        settings = config_of_original(config)
        original = read_lightning_checkpoint(checkpoint)
        decoder = decoder_of(original, settings, checkpoint)
        if decoder_mode is not None and not decoder:
            raise ValueError(f"{checkpoint}: has no decoder, so there is no decoder mode {decoder_mode!r} to keep")
        state = hub_state_dict(original, settings, checkpoint) | decoder
        model: HyenaDNAPreTrainedModel
        if decoder:
            del state["lm_head.weight"]  # tied to the embedding, and trained as such
            settings.num_labels, settings.classifier_bias = len(decoder["score.weight"]), True
            pooling = DECODER_MODES[decoder_mode or "pool"]
            settings.pooling = pooling or settings.pooling
            model = HyenaDNAForSequenceClassification(settings) if pooling else HyenaDNAForTokenClassification(settings)
        else:
            model = HyenaDNAForCausalLM(settings)
        check_state_dict(state, model, checkpoint)
        model.load_state_dict(state)
        model.save_pretrained(unfinished)
        HyenaDNATokenizer(model_max_length=settings.max_seq_len).save_pretrained(unfinished)


def read_lightning_checkpoint(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """The `state_dict` of an original checkpoint, on the CPU. ValueError names a global that is not allowed."""
    allowed: list[Any] = [*((kind, name) for name, kind in CONTAINERS.items()), *((Skipped, name) for name in SKIPPED)]
    try:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings(action="ignore"):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if named := re.search(r"GLOBAL (\S+)", str(error)):
            raise ValueError(f"{path}: refused: it names {named[1]}, which no HyenaDNA checkpoint needs") from None
        raise ValueError(f"{path}: not a checkpoint that can be read safely: it is damaged or could run code") from None
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # damaged bytes take torch and its unpickler anywhere
        raise ValueError(f"{path}: not a readable checkpoint: {last_line(error)}") from None
    state = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise ValueError(f"{path}: has no state_dict of tensors")
    return state


def config_of_original(path: str | os.PathLike[str]) -> HyenaDNAConfig:
    """The configuration that an original config.json (hyenadna.md, section 3.3) describes."""
    try:
        original = json.loads(Path(path).read_text(encoding="utf-8"))
        layer = original["layer"]
        for name, value in ORIGINAL_CONSTANTS.items():
            if layer.get(name, value) != value:
                raise ValueError(f"layer.{name} is {layer[name]!r}; only {value!r} is HyenaDNA")
        return HyenaDNAConfig(
            vocab_size=original["vocab_size"],
            d_model=original["d_model"],
            n_layer=original["n_layer"],
            d_inner=original["d_inner"],
            pad_vocab_size_multiple=original.get("pad_vocab_size_multiple", 1),
            embed_dropout=original.get("embed_dropout", 0.1),
            resid_dropout=original.get("resid_dropout", 0.0),
            layer_norm_epsilon=original.get("layer_norm_epsilon", 1e-5),
            max_seq_len=layer["l_max"],
            emb_dim=layer["emb_dim"],
            filter_order=layer["filter_order"],
            num_inner_mlps=layer.get("num_inner_mlps", 2),
            activation_freq=layer["w"],
            short_filter_order=layer.get("local_order", layer.get("short_filter_order", 3)),
        )
    except KeyError as error:
        raise ValueError(f"{path}: has no {error}, which an original config.json has") from None
    except (AttributeError, TypeError, ValueError, RecursionError, StrictDataclassError) as error:
        raise ValueError(f"{path}: {last_line(error)}") from None


def hub_state_dict(
    state: dict[str, torch.Tensor], config: HyenaDNAConfig, path: str | os.PathLike[str]
) -> dict[str, torch.Tensor]:
    """An original state dict under the official Hub keys, its buffers and repeated frequencies checked and left out."""
    buffers = official_buffers(config)
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        if name.startswith(("decoder.", "loss")) or "torchmetrics" in name:
            continue
        # Gradient checkpointing wrapped mixer and mlp, each or both, in a module that put `.layer` into their keys.
        key = re.sub(r"\.(mixer|mlp)\.layer\.", r".\1.", name)
        key = re.sub(r"^model\.backbone\.", "hyena.backbone.", key).removeprefix("model.")
        buffer = key.partition(".filter_fn.")[2]
        if buffer in buffers:
            _require_equal(tensor, buffers[buffer], name, f"what {config.max_seq_len} positions give", path)
        elif alias := re.search(r"\.implicit_filter\.(?!1\.)\d+\.freq$", key):
            first = name.replace(alias[0], ".implicit_filter.1.freq")
            if first not in state:
                raise ValueError(f"{path}: has {name}, but not {first}")
            _require_equal(tensor, state[first], name, first, path)
        else:
            renamed[key] = tensor
    return renamed


def decoder_of(
    state: dict[str, torch.Tensor], config: HyenaDNAConfig, path: str | os.PathLike[str]
) -> dict[str, torch.Tensor]:
    """The decoder of a fine-tuned model as a classifier's `score`, weight (classes, D) and bias; {} where it has none.

    Raises:
        ValueError: naming its keys, if it is no linear layer from D numbers.
    """
    own = {name.removeprefix("decoder."): tensor for name, tensor in state.items() if name.startswith("decoder.")}
    if not own:
        return {}
    found = {name.removeprefix(DECODER): tensor for name, tensor in own.items() if name.startswith(DECODER)}
    shapes = {name: tuple(tensor.shape) for name, tensor in found.items()}
    classes = shapes.get("weight", (0,))[0]
    if len(found) < len(own) or shapes != {"weight": (classes, config.d_model), "bias": (classes,)}:
        described = ", ".join(f"decoder.{name} {tuple(tensor.shape)}" for name, tensor in sorted(own.items()))
        raise ValueError(f"{path}: {described} is not a linear decoder of {config.d_model} channels")
    return {f"score.{name}": tensor for name, tensor in found.items()}


def official_buffers(config: HyenaDNAConfig) -> dict[str, torch.Tensor]:
    """What the official files hold for each layer beside its weights, all of it given by the config."""
    features = positional_features(config.max_seq_len, config)[None]
    return {
        "pos_emb.z": features,
        "pos_emb.t": features[..., :1],
        "modulation.deltas": decay_rates(config.d_model)[None, None],
    }


def check_state_dict(
    state: dict[str, torch.Tensor], model: HyenaDNAPreTrainedModel, path: str | os.PathLike[str]
) -> None:
    """ValueError naming the first keys that are missing, unknown, or of another shape than in `model`."""
    expected, found = (
        {name: tuple(tensor.shape) for name, tensor in tensors.items()} for tensors in (model.state_dict(), state)
    )
    for problem, names in (("lacks", expected.keys() - found.keys()), ("has unknown", found.keys() - expected.keys())):
        if names:
            raise ValueError(f"{path}: {problem} {', '.join(sorted(names)[:3])} ({len(names)} keys in all)")
    for name, shape in expected.items():
        if found[name] != shape:
            raise ValueError(f"{path}: {name} has shape {found[name]}, but the config asks for {shape}")


def _require_equal(
    tensor: torch.Tensor, expected: torch.Tensor, name: str, what: str, path: str | os.PathLike[str]
) -> None:
    if tensor.shape != expected.shape or not torch.allclose(tensor.float(), expected.float(), rtol=0, atol=1e-4):
        raise ValueError(f"{path}: {name} {tuple(tensor.shape)} differs from {what} {tuple(expected.shape)}")


def last_line(error: Exception) -> str:
    """The last line of an error's message, or the name of its type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()


def write_official_folder(folder: str | os.PathLike[str], output: str | os.PathLike[str]) -> None:
    """Write the model in `folder` to the new folder `output` as the official Hub port keeps its files.

    `model.safetensors` holds float32 weights under the official keys, the buffers that the port reads
    (`pos_emb.z`, `pos_emb.t`, `modulation.deltas`) recomputed from the config, and an untied `lm_head.weight`;
    `config.json`, `tokenizer_config.json` and `special_tokens_map.json` are the official ones. `auto_map` names the
    port's Python files, which the official repositories hold; put them beside these to load with trust_remote_code.

    Raises:
        FileExistsError: if `output` exists and is not an empty folder.
        FileNotFoundError: if there is no `folder`; OSError if it holds no model.
        ValueError: if the port has no such model: another architecture, or a setting that it ignores.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    with written_folder(Path(output)) as unfinished:
        try:
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        except StrictDataclassError as error:
            raise ValueError(f"{folder}/config.json: {last_line(error)}") from None
        architecture = official_architecture(config, folder)
        model_class: Any = OFFICIAL_CLASSES[architecture]
        model, report = model_class.from_pretrained(
            folder, config=config, dtype=torch.float32, output_loading_info=True
        )
        if missing := sorted(report["missing_keys"]):
            raise ValueError(f"{folder}: no weights for {', '.join(missing)}")
        save_file(official_state_dict(model), unfinished / "model.safetensors", metadata={"format": "pt"})
        contents = {
            "config.json": official_config(config, architecture, Path(folder).resolve().name),
            "tokenizer_config.json": official_tokenizer_config(config.max_seq_len),
            "special_tokens_map.json": {
                name: {"content": token, **PLAIN_TOKEN} for name, token in SPECIAL_TOKENS.items()
            },
        }
        for file, content in contents.items():
            text = json.dumps(content, indent=2, sort_keys=True) + "\n"
            (unfinished / file).write_text(text, encoding="utf-8")
        settings = Path(folder) / "tokenizer_config.json"
        if settings.is_file() and json.loads(settings.read_text(encoding="utf-8")).get("do_upper_case"):
            logger.warning(
                f"{folder}: the official tokenizer does not know do_upper_case; upper-case its input yourself"
            )


def official_architecture(config: Any, folder: str | os.PathLike[str]) -> str:
    """The official class that computes what a model of `config` does; ValueError where there is none."""
    if not isinstance(config, HyenaDNAConfig):
        raise ValueError(f"{folder}: model_type is {config.model_type!r}, not 'hyenadna'")
    architecture = (config.architectures or ["HyenaDNAForCausalLM"])[0]
    if architecture not in OFFICIAL_CLASSES:
        raise ValueError(f"{folder}: the official port has no {architecture}, only {', '.join(OFFICIAL_CLASSES)}")
    head = {"pooling": "last", "classifier_bias": False}
    for name, value in (OFFICIAL_CONSTANTS | (head if "Classification" in architecture else {})).items():
        if getattr(config, name) != value:
            raise ValueError(
                f"{folder}: {name} is {getattr(config, name)!r}, but the official port computes with {value!r} always"
            )
    return architecture


def official_state_dict(model: HyenaDNAPreTrainedModel) -> dict[str, torch.Tensor]:
    """`model`'s weights under the official keys, with the buffers that the official files hold, none sharing memory."""
    config = model.config
    prefix = "" if isinstance(model, HyenaDNAModel) else "hyena."
    buffers = {
        f"{prefix}backbone.layers.{layer}.mixer.filter_fn.{name}": buffer
        for name, buffer in official_buffers(config).items()
        for layer in range(config.n_layer)
    }
    state = dict(model.state_dict()) | buffers
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


@contextmanager
def written_folder(output: Path) -> Iterator[Path]:
    """A new folder beside `output` to write into, which becomes `output` if nothing goes wrong, else disappears."""
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise FileExistsError(f"{output}: already exists; name a new or empty folder")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as scratch:
        unfinished = Path(scratch) / output.name
        unfinished.mkdir()
        yield unfinished
        os.replace(unfinished, output)
