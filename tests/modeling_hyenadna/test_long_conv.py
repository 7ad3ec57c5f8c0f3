"""Every backend of the long convolution against its definition in float64."""

import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.checkpoint import checkpoint

from modeling_hyenadna.long_conv import (
    cpu_backend,
    hyena_mixer,
    long_conv,
    prepare_kernel,
    short_convolution,
    torch_backend,
)
from modeling_hyenadna.long_conv.fft_plan import LONGEST_TAIL, ODD_FACTORS, good_fft_length, right_angle_length
from modeling_hyenadna.long_conv.mixer import _mixer
from modeling_hyenadna.long_conv.operator import chosen_backend, gated_convolution

LENGTHS = [1, 2, 3, 7, 16, 17, 64, 97, 128, 130, 1025, 1026, 5003]
NAMES = ("v", "k", "skip", "gate_in", "gate_out")


@pytest.fixture(params=["torch", *cpu_backend.BUILDS])
def backend(request, monkeypatch):
    """Each backend's name; the cpu backend once for each instruction set that this machine has."""
    if request.param == "torch":
        return "torch"
    if cpu_backend.library() is None:
        pytest.skip("no C++ compiler")
    if request.param not in runnable_builds():
        pytest.skip(f"this processor has no {request.param}")
    monkeypatch.setenv("HYENADNA_CPU", request.param)
    return "cpu"


def runnable_builds():
    name_of = cpu_backend.library().hyena_build_name
    return [name for level, name in enumerate(cpu_backend.BUILDS) if name_of(level).decode() == name]


def inputs(batch=2, channels=3, length=17, dtype=torch.float32, seed=0, extra_taps=0):
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(*shape, generator=generator).to(dtype)

    v, x1, x0 = (randn(batch, channels, length) for _ in range(3))
    return v, randn(channels, length + extra_taps), randn(channels), x1, x0


def channel_last(tensor):
    return tensor.transpose(-1, -2).contiguous().transpose(-1, -2)


def relative_error(value, expected):
    return ((value.double() - expected.double()).norm() / expected.double().norm()).item()


def test_hand_computed(backend):
    v = torch.tensor([[[1.0, 2.0, 3.0]]])
    k = torch.tensor([[10.0, 1.0, 0.5]])
    # 10*1, 10*2 + 1*1, 10*3 + 1*2 + 0.5*1; plus the skip 2 * v
    expected = torch.tensor([[[12.0, 25.0, 38.5]]])
    for name in ("reference", backend, "auto"):
        torch.testing.assert_close(long_conv(v, k, torch.tensor([2.0]), backend=name), expected)
    gates = {"gate_in": torch.full_like(v, 2.0), "gate_out": torch.tensor([[[1.0, 0.0, -1.0]]])}
    torch.testing.assert_close(
        long_conv(v, k, torch.tensor([2.0]), **gates, backend=backend), torch.tensor([[[24.0, 0.0, -77.0]]])
    )


@pytest.mark.parametrize("length", LENGTHS)
def test_forward_and_gradients(backend, length):
    # 37 channels: whole vectors and a rest; channel-last, as the model has them; more taps than positions
    tensors = inputs(channels=37 if length < 2000 else 3, length=length, extra_taps=2)
    exact = [t.double().requires_grad_() for t in tensors]
    single = [(channel_last(t) if t.ndim > 1 else t).requires_grad_() for t in tensors]
    expected = long_conv(*exact)  # float64, checked against the definition below
    value = long_conv(*single, backend=backend)
    assert relative_error(value, expected) < 1e-6
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    (expected * weight).sum().backward()
    (value * weight).sum().backward()
    for name, ours, theirs in zip(NAMES, single, exact, strict=True):
        assert relative_error(ours.grad, theirs.grad) < 1e-6, name
        assert ours.grad.shape == ours.shape


