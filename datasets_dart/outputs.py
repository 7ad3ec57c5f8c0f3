"""How an output comes to be: written by one process at a time, whole or not there, and never over what is not ours.

Beside a finished output lies OUTPUT.json, its sidecar: what was done, the fingerprint of that, and under "files" the
SHA-256 of what was written. An output is that of a run if they fit. While a run writes, it holds a lock on the hidden
file .OUTPUT.lock, which ends with the process; after a kill that file says which digests are ours all the same.
"""

import contextlib
import errno
import fcntl
import functools
import hashlib
import inspect
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ParamSpec

from datasets_dart.errors import InputError
from datasets_dart.files import fsync, link_target, replacing, sha256, write_text

UNLOCKABLE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # of file systems without locks: then nobody is refused
LOCK = ".lock"  # the lock file in a folder that a run writes into
HEX = r"\.[0-9a-f]{32}"
P = ParamSpec("P")
Paths = Iterable[str | os.PathLike[str] | None]


def sidecar(output: str | os.PathLike[str]) -> Path:
    """The file that says what an output is."""
    path = Path(output)
    return path.with_name(f"{path.name}.json")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file's mapping; an empty one where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def digest_of(path: Path) -> str:
    """SHA-256 of a file, or of the names and digests of all files below a folder."""
    if path.is_dir():
        inside = sorted(own for own in path.rglob("*") if own.is_file())
        named = "".join(f"{digest_of(own)}  {own.relative_to(path).as_posix()}\n" for own in inside)
        return hashlib.sha256(named.encode(errors="surrogateescape")).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint_of(value: Any) -> str:
    """SHA-256 of a value's JSON: what tells one run from another."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def check_apart(outputs: Paths, inputs: Paths) -> None:
    """Raise InputError where an output, or a link to it, is an input or a file in an input that is a folder."""
    there = [Path(own) for own in outputs if own is not None and os.path.exists(own)]
    if not there:
        return
    for given in inputs:
        if given is None or not os.path.exists(given):
            continue
        path = Path(given)
        for read in [path, *(own for own in path.rglob("*") if own.is_file())] if path.is_dir() else [path]:
            for output in there:
                if os.path.samefile(output, read):
                    raise InputError(f"{output}: would be written over the input {read}; name another output")


@contextlib.contextmanager
def locked(path: Path, what: str | os.PathLike[str], wait: bool = False) -> Iterator[int]:
    """Hold the lock file `path`, which goes at the end; the file's descriptor. The lock ends with the process.

    Raises:
        InputError: if another process holds it, unless `wait`. OSError: naming `what` if it cannot be written there.
    """
    new = not path.parent.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _opened_and_locked(path, what, wait)
    except (FileExistsError, NotADirectoryError):
        raise NotADirectoryError(f"{what}: cannot be written: {path.parent} is no folder") from None
    except OSError as error:
        raise OSError(f"{what}: cannot be written: {error.strerror or error}") from None
    try:
        yield file
    finally:
        if os.fstat(file).st_size == 0:  # else it says what is ours among what a failure left
            path.unlink(missing_ok=True)
        os.close(file)
        if new:
            with contextlib.suppress(OSError):  # of a folder that has something in it now
                path.parent.rmdir()


def _opened_and_locked(path: Path, what: str | os.PathLike[str], wait: bool) -> int:
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(file)
            raise InputError(f"{what}: another process is writing this output") from None
        except OSError as error:
            if error.errno not in UNLOCKABLE:
                os.close(file)
                raise
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), os.stat(path, follow_symlinks=False)):
                return file
        os.close(file)  # it was removed by the process that held it


def hidden(path: Path, what: str) -> Path:
    """The name .NAME.what beside a path."""
    return path.with_name(f".{path.name}.{what}")


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there; of a link, the link. A signal in the middle of it comes after it."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    try:
        shutil.rmtree(path, ignore_errors=True)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def sweep(path: Path, *more: str) -> None:
    """Remove what killed runs left beside the output `path`, whose lock is held.

    Args:
        more: patterns of what follows ".NAME." in further names of leftovers.
    """
    name = re.escape(path.name)
    pattern = re.compile(rf"\.+{name}({HEX})+(\.\w+)*|\.{name}\.({'|'.join(more) or '(?!)'})")
    for found in list(os.scandir(path.parent)):
        if pattern.fullmatch(found.name):
            remove(Path(found.path))


def sweep_folder(folder: Path) -> None:
    """Remove unfinished files that killed runs left in a folder of a run's own, whose lock is held."""
    for found in list(os.scandir(folder)):
        if re.fullmatch(rf"\..+{HEX}", found.name) or found.name.startswith(".writing-"):
            remove(Path(found.path))


