"""The long convolution of inputs that arrive one after another."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_hyenadna.long_conv.online import BLOCK, OnlineConvolution
from modeling_hyenadna.long_conv.reference import long_conv_reference

CHANNELS = 3


def taps(length):
    """The first `length` taps of one fixed kernel."""
    generator = torch.Generator().manual_seed(7)
    return torch.randn(4096, CHANNELS, generator=generator)[:length].T


def expected(u):
    return long_conv_reference(u.double().transpose(1, 2), taps(u.shape[1]).double(), torch.zeros(CHANNELS)).mT


def online(batch_size=2, backend="auto"):
    return OnlineConvolution(batch_size, CHANNELS, torch.device("cpu"), torch.float32, backend)


def run(convolution, u, sizes):
    pieces, start = [], 0
    for size in sizes:
        pieces.append(convolution.outputs(u[:, start : start + size], taps))
        start += size
    return torch.cat(pieces, dim=1)


few = st.lists(st.sampled_from([1, 1, 2, 5, BLOCK]), min_size=1, max_size=200)
many = st.lists(st.sampled_from([1, 30, BLOCK + 1, 100]), max_size=3)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 300), many, few, few)
def test_any_prompt_and_any_pieces(prompt, many, few, more):
    sizes = few + many + more
    u = torch.randn(2, prompt + sum(sizes), CHANNELS, generator=torch.Generator().manual_seed(prompt))
    convolution = online()
    with torch.no_grad():
        convolution.append(u[:, :prompt])
        y = run(convolution, u[:, prompt:], sizes)
    assert convolution.length == u.shape[1]
    torch.testing.assert_close(convolution.history, u)
    torch.testing.assert_close(y.double(), expected(u)[:, prompt:], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("backend", ["cpu", "torch", "reference"])
def test_two_thousand_steps(backend):
    u = torch.randn(1, 2300, CHANNELS, generator=torch.Generator().manual_seed(0))
    convolution = online(1, backend)
    with torch.inference_mode():
        convolution.append(u[:, :300])
        y = run(convolution, u[:, 300:], [1] * 2000)
    torch.testing.assert_close(y.double(), expected(u)[:, 300:], rtol=1e-5, atol=3e-4)


@pytest.mark.parametrize("dropped", [1, 20, 50, 190])
def test_dropped_inputs_are_forgotten(dropped):
    u = torch.randn(2, 200, CHANNELS, generator=torch.Generator().manual_seed(1))
    convolution = online()
    with torch.no_grad():
        run(convolution, u, [1] * 200)
        convolution.drop(dropped)
        other = u.clone()
        other[:, -dropped:] += 1
        y = run(convolution, other[:, -dropped:], [1] * dropped)
    torch.testing.assert_close(y.double(), expected(other)[:, -dropped:], rtol=1e-5, atol=1e-4)


def test_copies_and_selections_go_on_by_themselves():
    u = torch.randn(2, 120, CHANNELS, generator=torch.Generator().manual_seed(2))
    convolution = online()
    with torch.inference_mode():
        run(convolution, u[:, :70], [30] + [1] * 40)
    with torch.no_grad():  # what was made in inference mode may not be changed in place here
        twin = copy.deepcopy(convolution)
        swapped = torch.tensor([1, 0, 0])
        convolution.change(lambda tensor: tensor[swapped])
        y = run(convolution, u[swapped, 70:], [1] * 50)
        torch.testing.assert_close(y.double(), expected(u)[swapped, 70:], rtol=1e-5, atol=1e-4)
        y = run(twin, u[:, 70:], [1] * 50)
        torch.testing.assert_close(y.double(), expected(u)[:, 70:], rtol=1e-5, atol=1e-4)


def test_gradients_reach_all_inputs():
    u = torch.randn(1, 50, CHANNELS, generator=torch.Generator().manual_seed(3), dtype=torch.float64).requires_grad_()
    convolution = OnlineConvolution(1, CHANNELS, torch.device("cpu"), torch.float64, "auto")
    pieces = [convolution.outputs(piece, lambda n: taps(n).double()) for piece in u.split([40] + [1] * 10, dim=1)]
    y = torch.cat(pieces, dim=1)
    y.square().sum().backward()
    gradient, u.grad = u.grad, None
    expected(u).square().sum().backward()
    torch.testing.assert_close(gradient, u.grad)
