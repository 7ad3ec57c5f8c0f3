"""The CUDA kernels without a GPU: run on the host, and compiled for every architecture within a stated budget.

The host runs the threads of each phase in random order, on shared memory that begins as NaN: a barrier that is missing
shows. What this cannot show is left to test_cuda_device.py on a GPU.
"""

import ctypes
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_hyenadna.long_conv import cuda_backend, hyena_mixer, long_conv, mixer, operator
from modeling_hyenadna.long_conv.build import CSRC, loaded
from modeling_hyenadna.long_conv.fft_plan import ODD_FACTORS
from modeling_hyenadna.long_conv.mixer import short_convolution
from modeling_hyenadna.long_conv.plain_backend import long_conv_plain

H200, RTX = 232_448, 101_376  # bytes of shared memory that a block may have: sm_90, sm_120
MEMORY = 80 << 30  # bytes
NAMES = ("v", "k", "skip", "gate_in", "gate_out")
NVCC = shutil.which("nvcc")
nvcc = pytest.mark.skipif(NVCC is None, reason="no nvcc: the CUDA sources are not compiled here")

# Registers of a thread (256 of them share 65,536, two or three blocks at a time), bytes that it stores on the stack for
# want of registers, and instructions of a whole kernel, all precisions, with the short convolution and without.
BUDGET = {
    "columns_in_kernel": {"registers": 80, "spilled": 64, "instructions": 9_000},
    "columns_out_kernel": {"registers": 80, "spilled": 96, "instructions": 12_000},
    "rows_kernel": {"registers": 128, "spilled": 32, "instructions": 14_000},
    "whole_kernel": {"registers": 128, "spilled": 96, "instructions": 40_000},
}


@pytest.fixture(scope="module")
def emulation(tmp_path_factory):
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    path = tmp_path_factory.mktemp("emulation") / "emulation.so"
    command = [compiler, "-O2", "-std=c++17", "-fPIC", "-shared", "-Wno-unknown-pragmas", "-o", str(path)]
    subprocess.run([*command, str(CSRC / "gpu_emulation.cpp")], check=True, capture_output=True)
    return cuda_backend.typed(ctypes.CDLL(str(path)))


@pytest.fixture(params=[H200, RTX, 20_000], ids=["H200", "RTX", "tiny"])
def gpu(request, emulation, monkeypatch):
    """Makes cuda_backend work on CPU tensors, as on a GPU with so much shared memory; 20,000 bytes mean three launches
    for more than two thousand positions."""
    monkeypatch.setattr(cuda_backend, "library", lambda: emulation)
    device = cuda_backend.Device(shared_limit=request.param, processors=2, memory=MEMORY)
    monkeypatch.setattr(cuda_backend, "properties", lambda _: device)
    return device


def inputs(batch, channels, length, channel_last=True, dtype=torch.float32):
    generator = torch.Generator().manual_seed(length)
    shape = (batch, length, channels) if channel_last else (batch, channels, length)
    tensors = [torch.randn(shape, generator=generator).to(dtype) for _ in range(4)]
    v, gate_in, gate_out, dy = (tensor.transpose(1, 2) if channel_last else tensor for tensor in tensors)
    k = torch.randn(channels, length + 3, generator=generator) * torch.exp(-torch.arange(length + 3) / length * 4)
    return dy, (v, k, torch.randn(channels, generator=generator), gate_in, gate_out)


def relative_error(ours, exact):
    return ((ours.double() - exact.double()).norm() / exact.double().norm()).item()


def check(dy, tensors, tolerance=1e-6):
    exact = [tensor.double().requires_grad_() for tensor in tensors]
    expected = long_conv_plain(*exact)
    expected.backward(dy.double())
    assert relative_error(cuda_backend.forward(*tensors), expected) < tolerance
    v, k, *others = tensors
    spectrum = cuda_backend.transform_kernel(k, v.shape[-1])
    assert relative_error(cuda_backend.forward(v, k, *others, spectrum), expected) < tolerance
    for name, ours, theirs in zip(NAMES, cuda_backend.backward(dy, *tensors), exact, strict=True):
        assert relative_error(ours, theirs.grad) < tolerance, name