@pytest.mark.parametrize("length", [1, 2, 3, 17, 64, 97, 130])
def test_float64_equals_the_definition(length):
    tensors = [t.double().requires_grad_() for t in inputs(length=length, extra_taps=1)]
    expected = long_conv(*tensors, backend="reference")
    value = long_conv(*tensors, backend="torch")
    assert relative_error(value, expected) < 1e-13
    for ours, theirs in zip(
        torch.autograd.grad(value.square().sum(), tensors),
        torch.autograd.grad(expected.square().sum(), tensors),
        strict=True,
    ):
        assert relative_error(ours, theirs) < 1e-12


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 200), st.sampled_from(["torch", "auto"]), st.booleans())
def test_any_shape_and_stride(batch, channels, length, backend, gated):
    v, k, skip, x1, x0 = inputs(batch, channels, length, seed=length)
    gates = (x1, x0) if gated else (None, None)
    expected = long_conv(v, k, skip, *gates, backend="reference")
    for layout in (channel_last, lambda t: t, lambda t: t.repeat_interleave(2, dim=-1)[..., ::2]):
        laid_out = [None if t is None else layout(t) for t in (v, *gates)]
        value = long_conv(laid_out[0], layout(k), skip, *laid_out[1:], backend=backend)
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-4)


def test_gates_are_optional_in_the_gradients(backend):
    v, k, skip, x1, x0 = inputs(length=40)
    for gates in ((None, None), (x1, None), (None, x0)):
        tensors = [None if t is None else t.clone().requires_grad_() for t in (v, k, skip, *gates)]
        exact = [None if t is None else t.detach().double().requires_grad_() for t in tensors]
        long_conv(*tensors, backend=backend).square().sum().backward()
        long_conv(*exact).square().sum().backward()
        for ours, theirs in zip(tensors, exact, strict=True):
            assert ours is None or relative_error(ours.grad, theirs.grad) < 1e-5


@pytest.mark.parametrize("length", [32_770, 160_002])
def test_official_lengths(length):
    """Context + 2, the worst case of the stock transform: two outputs come from the tail."""
    v, k, skip, x1, x0 = inputs(batch=1, channels=2, length=length)
    k = k * torch.exp(-torch.arange(length) / 10_000)
    value = long_conv(v, k, skip, x1, x0)
    assert relative_error(value, long_conv(*(t.double() for t in (v, k, skip, x1, x0)))) < 1e-6
    last = (x1 * v)[0].double()
    direct = x0[0, :, -1] * ((k.flip(-1).double() * last).sum(-1) + skip * last[:, -1])
    torch.testing.assert_close(value[0, :, -1].double(), direct, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(backend, dtype):
    tensors = [t.requires_grad_() for t in inputs(length=300, dtype=dtype)]
    single = [t.detach().float().requires_grad_() for t in tensors]
    value, expected = long_conv(*tensors, backend=backend), long_conv(*single, backend=backend)
    assert value.dtype == dtype
    assert torch.equal(value, expected.to(dtype))
    value.backward(torch.ones_like(value))
    expected.backward(torch.ones_like(expected))
    for ours, theirs in zip(tensors, single, strict=True):
        assert ours.grad.dtype == dtype
        assert torch.equal(ours.grad, theirs.grad.to(dtype))


def test_prepared_kernel_serves_shorter_inputs(backend):
    v, k, skip, x1, x0 = inputs(length=100, channels=20)
    prepared = prepare_kernel(k, 100, backend=backend)
    for length in (1, 37, 99, 100):
        short = [t[..., :length] for t in (v, x1, x0)]
        torch.testing.assert_close(
            long_conv(short[0], prepared, skip, *short[1:]),
            long_conv(short[0], k, skip, *short[1:], backend="reference"),
            rtol=1e-4,
            atol=1e-4,
        )


def test_same_bits_for_any_number_of_threads():
    tensors = inputs(batch=2, channels=50, length=1026)
    threads = torch.get_num_threads()
    try:
        values = []
        for number in (1, 2):
            torch.set_num_threads(number)
            values.append(long_conv(*tensors))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*values)


