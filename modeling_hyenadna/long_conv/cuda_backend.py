"""The long convolution on NVIDIA GPUs (csrc/cuda.cu, gpu_kernel.h).

The library is compiled by nvcc on first use into the cache, or else asked of the Kernel Hub through `kernels`. It knows
nothing of torch: it gets pointers, strides and torch's current stream, and all its memory comes from torch's allocator,
so it works on any stream and in CUDA graphs.
"""

import ctypes
import math
import shutil
import subprocess
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch

from . import torch_backend
from .build import CSRC, Strided, cached, compiler_version, loaded, run_compiler, strided
from .fft_plan import ODD_FACTORS

SOURCES = ("fft.h", "gpu_problem.h", "gpu_block.h", "gpu_kernel.h", "gpu_schedule.h", "cuda.cu")
FLAGS = ("-O3", "-std=c++17", "-cudart", "static", "-Xcompiler", "-fPIC", "-shared", "--threads", "0")
ARCHITECTURES = ("80", "90", "100", "120")
KERNEL_REPOSITORY, KERNEL_VERSION = "hyenadna-dart/long-conv", 1  # hub_kernels/long-conv, its build.toml

DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
TENSORS = ("v", "gate_in", "gate_out", "y", "dy", "dv", "dgate_in", "dgate_out", "k", "dk", "projected", "mask")
VECTORS = ("short_weight", "short_bias", "skip")
MOST_LANES = 8  # channels that a block transforms side by side, and those of a prepared kernel's group
MOST_COLUMNS = 1024
WARP = 32
LEAST_LANES = 4  # with fewer, a block reads too little of each sector of memory to do all of a transform
MOST_THREADS, BLOCKS = 256, 2  # of a block; blocks of all of a transform that a processor has registers for (cuda.cu)
COLUMN_POINTS = 2048  # that a block transforms at least, where columns are short: adjacent ones side by side
TAPS = 3  # of the short convolution that the kernels can take in
REGIONS = 300  # of a GPU's memory, that one region of scratch memory takes, or a group of channels if that is more


class _Plan(ctypes.Structure):
    _fields_ = [
        ("columns", ctypes.c_int32),
        ("rows", ctypes.c_int32),
        ("column_radices", ctypes.c_uint64),
        ("row_radices", ctypes.c_uint64),
        *((name, ctypes.c_void_p) for name in ("column_roots", "row_roots", "turns", "twists")),
    ]


