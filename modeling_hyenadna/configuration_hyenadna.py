"""Configuration of HyenaDNA (NeurIPS 2023, arXiv 2306.15794)."""

import os
from pathlib import Path
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .long_conv import BACKENDS
from .registration import MODEL_TYPE, register_with_peft
from .sentence_files import write_sentence_files

POOLING_MODES = ("mean", "last", "first", "max", "sum")
# A damaged file must not ask for a network that is never finished.
MOST_LAYERS, LARGEST = 10_000, 1 << 31


@strict
class HyenaDNAConfig(PreTrainedConfig):
    r"""Configuration of a HyenaDNA model. Field names, defaults and files are those of the official Hub port.

    Args:
        vocab_size: tokens of the vocabulary; the embedding has this many rows rounded up to a multiple of
            `pad_vocab_size_multiple` (12 becomes 16).
        d_model: width D.
        d_inner: width of the MLP; `None` is 4 D.
        n_layer: number of blocks.
        max_seq_len: longest input in tokens. The implicit filter is a function of the position relative to it,
            so a trained model keeps the value it was trained with.
        emb_dim: positional features of the implicit filter, odd: 1 + 2 * bands.
        filter_order: width of the implicit filter's MLP.
        num_inner_mlps: its hidden layers after the first.
        activation_freq: initial frequency of its sine activations.
        train_freq: whether these frequencies are trained.
        shift: constant added to the decay window, `exp(-t |delta|) + shift`. 0.05 in the official port and its released
            weights' loader, 0.0 in the original training code.
        short_filter_order: taps of the short causal convolution.
        hyena_order: order of the Hyena recurrence; only 2 is defined for DNA and accepted.
        embed_dropout: dropout after the embedding. The official port has the field and never applies it.
        resid_dropout: dropout on what a mixer or MLP adds to the residual stream.
        hyena_dropout: dropout on the gated input of the long convolution.
        hyena_filter_dropout: kept for the files' sake; without effect, as in the original.
        use_bias: kept for the files' sake; `False` is refused, because no released model was built without biases.
        layer_norm_epsilon: of every LayerNorm.
        initializer_range: standard deviation of initial weights.
        pooling: what the sequence classifier reads: "mean" over real tokens, "last" real token (the official
            port), "first" token, or the "max" or "sum" over real tokens.
        classifier_bias: whether the sequence classifier's head has a bias, as the original code's decoder does and the
            official port's does not.
        long_conv_backend: "auto", "cpu", "cuda", "torch", "plain" or "reference" (modeling_hyenadna.long_conv).
        use_cache: whether `generate` uses a cache; a forward returns one only when it is asked to.

    Example:

    ```python
    >>> from modeling_hyenadna import HyenaDNAConfig, HyenaDNAModel
    >>> config = HyenaDNAConfig(d_model=128, n_layer=2, max_seq_len=1026, emb_dim=5, activation_freq=10)
    >>> HyenaDNAModel(config).num_parameters()
    436096
    ```
    """

    model_type = MODEL_TYPE
    attribute_map = {
        "hidden_size": "d_model",
        "num_hidden_layers": "n_layer",
        "intermediate_size": "d_inner",
        "max_position_embeddings": "max_seq_len",
    }
    keys_to_ignore_at_inference = ["past_key_values"]
    base_model_fsdp_plan = {"backbone.layers.*": "free_full_weight"}

    vocab_size: int = 12
    d_model: int = 256
    d_inner: int | None = None
    n_layer: int = 12
    max_seq_len: int = 1024
    emb_dim: int = 3
    filter_order: int = 64
    num_inner_mlps: int = 2
    activation_freq: float | int = 1
    train_freq: bool = True
    shift: float | int = 0.05
    short_filter_order: int = 3
    hyena_order: int = 2
    embed_dropout: float | int = 0.1
    resid_dropout: float | int = 0.0
    hyena_dropout: float | int = 0.0
    hyena_filter_dropout: float | int = 0.0
    use_bias: bool = True
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    pad_vocab_size_multiple: int = 8
    pooling: str = "mean"
    classifier_bias: bool = False
    long_conv_backend: str = "auto"
    pad_token_id: int | None = 4
    bos_token_id: int | None = 2
    eos_token_id: int | list[int] | None = 1
    tie_word_embeddings: bool = False
    use_cache: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        # The official repositories point at remote code that a re-saved model would not carry along. Where this class
        # is itself remote code (export_hub_code.py), the Auto classes find the models by it.
        if not type(self).__module__.startswith("transformers_modules."):
            kwargs.pop("auto_map", None)
        kwargs.setdefault("auto_map", {})  # trl wants the attribute, and transformers something that may hold names
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]
        # After super(), which applies the aliases: HyenaDNAConfig(hidden_size=64) must give d_inner 256.
        if self.d_inner is None:
            self.d_inner = 4 * self.d_model

    def to_dict(self) -> dict[str, Any]:
        """As the base class, with an `auto_map` only where it names something. peft asks for it before it looks up the
        layers that an adapter takes by default, which makes this the moment to enter ours, whichever of the two
        packages was imported first."""
        register_with_peft()
        fields = super().to_dict()
        return fields if fields.get("auto_map") else {name: x for name, x in fields.items() if name != "auto_map"}

    def save_pretrained(self, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """As the base class, with the files that tell sentence-transformers how to pool.

        Here, because models save their configurations before they upload what is new in a folder.
        """
        super().save_pretrained(save_directory, *args, **kwargs)
        write_sentence_files(Path(save_directory), self.d_model)

    @property
    def layer_types(self) -> list[str]:
        """One kind of layer, with a cache of its own (cache_hyenadna.py)."""
        return ["hyena"] * self.n_layer

    @property
    def padded_vocab_size(self) -> int:
        """Rows of the embedding and of the language-model head."""
        return -(-self.vocab_size // self.pad_vocab_size_multiple) * self.pad_vocab_size_multiple

    def validate_layer_type(self) -> None:
        """transformers knows attention layers by name; ours are all "hyena"."""

    def validate_architecture(self) -> None:
        """Refuse what the mathematics does not cover."""
        if not self.use_bias:
            raise ValueError("use_bias=False is not supported: no HyenaDNA was built without biases")
        sizes = (
            "vocab_size",
            "d_model",
            "d_inner",
            "emb_dim",
            "filter_order",
            "pad_vocab_size_multiple",
            "max_seq_len",
        )
        demands = {name: (1 <= getattr(self, name) <= LARGEST, f"from 1 to {LARGEST:,}") for name in sizes}
        demands |= {
            "n_layer": (1 <= self.n_layer <= MOST_LAYERS, f"from 1 to {MOST_LAYERS:,}"),
            "num_inner_mlps": (0 <= self.num_inner_mlps <= MOST_LAYERS, f"from 0 to {MOST_LAYERS:,}"),
            "hyena_order": (self.hyena_order == 2, "2 (the only order HyenaDNA defines)"),
            "short_filter_order": (self.short_filter_order >= 1, "at least 1"),
            "emb_dim": (
                self.emb_dim >= 3 and self.emb_dim % 2 == 1,
                "odd and at least 3 (time and pairs of cos and sin)",
            ),
            "max_seq_len": (self.max_seq_len >= 2, "at least 2"),
            "initializer_range": (self.initializer_range > 0, "above 0 (transformers takes 0 for its default)"),
            "long_conv_backend": (self.long_conv_backend in BACKENDS, f"one of {', '.join(BACKENDS)}"),
            "pooling": (self.pooling in POOLING_MODES, f"one of {', '.join(POOLING_MODES)}"),
        }
        for name, (met, wanted) in demands.items():
            if not met:
                raise ValueError(f"{name} must be {wanted}, got {getattr(self, name)!r}")


__all__ = ["HyenaDNAConfig"]