def test_calls_from_several_threads_do_not_meet():
    """Scratch memory is kept from call to call, and ctypes lets other threads run meanwhile."""
    cases = [
        inputs(batch=2, channels=20, length=length, seed=length) for length in (64, 1026, 5003, 64, 1026, 5003)
    ] * 4
    expected = [long_conv(*case) for case in cases]
    with ThreadPoolExecutor(4) as threads:
        values = list(threads.map(lambda case: long_conv(*case), cases))
    assert all(torch.equal(value, single) for value, single in zip(values, expected, strict=True))


def mixer_inputs(batch, channels, length, taps, masked=False):
    generator = torch.Generator().manual_seed(length)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    mask = (torch.rand(batch, length, generator=generator) > 0.3).float() if masked else None
    projected = randn(batch, length, 3 * channels)
    if mask is not None:
        projected = projected * mask[..., None]
    tensors = [
        projected,
        randn(3 * channels, taps),
        randn(3 * channels),
        randn(length + 2, channels).T,
        randn(channels),
    ]
    return tensors, mask


@pytest.mark.parametrize(
    ("batch", "channels", "length", "taps", "masked"),
    [(2, 5, 1, 3, False), (2, 37, 17, 3, True), (1, 20, 130, 1, True), (2, 16, 1026, 3, True), (1, 4, 5003, 5, False)],
)
def test_mixer_equals_its_parts(backend, batch, channels, length, taps, masked):
    tensors, mask = mixer_inputs(batch, channels, length, taps, masked)
    exact = [t.double().requires_grad_() for t in tensors]
    x0, x1, v = short_convolution(*exact[:3]).transpose(1, 2).chunk(3, dim=1)
    expected = long_conv(v, *exact[3:], x1 if mask is None else x1 * mask.double()[:, None], x0).transpose(1, 2)
    single = [t.requires_grad_() for t in tensors]
    value = hyena_mixer(*single, mask, backend=backend)
    assert relative_error(value, expected) < 1e-6
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    gradients = torch.autograd.grad(value, single, weight)
    for ours, theirs in zip(gradients, torch.autograd.grad(expected, exact, weight.double()), strict=True):
        assert relative_error(ours, theirs) < 1e-6


def test_mixer_in_other_precisions():
    tensors, mask = mixer_inputs(2, 5, 40, 3, masked=True)
    reference = hyena_mixer(*tensors, mask, backend="reference")
    double = hyena_mixer(*(t.double() for t in tensors), mask)
    torch.testing.assert_close(double.float(), reference, rtol=1e-4, atol=1e-4)
    half = hyena_mixer(tensors[0].bfloat16(), *tensors[1:], mask)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), reference, rtol=0.05, atol=0.3)


@pytest.mark.parametrize("backend", ["torch", "cpu"])
def test_mixer_with_a_prepared_kernel(backend):
    tensors, mask = mixer_inputs(2, 5, 40, 3, masked=True)
    *tensors, k, skip = tensors
    prepared = prepare_kernel(k, 40, backend=backend)
    expected = hyena_mixer(*tensors, k, skip, mask, backend=backend)
    torch.testing.assert_close(hyena_mixer(*tensors, prepared, skip, mask), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="k covers 30 taps, but projected has length 40"):
        hyena_mixer(*tensors, prepare_kernel(k, 30), skip)


def test_operator_keeps_torchs_contract():
    mixer, mask = mixer_inputs(2, 3, 9, 3, masked=True)
    torch.library.opcheck(_mixer, (*(t.requires_grad_() for t in mixer), mask, None, "auto"))
    transposed = [t.detach().mT.contiguous().mT.requires_grad_() if t.ndim > 1 else t for t in mixer]  # as a filter's k
    torch.library.opcheck(_mixer, (*transposed, mask, None, "auto"))
    tensors = [t.requires_grad_() for t in inputs(length=17)]
    torch.library.opcheck(gated_convolution, (*tensors, None, "auto"))
    torch.library.opcheck(gated_convolution, (*tensors[:3], None, None, None, "torch"))


def test_one_compiled_graph_serves_all_lengths():
    compilations = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(long_conv, fullgraph=True, dynamic=True, backend=compilations)
    for length in (7, 33, 130):
        tensors = [t.requires_grad_() for t in inputs(length=length)]
        exact = [t.detach().double().requires_grad_() for t in tensors]
        compiled(*tensors).square().sum().backward()
        long_conv(*exact).square().sum().backward()
        for ours, theirs in zip(tensors, exact, strict=True):
            assert relative_error(ours.grad, theirs.grad) < 2e-6
    assert compilations.frame_count == 1