@pytest.mark.parametrize("length", [1, 2, 3, 16, 17, 97, 1024, 1025, 1026, 2053])
def test_lengths(gpu, length):
    check(*inputs(2, 9, length))


@pytest.mark.parametrize(("channels", "length"), [(9, 5003), (8, 16_384), (8, 16_386), (8, 32_770)])
def test_long_inputs(gpu, channels, length):
    if not cuda_backend.fits(length, torch.device("cpu")):
        pytest.skip("more than this GPU can do")
    check(*inputs(1, channels, length))


def test_official_length(emulation, monkeypatch):
    monkeypatch.setattr(cuda_backend, "library", lambda: emulation)
    monkeypatch.setattr(cuda_backend, "properties", lambda _: cuda_backend.Device(H200, 132, MEMORY))
    check(*inputs(1, 3, 160_002), tolerance=2e-6)  # three numbers of dskip


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 3),
    channels=st.integers(1, 20),
    length=st.integers(1, 700),
    channel_last=st.booleans(),
    shared=st.sampled_from([H200, 3_000]),
)
def test_any_shape(emulation, batch, channels, length, channel_last, shared):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda_backend, "library", lambda: emulation)
        patch.setattr(cuda_backend, "properties", lambda _: cuda_backend.Device(shared, 2, MEMORY))
        check(*inputs(batch, channels, length, channel_last), tolerance=1e-5)  # dskip may be one number near 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("channel_last", [True, False])
def test_half_precision_is_computed_in_float32(gpu, dtype, channel_last):
    dy, (v, k, skip, gate_in, gate_out) = inputs(2, 9, 333, channel_last, dtype)
    y = cuda_backend.forward(v, k, skip, gate_in, gate_out)
    single = cuda_backend.forward(v.float(), k, skip, gate_in.float(), gate_out.float())
    assert y.dtype == dtype
    assert torch.equal(y, single.to(dtype))
    gradients = cuda_backend.backward(dy, v, k, skip, gate_in, gate_out)
    expected = cuda_backend.backward(dy.float(), v.float(), k, skip, gate_in.float(), gate_out.float())
    for ours, theirs in zip(gradients, expected, strict=True):
        assert torch.equal(ours, theirs.to(ours.dtype))
    mixed = cuda_backend.forward(v, k, skip, gate_in.float(), gate_out)
    assert mixed.dtype == dtype
    assert torch.equal(mixed, y)


def test_gates_are_optional(gpu):
    dy, (v, k, skip, gate_in, gate_out) = inputs(2, 9, 200)
    ones = torch.ones_like(v)
    for gates in ((None, None), (gate_in, None), (None, gate_out)):
        full = [ones if gate is None else gate for gate in gates]
        ours, theirs = cuda_backend.forward(v, k, skip, *gates), cuda_backend.forward(v, k, skip, *full)
        torch.testing.assert_close(ours, theirs)
        ours, theirs = cuda_backend.backward(dy, v, k, skip, *gates), cuda_backend.backward(dy, v, k, skip, *full)
        for gradient, expected in zip(ours, theirs, strict=True):
            if gradient is not None:
                torch.testing.assert_close(gradient, expected)
        assert [g is None for g in ours[3:]] == [g is None for g in gates]


