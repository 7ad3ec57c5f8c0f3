import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_hyenadna.long_conv import long_conv, prepare_kernel
from modeling_hyenadna.long_conv.fft_plan import ODD_FACTORS, good_fft_length

LENGTHS = [1, 2, 3, 7, 16, 17, 64, 97, 128, 130, 1025]


def inputs(batch=2, channels=3, length=17, dtype=torch.float32, seed=0, extra_taps=0):
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(*shape, generator=generator).to(dtype)

    v, x1, x0 = (randn(batch, channels, length) for _ in range(3))
    return v, randn(channels, length + extra_taps), randn(channels), x1, x0


def relative_error(value, expected):
    return ((value.double() - expected.double()).norm() / expected.double().norm()).item()


def test_hand_computed():
    v = torch.tensor([[[1.0, 2.0, 3.0]]])
    k = torch.tensor([[10.0, 1.0, 0.5]])
    # 10*1, 10*2 + 1*1, 10*3 + 1*2 + 0.5*1; plus the skip 2 * v
    expected = torch.tensor([[[12.0, 25.0, 38.5]]])
    for backend in ("reference", "torch", "auto"):
        torch.testing.assert_close(long_conv(v, k, torch.tensor([2.0]), backend=backend), expected)
    gated = long_conv(
        v, k, torch.tensor([2.0]), gate_in=torch.full_like(v, 2.0), gate_out=torch.tensor([[[1.0, 0.0, -1.0]]])
    )
    torch.testing.assert_close(gated, torch.tensor([[[24.0, 0.0, -77.0]]]))


@pytest.mark.parametrize("length", LENGTHS)
def test_forward_and_gradients_equal_the_definition(length):
    tensors = [t.double().requires_grad_() for t in inputs(length=length, extra_taps=2)]
    single = [t.detach().float().requires_grad_() for t in tensors]
    expected = long_conv(*tensors, backend="reference")
    value = long_conv(*single, backend="torch")
    assert relative_error(value, expected) < 1e-6
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    (expected * weight).sum().backward()
    (value * weight).sum().backward()
    for ours, theirs in zip(single, tensors, strict=True):
        assert relative_error(ours.grad, theirs.grad) < 1e-6


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 200), st.integers(0, 2**16))
def test_any_shape_and_stride(batch, channels, length, seed):
    v, k, skip, x1, x0 = inputs(batch, channels, length, seed=seed)
    channel_last = [t.transpose(1, 2).contiguous().transpose(1, 2) for t in (v, x1, x0)]
    expected = long_conv(v, k, skip, x1, x0, backend="reference")
    torch.testing.assert_close(long_conv(channel_last[0], k, skip, *channel_last[1:]), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    v, k, skip, x1, x0 = inputs(length=300, dtype=dtype)
    value = long_conv(v, k, skip, x1, x0)
    expected = long_conv(v.float(), k.float(), skip.float(), x1.float(), x0.float())
    assert value.dtype == dtype
    torch.testing.assert_close(value, expected.to(dtype))


def test_prepared_kernel_serves_shorter_inputs():
    v, k, skip, x1, x0 = inputs(length=100)
    prepared = prepare_kernel(k, 100)
    for length in (1, 37, 100):
        short = [t[..., :length] for t in (v, x1, x0)]
        torch.testing.assert_close(
            long_conv(short[0], prepared, skip, *short[1:]),
            long_conv(short[0], k, skip, *short[1:], backend="reference"),
            rtol=1e-4,
            atol=1e-4,
        )


@given(st.integers(1, 2**21))
def test_good_fft_length(minimum):
    length = good_fft_length(minimum)
    assert minimum <= length < 2 * minimum + 2
    assert length % 2 == 0
    while length % 2 == 0:
        length //= 2
    assert length in ODD_FACTORS


def test_errors_name_the_shapes():
    v, k, skip, x1, x0 = inputs()
    for arguments, message in [
        ((v[0], k, skip), r"v must be \(B, D, L\)"),
        ((v, k[:, :5], skip), "covers 3 channels and 5 taps"),
        ((v, k, skip[:2]), r"skip must be \(3,\), got \(2,\)"),
        ((v, k, skip, x1[..., :4]), "gate_in must have v's shape"),
        ((v, k, skip, x1, x0, "cufft"), "unknown long convolution backend 'cufft'"),
        ((v, prepare_kernel(k, 17), skip, x1, x0, "reference"), "not a prepared one"),
    ]:
        with pytest.raises(ValueError, match=message):
            long_conv(*arguments)
    with pytest.raises(ValueError, match="inputs of length 18"):
        prepare_kernel(k, 18)
