"""Folders of a training: the states that it resumes from, each whole or not there, and whose training it is.

Nothing in a state can run code: weights are safetensors, progress is JSON, and Accelerate loads what it writes itself
(optimiser and random numbers) as tensors and plain values only.
"""

import json
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml
from accelerate import Accelerator

from datasets_dart.errors import InputError
from datasets_dart.files import write_text

PROGRESS = "progress.json"


def save_state(accelerator: Accelerator, folder: Path, step: int, progress: Mapping[str, Any], keep: int = 1) -> None:
    """Write the state after `step` steps to `folder/step-<step>`, and drop all but the newest `keep`.

    All processes call it. A kill at any moment leaves the state before this one or this one.

    Args:
        progress: what a JSON file can hold, the same in all processes.
    """
    temporary, final = folder / ".state.tmp", folder / f"step-{step:08d}"
    if accelerator.is_main_process:
        shutil.rmtree(temporary, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(temporary))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        (temporary / PROGRESS).write_text(json.dumps(progress))
        shutil.rmtree(final, ignore_errors=True)
        os.replace(temporary, final)
        for old in sorted(folder.glob("step-*"))[:-keep]:
            # Under another name first: half of it would pass for a state.
            doomed = folder / f".{old.name}.old"
            os.replace(old, doomed)
            shutil.rmtree(doomed)
    accelerator.wait_for_everyone()


def load_newest_state(accelerator: Accelerator, folder: Path, **options: Any) -> tuple[int, dict[str, Any]] | None:
    """Load the newest state: the steps before it and its progress; None where there is no state.

    Args:
        options: of how the model's weights are loaded.
    """
    found = max(folder.glob("step-*"), default=None)
    if found is None:
        return None
    accelerator.load_state(str(found), **options)
    return int(found.name.removeprefix("step-")), json.loads((found / PROGRESS).read_text())


def remove_leftovers(folder: Path) -> None:
    """Remove what a kill left among the states."""
    for path in folder.glob(".s*"):
        shutil.rmtree(path)


def check_same_run(path: Path, choices: Mapping[str, Any], free: Collection[str]) -> None:
    """Refuse to resume a training that was started with other choices; `path` is its YAML or JSON file, if any.

    Args:
        choices: by name, nested or not. free: names, without those they are nested in, that may change.

    Raises:
        InputError: naming the first choice that differs.
    """
    if not path.is_file():
        return
    read = json.loads if path.suffix == ".json" else yaml.safe_load
    old, new = _flat(read(path.read_text())), _flat(choices)
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name) and name.rpartition(".")[2] not in free:
            raise InputError(
                f"{path} is of another run: {name} is {old.get(name)!r} there and {new.get(name)!r} here; choose "
                "another output folder, or overwrite this one"
            )


def write_choices(path: Path, choices: Mapping[str, Any]) -> None:
    """Write what [`check_same_run`] compares."""
    write_text(path, yaml.safe_dump(dict(choices), sort_keys=False))


def _flat(choices: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in choices.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
