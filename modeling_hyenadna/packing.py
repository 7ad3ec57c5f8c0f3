"""Packed rows: several sequences one after another in a row, each computed as if it had a row of its own.

Shapes: B rows, L tokens, C channels. A segment is one of the sequences.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

# Segments are computed together where the shorter are at least this part of the longest, or all are this short.
LEAST_PART, SHORT = 0.75, 32


@dataclass(frozen=True)
class Group:
    """Segments of about one length, as places among the B L tokens of all rows.

    Attributes:
        places: (n, W), that of each token of n segments, the longest of which has W tokens.
        mask: (n, W), true at real tokens, false at padding and after a segment's end; None where all are real.
    """

    places: torch.Tensor
    mask: torch.Tensor | None


@dataclass(frozen=True)
class Packing:
    """Where the segments of a batch are.

    Attributes:
        starts: (B, L), true at the first token of every segment.
        longest: tokens of the longest segment.
        groups: the segments, in groups of about one length.
        found: (B, L), the place of each token among those of all groups, one after another; their number for a token
            of no segment.
    """

    starts: torch.Tensor
    longest: int
    groups: list[Group]
    found: torch.Tensor

    def apply(
        self, function: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor], x: torch.Tensor
    ) -> torch.Tensor:
        """`function` of a batch of segments (n, W, C) and its mask (n, W), done on those in `x` (B, L, C): (B, L, C').

        Zeros where there is no segment.
        """
        tokens, parts = x.flatten(0, 1), []
        for group in self.groups:
            places = group.places.to(x.device)
            rows = tokens.index_select(0, places.flatten()).view(*places.shape, -1)
            mask = None if group.mask is None else group.mask.to(x.device)
            rows = rows if mask is None else rows * mask[..., None].to(rows.dtype)
            parts.append(function(rows, mask).flatten(0, 1))
        nothing = parts[0].new_zeros(1, parts[0].shape[1])
        found = self.found.to(x.device)
        return torch.cat([*parts, nothing]).index_select(0, found.flatten()).view(*found.shape, -1)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def read_packing(
    shape: tuple[int, int],
    attention_mask: torch.Tensor | None = None,
    position_ids: torch.Tensor | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    seq_idx: torch.Tensor | None = None,
    past: int = 0,
) -> Packing | None:
    """Where the segments of rows of `shape` (B, L) are, by whichever of the three descriptions is given.

    Only real tokens are looked at: padding begins no segment.

    Args:
        attention_mask: (B, L) or (B, past + L), 0 at padding.
        position_ids: (B, L) or (1, L), counting from 0 in each segment.
        cu_seq_lens_q: (segments + 1,), for one row: 0, then where each segment ends.
        seq_idx: (B, L) or (1, L), the same number at all tokens of a segment.
        past: tokens of each row before these, which a cache holds.

    Returns:
        None if every row is one segment.

    Raises:
        ValueError: for a wrong shape, positions that neither go on nor start again, descriptions that disagree, or
            several segments and a cache.
    """
    if torch.compiler.is_exporting() or torch.jit.is_tracing():
        raise ValueError("position_ids, cu_seq_lens_q and seq_idx cannot be exported or traced: leave them out")
    rows, length = shape
    mask = torch.ones(rows, past + length) if attention_mask is None else attention_mask.cpu().expand(rows, -1)
    real, before = mask[:, -length:] != 0, torch.zeros(rows, dtype=torch.bool)
    if past:
        before = (mask[:, :-length] != 0).any(dim=1) if mask.shape[1] > length else torch.ones_like(before)
    previous = previous_real(real)
    found = {}
    if position_ids is not None:
        positions = per_token("position_ids", position_ids, shape)
        found["position_ids"] = where_positions_restart(positions, real, previous)
        goes_on = previous.eq(-1) & before[:, None]
        found["position_ids"] |= real & goes_on & positions.eq(0)
    if seq_idx is not None:
        found["seq_idx"] = where_numbers_change(per_token("seq_idx", seq_idx, shape), real, previous)
    if cu_seq_lens_q is not None:
        numbers = segment_numbers(cu_seq_lens_q, shape)
        found["cu_seq_lens_q"] = where_numbers_change(numbers, real, previous)
    names = [*found]
    for name in names[1:]:
        if not torch.equal(found[name], found[names[0]]):
            row, place = (found[name] != found[names[0]]).nonzero()[0].tolist()
            raise ValueError(
                f"{names[0]} and {name} describe different segments: only one of them begins one at token {place} of "
                f"row {row}"
            )
    inner = found[names[0]]
    if not inner.any():
        return None
    if past:
        raise ValueError("packed rows cannot continue a cache: give each sequence a row of its own")
    device = next(x for x in (position_ids, seq_idx, cu_seq_lens_q) if x is not None).device
    return grouped(inner | (real & previous.eq(-1)), real, device)


def per_token(name: str, numbers: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """`numbers` as (B, L) on the CPU; ValueError if they are not that, nor (1, L)."""
    if numbers.ndim != 2 or numbers.shape[0] not in (1, shape[0]) or numbers.shape[1] != shape[1]:
        raise ValueError(f"{name} must be {shape} for these inputs, got {tuple(numbers.shape)}")
    return numbers.cpu().expand(shape)


def previous_real(real: torch.Tensor) -> torch.Tensor:
    """(B, L), the place in the row of the last real token before each token, -1 where there is none."""
    places = torch.arange(real.shape[1]).expand_as(real)
    last = torch.where(real, places, -1).cummax(dim=1).values
    return F.pad(last[:, :-1], (1, 0), value=-1)


def where_positions_restart(positions: torch.Tensor, real: torch.Tensor, previous: torch.Tensor) -> torch.Tensor:
    """(B, L), true at real tokens where positions begin again at 0; ValueError where they do neither that nor go on.

    They go on by one, or over padding in between by as many as there are tokens.
    """
    places = torch.arange(real.shape[1])
    step = positions - positions.gather(1, previous.clamp(min=0))
    goes_on = (step == 1) | (step == places - previous)
    after = real & (previous >= 0)
    wrong = (after & ~goes_on & (positions != 0)).nonzero()
    if len(wrong):
        row, place = wrong[0].tolist()
        raise ValueError(
            f"position_ids must go on by 1 or start again at 0, but in row {row}, at token {place}, "
            f"{int(positions[row, place])} follows {int(positions[row, previous[row, place]])}"
        )
    return after & ~goes_on


def where_numbers_change(numbers: torch.Tensor, real: torch.Tensor, previous: torch.Tensor) -> torch.Tensor:
    """(B, L), true at real tokens whose number is not that of the real token before."""
    return real & (previous >= 0) & (numbers != numbers.gather(1, previous.clamp(min=0)))


def segment_numbers(cu_seq_lens: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """(1, L), the number of the segment of each token, from the ends of segments; ValueError if they are not ends."""
    ends = cu_seq_lens.cpu().long()
    if shape[0] != 1:
        raise ValueError(f"cu_seq_lens_q describes one row of tokens, but the input has {shape[0]}")
    if ends.ndim != 1 or len(ends) < 2 or ends[0] != 0 or ends[-1] != shape[1] or (ends.diff() < 0).any():
        raise ValueError(f"cu_seq_lens_q must rise from 0 to the {shape[1]} tokens of the input, got {ends.tolist()}")
    return torch.bucketize(torch.arange(shape[1]), ends[1:], right=True)[None]


def grouped(starts: torch.Tensor, real: torch.Tensor, device: torch.device) -> Packing:
    """The packing with segments that begin at `starts` (B, L), each up to its last real token."""
    length = real.shape[1]
    row, start = starts.nonzero().unbind(1)
    following = torch.cat([start[1:], start.new_tensor([length])])
    following = torch.where(F.pad(row[1:], (0, 1), value=-1) == row, following, length)
    last = torch.where(real, torch.arange(length), -1).cummax(dim=1).values
    lengths, first = last[row, following - 1] - start + 1, row * length + start
    order = lengths.argsort(descending=True, stable=True)
    found, groups, taken = torch.full((real.numel(),), -1), [], 0
    while len(order):
        width = int(lengths[order[0]])
        together = int((lengths[order] >= (1 if width <= SHORT else LEAST_PART * width)).sum())
        chosen, order = order[:together], order[together:]
        offset = torch.arange(width)
        inside = offset < lengths[chosen, None]
        places = first[chosen, None] + torch.where(inside, offset, 0)
        found[places[inside]] = taken + torch.arange(places.numel()).view_as(places)[inside]
        mask = inside & real.flatten()[places]
        groups.append(Group(places.to(device), None if mask.all() else mask.to(device)))
        taken += places.numel()
    found = torch.where(found < 0, taken, found).view_as(real)
    return Packing(starts.to(device), int(lengths.max()), groups, found.to(device))