class Output:
    """A file or folder that this process writes, and holds the lock of; see [`held`].

    Attributes:
        named: as the user named it. path: where it is, behind links. scratch: a folder to write files of the output's
            name into, which [`commit`] takes them from.
    """

    def __init__(self, named: Path, companions: Iterable[str], overwrite: bool, lock: int):
        self.named, self.path, self.overwrite = named, link_target(named), overwrite
        self.companions = [named.with_name(named.name + ending) for ending in companions]
        self.scratch = hidden(self.path, uuid.uuid4().hex)
        self._lock = lock
        self._ours = set(os.pread(lock, 1 << 20, 0).decode("ascii", "replace").split())

    @property
    def sidecar(self) -> Path:
        """The file that says what the output is."""
        return sidecar(self.named)

    def places(self) -> Iterator[tuple[str, Path]]:
        """The files of the output that are there, by name."""
        for name, path in [(self.named.name, self.path), *((own.name, own) for own in self.companions)]:
            if os.path.lexists(path):
                yield name, path

    def finished(self, fingerprint: str) -> dict[str, Any] | None:
        """What the sidecar says, if this very run wrote the output and every file of it is as it was written."""
        about = read_json(self.sidecar)
        files = about.get("files")
        if self.overwrite or about.get("fingerprint") != fingerprint or not isinstance(files, dict):
            return None
        there = {name: digest_of(path) for name, path in self.places()}
        if not files or any(there.get(name) != own for name, own in files.items()):
            return None
        self._remember(set())
        return about

    def claim(self, folder: bool = False) -> None:
        """Refuse what is in the way and is not known to be ours.

        Args:
            folder: the output is a folder.

        Raises:
            InputError: naming a file or folder that no run of ours wrote, or that was changed since.
        """
        if self.path.exists() and self.path.is_dir() != folder:
            raise InputError(f"{self.named}: is a folder, not a file" if not folder else f"{self.named}: is a file")
        about = read_json(self.sidecar)
        files = about.get("files")
        known = self._ours | set(files.values() if isinstance(files, dict) else ())
        for _, path in self.places():
            own = path.exists() and digest_of(path)
            if own in known:
                self._ours.add(str(own))
            elif not self.overwrite or path.is_dir():
                choices = "delete it or name another output" + ("" if path.is_dir() else ", or overwrite it")
                raise InputError(f"{path}: already exists, and is not what a finished run left; {choices}")
        if os.path.lexists(self.sidecar) and not {"fingerprint", "versions"} & about.keys():
            raise InputError(
                f"{self.sidecar}: was not written by this program, and the output's description goes there; move it"
            )

    def commit(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """Put the files in `scratch` where they belong, and write the sidecar last; what it says.

        The sidecar goes before the first file changes; files of the output that were not written anew go, too.
        """
        made = {own.name: own for own in self.scratch.iterdir()}
        digests = {name: digest_of(path) for name, path in made.items()}
        self._remember({*self._ours, *digests.values()})
        self.sidecar.unlink(missing_ok=True)
        for name, old in list(self.places()):
            if name not in made:
                remove(old)
        for name, path in made.items():
            self._put(path, self.path if name == self.named.name else self.named.with_name(name))
        whole = {**about, "files": digests}
        write_text(self.sidecar, json.dumps(whole, indent=1, default=str) + "\n")
        self._remember(set())
        return whole

    def commit_folder(self, record: str, about: Mapping[str, Any]) -> dict[str, Any]:
        """Put the folder in `scratch` where it belongs, an empty or a new one; what its file `record` says.

        The record holds `about`, and under "files" the digest of every other file.
        """
        made = self.scratch / self.named.name
        (made / record).unlink(missing_ok=True)
        inside = sorted(own for own in made.rglob("*") if own.is_file())
        whole = {**about, "files": {own.relative_to(made).as_posix(): digest_of(own) for own in inside}}
        write_text(made / record, json.dumps(whole, indent=1, default=str) + "\n")
        self.put_folder()
        return whole

    def put_folder(self) -> None:
        """Put the folder in `scratch` where it belongs, an empty or a new one."""
        self._put(self.scratch / self.named.name, self.path)

    def _put(self, made: Path, final: Path) -> None:
        if made.parent.parent != final.parent:  # a companion of a link's target
            with replacing(final) as temporary:
                shutil.copyfile(made, temporary)
        elif made.is_dir():
            fsync(*made.rglob("*"), made)
            if final.exists() and any(final.iterdir()):
                os.rename(final, hidden(final, uuid.uuid4().hex))
            os.rename(made, final)
        else:
            fsync(made)
            os.replace(made, link_target(final))
        fsync(final.parent)

    def _remember(self, digests: set[str]) -> None:
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, "\n".join(sorted(digests)).encode(), 0)
        os.fsync(self._lock)


