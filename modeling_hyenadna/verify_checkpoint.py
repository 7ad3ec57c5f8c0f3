"""Whether a checkpoint is a released one, and computes what was recorded of the official port.

The recorded values are in reference_values.json, their source beside them.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import hf_hub_download
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from .configuration_hyenadna import HyenaDNAConfig
from .convert_checkpoint import OFFICIAL_AUTO_MAP
from .vocabulary import VOCABULARY

REFERENCE = Path(__file__).with_name("reference_values.json")
WEIGHTS = "model.safetensors"
# Of two float32 implementations; the recorded values agree with an independent engine within 3e-6.
TOLERANCE, COSINE = 1e-4, 0.999999
# Long enough for every tap that a difference could hide in, short enough for the smallest context.
PROBES = ("ACGTNACGT", "TGCA", "GATTACA" * 100)


@dataclass(frozen=True)
class Check:
    """One comparison: what was compared, how it came out, and whether it passed; None where nothing is recorded.

    `proves`: whether passing it says that these are the right weights, rightly computed with.
    """

    what: str
    outcome: str
    passed: bool | None
    proves: bool = False


def verify_checkpoint(
    model: str, revision: str | None = None, name: str | None = None, remote_code: str | None = None
) -> list[Check]:
    """Compare a checkpoint with what is recorded of the released checkpoint that has its shape.

    Args:
        model: Hub id, or folder of a converted or downloaded checkpoint.
        revision: commit, branch or tag on the Hub.
        name: which released checkpoint it should be; by default, the one with its shape.
        remote_code: a Hub id or folder whose own Python code (the official port's) is run on the same weights, and
            its hidden states compared; only for code you trust.

    Raises:
        ValueError: if it is not a HyenaDNA checkpoint, or not a released one and there is nothing to compare it with.
        OSError: if it cannot be loaded.
    """
    config = AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=False)
    if not isinstance(config, HyenaDNAConfig):
        raise ValueError(f"{model}: model_type is {config.model_type!r}, not 'hyenadna'")
    released = json.loads(REFERENCE.read_text(encoding="utf-8"))["checkpoints"]
    if name is None:
        name = next((name for name, facts in released.items() if not differences(config, facts["config"])), None)
    elif name not in released:
        raise ValueError(f"{name!r} is not a released checkpoint; there are {', '.join(released)}")
    if name is None and remote_code is None:
        raise ValueError(f"{model}: no released checkpoint has its shape; there are {', '.join(released)}")
    checks = [tokenizer_check(model, revision)]
    facts = {} if name is None else released[name]
    if name is not None:
        wrong = differences(config, facts["config"])
        checks.append(Check(f"config of {name}", "; ".join(wrong) or "equal", not wrong))
        if wrong:
            return checks
        checks.append(file_check(model, revision, facts.get("sha256", {}).get(WEIGHTS)))
    network = AutoModel.from_pretrained(model, revision=revision, dtype=torch.float32, trust_remote_code=False).eval()
    recorded = [vector_check(network, vector) for vector in facts.get("pooled_hidden_states", ())]
    checks += recorded or [Check("hidden states", "none are recorded for this checkpoint", None)]
    if remote_code is not None:
        checks.append(remote_code_check(network, model, revision, remote_code))
    return checks


def differences(config: HyenaDNAConfig, expected: dict[str, Any]) -> list[str]:
    """What in a config is not as `expected`, as `field is X, not Y`."""
    found = {field: getattr(config, field) for field in expected}
    return [f"{field} is {found[field]}, not {value}" for field, value in expected.items() if found[field] != value]


def tokenizer_check(model: str, revision: str | None) -> Check:
    """Ids of all bases and of the [SEP] after them."""
    tokenizer = AutoTokenizer.from_pretrained(model, revision=revision, trust_remote_code=False)
    ids = tokenizer("ACGTN")["input_ids"]
    expected = [VOCABULARY[token] for token in ("A", "C", "G", "T", "N", "[SEP]")]
    return Check("tokenizer", f"ACGTN is {ids}", list(ids) == expected)


def file_check(model: str, revision: str | None, sha256: str | None) -> Check:
    """The weights' file against the recorded digest. Another file is no failure: a converted one has other bytes."""
    if sha256 is None:
        return Check(WEIGHTS, "no SHA-256 is recorded for this checkpoint", None)
    path = Path(model) / WEIGHTS if Path(model).is_dir() else Path(hf_hub_download(model, WEIGHTS, revision=revision))
    if not path.is_file():
        return Check(WEIGHTS, "not there", None)
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    same = found == sha256
    outcome = f"SHA-256 {found[:12]}..., {'the' if same else 'not the'} official file"
    return Check(WEIGHTS, outcome, True if same else None, proves=same)


@torch.no_grad()
def hidden_states(model: Any, sequence: str) -> torch.Tensor:
    """(L, D) after the final norm, of the bases, without [SEP]."""
    ids = torch.tensor([[VOCABULARY[base] for base in sequence]])
    return cast(torch.Tensor, model(input_ids=ids).last_hidden_state[0].float())


def vector_check(model: Any, vector: dict[str, Any]) -> Check:
    """The mean of a sequence's hidden states against the first values of the recorded one."""
    expected = torch.tensor(vector["values"])
    found = hidden_states(model, vector["sequence"]).mean(dim=0)[: len(expected)]
    return _compared(f"mean hidden state of {vector['sequence']}, {len(expected)} values", found, expected)


def remote_code_check(model: Any, name: str, revision: str | None, remote_code: str) -> Check:
    """Hidden states against those of the Python code in `remote_code` on the same weights."""
    reference = OFFICIAL_AUTO_MAP["AutoModel"]
    if Path(remote_code).is_dir():
        auto_map = json.loads((Path(remote_code) / "config.json").read_text(encoding="utf-8")).get("auto_map", {})
        reference = auto_map.get("AutoModel", reference)
    code: Any = get_class_from_dynamic_module(reference, remote_code)
    other = code.from_pretrained(name, revision=revision, dtype=torch.float32).eval()
    longest = model.config.max_seq_len
    both = [[hidden_states(each, probe[:longest]).flatten() for probe in PROBES] for each in (model, other)]
    return _compared(f"hidden states of the code in {remote_code}", torch.cat(both[0]), torch.cat(both[1]))


def _compared(what: str, found: torch.Tensor, expected: torch.Tensor) -> Check:
    error = (found - expected).abs().max().item()
    cosine = torch.nn.functional.cosine_similarity(found.double(), expected.double(), dim=0).item()
    outcome = f"largest difference {error:.1e}, cosine {cosine:.9f}"
    return Check(what, outcome, error <= TOLERANCE and cosine >= COSINE, proves=True)
