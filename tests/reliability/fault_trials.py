"""One trial: a command is stopped before its n-th file operation, and the same line is then given again.

Every command runs in a process of its own, forked from this one after the libraries were imported. An audit hook counts
what it does to files in its folder: opening to write, renaming, removing, making folders, and waiting for the disk.
"""

import errno
import fcntl
import fnmatch
import hashlib
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from fault_commands import Command, unpacked, write_inputs

PROGRAMS = {
    "hyenadna": ("trainer_scripts.cli.hyenadna", "hyenadna"),
    "dart-eval": ("trainer_scripts.cli.dart_eval", "dart-eval"),
    **{name: (f"trainer_scripts.{name}", name) for name in ("pretrain", "finetune", "in_context", "perplexity")},
}
FAULTS = ("kill", "kill, another output there", "terminate", "interrupt", "no space", "no room", "read-only", "twice")
# What differs between two runs of one line
TIMES = {"seconds", "date", "sequences_per_second", "bases_per_second", "tokens_per_second", "versions", "processes"}
NOW = ("records_scored_now", "regions_embedded_now")
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate")
INDEX = "in/g.fa.fai"
SECONDS, PAUSE = 180, 1.5


class Ended(NamedTuple):
    """How a process ended: its exit status, less than 0 for a signal, and what it wrote."""

    status: int
    errors: str
    output: str


class Trial(NamedTuple):
    """What came of a trial; `why` is empty where all is right."""

    command: str
    fault: str
    n: int
    why: str


def warm_up() -> None:
    """Import what the commands need, once for all of them."""
    import matplotlib
    import torch

    matplotlib.use("Agg")
    torch.set_num_threads(1)
    for module, _ in PROGRAMS.values():
        importlib.import_module(module)
    for module in (
        "accelerate", "datasets", "sklearn.linear_model", "transformers", "zarr", "pysam", "tangermeme.plot",
        "modeling_hyenadna", "modeling_hyenadna.convert_checkpoint", "modeling_hyenadna.export_hub_code",
        "evaluation_dart", "evaluation_dart.suite", "evaluation_dart.tools.variants", "evaluation_dart.tools.regions",
        "evaluation_dart.tools.mutagenesis", "evaluation_dart.tools.generation", "evaluation_dart.tools.own_data",
        "evaluation_dart.tools.own_model", "evaluation_dart.training.supervised", "evaluation_dart.models.markov",
        "evaluation_dart.report.hub", "datasets_dart.export", "datasets_dart.element_files", "trainer_scripts.demo",
        "matplotlib.pyplot", "scipy.stats", "torch._dynamo",
    ):  # fmt: skip
        importlib.import_module(module)


def main_of(program: str) -> Callable[[], object]:
    """The function behind a command."""
    module = importlib.import_module(PROGRAMS[program][0])
    return module.main  # type: ignore[no-any-return]


def count_operations(folder: str, act: Callable[[int, str], None]) -> None:
    """From now on call `act` with the number of each file operation in `folder`, before it is done, and its name."""
    count = 0

    def operation(name: str) -> None:
        nonlocal count
        count += 1
        act(count, name)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = any(letter in (mode or "") for letter in "wax+") or (flags or 0) & (os.O_WRONLY | os.O_RDWR)
            if writes and inside(path):
                operation(f"open {path}")
        elif event in CHANGES and any(map(inside, arguments[:2])):
            operation(f"{event} {arguments[0]}")

    def inside(path: object) -> bool:
        return isinstance(path, str | os.PathLike) and os.path.abspath(os.fspath(path)).startswith(folder)

    def fsync(file: int, fsync: Callable[[int], None] = os.fsync) -> None:
        operation("fsync")
        fsync(file)

    os.fsync = fsync
    sys.addaudithook(hook)


class Running(NamedTuple):
    """A process that was forked, and what reads its standard output and error."""

    child: int
    output: int
    errors: int


