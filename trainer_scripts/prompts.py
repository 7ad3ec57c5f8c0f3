"""Classes as next tokens: soft prompts ahead of a frozen model, and shots ahead of a sequence (paper section 4.4.1)."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import nn

from datasets_dart.alphabet import encode_bases, reverse_complement
from datasets_dart.errors import InputError
from evaluation_dart.models.language_model import LanguageModel
from evaluation_dart.training.rows import LabelledRows

LABEL_TOKENS = {2: ("A", "N"), 3: ("A", "G", "N")}  # spec 6.5
PROMPT_STD, PROMPT_DROPOUT = 0.02, 0.1
SHOT_TOKENS = 3  # besides its sequence: [SEP], the label, [SEP]


class NoRoom(InputError):
    """A prompt is longer than the model reads, or has more shots than there are rows."""


def label_token_ids(language_model: LanguageModel, classes: int) -> np.ndarray:
    """(classes,) int64: the token of each class.

    Raises:
        InputError: for a number of classes that the paper gives no tokens to.
    """
    if classes not in LABEL_TOKENS:
        raise InputError(
            f"labels of {classes} classes have no tokens; those of {', '.join(map(str, LABEL_TOKENS))} have"
        )
    return np.array(language_model.tokenizer.convert_tokens_to_ids(list(LABEL_TOKENS[classes])), dtype=np.int64)


class SoftPromptClassifier(nn.Module):
    """A frozen causal model behind trained vectors: the token it predicts after [vectors, sequence, [SEP]].

    (B,) strings to (B, vocabulary) logits. Sequences are padded on the right, where a causal model does not look, and
    the prediction is read at each row's own [SEP]: neither depends on what else is in the batch.

    peft's PromptTuning does the same forward (with num_attention_heads=1, and once config.vocab_size says 16, by which
    peft looks for the embedding), but starts from N(0, 1) or text and has no dropout; the original draws from
    N(0, 0.02) and drops 0.1.

    Raises:
        ValueError: if vectors, sequence and [SEP] are longer than the model reads.
    """

    def __init__(self, language_model: LanguageModel, virtual_tokens: int, length: int):
        super().__init__()
        self.language_model = language_model  # no submodule: its model is
        self.model = language_model.model.requires_grad_(False)
        limit = language_model.max_tokens
        if virtual_tokens < 0 or (limit is not None and virtual_tokens + length + 1 > limit):
            raise NoRoom(
                f"{language_model.name} reads at most {limit} tokens: {virtual_tokens} vectors, {length} bases and "
                f"[SEP] are {virtual_tokens + length + 1}"
            )
        width = cast(nn.Embedding, self.model.get_input_embeddings()).embedding_dim
        self.prompt = nn.Parameter(PROMPT_STD * torch.randn(virtual_tokens, width))
        self.dropout = nn.Dropout(PROMPT_DROPOUT)

    def train(self, mode: bool = True) -> "SoftPromptClassifier":
        """Set the mode of the prompt; the model itself stays in evaluation."""
        super().train(mode)
        self.model.eval()  # frozen: its dropout is off
        return self

    def forward(self, sequences: Sequence[str]) -> torch.Tensor:
        """Outputs (B, outputs) of these sequences."""
        encoded = self.language_model.tokenizer(
            list(sequences), padding=True, padding_side="right", return_attention_mask=True, return_tensors="pt"
        ).to(self.model.device)
        embedded = self.model.get_input_embeddings()(encoded["input_ids"])
        prompt = self.dropout(self.prompt).expand(len(embedded), -1, -1)
        logits: torch.Tensor = self.model(inputs_embeds=torch.cat([prompt, embedded], dim=1)).logits
        last = len(self.prompt) + encoded["attention_mask"].sum(dim=1) - 1
        return logits[torch.arange(len(last), device=last.device), last].float()


class Prompt(NamedTuple):
    """Token ids (T,) of shots and a query, which are no padding (T,), and after which a label follows (shots + 1,)."""

    ids: np.ndarray
    mask: np.ndarray
    asked: np.ndarray


class PromptWriter:
    """X1 [SEP] Y1 [SEP] ... X [SEP], every X padded on the left to `length`, so that a shot has length + 3 tokens.

    Labels are predicted by the token before them: by each shot's first [SEP], and by the last.
    """

    def __init__(self, language_model: LanguageModel, length: int, classes: int):
        tokenizer = language_model.tokenizer
        self.length, self.labels = length, label_token_ids(language_model, classes)
        self.bases = np.array(tokenizer.convert_tokens_to_ids(list("ACGTN")), dtype=np.int64)
        self.pad, self.separator = tokenizer.pad_token_id, tokenizer.sep_token_id
        self.name, self.limit = language_model.name, language_model.max_tokens

    def tokens(self, shots: int) -> int:
        """Length of a prompt of so many shots."""
        return shots * (self.length + SHOT_TOKENS) + self.length + 1

    def check(self, shots: int) -> None:
        """Raise ValueError where a prompt of so many shots is longer than the model reads."""
        if self.limit is not None and self.tokens(shots) > self.limit:
            raise NoRoom(
                f"{self.name} reads at most {self.limit} tokens: {shots} shots of {self.length} bases and a sequence "
                f"are {self.tokens(shots)}"
            )

    def write(self, shots: Sequence[tuple[str, int]], query: str) -> Prompt:
        """The prompt of these shots and this query."""
        ids = np.full(self.tokens(len(shots)), self.pad, dtype=np.int64)
        step = self.length + SHOT_TOKENS
        for place, (sequence, label) in enumerate([*shots, (query, None)]):
            end = place * step + self.length
            codes = encode_bases(sequence[: self.length])
            ids[end - len(codes) : end] = self.bases[codes]
            ids[end] = self.separator
            if label is not None:
                ids[end + 1 : end + SHOT_TOKENS] = self.labels[label], self.separator
        return Prompt(ids, ids != self.pad, np.arange(len(shots) + 1) * step + self.length)


def asked_logits(model: nn.Module, prompts: Sequence[Prompt]) -> torch.Tensor:
    """Logits (B, shots + 1, vocabulary) where labels follow, of prompts of one length."""
    device = next(model.parameters()).device
    ids = torch.from_numpy(np.stack([prompt.ids for prompt in prompts])).to(device)
    mask = torch.from_numpy(np.stack([prompt.mask for prompt in prompts])).to(device).long()
    logits: torch.Tensor = model(input_ids=ids, attention_mask=mask).logits
    return logits[:, torch.from_numpy(prompts[0].asked).to(device)]


class SoftPromptOfShots(SoftPromptClassifier):
    """The same ahead of shots and a question: the labels of all of them are learned, and the question's is predicted.

    (B,) [`Prompt`] of one length to (B, shots + 1, vocabulary) logits in training, (B, vocabulary) else.
    """

    def forward(self, prompts: Sequence[Any]) -> torch.Tensor:
        """Logits where labels follow."""
        device, vectors = self.model.device, len(self.prompt)
        ids = torch.from_numpy(np.stack([prompt.ids for prompt in prompts])).to(device)
        mask = torch.from_numpy(np.stack([prompt.mask for prompt in prompts])).to(device).long()
        ahead = self.dropout(self.prompt).expand(len(ids), -1, -1)
        embedded = torch.cat([ahead, self.model.get_input_embeddings()(ids)], dim=1)
        whole = torch.cat([mask.new_ones(len(ids), vectors), mask], dim=1)
        logits: torch.Tensor = self.model(inputs_embeds=embedded, attention_mask=whole).logits
        asked = logits[:, vectors + torch.from_numpy(prompts[0].asked).to(device)].float()
        return asked if self.training else asked[:, -1]


class PromptClassifier(nn.Module):
    """A causal model that reads prompts, and is trained as a whole: see [`asked_logits`]."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model.requires_grad_(True)

    def forward(self, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Logits (B, outputs) of these prompts."""
        return asked_logits(self.model, prompts)


class PromptRows(LabelledRows):
    """Prompts that ask about rows, each with shots of its own that are drawn from the training rows by seed and row.

    Args:
        rows: to ask about, of which `numbers` are taken (None: all). train: the rows that shots are drawn from.
        shots: of each class.
    """

    def __init__(
        self,
        writer: "PromptWriter",
        shots: int,
        classes: int,
        train: LabelledRows,
        rows: LabelledRows,
        seed: int,
        numbers: np.ndarray | None = None,
    ):
        self.numbers = np.arange(len(rows)) if numbers is None else numbers
        chosen = rows.rows.select(self.numbers.tolist())
        super().__init__(chosen, rows.labels[self.numbers], max_length=rows.max_length)
        self.writer, self.shots, self.classes, self.train, self.asked, self.seed = (
            writer, shots, classes, train, rows, seed,
        )  # fmt: skip

    def read(
        self,
        rows: np.ndarray,
        epoch: int | None = None,
        flip: np.ndarray | None = None,
        bases: int | None = None,
    ) -> tuple[Any, np.ndarray]:
        """The prompts of these rows, and the tokens of all their labels, (rows, shots + 1).

        Args:
            flip: which are of the other strand, shots and all.
        """
        turned = np.zeros(len(rows), bool) if flip is None else flip
        made = [self.prompt(int(row), bool(other)) for row, other in zip(self.numbers[rows], turned, strict=True)]
        return [prompt for prompt, _ in made], np.stack([labels for _, labels in made])

    def prompt(self, row: int, flip: bool = False) -> tuple[Prompt, np.ndarray]:
        """The prompt that asks about a row of all rows, with shots from the other training rows, and all its labels."""
        rng = np.random.default_rng([self.seed, int(self.asked is self.train), row])
        pool = self.train.labels.copy()
        if self.asked is self.train:
            pool[row] = -1  # the answer is not among the shots
        chosen = draw_shots(pool, self.shots, self.classes, rng)
        sequences = self.train.sequences(chosen.tolist())
        labels = self.train.labels[chosen]
        (query,) = self.asked.sequences([row])
        if flip:
            sequences, query = [*map(reverse_complement, sequences)], reverse_complement(query)
        prompt = self.writer.write([*zip(sequences, labels.tolist(), strict=True)], query)
        return prompt, self.writer.labels[np.append(labels, self.asked.labels[row])]


def draw_shots(labels: np.ndarray, shots: int, classes: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of `shots` examples of each class, without repetition, in random order.

    Raises:
        ValueError: naming a class of which there are fewer rows.
    """
    rows = []
    for number in range(classes):
        own = np.flatnonzero(labels == number)
        if len(own) < shots:
            raise NoRoom(f"{shots} shots of a class: class {number} has {len(own)} training rows")
        rows.append(rng.choice(own, shots, replace=False))
    return rng.permutation(np.concatenate(rows))
