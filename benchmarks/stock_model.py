"""HyenaDNA as its authors' port computes it, for comparison: written from the paper's equations, plain torch.

Sections are those of `modeling_hyenadna`, whose weights it computes with.
"""

from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional as F

from modeling_hyenadna import HyenaDNAForCausalLM
from modeling_hyenadna.modeling_hyenadna import decay_rates, positional_features


def convolve(u: torch.Tensor, k: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
    """(B, D, L): real FFTs of 2 L points."""
    length = u.shape[-1]
    spectrum = torch.fft.rfft(u.float(), n=2 * length) * torch.fft.rfft(k.float(), n=2 * length)
    return cast(torch.Tensor, torch.fft.irfft(spectrum, n=2 * length)[..., :length] + u * skip[:, None])


class StockHyenaDNA(nn.Module):
    """Logits (B, L, padded vocabulary) of ids (B, L), with the weights of `model`, which it shares."""

    def __init__(self, model: HyenaDNAForCausalLM) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("features", positional_features(model.config.max_seq_len, model.config))
        self.register_buffer("rates", decay_rates(model.config.d_model))

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """(B, L) to (B, L, padded vocabulary)."""
        backbone: Any = self.model.hyena.backbone
        hidden = backbone.embeddings(input_ids)
        for block in backbone.layers:
            hidden = hidden + self.mixed(block.mixer, block.norm1(hidden))
            hidden = hidden + self.feed_forward(block.mlp, block.norm2(hidden))
        return cast(torch.Tensor, self.model.lm_head(backbone.ln_f(hidden)))

    def mixed(self, mixer: Any, hidden: torch.Tensor) -> torch.Tensor:
        """The operator of order 2 with its projections, (B, L, D) to (B, L, D)."""
        length, short = hidden.shape[1], mixer.short_filter
        projected = mixer.in_proj(hidden).transpose(1, 2)
        mixed = F.conv1d(projected, short.weight, short.bias, padding=mixer.taps - 1, groups=short.groups)
        x0, x1, v = mixed[..., :length].chunk(3, dim=1)
        y = convolve(v * x1, self.kernel(mixer.filter_fn, length), mixer.filter_fn.bias) * x0
        return cast(torch.Tensor, mixer.out_proj(y.transpose(1, 2)))

    def feed_forward(self, mlp: Any, hidden: torch.Tensor) -> torch.Tensor:
        """(B, L, D) to (B, L, D), by torch's own GELU."""
        return cast(torch.Tensor, mlp.fc2(F.gelu(mlp.fc1(hidden), approximate="tanh")))

    def kernel(self, filter_fn: Any, length: int) -> torch.Tensor:
        """The implicit filter (section 1.5), (D, length)."""
        features = hidden = self.get_buffer("features")[:length]
        window = torch.exp(features[:, :1] * self.get_buffer("rates")) + self.model.config.shift
        *layers, last = (layer for name, layer in filter_fn.implicit_filter.items() if name != "1")
        for layer in layers:
            hidden = filter_fn.implicit_filter["1"](layer(hidden))
        return cast(torch.Tensor, (last(hidden) * window).T)