def mixer_inputs(batch, channels, length, masked=True, dtype=torch.float32):
    """dy, then the tensors of a mixer: projected, weight, bias, k, skip and mask; padding is 0 in `projected`."""
    generator = torch.Generator().manual_seed(length)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    mask = torch.ones(batch, length)
    mask[0, : length // 3] = 0
    projected = (randn(batch, length, 3 * channels) * mask[..., None]).to(dtype)
    k = randn(channels, length + 3) * torch.exp(-torch.arange(length + 3) / length * 4)
    weights = (randn(3 * channels, 3), randn(3 * channels), k, randn(channels))
    return randn(batch, length, channels).to(dtype), (projected, *weights), mask if masked else None


def check_mixer(dy, tensors, mask, tolerance):
    exact = [tensor.double().requires_grad_() for tensor in tensors]
    expected = hyena_mixer(*exact, None if mask is None else mask.double(), backend="plain")
    expected.backward(dy.double())
    projected, weight, bias, k, _ = tensors
    assert relative_error(cuda_backend.mixer_forward(*tensors, mask), expected) < tolerance
    spectrum = cuda_backend.transform_kernel(k, projected.shape[1])
    assert relative_error(cuda_backend.mixer_forward(*tensors, mask, spectrum), expected) < tolerance
    dmixed, dk, dskip = cuda_backend.mixer_backward(dy, *tensors, mask)
    short = [tensor.detach().double().requires_grad_() for tensor in (projected, weight, bias)]
    short_convolution(*short).backward(dmixed.double())
    ours = (*(tensor.grad for tensor in short), dk, dskip)
    for name, gradient, theirs in zip(("projected", "weight", "bias", "k", "skip"), ours, exact, strict=True):
        assert relative_error(gradient, theirs.grad) < tolerance, name


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("length", [1, 2, 97, 1026, 2400])
def test_the_whole_mixer(gpu, length, masked):
    check_mixer(*mixer_inputs(2, 9, length, masked), tolerance=2e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_whole_mixer_in_half_precision_rounds_what_comes_out_only(gpu, dtype):
    dy, tensors, mask = mixer_inputs(2, 9, 333, dtype=dtype)
    single = [tensor.float() for tensor in tensors]
    y = cuda_backend.mixer_forward(*tensors, mask)
    assert torch.equal(y, cuda_backend.mixer_forward(*single, mask).to(dtype))
    dmixed, dk, dskip = cuda_backend.mixer_backward(dy, *tensors, mask)
    expected = cuda_backend.mixer_backward(dy.float(), *single, mask)
    assert torch.equal(dmixed, expected[0].to(dtype))
    assert torch.equal(dk, expected[1])
    assert torch.equal(dskip, expected[2])


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Operators take CPU tensors for a GPU's; the names of the backend's functions as they are called."""
    for module in (mixer, operator):
        monkeypatch.setattr(module, "chosen_backend", lambda name, device: "cuda")
    called: list[str] = []
    for name in ("forward", "backward", "mixer_forward", "mixer_backward"):
        own = getattr(cuda_backend, name)
        monkeypatch.setattr(cuda_backend, name, lambda *a, own=own, name=name: called.append(name) or own(*a))
    return called


def check_operator(operator, dy, tensors, *rest):
    exact = [tensor.double().requires_grad_() for tensor in tensors]
    expected = operator(*exact, *rest, backend="plain")
    expected.backward(dy.double())
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    value = operator(*leaves, *rest)
    value.backward(dy)
    assert relative_error(value, expected) < 2e-6
    for ours, theirs in zip(leaves, exact, strict=True):
        assert relative_error(ours.grad, theirs.grad) < 2e-6


@pytest.mark.parametrize(
    ("shared", "names"), [(RTX, ["mixer_forward", "mixer_backward"]), (100, ["forward", "backward"])]
)
def test_the_mixer_of_a_gpu_is_one_pass_where_it_fits(gpu, as_on_a_gpu, monkeypatch, shared, names):
    monkeypatch.setattr(cuda_backend, "properties", lambda _: cuda_backend.Device(shared, 2, MEMORY))
    dy, tensors, mask = mixer_inputs(2, 9, 97)
    check_operator(hyena_mixer, dy, tensors, mask)
    assert as_on_a_gpu == names


def test_the_operator_and_its_gradients_as_on_a_gpu(gpu, as_on_a_gpu):
    check_operator(long_conv, *inputs(2, 9, 97))
    assert as_on_a_gpu == ["forward", "backward"]


def test_a_prepared_kernel_serves_shorter_inputs(gpu):
    _, (v, k, skip, gate_in, gate_out) = inputs(2, 9, 500)
    spectrum = cuda_backend.transform_kernel(k, 500)
    short = [tensor[..., :77] for tensor in (v, gate_in, gate_out)]
    ours = cuda_backend.forward(short[0], k, skip, *short[1:], spectrum)
    torch.testing.assert_close(ours, cuda_backend.forward(short[0], k, skip, *short[1:]), rtol=1e-4, atol=1e-4)


def test_scratch_memory_holds_a_few_channels_at_a_time(emulation, monkeypatch):
    monkeypatch.setattr(cuda_backend, "library", lambda: emulation)
    device = cuda_backend.Device(3_000, 2, memory=40_000 * cuda_backend.REGIONS)
    monkeypatch.setattr(cuda_backend, "properties", lambda _: device)
    check(*inputs(2, 21, 600))


def test_what_shared_memory_cannot_hold_is_left_to_torch(gpu, monkeypatch):
    monkeypatch.setattr(cuda_backend, "properties", lambda _: cuda_backend.Device(1_000, 2, MEMORY))
    dy, tensors = inputs(1, 3, 1026)
    assert not cuda_backend.fits(1026, torch.device("cpu"))
    check(dy, tensors, tolerance=2e-6)


@given(st.integers(1, 2**21))
def test_padded_length(length):
    points = cuda_backend.padded_length(length)
    assert length <= points <= 1.25 * length + 1
    while points % 2 == 0:
        points //= 2
    assert points in ODD_FACTORS


@given(st.integers(1, 2**21))
def test_radices(length):
    points = cuda_backend.padded_length(length)
    radices = cuda_backend.radices(points)
    product = 1
    for radix in radices:
        product *= radix
    assert product == points
    assert radices == sorted(radices, key=lambda radix: radix % 2 == 0)  # odd ones first


def test_cut_of_the_released_lengths():
    cuts = {}
    for length in (1026, 8_194, 32_770, 160_002, 450_002, 1_000_002):
        points = cuda_backend.padded_length(length)
        columns = cuda_backend.column_count(points, H200)
        cuts[length] = (columns, points // columns)
    assert cuts == {
        1026: (1, 1152),
        8_194: (128, 72),
        32_770: (256, 144),
        160_002: (512, 320),
        450_002: (512, 960),
        1_000_002: (1024, 1024),
    }


@nvcc
def test_every_architecture_compiles(tmp_path, monkeypatch):
    monkeypatch.setenv("HYENADNA_CACHE", str(tmp_path))
    library = cuda_backend.typed(loaded(cuda_backend.build))
    assert cuda_backend.build() == next((tmp_path / "long_conv").glob("cuda-*.so"))
    assert b"invalid" in library.hyena_gpu_error(9)  # cudaErrorInvalidConfiguration, in CUDA's words


@nvcc
def test_registers_spills_and_instructions_keep_to_the_budget(tmp_path):
    cubin = tmp_path / "cuda.cubin"
    command = [NVCC, "-O3", "-std=c++17", "-arch=sm_90", "-cubin", "-Xptxas", "-v", "-o", str(cubin)]
    done = subprocess.run([*command, str(CSRC / "cuda.cu")], check=True, capture_output=True, text=True)
    report = re.findall(
        r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores.*?Used (\d+) registers",
        done.stdout + done.stderr,
        re.DOTALL,
    )
    kernels = {name: (int(spilled), int(registers)) for name, spilled, registers in report}
    assert len(kernels) == len(BUDGET)
    for name, budget in BUDGET.items():
        spilled, registers = next(values for symbol, values in kernels.items() if name in symbol)
        assert spilled <= budget["spilled"], name
        assert registers <= budget["registers"], name
    disassembler = disassembly_tool()
    if disassembler is None:
        pytest.skip("no nvdisasm: instructions are not counted")
    code = subprocess.run([disassembler, "-c", str(cubin)], check=True, capture_output=True, text=True).stdout
    for section in re.split(r"\n\s*\.section\s+\.text\.", code)[1:]:
        name = next(name for name in BUDGET if name in section.partition(",")[0])
        instructions = len(re.findall(r"/\*[0-9a-f]{4,}\*/", section))
        assert 1_000 < instructions <= BUDGET[name]["instructions"], (name, instructions)
        assert "LDS.64" in section, "shared memory is read a complex number at a time"
        assert not re.search(r"\bLD\.", section), "no access is left to be told apart when it runs"


def disassembly_tool():
    """nvdisasm of the CUDA toolkit, or of its package for Python."""
    found = shutil.which("nvdisasm")
    spec = find_spec("nvidia")
    folders = [Path(folder) for folder in (spec.submodule_search_locations if spec else [])]
    packaged = [str(path) for folder in folders for path in folder.glob("*/bin/nvdisasm")]
    return found or (packaged[0] if packaged and sys.platform == "linux" else None)
