"""The judge: any language model of the Hub on DART-Eval's tasks, from scores to metrics with intervals to records."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evaluation_dart.comparison import compare
    from evaluation_dart.models.loading import load_scorer
    from evaluation_dart.recipes import RECIPES
    from evaluation_dart.records import load_record
    from evaluation_dart.run import evaluate
    from evaluation_dart.suite import evaluate_suite
    from evaluation_dart.tasks import TASKS

__all__ = ["RECIPES", "TASKS", "compare", "evaluate", "evaluate_suite", "load_record", "load_scorer"]

HOMES = {
    "RECIPES": "recipes",
    "TASKS": "tasks",
    "compare": "comparison",
    "evaluate": "run",
    "evaluate_suite": "suite",
    "load_record": "records",
    "load_scorer": "models.loading",
}


def __getattr__(name: str) -> Any:
    """A public name, imported when it is asked for: the list of tasks does not need torch."""
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