class _Problem(ctypes.Structure):
    """`hyena::gpu::Problem` of csrc/gpu_problem.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "channels", "length")),
        *(
            (name, ctypes.c_int32)
            for name in ("device", "dtype", "lanes", "column_lanes", "column_threads", "row_threads")
        ),
        ("shared_limit", ctypes.c_int32),
        ("tiles", ctypes.c_int64),
        *((name, ctypes.c_int32) for name in ("slices", "taps")),
        *((name, Strided) for name in TENSORS),
        *((name, ctypes.c_void_p) for name in (*VECTORS, "spectrum", "scratch")),
        ("plan", _Plan),
        ("stream", ctypes.c_void_p),
    ]


@cache
def library() -> Any:
    """The kernels; None, after one warning, where there is a GPU but they cannot be had.

    `hyena_gpu_prepare`, `hyena_gpu_forward` and `hyena_gpu_backward` take the address of a problem and return 0 or the
    number of an error, which `hyena_gpu_error` puts into words.
    """
    if not torch.cuda.is_available() or torch.version.hip:
        return None
    reasons = []
    for attempt in (_compiled, _from_kernel_hub):
        try:
            return attempt()
        except (OSError, RuntimeError, subprocess.SubprocessError, ImportError) as error:
            reasons.append(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__)
    warnings.warn(
        f"the CUDA long convolution is not available ({'; '.join(reasons)}); torch's FFTs are used instead, "
        "several times slower",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def _compiled() -> Any:
    """For the GPU at hand: all architectures would take four times as long."""
    major, minor = torch.cuda.get_device_capability()
    return typed(loaded(lambda: build((f"{major}{minor}",))))


def _from_kernel_hub() -> Any:
    """Through `kernels`, by its own rules of whom to trust; its LOCAL_KERNELS can name a folder instead.

    Raises:
        RuntimeError: with the reason: no network, no such repository, no build for this torch, no trust.
    """
    from kernels import get_kernel

    try:
        return get_kernel(KERNEL_REPOSITORY, version=KERNEL_VERSION)
    except Exception as error:
        raise RuntimeError(f"Kernel Hub: {error}") from error


def typed(compiled: ctypes.CDLL) -> Any:
    """A compiled library with the types of its functions."""
    for name in ("prepare", "forward", "backward"):
        getattr(compiled, f"hyena_gpu_{name}").argtypes = [ctypes.c_void_p]
    compiled.hyena_gpu_error.restype = ctypes.c_char_p
    return compiled


def build(architectures: tuple[str, ...] = ARCHITECTURES) -> Path:
    """Compile the kernels for `architectures`, and as PTX for later ones, unless this has been done.

    Raises:
        RuntimeError: if there is no nvcc, or it fails.
    """
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        raise RuntimeError("no nvcc found")
    version = compiler_version(nvcc)
    targets = [f"-gencode=arch=compute_{number},code=sm_{number}" for number in architectures]
    targets.append(f"-gencode=arch=compute_{architectures[-1]},code=compute_{architectures[-1]}")
    command = [nvcc, *FLAGS, *targets]
    return cached("cuda", SOURCES, [version, *command[1:]], lambda target: _compile(command, target))


def _compile(command: list[str], target: Path) -> None:
    run_compiler([*command, "-o", str(target), str(CSRC / "cuda.cu")])


def twos_in(points: int) -> int:
    """How often 2 divides a number."""
    return (points & -points).bit_length() - 1


def radices(points: int) -> list[int]:
    """Radices of the passes of a transform: the odd one, then powers of two up to 16, of sizes as equal as can be."""
    twos = twos_in(points)
    odd, passes = points >> twos, -(-twos // 4)
    found = [1 << (twos // passes + (index < twos % passes)) for index in range(passes)]
    return [odd, *found] if odd > 1 else found


@lru_cache(maxsize=1024)
def padded_length(length: int) -> int:
    """The smallest ``c * 2**a >= length``: a GPU has no use for a tail of outputs computed by their definition."""
    return min(odd << (-(-length // odd) - 1).bit_length() for odd in ODD_FACTORS)


def shared_bytes(points: int, lanes: int) -> int:
    """Shared memory of `points` of `lanes` transforms (`shared_bytes` of csrc/gpu_block.h)."""
    return 8 * lanes * (points + points // 16 + 1)


@lru_cache(maxsize=1024)
def column_count(points: int, shared_limit: int) -> int:
    """Columns of the two-level transform of `points`; 1 where two blocks of a few channels fit into shared memory."""
    if shared_bytes(points, LEAST_LANES) <= shared_limit // 2:
        return 1
    most = twos_in(points) - twos_in(MOST_LANES)
    columns = 1 << max(0, min(round(math.log2(points) / 2), most))
    return min(columns, MOST_COLUMNS)


def _turns(numerators: torch.Tensor, denominator: int) -> torch.Tensor:
    """e^{2 pi i numerator / denominator}, (n, 2) float32, computed in float64."""
    angle = 2 * math.pi * numerators.double() / denominator
    return torch.stack([angle.cos(), angle.sin()], dim=-1).float()


def _order(radix_list: list[int], points: int, device: torch.device) -> torch.Tensor:
    """The frequency of each output of a transform by decimation in frequency, (points,) int64."""
    rest, stride, weight = torch.arange(points, device=device), points, 1
    frequency = torch.zeros_like(rest)
    for radix in radix_list:
        stride //= radix
        frequency += rest // stride * weight
        rest, weight = rest % stride, weight * radix
    return frequency


@lru_cache(maxsize=32)
def tables(points: int, columns: int, device: torch.device) -> tuple[_Plan, tuple[torch.Tensor, ...]]:
    """The plan of transforms of `points` in `columns`, and the tables of roots of unity on `device` it points to."""
    rows = points // columns
    column_radices, row_radices = radices(columns), radices(rows)
    each_row, each_column = torch.arange(rows, device=device), torch.arange(columns, device=device)
    tensors = (
        _turns(-each_column, columns),
        _turns(-each_row, rows),
        _turns(-(each_row[:, None] * _order(column_radices, columns, device)), points),
        _turns(each_column * rows + each_row[:, None] if columns > 1 else each_row, 4 * points),
    )
    packed = [sum(radix << (8 * i) for i, radix in enumerate(r)) for r in (column_radices, row_radices)]
    return _Plan(columns, rows, *packed, *(tensor.data_ptr() for tensor in tensors)), tensors


@dataclass(frozen=True)
class Device:
    """What decides how the work is cut: bytes of shared memory that a block may have, processors, bytes of memory."""

    shared_limit: int
    processors: int
    memory: int


@cache
def properties(device: torch.device) -> Device:
    """Limits of a GPU, asked for once."""
    found = torch.cuda.get_device_properties(device)
    shared = getattr(found, "shared_memory_per_block_optin", 48 << 10)  # older versions of torch do not report it
    return Device(shared, found.multi_processor_count, found.total_memory)


def fits(length: int, device: torch.device) -> bool:
    """Whether the kernels can do this length on this device: some GPUs have less shared memory than others."""
    limit = properties(device).shared_limit
    points = padded_length(length)
    columns = column_count(points, limit)
    rows = points // columns
    if columns == 1:
        return shared_bytes(points, 1) <= limit
    return rows % MOST_LANES == 0 and shared_bytes(max(rows, columns), MOST_LANES) <= limit


def lanes_of(points: int, columns: int, channel_last: bool, independent: int, device: Device) -> int:
    """Channels that a block transforms side by side: adjacent in memory, they are read in whole sectors of it.

    Args:
        independent: how many channels, of all sequences together, can be worked on at the same time.
    """
    lanes = MOST_LANES if channel_last else 1
    if columns > 1:
        return lanes
    # Two blocks on a processor hide each other's waiting, and no processor should be idle.
    most_bytes, most_lanes = device.shared_limit // 2, independent // device.processors
    while lanes > 1 and (shared_bytes(points, lanes) > most_bytes or lanes > most_lanes):
        lanes //= 2
    return lanes


def column_lanes_of(columns: int, rows: int, lanes: int, shared_limit: int) -> int:
    """Adjacent columns of each channel that a block transforms side by side."""
    adjacent = MOST_LANES // lanes
    most = min(WARP, COLUMN_POINTS // columns) // lanes
    while 2 * adjacent <= most and rows % (2 * adjacent) == 0:
        if shared_bytes(columns, 2 * adjacent * lanes) > shared_limit // 2:
            break
        adjacent *= 2
    return adjacent


def threads_of(points: int, butterflies: int) -> int:
    """Threads of a block that transforms so many points, each with so many butterflies of radix 16."""
    return min(MOST_THREADS, max(2 * WARP, -(-points // (16 * butterflies * WARP)) * WARP))


def _run(
    name: str,
    shape: Sequence[int],
    *,
    regions: int,
    spectrum: torch.Tensor | None = None,
    **tensors: torch.Tensor,
) -> None:
    """Call the library. `tensors` are the problem's by their names, (B, D, L) or (D, L'), and its vectors."""
    batch, channels, length = shape
    points = padded_length(length) if spectrum is None else spectrum.shape[1]
    device = tensors["k"].device
    limits = properties(device)
    columns = column_count(points, limits.shared_limit)
    rows = points // columns
    made = tables(points, columns, device)  # kept until the launch
    preparing = name == "prepare"
    if preparing and columns > 1:
        lanes = MOST_LANES
    else:
        given = _first(tensors)
        lanes = lanes_of(points, columns, given.stride(-2) < given.stride(-1), batch * channels, limits)
    column_lanes = column_lanes_of(columns, rows, lanes, limits.shared_limit)
    all_tiles = -(-channels // lanes)
    most_tiles = max(1, limits.memory // REGIONS // (8 * points * lanes))
    tiles = all_tiles if preparing else min(all_tiles, most_tiles)
    slices = 1
    if name == "backward" and columns == 1:  # as many as keep all processors busy
        slices = max(1, min(batch, most_tiles // tiles, -(-BLOCKS * limits.processors // tiles)))
    if spectrum is not None and preparing:
        scratch = spectrum
    else:
        scratch = torch.empty(regions, tiles * slices, points, lanes, 2, device=device)
    problem = _Problem(
        batch=batch,
        channels=channels,
        length=length,
        device=device.index or 0,
        dtype=DTYPES[_first(tensors).dtype],
        lanes=lanes,
        column_lanes=column_lanes,
        column_threads=threads_of(columns * lanes * column_lanes, butterflies=1),
        row_threads=threads_of(rows * lanes, butterflies=2),
        shared_limit=limits.shared_limit,
        tiles=tiles * slices,
        slices=slices,
        taps=tensors["short_weight"].shape[1] if "short_weight" in tensors else 0,
        scratch=scratch.data_ptr(),
        plan=made[0],
        stream=torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else None,
    )
    if spectrum is not None and not (preparing and columns > 1):
        problem.spectrum = spectrum.data_ptr()
    for key, tensor in tensors.items():
        setattr(problem, key, tensor.data_ptr() if key in VECTORS else strided(tensor))
    error = getattr(library(), f"hyena_gpu_{name}")(ctypes.addressof(problem))
    if error:
        raise RuntimeError(f"the CUDA long convolution failed: {library().hyena_gpu_error(error).decode()}")


def _first(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The tensor whose layout and precision are those of the work."""
    return next(tensors[name] for name in ("v", "projected", "k") if name in tensors)


