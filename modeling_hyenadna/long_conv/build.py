"""Compiled parts, built on first use: once for each version of the sources and of the compiler, into a cache folder
(HYENADNA_CACHE, by default ~/.cache/hyenadna). And tensors as they take them."""

import ctypes
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

CSRC = Path(__file__).parent / "csrc"


def cached(name: str, sources: Iterable[str], settings: Iterable[str], compile_into: Callable[[Path], None]) -> Path:
    """The shared library `name`, compiled unless this has been done for these sources and settings.

    Args:
        sources: files of csrc.
        settings: whatever else the result depends on: compiler version, flags.
        compile_into: writes the library to the path that it is given, in a folder of its own.

    Raises:
        RuntimeError: on a system that is not Unix, or from `compile_into`.
    """
    try:
        import fcntl
    except ImportError:
        raise RuntimeError("it is compiled on Unix systems only") from None
    digest = hashlib.sha256("\n".join(settings).encode())
    for source in sources:
        digest.update((CSRC / source).read_bytes())
    folder = Path(os.environ.get("HYENADNA_CACHE") or Path.home() / ".cache" / "hyenadna") / "long_conv"
    target = folder / f"{name}-{digest.hexdigest()[:16]}.so"
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with open(target.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # processes that start together compile once
        if not target.exists():
            print(f"compiling the long convolution ({name}) into {folder}, once", file=sys.stderr)
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                built = Path(scratch) / target.name
                compile_into(built)
                os.replace(built, target)
    return target


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
