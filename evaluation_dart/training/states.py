"""Folders of a training: the states that it resumes from, each whole or not there, and whose training it is.

Nothing in a state can run code: weights are safetensors; progress and random numbers are JSON; what Accelerate writes
besides (the optimiser above all) it loads as tensors and plain values only. The digests of all files, written last,
show that none has changed since: a state is restored as it was saved, or not at all.
"""

import contextlib
import hashlib
import json
import os
import pickle
import random
import shutil
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from safetensors import SafetensorError

from datasets_dart.errors import InputError
from datasets_dart.files import fsync, replacing, write_text
from datasets_dart.formats.documents import read_json, read_yaml_mapping, yaml_text
from datasets_dart.outputs import LOCK, locked, remove, sweep_folder
from evaluation_dart.records import flattened
from evaluation_dart.training.accelerators import check_common, in_first_process

PROGRESS, DIGESTS = "progress.json", "digests.json"
# What files that are damaged, or of something else, raise while they are read and put in place
DAMAGED = (pickle.UnpicklingError, SafetensorError, RuntimeError, ValueError, KeyError, TypeError, EOFError)


@contextlib.contextmanager
def removed_on_failure(path: Path) -> Iterator[None]:
    """Remove a file or folder where the block that writes it does not come to its end."""
    try:
        yield
    except BaseException:
        remove(path)
        raise


def save_state(
    accelerator: Accelerator,
    folder: Path,
    step: int,
    progress: Mapping[str, Any],
    keep: int = 1,
    device: torch.device | None = None,
    files: Collection[Path] = (),
) -> None:
    """Write the state after `step` steps to `folder/step-<step>`, and drop all but the newest `keep`.

    All processes call it. A kill at any moment leaves the state before this one or this one.

    Args:
        progress: what a JSON file can hold, the same in all processes.
        device: where this process draws random numbers, besides the CPU. files: kept in the state as well.
    """
    temporary, final = folder / ".state.tmp", folder / f"step-{step:08d}"
    with removed_on_failure(temporary):
        if accelerator.is_main_process:
            shutil.rmtree(temporary, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(temporary))
        numbers = json.dumps(random_numbers(device))
        (temporary / _random_file(accelerator.process_index)).write_text(numbers)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            (temporary / PROGRESS).write_text(json.dumps(progress))
            for path in files:
                shutil.copyfile(path, temporary / path.name)
            (temporary / DIGESTS).write_text(json.dumps(_digests(temporary), indent=1))
            fsync(*(path for path in temporary.rglob("*") if path.is_file()), temporary)
            shutil.rmtree(final, ignore_errors=True)
            os.replace(temporary, final)
            for old in sorted(folder.glob("step-*"))[:-keep]:
                # Under another name first: half of it would pass for a state.
                doomed = folder / f".{old.name}.old"
                os.replace(old, doomed)
                remove(doomed)
        accelerator.wait_for_everyone()


def load_newest_state(
    accelerator: Accelerator,
    folder: Path,
    device: torch.device | None = None,
    files: Collection[Path] = (),
    **options: Any,
) -> tuple[int, dict[str, Any]] | None:
    """Load the newest state: the steps before it and its progress; None where there is no state.

    Args:
        device, files: as of [`save_state`]; files that the state has are put back.
        options: of how the model's weights are loaded.

    Raises:
        InputError: naming the state, if it is not as it was saved or cannot be restored here.
    """
    found = max(folder.glob("step-*"), default=None)
    if found is None:
        return None
    advice = f"delete {found}, and the training goes on from the state before it or from its beginning"
    with _refusing(found, advice):
        kept, now = dict(read_json(found / DIGESTS)), _digests(found)
        if kept != now:
            changed = min(name for name in kept.keys() | now.keys() if kept.get(name) != now.get(name))
            raise InputError(f"{changed} is not as it was saved")
        accelerator.load_state(str(found), **options)
        set_random_numbers(read_json(found / _random_file(accelerator.process_index)), device)
        progress = dict(read_json(found / PROGRESS))
        for path in files:
            if accelerator.is_main_process and (found / path.name).is_file():
                with replacing(path) as unfinished:
                    shutil.copyfile(found / path.name, unfinished)
    accelerator.wait_for_everyone()
    return int(found.name.removeprefix("step-")), progress


