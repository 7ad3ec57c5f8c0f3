"""A checkpoint on the Hub or in a folder: where it lies, what its configuration says, which weights these are."""

import functools
import hashlib
import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    OfflineModeIsEnabled,
    StrictDataclassError,
)
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM
from transformers.utils import logging

from datasets_dart.errors import InputError
from datasets_dart.formats.text import plain_name
from evaluation_dart.models.families import family_of_config
from evaluation_dart.models.families.family import Family
from evaluation_dart.models.families.own_code import declared_class, is_of_repository
from evaluation_dart.models.kinds import DTYPES, INT8

CONFIG = "config.json"
HUB_SECONDS = 10  # that the Hub is given to answer
# What transformers raises, beside ValueError, on configurations, tokenizers and weights that are damaged.
DAMAGED_FILES = (
    AttributeError,
    TypeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    EOFError,
    MemoryError,
    SafetensorError,
    StrictDataclassError,
    pickle.UnpicklingError,
)
# No model has more layers; a loop over ten million never ends.
MOST_LAYERS = 10_000
# Parameters for each byte of a folder's weights: a weight of 4 bits is two in a byte, and one may serve several layers.
MOST_PARAMETERS_OF_A_BYTE, ALWAYS_ALLOWED = 16, 100_000_000
OF_A_MODEL = (".json", ".safetensors", ".bin", ".txt", ".model", ".py")  # suffixes of files that make it what it is
# How sentence-transformers is to pool, which is nothing of the model; folders of one model may have them or not
SENTENCE_FILES = ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json")

# An encoder has no language-model head, and gives embeddings alone.
Kind = Literal["causal", "masked", "encoder"]


def model_id(name: str) -> str:
    """What a record calls a model: its id on the Hub, or "local/{folder}", wherever that folder lies."""
    return f"local/{plain_name(Path(name).resolve().name)}" if Path(name).is_dir() else name


def folder_of(name: str, revision: str | None = None) -> Path | None:
    """The folder of that name; None for a model on the Hub.

    Raises:
        FileNotFoundError: for a path that is no folder. InputError: for a revision of a folder.
    """
    if Path(name).is_dir():
        if revision:
            raise InputError(f"{name}: a folder has no revision {revision!r}; revisions are of models on the Hub")
        return Path(name)
    if name.startswith(("/", ".", "~")) or name.count("/") > 1 or Path(name).exists():
        raise FileNotFoundError(f"{name}: no such folder")
    return None


def check_reachable(name: str, revision: str | None = None) -> None:
    """Ask the Hub once for a model that is neither a folder nor in the cache: transformers would ask for a minute.

    Raises:
        OSError: if the Hub cannot be asked. What it answers, and names that are none, are left to the loading.
    """
    if Path(name).is_dir():
        return
    try:
        if not isinstance(try_to_load_from_cache(name, CONFIG, revision=revision), str):
            get_hf_file_metadata(hf_hub_url(name, CONFIG, revision=revision), timeout=HUB_SECONDS)
    except OfflineModeIsEnabled:
        why = "HF_HUB_OFFLINE is set"
    except (HfHubHTTPError, HFValidationError):
        return
    except HTTPError as error:
        why = f"the Hub cannot be reached ({error})"
    else:
        return
    download = f"hf download {name} --local-dir {name.rpartition('/')[2]}"
    raise OSError(
        f"{name}: no such folder, no such model in the cache, and {why}; give a folder, or fetch one where there is a "
        f"network: {download}"
    )


@contextmanager
def loading_of(name: str, revision: str | None = None) -> Iterator[Path | None]:
    """While a model is loaded: errors name it and stand for transformers' report of weights, and no bar is shown.

    Yields [`folder_of`] the name, and raises as that does and [`check_reachable`].
    """
    folder = folder_of(name, revision)
    check_reachable(name, revision)
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()  # of a second's work
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # torch's, of pickles that it refuses
            yield folder
    except FileExistsError:
        raise
    except (ImportError, OSError, RuntimeError, ValueError, *DAMAGED_FILES) as error:
        kind = OSError if isinstance(error, OSError) else InputError
        said = " ".join(str(error).split())[:1000] or type(error).__name__
        if isinstance(error, pickle.UnpicklingError):  # whose own words are an advice to run it
            said = "the weights are a pickle that is damaged or could run code; only tensors are read: convert it"
        if folder is None and kind is OSError:
            said = f"no such folder, and it cannot be loaded from the Hub: {said}"
        raise kind(said if said.startswith(name) else f"{name}: {said}") from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@functools.cache
def register_models() -> None:
    """Import the packages that register model types with the Auto classes: entry points "hyenadna_dart.models"."""
    for point in entry_points(group="hyenadna_dart.models"):
        point.load()


