"""Models whose code comes with their repository: which class it is, and how it is built and gets its weights.

`from_pretrained` of transformers 5 builds a network without storage. What such code computes itself while it is built
(ALiBi's slopes, position ids, rotary frequencies, a new head) is lost there: buffers come back as uninitialised memory.
So the network is built here with storage, and the checkpoint's tensors are copied into it.
"""

import os
import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from transformers import PretrainedConfig, PreTrainedModel
from transformers.dynamic_module_utils import get_class_from_dynamic_module
from transformers.utils.hub import cached_file, get_checkpoint_shard_files

from datasets_dart.errors import InputError
from evaluation_dart.models.families.family import Family
from evaluation_dart.models.families.transformers4 import (
    adapt,
    names_of_transformers_4,
    with_fields_of_transformers_4,
)

# A checkpoint's file, and the same in several with an index
CHECKPOINTS = (
    ("model.safetensors", False),
    ("model.safetensors.index.json", True),
    ("pytorch_model.bin", False),
    ("pytorch_model.bin.index.json", True),
)
# Names of weights in checkpoints of TensorFlow's time
FORMER_NAMES = {"gamma": "weight", "beta": "bias"}
OF_REPOSITORIES = "transformers_modules"  # the package into which transformers imports their code


class ReadWeights(NamedTuple):
    """What a checkpoint did not give: names of parameters that it lacks; (name, its shape, the model's)."""

    missing: list[str]
    mismatched: list[tuple[str, torch.Size, torch.Size]]


def declared_class(config: Any, auto_class: str, family: Family) -> str | None:
    """ "file.Class" of a repository's code that stands for an Auto class, or None.

    GENA-LM declares its masked model only, as "AutoModel"; its other classes are in the same file.
    """
    declared: Mapping[str, str] = getattr(config, "auto_map", None) or {}
    if auto_class in declared:
        return declared[auto_class]
    only = declared.get("AutoModel", "")
    file, _, model = only.rpartition(".")
    if "LM" in auto_class and "LM" in model:
        return only
    beside = family.classes.get(auto_class, "")
    return f"{file}.{beside}" if file and beside else None


def runs_own_code(config: Any, reference: str | None, trusted: bool) -> bool:
    """Whether a model is to be run by its repository's code: not where an installed package has its class."""
    installed = type(config).__module__.partition(".")[0] not in ("transformers", OF_REPOSITORIES)
    return trusted and reference is not None and not installed


def import_class(name: str, reference: str, revision: str | None, family: Family) -> type[PreTrainedModel]:
    """The class "file.Class" of a repository's code, adapted to transformers 5.

    Raises:
        InputError: naming the packages that the code imports and that are not installed.
    """
    try:
        with names_of_transformers_4(family.hidden):
            found = get_class_from_dynamic_module(reference, name, revision=revision)
    except ImportError as error:
        raise InputError(missing_package(name, error, family)) from error
    adapt(import_module(found.__module__))
    return found


def missing_package(name: str, error: ImportError, family: Family) -> str:
    """What an ImportError of a family's code means for its user."""
    said = str(error)
    named = set(re.findall(r"\w+", said.split("Run `")[0]))
    for package, install in family.packages.items():
        if package in named:
            return f"{name}: the code of {family.name} needs {package}, which is not installed: {install}"
    return f"{name}: {' '.join(said.split())}"


def build(model: type[PreTrainedModel], config: PretrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    """A network with initial weights of that type, in evaluation mode."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        built: PreTrainedModel = model(with_fields_of_transformers_4(config)).eval()
        return built
    finally:
        torch.set_default_dtype(usual)


def read_checkpoint(name: str | os.PathLike[str], revision: str | None) -> dict[str, torch.Tensor]:
    """All tensors of a folder's or a repository's checkpoint; of pickles, tensors only.

    Raises:
        FileNotFoundError: if it has none of `CHECKPOINTS`.
    """
    quiet = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_gated_repo": True}
    for file, sharded in CHECKPOINTS:
        found = cached_file(name, file, revision=revision, **quiet)
        if found is None:
            continue
        paths = get_checkpoint_shard_files(name, found, revision=revision)[0] if sharded else [found]
        tensors: dict[str, torch.Tensor] = {}
        for path in paths:
            of_file = load_file(path) if path.endswith(".safetensors") else torch.load(path, "cpu", weights_only=True)
            tensors |= of_file
        return tensors
    raise FileNotFoundError(f"{name}: none of {', '.join(file for file, _ in CHECKPOINTS)}")


def read_weights(model: PreTrainedModel, tensors: Mapping[str, torch.Tensor]) -> ReadWeights:
    """Copy a checkpoint's tensors into a model, in place.

    A checkpoint of the backbone gives the backbone of a model with a head, and the other way round. Buffers that it
    lacks keep what the code has computed; a parameter that is tied to another needs one name only.
    """
    renamed = {former_name(key): tensor for key, tensor in tensors.items()}
    prefix = f"{model.base_model_prefix}."
    own: dict[str, torch.Tensor] = model.state_dict()
    given, mismatched = set(), []
    with torch.no_grad():
        for key, into in own.items():
            names = (key, key.removeprefix(prefix), prefix + key)
            found = next((renamed[other] for other in names if other in renamed), None)
            if found is None:
                continue
            if found.shape != into.shape:
                mismatched.append((key, found.shape, into.shape))
                continue
            into.copy_(found)
            given.add(into.data_ptr())
    named = model.named_parameters(remove_duplicate=False)
    refused = {key for key, _, _ in mismatched}
    missing = [key for key, own in named if own.data_ptr() not in given and key not in refused]
    return ReadWeights(sorted(missing), mismatched)


def former_name(key: str) -> str:
    """The name that a weight has today."""
    parent, dot, own = key.rpartition(".")
    return f"{parent}{dot}{FORMER_NAMES.get(own, own)}" if "norm" in parent.lower() else key


def load_own_code(
    name: str,
    reference: str,
    config: PretrainedConfig,
    family: Family,
    revision: str | None,
    dtype: torch.dtype,
    random_weights: bool = False,
) -> tuple[Any, ReadWeights]:
    """A model of a repository's own code, with its weights.

    Args:
        reference: "file.Class", of [`declared_class`]. random_weights: those that it is built with.
    """
    model = build(import_class(name, reference, revision, family), config, dtype)
    if random_weights:
        return model, ReadWeights([], [])
    return model, read_weights(model, read_checkpoint(name, revision))


def is_of_repository(own: Any) -> bool:
    """Whether the class of a configuration or model came with a repository."""
    return type(own).__module__.partition(".")[0] == OF_REPOSITORIES