def pipe() -> tuple[int, int]:
    """A pipe that holds what a command says, and that does not count as a file where files have a greatest size."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 1 << 20)
    return reading, writing


def start(line: str, folder: Path, prepare: Callable[[str], None] = lambda _: None) -> Running:
    """Fork a process that runs a line in a folder. `prepare` is called in it, with the folder's path."""
    (output, out), (errors, err) = pipe(), pipe()
    if child := os.fork():
        os.close(out)
        os.close(err)
        return Running(child, output, errors)
    status = 70
    try:
        os.setsid()
        os.chdir(folder)
        os.dup2(out, 1)
        os.dup2(err, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        program, *words = line.split()
        sys.argv = [program, *words]
        prepare(str(folder))
        try:
            main_of(program)()
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1 if ended.code else 0
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def wait(running: Running, seconds: float = SECONDS) -> Ended:
    """Wait for a process of [`start`]; one that does not end is killed, with status -99."""
    child = running.child
    end = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            break
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            code = -99
            break
        time.sleep(0.005)
    said = []
    for file in (running.errors, running.output):
        os.set_blocking(file, False)
        with open(file, "rb", closefd=True) as stream:
            said.append((stream.read() or b"").decode(errors="replace"))
    return Ended(code, *said)


def run(line: str, folder: Path, prepare: Callable[[str], None] = lambda _: None) -> Ended:
    """Run a line in a folder to its end."""
    return wait(start(line, folder, prepare))


def snapshot(folder: Path) -> dict[str, str]:
    """The files and empty folders below a folder by name, each with a digest of what does not differ between runs."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"link to {os.readlink(path)}"
        elif name == INDEX:  # is made when it is needed
            continue
        elif path.is_file():
            found[name] = hashlib.sha256(constant(path)).hexdigest()[:16]
        elif not any(path.iterdir()):
            found[name] = "empty folder"
    return found


def constant(path: Path) -> bytes:
    """A file's bytes, of JSON without times."""
    data = path.read_bytes()
    if path.suffix == ".json":
        return json.dumps(timeless(json.loads(data)), sort_keys=True).encode()
    if path.suffix == ".jsonl":
        return json.dumps([timeless(json.loads(line)) for line in data.splitlines()]).encode()
    return unpacked(data) if path.suffix == ".gz" and not data.startswith(b"\x1f\x8b\x08\x04") else data


def timeless(value: Any) -> Any:
    """Without entries that differ between two runs."""
    if isinstance(value, dict):
        return {key: timeless(own) for key, own in value.items() if key not in TIMES and key not in NOW}
    return [timeless(own) for own in value] if isinstance(value, list) else value


class Stage:
    """A command's folder before it runs, and what an uninterrupted run makes of it."""

    def __init__(self, command: Command, root: Path):
        self.command, self.root = command, root
        self.template, self.work = root / "template", root / "work"
        root.mkdir(parents=True, exist_ok=True)
        write_inputs(self.template)
        for line in command.before:
            self.checked(line, self.template)
        self.before = snapshot(self.template)
        self.operations: list[str] = []
        self.expected = self.reference(self.template)
        self.other = root / "other"
        if command.other:
            shutil.copytree(self.template, self.other)
            self.checked(command.other, self.other)

    def reference(self, template: Path) -> dict[str, str]:
        """The files after an uninterrupted run, whose operations are noted."""
        self.renew(template)
        self.checked(self.command.line, self.work)  # fills the cache of rows, which is not in the folder
        self.renew(template)
        names = self.root / "operations"

        def note(number: int, name: str) -> None:
            with_name = f"{number} {name}\n".encode()
            os.write(file, with_name)

        file = os.open(names, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self.checked(self.command.line, self.work, lambda folder: count_operations(folder, note))
        os.close(file)
        self.operations = names.read_text().splitlines()
        found = snapshot(self.work)
        again = run(self.command.line, self.work)
        if again.status != 0:
            raise AssertionError(f"{self.command.name}: said again: {again.status}: {again.errors[-400:]}")
        if (after := snapshot(self.work)) != found:
            raise AssertionError(f"{self.command.name}: said again: {difference(found, after)}")
        return found

    def renew(self, template: Path) -> None:
        """The folder to work in as it was before."""
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(template, self.work)

    def checked(self, line: str, folder: Path, prepare: Callable[[str], None] = lambda _: None) -> None:
        """Run a line that must succeed."""
        ended = run(line, folder, prepare)
        if ended.status:
            raise AssertionError(f"{line}: exit status {ended.status}: {ended.errors[-600:]}")

    def trial(self, fault: str, n: int) -> Trial:
        """Stop the command before its n-th operation, say the line again, and see what there is."""
        self.renew(self.other if fault == "kill, another output there" else self.template)
        why = TRIALS[fault](self, n) or self.goes_on()
        return Trial(self.command.name, fault, n, why)

    def goes_on(self) -> str:
        """What is wrong after the same line was given again."""
        again = run(self.command.line, self.work)
        if again.status:
            return f"said again: exit status {again.status}: {again.errors.strip()[-300:]}"
        found = snapshot(self.work)
        return "" if found == self.expected else f"said again: {difference(self.expected, found)}"

    def stopped(self, n: int, stop: Callable[[], None]) -> Ended:
        """How the command ends that does `stop` before its n-th operation."""

        def act(number: int, _: str) -> None:
            if number == n:
                stop()

        return run(self.command.line, self.work, lambda folder: count_operations(folder, act))

    def tidy(self, ended: Ended, status: int) -> str:
        """What is wrong after an orderly end with a status."""
        if ended.status == 0 and snapshot(self.work) == self.expected:
            return ""  # it was stopped after its last step
        if ended.status != status or "Traceback" in ended.errors:
            return f"exit status {ended.status}, not {status}: {ended.errors.strip()[-500:]}"
        left = [name for name in snapshot(self.work) if is_temporary(name) and name not in self.before]
        return f"left: {', '.join(left)}" if left else ""


def is_temporary(name: str) -> bool:
    """Whether a name is of a file that no run goes on from."""
    hidden = [part for part in name.split("/") if part.startswith(".")]
    kept = (".*.parts-*", ".shards-*", ".*.training", ".*.lock", ".lock")
    return any(not any(fnmatch.fnmatch(part, pattern) for pattern in kept) for part in hidden)


def difference(expected: dict[str, str], found: dict[str, str]) -> str:
    """The names in which two snapshots differ."""
    less, more = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    changed = sorted(name for name in expected.keys() & found.keys() if expected[name] != found[name])
    said = [f"{what}: {', '.join(names[:5])}" for what, names in
            (("missing", less), ("left", more), ("different", changed)) if names]  # fmt: skip
    return "; ".join(said)


def send(number: int) -> Callable[[], None]:
    """Send this process a signal."""
    return lambda: os.kill(os.getpid(), number)


def killed(stage: Stage, n: int) -> str:
    """SIGKILL: nothing is wrong yet."""
    stage.stopped(n, send(signal.SIGKILL))
    return ""


def terminated(stage: Stage, n: int) -> str:
    """SIGTERM: status 143."""
    return stage.tidy(stage.stopped(n, send(signal.SIGTERM)), 143)


def interrupted(stage: Stage, n: int) -> str:
    """SIGINT: status 130."""
    return stage.tidy(stage.stopped(n, send(signal.SIGINT)), 130)


def without_space(stage: Stage, n: int) -> str:
    """The n-th operation, and all after it that need room, fail as on a full disk."""

    def act(number: int, name: str) -> None:
        if number >= n and name.split()[0] in ("open", "os.mkdir", "fsync"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    ended = run(stage.command.line, stage.work, lambda folder: count_operations(folder, act))
    return stage.tidy(ended, 1)


def without_room(stage: Stage, n: int) -> str:
    """No file may be larger than 8 bytes, 16, 32, ... by n."""

    def limit(_: str) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4 << n, resource.RLIM_INFINITY))

    return stage.tidy(run(stage.command.line, stage.work, limit), 1)


def read_only(stage: Stage, n: int) -> str:
    """The folder cannot be written: opening files and making folders fails."""

    def act(number: int, name: str) -> None:
        if name.split()[0] != "fsync":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    ended = run(stage.command.line, stage.work, lambda folder: count_operations(folder, act))
    why = stage.tidy(ended, 1)
    return why or ("" if snapshot(stage.work) == stage.before else "something was written")


def twice(stage: Stage, n: int) -> str:
    """A second process while the first stands before its n-th operation."""

    def act(number: int, _: str) -> None:
        if number == n:
            os.kill(os.getpid(), signal.SIGSTOP)

    first = start(stage.command.line, stage.work, lambda folder: count_operations(folder, act))
    while True:
        done, status = os.waitpid(first.child, os.WUNTRACED | os.WNOHANG)
        if done:
            break
        time.sleep(0.005)
    if not os.WIFSTOPPED(status):
        return f"the first process ended with {os.waitstatus_to_exitcode(status)} before operation {n}"
    other = start(stage.command.line, stage.work)
    time.sleep(PAUSE)  # where it waits for the first, as for an index, it does so longer
    os.kill(first.child, signal.SIGCONT)
    ended, second = wait(first), wait(other)
    if "Traceback" in second.errors or second.status not in (0, 1):
        return f"the second process: exit status {second.status}: {second.errors.strip()[-400:]}"
    if second.status and "another process is writing" not in second.errors:
        return f"the second process: {second.errors.strip()[-400:]}"
    if ended.status and second.status:
        return f"the first process: exit status {ended.status}: {ended.errors.strip()[-400:]}"
    return ""


TRIALS = {
    "kill": killed,
    "kill, another output there": killed,
    "terminate": terminated,
    "interrupt": interrupted,
    "no space": without_space,
    "no room": without_room,
    "read-only": read_only,
    "twice": twice,
}


def trials_of(stage: Stage) -> list[tuple[str, int]]:
    """All trials of a command: a fault before every operation; sizes of files; one of a folder that is read-only."""
    every = range(1, len(stage.operations) + 1)
    found = []
    for fault in FAULTS:
        numbers = {"no room": range(1, 16), "read-only": range(1, 2)}.get(fault, every)
        if fault != "kill, another output there" or stage.command.other:
            found += [(fault, n) for n in numbers]
    return found
