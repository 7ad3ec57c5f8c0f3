"""What a trained head says of a sequence, as one number: the one definition for variants, mutagenesis and attribution.

Of classes that exclude each other (single-label), it is the log-odds of a class against all others, in nats: of two
classes, the difference of their logits. Of labels that do not (multi-label) and of regression it is the output itself.
B sequences, k outputs.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from datasets_dart.errors import InputError
from evaluation_dart.models.language_model import BatchSize, Encoder
from evaluation_dart.scoring.alike import reads_alike
from evaluation_dart.scoring.likelihoods import strands_of

Label = str | int | None


def exclusive(config: Any) -> bool:
    """Whether the outputs are classes that exclude each other."""
    return len(config.id2label) > 1 and config.problem_type in (None, "single_label_classification")


def label_index(config: Any, label: Label = None) -> int:
    """Index of an output.

    Args:
        config: of a model with a head: its `id2label` and `problem_type`.
        label: a name in `id2label` or a number from 0, also as text; None for the only output, or of two classes the
            second.

    Raises:
        InputError: if there is no such output, there are several and none is named, or a text names one and is the
            number of another.
    """
    names = [str(config.id2label[index]) for index in sorted(config.id2label)]
    if label is None:
        if len(names) > 2 or (len(names) == 2 and not exclusive(config)):
            raise InputError(f"the model has {len(names)} outputs: name one of {', '.join(names)} as label")
        return len(names) - 1
    text = str(label)
    found = {index for index, name in enumerate(names) if name == text} if isinstance(label, str) else set()
    if text.isascii() and text.isdecimal() and int(text) < len(names):
        found.add(int(text))
    if len(found) > 1:
        meant = " and ".join(f"{index} ({names[index]})" for index in sorted(found))
        raise InputError(f"label {text!r} is of the outputs {meant}: which one?")
    if not found:
        raise InputError(f"there is no output {text!r} among {', '.join(names)}")
    return found.pop()


def head_score(logits: torch.Tensor, config: Any, label: Label = None) -> torch.Tensor:
    """The number that a head's logits say of each sequence: (B, k) -> (B,) float32.

    Raises:
        InputError: as [`label_index`].
    """
    index = label_index(config, label)
    own = logits[..., index].float()
    if not exclusive(config):
        return own
    others = [other for other in range(logits.shape[-1]) if other != index]
    return own - logits[..., others].float().logsumexp(-1)


@torch.inference_mode()
def head_scores(
    model: Encoder,
    sequences: Sequence[str],
    label: Label = None,
    strand: str = "forward",
    batch_size: BatchSize = 64,
    record: Sequence[Any] | np.ndarray | None = None,
) -> np.ndarray:
    """[`head_score`] of strings by a classifier with its tokenizer: (n,) float64.

    Args:
        strand: "forward", "reverse", or the "mean" of the scores of both.
        record: (n,) names of groups of sequences that begin, or end, alike: models that can read what they have in
            common once. None where there are none.

    Raises:
        InputError: as [`label_index`]; if a sequence is longer than the model reads; or memory runs out.
    """

    def scores_of(logits: torch.Tensor) -> np.ndarray:
        return np.asarray(head_score(logits, model.model.config, label).double().cpu())

    def run(texts: list[str], size: int) -> np.ndarray:
        inputs, own = model.encode(texts)
        with model.passing(size, own.shape[1]):
            return scores_of(model.model(**inputs).logits)

    def one_strand(own: list[str]) -> np.ndarray:
        if record is None or not own or not reads_alike(model):
            return model.each(own, batch_size, run)
        return model.read_alike(*model.encode(own), record, batch_size, lambda part: scores_of(part.output.logits))

    return np.asarray(np.mean([one_strand(own) for own in strands_of(sequences, strand)], axis=0))


def head_scorer(
    model: Encoder,
    label: Label = None,
    strand: str = "forward",
    batch_size: BatchSize = 64,
    alike: bool = False,
) -> Callable[[Sequence[str]], np.ndarray]:
    """[`head_scores`] as a function of sequences; alike: those of a call begin, or end, alike."""

    def score(sequences: Sequence[str]) -> np.ndarray:
        record = [0] * len(sequences) if alike else None
        return head_scores(model, sequences, label, strand, batch_size, record)

    return score