def _digests(state: Path) -> dict[str, str]:
    """SHA-256 of every file of a state by its name."""
    found = {}
    for path in state.rglob("*"):
        if path.is_file() and path != state / DIGESTS:
            with path.open("rb") as file:
                found[path.relative_to(state).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _random_file(process: int) -> str:
    return f"random_numbers_{process}.json"


@contextlib.contextmanager
def _refusing(state: Path, advice: str) -> Iterator[None]:
    """Say in one line what is wrong with a state, and what to do."""
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # torch's, of pickles that it refuses
            yield
    except torch.OutOfMemoryError:
        raise
    except (FileNotFoundError, *DAMAGED) as error:
        why = " ".join(str(error).split())[:300]
        raise InputError(f"{state}: the training cannot go on from this state ({why}): {advice}") from None


def random_numbers(device: torch.device | None = None) -> dict[str, Any]:
    """The state of all generators, as JSON can hold it: Python's, NumPy's, torch's on the CPU and on `device`."""
    device = device or torch.device("cpu")
    module: Any = None if device.type == "cpu" else torch.get_device_module(device)
    own = None if module is None else module.get_rng_state(*_which(device)).numpy().tobytes().hex()
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [kind, np.asarray(keys).tolist(), position, has_gauss, gauss],
        "torch": torch.get_rng_state().numpy().tobytes().hex(),
        "device": device.type,
        "device_state": own,
    }


def set_random_numbers(state: Mapping[str, Any], device: torch.device | None = None) -> None:
    """Put all generators back into a state of [`random_numbers`].

    Raises:
        InputError: if it was saved on another kind of device.
    """
    device = device or torch.device("cpu")
    if state["device"] != device.type:
        raise InputError(f"its random numbers are those of a device {state['device']!r}, and this is {device.type!r}")
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(tuple(state["numpy"]))
    torch.set_rng_state(_bytes(state["torch"]))
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(_bytes(state["device_state"]), *_which(device))


def _which(device: torch.device) -> tuple[torch.device, ...]:
    return () if device.type == "mps" else (device,)  # of which there is one


def _bytes(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)


def remove_leftovers(folder: Path) -> None:
    """Remove what a kill left among the states."""
    for path in folder.glob(".s*"):
        remove(path)


def hold_folder(stack: ExitStack, folder: Path, files: Collection[str], overwrite: bool = False) -> None:
    """Hold a training's folder to the end of `stack`: this run only writes there; all processes of it call this.

    Args:
        files: names of what a training writes there, the first being its choices, by which it is known.
        overwrite: remove what a training wrote there, and nothing else.

    Raises:
        InputError: in all processes, if another process writes there, or files are in the way that no training of ours
            wrote; or if processes of several machines do not have it in common.
    """

    def hold() -> None:
        stack.enter_context(locked(folder / LOCK, folder))
        sweep_folder(folder)
        there = [folder / name for name in files if os.path.lexists(folder / name)]
        others = [path for path in sorted(folder.iterdir()) if path.name != LOCK]
        if (there or (overwrite and others)) and not is_choices(folder / next(iter(files))):
            raise InputError(
                f"{(there or others)[0]}: already exists, and {folder} is not the folder of a training; name another"
            )
        if overwrite:
            for path in there[::-1]:  # what it is known by goes last
                remove(path)

    check_common(folder)
    in_first_process(hold)


def is_choices(path: Path) -> bool:
    """Whether a file holds the choices of a training."""
    try:
        found = read_json(path) if path.suffix == ".json" else read_yaml_mapping(path)
    except (OSError, InputError):
        return False
    return isinstance(found, dict) and bool({"training", "d_model", "processes"} & found.keys())


def check_same_run(path: Path, choices: Mapping[str, Any], free: Collection[str]) -> None:
    """Refuse to resume a training that was started with other choices; `path` is its YAML or JSON file, if any.

    A choice that an older version did not know was as one that is empty or off.

    Args:
        choices: by name, nested or not. free: names, without those they are nested in, that may change.

    Raises:
        InputError: naming the first choice that differs.
    """
    if not path.is_file():
        return
    read = read_json if path.suffix == ".json" else read_yaml_mapping
    there = read(path)
    if not isinstance(there, dict):
        raise InputError(f"{path}: not the choices of a training")
    old, new = flattened(there), flattened(choices)
    for name in sorted(old.keys() | new.keys()):
        off = [own.get(name) in (None, "", []) or own.get(name) is False for own in (old, new)]
        if old.get(name) != new.get(name) and not all(off) and name.rpartition(".")[2] not in free:
            raise InputError(
                f"{path} is of another run: {name} is {old.get(name)!r} there and {new.get(name)!r} here; choose "
                "another output folder, or overwrite this one"
            )


def write_choices(path: Path, choices: Mapping[str, Any]) -> None:
    """Write what [`check_same_run`] compares."""
    write_text(path, yaml_text(dict(choices)))
