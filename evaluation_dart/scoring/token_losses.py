"""Losses of single tokens, -log p in nats: of the last piece of a window, and of the bases of a sequence."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from datasets_dart.alphabet import as_dna
from datasets_dart.errors import InputError
from evaluation_dart.scoring.likelihoods import token_log_probabilities

LONGER = "longer than the model reads"


def tokens_of_pieces(scorer: Any, windows: Sequence[Sequence[str]]) -> tuple[list[list[int]], list[int]]:
    """Token ids of windows whose pieces are tokenised one by one, and how many tokens the last piece has.

    What the tokenizer adds to a sequence by itself stands around the whole window.
    """
    pieces = [as_dna(piece) for window in windows for piece in window]
    found = iter(scorer.tokenizer(pieces, add_special_tokens=False)["input_ids"])
    whole = scorer.tokenizer("ACGT")["input_ids"]
    before, after = whole[: scorer.before], whole[len(whole) - scorer.after :]
    ids, last = [], []
    for window in windows:
        own = [list(next(found)) for _ in window]
        ids.append([*before, *(token for piece in own for token in piece), *after])
        last.append(len(own[-1]))
    return ids, last


@torch.inference_mode()
def last_piece_losses(
    scorer: Any, windows: Sequence[Sequence[str]], batch_size: int | str = "auto"
) -> tuple[np.ndarray, list[str]]:
    """Sum of -log p over the tokens of the last piece of each window, as recall-bench has it (`segment_ce`).

    Of a causal model each token given all before it; of a masked model with the whole piece masked, in one pass.

    Args:
        scorer: a language model. windows: n lists of pieces, each tokenised by itself.

    Returns:
        (n,) float64 nats, NaN where a status says why; n statuses, `LONGER` or empty.
    """
    ids, last = tokens_of_pieces(scorer, windows)
    lengths = np.array([len(own) for own in ids])
    fits = np.full(len(ids), True) if scorer.max_tokens is None else lengths <= scorer.max_tokens
    losses = np.full(len(ids), np.nan)
    for length in np.unique(lengths[fits]).tolist():
        rows = np.flatnonzero(fits & (lengths == length))

        def run(part: slice, size: int, rows: np.ndarray = rows, length: int = length) -> np.ndarray:
            own = rows[part]
            tokens = torch.tensor([ids[row] for row in own], device=scorer.device)
            sizes = torch.tensor([last[row] for row in own], device=scorer.device)
            with scorer.passing(size, length):
                return _losses(scorer, tokens, sizes)

        losses[rows] = np.concatenate(scorer.in_batches(len(rows), length, batch_size, run))
    return losses, ["" if own else LONGER for own in fits.tolist()]


def _losses(scorer: Any, tokens: torch.Tensor, sizes: torch.Tensor) -> np.ndarray:
    end = tokens.shape[1] - scorer.after
    first = end - int(sizes.max())
    place = torch.arange(first, end, device=tokens.device)
    scored = place >= end - sizes[:, None]
    if scorer.kind == "causal":
        logits = scorer.model(input_ids=tokens).logits[:, first - 1 : end - 1]
    else:
        masked = tokens.clone()
        masked[:, first:end][scored] = scorer.tokenizer.mask_token_id
        logits = scorer.model(input_ids=masked).logits[:, first:end]
    log_p = token_log_probabilities(logits, tokens[:, first:end])
    return np.asarray(-torch.where(scored, log_p, 0.0).double().sum(dim=1).cpu())


def is_readable(scorer: Any, sequence: str) -> bool:
    """Whether a model can read a sequence as its tokenizer writes it."""
    return scorer.max_tokens is None or len(scorer.tokenizer(as_dna(sequence))["input_ids"]) <= scorer.max_tokens


@torch.inference_mode()
def base_losses(scorer: Any, sequences: Sequence[str], batch_size: int | str = "auto") -> np.ndarray:
    """-log p of each base given all before it: (n, L) float64 of n sequences of L bases; NaN where nothing predicts it.

    A token of several bases shares its loss out among them.

    Raises:
        InputError: for a masked model, which reads both sides, or sequences that the model cannot read.
    """
    if scorer.kind != "causal":
        raise InputError(f"{scorer.name}: a masked model reads both sides of a base; this is of causal models")
    length = len(sequences[0])

    def run(rows: slice, size: int) -> np.ndarray:
        own = sequences[rows]
        inputs, _ = scorer.encode(own)
        tokens = inputs["input_ids"]
        with scorer.passing(size, tokens.shape[1]):
            logits = scorer.model(**inputs).logits[:, :-1]
        losses = -token_log_probabilities(logits, tokens[:, 1:]).double().cpu().numpy()
        losses = np.concatenate([np.full((len(own), 1), np.nan), losses], axis=1)
        found = np.full((len(own), length), np.nan)
        for row, token in enumerate(scorer.base_tokens(own)):
            known = token >= 0
            shares = np.bincount(token[known])
            found[row, known] = losses[row, token[known]] / shares[token[known]]
        return found

    return np.concatenate(scorer.in_batches(len(sequences), length, batch_size, run))