def test_autocast_and_checkpointing_change_no_gradient(backend):
    def gradients(run):
        tensors = [t.requires_grad_() for t in inputs(length=50)]
        with torch.autocast("cpu", torch.bfloat16):
            y = run(lambda *operands: long_conv(*operands, backend=backend), *tensors)
        assert y.dtype == torch.float32
        y.square().sum().backward()
        return [t.grad for t in tensors]

    plain = gradients(lambda function, *operands: function(*operands))
    checkpointed = gradients(lambda function, *operands: checkpoint(function, *operands, use_reentrant=False))
    assert all(torch.equal(a, b) for a, b in zip(plain, checkpointed, strict=True))


@pytest.mark.skipif(cpu_backend.library() is None, reason="no C++ compiler")
def test_processes_that_start_together_compile_once(tmp_path):
    compiler = tmp_path / "c++"
    compiler.write_text(
        f'#!/bin/sh\ncase $* in *--version*) ;; *) echo $$ >> {tmp_path}/calls;; esac\nexec c++ -O0 "$@" -O0\n'
    )
    compiler.chmod(0o755)
    script = "from modeling_hyenadna.long_conv.cpu_backend import build; print(build())"
    environment = {**os.environ, "CXX": str(compiler), "HYENADNA_CACHE": str(tmp_path / "cache")}
    running = [
        subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    built = {process.communicate()[0] for process in running}
    assert all(process.returncode == 0 for process in running)
    assert len(built) == 1
    once = len((tmp_path / "calls").read_text().splitlines())
    assert once == len(cpu_backend.X86_BUILDS if platform.machine() == "x86_64" else ["portable"]) + 2


@given(st.integers(1, 2**21))
def test_good_fft_length(minimum):
    length = good_fft_length(minimum)
    assert minimum <= length < 2 * minimum + 2
    assert length % 2 == 0
    while length % 2 == 0:
        length //= 2
    assert length in ODD_FACTORS


@given(st.integers(1, 2**21))
def test_right_angle_length(length):
    points = right_angle_length(length)
    assert length - LONGEST_TAIL <= points < 1.34 * length + 1
    while points % 2 == 0:
        points //= 2
    assert points in ODD_FACTORS


def test_lengths_of_the_released_models():
    lengths = (1026, 16_386, 32_770, 160_002, 450_002, 1_000_002)
    assert [right_angle_length(n) for n in lengths] == [1024, 16_384, 32_768, 163_840, 491_520, 1_048_576]


def test_errors_name_the_shapes():
    v, k, skip, x1, x0 = inputs()
    prepared = prepare_kernel(k, 17, backend="torch")
    for arguments, message in [
        ((v[0], k, skip), r"v must be \(B, D, L\)"),
        ((v, k[:, :5], skip), "covers 3 channels and 5 taps"),
        ((v, k, skip[:2]), r"skip must be \(3,\), got \(2,\)"),
        ((v, k, skip, x1[..., :4]), "gate_in must have v's shape"),
        ((v, k, skip, x1, x0, "cufft"), "unknown long convolution backend 'cufft'"),
        ((v, prepared, skip, x1, x0, "reference"), "k was prepared for the torch backend"),
    ]:
        with pytest.raises(ValueError, match=message):
            long_conv(*arguments)
    with pytest.raises(ValueError, match="inputs of length 18"):
        prepare_kernel(k, 18)
    with pytest.raises(
        RuntimeError, match="the cpu backend of the long convolution is not available for tensors on meta"
    ):
        chosen_backend("cpu", torch.device("meta"))


def test_without_a_compiler_torch_takes_over_and_says_so_once(tmp_path):
    script = """
import torch, warnings
from modeling_hyenadna.long_conv import long_conv
v, k, skip = torch.randn(1, 4, 50), torch.randn(4, 50), torch.randn(4)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    values = [long_conv(v, k, skip) for _ in range(2)]
assert len(caught) == 1 and "no C++ compiler found" in str(caught[0].message), caught
torch.testing.assert_close(values[0], long_conv(v, k, skip, backend="reference"), rtol=1e-4, atol=1e-4)
"""
    environment = {**os.environ, "PATH": str(tmp_path), "HYENADNA_CACHE": str(tmp_path)}
    environment.pop("CXX", None)
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)