def _same_dtype(**tensors: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """The tensors that there are, in one dtype that the kernels read: their own, or float32."""
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    dtypes = {tensor.dtype for tensor in given.values()}
    if len(dtypes) == 1 and dtypes <= DTYPES.keys():
        return given
    return {name: tensor.float() for name, tensor in given.items()}


def transform_kernel(k: torch.Tensor, length: int) -> torch.Tensor:
    """Spectrum of the first `length` taps of `k` (D, L'), in the kernels' own order: (D / 8, N, 8, 2) floats.

    Empty where this device cannot do this length.
    """
    possible, points = fits(length, k.device), padded_length(length)
    groups = -(-k.shape[0] // MOST_LANES) if possible else 0
    spectrum = torch.zeros(groups, points, MOST_LANES, 2, device=k.device)
    if possible:
        _run("prepare", (1, k.shape[0], length), regions=0, spectrum=spectrum, k=k.float())
    return spectrum


def forward(
    v: torch.Tensor,
    k: torch.Tensor,
    skip: torch.Tensor,
    gate_in: torch.Tensor | None,
    gate_out: torch.Tensor | None,
    spectrum: torch.Tensor | None = None,
) -> torch.Tensor:
    """The gated convolution. `spectrum` (of [`transform_kernel`], for this or a longer length) saves transforming `k`.

    A length that this device cannot do is torch's.
    """
    if not fits(v.shape[-1], v.device) or (spectrum is not None and len(spectrum) == 0):
        return torch_backend.forward(v, k, skip, gate_in, gate_out)
    inputs = _same_dtype(v=v, gate_in=gate_in, gate_out=gate_out)
    y = torch.empty_like(inputs["v"])
    _run(
        "forward",
        v.shape,
        regions=2,
        spectrum=spectrum,
        **inputs,
        k=k.float(),
        skip=skip.float().contiguous(),
        y=y,
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
    if not fits(v.shape[-1], v.device):
        return torch_backend.backward(dy, v, k, skip, gate_in, gate_out)
    inputs = _same_dtype(dy=dy, v=v, gate_in=gate_in, gate_out=gate_out)
    gradients = {f"d{name}": torch.empty_like(tensor) for name, tensor in inputs.items() if name != "dy"}
    dk = torch.zeros_like(k, dtype=torch.float32)
    _run(
        "backward",
        v.shape,
        regions=4,
        **inputs,
        **gradients,
        k=k.float(),
        skip=skip.float().contiguous(),
        dk=dk,
    )
    cast = [
        gradients[f"d{name}"].to(tensor.dtype) if tensor is not None else None
        for name, tensor in (("v", v), ("gate_in", gate_in), ("gate_out", gate_out))
    ]
    return cast[0], dk.to(k.dtype), _skip_gradient(dk, skip), cast[1], cast[2]  # type: ignore[return-value]


def _skip_gradient(dk: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
    """The sum over t of g_t u_t, the kernel's gradient at lag 0; a copy, because an operator may return no view."""
    return dk[:, 0].to(skip.dtype, copy=True)


def fuses(length: int, taps: int, device: torch.device, spectrum: torch.Tensor | None) -> bool:
    """Whether [`mixer_forward`] and [`mixer_backward`] can do this length, and a short convolution of so many taps,
    with this prepared kernel if any."""
    return taps == TAPS and fits(length, device) and (spectrum is None or len(spectrum) > 0)


def mixer_forward(
    projected: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    k: torch.Tensor,
    skip: torch.Tensor,
    mask: torch.Tensor | None,
    spectrum: torch.Tensor | None = None,
) -> torch.Tensor:
    """The whole mixer between its projections; shapes of [`hyena_mixer`], `spectrum` as of [`forward`].

    The short convolution is computed as its outputs are read, three multiply-adds from what the caches hold.
    """
    inputs = _mixer_inputs(projected, weight, bias, k, skip, mask)
    y = projected.new_empty(*projected.shape[:2], skip.shape[0], dtype=inputs["projected"].dtype)
    _run("forward", y.mT.shape, regions=2, spectrum=spectrum, **inputs, y=y.mT)
    return y.to(projected.dtype)


def mixer_backward(
    dy: torch.Tensor,
    projected: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    k: torch.Tensor,
    skip: torch.Tensor,
    mask: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients (outputs of the short convolution (B, L, 3 D), k, skip), everything recomputed from the inputs."""
    inputs = _mixer_inputs(projected, weight, bias, k, skip, mask)
    dmixed = torch.empty_like(inputs["projected"].mT, memory_format=torch.contiguous_format)
    dx0, dx1, dv = dmixed.mT.chunk(3, dim=1)
    dk = torch.zeros_like(k, dtype=torch.float32)
    gradients = {"dgate_out": dx0, "dgate_in": dx1, "dv": dv, "dk": dk}
    dy = dy.to(dmixed.dtype)
    _run("backward", dy.mT.shape, regions=4, **inputs, dy=dy.mT, **gradients)
    return dmixed.to(projected.dtype), dk.to(k.dtype), _skip_gradient(dk, skip)


def _mixer_inputs(
    projected: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    k: torch.Tensor,
    skip: torch.Tensor,
    mask: torch.Tensor | None,
) -> dict[str, torch.Tensor]:
    """The problem's tensors: `projected` in its own precision, if the kernels read it, all others in float32."""
    single = {"short_weight": weight, "short_bias": bias, "skip": skip}
    inputs = {name: tensor.float().contiguous() for name, tensor in single.items()} | {"k": k.float()}
    if mask is not None:
        inputs["mask"] = mask.float()[:, None]
    known = projected.dtype in DTYPES
    return inputs | {"projected": (projected if known else projected.float()).mT}
