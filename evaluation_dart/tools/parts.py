"""Long work on a file, kept in parts as they come: a run that was killed goes on where it stopped.

Beside a finished output lies OUTPUT.json, its sidecar, which says what was done and by whose fingerprint an output is
known to be that of a run.
"""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from accelerate import PartialState
from accelerate.utils import gather_object

from datasets_dart.errors import InputError
from datasets_dart.files import write_text
from evaluation_dart.records import digest, package_versions
from evaluation_dart.run import score_in_shards


class Work(NamedTuple):
    """What is to be made: a file or folder, by which run, in parts of how many rows."""

    output: Path
    about: dict[str, Any]
    fingerprint: str
    part: int

    @property
    def folder(self) -> Path:
        """Where the parts lie until the output is whole."""
        return self.output.absolute().with_name(f".{self.output.name}.parts-{self.fingerprint[:16]}-{self.part}")


def sidecar(output: Path) -> Path:
    """The file that says what an output is."""
    return output.with_name(f"{output.name}.json")


def write_sidecar(output: Path, about: dict[str, Any]) -> None:
    """Write what an output is."""
    write_text(sidecar(output), json.dumps(about, indent=1) + "\n")


def begin(output: Path, about: dict[str, Any], part: int, overwrite: bool, **also: Any) -> Work | dict[str, Any]:
    """Work to do, its folder made; or, if the output is that of this very run, what its sidecar says.

    Args:
        about: what is run, for the sidecar. also: what else tells one run from another.
    """
    work = Work(output, about, digest(about | also), part)
    try:
        finished = json.loads(sidecar(output).read_text())
    except (OSError, ValueError):
        finished = None
    same = isinstance(finished, dict) and finished.get("fingerprint") == work.fingerprint
    if same and output.exists() and not overwrite:
        return dict(finished)
    if overwrite and PartialState().is_main_process:
        shutil.rmtree(work.folder, ignore_errors=True)
    PartialState().wait_for_everyone()
    work.folder.mkdir(parents=True, exist_ok=True)
    return work


def complete(
    work: Work,
    rows: int,
    prepare: Callable[[], Callable[[range], dict[str, Any]]],
    write: Callable[[], dict[str, Any]],
    device: str,
    counted: str,
    step: int,
) -> dict[str, Any]:
    """Do the parts that are not there yet, shared among processes, write the output of all, and remove the parts.

    Args:
        prepare: makes the function that does the rows of a range, later ranges after earlier ones.
        write: writes the output from the parts, in the main process, and returns what the sidecar says of it.
        step: rows between two steps of the progress bar.
        counted: what the sidecar calls the number of rows done by this call, and not by one before it that was killed.

    Returns:
        What the sidecar says.
    """
    state, begun = PartialState(), time.perf_counter()
    now = sum(gather_object([score_in_shards(prepare, rows, work.folder, work.part, step)]))
    about = work.about | {
        "fingerprint": work.fingerprint,
        "device": device,
        "versions": package_versions(),
        "processes": state.num_processes,
        counted: now,
        "seconds": round(time.perf_counter() - begun, 3),
    }
    if state.is_main_process:
        sidecar(work.output).unlink(missing_ok=True)  # from here on it would be of another file
        about |= write()
        write_sidecar(work.output, about)
        shutil.rmtree(work.folder)
    state.wait_for_everyone()
    return about


def one_process() -> None:
    """Raise InputError among several processes, whose parts come together in an output only."""
    if PartialState().num_processes > 1:
        raise InputError("several processes write a file: name an output")
