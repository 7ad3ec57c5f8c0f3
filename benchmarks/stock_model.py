"""HyenaDNA as its authors' port computes it, for comparison: written from the paper's equations, plain torch.

Sections are those of `modeling_hyenadna`. Takes the same state dict.
"""

from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from modeling_hyenadna import HyenaDNAConfig
from modeling_hyenadna.modeling_hyenadna import decay_rates, positional_features


class Sine(nn.Module):
    """sin(freq * x)."""

    def __init__(self, config: HyenaDNAConfig) -> None:
        super().__init__()
        self.freq = nn.Parameter(torch.full((1, config.filter_order), float(config.activation_freq)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape."""
        return torch.sin(self.freq * x)


class Filter(nn.Module):
    """The implicit filter (section 1.5)."""

    def __init__(self, config: HyenaDNAConfig) -> None:
        super().__init__()
        self.shift = config.shift
        self.bias = nn.Parameter(torch.randn(config.d_model))
        sine, width = Sine(config), config.filter_order
        layers: list[nn.Module] = [nn.Linear(config.emb_dim, width), sine]
        for _ in range(config.num_inner_mlps):
            layers += [nn.Linear(width, width), sine]
        self.implicit_filter = nn.Sequential(*layers, nn.Linear(width, config.d_model, bias=False))
        self.register_buffer("z", positional_features(config.max_seq_len, config), persistent=False)
        self.register_buffer("rates", decay_rates(config.d_model), persistent=False)

    def forward(self, length: int) -> torch.Tensor:
        """(D, length)."""
        z = self.get_buffer("z")[:length]
        window = torch.exp(z[:, :1] * self.get_buffer("rates"))
        return cast(torch.Tensor, (self.implicit_filter(z) * (window + self.shift)).transpose(0, 1))


def convolve(u: torch.Tensor, k: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
    """(B, D, L): real FFTs of 2 L points."""
    length = u.shape[-1]
    spectrum = torch.fft.rfft(u.float(), n=2 * length) * torch.fft.rfft(k.float(), n=2 * length)
    return cast(torch.Tensor, torch.fft.irfft(spectrum, n=2 * length)[..., :length] + u * skip[:, None])


class Mixer(nn.Module):
    """The operator of order 2 with its projections."""

    def __init__(self, config: HyenaDNAConfig) -> None:
        super().__init__()
        width = 3 * config.d_model
        self.in_proj, self.out_proj = nn.Linear(config.d_model, width), nn.Linear(config.d_model, config.d_model)
        self.short_filter = nn.Conv1d(width, width, 3, groups=width, padding=2)
        self.filter_fn = Filter(config)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(B, L, D) to (B, L, D)."""
        length = hidden.shape[1]
        x0, x1, v = self.short_filter(self.in_proj(hidden).transpose(1, 2))[..., :length].chunk(3, dim=1)
        y = convolve(v * x1, self.filter_fn(length), self.filter_fn.bias) * x0
        return cast(torch.Tensor, self.out_proj(y.transpose(1, 2)))


class Block(nn.Module):
    """Mixer and MLP, each after a norm."""

    def __init__(self, config: HyenaDNAConfig) -> None:
        super().__init__()
        assert config.d_inner is not None
        self.mixer = Mixer(config)
        self.norm1, self.norm2 = nn.LayerNorm(config.d_model), nn.LayerNorm(config.d_model)
        self.fc1, self.fc2 = nn.Linear(config.d_model, config.d_inner), nn.Linear(config.d_inner, config.d_model)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(B, L, D) to (B, L, D)."""
        hidden = hidden + self.mixer(self.norm1(hidden))
        return hidden + cast(torch.Tensor, self.fc2(F.gelu(self.fc1(self.norm2(hidden)), approximate="tanh")))


class StockHyenaDNA(nn.Module):
    """Logits (B, L, padded vocabulary) of ids (B, L)."""

    def __init__(self, config: HyenaDNAConfig) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(config.padded_vocab_size, config.d_model)
        self.layers = nn.ModuleList([Block(config) for _ in range(config.n_layer)])
        self.ln_f = nn.LayerNorm(config.d_model)
        self.lm_head = nn.Linear(config.d_model, config.padded_vocab_size, bias=False)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """(B, L) to (B, L, padded vocabulary)."""
        hidden = self.embeddings(input_ids)
        for layer in self.layers:
            hidden = layer(hidden)
        return cast(torch.Tensor, self.lm_head(self.ln_f(hidden)))

    def load_weights(self, state: dict[str, torch.Tensor]) -> None:
        """Take the weights of a `HyenaDNAForCausalLM`."""
        renamed = {}
        for name, tensor in state.items():
            key = name.removeprefix("hyena.backbone.").replace("embeddings.word_embeddings", "embeddings")
            renamed[key.replace(".mlp.", ".")] = tensor
            if key.endswith("implicit_filter.1.freq"):  # one module under every odd index
                for alias in (3, 5):
                    renamed[key.replace(".1.freq", f".{alias}.freq")] = tensor
        self.load_state_dict(renamed)
