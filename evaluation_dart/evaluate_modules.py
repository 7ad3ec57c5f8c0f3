"""The metrics as modules of the `evaluate` library: a thin coat over `evaluation_dart.statistics.metrics`.

from evaluation_dart.evaluate_modules import dart_eval_metric

metric = dart_eval_metric("regulatory_elements")
metric.add_batch(score=..., control_score=..., chrom=..., start=...)
metric.compute(protocol="fixed")  # {"accuracy": {"value": ..., "low": ..., "high": ..., "n": ..., ...}, ...}
"""

from typing import Any

import datasets
import numpy as np

from datasets_dart.errors import InputError, MissingExtra
from evaluation_dart.statistics.metrics import (
    Metric,
    activity_metrics,
    clustering_metrics,
    motif_metrics,
    motif_summary,
    paired_likelihood_metrics,
    variant_metrics,
)

try:
    import evaluate
except ImportError as error:
    raise MissingExtra("the evaluate modules", "evaluate") from error

TEXT, NUMBER, COUNT = datasets.Value("string"), datasets.Value("float64"), datasets.Value("int64")
FEATURES: dict[str, dict[str, Any]] = {
    "regulatory_elements": {"score": NUMBER, "control_score": NUMBER, "chrom": TEXT, "start": COUNT},
    "motif_footprinting": {"background": COUNT, "motif": TEXT, "strand": TEXT, "kind": TEXT, "score": NUMBER},
    "cell_type_elements": {"label": TEXT, "cluster": COUNT, "chrom": TEXT, "start": COUNT},
    "chromatin_activity": {
        **{"prediction": NUMBER, "log_counts": NUMBER, "category": TEXT},
        **{"chrom": TEXT, "start": COUNT},
    },
    "variant_effects": {
        **{"change": NUMBER, "label": datasets.Value("bool"), "effect": NUMBER},
        **{"chrom": TEXT, "position": COUNT},
    },
}


class DartEvalMetric(evaluate.Metric):
    """Metrics of one task, named by config_name; each as value, low, high, n, method and higher_is_better."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=f"Metrics of DART-Eval's task {self.config_name}, with intervals.",
            citation="Patel et al., DART-Eval, NeurIPS 2024, Datasets and Benchmarks",
            inputs_description=f"Columns: {', '.join(FEATURES[self.config_name])}; protocol='fixed' or 'paper'.",
            features=datasets.Features(FEATURES[self.config_name]),
        )

    def _compute(self, protocol: str = "fixed", **columns: Any) -> dict[str, Metric]:
        arrays: dict[str, Any] = {name: np.asarray(values) for name, values in columns.items()}
        if self.config_name == "regulatory_elements":
            return paired_likelihood_metrics(**arrays, protocol=protocol)
        if self.config_name == "motif_footprinting":
            return motif_summary(motif_metrics(**arrays, protocol=protocol), protocol)
        if self.config_name == "cell_type_elements":
            clusters = arrays.pop("cluster")[:, None]
            return clustering_metrics(clusters=clusters, **arrays, protocol=protocol)
        if self.config_name == "chromatin_activity":
            return activity_metrics(**arrays, protocol=protocol)
        return variant_metrics(**arrays, protocol=protocol)


def dart_eval_metric(task: str) -> DartEvalMetric:
    """The module of a task.

    Raises:
        ValueError: for an unknown task.
    """
    if task not in FEATURES:
        raise InputError(f"task {task!r}: there are {', '.join(FEATURES)}")
    return DartEvalMetric(config_name=task)
