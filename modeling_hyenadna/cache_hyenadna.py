"""What HyenaDNA carries from token to token while it generates."""

from typing import Any

import torch
from transformers.cache_utils import CacheLayerMixin


class HyenaDNACacheLayer(CacheLayerMixin):
    """State of one block: all that the two causal convolutions still need of the past.

    `DynamicCache(config=...)` builds one for each "hyena" entry of `HyenaDNAConfig.layer_types`. The tensors keep the
    names the base class moves, selects and reorders along the batch:

    Attributes:
        keys: (B, T, D) float32, gated inputs of the long convolution (x1 * v) for all T positions so far.
        values: (B, short_filter_order - 1, 3 D), the last inputs of the short convolution.
    """

    _layer_type = "hyena"
    supports_early_init = False
    keys: torch.Tensor
    values: torch.Tensor

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.dtype, self.device = value_states.dtype, value_states.device
        self.keys, self.values = key_states[:, :0], value_states
        self.is_initialized = True

    def update_short(self, projected: torch.Tensor, taps: int) -> torch.Tensor:
        """Store the last inputs of the short convolution; returns those before `projected` (B, L, 3 D)."""
        batch_size, length, channels = projected.shape
        if not self.is_initialized:
            gated = projected.new_empty(batch_size, 0, channels // 3, dtype=torch.float32)
            self.lazy_initialization(gated, projected.new_zeros(batch_size, taps - 1, channels))
        context = self.values
        self.values = torch.cat([context, projected], dim=1)[:, length:]
        return context

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor | None = None, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append gated inputs (B, L, D); returns those of all positions (B, T + L, D), and `values`."""
        self.keys = torch.cat([self.keys, key_states], dim=1)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return self.keys.shape[1] if self.is_initialized else 0

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        return -1

    def reset(self) -> None:
        self.keys = self.values = None  # type: ignore[assignment]
        self.is_initialized = False

    def crop(self, tokens_to_remove: int) -> None:
        if tokens_to_remove != 0:
            raise NotImplementedError(
                f"cannot remove {tokens_to_remove} tokens from a HyenaDNA cache: the short convolution's inputs "
                "before them are gone. Run the shorter sequence again."
            )

    def batch_repeat_interleave(self, repeats: int) -> None:
        if self.is_initialized:
            self.keys = self.keys.repeat_interleave(repeats, dim=0)
            self.values = self.values.repeat_interleave(repeats, dim=0)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        if self.is_initialized:
            self.keys, self.values = self.keys[indices], self.values[indices]
