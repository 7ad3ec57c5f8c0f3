"""Rows that begin alike through a model together: one of them whole, the others from where they differ.

In each layer the others need of the first its gated input and the convolution of that (long_conv/differences.py);
nothing of it outlives the layer. Their tokens are one row (1, N) for everything that acts on each token by itself.
Shapes: B rows, L tokens, of which the last n are those from `start` on; C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch

from .long_conv import PreparedKernel
from .long_conv.differences import difference_mixer, reference_mixer


@dataclass(frozen=True)
class Lockstep:
    """Where the tokens of B rows are among the N of one: those of the references, then the others from `start` on.

    Attributes:
        length: L. start: the first token in which one of the others may differ.
        references: (R,) numbers of the rows that are read whole. others: (A,) those of the rest.
        of: (A,) int64, which of the references each of the others is compared with.
    """

    length: int
    start: int
    references: torch.Tensor
    others: torch.Tensor
    of: torch.Tensor

    @property
    def rows(self) -> int:
        """B."""
        return len(self.references) + len(self.others)

    def tokens_of(self, rows: torch.Tensor) -> torch.Tensor:
        """(B, L) as (1, N)."""
        return torch.cat([rows[self.references].flatten(), rows[self.others, self.start :].flatten()])[None]

    def parts(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(1, N, ...) as views (R, L, ...) and (A, n, ...)."""
        whole = len(self.references) * self.length
        rest = tokens.shape[2:]
        one = tokens[0, :whole].view(len(self.references), self.length, *rest)
        return one, tokens[0, whole:].view(len(self.others), self.length - self.start, *rest)

    def rows_of(self, tokens: torch.Tensor) -> torch.Tensor:
        """(1, N, ...) as (B, L, ...)."""
        one, two = self.parts(tokens)
        rows = tokens.new_empty(self.rows, self.length, *tokens.shape[2:])
        rows[self.references] = one
        rows[self.others] = torch.cat([one[self.of, : self.start], two], dim=1)
        return rows

    def mixed(
        self,
        projected: torch.Tensor,
        mask: torch.Tensor | None,
        kernel: torch.Tensor | PreparedKernel,
        skip: torch.Tensor,
        short: tuple[torch.Tensor, torch.Tensor],
        backend: str,
    ) -> torch.Tensor:
        """The operator between a layer's projections, (1, N, 3 D) -> (1, N, D)."""
        (one, two), masks = self.parts(projected), (None, None) if mask is None else self.parts(mask)
        mixed = projected.new_empty(*projected.shape[:2], len(skip))
        y, z = self.parts(mixed)  # which are written
        _, kept = reference_mixer(one, *short, kernel, skip, masks[0], self.start, backend, out=y)
        taps = kernel.kernel if isinstance(kernel, PreparedKernel) else kernel
        rest = taps[:, : self.length - self.start]
        difference_mixer(two, kept, self.of, *short, rest, skip, masks[1], backend, out=z)
        return mixed


class Layers(Sequence[torch.Tensor]):
    """Hidden states of layers as (B, L, D), each made when it is asked for: of most, nobody wants more than one."""

    def __init__(self, lockstep: Lockstep, tokens: Sequence[torch.Tensor]):
        self.lockstep, self.tokens = lockstep, tokens

    def __len__(self) -> int:
        return len(self.tokens)

    @overload
    def __getitem__(self, which: int) -> torch.Tensor: ...
    @overload
    def __getitem__(self, which: slice) -> "Layers": ...
    def __getitem__(self, which: int | slice) -> "torch.Tensor | Layers":
        if isinstance(which, slice):
            return Layers(self.lockstep, self.tokens[which])
        return self.lockstep.rows_of(self.tokens[which])

    def sums(self, which: int, counted: torch.Tensor) -> torch.Tensor:
        """(B, D) float64 sums of a layer over tokens, those that rows have in common summed once.

        Args:
            counted: (B, L) bool, the tokens to sum.
        """
        lockstep, start = self.lockstep, self.lockstep.start
        of_references, of_others = counted[lockstep.references], counted[lockstep.others]
        if not torch.equal(of_others[:, :start], of_references[lockstep.of, :start]):
            return summed(self[which], counted)
        one, two = lockstep.parts(self.tokens[which])
        before, after = (summed(one[:, piece], of_references[:, piece]) for piece in (slice(start), slice(start, None)))
        sums = before.new_empty(lockstep.rows, before.shape[1])
        sums[lockstep.references] = before + after
        sums[lockstep.others] = before[lockstep.of] + summed(two, of_others[:, start:])
        return sums


def summed(hidden_states: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """(B, D) float64 sums of (B, n, D) over the tokens that are counted, (B, n)."""
    return torch.where(counted[..., None], hidden_states, 0).sum(dim=1, dtype=torch.float64)


def lockstep_of(input_ids: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor | None) -> Lockstep | None:
    """Where rows (B, L) differ from their references; None of rows that are all references."""
    rows = torch.arange(len(input_ids), device=input_ids.device)
    whole = reference == rows
    if not whole[reference].all():
        raise ValueError("reference: a row that others are compared with is itself compared with another")
    references, others = rows[whole], rows[~whole]
    if len(others) == 0:
        return None
    differ = input_ids[others] != input_ids[reference[others]]
    if mask is not None:
        differ |= (mask[others] != 0) != (mask[reference[others]] != 0)
    length = input_ids.shape[1]
    first = torch.where(differ, torch.arange(length, device=differ.device), length - 1).min()
    of = torch.searchsorted(references, reference[others])
    return Lockstep(length, int(first), references, others, of)


def in_lockstep(
    model: Any,
    input_ids: torch.Tensor,
    reference: torch.Tensor,
    attention_mask: torch.Tensor | None,
    followed: bool,
    **kwargs: Any,
) -> Any:
    """[`HyenaDNAPreTrainedModel.read_alike`]; followed: whether torch follows the operations."""
    mask = None if attention_mask is None else attention_mask.expand_as(input_ids)
    lockstep = None
    if not (followed or model.training or torch.is_grad_enabled() or of_whole_rows(model, kwargs)):
        lockstep = lockstep_of(input_ids, reference, mask)
    if lockstep is None or not can_differ(model, lockstep.start):
        return model(input_ids=input_ids, attention_mask=attention_mask, **kwargs)
    tokens = lockstep.tokens_of(input_ids)
    masked = None if mask is None else lockstep.tokens_of(mask)
    output = model(input_ids=tokens, attention_mask=masked, lockstep=lockstep, **kwargs)
    for name, value in output.items():
        if isinstance(value, tuple):
            output[name] = Layers(lockstep, value)
        elif value.shape[:2] == tokens.shape:
            output[name] = lockstep.rows_of(value)
    return output


def of_whole_rows(model: Any, options: dict[str, Any]) -> bool:
    """Whether options of a forward pass speak of whole rows, as labels and the last positions do, or want a tuple."""
    asked = {name for name, value in options.items() if value is not None and value is not False}
    as_tuple = not options.get("return_dict", model.config.return_dict)
    return as_tuple or not asked <= {"output_hidden_states", "return_dict"}


def can_differ(model: Any, start: int) -> bool:
    """Whether rows can be computed from `start` on: not within the first taps, nor where hooks or adapters stand."""
    mixers = [layer.mixer for layer in model.base_model.backbone.layers]
    return start >= max(mixer.taps for mixer in mixers) - 1 and all(mixer.short_weights() for mixer in mixers)
