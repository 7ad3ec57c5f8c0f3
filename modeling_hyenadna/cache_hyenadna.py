"""What HyenaDNA carries from token to token while it generates."""

from collections.abc import Callable
from typing import Any

import torch
from transformers.cache_utils import CacheLayerMixin

from .long_conv.online import OnlineConvolution, in_place_of, writable


class HyenaDNACacheLayer(CacheLayerMixin):
    """State of one block: all that the two causal convolutions still need of the past.

    `DynamicCache(config=...)` builds one for each "hyena" entry of `HyenaDNAConfig.layer_types`.

    Attributes:
        values: (B, short_filter_order - 1, 3 D), the last inputs of the short convolution; and all others since
            `activate_past_recording`, so that tokens can be taken back by `crop`.
        convolution: the long convolution, which keeps its gated inputs (x1 * v), (B, T, D), of all T positions so far.
        skip: (D,), the weight of its skip connection, since it last asked for its kernel.
    """

    _layer_type = "hyena"
    supports_early_init = False
    is_croppable = True
    values: torch.Tensor
    convolution: OnlineConvolution
    skip: torch.Tensor

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        self.record_past = False

    @classmethod
    def is_kind_of(cls, layer: object) -> bool:
        """Whether `layer` is one of these by name: Hub code loaded from two places has two such classes."""
        return getattr(layer, "_layer_type", None) == cls._layer_type

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Not how this layer begins: transformers calls it with keys and values, which there are none of."""
        raise NotImplementedError("HyenaDNA's cache has no keys and values to begin with: call start")

    def start(self, projected: torch.Tensor, taps: int, backend: str) -> None:
        """Begin empty, for `projected` (B, any, 3 D) to come; does nothing when it has begun."""
        if not self.is_initialized:
            batch_size, _, channels = projected.shape
            self.device, self.dtype, self.context_length = projected.device, projected.dtype, taps - 1
            self.values = projected.new_zeros(batch_size, self.context_length, channels)
            compute = torch.promote_types(projected.dtype, torch.float32)
            self.convolution = OnlineConvolution(batch_size, channels // 3, projected.device, compute, backend)
            self.is_initialized = True

    def update_short(self, projected: torch.Tensor) -> torch.Tensor:
        """Store inputs of the short convolution, (B, L, 3 D); returns the short_filter_order - 1 before them."""
        context = self.values[:, self.values.shape[1] - self.context_length :]
        if self.is_stepping:  # into the same memory
            joined = torch.cat([context, projected], dim=1)
            self.values.copy_(joined[:, 1:])
            return joined[:, :-1]
        if self.record_past:
            self.values = torch.cat([self.values, projected], dim=1)
        else:  # a copy of the last ones, or a view would keep them all
            new = min(projected.shape[1], self.context_length)
            self.values = torch.cat([context[:, new:], projected[:, projected.shape[1] - new :]], dim=1)
        return context

    @property
    def is_stepping(self) -> bool:
        """Whether one token comes now whose work is to be repeated for later ones ([`OnlineConvolution.indices`])."""
        return self.convolution.indices is not None

    def keep_skip(self, skip: torch.Tensor) -> None:
        """Keep the weight (D,) of the skip connection."""
        self.skip = in_place_of(getattr(self, "skip", None), skip)

    @property
    def can_step(self) -> bool:
        """Whether the next token can be written where the others are: one has come, and none is to be taken back."""
        return self.is_initialized and not self.record_past and writable(self.values)

    @property
    def state(self) -> list[torch.Tensor]:
        """What the next token is computed from, and what it changes."""
        return [self.values, self.skip, *self.convolution.state]

    def update(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Not how this layer is filled: a HyenaDNA block has neither keys nor values."""
        raise NotImplementedError("HyenaDNA's cache has no keys and values: call convolution.update and update_short")

    def get_seq_length(self) -> int:
        """Positions taken so far."""
        return self.convolution.length if self.is_initialized else 0

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of the mask for `query_length` further positions: all positions, from the first."""
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        """-1: there is no limit here."""
        return -1

    def reset(self) -> None:
        """Forget all positions."""
        if self.is_initialized:
            del self.values, self.convolution
        self.is_initialized = False

    def activate_past_recording(self) -> None:
        """Keep all inputs of the short convolution from now on, until the next `crop`."""
        self.record_past = True

    def crop(self, tokens_to_remove: int) -> None:
        """Take back the last `-tokens_to_remove` tokens.

        Raises:
            ValueError: for a positive number, a length in older versions of transformers.
            RuntimeError: if the short convolution's inputs before those tokens were not recorded.
        """
        if tokens_to_remove > 0:
            raise ValueError(f"crop takes a negative number, of tokens to remove, got {tokens_to_remove}")
        if not self.is_initialized:
            return
        kept = self.values.shape[1] + tokens_to_remove
        if kept < self.context_length:
            raise RuntimeError(
                f"cannot remove {-tokens_to_remove} tokens from a HyenaDNA cache that recorded "
                f"{self.values.shape[1] - self.context_length}: call activate_past_recording() before they come, or "
                "run the shorter sequence again"
            )
        self.convolution.drop(-tokens_to_remove)
        self.values = self.values[:, kept - self.context_length : kept].clone()

    def change(self, how: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Replace each tensor of the state (B, ...) by what `how` makes of it."""
        if self.is_initialized:
            self.values = how(self.values)
            self.convolution.change(how)

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Row i becomes the former row `beam_idx[i]`, as beam search asks."""
        self.change(lambda tensor: tensor.index_select(0, beam_idx.to(tensor.device)))

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Each row `repeats` times."""
        self.change(lambda tensor: tensor.repeat_interleave(repeats, dim=0))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Only the rows `indices`."""
        self.change(lambda tensor: tensor[indices])

    def offload(self) -> None:
        """Move the state to the CPU."""
        self.move("cpu")

    def prefetch(self) -> None:
        """Move the state back to the model's device."""
        if self.is_initialized:
            self.move(self.device)

    def move(self, device: torch.device | str) -> None:
        """Move the state to `device`, where it is not there yet."""
        if self.is_initialized and self.values.device != torch.device(device):
            self.values = self.values.to(device, non_blocking=True)
            self.convolution.to(device)
