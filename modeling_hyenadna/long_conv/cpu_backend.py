"""The long convolution on a CPU in C++ (csrc/cpu_kernel.h): AVX-512, AVX2 or portable vectors, the best of those that
this processor has, or the one that HYENADNA_CPU names.

A wheel for one kind of machine has the library in it. Elsewhere the sources are compiled on first use, once for each
version of them and of the compiler, into a cache folder (HYENADNA_CACHE, by default ~/.cache/hyenadna). Where there is
no C++ compiler either, `library()` is None.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from .build import CSRC, Strided, cached, compiler_version, first_line, loaded, run_compiler, strided
from .fft_plan import right_angle_length

SOURCES = ("fft.h", "scratch.h", "cpu_problem.h", "cpu_kernel.h", "gelu.h", "cpu_build.cpp", "cpu_dispatch.cpp")
LIBRARIES = ("-lstdc++",) if sys.platform == "linux" else ()  # CXX may name gcc, which does not link it by itself
COMMON_FLAGS = ("-O3", "-std=c++17", "-fPIC", "-fno-math-errno", "-ffp-contract=fast")
X86_BUILDS = {
    "portable": ("-DHYENA_LANES=4",),
    "avx2": ("-DHYENA_LANES=8", "-mavx2", "-mfma"),
    "avx512": ("-DHYENA_LANES=16", "-mavx512f", "-mavx512dq", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"),
}
TENSORS = (
    *("v", "gate_in", "gate_out", "k", "y", "dy", "dv", "dgate_in", "dgate_out", "dk"),
    *("projected", "mask", "dprojected"),
)
VECTORS = ("skip", "dskip", "spectrum", "short_weight", "short_bias", "dshort_weight", "dshort_bias")
MOST_TAPS = 8
KEPT = ("before", "kept_input", "kept_convolved")  # of rows that others differ from
BUILDS = ("portable", "avx2", "avx512")  # by level, as the library counts them
# Of the library's `hyena_gelu`: level, dy, x, to, elements, threads
GELU_ARGUMENTS: tuple[Any, ...] = (ctypes.c_int, *[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_int)


class _Problem(ctypes.Structure):
    """`hyena::Problem` of csrc/cpu_problem.h."""

    _fields_ = [
        ("batch", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("length", ctypes.c_int64),
        ("transform_length", ctypes.c_int64),
        ("threads", ctypes.c_int32),
        ("taps", ctypes.c_int32),
        *((name, Strided) for name in TENSORS),
        *((name, ctypes.c_void_p) for name in VECTORS),
        ("start", ctypes.c_int64),
        ("reference", ctypes.c_void_p),
        *((name, Strided) for name in KEPT),
    ]


@cache
def library() -> Any:
    """The compiled kernels, built on the first call; None, after one warning, where they cannot be had.

    Raises:
        RuntimeError: in place of the warning where HYENADNA_CPU names a build.
        ValueError: if it names none.
    """
    named = _named_build()
    try:
        compiled = from_wheel() or loaded(build)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        if named:
            raise RuntimeError(f"HYENADNA_CPU={named} cannot be run: {error}") from error
        warnings.warn(
            f"the C++ long convolution is not available ({error}); torch's FFTs are used instead, several times slower",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    compiled.hyena_build_name.restype = ctypes.c_char_p
    compiled.hyena_gelu.argtypes = GELU_ARGUMENTS
    return compiled


def _named_build() -> str:
    """The build that HYENADNA_CPU names; empty for the best one. ValueError for an unknown one."""
    named = os.environ.get("HYENADNA_CPU", "")
    if named and named not in BUILDS:
        raise ValueError(f"HYENADNA_CPU={named} is not a build of the long convolution; there are {', '.join(BUILDS)}")
    return named


def build_level() -> int:
    """The level of the library's build in use: what HYENADNA_CPU names, or the best that this processor can run.

    Raises:
        ValueError: if HYENADNA_CPU names no build, or one that this processor cannot run.
    """
    named = _named_build()
    if not named:
        return len(BUILDS) - 1
    level = BUILDS.index(named)
    if (best := library().hyena_build_name(level).decode()) != named:
        raise ValueError(f"HYENADNA_CPU={named} cannot be run by this processor; {best} can")
    return level


def build_name() -> str | None:
    """Which build runs here, of [`BUILDS`]; None where the library cannot be had."""
    compiled = library()
    return None if compiled is None else compiled.hyena_build_name(build_level()).decode()


def from_wheel() -> ctypes.CDLL | None:
    """The library that the wheel has; None where there is none of these sources, or this system cannot load it."""
    path = in_wheel(platform.machine())
    try:
        return ctypes.CDLL(str(path)) if path.is_file() else None
    except OSError:
        return None


def in_wheel(machine: str) -> Path:
    """Where a wheel for `machine` has the library of these very sources."""
    digest = hashlib.sha256(repr((COMMON_FLAGS, X86_BUILDS)).encode())
    for source in SOURCES:
        digest.update((CSRC / source).read_bytes())
    return CSRC.parent / "lib" / f"cpu-{machine}-{digest.hexdigest()[:16]}.so"


def build() -> Path:
    """Compile the kernels unless this has been done; returns the shared library.

    Raises:
        RuntimeError: if there is no compiler, or it fails.
    """
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CXX") or "c++", "g++", "clang++"))), None)
    if compiler is None:
        raise RuntimeError("no C++ compiler found")
    version = compiler_version(compiler)
    machine = platform.machine()
    settings = [version, machine, *COMMON_FLAGS, *LIBRARIES, str(X86_BUILDS)]
    return cached("cpu", SOURCES, settings, lambda target: compile_library(compiler, machine, target))


def compile_library(compiler: str, machine: str, target: Path) -> None:
    """Compile the kernels for `machine` into the shared library `target`, object files beside it.

    Raises:
        RuntimeError: with the first line of what the compiler says, if it fails.
    """
    builds = X86_BUILDS if machine in ("x86_64", "AMD64") else {"portable": X86_BUILDS["portable"]}
    for openmp in (("-fopenmp",), ()):
        commands = {
            name: [*flags, f"-DHYENA_ARCH={name}", str(CSRC / "cpu_build.cpp")] for name, flags in builds.items()
        }
        commands["dispatch"] = [str(CSRC / "cpu_dispatch.cpp")]
        running = {
            name: subprocess.Popen(
                [compiler, *COMMON_FLAGS, *openmp, *arguments, "-c", "-o", f"{target.parent}/{name}.o"],
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
            for name, arguments in commands.items()
        }
        errors = [process.communicate()[1] for process in running.values()]
        if all(process.returncode == 0 for process in running.values()):
            break
    else:
        raise RuntimeError(f"{compiler} failed: {first_line(*errors)}")
    objects = [f"{target.parent}/{name}.o" for name in commands]
    run_compiler([compiler, "-shared", *openmp, "-o", str(target), *objects, *LIBRARIES])


def _run(name: str, shape: Sequence[int], **tensors: torch.Tensor | None) -> None:
    """Call the library. `shape` is (B, D, L), `tensors` are the problem's, read and written in float32."""
    _run_from(name, shape, 0, None, tensors)