def test_environment_names_the_backend(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch_backend, "forward", lambda *args: chosen.append("torch") or args[0].clone())
    v, k, skip, _, _ = inputs()
    monkeypatch.setenv("HYENADNA_LONG_CONV", "torch")
    long_conv(v, k, skip)
    assert chosen == ["torch"]
    monkeypatch.setenv("HYENADNA_LONG_CONV", "metal")
    with pytest.raises(ValueError, match="unknown long convolution backend 'metal'"):
        long_conv(v, k, skip)


@pytest.mark.skipif(cpu_backend.library() is None, reason="no C++ compiler")
def test_environment_names_the_build(monkeypatch):
    v, k, skip, _, _ = inputs()
    builds = runnable_builds()
    assert cpu_backend.build_name() == builds[-1]
    for name in builds:
        monkeypatch.setenv("HYENADNA_CPU", name)
        assert cpu_backend.build_name() == name
    monkeypatch.setenv("HYENADNA_CPU", "sse9")
    with pytest.raises(ValueError, match=r"HYENADNA_CPU=sse9 is not a build .* there are portable, avx2, avx512"):
        long_conv(v, k, skip)


@pytest.mark.skipif(cpu_backend.library() is None, reason="no C++ compiler")
def test_a_build_that_the_processor_lacks_is_an_error(monkeypatch):
    v, k, skip, _, _ = inputs()
    lacking = set(cpu_backend.BUILDS) - set(runnable_builds())
    if not lacking:
        pytest.skip("this processor has them all")
    monkeypatch.setenv("HYENADNA_CPU", max(lacking))
    with pytest.raises(ValueError, match=f"HYENADNA_CPU={max(lacking)} cannot be run by this processor"):
        long_conv(v, k, skip)


@pytest.mark.skipif(cpu_backend.library() is None, reason="no C++ compiler")
def test_a_kernel_is_prepared_for_one_build(monkeypatch):
    v, k, skip, _, _ = inputs()
    if len(builds := runnable_builds()) == 1:
        pytest.skip("this processor has one build")
    monkeypatch.setenv("HYENADNA_CPU", builds[0])
    prepared = prepare_kernel(k, v.shape[-1])
    monkeypatch.setenv("HYENADNA_CPU", builds[1])
    with pytest.raises(ValueError, match="prepared by another build"):
        long_conv(v, prepared, skip)


def test_a_named_build_is_not_replaced_by_torch(tmp_path):
    script = """
import torch
from modeling_hyenadna.long_conv import long_conv
try:
    long_conv(torch.ones(1, 1, 5), torch.ones(1, 5), torch.ones(1))
except RuntimeError as error:
    print(error)
"""
    environment = {**os.environ, "PATH": str(tmp_path), "HYENADNA_CACHE": str(tmp_path), "HYENADNA_CPU": "portable"}
    environment.pop("CXX", None)
    done = subprocess.run([sys.executable, "-c", script], check=True, env=environment, capture_output=True, text=True)
    assert done.stdout == "HYENADNA_CPU=portable cannot be run: no C++ compiler found\n"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("length", [17, 1026, 32_770])
def test_on_cuda(length):
    tensors = inputs(channels=20, length=length)
    single = [t.cuda().requires_grad_() for t in tensors]
    exact = [t.double().requires_grad_() for t in tensors]
    value, expected = long_conv(*single), long_conv(*exact)
    assert relative_error(value.cpu(), expected) < 1e-6
    value.square().sum().backward()
    expected.square().sum().backward()
    for ours, theirs in zip(single, exact, strict=True):
        assert relative_error(ours.grad.cpu(), theirs.grad) < 2e-6
