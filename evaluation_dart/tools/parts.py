"""Long work on a file, kept in parts as they come: a run that was killed goes on where it stopped.

`datasets_dart.outputs` says how an output is known to be that of a run. Several processes of Accelerate are one run,
of which the first holds the output.
"""

import os
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

from accelerate import PartialState

from datasets_dart.errors import InputError
from datasets_dart.files import link_target
from datasets_dart.outputs import Output, Paths, held, hidden, read_json, remove, sidecar
from evaluation_dart.records import digest, package_versions
from evaluation_dart.shards import Score, Share, all_shards, score_in_shards, shards_of, steps_of, whole_shards
from evaluation_dart.training.accelerators import check_common, gathered, in_first_process


class Work(NamedTuple):
    """What is to be made: a file or folder, by which run, in parts of how many rows."""

    output: Path
    held: Output | None  # None in processes other than the first
    about: dict[str, Any]
    fingerprint: str
    part: int

    @property
    def folder(self) -> Path:
        """Where the parts lie until the output is whole."""
        return hidden(link_target(self.output.absolute()), f"parts-{self.fingerprint[:16]}-{self.part}")


def begin(
    stack: ExitStack,
    output: Path,
    about: dict[str, Any],
    part: int,
    overwrite: bool,
    *,
    inputs: Paths = (),
    companions: Iterable[str] = (),
    folder: bool = False,
    **also: Any,
) -> Work | dict[str, Any]:
    """Work to do, its folder made; or, if the output is that of this very run, what its sidecar says.

    Args:
        stack: to whose end the output is held. about: what is run, for the sidecar. also: what else tells one run from
            another. inputs, companions: see [`held`]. folder: the output is one.

    Raises:
        InputError: in all processes, for an output that is an input, not ours, or written by another process, or that
            processes of several machines do not have in common.
    """
    fingerprint = digest(about | also)
    own: list[Output] = []

    def hold() -> dict[str, Any] | None:
        own.append(stack.enter_context(held(output, inputs, companions=companions, overwrite=overwrite)))
        finished = own[0].finished(fingerprint)
        if finished is None:
            own[0].claim(folder)
        kept = None if overwrite or finished is not None else work().folder
        parts = hidden(own[0].path, "parts-").name
        for found in list(os.scandir(own[0].path.parent)):
            if found.name.startswith(parts) and Path(found.path) != kept:
                remove(Path(found.path))
        return finished

    def work() -> Work:
        return Work(output, own[0] if own else None, about, fingerprint, part)

    check_common(link_target(output.absolute()).parent)
    finished = in_first_process(hold)
    if finished is not None:
        return dict(finished)
    work().folder.mkdir(parents=True, exist_ok=True)
    stack.callback(remove_empty, work().folder)
    return work()


def join(output: Path, about: dict[str, Any], part: int, **also: Any) -> Work | dict[str, Any]:
    """[`begin`] of one of many jobs that do the parts of an output together; `begin` makes it of them afterwards.

    Nothing is held and nothing removed, as the others are at work.
    """
    fingerprint = digest(about | also)
    finished = read_json(sidecar(output))
    if finished.get("fingerprint") == fingerprint and output.exists():
        return finished
    work = Work(output, None, about, fingerprint, part)
    work.folder.mkdir(parents=True, exist_ok=True)
    return work


def do_share(
    work: Work,
    rows: int,
    prepare: Callable[[], Score],
    step: int,
    share: Share,
    passes: int | None = None,
    unit: str = "rows",
) -> dict[str, Any]:
    """Do the parts of one of many jobs that are not there yet, and leave them; returns what there is now.

    Args:
        prepare, step, passes, unit: see [`complete`].
    """
    own = score_in_shards(prepare, rows, work.folder, work.part, work.fingerprint, step, passes, unit, share)
    now = sum(gathered(own))
    shards = steps_of(range(rows), work.part)
    there = whole_shards(work.folder, shards, work.fingerprint)
    counts = {"parts": len(shards), "parts_there": len(there), "rows_done_now": now}
    return {"share": str(share), "folder": str(work.folder)} | counts


def remove_empty(folder: Path) -> None:
    """Remove a folder of parts in which there is none, as nothing can go on from it."""
    with suppress(OSError):
        if not shards_of(folder):
            remove(folder)


def complete(
    work: Work,
    rows: int,
    prepare: Callable[[], Score],
    write: Callable[[Path], dict[str, Any]],
    device: str,
    counted: str,
    step: int,
    passes: int | None = None,
    unit: str = "rows",
) -> dict[str, Any]:
    """Do the parts that are not there yet, shared among processes, write the output of all, and remove the parts.

    Args:
        prepare: makes the function, or the two [`Stages`], that do the rows of a range, later ranges after earlier
            ones.
        write: writes the output from the parts, under the name that it is given, in the main process, and returns what
            the sidecar says of it.
        step: rows that are done at once. passes, unit: see [`score_in_shards`].
        counted: what the sidecar calls the number of rows done by this call, and not by one before it that was killed.

    Returns:
        What the sidecar says, in all processes.

    Raises:
        InputError: where parts are missing that another process says it did.
    """
    state, begun = PartialState(), time.perf_counter()
    own = score_in_shards(prepare, rows, work.folder, work.part, work.fingerprint, step, passes, unit)
    now = sum(gathered(own))
    about = work.about | {
        "fingerprint": work.fingerprint,
        "device": device,
        "versions": package_versions(),
        "processes": state.num_processes,
        counted: now,
        "seconds": round(time.perf_counter() - begun, 3),
    }

    def finish() -> dict[str, Any]:
        assert work.held is not None  # as it is in the first process
        all_shards(work.folder, rows, work.part)
        whole = work.held.commit(about | write(work.held.scratch / work.held.named.name))
        remove(work.folder)
        return whole

    return in_first_process(finish)


def one_process() -> None:
    """Raise InputError among several processes, whose parts come together in an output only."""
    if PartialState().num_processes > 1:
        raise InputError("several processes write a file: name an output")
