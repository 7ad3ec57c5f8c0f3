"""The tasks' metrics as modules of the `evaluate` library.

from evaluation_dart.evaluate_modules import dart_eval_metric

metric = dart_eval_metric("regulatory_elements")
metric.add_batch(score=..., control_score=..., chrom=..., start=...)
metric.compute(protocol="fixed")  # {"accuracy": {"value": ..., "low": ..., "high": ..., "n": ..., ...}, ...}
"""

from typing import Any

import datasets
import numpy as np

from datasets_dart.errors import InputError, MissingExtra
from evaluation_dart.statistics.estimates import metrics_of
from evaluation_dart.statistics.metric import Metric
from evaluation_dart.tasks import TASKS

try:
    import evaluate
except ImportError as error:
    raise MissingExtra("the evaluate modules", "evaluate") from error


class DartEvalMetric(evaluate.Metric):
    """Metrics of one task, named by config_name, each with the entries of [`Metric`]."""

    def _info(self) -> evaluate.MetricInfo:
        arrays = TASKS[self.config_name].arrays
        return evaluate.MetricInfo(
            description=f"Metrics of DART-Eval's task {self.config_name}, with intervals.",
            citation="Patel et al., DART-Eval, NeurIPS 2024, Datasets and Benchmarks",
            inputs_description=f"Columns: {', '.join(arrays)}; protocol='fixed' or 'paper'.",
            features=datasets.Features({name: datasets.Value(dtype) for name, dtype in arrays.items()}),
        )

    def _compute(self, protocol: str = "fixed", **columns: Any) -> dict[str, Metric]:
        measure: Any = TASKS[self.config_name].measure
        arrays = {name: np.asarray(values) for name, values in columns.items()}
        return metrics_of(measure(**arrays, protocol=protocol))


def dart_eval_metric(task: str) -> DartEvalMetric:
    """The module of a task.

    Raises:
        InputError: for an unknown task, or one without metrics of arrays.
    """
    known = [name for name, own in TASKS.items() if own.measure is not None]
    if task not in known:
        raise InputError(f"task {task!r}: there are {', '.join(known)}")
    return DartEvalMetric(config_name=task)
