"""The tasks of DART-Eval, one module a task, and the list of them with those of other packages."""

from datasets_dart.registry import EntryPoints
from evaluation_dart.tasks.base import DART_EVAL, SUPERVISED, Input, Job, Setting, Task

__all__ = ["SUPERVISED", "TASKS", "Input", "Job", "Setting", "Task", "dart_eval_tasks", "task_named"]

# name -> Task, from the entry point group; each with a builder of its name in the group datasets_dart.tasks.
TASKS: "EntryPoints[Task]" = EntryPoints(
    "evaluation_dart.tasks", "task", beside="datasets_dart.tasks", order=lambda task: (task.number, task.name)
)


def dart_eval_tasks() -> list[str]:
    """The names of DART-Eval's tasks, which "all" stands for: those beyond it are run when they are named."""
    return [name for name, task in TASKS.items() if task.benchmark == DART_EVAL]


def task_named(name: str) -> Task:
    """The task of that name.

    Raises:
        InputError: naming those there are.
    """
    return TASKS.named(name)