def _run_from(
    name: str,
    shape: Sequence[int],
    start: int,
    reference: torch.Tensor | None,
    tensors: Mapping[str, torch.Tensor | None],
) -> None:
    """[`_run`] of rows that others differ from at `start`, or of these, (B,) int64 being which each differs from."""
    given = {
        key: tensor.float().contiguous() if key in VECTORS else tensor.float()
        for key, tensor in tensors.items()
        if tensor is not None
    }
    if "spectrum" in given and given["spectrum"].shape[3] != library().hyena_lanes(build_level()):
        raise ValueError("the kernel was prepared by another build of the long convolution; HYENADNA_CPU has changed")
    points = given["spectrum"].shape[1] if "spectrum" in given else right_angle_length(shape[2])
    taps = given["short_weight"].shape[1] if "short_weight" in given else 0
    problem = _Problem(*shape, points, torch.get_num_threads(), taps)
    for key, tensor in given.items():
        setattr(problem, key, tensor.data_ptr() if key in VECTORS else strided(tensor))
    problem.start, problem.reference = start, None if reference is None else reference.data_ptr()
    if getattr(library(), f"hyena_{name}")(build_level(), ctypes.byref(problem)) != 0:
        raise MemoryError(f"no memory for the scratch space of a long convolution of {shape[2]} positions")


