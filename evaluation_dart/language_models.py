"""Any DNA language model on the Hub as a scorer of sequences: causal or masked, of characters, k-mers or BPE.

What a model needs is read from its config, its tokenizer and its `forward`, not from a list of names: which head it
was saved with, which tokens the tokenizer adds around a sequence, whether an attention mask is taken.
"""

import hashlib
import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from evaluation_dart.likelihood import causal_log_likelihood, masked_log_likelihood

# A tokenizer without a limit of its own reports one of this size or more.
NO_LIMIT = 1_000_000_000


class Family(NamedTuple):
    """A model family of the DART-Eval paper (spec section 1.1), and whether it was run through this package."""

    name: str
    model: str
    kind: Literal["causal", "masked"]
    status: str = "untested"


PAPER_FAMILIES = (
    Family("HyenaDNA", "LongSafari/hyenadna-large-1m-seqlen-hf", "causal"),
    Family("Caduceus", "kuleshov-group/caduceus-ps_seqlen-131k_d_model-256_n_layer-16", "masked"),
    Family("DNABERT-2", "zhihan1996/DNABERT-2-117M", "masked"),
    Family("GENA-LM", "AIRI-Institute/gena-lm-bert-large-t2t", "masked"),
    Family("Mistral-DNA", "RaphaelMourad/Mistral-DNA-v1-1.6B-hg38", "causal"),
    Family("Nucleotide Transformer", "InstaDeepAI/nucleotide-transformer-v2-500m-multi-species", "masked"),
)


class LanguageModel:
    """A model with its tokenizer, scoring DNA strings.

    Attributes:
        name: Hub id or folder; revision: commit, or digest of a local folder's files.
        kind: "causal" or "masked".
        max_tokens: longest input, or None where neither model nor tokenizer has a limit.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        kind: Literal["causal", "masked"],
        name: str,
        revision: str,
    ):
        self.model, self.tokenizer, self.kind, self.name, self.revision = model.eval(), tokenizer, kind, name, revision
        # Right padding never reaches a causal model's real tokens, whether or not it takes a mask.
        tokenizer.padding_side = "right"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        if kind == "masked" and tokenizer.mask_token_id is None:
            raise ValueError(f"{name}: a masked language model whose tokenizer has no mask token cannot be scored")
        self.takes_mask = "attention_mask" in inspect.signature(model.forward).parameters
        limits = [getattr(model.config, key, None) for key in ("max_position_embeddings", "n_positions")]
        if tokenizer.model_max_length < NO_LIMIT:
            limits.append(tokenizer.model_max_length)
        self.max_tokens: int | None = min((limit for limit in limits if limit), default=None)

    @property
    def num_parameters(self) -> int:
        return self.model.num_parameters()

    @property
    def device(self) -> torch.device:
        return self.model.device

    def encode(self, sequences: Sequence[str]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Model inputs of a batch, and which tokens are of the sequences themselves: (B, T) bool.

        Raises:
            ValueError: if a sequence has more tokens than the model can read.
        """
        encoded = self.tokenizer(list(sequences), padding=True, return_tensors="pt", return_special_tokens_mask=True)
        own = encoded["special_tokens_mask"] == 0
        mask = encoded.get("attention_mask")
        if mask is not None:
            own &= mask.bool()
        elif self.tokenizer.pad_token_id is not None:
            own &= encoded["input_ids"] != self.tokenizer.pad_token_id
        tokens = encoded["input_ids"].shape[1]
        if self.max_tokens is not None and tokens > self.max_tokens:
            longest = max(map(len, sequences))
            raise ValueError(
                f"{self.name} reads at most {self.max_tokens} tokens, but {longest} bases are {tokens} tokens: "
                f"score a shorter window (--window)"
            )
        inputs = {"input_ids": encoded["input_ids"].to(self.device)}
        if self.takes_mask and mask is not None:
            inputs["attention_mask"] = mask.to(self.device)
        return inputs, own.to(self.device)

    def log_likelihood(self, sequences: Sequence[str], reduction: str = "sum", batch_size: int = 64) -> np.ndarray:
        """Log-likelihood (causal) or pseudo-log-likelihood (masked) of each sequence in nats, (n,) float64.

        Special tokens are not scored, nor is the first token of a causal model without a start token
        (DART-Eval spec section 1.4). reduction "mean" divides by the number of scored tokens.
        `batch_size` rows go through the model at once.
        """
        scores = []
        for start in range(0, len(sequences), batch_size):
            inputs, own = self.encode(sequences[start : start + batch_size])
            if self.kind == "causal":
                total, count = causal_log_likelihood(self.model, inputs, own)
            else:
                total, count = masked_log_likelihood(self.model, inputs, own, self.tokenizer.mask_token_id, batch_size)
            scores.append((total / count.clamp(min=1) if reduction == "mean" else total).cpu().numpy())
        return np.concatenate(scores) if scores else np.empty(0)

    def forward_passes(self, sequences: Sequence[str]) -> int:
        """Rows that go through the model to score these: one a sequence (causal), or one a token (masked).

        Raises:
            ValueError: as [`encode`], before anything is scored.
        """
        _, own = self.encode(sequences)
        return len(sequences) if self.kind == "causal" else int(own.sum())


def load_language_model(
    name: str | os.PathLike[str],
    revision: str | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    trust_remote_code: bool = False,
) -> LanguageModel:
    """Load a language model from the Hub or a folder through the Auto classes.

    Args:
        device: where to; by default CUDA where there is one. dtype: "float32" (default), "bfloat16", ...
        trust_remote_code: execute the repository's own code. Never needed for models of this package.

    Raises:
        ValueError: if the checkpoint has no language-model head, or its weights are incomplete.
        OSError: if there is no such model.
    """
    name = os.fspath(name)
    remote: dict[str, Any] = {"trust_remote_code": trust_remote_code} if trust_remote_code else {}
    config = AutoConfig.from_pretrained(name, revision=revision, **remote)
    kind = head_of(config, name)
    auto_class = AutoModelForCausalLM if kind == "causal" else AutoModelForMaskedLM
    loaded: Any = auto_class.from_pretrained(
        name, config=config, revision=revision, dtype=dtype or torch.float32, output_loading_info=True, **remote
    )
    model, loading = loaded
    if loading["missing_keys"]:
        raise ValueError(f"{name}: the checkpoint lacks {', '.join(sorted(loading['missing_keys'])[:5])}")
    tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, **remote)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    commit = folder_digest(Path(name)) if Path(name).is_dir() else getattr(config, "_commit_hash", None) or "unknown"
    return LanguageModel(model.to(device), tokenizer, kind, name, commit)


def head_of(config: Any, name: str) -> Literal["causal", "masked"]:
    """Which language-model head a checkpoint was saved with.

    Raises:
        ValueError: if it was saved with none.
    """
    saved = [*(config.architectures or []), *getattr(config, "auto_map", {})]
    if any("MaskedLM" in architecture for architecture in saved):
        return "masked"
    if any("CausalLM" in architecture or "LMHead" in architecture for architecture in saved):
        return "causal"
    raise ValueError(
        f"{name}: no language-model head to take likelihoods from; the checkpoint was saved as "
        f"{', '.join(config.architectures or ['no architecture'])}, not as ...ForCausalLM or ...ForMaskedLM"
    )


def folder_digest(folder: Path) -> str:
    """12 hexadecimal digits of SHA-256 over a model folder's configuration, tokenizer and weights."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".safetensors", ".bin", ".txt", ".model"):
            digest.update(path.name.encode())
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]
