"""DART-Eval's models trained from scratch, on one-hot DNA (spec section 1.7). B sequences, L bases.

The parameters have the names of the original's, so that its weights load.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from datasets_dart import alphabet
from datasets_dart.errors import InputError
from evaluation_dart.training.probing import ProbingHead

STEM = 21  # bases that the first convolution of the ChromBPNet-like models sees


def one_hot(sequences: Sequence[str]) -> torch.Tensor:
    """(B, L, 4) float32 in the order A, C, G, T; all zero where a base is unknown.

    Raises:
        ValueError: if the sequences are of several lengths.
    """
    lengths = sorted(set(map(len, sequences)))
    if len(lengths) > 1:
        raise InputError(f"sequences of one length are needed, not of {lengths[0]} to {lengths[-1]} bases")
    return torch.from_numpy(alphabet.one_hot(np.stack([alphabet.encode_bases(sequence) for sequence in sequences])))


class ProbingHeadLike(nn.Module):
    """A convolution in place of the language model, under the same head as probing has. (B, L, 4) -> (B, outputs).

    Every position has a learned scalar, 0 at first, that is projected and added to what the convolution finds there.
    """

    def __init__(
        self, length: int, outputs: int, channels: int = 256, hidden: int = 32, kernel: int = 8, first_kernel: int = 41
    ):
        super().__init__()
        self.pos_emb = nn.Parameter(torch.zeros(length, 1))
        self.iconv = nn.Conv1d(4, channels, first_kernel, padding="same")
        self.pos_proj = nn.Linear(1, channels)
        self.trunk = ProbingHead(channels, outputs, hidden, kernel)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        found = self.iconv(x.transpose(1, 2)).transpose(1, 2)
        outputs: torch.Tensor = self.trunk(F.relu(found + self.pos_proj(self.pos_emb)))
        return outputs


class DilatedCNN(nn.Module):
    """ChromBPNet's trunk without a profile: residual convolutions of growing dilation. (B, L, 4) -> (B, outputs).

    Nothing is padded, so that the residual stream shrinks towards the centre; then its mean, and a linear output.
    With `positions`, this is DART-Eval's ChromBPNet-like classifier (7 layers from dilation 1); without, and with 8
    layers from dilation 2, ChromBPNet's counts head, whose 2114 bases leave 1074 positions.
    """

    def __init__(
        self,
        length: int,
        outputs: int,
        filters: int = 512,
        layers: int = 7,
        first_dilation: int = 1,
        positions: bool = True,
    ):
        super().__init__()
        dilations = [first_dilation * 2**layer for layer in range(layers)]
        if (shortest := STEM + 2 * sum(dilations)) > length:
            raise InputError(f"{layers} dilated layers need sequences of {shortest} bases or more, not {length}")
        self.iconv = nn.Conv1d(4, filters, STEM)
        self.pos_emb = nn.Parameter(torch.zeros(length - STEM + 1, 1)) if positions else None
        self.pos_proj = nn.Linear(1, filters) if positions else None
        self.rconvs = nn.ModuleList(nn.Conv1d(filters, filters, 3, dilation=dilation) for dilation in dilations)
        self.output_layer = nn.Linear(filters, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        x = self.iconv(x.float().transpose(1, 2))
        if self.pos_proj is not None:
            x = x + self.pos_proj(self.pos_emb).T
        x = F.relu(x)
        for convolution in self.rconvs:
            change = F.relu(convolution(x))
            lost = (x.shape[2] - change.shape[2]) // 2
            x = x[:, :, lost : lost + change.shape[2]] + change
        outputs: torch.Tensor = self.output_layer(x.mean(dim=2))
        return outputs


class OneHot(nn.Module):
    """A network that reads strings."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, sequences: Sequence[str]) -> torch.Tensor:
        """See the class."""
        outputs: torch.Tensor = self.network(one_hot(sequences).to(next(self.network.parameters()).device))
        return outputs


def build(name: str, length: int, outputs: int) -> OneHot:
    """A model by its name, for sequences of `length` bases.

    Raises:
        ValueError: for an unknown name, or sequences too short for it.
    """
    if name == "probing-head-like":
        return OneHot(ProbingHeadLike(length, outputs))
    if name == "chrombpnet-like":
        return OneHot(DilatedCNN(length, outputs))
    if name == "chrombpnet-counts":
        return OneHot(DilatedCNN(length, outputs, layers=8, first_dilation=2, positions=False))
    raise InputError(f"no network {name!r}: there are {', '.join(NETWORKS)}")


NETWORKS = ("probing-head-like", "chrombpnet-like", "chrombpnet-counts")
