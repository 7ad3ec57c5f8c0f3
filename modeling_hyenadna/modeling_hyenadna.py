"""HyenaDNA, a causal language model of DNA built on implicit long convolutions (NeurIPS 2023, arXiv 2306.15794).

State-dict keys are those of the official Hub files (LongSafari/hyenadna-*-hf). Sections are those of the paper's
specification as this project records it. Shapes: B sequences, L tokens, D channels.
"""

import math
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, NoReturn, Self, cast

import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.nn import functional as F
from torch.nn.modules import module as torch_module
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from transformers import GenerationConfig, GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import Cache, DynamicCache
from transformers.generation.utils import GenerateOutput
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import (
    BaseModelOutputWithPast,
    CausalLMOutputWithPast,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple
from transformers.utils.output_capturing import capture_outputs

from .cache_hyenadna import HyenaDNACacheLayer
from .configuration_hyenadna import HyenaDNAConfig
from .gelu import gelu
from .kernel_cache import KernelCache, effective_weights
from .lockstep import Lockstep, in_lockstep
from .long_conv import PreparedKernel, functions_transformed, hyena_mixer, long_conv, resolved, short_convolution
from .packing import Packing, read_packing
from .registration import register_with_transformers
from .vocabulary import AS_BASES, BASES, VOCABULARY

# Decay of the window over the whole context, per channel from the slowest to the fastest (section 1.5).
WINDOW_TARGET, SLOW_DECAY, FAST_DECAY = 1e-2, 1.5, 0.3
FREQUENCY_LOW = 1e-4
# Positions computed together where no gradients are needed: on a CPU, and elsewhere
PIECE, LARGE_PIECE = 1024, 65_536
# Keyword arguments of a forward that are no more than hints, or are used by a loss
KNOWN_ARGUMENTS = {
    *("output_hidden_states", "output_attentions", "output_router_logits", "return_dict", "is_causal"),
    *("cu_seq_lens_k", "max_length_q", "max_length_k"),
    *("num_items_in_batch", "shift_labels", "ignore_index"),
}
# Kept of all layers' kernels while a model in evaluation mode is used again on inputs of the same length.
KERNEL_CACHE_BYTES = 1 << 30


def positional_features(
    length: int, config: HyenaDNAConfig, device: torch.device | None = None, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Inputs of the implicit filter (official buffer `pos_emb.z`): time, then cosines, then negated sines.

    Args:
        length: positions wanted, the first of `config.max_seq_len`.

    Returns:
        (length, emb_dim). Column 0 is t_j = j / (max_seq_len - 1).
    """
    position = torch.arange(length, device=device, dtype=dtype)[:, None]
    bands = (config.emb_dim - 1) // 2
    frequency = torch.linspace(FREQUENCY_LOW, bands - 1, bands, device=device, dtype=dtype)
    angle = frequency * (2 * math.pi * position / config.max_seq_len)
    return torch.cat([position / (config.max_seq_len - 1), angle.cos(), -angle.sin()], dim=-1)


def decay_rates(channels: int, device: torch.device | None = None, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Decay of each channel's window over the whole context (official buffer `modulation.deltas`), (channels,)."""
    log_target = math.log(WINDOW_TARGET)
    return torch.linspace(log_target / SLOW_DECAY, log_target / FAST_DECAY, channels, device=device, dtype=dtype)


def followed() -> bool:
    """Whether torch follows the operations (compiling, exporting, mapping, differentiating forward): no shortcuts."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or functions_transformed():
        return True
    return get_proxy_mode() is not None  # make_fx


def in_pieces(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """``function(x)`` of (..., C), position by position; without gradients a piece of the positions at a time.

    The temporaries are then those of one piece, and on a CPU stay in its cache.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return function(x)
    size = PIECE if x.device.type == "cpu" else LARGE_PIECE
    positions = x.shape[:-1].numel()
    if (isinstance(positions, int) and positions <= size) or followed():
        return function(x)
    flat = x.flatten(0, -2)
    first = function(flat[:size])
    y = first.new_empty(positions, first.shape[-1])
    y[:size] = first
    for start in range(size, positions, size):
        y[start : start + size] = function(flat[start : start + size])
    return y.view(*x.shape[:-1], -1)


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Autocast off; the meta device has none."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def is_hooked(module: nn.Module) -> bool:
    """Whether hooks watch or change a call of `module`, or of all modules: pruning does, for one."""
    # Written out: it is asked of every layer for every token.
    own = module._forward_pre_hooks or module._forward_hooks or module._backward_pre_hooks or module._backward_hooks  # noqa: SLF001
    return bool(own or torch_module._has_any_global_hook())  # noqa: SLF001


def at_least_float32() -> torch.dtype:
    """The default precision of new parameters, float32 where that is a half precision."""
    return torch.promote_types(torch.get_default_dtype(), torch.float32)


class KeepsFloat32(nn.Module):
    """A module whose parameters stay float32 under `.half()`, `.bfloat16()` and `.to(dtype)`, float64 excepted.

    In half precision a million positions would fall on two thousand values.
    """

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        def keep_float32(tensor: torch.Tensor) -> torch.Tensor:
            moved = fn(tensor)
            return tensor.to(moved.device, torch.float32) if moved.dtype in (torch.float16, torch.bfloat16) else moved

        return cast(Self, super()._apply(keep_float32, recurse))  # type: ignore[no-untyped-call]


class HyenaDNASine(KeepsFloat32):
    """sin(freq * x), with one trainable frequency a unit."""

    def __init__(self, config: HyenaDNAConfig):
        super().__init__()
        self.initial_frequency = float(config.activation_freq)
        self.freq = nn.Parameter(
            torch.empty(1, config.filter_order, dtype=at_least_float32()), requires_grad=config.train_freq
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(self.freq.to(x.dtype) * x)


class HyenaDNAFilterLayer(KeepsFloat32):
    """An affine layer of the implicit filter, computed in the precision of its input, which is float32 or float64.

    Not an nn.Linear: quantisers and adapters for "all linear layers" go by that class, and none of them may change the
    filter unasked. Initial values are those of nn.Linear.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features, dtype=at_least_float32()))
        self.bias = nn.Parameter(torch.empty(out_features, dtype=at_least_float32())) if bias else None
        nn.Linear.reset_parameters(self)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class HyenaDNAFilter(KeepsFloat32):
    """The implicit filter: an MLP from position to kernel, times a decaying window (section 1.5). Always float32.

    Autocast is off inside.
    """

    def __init__(self, config: HyenaDNAConfig):
        super().__init__()
        self.config = config
        self.bias = nn.Parameter(
            torch.empty(config.d_model, dtype=at_least_float32())
        )  # the skip connection of the long convolution
        # The original puts one sine module at every odd index; naming it once keeps the keys and shares nothing.
        self.implicit_filter = nn.ModuleDict({"0": HyenaDNAFilterLayer(config.emb_dim, config.filter_order)})
        self.implicit_filter["1"] = HyenaDNASine(config)
        for index in range(config.num_inner_mlps):
            self.implicit_filter[str(2 * index + 2)] = HyenaDNAFilterLayer(config.filter_order, config.filter_order)
        self.last = str(2 * config.num_inner_mlps + 2)
        self.implicit_filter[self.last] = HyenaDNAFilterLayer(config.filter_order, config.d_model, bias=False)
        self.kernels = KernelCache(KERNEL_CACHE_BYTES // config.n_layer)

    def train(self, mode: bool = True) -> Self:
        if mode:  # what is in evaluation already may be told so before every batch
            self.kernels.clear()
        return super().train(mode)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        self.kernels.clear()
        return super()._apply(fn, recurse)

    def forward(
        self, length: int, backend: str | None = None
    ) -> torch.Tensor | tuple[torch.Tensor | PreparedKernel, torch.Tensor]:
        """The kernel of the first `length` lags, (D, length).

        With the `backend` of a long convolution, what that takes for inputs of `length` positions: the kernel, which
        may be a prepared one kept from last time, and the weight (D,) of the skip connection.
        """
        if backend is None:
            return self.kernel(length)
        # A copy: what shards or offloads weights may take them away again after this call.
        return self.for_inputs(length, backend), self.bias.clone()

    def for_inputs(self, length: int, backend: str) -> torch.Tensor | PreparedKernel:
        """The kernel for inputs of `length` positions: in evaluation without gradients, one kept from last time.

        A kept one serves only while all effective weights, adapters included, equal those that made it.
        """
        backend = resolved(backend)
        if followed() or torch.is_grad_enabled() or backend == "reference":
            return self.kernel(length)
        # Hooks expect a tensor, and to be called for every input.
        in_use = any(module.training or is_hooked(module) for module in self.modules())
        if in_use or (self.bias.is_cuda and torch.cuda.is_current_stream_capturing()):  # comparing would wait
            return self.kernel(length)
        with full_precision(self.bias.device):
            weights = effective_weights(self.implicit_filter, self.config.emb_dim)
        if weights is None:
            return self.kernel(length)
        context, shift = (torch.full_like(weights[:1], x) for x in (self.config.max_seq_len, self.config.shift))
        weights = torch.cat([weights, context, shift])
        return self.kernels.get(weights, length, self.config.d_model, self.kernel, backend)

    def kernel(self, length: int) -> torch.Tensor:
        """The kernel of the first `length` lags, (D, length), computed anew."""
        device, dtype = self.bias.device, torch.promote_types(self.bias.dtype, torch.float32)
        with full_precision(device):
            features = positional_features(length, self.config, device, dtype)
            return in_pieces(self.at, features).T

    def at(self, features: torch.Tensor) -> torch.Tensor:
        """The kernel's taps (n, D) at the lags of n rows of [`positional_features`]."""
        hidden, sine = features, self.implicit_filter["1"]
        for name, layer in self.implicit_filter.items():
            if name not in ("1", self.last):
                hidden = sine(layer(hidden))
        kernel: torch.Tensor = self.implicit_filter[self.last](hidden)
        decay = decay_rates(self.config.d_model, features.device, features.dtype).abs()
        return kernel * (-features[:, :1] * decay).exp_().add_(self.config.shift)


def residual_projection(in_features: int, out_features: int) -> nn.Linear:
    """A Linear whose output is added to the residual stream, marked for its smaller initial weights (section 1.8)."""
    linear = nn.Linear(in_features, out_features)
    linear.feeds_residual = True  # type: ignore[assignment]
    return linear


class HyenaDNAShortFilter(nn.Conv1d):
    """The depthwise convolution of a few taps, over an input that is padded on the left already.

    Called without an input it gives its weights as they act, parametrisations included, for an operator that computes
    with them: whatever loads a module's weights for its call has loaded them then.
    """

    def forward(self, input: torch.Tensor | None = None) -> Any:
        """(B, C, L + taps - 1) to (B, C, L); without an input, weight (C, taps) and bias (C,)."""
        return (self.weight[:, 0], self.bias) if input is None else super().forward(input)


class HyenaDNAMixer(nn.Module):
    """The Hyena operator of order 2: y = x0 * longconv(x1 * v), out of three short-convolved projections."""

    def __init__(self, config: HyenaDNAConfig, layer_idx: int):
        super().__init__()
        self.layer_idx = layer_idx
        self.d_model = config.d_model
        self.taps = config.short_filter_order
        self.backend = config.long_conv_backend
        self.in_proj = nn.Linear(config.d_model, 3 * config.d_model)
        branches = 3 * config.d_model
        self.short_filter = HyenaDNAShortFilter(branches, branches, self.taps, groups=branches)
        self.filter_fn = HyenaDNAFilter(config)
        self.out_proj = residual_projection(config.d_model, config.d_model)
        self.dropout = nn.Dropout(config.hyena_dropout)

    def forward(
        self,
        hidden_states: torch.Tensor,
        mask: torch.Tensor | None = None,
        cache_layer: HyenaDNACacheLayer | None = None,
        packing: Packing | None = None,
        lockstep: Lockstep | None = None,
    ) -> torch.Tensor:
        """(B, L, D) -> (B, L, D). `mask` (B, L) is true at real tokens and false at padding.

        Both convolutions see zeros at padding: the short one through its input, the long one through its gated
        input (the short one's bias would leak in otherwise). Filters depend only on the lag, so a padded run equals
        the unpadded one.
        """
        projected = self.in_proj(hidden_states)
        if mask is not None:
            mask = mask.to(projected.dtype)
            projected = (
                projected * mask[..., None]
                if torch.is_grad_enabled() or followed()
                else projected.mul_(mask[..., None])
            )
        if cache_layer is not None:
            cache_layer.start(projected, self.taps, self.backend)
        if lockstep is not None:
            kernel, skip = self.filter_fn(lockstep.length, self.backend)
            weights = cast(tuple[torch.Tensor, torch.Tensor], self.short_weights())
            y = lockstep.mixed(projected, mask, kernel, skip, weights, self.backend)
        elif packing is not None:
            y = self.convolved_apart(projected, packing)
        elif cache_layer is not None and (self.drops_out() or cache_layer.get_seq_length() > 0):
            y = self.continued(projected, mask, cache_layer)
        else:
            y = self.convolved(projected, mask, *self.filter_fn(projected.shape[1], self.backend))
            if cache_layer is not None:
                self.remember(projected, mask, cache_layer)
        return cast(torch.Tensor, self.out_proj(y.to(hidden_states.dtype)))

    def drops_out(self) -> bool:
        """Whether the gated input of the long convolution has dropout now."""
        return self.training and self.dropout.p > 0

    def convolved(
        self,
        projected: torch.Tensor,
        mask: torch.Tensor | None,
        kernel: torch.Tensor | PreparedKernel,
        skip: torch.Tensor,
    ) -> torch.Tensor:
        """The operator between the projections, (B, L, 3 D) -> (B, L, D): fused where nothing acts in between."""
        weights = self.short_weights()
        if weights is not None and not self.drops_out():
            return hyena_mixer(projected, *weights, kernel, skip, mask, backend=self.backend)
        mixed = self.short_convolved(projected, None, weights)
        x0, x1, v = (branch.transpose(1, 2) for branch in self.branches(mixed, mask))
        return long_conv(v, kernel, skip, gate_in=x1, gate_out=x0, backend=self.backend).transpose(1, 2)

    def convolved_apart(self, projected: torch.Tensor, packing: Packing) -> torch.Tensor:
        """[`convolved`] of packed rows: the segments of about one length are a batch, for a prefix of one kernel."""
        kernel, skip = self.filter_fn(packing.longest, self.backend)
        taps = kernel.kernel if isinstance(kernel, PreparedKernel) else kernel

        def each(rows: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
            length = rows.shape[1]
            own = kernel if length == packing.longest else taps[:, :length]
            return self.convolved(rows, None if mask is None else mask.to(rows.dtype), own, skip)

        return packing.apply(each, projected)

    def short_weights(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """(3 D, taps) and (3 D,); None where only a call of the short filter with its input gives what is wanted.

        That is so where something else has taken its place, an adapter, and where it has hooks.
        """
        short = self.short_filter
        if not isinstance(short, HyenaDNAShortFilter) or is_hooked(short):
            return None
        return cast(tuple[torch.Tensor, torch.Tensor], short())

    def short_convolved(
        self,
        projected: torch.Tensor,
        context: torch.Tensor | None,
        weights: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> torch.Tensor:
        """(B, L, C) -> (B, L, C), after `context` (B, taps - 1, C) or zeros; by `weights` or else the module's call."""
        if weights is not None:
            return short_convolution(projected, *weights, context)
        if context is None:
            context = projected.new_zeros(projected.shape[0], self.taps - 1, projected.shape[2])
        padded = torch.cat([context, projected], dim=1).transpose(1, 2)
        return cast(torch.Tensor, self.short_filter(padded).transpose(1, 2))

    def branches(
        self, mixed: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """x0, x1 and v, each (B, L, D)."""
        x0, x1, v = mixed.split(self.d_model, dim=-1)
        x1 = x1 if mask is None else x1 * mask[..., None]
        if self.drops_out():
            x1 = self.dropout(x1)  # dropout(x1) * v is dropout(x1 * v)
        return x0, x1, v

    def continued(
        self, projected: torch.Tensor, mask: torch.Tensor | None, cache_layer: HyenaDNACacheLayer
    ) -> torch.Tensor:
        """The operator after what a cache holds, (B, L, 3 D) -> (B, L, D); the cache takes these positions too."""
        mixed = self.short_convolved(projected, cache_layer.update_short(projected), self.short_weights())
        x0, x1, v = self.branches(mixed, mask)
        convolution = cache_layer.convolution
        u = x1.to(convolution.inputs.dtype) * v.to(convolution.inputs.dtype)
        y = convolution.outputs(u, self.kernel_for(cache_layer))
        return x0 * (y + cache_layer.skip * u).to(x0.dtype)

    def kernel_for(self, cache_layer: HyenaDNACacheLayer) -> Callable[[int], torch.Tensor]:
        """What gives a cache layer the first so many taps, (D, taps), and with them the skip connection's weight."""

        def kernel(length: int) -> torch.Tensor:
            taps, skip = self.filter_fn(length, "reference")
            cache_layer.keep_skip(skip)
            return cast(torch.Tensor, taps)

        return kernel

    def remember(self, projected: torch.Tensor, mask: torch.Tensor | None, cache_layer: HyenaDNACacheLayer) -> None:
        """Fill an empty cache layer with a prompt (B, L, 3 D) whose outputs the operator has computed."""
        cache_layer.update_short(projected)
        convolution, length, before = cache_layer.convolution, projected.shape[1], self.taps - 1
        weights = self.short_weights()
        if weights is not None:  # x0 is not needed
            weight, bias = weights
            weights, projected = (weight[self.d_model :], bias[self.d_model :]), projected[..., self.d_model :]
        convolution.reserve(length)
        size = length if torch.is_grad_enabled() else PIECE
        for start in range(0, length, size):
            piece = slice(start, start + size)
            context = projected[:, start - before : start] if start else None
            mixed = self.short_convolved(projected[:, piece], context, weights)
            x1, v = mixed[..., -2 * self.d_model :].chunk(2, dim=-1)
            if mask is not None:
                x1 = x1 * mask[:, piece, None]
            convolution.append(x1.to(convolution.inputs.dtype) * v.to(convolution.inputs.dtype))


class HyenaDNAMLP(nn.Module):
    def __init__(self, config: HyenaDNAConfig):
        super().__init__()
        d_inner = cast(int, config.d_inner)
        self.backend = config.long_conv_backend
        self.fc1 = nn.Linear(config.d_model, d_inner)
        self.fc2 = residual_projection(d_inner, config.d_model)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.fc2(gelu(self.fc1(hidden_states), self.backend, followed())))


class HyenaDNABlock(GradientCheckpointingLayer):
    """Pre-norm block; the residual stream stays float32 in half-precision models, as in the original."""

    def __init__(self, config: HyenaDNAConfig, layer_idx: int):
        super().__init__()
        self.mixer = HyenaDNAMixer(config, layer_idx)
        self.norm1 = nn.LayerNorm(config.d_model, eps=config.layer_norm_epsilon)
        self.mlp = HyenaDNAMLP(config)
        self.norm2 = nn.LayerNorm(config.d_model, eps=config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.resid_dropout)

    def forward(
        self,
        hidden_states: torch.Tensor,
        mask: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        packing: Packing | None = None,
        lockstep: Lockstep | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> torch.Tensor:
        cache_layer = past_key_values.layers[self.mixer.layer_idx] if past_key_values is not None else None
        residual = hidden_states.to(torch.promote_types(hidden_states.dtype, torch.float32))
        mixed = self.mixer(self.norm1(residual.to(self.norm1.weight.dtype)), mask, cache_layer, packing, lockstep)
        return in_pieces(self.feed_forward, residual + self.dropout(mixed))

    def feed_forward(self, residual: torch.Tensor) -> torch.Tensor:
        return residual + cast(torch.Tensor, self.dropout(self.mlp(self.norm2(residual.to(self.norm2.weight.dtype)))))


class HyenaDNAEmbeddings(nn.Module):
    def __init__(self, config: HyenaDNAConfig):
        super().__init__()
        # No padding_idx: the official [PAD] row is an ordinary, trained one.
        self.word_embeddings = nn.Embedding(config.padded_vocab_size, config.d_model)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.word_embeddings(input_ids))


class HyenaDNABackbone(nn.Module):
    """Embedding, blocks and final norm: the part that the original calls `backbone`."""

    def __init__(self, config: HyenaDNAConfig):
        super().__init__()
        self.embeddings = HyenaDNAEmbeddings(config)
        self.dropout = nn.Dropout(config.embed_dropout)
        self.layers = nn.ModuleList([HyenaDNABlock(config, index) for index in range(config.n_layer)])
        self.ln_f = nn.LayerNorm(config.d_model, eps=config.layer_norm_epsilon)

    def forward(
        self,
        inputs_embeds: torch.Tensor,
        mask: torch.Tensor | None,
        past_key_values: Cache | None,
        packing: Packing | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> torch.Tensor:
        hidden_states = self.dropout(inputs_embeds)
        for layer in self.layers:
            hidden_states = layer(hidden_states, mask, past_key_values=past_key_values, packing=packing, **kwargs)
        return cast(torch.Tensor, self.ln_f(hidden_states.to(self.ln_f.weight.dtype)))


class HyenaDNAPreTrainedModel(PreTrainedModel):
    """What all HyenaDNA models share: initial weights, and what transformers reads of a class."""

    config: HyenaDNAConfig
    base_model_prefix = "hyena"
    supports_gradient_checkpointing = True
    _no_split_modules = ["HyenaDNABlock"]
    _skip_keys_device_placement = ["past_key_values"]
    _keep_in_fp32_modules_strict = ["filter_fn"]
    # Official files carry recomputable buffers, and the original's checkpoints two aliases of each frequency.
    _keys_to_ignore_on_load_unexpected = [
        r"filter_fn\.pos_emb\.(z|t)$",
        r"filter_fn\.modulation\.deltas$",
        r"implicit_filter\.(?!1\.)\d+\.freq$",
    ]
    _can_record_outputs = {"hidden_states": HyenaDNABlock}
    _supports_context_parallel = False
    # Adds to a folder the code that loads it without this package; set by the package, as the Hub code itself has none.
    add_hub_code: ClassVar[Callable[[str | os.PathLike[str]], object] | None] = None

    def _upload_modified_files(self, working_dir: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Any:
        """As the base class, which has no other place between saving and uploading, with the Hub code."""
        add_hub_code = type(self).add_hub_code
        if add_hub_code is not None:
            add_hub_code(working_dir)
        return super()._upload_modified_files(working_dir, *args, **kwargs)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialise as the original does (section 1.8), which the official port does not."""
        if isinstance(module, nn.Linear) and getattr(module, "feeds_residual", False):
            init.normal_(module.weight, std=self.config.initializer_range / math.sqrt(2 * self.config.n_layer))
            init.zeros_(module.bias)
        elif isinstance(module, nn.Conv1d):
            bound = 1 / math.sqrt(module.kernel_size[0])  # depthwise: the fan-in is the number of taps
            init.uniform_(module.weight, -bound, bound)
            init.uniform_(cast(torch.Tensor, module.bias), -bound, bound)
        elif isinstance(module, HyenaDNAFilterLayer):
            init.normal_(module.weight, std=self.config.initializer_range)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, HyenaDNASine):
            init.constant_(module.freq, module.initial_frequency)
        elif isinstance(module, HyenaDNAFilter):
            init.normal_(module.bias)
        else:
            super()._init_weights(module)  # type: ignore[no-untyped-call]

    @property
    def embeddings(self) -> HyenaDNAEmbeddings:
        """The embeddings, under the name by which peft's prompt tuning finds them in a model with a head."""
        return cast(HyenaDNAModel, self.base_model).backbone.embeddings

    def cached_length(self, past_key_values: Cache | None) -> int:
        """Positions that a cache holds, 0 for None; ValueError for a cache of another kind of model."""
        if past_key_values is None:
            return 0
        layers = past_key_values.layers
        if not layers or not all(map(HyenaDNACacheLayer.is_kind_of, layers)):
            raise ValueError(
                f"past_key_values must be made for HyenaDNA: DynamicCache(config=model.config), got {past_key_values!r}"
                " (prefix tuning learns keys and values, which HyenaDNA does not have: use prompt tuning or LoRA)"
            )
        return past_key_values.get_seq_length()

    def packing_of(
        self,
        input_ids: torch.Tensor | None,
        inputs_embeds: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        past_key_values: Cache | None,
        *descriptions: torch.Tensor | None,
    ) -> Packing | None:
        """[`read_packing`] of a forward's arguments, the last being `position_ids`, `cu_seq_lens_q` and `seq_idx`."""
        inputs = inputs_embeds if input_ids is None else input_ids
        if inputs is None or all(x is None for x in descriptions):
            return None
        rows, length = inputs.shape[:2]
        past = self.cached_length(past_key_values)
        return cast(Packing | None, read_packing((rows, length), attention_mask, *descriptions, past=past))

    def read_alike(
        self,
        input_ids: torch.Tensor,
        reference: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """What `self(input_ids, attention_mask=attention_mask, **kwargs)` gives of rows that begin alike, for less.

        A row that is of another, its reference, is computed from the first token on in which one of them differs from
        its reference, as that row and a difference (long_conv/differences.py); equal to rounding. Of hidden states, a
        layer's are made when they are asked for. Rows are read whole where there is nothing to gain, with gradients, in
        training, where torch follows the operations, and with options that speak of whole rows, such as labels.

        Args:
            input_ids: (B, L) token ids.
            reference: (B,) int64, the row that each row is compared with; that row's own is itself.
            attention_mask: (B, L).
            kwargs: of the model, such as output_hidden_states.

        Raises:
            ValueError: as the model's forward; for references that have others themselves.
        """
        return in_lockstep(self, input_ids, reference, attention_mask, followed(), **kwargs)

    def resize_token_embeddings(self, new_num_tokens: int | None = None, *args: Any, **kwargs: Any) -> nn.Embedding:
        """Resize to exactly `new_num_tokens` rows, so that the saved config describes the saved weights."""
        embeddings = super().resize_token_embeddings(new_num_tokens, *args, **kwargs)
        if embeddings.num_embeddings != self.config.padded_vocab_size:
            self.config.vocab_size = embeddings.num_embeddings
            self.config.pad_vocab_size_multiple = 1
        return embeddings


class HyenaDNAModel(HyenaDNAPreTrainedModel):
    """HyenaDNA without a head. Returns hidden states after the final norm."""

    def __init__(self, config: HyenaDNAConfig):
        super().__init__(config)
        self.backbone = HyenaDNABackbone(config)
        self.post_init()  # type: ignore[no-untyped-call]

    def get_input_embeddings(self) -> nn.Embedding:
        """The embedding of tokens."""
        return self.backbone.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the embedding of tokens."""
        self.backbone.embeddings.word_embeddings = cast(nn.Embedding, value)

    @capture_outputs  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        position_ids: torch.LongTensor | None = None,
        cu_seq_lens_q: torch.Tensor | None = None,
        seq_idx: torch.Tensor | None = None,
        packing: Packing | None = None,
        lockstep: Lockstep | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        r"""
        Args:
            input_ids: (B, L) token ids.
            attention_mask: (B, L), or (B, past + L) with a cache: 0 at padding, anything else at real tokens. Exact for
                any mix of left and right padding.
            inputs_embeds: (B, L, D) instead of `input_ids`.
            past_key_values: a `DynamicCache(config=model.config)` to continue from.
            use_cache: return such a cache (by default not, whatever `config.use_cache` says: it takes memory).
            position_ids: (B, L) or (1, L). Where they begin again at 0 in a row, a sequence of its own begins, which
                sees nothing of those before it. Otherwise without effect: nothing here depends on absolute positions.
            cu_seq_lens_q: (sequences + 1,), for one row that holds several sequences: 0 and the end of each.
            seq_idx: (B, L) or (1, L), the number of the sequence that each token belongs to.
            packing: instead of the three, what [`read_packing`] makes of them.
            lockstep: how the tokens (1, N) of rows that begin alike follow one another: see [`read_alike`].

        Returns:
            `last_hidden_state` (B, L, D); on request `hidden_states`, n_layer + 1 of them: the embeddings, then after
            each block, the last one normalised (equal to the official port's last).

        Raises:
            ValueError: if the input is empty, or longer than `config.max_seq_len`, with what the cache holds, or one
                sequence of a packed row is; for a mask or descriptions of packed rows that do not fit; for what a
                model without attention cannot give.
            TypeError: for an argument that is none of these.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("You must specify exactly one of input_ids or inputs_embeds")
        self.refuse_unknown(kwargs)
        given = cast(torch.Tensor, input_ids if inputs_embeds is None else inputs_embeds)
        rows, length = given.shape[:2]
        if 0 in (rows, length):
            raise ValueError(f"the input is empty: {rows} rows of {length} tokens")
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        past = self.cached_length(past_key_values)
        if inputs_embeds is None:
            ids = cast(torch.Tensor, input_ids)
            # It looks at the ids; those after a cache are generated ones.
            if attention_mask is None and past == 0 and not followed() and ids.device.type != "meta":
                self.warn_if_padding_and_no_attention_mask(input_ids, None)  # type: ignore[no-untyped-call]
            inputs_embeds = self.backbone.embeddings(ids)
        mask = self.mask_of(attention_mask, rows, length, past)
        if packing is None:
            packing = self.packing_of(
                input_ids, inputs_embeds, attention_mask, past_key_values, position_ids, cu_seq_lens_q, seq_idx
            )
        if packing is not None and past_key_values is not None:
            raise ValueError("packed rows keep no cache: give each sequence a row of its own, or set use_cache=False")
        total = past + length if packing is None else packing.longest
        total = total if lockstep is None else lockstep.length
        if total > self.config.max_seq_len:
            raise ValueError(
                f"the input has {total} tokens, but this model's limit (config.max_seq_len) is "
                f"{self.config.max_seq_len}; shorten or split it"
            )
        if lockstep is not None:
            kwargs["lockstep"] = lockstep
        last_hidden_state = self.backbone(inputs_embeds, mask, past_key_values, packing, **kwargs)
        return BaseModelOutputWithPast(
            last_hidden_state=last_hidden_state, past_key_values=past_key_values if use_cache else None
        )

    def refuse_unknown(self, kwargs: dict[str, Any]) -> None:
        """Raise for keyword arguments that would be ignored, except for those that ask for nothing."""
        if kwargs.get("output_attentions", getattr(self.config, "output_attentions", False)):
            raise ValueError("HyenaDNA has no attention weights to return: leave out output_attentions=True")
        if kwargs.get("is_causal") is False:
            raise ValueError("HyenaDNA is causal by construction: leave out is_causal=False")
        unknown = [name for name, value in kwargs.items() if value is not None and name not in KNOWN_ARGUMENTS]
        if unknown:
            raise TypeError(f"HyenaDNA does not take the argument {unknown[0]}: it would have no effect")

    def mask_of(self, attention_mask: torch.Tensor | None, rows: int, length: int, past: int) -> torch.Tensor | None:
        """(B, L), true at real tokens; None if all are, as far as can be known without waiting for a GPU."""
        if attention_mask is None:
            return None
        shape = tuple(attention_mask.shape)
        if len(shape) != 2 or shape[0] not in (1, rows) or shape[1] not in (length, past + length):
            raise ValueError(f"attention_mask must be {(rows, past + length)} for these inputs, got {shape}")
        mask = attention_mask[:, -length:] != 0
        if mask.device.type == "cpu" and not followed():
            return None if bool(mask.all()) else mask
        return mask


class HyenaDNAForCausalLM(HyenaDNAPreTrainedModel, GenerationMixin):
    """HyenaDNA with its language-model head over the padded vocabulary."""

    # Untied unless `tie_word_embeddings`: the Hub files store the head, the original pretrains tied.
    _tied_weights_keys = {"lm_head.weight": "hyena.backbone.embeddings.word_embeddings.weight"}

    def __init__(self, config: HyenaDNAConfig):
        super().__init__(config)
        self.hyena = HyenaDNAModel(config)
        # A kind of nn.Linear that dynamic quantisers pass over: they would untie it, and gain nothing by its few rows.
        self.vocab_size = config.padded_vocab_size  # of the logits; resize_token_embeddings sets it too
        self.lm_head = NonDynamicallyQuantizableLinear(config.d_model, config.padded_vocab_size, bias=False)
        self.post_init()  # type: ignore[no-untyped-call]

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        labels: torch.LongTensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        position_ids: torch.LongTensor | None = None,
        cu_seq_lens_q: torch.Tensor | None = None,
        seq_idx: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        r"""
        Args:
            labels: (B, L) ids, shifted inside: position t predicts label t + 1. -100 is ignored, and so is the label of
                the first token of each sequence in a packed row.
            logits_to_keep: compute logits for this many last positions (0: all), or for the positions given.

        Other arguments are those of [`HyenaDNAModel.forward`]. Returns `loss` and `logits` (B, L, padded vocabulary).
        """
        packing = self.packing_of(
            input_ids, inputs_embeds, attention_mask, past_key_values, position_ids, cu_seq_lens_q, seq_idx
        )
        outputs = self.hyena(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            past_key_values=past_key_values,
            use_cache=use_cache,
            packing=packing,
            return_dict=True,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        if labels is not None and packing is not None:
            labels, kwargs = self.labels_within(packing.starts.to(labels.device), labels, kwargs)
        loss = None if labels is None else self.causal_loss(logits, labels, **kwargs)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
        )

    def labels_within(
        self, starts: torch.Tensor, labels: torch.LongTensor, kwargs: dict[str, Any]
    ) -> tuple[torch.LongTensor, dict[str, Any]]:
        """The labels, given ones that are shifted already included, without those that begin a segment (`starts`)."""
        ignored = kwargs.get("ignore_index", -100)
        if kwargs.get("shift_labels") is not None:
            following = F.pad(starts[:, 1:], (0, 1))
            kwargs = kwargs | {"shift_labels": kwargs["shift_labels"].masked_fill(following, ignored)}
        return cast(torch.LongTensor, labels.masked_fill(starts, ignored)), kwargs

    def causal_loss(self, logits: torch.Tensor, labels: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """The model's loss; without gradients in pieces of positions, which make no full-length temporaries."""
        kwargs["vocab_size"] = logits.shape[-1]
        if torch.is_grad_enabled() or followed() or logits.shape[1] <= PIECE:
            return cast(torch.Tensor, self.loss_function(logits=logits, labels=labels, **kwargs))
        following = kwargs.pop("shift_labels", None)
        if following is None:
            following = F.pad(labels[:, 1:], (0, 1), value=-100)
        if kwargs.get("num_items_in_batch") is None:
            kwargs["num_items_in_batch"] = (following != -100).sum()
        pieces = zip(logits.split(PIECE, dim=1), following.split(PIECE, dim=1), strict=True)
        return torch.stack(
            [
                self.loss_function(logits=x.contiguous(), labels=None, shift_labels=y.contiguous(), **kwargs)
                for x, y in pieces
            ]
        ).sum()

    @torch.no_grad()
    def score_sequence(
        self, sequences: str | Sequence[str]
    ) -> tuple[torch.Tensor, torch.Tensor] | tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Probabilities of the bases of DNA, under the name by which Carbon's evaluation asks models for them.

        Args:
            sequences: one, or several, which are read in one pass. Lower-case letters are read as upper-case, U as T,
                and IUPAC's codes of several bases as N. No [SEP] is read.

        Returns:
            Of one sequence of L bases (L - 1, 4) probabilities of A, C, G and T at each base but the first, of which
            nothing is predicted, and (L - 1,) the probability of the base that is there; of several a list of each.
            float32, of the softmax over all tokens.

        Raises:
            ValueError: for no sequences, for one of fewer than two letters, or with one that is not DNA.
        """
        if isinstance(sequences, str):
            (of_all,), (of_own,) = self.score_sequence([sequences])
            return of_all, of_own
        rows = []
        if len(sequences) == 0:
            raise ValueError("score_sequence takes at least one sequence, got none")
        for sequence in sequences:
            if not isinstance(sequence, str):
                raise ValueError(f"score_sequence takes sequences as str, got {type(sequence).__name__}")
            letters = sequence.upper().translate(AS_BASES)
            if len(letters) < 2 or not set(letters) <= set(BASES):
                raise ValueError(f"score_sequence takes sequences of at least two bases, got {sequence[:50]!r}")
            rows.append(torch.tensor([VOCABULARY[letter] for letter in letters], device=self.device))
        input_ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=VOCABULARY["[PAD]"])
        mask = nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        softmax = self(input_ids, attention_mask=mask).logits.float().softmax(dim=-1)
        predicted = [own[: len(row) - 1] for own, row in zip(softmax, rows, strict=True)]
        of_all = [own[:, [VOCABULARY[base] for base in "ACGT"]] for own in predicted]
        of_own = [own.gather(1, row[1:, None])[:, 0] for own, row in zip(predicted, rows, strict=True)]
        return of_all, of_own

    def generate(
        self,
        inputs: torch.Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> GenerateOutput | torch.LongTensor:
        """As `GenerationMixin.generate`, with two provisions for DNA; ValueError for packed rows and too many tokens.

        The [SEP] with which the tokenizer ends every prompt is not continued: such rows lose it and get a masked [PAD]
        in front, so that `output[:, prompt_length:]` is still what was generated. And the ids that only pad the
        vocabulary, for which there is no token, are never generated.
        """
        prompt = kwargs.pop("input_ids", None) if inputs is None else inputs
        settings = generation_config or self.generation_config
        cache = kwargs.get("cache_implementation", settings.cache_implementation)
        if cache not in (None, "dynamic", "offloaded", "hybrid"):  # transformers drops "hybrid", an old default
            raise ValueError(
                f"HyenaDNA has no keys and values for cache_implementation={cache!r}: leave it out, or use 'offloaded'"
            )
        if kwargs.get("stop_strings", settings.stop_strings):
            raise ValueError(
                "stop_strings cannot be used with a tokenizer of single letters: "
                "use eos_token_id for a letter that ends the sequence, or a StoppingCriteria"
            )
        if getattr(settings, "is_assistant", False):  # its positions are transformers' own, also of padding at the end
            kwargs.pop("position_ids", None)
        self.refuse_packed_prompts(prompt, kwargs)
        if prompt is not None and kwargs.get("past_key_values") is None and kwargs.get("inputs_embeds") is None:
            prompt, mask = self.mask_final_separator(prompt, kwargs.get("attention_mask"))
            if mask is not None:
                kwargs["attention_mask"] = mask
        suppressed = kwargs.pop("suppress_tokens", settings.suppress_tokens) or []
        if padding_rows := range(self.config.vocab_size, self.config.padded_vocab_size):
            suppressed = sorted({*suppressed, *padding_rows})
        kwargs["suppress_tokens"] = suppressed or None
        return super().generate(prompt, generation_config, *args, **kwargs)  # type: ignore[misc]

    def init_continuous_batching(self, *args: Any, **kwargs: Any) -> NoReturn:
        """ValueError: continuous batching, and with it `generate_batch`, pages keys and values of attention."""
        raise ValueError(
            "HyenaDNA has no keys and values for continuous batching (generate_batch): use generate with a padded batch"
        )

    def refuse_packed_prompts(self, prompt: torch.Tensor | None, kwargs: dict[str, Any]) -> None:
        """Take positions out of `kwargs`, where they say nothing; ValueError where they describe packed rows."""
        named = [kwargs.pop(name, None) for name in ("position_ids", "cu_seq_lens_q", "seq_idx")]
        packing = self.packing_of(prompt, kwargs.get("inputs_embeds"), kwargs.get("attention_mask"), None, *named)
        if packing is not None:
            raise ValueError("packed rows cannot be continued: give each sequence a row of its own")

    def _prepare_position_ids_for_generation(self, inputs_tensor: torch.Tensor, model_kwargs: dict[str, Any]) -> None:
        """No position_ids of the mask, which say nothing here: to make them longer with every token would cost time."""

    def prepare_inputs_for_generation(
        self, input_ids: torch.LongTensor, *args: Any, inputs_embeds: torch.Tensor | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """As `GenerationMixin`'s, without position_ids, which an assisted generation makes itself."""
        inputs = cast(
            dict[str, Any],
            super().prepare_inputs_for_generation(  # type: ignore[misc]
                input_ids, *args, inputs_embeds=inputs_embeds, **kwargs
            ),
        )
        inputs.pop("position_ids", None)
        return inputs

    def _prepare_generated_length(
        self,
        generation_config: GenerationConfig,
        has_default_max_length: bool,
        has_default_min_length: bool,
        model_input_name: str,
        input_ids_length: int,
        inputs_tensor: torch.Tensor,
    ) -> GenerationConfig:
        """Refuse a length past the limit before anything is computed. The last token is not read again."""
        by_default = generation_config.max_length
        prepared = super()._prepare_generated_length(  # type: ignore[misc]
            generation_config,
            has_default_max_length,
            has_default_min_length,
            model_input_name,
            input_ids_length,
            inputs_tensor,
        )
        prompt, limit = inputs_tensor.shape[1], self.config.max_seq_len
        if has_default_max_length and prepared.max_new_tokens is None:
            prepared.max_length = min(by_default + input_ids_length, limit + 1)
        total = prepared.max_length + prompt - input_ids_length
        if prompt > limit:
            raise ValueError(f"the prompt has {prompt} tokens, but this model reads at most {limit}; shorten it")
        if total > limit + 1:
            raise ValueError(
                f"{prompt} tokens of the prompt and {total - prompt} new ones are more than this model reads, "
                f"{limit} (config.max_seq_len); ask for at most {limit + 1 - prompt} new tokens (max_new_tokens)"
            )
        return cast(GenerationConfig, prepared)

    def mask_final_separator(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Replace a final [SEP] (config.eos_token_id) in rows of (B, L) ids by a masked [PAD] in front.

        A prompt that is only [SEP] stays as it is: there is nothing else to continue.
        """
        separator = self.config.eos_token_id
        if separator is None or self.config.pad_token_id is None:
            return input_ids, attention_mask
        mask = torch.ones_like(input_ids) if attention_mask is None else (attention_mask != 0).to(input_ids.dtype)
        last = torch.tensor(separator, device=input_ids.device)
        ends = torch.isin(input_ids[:, -1:], last) & (mask.sum(dim=1, keepdim=True) > 1)
        if not ends.any():
            return input_ids, attention_mask
        pad = torch.full_like(input_ids[:, :1], self.config.pad_token_id)
        input_ids = torch.where(ends, torch.cat([pad, input_ids[:, :-1]], dim=1), input_ids)
        mask = torch.where(ends, torch.cat([torch.zeros_like(mask[:, :1]), mask[:, :-1]], dim=1), mask)
        return input_ids, mask


def pool(hidden_states: torch.Tensor, mask: torch.Tensor, mode: str) -> torch.Tensor:
    """Pool (B, L, D) over the real tokens of `mask` (B, L) by `mode` (HyenaDNAConfig.pooling): (B, D)."""
    if mode in ("mean", "sum"):
        weight = (mask != 0).to(hidden_states.dtype)[..., None]
        total = (hidden_states * weight).sum(dim=1)
        return total / weight.sum(dim=1).clamp(min=1) if mode == "mean" else total
    if mode == "max":
        return hidden_states.masked_fill(mask[..., None] == 0, torch.finfo(hidden_states.dtype).min).amax(dim=1)
    position = torch.arange(mask.shape[1], device=mask.device)
    real = (mask != 0).int()
    index = real.argmax(dim=1) if mode == "first" else (position * real).argmax(dim=1)
    return hidden_states[torch.arange(len(index), device=index.device), index]


class HyenaDNAClassifier(HyenaDNAPreTrainedModel):
    """HyenaDNA with a linear head, `score`, of `config.num_labels` outputs."""

    head_bias = True  # or where config.classifier_bias is

    def __init__(self, config: HyenaDNAConfig):
        super().__init__(config)
        self.num_labels = cast(int, config.num_labels)
        self.hyena = HyenaDNAModel(config)
        self.score = nn.Linear(config.d_model, self.num_labels, bias=self.head_bias or config.classifier_bias)
        self.post_init()  # type: ignore[no-untyped-call]

    def refuse_cache(self, past_key_values: Cache | None, use_cache: bool | None) -> None:
        """ValueError for the arguments of models that generate."""
        if use_cache or past_key_values is not None:
            raise ValueError(
                f"{type(self).__name__} reads whole sequences: it takes no past_key_values, nor use_cache=True"
            )


class HyenaDNAForSequenceClassification(HyenaDNAClassifier):
    """HyenaDNA with a linear head on pooled hidden states: classification, regression or multi-label."""

    head_bias = False
    # The loss is a mean over the batch, whatever Trainer counts: let Trainer divide by the accumulation steps.
    accepts_loss_kwargs = False

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        position_ids: torch.LongTensor | None = None,
        cu_seq_lens_q: torch.Tensor | None = None,
        seq_idx: torch.Tensor | None = None,
        lockstep: Lockstep | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        r"""
        Args:
            labels: (B,) class ids; (B,) or (B, num_labels) floats for regression; (B, num_labels) floats in [0, 1]
                for multi-label. Which one follows from `config.problem_type`, or from num_labels and dtype.

        Other arguments are those of [`HyenaDNAModel.forward`], without a cache and packed rows. Returns `loss` and
        `logits` (B, num_labels).

        `config.pooling="last"` without a mask takes the token before the first [PAD], else the last, as the official
        port does.
        """
        self.refuse_cache(past_key_values, use_cache)
        if self.packing_of(input_ids, inputs_embeds, attention_mask, None, position_ids, cu_seq_lens_q, seq_idx):
            raise ValueError("packed rows have several sequences and one class: give each sequence a row of its own")
        outputs = self.hyena(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            use_cache=False,
            return_dict=True,
            lockstep=lockstep,
            **kwargs,
        )
        hidden_states, mask = outputs.last_hidden_state, attention_mask
        if lockstep is not None:
            hidden_states = lockstep.rows_of(hidden_states)
            input_ids = None if input_ids is None else cast(torch.LongTensor, lockstep.rows_of(input_ids))
            mask = None if mask is None else lockstep.rows_of(mask)
        if mask is None:
            mask = hidden_states.new_ones(hidden_states.shape[:2])
            if self.config.pooling == "last" and input_ids is not None and self.config.pad_token_id is not None:
                mask = (input_ids == self.config.pad_token_id).cumsum(dim=1) == 0
                mask = mask | (input_ids[:, :1] == self.config.pad_token_id)
        logits = self.score(pool(hidden_states, mask, self.config.pooling))
        loss = None if labels is None else self.classification_loss(logits, labels.to(logits.device))
        return SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=outputs.hidden_states)

    def classification_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Loss of logits (B, num_labels) by `config.problem_type`, or by the labels' type where it is None."""
        of_classes = "multi_label_classification" if labels.is_floating_point() else "single_label_classification"
        problem = self.config.problem_type or ("regression" if self.num_labels == 1 else of_classes)
        logits = logits.float()
        if problem == "regression":
            return F.mse_loss(logits, labels.to(logits.dtype).view_as(logits))
        if problem == "single_label_classification":
            return F.cross_entropy(logits, labels.view(-1))
        return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))


class HyenaDNAForTokenClassification(HyenaDNAClassifier):
    """HyenaDNA with a linear head on every token. A token's logits depend only on the tokens up to it."""

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        position_ids: torch.LongTensor | None = None,
        cu_seq_lens_q: torch.Tensor | None = None,
        seq_idx: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> TokenClassifierOutput:
        r"""
        Args:
            labels: (B, L) class ids, -100 where there is none.

        Other arguments are those of [`HyenaDNAModel.forward`], without a cache. Returns `loss` and `logits`
        (B, L, num_labels).
        """
        self.refuse_cache(past_key_values, use_cache)
        outputs = self.hyena(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            use_cache=False,
            position_ids=position_ids,
            cu_seq_lens_q=cu_seq_lens_q,
            seq_idx=seq_idx,
            return_dict=True,
            **kwargs,
        )
        logits = self.score(outputs.last_hidden_state)
        loss = (
            None if labels is None else self.loss_function(logits=logits, labels=labels, config=self.config, **kwargs)
        )
        return TokenClassifierOutput(loss=loss, logits=logits, hidden_states=outputs.hidden_states)


register_with_transformers()

__all__ = [
    "HyenaDNAForCausalLM",
    "HyenaDNAForSequenceClassification",
    "HyenaDNAForTokenClassification",
    "HyenaDNAModel",
    "HyenaDNAPreTrainedModel",
]
