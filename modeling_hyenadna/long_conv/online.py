"""The long convolution of inputs that arrive one after another, as in generation."""

from collections.abc import Callable

import torch
from torch.nn import functional as F

from . import long_conv
from .prepared import PreparedKernel, prepare_kernel

Kernel = Callable[[int], torch.Tensor]

BLOCK = 32  # the last inputs, whose effect is summed directly
LARGEST_KEPT_TILE = 1024  # larger tiles are so rare that their kernels are transformed anew


class OnlineConvolution:
    """Causal convolution y_t = sum_{s <= t} k[t - s] u_s, whose inputs are appended and whose outputs come at once.

    Relaxed multiplication (van der Hoeven 2002; for generation, Flash Inference, arXiv 2410.12982): what the inputs
    add to outputs further on is computed by transforms of whole tiles, a tile of 2**j inputs adding to the 2**j
    outputs after it, as soon as its last input is there. N inputs cost O(N log^2 N), and one of them, on average, a
    dot product of `BLOCK` terms and a few short transforms. A history that was appended whole (a prompt) adds to a
    horizon ahead of it, a power of two that grows with it, in one transform.

    Attributes:
        inputs: (B, capacity, D), of which the first `length` are filled.
        length: inputs so far.
        pending: (B, horizon, D), for the outputs from `origin` on, what the inputs before `settled` add to them; None
            before the first output is asked for.
        indices: None, or (3,) int64 on the device, what `places` was when an input came whose work is to be repeated
            for later ones, by a CUDA graph: they are read there, and none of the numbers here.
    """

    def __init__(self, batch_size: int, channels: int, device: torch.device, dtype: torch.dtype, backend: str):
        self.inputs = torch.empty(batch_size, 0, channels, device=device, dtype=dtype)
        self.length = 0
        self.backend = backend
        self.pending: torch.Tensor | None = None
        self.origin = self.settled = 0
        self.taps = self.reversed_taps = self.inputs  # (D, horizon); (BLOCK, D), latest lag first
        self.tiles: dict[int, PreparedKernel] = {}
        self.indices: torch.Tensor | None = None

    @property
    def places(self) -> tuple[int, int, int]:
        """Where the next input goes: among all inputs, in its block, and in what is pending."""
        return self.length, self.length - self.settled, self.length - self.origin

    @property
    def state(self) -> list[torch.Tensor]:
        """What an output is computed from, once `make_ready` was called."""
        assert self.pending is not None
        return [self.inputs, self.pending, self.reversed_taps]

    @property
    def history(self) -> torch.Tensor:
        """(B, length, D), all inputs so far."""
        return self.inputs[:, : self.length]

    def reserve(self, count: int) -> None:
        """Make room for `count` more inputs at once."""
        room = self.inputs.new_empty(self.inputs.shape[0], count, self.inputs.shape[2])
        self.inputs = torch.cat([self.history, room], dim=1)

    def make_ready(self, kernel: Kernel) -> None:
        """Do what the next input needs besides a sum over its block: room, a horizon, the sums over complete tiles."""
        self._look_ahead_for(1, kernel)
        self._settle()
        self._make_room(1)

    def append(self, u: torch.Tensor) -> None:
        """Take inputs (B, n, D) whose outputs are known already."""
        self.pending = None
        self._store(u)

    def outputs(self, u: torch.Tensor, kernel: Kernel) -> torch.Tensor:
        """Take inputs (B, n, D); returns the outputs at their positions, (B, n, D).

        Args:
            kernel: gives the first so many taps, (D, taps), the same ones in every call.
        """
        count = u.shape[1]
        if self.indices is not None:
            return self._output_at(u, *self.indices.split(1))
        if count > BLOCK or torch.is_grad_enabled():  # all anew, differentiably
            self.append(u)
            return self._convolve(self.history, kernel(self.length))[:, -count:]
        self._look_ahead_for(count, kernel)
        in_block = BLOCK - (self.length - self.origin) % BLOCK
        if count <= in_block:
            return self._within_block(u)
        return torch.cat([self._within_block(u[:, :in_block]), self._within_block(u[:, in_block:])], dim=1)

    def _within_block(self, u: torch.Tensor) -> torch.Tensor:
        """[`outputs`] of inputs in one block, so that every complete tile before them can have been added."""
        self._settle()
        assert self.pending is not None
        start, count = self.length - self.origin, u.shape[1]
        ahead = self.pending[:, start : start + count]
        self._store(u)
        recent = self.inputs[:, self.settled : self.length]
        if count == 1:
            return ahead + (recent * self.reversed_taps[-recent.shape[1] :]).sum(dim=1, keepdim=True)
        return ahead + self._convolve(recent, self.taps[:, : recent.shape[1]])[:, -count:]

    def _output_at(
        self, u: torch.Tensor, place: torch.Tensor, in_block: torch.Tensor, ahead: torch.Tensor
    ) -> torch.Tensor:
        """[`outputs`] of one input (B, 1, D) at `places`, each (1,), the same work for each; `length` stays."""
        inputs, pending, reversed_taps = self.state
        inputs.index_copy_(1, place, u)
        lags = torch.arange(BLOCK - 1, -1, -1, device=u.device)
        recent = inputs.index_select(1, (place - lags).clamp(min=0))
        terms = (recent * reversed_taps).masked_fill((lags > in_block)[:, None], 0)  # those in no earlier block
        return pending.index_select(1, ahead) + terms.sum(dim=1, keepdim=True)

    def drop(self, count: int) -> None:
        """Forget the last `count` inputs."""
        self.length -= count
        if self.length < self.settled:
            self.pending = None

    def change(self, how: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Select from or repeat along the batch, or move: `how` maps (B, ..., D) to the new tensor."""
        self.inputs = how(self.inputs)
        if self.pending is not None:
            self.pending = how(self.pending)

    def to(self, device: torch.device | str) -> None:
        """Move to `device`; what is computed ahead is computed anew there."""
        self.inputs, self.pending = self.inputs.to(device, non_blocking=True), None

    def _store(self, u: torch.Tensor) -> None:
        total = self.length + u.shape[1]
        if torch.is_grad_enabled():
            self.inputs = torch.cat([self.history, u], dim=1)
        else:
            self._make_room(u.shape[1])
            self.inputs[:, self.length : total] = u
        self.length = total

    def _make_room(self, count: int) -> None:
        total = self.length + count
        if total > self.inputs.shape[1] or not writable(self.inputs):
            self.reserve(count + max(2 * BLOCK, total // 4))

    def _look_ahead_for(self, count: int, kernel: Kernel) -> None:
        if self.pending is None or self.length + count > self.origin + self.pending.shape[1]:
            self._look_ahead(kernel)

    def _look_ahead(self, kernel: Kernel) -> None:
        """Compute what all inputs so far add to the outputs ahead, from here to a new horizon."""
        total = self.length
        horizon = max(2 * BLOCK, 1 << max(0, total.bit_length() - 3))
        taps, history = kernel(total + horizon), self.history
        if total == 0:
            pending = history.new_zeros(history.shape[0], horizon, history.shape[2])
        else:
            pending = self._convolve(F.pad(history, (0, 0, 0, horizon)), taps)[:, total:]
        self.pending = in_place_of(self.pending, pending)
        self.origin = self.settled = total
        self.taps = taps[:, :horizon].clone()
        self.reversed_taps = in_place_of(self.reversed_taps, self.taps[:, :BLOCK].flip(-1).T)
        self.tiles = {}

    def _settle(self) -> None:
        """Add to the outputs ahead what each complete block of recent inputs, with its tile, adds to them."""
        assert self.pending is not None
        if not writable(self.pending):
            self.pending = self.pending.clone()
        while self.length - self.settled >= BLOCK:
            self.settled += BLOCK
            done = self.settled - self.origin
            tile = done & -done  # the largest power of two that divides it
            u = self.inputs[:, self.settled - tile : self.settled]
            self.pending[:, done : done + tile] += self._beyond(u)

    def _beyond(self, u: torch.Tensor) -> torch.Tensor:
        """What (B, n, D) inputs add to the n outputs after them."""
        tile = u.shape[1]
        kernel: torch.Tensor | PreparedKernel = self.tiles.get(tile, self.taps[:, : 2 * tile])
        if tile <= LARGEST_KEPT_TILE and tile not in self.tiles and self.backend != "reference":
            kernel = self.tiles[tile] = prepare_kernel(self.taps, 2 * tile, self.backend)
        return self._convolve(F.pad(u, (0, 0, 0, tile)), kernel)[:, tile:]

    def _convolve(self, u: torch.Tensor, kernel: torch.Tensor | PreparedKernel) -> torch.Tensor:
        return long_conv(u.transpose(1, 2), kernel, u.new_zeros(u.shape[2]), backend=self.backend).transpose(1, 2)


def writable(tensor: torch.Tensor) -> bool:
    """Whether values may be written into a tensor that exists."""
    return not tensor.requires_grad and (torch.is_inference_mode_enabled() or not tensor.is_inference())


def in_place_of(old: torch.Tensor | None, new: torch.Tensor) -> torch.Tensor:
    """A copy of `new`: in the memory of `old`, which CUDA graphs know, where it fits there."""
    if (
        old is None
        or torch.is_grad_enabled()
        or not writable(old)
        or (old.shape, old.dtype, old.device) != (new.shape, new.dtype, new.device)
    ):
        return new.clone(memory_format=torch.contiguous_format)
    return old.copy_(new)
