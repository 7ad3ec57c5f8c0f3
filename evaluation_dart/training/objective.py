"""What is learned from labelled rows, and its loss. B rows of a batch; a pair's element and control are two members."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch


class Objective(NamedTuple):
    """What a task asks of a model.

    Attributes:
        kind: "pairs" (element or control), "classes", "labels" (many for each row, yes or no) or "counts" (log counts).
        outputs: numbers that the model gives for a sequence. classes: what they are called, where they have names.
        class_weights: of "classes", one for each; none for equal ones.
    """

    kind: str
    outputs: int
    classes: tuple[str, ...] = ()
    class_weights: tuple[float, ...] = ()

    def weighted(self, labels: np.ndarray) -> "Objective":
        """The same with weights of n / (classes x rows of the class), 0 for classes without rows. labels: (n,)."""
        if self.kind != "classes":
            return self
        counts = np.bincount(labels, minlength=self.outputs)
        weights = np.where(counts > 0, len(labels) / (self.outputs * counts.clip(min=1)), 0)
        return self._replace(class_weights=tuple(weights.tolist()))

    def weight(self, labels: np.ndarray) -> float:
        """What a sum of the rows' losses is divided by: their number, or the sum of the weights of their classes."""
        return float(np.take(self.class_weights, labels).sum()) if self.class_weights else float(len(labels))

    def total_loss(self, outputs: "torch.Tensor", labels: "torch.Tensor") -> "torch.Tensor":
        """Sum over rows of the loss in nats (cross-entropy), or squared log counts.

        Args:
            outputs: (B, outputs); of pairs (2 B, 2), all elements before all controls; of several classes to each row,
                such as the labels of a prompt, (B, k, outputs).
            labels: (B,) classes or log counts, (B, 2) of pairs, (B, k) of many labels or several classes.
        """
        import torch
        from torch.nn import functional as F

        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        if self.kind == "counts":
            return ((outputs[:, 0] - labels) ** 2).sum()
        if self.kind == "labels":
            return F.binary_cross_entropy_with_logits(outputs, labels, reduction="none").mean(dim=1).sum()
        if self.kind == "pairs":  # each member counts in full, as in the original (spec section 2)
            return F.cross_entropy(outputs, labels.T.flatten(), reduction="sum")
        weight = torch.tensor(self.class_weights, device=outputs.device) if self.class_weights else None
        total = F.cross_entropy(outputs.flatten(0, -2), labels.flatten(), weight=weight, reduction="sum")
        return total / labels[0].numel()

    def loss(self, outputs: np.ndarray, labels: np.ndarray) -> float:
        """Mean loss of rows, see [`total_loss`]."""
        import torch

        return float(self.total_loss(torch.from_numpy(outputs), torch.from_numpy(labels))) / self.weight(labels)


def described_objective(objective: Objective) -> dict[str, Any]:
    """What a training's YAML says of its objective."""
    return {"kind": objective.kind, "outputs": objective.outputs, "classes": list(objective.classes)}
