"""Linear models of fixed features, by scikit-learn: of k-mers, of GC content, and of pooled embeddings.

Logistic regression of classes, ridge regression of log counts. The penalty, and of several features the best, are
chosen by the loss on validation.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from datasets_dart.errors import InputError
from evaluation_dart.training.objective import Objective

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # of the penalty: lambda / 2 |w|^2 beside the mean loss of a row
MAX_ITERATIONS = 1000

Features = Callable[[Sequence[str]], np.ndarray]


class Linear(NamedTuple):
    """outputs = (features - mean) / scale @ coefficients + intercept. coefficients: (features, outputs)."""

    mean: np.ndarray
    scale: np.ndarray
    coefficients: np.ndarray
    intercept: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Outputs (n, classes) of features (n, C)."""
        outputs: np.ndarray = (features - self.mean) / self.scale @ self.coefficients + self.intercept
        return outputs


class Chosen(NamedTuple):
    """A linear model, the name of its features, its penalty, and its validation loss."""

    model: Linear
    features: str
    strength: float
    validation_loss: float


class LinearPredictor:
    """A linear model of features of sequences, as the scorer of a run."""

    device_name = "cpu"

    def __init__(self, model: Linear, features: Features, objective: Objective):
        self.model, self.features, self.objective = model, features, objective

    def predict(self, sequences: Sequence[str]) -> np.ndarray:
        """(n, outputs) float64."""
        return self.model(self.features(sequences))


def fit_linear(features: np.ndarray, labels: np.ndarray, objective: Objective, strength: float) -> Linear:
    """Features (n, f) are standardised; labels (n,) are classes or log counts.

    Raises:
        ValueError: if only one class has rows.
    """
    from sklearn.linear_model import LogisticRegression, Ridge

    features = np.asarray(features, np.float64)
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 0, scale, 1)
    standard = (features - mean) / scale
    if objective.kind == "counts":
        ridge = Ridge(alpha=strength * len(labels)).fit(standard, labels)
        return Linear(mean, scale, np.atleast_2d(ridge.coef_).T, np.atleast_1d(ridge.intercept_))
    present = np.unique(labels)
    if len(present) < 2:
        raise InputError("rows of two classes or more are needed to learn from")
    logistic = LogisticRegression(C=1 / (strength * len(labels)), max_iter=MAX_ITERATIONS).fit(standard, labels)
    found, intercept = logistic.coef_.T, logistic.intercept_
    if len(present) == 2:  # one column, of the second class against the first
        found, intercept = found * [[-0.5, 0.5]], intercept * np.array([-0.5, 0.5])
    coefficients = np.zeros((features.shape[1], objective.outputs))
    coefficients[:, present] = found
    # A class that was never seen: as if half a row of it had been.
    intercepts = np.full(objective.outputs, intercept.min() - np.log(2 * len(labels)))
    intercepts[present] = intercept
    return Linear(mean, scale, coefficients, intercepts)


def choose_linear(
    train: Mapping[str, np.ndarray],
    train_labels: np.ndarray,
    validation: Mapping[str, np.ndarray],
    validation_labels: np.ndarray,
    objective: Objective,
    strengths: Sequence[float] = STRENGTHS,
) -> Chosen:
    """The features, by name, and the penalty with the smallest validation loss, the first of them."""
    # Each member of a pair is a row of its own here.
    of_rows = objective._replace(kind="classes") if objective.kind == "pairs" else objective
    best: Chosen | None = None
    for name, features in train.items():
        for strength in strengths:
            model = fit_linear(features, train_labels, objective, strength)
            found = of_rows.loss(model(validation[name]), validation_labels)
            if best is None or found < best.validation_loss:
                best = Chosen(model, name, strength, found)
    if best is None:
        raise InputError("there are no features to choose from")
    return best


def save_linear(model: Linear, path: Path) -> None:
    """Write a model as safetensors."""
    save_file({name: np.ascontiguousarray(value) for name, value in model._asdict().items()}, path)


def load_linear(path: Path) -> Linear:
    """What [`save_linear`] wrote.

    Raises:
        FileNotFoundError, ValueError: naming the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; train the model first")
    try:
        with safe_open(path, framework="numpy") as file:
            return Linear(*(file.get_tensor(name) for name in Linear._fields))
    except SafetensorError as error:
        raise InputError(f"{path} holds no linear model: {error}") from error
