"""Faults that are expected: what a command reports in one line, without a traceback."""


class InputError(ValueError):
    """An input that cannot be used; the message names the file, line and value at fault."""


class MissingExtra(ImportError):
    """An optional package that is not installed; the message names the extra that has it."""

    def __init__(self, purpose: str, extra: str):
        super().__init__(f"{purpose} needs more packages: pip install 'hyenadna-dart[{extra}]'")
