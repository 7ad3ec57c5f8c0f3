"""One vector a sequence, and distances between them (DART-Eval spec section 1.5). B sequences, T tokens, C channels."""

from typing import Any, NamedTuple

import numpy as np
import torch

from datasets_dart.errors import InputError

POOLINGS = ("mean", "max", "last", "mean_with_next", "mean_all")
# Sequences in one of the original's HDF5 data sets of embeddings, tasks 2 and 3, but for one family in task 2.
ORIGINAL_BATCH = 64


class EmbeddingRecipe(NamedTuple):
    """How a sequence becomes a vector, and two vectors a distance; every record carries it."""

    name: str
    pooling: str
    layer: int = -1
    attention_mask: bool = True
    distance: str = "cosine"
    rows: str = "as they are"  # or in another order, as the original has them
    batch: int = ORIGINAL_BATCH  # sequences that are embedded at once, where that matters

    def described(self, alleles: bool) -> dict[str, Any]:
        """The entries of a record, the same whether the task compares alleles or not."""
        fields = self._asdict()
        return fields if self.batch != ORIGINAL_BATCH else {name: x for name, x in fields.items() if name != "batch"}


def hidden_states(output: Any, layer: int, name: str) -> torch.Tensor:
    """(B, T, C) of a layer, from what a model returns.

    DNABERT-2's own code returns a tensor, that of the last layer, in place of a tuple.

    Raises:
        ValueError: naming the model, if there are no hidden states, or not of that layer.
    """
    return _layers(output, layer, name)[layer]  # type: ignore[no-any-return]


def pooled_states(output: Any, layer: int, own: torch.Tensor, pooling: str, name: str) -> torch.Tensor:
    """[`pool`] of [`hidden_states`], (B, C) float32; of rows that were read alike, a mean sums what they share once."""
    layers = _layers(output, layer, name)
    if pooling == "mean" and hasattr(layers, "sums"):
        return _mean(layers.sums(layer, own), own)
    return pool(layers[layer], own, pooling)


def _layers(output: Any, layer: int, name: str) -> Any:
    states = getattr(output, "hidden_states", None)
    if states is None:
        raise InputError(f"{name}: the model returns no hidden states to make embeddings of")
    if isinstance(states, torch.Tensor):
        states = (states,)
    if not -len(states) <= layer < len(states):
        raise InputError(f"{name}: there is no layer {layer} among {len(states)} hidden states")
    return states


def pool(hidden: torch.Tensor, own: torch.Tensor, pooling: str) -> torch.Tensor:
    """Hidden states (B, T, C) as one vector a sequence: (B, C) float32. The one pooling of the judge.

    Args:
        own: (B, T) bool, the sequence's own tokens.
        pooling: "mean" over a sequence's own tokens, their "max", or the "last" of them; "mean_with_next", over those
            and the token after each; "mean_all", over all tokens of the batch. The last two are the original's.
    """
    if pooling == "max":
        return hidden.masked_fill(~own[..., None], -torch.inf).amax(dim=1).float()
    if pooling == "last":
        position = torch.arange(own.shape[1], device=own.device)
        return hidden[torch.arange(len(own)), (position * own).argmax(dim=1)].float()
    counted = own
    if pooling == "mean_all":
        counted = torch.ones_like(own)
    elif pooling == "mean_with_next":
        counted = own.clone()
        counted[:, 1:] |= own[:, :-1]
    total = torch.where(counted[..., None], hidden, 0).sum(dim=1, dtype=torch.float64)
    return _mean(total, counted)


def _mean(total: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    return (total / counted.sum(dim=1, keepdim=True).clamp(min=1)).float()


def cosine_distance(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """1 - cosine of the angle between rows of (n, C) arrays, (n,) float64.

    In float64, because the distances of alleles are of the order of float32's rounding.

    Raises:
        InputError: naming the row, for a vector of zeros, which has no angle.
    """
    one, two = np.asarray(one, np.float64), np.asarray(two, np.float64)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    if not norms.all():
        row = int(np.flatnonzero(norms == 0)[0])
        raise InputError(f"row {row}: a vector of zeros has no cosine distance from another: is the model untrained?")
    return np.asarray(1 - (one * two).sum(axis=1) / norms)


def name_order(n: int, batch: int = ORIGINAL_BATCH) -> np.ndarray:
    """Which row of the input the original takes for each row of its stacked embeddings: (n,) row numbers.

    It reads the data sets emb_0_64, emb_64_128, ... of an HDF5 file in the order of their names as text, where
    "emb_128_192" comes before "emb_64_128", and then pairs rows with the input's lines (spec section 0, point 1).
    """
    starts = sorted(range(0, n, batch), key=lambda start: f"emb_{start}_{min(start + batch, n)}")
    return np.concatenate([np.arange(start, min(start + batch, n)) for start in starts] or [np.arange(0)])
