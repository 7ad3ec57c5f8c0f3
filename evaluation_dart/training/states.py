"""States that a training goes on from: folders of Accelerate's, each whole or not there."""

import os
import shutil
from pathlib import Path

from accelerate import Accelerator


def save_state(accelerator: Accelerator, folder: Path, step: int, keep: int = 1) -> None:
    """Write the state after `step` steps to `folder/step-<step>`, and drop all but the newest `keep`.

    All processes call it. A kill at any moment leaves the state before this one or this one.
    """
    temporary, final = folder / ".state.tmp", folder / f"step-{step:08d}"
    if accelerator.is_main_process:
        shutil.rmtree(temporary, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(temporary))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        shutil.rmtree(final, ignore_errors=True)
        os.replace(temporary, final)
        for old in sorted(folder.glob("step-*"))[:-keep]:
            # Under another name first: half of it would pass for a state.
            doomed = folder / f".{old.name}.old"
            os.replace(old, doomed)
            shutil.rmtree(doomed)
    accelerator.wait_for_everyone()


def newest_state(folder: Path) -> tuple[Path, int] | None:
    """The newest state and the number of steps it has behind it; None where there is none."""
    found = max(folder.glob("step-*"), default=None)
    return None if found is None else (found, int(found.name.removeprefix("step-")))


def remove_leftovers(folder: Path) -> None:
    """What a kill left behind among the states."""
    for path in folder.glob(".s*"):
        shutil.rmtree(path)
