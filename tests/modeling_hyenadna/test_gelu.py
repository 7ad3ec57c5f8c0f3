"""GELU in the compiled library: torch's own values, gradients and second derivatives, however it is computed."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from modeling_hyenadna.gelu import gelu
from modeling_hyenadna.long_conv import cpu_backend

X = torch.cat([torch.linspace(-20, 20, 4001), torch.tensor([0.0, 1e-30, -1e4, 1e4])])


def exact(x):
    return F.gelu(x.double(), approximate="tanh")


def close(found, expected):
    torch.testing.assert_close(found.double(), expected.double(), atol=1e-6, rtol=1e-6)


def derivatives(function, x):
    """The first, by x weighted by itself, and the second of the sum."""
    x = x.clone().requires_grad_()
    (weighted,) = torch.autograd.grad(function(x), x, x.detach(), retain_graph=True)
    (first,) = torch.autograd.grad(function(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    return weighted, first.detach(), second


@pytest.fixture(params=["auto", "torch", *cpu_backend.BUILDS])
def backend(request, monkeypatch):
    """A backend of the long convolution, each build of the compiled one among them."""
    if request.param not in cpu_backend.BUILDS:
        return request.param
    level = cpu_backend.BUILDS.index(request.param)
    if cpu_backend.library().hyena_build_name(level).decode() != request.param:
        pytest.skip("this processor has not the instructions")
    monkeypatch.setenv("HYENADNA_CPU", request.param)
    return "auto"


def test_values_are_torchs(backend):
    with torch.no_grad():
        close(gelu(X, backend), exact(X))
        close(gelu(X.view(15, 267).T[::2], backend), exact(X.view(15, 267).T[::2]))
        assert gelu(torch.tensor([torch.inf, torch.nan]), backend).isfinite().tolist() == [False, False]
        assert gelu(X[:0], backend).shape == (0,)
        assert torch.equal(gelu(X.double(), backend), exact(X))
        assert torch.equal(gelu(X.bfloat16(), backend), F.gelu(X.bfloat16(), approximate="tanh"))
    close(gelu(X.clone().requires_grad_(), backend).detach(), exact(X))


def test_derivatives_are_torchs(backend):
    expected = derivatives(exact, X.double())
    for found, wanted in zip(derivatives(lambda x: gelu(x, backend), X), expected, strict=True):
        torch.testing.assert_close(found.double(), wanted, atol=1e-5, rtol=1e-5)


def test_gradients_of_many_outputs_at_once():
    x = X.clone().requires_grad_()
    weights = torch.stack([torch.ones_like(X), X])
    (batched,) = torch.autograd.grad(gelu(x), x, weights, is_grads_batched=True)
    wanted = derivatives(exact, X.double())
    torch.testing.assert_close(batched.double(), torch.stack([wanted[1], wanted[0]]), atol=1e-5, rtol=1e-5)


def test_the_number_of_threads_changes_nothing():
    x = torch.randn(100_003, generator=torch.Generator().manual_seed(0))
    threads, found = torch.get_num_threads(), []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        found.append((cpu_backend.gelu(x), cpu_backend.gelu_backward(x, x)))
    torch.set_num_threads(threads)
    assert all(torch.equal(one, two) for own in found[1:] for one, two in zip(found[0], own, strict=True))


def test_where_torch_follows_the_operations_they_are_its_own():
    assert torch.equal(gelu(X, followed=True), F.gelu(X, approximate="tanh"))
    with FakeTensorMode() as mode:
        assert gelu(mode.from_tensor(X)).shape == X.shape
    assert gelu(X.to("meta")).shape == X.shape
