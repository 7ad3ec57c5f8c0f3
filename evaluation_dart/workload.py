"""What a long run says at its start: rows, passes, model, device, precision, batch and, where it is known, memory."""

import logging
from typing import Any

from accelerate import PartialState

from evaluation_dart.models.language_model import BatchSize, Encoder, LanguageModel, largest_batch

log = logging.getLogger(__name__)


def announce(
    what: str,
    scorer: Any,
    *,
    passes: int | None = None,
    tokens: int | None = None,
    batch_size: BatchSize = "auto",
    alike: bool | None = None,
) -> None:
    """Log, in the main process, one line of what a run is about to do.

    Args:
        what: the rows, and what is done with them.
        passes: about how many rows go through the model. tokens: of each, at most. batch_size: rows in a forward pass.
        alike: of rows that begin alike, whether the model reads each from where it differs; None of others.
    """
    if PartialState().is_main_process:
        log.info("%s", described_work(what, scorer, passes, tokens, batch_size, alike))


def described_work(
    what: str,
    scorer: Any,
    passes: int | None,
    tokens: int | None,
    batch_size: BatchSize,
    alike: bool | None = None,
) -> str:
    """The line of [`announce`]."""
    name, device = getattr(scorer, "name", "a trained model"), getattr(scorer, "device_name", "cpu")
    words = [f"{what} with {name} on {device}"]
    processes = PartialState().num_processes
    words += [f"{processes} processes"] if processes > 1 else []
    if isinstance(scorer, Encoder):
        words.append(scorer.dtype_name)
        if passes is not None:
            words.append(f"about {passes:,} passes" + (f" of up to {tokens:,} tokens" if tokens else ""))
        if alike is not None:
            words.append("each from where it differs" if alike else "every window whole")
        words.append(batch_text(scorer, tokens, batch_size))
        words.append(memory_text(scorer, passes, tokens, batch_size))
    return ", ".join(words)


def rows_at_once(scorer: Encoder, tokens: int | None, batch_size: BatchSize) -> int | None:
    """Rows of a batch; None where only memory will tell."""
    if batch_size != "auto":
        return int(batch_size)
    return largest_batch(scorer.device, tokens or 1) if scorer.device.type == "cpu" else None


def batch_text(scorer: Encoder, tokens: int | None, batch_size: BatchSize) -> str:
    """How many rows a batch has."""
    rows = rows_at_once(scorer, tokens, batch_size)
    return "batches as large as memory allows" if rows is None else f"batches of {rows:,}"


def memory_text(scorer: Encoder, passes: int | None, tokens: int | None, batch_size: BatchSize) -> str:
    """The least memory that is needed: of the weights and, where their number is known, of the logits of a batch."""
    weights = sum(own.numel() * own.element_size() for own in scorer.model.parameters())
    rows = rows_at_once(scorer, tokens, batch_size)
    vocabulary = getattr(scorer.model.config, "vocab_size", None)
    if not isinstance(scorer, LanguageModel) or rows is None or not tokens or not vocabulary:
        return f"at least {megabytes(weights)} of memory for the weights"
    logits = (rows if passes is None else min(rows, passes)) * tokens * vocabulary * 4  # in float32
    return f"at least {megabytes(weights + logits)} of memory for the weights and a batch's logits"


def megabytes(size: int) -> str:
    """A size in MB or GB."""
    return f"{size / 1e6:,.1f} MB" if size < 1e9 else f"{size / 1e9:,.1f} GB"
