"""The kinds of models: a name such as "markov:FILE" says which; any other is a language model's Hub id or folder."""

from numbers import Integral
from typing import Any, NamedTuple

from datasets_dart.errors import InputError
from datasets_dart.files import shown

DTYPES = ("float32", "bfloat16", "float16", "float64")  # of weights
INT8 = "int8"  # of language models on CPUs: linear layers in int8, the rest in float32
RANDOM_WEIGHTS = "-random-weights"  # what the id of a model ends with whose weights are drawn anew


class ModelKind(NamedTuple):
    """A kind of model.

    Attributes:
        of: what follows the colon; "" where nothing does. help: what it is.
        scorer: "module:class" of evaluation_dart.models, made from `of`; None where more than that is needed.
        trained: whether a setting that asks for predictions trains it.
    """

    of: str
    help: str
    scorer: str | None = None
    trained: bool = False


KINDS = {
    "markov": ModelKind("FILE", "a Markov model, .safetensors of `hyenadna fit-markov`", "markov:MarkovScorer"),
    "motifs": ModelKind("FILE", "how often each motif of a MEME file occurs", "motif_counts:MotifCounts"),
    "kmers": ModelKind("K", "frequencies of k-mers, K from 1 to 8; trained: a linear model", "kmers:Kmers", True),
    "gc": ModelKind("", "GC content; trained: a linear model", "kmers:GCContent", True),
    "table": ModelKind("FILE", "predictions made elsewhere: .tsv, .csv, .parquet", "table:PredictionTable"),
    "column": ModelKind("NAME", "a column of the table of variants, such as chrombpnet_logfc", "table:VariantColumn"),
    "track": ModelKind("FILE", "a bigWig's values where the rows lie, such as conservation", "track:Track"),
    "network": ModelKind("NAME", "trained from scratch: probing-head-like, chrombpnet-like, ...", trained=True),
    "random": ModelKind("MODEL", "a language model's architecture with random weights", trained=True),
}


def split_spec(spec: str) -> tuple[str, str]:
    """The kind of a model's name and what it is of; the kind "" of a language model.

    Raises:
        InputError: for a kind without what it is of.
    """
    kind, colon, of = spec.partition(":")
    if kind not in KINDS or bool(colon) != bool(KINDS[kind].of):
        return "", spec
    if KINDS[kind].of and not of:
        raise InputError(f"model {spec}: write {kind}:{KINDS[kind].of}")
    return kind, of


def is_trained_kind(spec: str) -> bool:
    """Whether a setting that asks for predictions trains a model of this name."""
    kind = split_spec(spec)[0]
    return not kind or KINDS[kind].trained


def check_batch_size(batch_size: Any) -> None:
    """InputError unless it is "auto" or a whole number of rows from 1."""
    whole = isinstance(batch_size, Integral) and not isinstance(batch_size, bool)
    if batch_size != "auto" and not (whole and batch_size >= 1):
        raise InputError(f'batch_size {shown(batch_size)} must be a whole number of rows, at least 1, or "auto"')