def load_config(name: str, revision: str | None, trust_remote_code: bool, **changes: Any) -> tuple[Any, Family]:
    """A model's configuration, of the class with which its family's code is loaded, and its family.

    Args:
        changes: fields of the configuration.
    """
    options = {"revision": revision, "trust_remote_code": trust_remote_code, **changes}
    config = AutoConfig.from_pretrained(name, **options)
    family = family_of_config(name, config)
    if family.config_class and is_of_repository(config):
        del options["trust_remote_code"]
        config = getattr(transformers, family.config_class).from_pretrained(name, **options)
    return config, family


def remote_classes(config: Any) -> dict[str, str]:
    """Auto class -> "file.Class" of the code that comes with a model's repository."""
    return getattr(config, "auto_map", None) or {}


def head_of(config: Any, name: str, needed: bool) -> Kind:
    """Which language-model head a checkpoint was saved with.

    Raises:
        ValueError: if it was saved with none, and one is needed.
    """
    saved = config.architectures or [*remote_classes(config)]
    if any("MaskedLM" in architecture for architecture in saved):
        return "masked"
    if any("CausalLM" in architecture or "LMHead" in architecture for architecture in saved):
        return "causal"
    if not needed:
        return "encoder"
    raise InputError(
        f"{name}: no language-model head to take likelihoods from; the checkpoint was saved as "
        f"{', '.join(config.architectures or ['no architecture'])}, not as ...ForCausalLM or ...ForMaskedLM"
    )


def auto_class_of(config: Any, kind: Kind, name: str, family: Family, trust_remote_code: bool) -> Any:
    """The Auto class that gives the model with its head.

    Raises:
        ValueError: if the head is code that was not trusted.
    """
    if kind == "encoder":
        return AutoModel
    auto_class = AutoModelForCausalLM if kind == "causal" else AutoModelForMaskedLM
    remote = remote_classes(config)
    if trust_remote_code or auto_class.__name__ in remote or not declared_class(config, auto_class.__name__, family):
        return auto_class
    raise InputError(
        f"{name}: the model is code of its repository ({remote['AutoModel']}), which runs only where it "
        "is trusted (trust_remote_code)"
    )


def check_size(config: Any, auto_class: Any, folder: Path | None, **remote: Any) -> None:
    """Refuse a configuration of a size that its weights cannot have, before its network is made.

    Raises:
        InputError: naming the number of layers or of parameters.
    """
    layers = getattr(config, "num_hidden_layers", 1)
    if not isinstance(layers, int) or not 0 <= layers <= MOST_LAYERS:
        raise InputError(f"config.json: {layers!r} layers, not a number up to {MOST_LAYERS:,}")
    if folder is None or remote_classes(config):
        return
    with torch.device("meta"):
        parameters = sum(own.numel() for own in auto_class.from_config(config, **remote).parameters())
    size = sum(path.stat().st_size for path in folder.glob("*.[sb]*") if path.suffix in (".safetensors", ".bin"))
    if parameters > max(ALWAYS_ALLOWED, MOST_PARAMETERS_OF_A_BYTE * size):
        raise InputError(f"config.json describes {parameters:,} parameters, but the weights have {size:,} bytes")


def usable_device(device: str | torch.device | None) -> torch.device:
    """The device of that name, or for None CUDA where there is one.

    Raises:
        ValueError: naming it, if it is not there.
    """
    try:
        return torch.empty(0, device=device or ("cuda" if torch.cuda.is_available() else "cpu")).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from None


def usable_dtype(dtype: str | torch.dtype | None) -> torch.dtype:
    """The type of weights of that name; float32 for None.

    Raises:
        InputError: for any other than `DTYPES`.
    """
    name = str(dtype or "float32").removeprefix("torch.")
    if name == INT8:
        raise InputError(f"dtype {INT8!r}: for language models that are read and not trained, without a trained head")
    if name not in DTYPES:
        raise InputError(f"dtype {name!r}: there are {', '.join(DTYPES)}")
    found: torch.dtype = getattr(torch, name)
    return found


def commit_of(name: str, revision: str | None) -> str:
    """The commit that a branch, tag or part of a commit's name stands for; None is the main branch."""
    # A file of the Hub lies in the cache as snapshots/{commit}/{file}.
    return Path(hf_hub_download(name, CONFIG, revision=revision)).parent.name


def folder_digest(folder: Path) -> str:
    """12 hexadecimal digits of SHA-256 over a model folder's configuration, tokenizer, weights and code."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in OF_A_MODEL and path.name not in SENTENCE_FILES:
            digest.update(path.name.encode())
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


def weights_digest(model: torch.nn.Module) -> str:
    """12 hexadecimal digits of SHA-256 over a model's parameters and buffers as they are now."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(weight_bytes(value))
    return digest.hexdigest()[:12]


def weight_bytes(value: Any) -> bytes:
    """Of what a state dict has of one name: a tensor, of quantised ones its values, or what quantisers keep beside."""
    if isinstance(value, tuple):
        return b"".join(map(weight_bytes, value))
    if not isinstance(value, torch.Tensor):
        return repr(value).encode()
    tensor = value.detach()
    if tensor.is_quantized or type(tensor).__module__.startswith("torchao."):
        tensor = tensor.dequantize()
    return tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
