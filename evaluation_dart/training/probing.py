"""Probing: a small CNN trained on the hidden states of a frozen language model (DART-Eval spec section 1.7).

B sequences, T tokens, L bases, C channels. The head reads one embedding a base: that of the token that covers it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from evaluation_dart.models.families import family_of_config
from evaluation_dart.models.language_model import LanguageModel
from evaluation_dart.scoring.embeddings import hidden_states


class ProbingHead(nn.Module):
    """Three convolutions, the sum over positions, and a linear output: (B, L, C) -> (B, outputs).

    All convolutions are padded by 1, the pointwise one as well, which adds a column on either side (spec 1.7).
    """

    def __init__(self, channels: int, outputs: int, hidden: int = 32, kernel: int = 8):
        super().__init__()
        self.conv1 = nn.Conv1d(channels, hidden, 1, padding=1)
        self.conv2 = nn.Conv1d(hidden, hidden, kernel, padding=1)
        self.conv3 = nn.Conv1d(hidden, hidden, kernel, padding=1)
        self.fc1 = nn.Linear(hidden, outputs)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Logits (B, outputs) of embeddings (B, L, C)."""
        x = embeddings.transpose(1, 2)
        for convolution in (self.conv1, self.conv2, self.conv3):
            x = F.relu(convolution(x))
        outputs: torch.Tensor = self.fc1(x.sum(dim=2))
        return outputs


def per_base(embeddings: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Embeddings (B, T, C) of the tokens (B, L) that cover each base: (B, L, C); 0 where the token is -1."""
    index = tokens.clamp(min=0)[:, :, None].expand(-1, -1, embeddings.shape[2])
    return torch.where(tokens[:, :, None] < 0, 0, embeddings.gather(1, index))


def tokens_read(model: LanguageModel, sequences: Sequence[str], task: str, protocol: str, length: int) -> np.ndarray:
    """Which tokens the head reads, one a base: (B, L) int64.

    "fixed": the token that covers each base. "paper": as the original. Of Caduceus it reads the first token and the
    one after the last base (spec section 0, point 2); bases without a token of their own have the first one's. In task
    5 it reads every token of Caduceus and HyenaDNA, and of other models the first T bases for T tokens (point 3).

    Args:
        length: tokens in the batch, T.
    """
    bases = model.base_tokens(sequences)
    tokens = np.full((len(bases), max(map(len, bases))), -1)
    for row, own in zip(tokens, bases, strict=True):
        row[: len(own)] = own
    if protocol == "fixed":
        return tokens
    whole = np.tile(np.arange(length), (len(bases), 1))
    each_base = model.before == 0 and (tokens == whole[:, : tokens.shape[1]]).all()
    if task == "variant_effects":
        if each_base:
            return whole
        if k := model.bases_per_token:  # as if T were the number of bases: k-mers, and what is left one by one
            kmers, position = length // k, np.arange(length)
            first = model.before + np.where(position < k * kmers, position // k, position - (k - 1) * kmers)
            return np.tile(first, (len(bases), 1))
        return tokens[:, :length].clip(min=0)
    two = family_of_config("", model.model.config).reads_two_tokens
    return whole[:, [0, tokens.shape[1]]] if two else tokens.clip(min=0)


class Embedder:
    """Hidden states of a frozen model for the head.

    Args:
        task, protocol: of [`tokens_read`]. "paper" passes no attention mask (spec section 1.5), except in task 5,
            where the original tries one first, and masked models take it.
    """

    def __init__(self, model: LanguageModel, task: str, protocol: str = "fixed", layer: int = -1):
        self.model, self.task, self.protocol, self.layer = model, task, protocol, layer
        model.model.requires_grad_(False)

    @torch.no_grad()
    def embed(self, sequences: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token embeddings (B, T, C), and the tokens that the head reads, (B, L) int64.

        Raises:
            ValueError: as [`LanguageModel.encode`], or if the model gives no hidden states.
        """
        inputs, own = self.model.encode(sequences)
        masked = self.task == "variant_effects" and self.model.kind == "masked"
        if self.protocol == "paper" and not masked:
            inputs.pop("attention_mask", None)
        output: Any = self.model.model(**inputs, output_hidden_states=True)
        hidden = hidden_states(output, self.layer, self.model.name)
        tokens = tokens_read(self.model, sequences, self.task, self.protocol, own.shape[1])
        return hidden, torch.from_numpy(tokens).to(hidden.device)

    def channels(self) -> int:
        """C, from a pass of the model."""
        return self.embed(["ACGTTGCAACGTTGCA"])[0].shape[2]


class Probed(nn.Module):
    """Frozen model and head together. The model is no submodule: only the head is trained, moved, saved and shared."""

    def __init__(self, embedder: Embedder, outputs: int, kernel: int = 8):
        super().__init__()
        self.embedder = embedder
        self.head = ProbingHead(embedder.channels(), outputs, kernel=kernel).to(embedder.model.device)

    def forward(self, batch: Sequence[str] | Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(B, outputs) from strings, or from `embeddings` and `tokens` of an [`EmbeddingCache`]."""
        if isinstance(batch, Mapping):
            device = self.head.fc1.weight.device
            embeddings, tokens = batch["embeddings"].to(device).float(), batch["tokens"].to(device)
        else:
            embeddings, tokens = self.embedder.embed(batch)
        outputs: torch.Tensor = self.head(per_base(embeddings.to(self.head.fc1.weight.dtype), tokens))
        return outputs
