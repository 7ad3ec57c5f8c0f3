"""Compiled parts, built on first use: once for each version of the sources and of the compiler, into a cache folder
(HYENADNA_CACHE, by default ~/.cache/hyenadna) in which nobody else can write. And tensors as they take them."""

import atexit
import ctypes
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import torch

CSRC = Path(__file__).parent / "csrc"


def cached(name: str, sources: Iterable[str], settings: Iterable[str], compile_into: Callable[[Path], None]) -> Path:
    """The shared library `name`, compiled unless this has been done for these sources and settings.

    Its digest lies beside it: a library that is damaged, or is not what was compiled, is compiled again. Where the
    cache cannot be written, or others can write there, a folder of this process takes its place, after one warning.

    Args:
        sources: files of csrc.
        settings: whatever else the result depends on: compiler version, flags.
        compile_into: writes the library to the path that it is given, in a folder of its own.

    Raises:
        RuntimeError: on a system that is not Unix, or if the compiler fails or writes nothing.
    """
    if os.name != "posix":
        raise RuntimeError("it is compiled on Unix systems only")
    digest = hashlib.sha256("\n".join(settings).encode())
    for source in sources:
        digest.update((CSRC / source).read_bytes())
    file = f"{name}-{digest.hexdigest()[:16]}.so"
    wanted = Path(os.environ.get("HYENADNA_CACHE") or Path.home() / ".cache" / "hyenadna") / "long_conv"
    try:
        return _compiled(name, own_folder(wanted) / file, compile_into)
    except OSError as error:
        reason = error.strerror or error
    private = _private_folder()
    if not (private / file).exists():
        warnings.warn(
            f"{wanted} is not used as a cache ({reason}); the long convolution is compiled for this process only",
            RuntimeWarning,
            stacklevel=2,
        )
    return _compiled(name, private / file, compile_into)


def compiler_version(compiler: str) -> str:
    """What a compiler says of itself.

    Raises:
        RuntimeError: if it cannot be run, or says nothing.
    """
    if not (version := run_compiler([compiler, "--version"])).strip():
        raise RuntimeError(f"{compiler} does not name its version")
    return version


def run_compiler(command: list[str]) -> str:
    """Run a command of a compiler; its output.

    Raises:
        RuntimeError: with the first line of what it says, if it fails.
    """
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {first_line(done.stderr, done.stdout)}")
    return done.stdout


def first_line(*texts: str) -> str:
    """The first line of the first text that has one."""
    return next((text.strip().splitlines()[0] for text in texts if text.strip()), "it does not say why")


def loaded(build: Callable[[], Path]) -> ctypes.CDLL:
    """The library that `build` gives, built once more if it cannot be loaded.

    Raises:
        OSError: if it still cannot. RuntimeError: from `build`.
    """
    path = build()
    try:
        return ctypes.CDLL(str(path))
    except OSError:
        path.unlink(missing_ok=True)
    return ctypes.CDLL(str(build()))


def own_folder(folder: Path) -> Path:
    """`folder`, made if need be, where nobody else can put a library; emptied if others could until now.

    Raises:
        OSError: saying why, if it cannot be made, is another user's, or lies where others can replace it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    parent = folder.parent.resolve()
    for above in (parent, *parent.parents):
        mode = above.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise PermissionError(f"everybody can write to {above}")
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError("it is not a folder")
    if not _trusted(status):
        raise PermissionError("it belongs to another user")
    if status.st_uid == os.geteuid():
        folder.chmod(0o700)
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            for path in folder.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
    elif status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError("others can write to it")
    return folder


def _trusted(status: os.stat_result) -> bool:
    """Whether a file is the user's own, or the administrator's, as in a container's image."""
    return status.st_uid in (0, os.geteuid())


@cache
def _private_folder() -> Path:
    """A folder of this process, which goes with it."""
    folder = tempfile.mkdtemp(prefix="hyenadna-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _compiled(name: str, target: Path, compile_into: Callable[[Path], None]) -> Path:
    """The library `target`, compiled unless it is there whole."""
    import fcntl

    if _as_compiled(target):
        return target
    lock = target.with_suffix(".lock")
    if lock.is_symlink():
        lock.unlink()
    with open(os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # processes that start together compile once
        if not _as_compiled(target):
            print(f"compiling the long convolution ({name}) into {target.parent}, once", file=sys.stderr)
            with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                built, digest = Path(scratch) / target.name, Path(scratch) / "digest"
                try:
                    compile_into(built)
                except (OSError, subprocess.SubprocessError) as error:
                    raise RuntimeError(f"the compiler failed: {error}") from error
                if not built.is_file() or not built.stat().st_size:
                    raise RuntimeError("the compiler ended without an error, but wrote no library")
                digest.write_text(hashlib.sha256(built.read_bytes()).hexdigest())
                os.replace(built, target)
                os.replace(digest, _digest_file(target))
    return target


def _digest_file(target: Path) -> Path:
    return target.with_suffix(".sha256")


def _as_compiled(target: Path) -> bool:
    """Whether a library is the file whose digest was kept when it was compiled."""
    library, kept = _own_bytes(target), _own_bytes(_digest_file(target))
    return bool(library) and kept == hashlib.sha256(library).hexdigest().encode()


def _own_bytes(path: Path) -> bytes:
    """Contents of a plain file of the user's; nothing of a link, or of what is not there."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            return file.read() if stat.S_ISREG(status.st_mode) and _trusted(status) else b""
    except OSError:
        return b""


class Strided(ctypes.Structure):
    """A tensor as the compiled parts take it: (B, D, L), or (D, L) with a batch stride of 0; null for none."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("batch_stride", ctypes.c_int64),
        ("channel_stride", ctypes.c_int64),
        ("stride", ctypes.c_int64),
    ]


def strided(tensor: torch.Tensor) -> Strided:
    """`tensor` as a compiled part takes it."""
    strides = tensor.stride()
    return Strided(tensor.data_ptr(), *((0, *strides) if tensor.ndim == 2 else strides))
