"""The long convolution on a CPU in C++ (csrc/cpu_kernel.h): AVX-512, AVX2 or portable vectors, chosen at run time.

The sources are compiled on first use, once for each version of them and of the compiler, into a cache folder
(HYENADNA_CACHE, by default ~/.cache/hyenadna). Where there is no C++ compiler, `library()` is None.
"""

import ctypes
import os
import platform
import shutil
import subprocess
import warnings
from functools import cache
from pathlib import Path

import torch

from .build import CSRC, Strided, cached, strided
from .fft_plan import right_angle_length

SOURCES = ("fft.h", "scratch.h", "cpu_problem.h", "cpu_kernel.h", "cpu_build.cpp", "cpu_dispatch.cpp")
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
BEST_BUILD = 2


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
    ]


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, built on the first call; None, after one warning, where they cannot be had."""
    try:
        compiled = ctypes.CDLL(str(build()))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        warnings.warn(
            f"the C++ long convolution is not available ({error}); torch's FFTs are used instead, several times slower",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    compiled.hyena_build_name.restype = ctypes.c_char_p
    return compiled


def build() -> Path:
    """Compile the kernels unless this has been done; returns the shared library.

    Raises:
        RuntimeError: if there is no compiler, or it fails.
    """
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CXX") or "c++", "g++", "clang++"))), None)
    if compiler is None:
        raise RuntimeError("no C++ compiler found")
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    machine = platform.machine()
    settings = [version, machine, *COMMON_FLAGS, str(X86_BUILDS)]
    return cached("cpu", SOURCES, settings, lambda target: _compile(compiler, machine, target))


def _compile(compiler: str, machine: str, target: Path) -> None:
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
            )
            for name, arguments in commands.items()
        }
        errors = [process.communicate()[1] for process in running.values()]
        if all(process.returncode == 0 for process in running.values()):
            break
    else:
        raise RuntimeError(f"{compiler} failed: {next(filter(None, errors)).strip().splitlines()[0]}")
    objects = [f"{target.parent}/{name}.o" for name in commands]
    subprocess.run([compiler, "-shared", *openmp, "-o", str(target), *objects], check=True, capture_output=True)


def _loaded() -> ctypes.CDLL:
    compiled = library()
    assert compiled is not None, "callers ask library() first"
    return compiled


def _run(
    name: str, shape: tuple[int, int, int], transform_length: int, taps: int, **tensors: torch.Tensor | None
) -> None:
    compiled = _loaded()
    problem = _Problem(*shape, transform_length, torch.get_num_threads(), taps)
    for key in TENSORS:
        setattr(problem, key, strided(tensors.get(key)))
    for key in VECTORS:
        tensor = tensors.get(key)
        setattr(problem, key, None if tensor is None else tensor.data_ptr())
    if getattr(compiled, f"hyena_{name}")(BEST_BUILD, ctypes.byref(problem)) != 0:
        raise MemoryError(f"no memory for the scratch space of a long convolution of {shape[2]} positions")


def _single(tensor: torch.Tensor | None) -> torch.Tensor | None:
    return None if tensor is None else tensor.float()


def transform_kernel(k: torch.Tensor, length: int) -> torch.Tensor:
    """Spectrum of the first `length` taps of `k` (D, L'), in the kernels' own order: (groups, N, 2, lanes) floats."""
    compiled = _loaded()
    lanes, points = compiled.hyena_lanes(BEST_BUILD), right_angle_length(length)
    spectrum = torch.empty(-(-k.shape[0] // lanes), points, 2, lanes)
    _run("prepare", (1, k.shape[0], length), points, 0, k=k.float(), spectrum=spectrum)
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
    points = right_angle_length(v.shape[-1]) if spectrum is None else spectrum.shape[1]
    _run(
        "forward",
        (v.shape[0], v.shape[1], v.shape[2]),
        points,
        0,
        v=v.float(),
        k=k.float(),
        skip=skip.float().contiguous(),
        gate_in=_single(gate_in),
        gate_out=_single(gate_out),
        y=y,
        spectrum=spectrum,
    )
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
        f"d{name}": _kernel_gradient(k, v.shape[-1]) if name == "k" else torch.empty_like(tensor, dtype=torch.float32)
        for name, tensor in inputs.items()
        if tensor is not None
    }
    single = {name: _single(tensor) for name, tensor in inputs.items()}
    single["skip"] = skip.float().contiguous()
    _run(
        "backward",
        (v.shape[0], v.shape[1], v.shape[2]),
        right_angle_length(v.shape[-1]),
        0,
        dy=dy.float(),
        **single,
        **gradients,
    )
    cast = {name: None if tensor is None else gradients[f"d{name}"].to(tensor.dtype) for name, tensor in inputs.items()}
    return cast["v"], cast["k"], cast["skip"], cast["gate_in"], cast["gate_out"]  # type: ignore[return-value]


def _kernel_gradient(k: torch.Tensor, length: int) -> torch.Tensor:
    """To be filled, and zero at the lags that no input of `length` reaches."""
    dk = torch.empty_like(k, dtype=torch.float32)
    dk[:, length:] = 0
    return dk


def _mixer_inputs(
    projected: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    k: torch.Tensor,
    skip: torch.Tensor,
    mask: torch.Tensor | None,
) -> dict[str, torch.Tensor | None]:
    return {
        "projected": projected.float().transpose(1, 2),
        "short_weight": weight.float().contiguous(),
        "short_bias": bias.float().contiguous(),
        "k": k.float(),
        "skip": skip.float().contiguous(),
        "mask": None if mask is None else mask.float()[:, None],
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
    batch, length, channels = projected.shape[0], projected.shape[1], skip.shape[0]
    y = projected.new_empty(batch, length, channels, dtype=torch.float32)
    _run(
        "forward",
        (batch, channels, length),
        right_angle_length(length) if spectrum is None else spectrum.shape[1],
        weight.shape[1],
        **_mixer_inputs(projected, weight, bias, k, skip, mask),
        y=y.transpose(1, 2),
        spectrum=spectrum,
    )
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
    batch, length, channels = projected.shape[0], projected.shape[1], skip.shape[0]
    dprojected = torch.empty(projected.shape)  # first of the short convolution's outputs, then of its inputs
    dweight, dbias, dskip = torch.empty(weight.shape), torch.empty(bias.shape), torch.empty(skip.shape)
    dk = _kernel_gradient(k, length)
    _run(
        "backward",
        (batch, channels, length),
        right_angle_length(length),
        weight.shape[1],
        dy=dy.float().transpose(1, 2),
        **_mixer_inputs(projected, weight, bias, k, skip, mask),
        dprojected=dprojected.transpose(1, 2),
        dshort_weight=dweight,
        dshort_bias=dbias,
        dk=dk,
        dskip=dskip,
    )
    return (
        dprojected.to(projected.dtype),
        dweight.to(weight.dtype),
        dbias.to(bias.dtype),
        dk.to(k.dtype),
        dskip.to(skip.dtype),
    )
