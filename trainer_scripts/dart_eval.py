"""The command `dart-eval` under its former module name, kept for one version: see `trainer_scripts.cli`."""

from trainer_scripts.cli.dart_eval import app, main

__all__ = ["app", "main"]

if __name__ == "__main__":
    main()