def check_output(path: str | os.PathLike[str], inputs: Paths, companions: Iterable[str] = ()) -> None:
    """Raise InputError where an output, its sidecar or another file of it, `companions`, would replace an input."""
    named = Path(path).expanduser().absolute()
    check_apart([named, sidecar(named), *(named.with_name(named.name + ending) for ending in companions)], inputs)


@contextlib.contextmanager
def held(
    path: str | os.PathLike[str],
    inputs: Paths = (),
    *,
    companions: Iterable[str] = (),
    overwrite: bool = False,
    leftovers: Iterable[str] = (),
) -> Iterator[Output]:
    """An output that this process only writes, from the leftovers of kills to its lock's end.

    Args:
        inputs: files and folders that are read. companions: what follows the output's name in further files of it.
        overwrite: replace what is there, be it ours or not; no folder, though, that is not ours.
        leftovers: patterns of what follows ".NAME." in names that killed runs leave.

    Raises:
        InputError: for an output that is an input, or that another process is writing.
    """
    named = Path(path).expanduser().absolute()
    final = link_target(named)
    check_output(named, inputs, companions)
    with locked(hidden(final, "lock"), path) as lock:
        sweep(final, *leftovers)
        sweep(sidecar(named))
        output = Output(named, companions, overwrite, lock)
        try:
            output.scratch.mkdir()
            yield output
        finally:
            try:
                _tidy(output)
            except BaseException:  # a signal that came in the middle of it
                _tidy(output)
                raise


def _tidy(output: Output) -> None:
    remove(output.scratch)
    sweep(output.path)


