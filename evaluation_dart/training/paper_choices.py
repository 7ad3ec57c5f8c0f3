"""The hyper-parameters of DART-Eval (spec section 1.7), by setting, model family and task.

`protocol="paper"` takes them with the original's order of the rows: tasks 1 and 3 unshuffled, probing never shuffled
and, in task 4, with the first tenth of the nonpeaks in every epoch; and with its losses, in which a forward pass counts
as one, however few rows it has. "fixed" shuffles, goes through all nonpeaks, and takes means over rows.
"""

from typing import Any

from evaluation_dart.models.families import FAMILIES
from evaluation_dart.training.recipe import SupervisedTraining

KINDS = ("pairs", "classes", "counts")  # of objectives: tasks 1, 3 and 4
# Of networks from scratch; where the paper has none, our choice, by its neighbours.
FROM_SCRATCH: dict[str, tuple[dict[str, Any], ...]] = {
    "probing-head-like": (
        {"batch_size": 2048, "learning_rate": 1e-3, "num_train_epochs": 150},
        {"batch_size": 512, "learning_rate": 2e-3, "num_train_epochs": 150},
        {"batch_size": 512, "learning_rate": 1e-3, "num_train_epochs": 150},
    ),
    "chrombpnet-like": ({"batch_size": 2048, "learning_rate": 1e-4, "num_train_epochs": 200},) * 3,
    "chrombpnet-counts": ({"batch_size": 64, "learning_rate": 1e-3, "num_train_epochs": 50},) * 3,
}
PROBING_EPOCHS = 150


def choices(method: str, kind: str, family: str, protocol: str, seed: int = 0) -> SupervisedTraining:
    """The hyper-parameters of a training.

    Args:
        method: "probing", "lora", "full", or a network of `FROM_SCRATCH`. kind: of the objective, which tells the
            paper's task. family: a key of `FAMILIES`; for a network from scratch, its name again.
    """
    paper = protocol == "paper"
    chosen: dict[str, Any]
    if method == "probing":
        batch, rate = FAMILIES[family].probing[kind]
        chosen = {"batch_size": batch, "learning_rate": rate, "num_train_epochs": PROBING_EPOCHS, "weight_decay": 0.0}
        chosen["kernel"] = FAMILIES[family].paper_kernel if paper else 8
    elif method in FROM_SCRATCH:
        chosen = FROM_SCRATCH[method][KINDS.index(kind)] | {"weight_decay": 0.0}
    else:
        batch, passes, epochs = FAMILIES[family].finetuning[kind]
        chosen = {"batch_size": batch * passes, "num_train_epochs": epochs}
        chosen["per_device_train_batch_size"] = batch
    chosen = {"per_device_train_batch_size": chosen["batch_size"]} | chosen
    if paper:
        chosen["loss_rows"] = chosen["per_device_train_batch_size"]
    fine_tuned = method in ("lora", "full")
    shuffle = not paper or (fine_tuned and kind == "counts")
    nonpeaks = "all"
    if kind == "counts":
        nonpeaks = "stride" if fine_tuned or not paper else "first_block"
    return SupervisedTraining(
        method=method,
        train_sampling_strategy="random" if shuffle else "sequential",
        nonpeaks=nonpeaks,
        seed=seed,
        **chosen,
    )
