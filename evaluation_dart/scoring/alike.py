"""Rows that begin alike through a model: in batches of about one length, each row from where it differs if it can be.

A causal model of this package computes an allele as its reference and a difference, which costs what lies behind the
first token that differs (`read_alike` of the model). Any other model reads every row whole. n rows, T tokens.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch


class Pass(NamedTuple):
    """Some rows, ascending, and what a model says of them. b rows, their T tokens without what is padding of all."""

    rows: np.ndarray  # (b,) which rows
    output: Any  # of the model, (b, T, ...)
    ids: torch.Tensor  # (b, T)
    own: torch.Tensor  # (b, T) bool, tokens of the sequences themselves


def reads_alike(scorer: Any) -> bool:
    """Whether a model computes rows that begin as others do from where they differ.

    By its class: what wraps a model may change what it reads.
    """
    return callable(getattr(type(getattr(scorer, "model", None)), "read_alike", None))


def first_rows(record: Sequence[Any] | np.ndarray) -> np.ndarray:
    """(n,) the first row of each row's record, which may come in any order."""
    first: dict[Any, int] = {}
    return np.array([first.setdefault(own, row) for row, own in enumerate(record)], dtype=np.int64)


def by_length(sequences: Sequence[str]) -> np.ndarray:
    """(n,) rows in the order of their lengths, so that a batch has little padding."""
    return np.argsort([*map(len, sequences)], kind="stable")


@torch.inference_mode()
def passes(
    scorer: Any,
    inputs: dict[str, torch.Tensor],
    own: torch.Tensor,
    first: np.ndarray,
    batch_size: int,
    **options: Any,
) -> Iterator[Pass]:
    """What a model says of rows (n, T), batch by batch.

    The first row of a record is in every batch in which others of it are, and may come several times.

    Args:
        inputs, own: of `encode`. first: (n,) the first row of each row's record, of [`first_rows`].
        batch_size: whole rows in a forward pass. options: of the model.
    """
    ids, mask = inputs["input_ids"], inputs.get("attention_mask")
    length, common, alike = lengths(scorer, own), common_tokens(ids, own, first), reads_alike(scorer)
    for rows in planned(first, common, length, batch_size, alike):
        width = int(length[rows].max())
        given = {"input_ids": ids[rows, :width]}
        if mask is not None and not mask[rows, :width].all():
            given["attention_mask"] = mask[rows, :width]
        with scorer.passing(len(rows), width):
            if alike:
                reference = torch.as_tensor(np.searchsorted(rows, first[rows]), device=ids.device)
                output = scorer.model.read_alike(**given, reference=reference, **options)
            else:
                output = scorer.model(**given, **options)
        yield Pass(rows, output, given["input_ids"], own[rows, :width])


def lengths(scorer: Any, own: torch.Tensor) -> np.ndarray:
    """(n,) tokens of each row up to its last own one, and those that a tokenizer puts after it."""
    place = torch.arange(1, own.shape[1] + 1, device=own.device)
    last = (own * place).amax(dim=1).cpu().numpy()
    return np.asarray(np.minimum(last + scorer.after, own.shape[1]))


def common_tokens(ids: torch.Tensor, own: torch.Tensor, first: np.ndarray) -> np.ndarray:
    """(n,) how many tokens from the left each row has as the first of its record, one less than all at most."""
    differ = (ids != ids[first]) | (own != own[first])
    differ[:, -1] = True
    return np.asarray(differ.int().argmax(dim=1).cpu().numpy())


def planned(
    first: np.ndarray, common: np.ndarray, length: np.ndarray, batch_size: int, alike: bool
) -> list[np.ndarray]:
    """The rows of each batch, ascending, those of a record together as far as a batch has room for them.

    Args:
        first, common, length: (n,) of each row: first of its record, tokens in common with it, tokens.
        batch_size: whole rows; where rows are read alike, a row costs what it does not have in common.
    """
    n = len(first)
    lone = np.bincount(first, minlength=n)[first] == 1
    units = np.flatnonzero(lone | (first != np.arange(n)))  # all but those that others bring along
    if len(units) == 0:
        return []
    least, longest = np.full(n, common.max()), np.zeros(n, dtype=np.int64)
    np.minimum.at(least, first[units], common[units])
    np.maximum.at(longest, first, length)
    keys = common[units], first[units], least[first[units]], longest[first[units]]  # the last one comes first
    batches: list[np.ndarray] = []
    heads, others = set[int](), list[int]()
    begin = n_tokens = int(length.max())
    for row in units[np.lexsort(keys)].tolist():
        head, wide = int(first[row]), int(length[row])  # which do not fall
        begin = min(begin, int(common[row]))
        whole, rest = len(heads | {head}), len(others) + (row != head)
        price = whole * wide + rest * (wide - begin if alike else wide)
        if heads and price > batch_size * wide:
            batches.append(np.array(sorted([*heads, *others])))
            heads, others, begin = set(), [], min(n_tokens, int(common[row]))
        heads.add(head)
        if row != head:
            others.append(row)
    return [*batches, np.array(sorted([*heads, *others]))]
