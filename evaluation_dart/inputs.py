"""What an output says of the files that it was made of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets_dart.files import sha256
from datasets_dart.formats.text import one_line


def described_inputs(**inputs: Any) -> dict[str, str]:
    """`name: file name, SHA-256` of each input file, of several files all of them; other inputs as they are."""

    def describe(value: Any) -> str:
        if isinstance(value, Mapping):
            return ", ".join(f"{name}={describe(path)}" for name, path in sorted(value.items()))
        if isinstance(value, list):
            return ", ".join(map(describe, value))
        path = Path(value)
        return one_line(f"{path.name} sha256:{sha256(path.resolve())}" if path.is_file() else value)

    return {name: describe(value) for name, value in inputs.items()}