def made(
    path: str | os.PathLike[str],
    about: Mapping[str, Any],
    write: Callable[[Path], Mapping[str, Any]],
    inputs: Paths = (),
    *,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Make an output file, unless this very run made it before; what its sidecar says. See [`made_together`]."""
    return made_together({path: write}, about, inputs, overwrite=overwrite)


def made_together(
    writes: Mapping[Any, Callable[[Path], Mapping[str, Any]]],
    about: Mapping[str, Any],
    inputs: Paths = (),
    *,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Make the files of a run, unless this very run made them before; what the sidecar of the first says.

    Args:
        writes: path -> what writes the file under the name that it is given, and returns what else the sidecar says.
        about: what is run, by which it is known. inputs: files and folders that are read.
        overwrite: make the files anew, and replace what is there.

    Raises:
        InputError: for an output that is an input, in the way and not ours, or written by another process.
    """
    fingerprint, inputs = fingerprint_of(about), list(inputs)
    with contextlib.ExitStack() as stack:
        outputs = [stack.enter_context(held(path, inputs, overwrite=overwrite)) for path in writes]
        found = [output.finished(fingerprint) for output in outputs]
        if None in found:
            for output in outputs:
                output.claim()
            found = [
                output.commit({**about, "fingerprint": fingerprint, **write(output.scratch / output.named.name)})
                for output, write in zip(outputs, writes.values(), strict=True)
            ]
        return found[0] or {}


def write_report(path: str | os.PathLike[str], content: Mapping[str, Any], inputs: Paths = ()) -> None:
    """Write a JSON file that says itself what it is; one that has the same entries is replaced.

    Raises:
        InputError: for an input, another process's output, or a file of another kind in the way.
    """
    with held(path, inputs) as output:
        if os.path.lexists(output.path) and read_json(output.path).keys() != content.keys():
            raise InputError(f"{path}: already exists, and is not such a report; delete it or name another output")
        write_text(output.path, json.dumps(content, indent=1) + "\n")


def finished_folder(path: Path, record: str, fingerprint: str) -> dict[str, Any] | None:
    """What the file `record` of a folder says, if the run of this fingerprint wrote it and its files are as it left."""
    about = read_json(path / record)
    files = about.get("files")
    if about.get("fingerprint") != fingerprint or not isinstance(files, dict):
        return None
    whole = all((path / name).is_file() and digest_of(path / name) == own for name, own in files.items())
    return about if whole else None


def new_folder(path: Path) -> None:
    """Raise ValueError unless a folder of that name can be written."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path}: already exists; name a new or empty folder")


def made_folder(path: str | os.PathLike[str], write: Callable[[Path], object], inputs: Paths) -> None:
    """Make a folder, which appears when it is whole; that the same call made before is known by its bytes.

    Args:
        write: writes the folder under the name that it is given, always the same.

    Raises:
        InputError: for a folder that holds something else, is an input, or is being written by another process.
    """
    with held(path, inputs) as output:
        there = output.path.is_dir() and {own.name for own in output.path.iterdir()}
        if not there:
            new_folder(output.path)
        written = output.scratch / output.named.name
        write(written)
        if there and digest_of(written) != digest_of(output.path):
            new_folder(output.path)
        elif not there:
            output.put_folder()


def whole_folder(record: str, *inputs: str) -> Callable[[Callable[P, dict[str, Any]]], Callable[P, dict[str, Any]]]:
    """A decorator of a function that writes its first argument, a folder, and returns what the file `record` says.

    The folder appears when it is whole, and is not made again where the same call made it.

    Args:
        inputs: which arguments are files that are read, or lists of them.
    """

    def decorate(function: Callable[P, dict[str, Any]]) -> Callable[P, dict[str, Any]]:
        @functools.wraps(function)
        def write(*args: P.args, **options: P.kwargs) -> dict[str, Any]:
            bound = inspect.signature(function).bind(*args, **options)
            bound.apply_defaults()
            (_, output), *others = bound.arguments.items()
            read = [own for name, value in others if name in inputs for own in several(value)]
            fingerprint = fingerprint_of({name: [described(own) for own in several(value)] for name, value in others})
            with held(output, read) as target:
                if found := finished_folder(target.path, record, fingerprint):
                    return found
                new_folder(target.path)
                about = function(target.scratch / target.named.name, **dict(others))  # type: ignore[arg-type]
                return target.commit_folder(record, {**about, "fingerprint": fingerprint})

        return write

    return decorate


def several(value: Any) -> list[Any]:
    """A list as it is, and anything else as a list of it."""
    return list(value) if isinstance(value, list | tuple) else [value]


def described(value: Any) -> Any:
    """A file by its digest, any other value as it is."""
    path = isinstance(value, str | os.PathLike) and Path(value)
    return sha256(path.resolve()) if path and path.is_file() else value
