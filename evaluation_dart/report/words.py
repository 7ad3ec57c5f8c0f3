"""Tasks, settings and metrics in words, the units of metrics, and what chance gives by a metric's definition."""

import re

from evaluation_dart.tasks import TASKS

METRICS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "mcc": "MCC",
    "pearson": "Pearson's r",
    "spearman": "Spearman's rho",
    "brier": "Brier score",
}
SETTINGS = {
    "zero_shot_likelihood": "zero-shot, by likelihood",
    "zero_shot_embedding": "zero-shot, by embedding",
    "ab_initio": "trained from scratch",
    "probed": "probed: a head on frozen embeddings",
    "finetuned": "fine-tuned",
    "clustering": "clusters of embeddings",
}
# By what a metric's name begins with
CHANCE = {
    "auroc": 0.5,
    "direction_accuracy": 0.5,
    "pearson": 0,
    "spearman": 0,
    "mcc": 0,
    "adjusted_mutual_information": 0,
}
# Of an element and its own control, or a motif and its shuffle, the likelier is the right one by chance in one of two
PAIRED = (
    "accuracy/regulatory_elements/zero_shot_likelihood",
    "accuracy/motif_footprinting/zero_shot_likelihood",
)
UNITS = {
    "auroc": "0 to 1",
    "auprc": "0 to 1",
    "mcc": "-1 to 1",
    "pearson": "-1 to 1",
    "spearman": "-1 to 1",
    "brier": "squared probability",
    "calibration_error": "probability",
    "adjusted_mutual_information": "at most 1",
    "accuracy": "share, 0 to 1",
    "direction_accuracy": "share, 0 to 1",
    "share": "0 to 1",
    "f1": "0 to 1",
    "copy_advantage": "nats a base",
    "context_worth": "nats a base",
    "worth": "nats a base",
    "nats": "nats a base",
    "ll_gap": "nats a base",
    "recall_distance": "bp",
    "wilcoxon_p": "probability",
    "wilcoxon_statistic": "sum of ranks",
}


DIFFERENCE = re.compile(r"(mean|median|q\d+)_diff")  # of scores


def begun_by(name: str, known: dict[str, str] | dict[str, float]) -> str | None:
    """Which of the known names a metric's is, or begins with: auroc of auroc_K562."""
    return next((own for own in known if name == own or name.startswith(f"{own}_")), None)


def metric_words(name: str) -> str:
    """A metric's name in words: "AUROC, K562" of auroc_K562."""
    first, *rest = name.split("_")
    if first not in METRICS:
        return " ".join([first, *rest])
    return METRICS[first] + (f", {' '.join(rest)}" if rest else "")


def metric_unit(name: str) -> str:
    """The unit of a metric, or its range where it has none; "no unit" where neither is known."""
    if DIFFERENCE.fullmatch(name):
        return "unit of the score"
    own = begun_by(name, UNITS)
    return "no unit" if own is None else UNITS[own]


def metric_axis(name: str) -> str:
    """The title of an axis of a metric: its name in words, and its unit."""
    return f"{metric_words(name)} ({metric_unit(name)})"


def setting_words(name: str) -> str:
    """A setting's name in words."""
    return SETTINGS.get(name, name.replace("_", " "))


def task_words(name: str) -> str:
    """A task's number and title; the name of what is no task of the registry."""
    return f"{TASKS[name].number}: {TASKS[name].title}" if name in TASKS else re.sub("_", " ", name)


def known_chance(metric: str, task: str, setting: str) -> float | None:
    """What a model that knows nothing has, by the metric's definition; None where that depends on the rows."""
    own = begun_by(metric, CHANCE)
    if own is not None:
        return float(CHANCE[own])
    return 0.5 if f"{metric}/{task}/{setting}" in PAIRED else None
