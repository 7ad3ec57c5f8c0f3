"""Networks that read strings of DNA and give one number for each class: (B, outputs)."""

from collections.abc import Sequence

import torch
from torch import nn

from datasets_dart.errors import InputError
from evaluation_dart.models.language_model import LanguageModel
from evaluation_dart.models.networks import ProbingHeadLike, one_hot


class SequenceClassifier(nn.Module):
    """A Hub model's `AutoModelForSequenceClassification` with its tokenizer.

    Args:
        classifier: of `evaluation_dart.training.finetuning.load_classifier`.
        length: bases that the longest sequence may have. special_tokens: keep those that the tokenizer adds.
        masked: pads are masked, so that a prediction does not depend on what else is in the batch. Without, every
            sequence is padded on the left to `length` bases, and the pads are read as tokens, pooled ones too, as the
            original does (spec 6.0).

    Raises:
        ValueError: if the model cannot read `length` bases, naming its limit.
    """

    def __init__(self, classifier: LanguageModel, length: int, special_tokens: bool = False, masked: bool = True):
        super().__init__()
        self.classifier = classifier  # no submodule: its model is, under a name of its own
        self.model, self.tokenizer = classifier.model, classifier.tokenizer
        self.special_tokens, self.masked = special_tokens, masked
        self.added = added = classifier.before + classifier.after if special_tokens else 0
        self.padded = self.longest = length + added
        if classifier.max_tokens is not None:
            tokens = added + max(len(self.tokenizer("A" * length, add_special_tokens=False)["input_ids"]), 1)
            if tokens > classifier.max_tokens:
                raise InputError(
                    f"{classifier.name} reads at most {classifier.max_tokens} tokens, but {length} bases are {tokens}: "
                    f"choose max_length {classifier.max_tokens - added}, or another model"
                )

    def read_at_most(self, bases: int | None) -> None:
        """From now on sequences are cut to so many bases (None: to none), and pads that are read fill no more."""
        self.padded = self.longest if bases is None else min(self.longest, bases + self.added)

    def forward(self, sequences: Sequence[str]) -> torch.Tensor:
        """Outputs (B, outputs) of these sequences."""
        padding = {"padding": True} if self.masked else {"padding": "max_length", "max_length": self.padded}
        encoded = self.tokenizer(
            list(sequences),
            add_special_tokens=self.special_tokens,
            return_attention_mask=True,
            return_tensors="pt",
            padding_side="right" if self.masked else "left",
            **padding,
        )
        inputs = {"input_ids": encoded["input_ids"].to(self.model.device)}
        if self.masked and self.classifier.takes_mask:
            inputs["attention_mask"] = encoded["attention_mask"].to(self.model.device)
        elif not self.masked:  # a mask of ones: pads are tokens, whatever is pooled
            inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        logits: torch.Tensor = self.model(**inputs).logits
        return logits


class ConvolutionalClassifier(nn.Module):
    """A convolution on one-hot DNA under DART-Eval's probing head, as `evaluation_dart.models.networks` has it.

    Shorter sequences are padded to `length` with N on both sides, which one-hot is zero.
    """

    def __init__(self, length: int, outputs: int):
        super().__init__()
        self.length = length
        self.network = ProbingHeadLike(length, outputs)

    def forward(self, sequences: Sequence[str]) -> torch.Tensor:
        """Outputs (B, outputs) of these sequences."""
        whole = [sequence.center(self.length, "N") for sequence in sequences]
        outputs: torch.Tensor = self.network(one_hot(whole).to(next(self.parameters()).device))
        return outputs
