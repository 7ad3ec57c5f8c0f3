"""The tasks of DART-Eval, one module a task."""
