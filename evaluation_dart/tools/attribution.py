"""Language models and trained heads as functions of one-hot sequences, as tangermeme takes models. B rows, L bases.

tangermeme (MIT) has saturation mutagenesis, DeepLIFT/SHAP, marginalisation, seqlets and logos. It asks of a model that
it be a function of X (B, 4, L) in the order A, C, G, T: [`OneHotModel`] mixes the embeddings of the four bases in the
proportions of X and hands them to the model as `inputs_embeds`, so that gradients reach X.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from datasets_dart.errors import InputError, MissingExtra
from evaluation_dart.models.language_model import LanguageModel
from evaluation_dart.scoring.four_bases import base_ids
from evaluation_dart.scoring.heads import Label, head_score, label_index

PATH_STEPS = 32


class Scored(nn.Module):
    """The whole of a [`OneHotModel`]: a module of its own, so that one rule of attribution covers all of it."""

    bases: torch.Tensor
    unknown: torch.Tensor
    around: torch.Tensor

    def __init__(self, language_model: LanguageModel, label: Label):
        super().__init__()
        if "inputs_embeds" not in inspect.signature(language_model.model.forward).parameters:
            raise InputError(f"{language_model.name}: the model takes no inputs_embeds, by which one-hot rows reach it")
        self.scorer, self.model = language_model, language_model.model
        self.kind, self.label = language_model.kind, label
        self.before = language_model.before
        self.classifies = type(self.model).__name__.endswith("ForSequenceClassification")
        if self.classifies:
            label_index(self.model.config, label)
        if self.kind == "encoder":
            raise InputError(f"{language_model.name}: without a head there is nothing to attribute")
        tokenizer = language_model.tokenizer
        whole, bare = (tokenizer("A", add_special_tokens=added)["input_ids"] for added in (True, False))
        unknown = tokenizer("N", add_special_tokens=False)["input_ids"]
        buffers = {
            "bases": base_ids(language_model),
            "unknown": unknown[0] if len(unknown) == 1 else tokenizer.unk_token_id,
            "around": whole[: self.before] + whole[self.before + len(bare) :],
        }
        for name, ids in buffers.items():
            tensor = torch.tensor(ids, dtype=torch.long, device=language_model.device)
            self.register_buffer(name, tensor, persistent=False)
        self.mask_token = tokenizer.mask_token_id

    def embeddings(self, one_hot: torch.Tensor) -> torch.Tensor:
        """(B, 4, L) -> (B, before + L + after, D), special tokens included."""
        table = self.model.get_input_embeddings()
        bases, unknown, around = table(self.bases), table(self.unknown), table(self.around)
        rows = one_hot.to(bases.dtype).transpose(1, 2)
        own = rows @ bases + (1 - rows.sum(dim=2, keepdim=True)) * unknown
        special = around.expand(len(own), -1, -1)
        return torch.cat([special[:, : self.before], own, special[:, self.before :]], dim=1)

    def forward(self, one_hot: torch.Tensor) -> torch.Tensor:
        """(B, 4, L) -> (B, 1)."""
        with self.scorer.passing(len(one_hot), one_hot.shape[2]):
            if self.classifies:
                logits = self.model(inputs_embeds=self.embeddings(one_hot)).logits
                return head_score(logits, self.model.config, self.label)[:, None]
            log_p = self.causal(one_hot) if self.kind == "causal" else self.masked(one_hot)
        scored = one_hot[:, :, one_hot.shape[2] - log_p.shape[2] :]
        return (log_p * scored).sum(dim=(1, 2))[:, None]

    def causal(self, one_hot: torch.Tensor) -> torch.Tensor:
        """log p of the four bases at each base that has something before it: (B, 4, L or L - 1)."""
        logits = self.model(inputs_embeds=self.embeddings(one_hot)).logits
        logits = logits[:, max(self.before, 1) - 1 : self.before + one_hot.shape[2] - 1]
        log_p: torch.Tensor = logits.float().log_softmax(-1)
        return log_p[..., self.bases].transpose(1, 2)

    def masked(self, one_hot: torch.Tensor) -> torch.Tensor:
        """log p of the four bases at each base, with only that base masked: (B, 4, L)."""
        embeddings = self.embeddings(one_hot)
        table = self.model.get_input_embeddings()
        mask = table(torch.tensor(self.mask_token, device=embeddings.device))
        columns = []
        for position in range(self.before, self.before + one_hot.shape[2]):
            here = torch.zeros_like(embeddings[0, :, :1])
            here[position] = 1
            logits = self.model(inputs_embeds=embeddings * (1 - here) + here * mask).logits[:, position]
            columns.append(logits.float().log_softmax(-1)[:, self.bases])
        return torch.stack(columns, dim=2)


class OneHotModel(nn.Module):
    """A model as a function of one-hot sequences: (B, 4, L) -> (B, 1). A column of zeros is read as N.

    A classifier of [`finetuning.load_classifier`] gives the [`heads.head_score`] of `label`; a language model the
    log-likelihood (causal) or pseudo-log-likelihood (masked: L passes) of the sequence in nats. On one-hot input
    the result is that of the model on the string.

    Raises:
        ValueError: if the tokenizer has not one token for each base, the model takes no `inputs_embeds`, or has no
            head.
    """

    def __init__(self, language_model: LanguageModel, label: Label = None):
        super().__init__()
        self.scored = Scored(language_model, label)
        self.training = self.scored.training = False

    def train(self, mode: bool = True) -> "OneHotModel":
        """Do nothing: the model evaluates in every pass, and is left in the mode that it came in."""
        return self

    def forward(self, one_hot: torch.Tensor) -> torch.Tensor:
        """(B, 4, L) -> (B, 1)."""
        score: torch.Tensor = self.scored(one_hot)
        return score


def path_rule(steps: int = PATH_STEPS) -> dict[type[nn.Module], Callable[..., Any]]:
    """What `tangermeme.deep_lift_shap.deep_lift_shap` is given as `additional_nonlinear_ops`.

    DeepLIFT's rules are of single layers, and there is none for a gate, a product of two activations, nor for the
    functional layers inside language models: tangermeme would take those as linear. Instead, the model as a whole is
    one operation, whose multipliers are its gradients integrated from reference to sequence (Sundararajan, Taly and
    Yan 2017) at `steps` Gauss-Legendre nodes: attributions then add up to the difference of the scores, as near as the
    nodes integrate. A pair of sequence and reference takes `steps` rows of memory, so take a small `batch_size`.

    Raises:
        ImportError: naming the extra, if tangermeme is not installed.
    """
    try:
        from tangermeme.deep_lift_shap import integrated_gradients_op
    except ImportError as error:
        raise MissingExtra("attribution", "attribution") from error
    return {Scored: integrated_gradients_op(steps)}