def gelu(x: torch.Tensor) -> torch.Tensor:
    """GELU by its tanh approximation of float32 numbers, of any shape."""
    return _gelu(None, x.contiguous())


def gelu_backward(dy: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The gradient of [`gelu`]'s input from that of its output."""
    return _gelu(dy.contiguous(), x.contiguous())


def _gelu(dy: torch.Tensor | None, x: torch.Tensor) -> torch.Tensor:
    y, given = torch.empty_like(x), None if dy is None else dy.data_ptr()
    library().hyena_gelu(build_level(), given, x.data_ptr(), y.data_ptr(), x.numel(), torch.get_num_threads())
    return y


def transform_kernel(k: torch.Tensor, length: int) -> torch.Tensor:
    """Spectrum of the first `length` taps of `k` (D, L'), in the kernels' own order: (groups, N, 2, lanes) floats."""
    lanes, points = library().hyena_lanes(build_level()), right_angle_length(length)
    spectrum = torch.empty(-(-k.shape[0] // lanes), points, 2, lanes, dtype=torch.float32)
    _run("prepare", (1, k.shape[0], length), k=k, spectrum=spectrum)
    return spectrum


def forward(
    v: torch.Tensor,
    k: torch.Tensor,
    skip: torch.Tensor,
    gate_in: torch.Tensor | None,
    gate_out: torch.Tensor | None,
    spectrum: torch.Tensor | None = None,
) -> torch.Tensor:
    """The gated convolution. `spectrum` (of [`transform_kernel`]) saves transforming `k`, which stays needed."""
    y = torch.empty_like(v, dtype=torch.float32)
    _run("forward", v.shape, v=v, k=k, skip=skip, gate_in=gate_in, gate_out=gate_out, y=y, spectrum=spectrum)
    return y.to(v.dtype)


def backward(
    dy: torch.Tensor,
    v: torch.Tensor,
    k: torch.Tensor,
    skip: torch.Tensor,
    gate_in: torch.Tensor | None,
    gate_out: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Gradients (v, k, skip, gate_in, gate_out), everything recomputed from the inputs."""
    inputs = {"v": v, "k": k, "skip": skip, "gate_in": gate_in, "gate_out": gate_out}
    gradients = {
        f"d{name}": torch.empty_like(tensor, dtype=torch.float32)
        for name, tensor in inputs.items()
        if tensor is not None
    }
    gradients["dk"][:, v.shape[-1] :] = 0  # at the lags that no input reaches
    _run("backward", v.shape, dy=dy, **inputs, **gradients)
    cast = {name: None if tensor is None else gradients[f"d{name}"].to(tensor.dtype) for name, tensor in inputs.items()}
    return cast["v"], cast["k"], cast["skip"], cast["gate_in"], cast["gate_out"]  # type: ignore[return-value]


def _mixer_inputs(
    projected: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    k: torch.Tensor,
    skip: torch.Tensor,
    mask: torch.Tensor | None,
) -> dict[str, torch.Tensor | None]:
    return {
        "projected": projected.float().mT,
        "short_weight": weight,
        "short_bias": bias,
        "k": k,
        "skip": skip,
        "mask": None if mask is None else mask[:, None],
    }


def mixer_forward(
    projected: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    k: torch.Tensor,
    skip: torch.Tensor,
    mask: torch.Tensor | None,
    spectrum: torch.Tensor | None = None,
) -> torch.Tensor:
    """The whole mixer between its projections; shapes of [`hyena_mixer`], `spectrum` as of [`forward`]."""
    y = projected.new_empty(*projected.shape[:2], skip.shape[0], dtype=torch.float32)
    inputs = _mixer_inputs(projected, weight, bias, k, skip, mask)
    _run("forward", y.mT.shape, **inputs, y=y.mT, spectrum=spectrum)
    return y.to(projected.dtype)


def reference_mixer(
    projected: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    k: torch.Tensor,
    skip: torch.Tensor,
    mask: torch.Tensor | None,
    start: int,
    spectrum: torch.Tensor | None,
    out: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """[`mixer_forward`], and from position `start` on its gated input and that convolved, (B, L - start, D).

    Args:
        out: float32, where to write the first.
    """
    batch, length, channels = projected.shape[0], projected.shape[1], skip.shape[0]
    y = projected.new_empty(batch, length, channels, dtype=torch.float32) if out is None else out
    kept = [projected.new_empty(batch, length - start, channels, dtype=torch.float32) for _ in range(2)]
    tensors = _mixer_inputs(projected, weight, bias, k, skip, mask) | {"y": y.mT, "spectrum": spectrum}
    tensors |= {"kept_input": kept[0].mT, "kept_convolved": kept[1].mT}
    _run_from("lockstep", y.mT.shape, start, None, tensors)
    return y.to(projected.dtype), kept[0], kept[1]


def difference_mixer(
    projected: torch.Tensor,
    before: torch.Tensor,
    kept_input: torch.Tensor,
    kept_convolved: torch.Tensor,
    reference: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    k: torch.Tensor,
    skip: torch.Tensor,
    mask: torch.Tensor | None,
    spectrum: torch.Tensor | None,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """The mixer of rows (A, n, 3 D) that differ from others of [`reference_mixer`] in their last n positions only.

    Args:
        before: (B, taps - 1, 3 D), `projected` of the others before these positions. reference: (A,) int64, of which.
        out: float32, where to write what is returned.
    """
    y = projected.new_empty(*projected.shape[:2], skip.shape[0], dtype=torch.float32) if out is None else out
    tensors = _mixer_inputs(projected, weight, bias, k, skip, mask) | {"y": y.mT, "spectrum": spectrum}
    tensors |= {"before": before.mT, "kept_input": kept_input.mT, "kept_convolved": kept_convolved.mT}
    _run_from("lockstep", y.mT.shape, 0, reference.contiguous(), tensors)
    return y.to(projected.dtype)


def mixer_backward(
    dy: torch.Tensor,
    projected: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    k: torch.Tensor,
    skip: torch.Tensor,
    mask: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients (projected, weight, bias, k, skip), everything recomputed from the inputs."""
    inputs = (projected, weight, bias, k, skip)
    dprojected, dk = (torch.empty_like(tensor, dtype=torch.float32) for tensor in (projected, k))
    dweight, dbias, dskip = (torch.empty(tensor.shape, dtype=torch.float32) for tensor in (weight, bias, skip))
    gradients = (dprojected, dweight, dbias, dk, dskip)  # the first is that of the short convolution's outputs at first
    dk[:, projected.shape[1] :] = 0  # at the lags that no input reaches
    _run(
        "backward",
        dy.mT.shape,
        dy=dy.float().mT,
        **_mixer_inputs(projected, weight, bias, k, skip, mask),
        dprojected=dprojected.mT,
        dshort_weight=dweight,
        dshort_bias=dbias,
        dk=dk,
        dskip=dskip,
    )
    return tuple(found.to(tensor.dtype) for found, tensor in zip(gradients, inputs, strict=True))  # type: ignore[return-value]
