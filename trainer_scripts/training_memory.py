"""Memory of a training step of HyenaDNA's language model, counted: docs/pretraining_configs.md has its tables.

Counted is what autograd keeps for the backward, block by block (a test compares it with what torch really keeps), and
the working memory of the backward of the long convolution, by a factor that benchmarks/memory.py has measured.
"""

from dataclasses import dataclass

import torch

from datasets_dart.errors import InputError
from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM

FLOAT32 = 4
OPERATOR = 5.912  # benchmarks/results/memory.json: peak over inputs, forward and backward


@dataclass(frozen=True)
class Footprint:
    """Bytes on one GPU in a training step of AdamW on float32 parameters.

    `parameters`, `gradients` and `optimizer` are whole; FSDP2 gives a GPU its share of them. `working` is the most that
    a backward needs beyond what the forward has kept; `head` what final norm, logits and loss keep.
    """

    parameters: int
    gradients: int
    optimizer: int
    activations: int
    working: int
    head: int

    def on_each_of(self, gpus: int) -> int:
        """Bytes with everything that can be sharded in `gpus` shards, and the gathered parameters kept."""
        states = self.parameters + self.gradients + self.optimizer
        gathered = self.parameters if gpus > 1 else 0
        return -(-states // gpus) + gathered + self.activations + self.working + self.head


def mixer_bytes(config: HyenaDNAConfig, tokens: int, length: int, half: int) -> int:
    """What the first half of a block keeps for its backward: the residual stream, norm, projections and filter.

    Channels a token: 1 residual in float32; the inputs of both projections and the 3 of the projected branches in the
    precision of autocast. Statistics of the norm are 2 floats. The filter's MLP is float32 and that of one sequence,
    whatever their number: three tensors a sine and layer, the decay and the kernel.
    """
    width, sines = config.d_model, 1 + config.num_inner_mlps
    kept = tokens * (FLOAT32 * (width + 2) + half * 5 * width)
    features = config.emb_dim + 3 * sines * config.filter_order + 2 * width
    return kept + FLOAT32 * length * features


def mlp_bytes(config: HyenaDNAConfig, tokens: int, half: int) -> int:
    """What the second half keeps: the residual stream and norm, and the inputs of fc1, GELU and fc2."""
    assert config.d_inner is not None
    return tokens * (FLOAT32 * (config.d_model + 2) + half * (config.d_model + 2 * config.d_inner))


def head_bytes(config: HyenaDNAConfig, tokens: int, half: int) -> int:
    """What embedding, final norm, logits and loss keep: ids, labels, a mask of dropout, the log-softmax in float32."""
    dropout = config.d_model if config.embed_dropout else 0
    return tokens * (16 + dropout + FLOAT32 * (config.d_model + 2 + config.padded_vocab_size) + half * config.d_model)


def parameter_count(config: HyenaDNAConfig) -> int:
    """Parameters of the language model of `config`."""
    with torch.device("meta"):
        return HyenaDNAForCausalLM(config).num_parameters()


def training_footprint(
    config: HyenaDNAConfig,
    length: int,
    operator: float = OPERATOR,
    batch_size: int = 1,
    checkpointing: bool = False,
    bf16: bool = True,
) -> Footprint:
    """Memory of a step on sequences of `length` tokens, `batch_size` on each GPU.

    `operator`: peak of the long convolution's forward and backward over its inputs, in tensors (B, D, L) of float32.

    The peak is in the backward of the last block's mixer: its MLP is done with, and beside what is kept there are the
    operator's working tensors, the branches of the short convolution and their gradients (12 channels a token, in the
    precision of autocast), and two gradients of the residual stream. With activation checkpointing the other blocks
    keep only their inputs.

    Raises:
        ValueError: for a length that the model cannot take.
    """
    if not 1 <= length <= config.max_seq_len:
        raise InputError(f"length must be from 1 to {config.max_seq_len} (config.max_seq_len), got {length}")
    tokens, half, width = batch_size * length, 2 if bf16 else FLOAT32, config.d_model
    mixer, mlp = mixer_bytes(config, tokens, length, half), mlp_bytes(config, tokens, half)
    others = FLOAT32 * tokens * width if checkpointing else mixer + mlp
    working = tokens * width * (operator * FLOAT32 + 12 * half + 2 * FLOAT32)
    parameters = FLOAT32 * parameter_count(config)
    return Footprint(
        parameters=parameters,
        gradients=parameters,
        optimizer=2 * parameters,
        activations=(config.n_layer - 1) * others + mixer,
        working=round(working),
        head=head_bytes(config, tokens, half),
    )
