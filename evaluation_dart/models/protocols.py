"""What a model must be able to do for each kind of setting, and what all scorers have in common.

n sequences; C channels of an embedding. A class that has these methods is a scorer; it need not inherit from anything.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np


@runtime_checkable
class Scorer(Protocol):
    """Anything that can be evaluated.

    Attributes:
        name: as it was loaded. device_name: where it computes.
    """

    name: str

    @property
    def device_name(self) -> str:
        """Where it computes."""
        ...

    def describe(self) -> dict[str, Any]:
        """What a record says of the model: `id`, `revision` and, of networks, `parameters`."""
        ...


@runtime_checkable
class LikelihoodScorer(Scorer, Protocol):
    """Gives log-likelihoods of sequences, (n,) float64 in nats."""

    def log_likelihood(self, sequences: Sequence[str], /, **options: Any) -> "np.ndarray":
        """(n,) float64 in nats."""
        ...


@runtime_checkable
class AlleleScorer(LikelihoodScorer, Protocol):
    """Also gives log-likelihoods of two alleles from one pass that masks them, and takes a recipe's options."""

    def allele_log_likelihoods(
        self, sequences1: Sequence[str], sequences2: Sequence[str], /, **options: Any
    ) -> "tuple[np.ndarray, np.ndarray]":
        """(n,), (n,) float64 in nats, of which only the differences mean anything."""
        ...


@runtime_checkable
class TokenScorer(LikelihoodScorer, Protocol):
    """A language model: gives the tokens of sequences as well, whose probabilities can be had one by one."""

    def encode(self, sequences: Sequence[str], /, *options: Any) -> Any:
        """The model's inputs, and which of their tokens are of the sequences themselves."""
        ...


@runtime_checkable
class EmbeddingScorer(Scorer, Protocol):
    """Gives a vector for each sequence, (n, C) float32."""

    def embed(self, sequences: Sequence[str], /, **options: Any) -> "np.ndarray":
        """(n, C) float32."""
        ...


@runtime_checkable
class Predictor(Scorer, Protocol):
    """Gives the outputs of a trained model, (n, outputs) float64."""

    def predict(self, sequences: Sequence[str], /) -> "np.ndarray":
        """(n, outputs) float64."""
        ...


@runtime_checkable
class RowPredictor(Scorer, Protocol):
    """Gives predictions of a dataset's rows by what they are called or where they lie, not by their sequences."""

    def columns(self, batch: Mapping[str, Sequence[Any]], keys: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
        """The prediction columns `names` of the rows of `batch`, each of which is named by its columns `keys`."""
        ...


# What a setting needs of a scorer -> the protocols, one of which will do
NEEDS: dict[str, tuple[type, ...]] = {
    "likelihoods": (LikelihoodScorer,),
    "tokens": (TokenScorer,),
    "embeddings": (EmbeddingScorer,),
    "predictions": (Predictor, RowPredictor),
}


def abilities(scorer: Any) -> list[str]:
    """Which of `NEEDS` a scorer meets."""
    return [need for need, protocols in NEEDS.items() if isinstance(scorer, protocols)]
