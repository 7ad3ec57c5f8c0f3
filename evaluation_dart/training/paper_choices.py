"""The hyper-parameters of DART-Eval (spec section 1.7), by setting, model family and task.

`protocol="paper"` takes them with the original's order of the rows: tasks 1 and 3 unshuffled, probing never shuffled
and, in task 4, with the first tenth of the nonpeaks in every epoch. "fixed" shuffles, and goes through all nonpeaks.
"""

from typing import Any

from evaluation_dart.training.recipe import SupervisedTraining

KINDS = ("pairs", "classes", "counts")  # of objectives: tasks 1, 3 and 4
FAMILIES = ("caduceus", "dnabert2", "gena_lm", "hyenadna", "mistral_dna", "nucleotide_transformer")
# batch, passes in a step, epochs; in the order of KINDS
FINETUNING: dict[str, tuple[tuple[int, int, int], ...]] = {
    "caduceus": ((64, 2, 16), (64, 2, 40), (12, 8, 50)),
    "dnabert2": ((128, 1, 10), (128, 1, 15), (24, 4, 25)),
    "gena_lm": ((128, 1, 10), (128, 1, 15), (24, 4, 25)),
    "hyenadna": ((128, 1, 20), (128, 1, 30), (24, 4, 45)),
    "mistral_dna": ((128, 1, 25), (128, 1, 50), (24, 4, 25)),
    "nucleotide_transformer": ((128, 1, 5), (128, 1, 10), (24, 4, 10)),
}
# batch, learning rate
PROBING: dict[str, tuple[tuple[int, float], ...]] = {
    "caduceus": ((2048, 2e-3), (256, 2e-3), (512, 2e-3)),
    "dnabert2": ((2048, 2e-3), (1024, 2e-3), (512, 2e-3)),
    "gena_lm": ((2048, 2e-3), (1024, 2e-3), (1024, 2e-3)),
    "hyenadna": ((2048, 2e-3), (512, 2e-3), (1024, 2e-3)),
    "mistral_dna": ((2048, 2e-3), (512, 2e-3), (1024, 2e-3)),
    "nucleotide_transformer": ((2048, 2e-3), (1024, 1e-3), (1024, 2e-3)),
}
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


def family_of(name: str, model_type: str) -> str:
    """Which family of the paper a model is of: by its name, then by its architecture; HyenaDNA for all others."""
    words = {"caduceus": "caduceus", "dnabert": "dnabert2", "gena": "gena_lm", "mistral": "mistral_dna"}
    words |= {"nucleotide-transformer": "nucleotide_transformer"}
    for text in (name.lower(), model_type.lower()):
        for word, family in words.items():
            if word in text:
                return family
    return {"esm": "nucleotide_transformer", "mixtral": "mistral_dna", "bert": "dnabert2"}.get(model_type, "hyenadna")


def choices(method: str, kind: str, family: str, protocol: str, seed: int = 0) -> SupervisedTraining:
    """The hyper-parameters of a training.

    Args:
        method: "probing", "lora", "full", or a network of `FROM_SCRATCH`. kind: of the objective, which tells the
            paper's task. family: of [`family_of`]; of a network from scratch, its name again.
    """
    place = KINDS.index(kind)
    paper = protocol == "paper"
    chosen: dict[str, Any]
    if method == "probing":
        batch, rate = PROBING[family][place]
        chosen = {"batch_size": batch, "learning_rate": rate, "num_train_epochs": PROBING_EPOCHS, "weight_decay": 0.0}
        chosen["kernel"] = 3 if paper and family == "caduceus" else 8
    elif method in FROM_SCRATCH:
        chosen = FROM_SCRATCH[method][place] | {"weight_decay": 0.0}
    else:
        batch, passes, epochs = FINETUNING[family][place]
        chosen = {"batch_size": batch * passes, "num_train_epochs": epochs}
        chosen["per_device_train_batch_size"] = batch
    chosen = {"per_device_train_batch_size": chosen["batch_size"]} | chosen
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
