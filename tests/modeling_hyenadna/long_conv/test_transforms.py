"""Derivatives of any kind, and vmap, of operator and mixer: against float64 and against finite differences."""

import pytest
import torch
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import functionalize, grad, hessian, jacfwd, jacrev, jvp, vmap

from modeling_hyenadna.long_conv import cpu_backend, hyena_mixer, long_conv, prepare_kernel

BATCH, CHANNELS, LENGTH, TAPS = 2, 3, 9, 3
NAMED = ["torch", "cpu"]


@pytest.fixture(params=["auto", *NAMED])
def backend(request):
    if request.param == "cpu" and cpu_backend.library() is None:
        pytest.skip("no C++ compiler")
    return request.param


def random(*shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def operator_inputs(seed=0):
    whole = (BATCH, CHANNELS, LENGTH)
    return random(whole, (CHANNELS, LENGTH + 2), (CHANNELS,), whole, whole, seed=seed)


def mixer_inputs(seed=0):
    wide = 3 * CHANNELS
    return random((BATCH, LENGTH, wide), (wide, TAPS), (wide,), (CHANNELS, LENGTH + 2), (CHANNELS,), seed=seed)


MASK = torch.ones(BATCH, LENGTH)
MASK[0, :3] = 0


def mixer(*tensors, backend="auto"):
    return hyena_mixer(*tensors, MASK.to(tensors[0].dtype), backend=backend)


FUNCTIONS = [(long_conv, operator_inputs), (mixer, mixer_inputs)]
both = pytest.mark.parametrize(("function", "inputs"), FUNCTIONS, ids=["operator", "mixer"])


def double(tensors):
    return [tensor.double() for tensor in tensors]


def scalar(function, **options):
    """A function that is far from quadratic in each of its inputs."""
    return lambda *tensors: function(*tensors, **options).sin().sum()


def close(value, expected, tolerance=1e-5):
    error = (value.double() - expected.double()).norm() / expected.double().norm()
    assert error < tolerance, error


@both
def test_plain_in_float64_to_finite_differences(function, inputs):
    tensors = [tensor.requires_grad_() for tensor in double(inputs())]

    def plain(*given):
        return function(*given, backend="plain")

    assert gradcheck(plain, tensors, check_forward_ad=True, fast_mode=True)
    assert gradgradcheck(plain, tensors, check_fwd_over_rev=True, fast_mode=True)


@both
def test_second_derivatives_of_every_backend(function, inputs, backend):
    """A gradient of a gradient, in every input and in the gradient of the value."""
    directions = inputs(seed=1)

    def found(tensors, **options):
        leaves = [tensor.requires_grad_() for tensor in tensors]
        first = torch.autograd.grad(scalar(function, **options)(*leaves), leaves, create_graph=True)
        along = sum((a * b.to(a.dtype)).sum() for a, b in zip(first, directions, strict=True))
        return [*first, *torch.autograd.grad(along, leaves)]

    for ours, exact in zip(found(inputs(), backend=backend), found(double(inputs())), strict=True):
        close(ours, exact)


def test_second_derivatives_where_inputs_depend_on_each_other(backend):
    """One tensor in three places, and a gate computed from it: each gradient belongs to its own place."""
    v, k, skip, _, _ = operator_inputs()

    def energy(v, k, skip, **options):
        return long_conv(v, k, skip, gate_in=v, gate_out=v.exp(), **options).sum()

    def product(tensors, **options):
        leaves = [tensor.requires_grad_() for tensor in tensors]
        (first,) = torch.autograd.grad(energy(*leaves, **options), leaves[0], create_graph=True)
        return torch.autograd.grad(first.square().sum(), leaves)

    for ours, exact in zip(product([v, k, skip], backend=backend), product(double([v, k, skip])), strict=True):
        close(ours, exact)


def test_second_derivatives_with_inputs_that_need_none(backend):
    v, k, skip, _, gate_out = operator_inputs()
    v.requires_grad_()
    (first,) = torch.autograd.grad(long_conv(v, k, skip, None, gate_out, backend).square().sum(), v, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), v)
    exact = v.detach().double().requires_grad_()
    (of_exact,) = torch.autograd.grad(
        long_conv(exact, *double([k, skip]), None, gate_out.double()).square().sum(), exact, create_graph=True
    )
    close(second, torch.autograd.grad(of_exact.square().sum(), exact)[0])


@both
def test_hessian_vector_product_to_finite_differences(function, inputs, backend):
    tensors, directions = double(inputs()), double(inputs(seed=1))

    def gradients(at):
        return torch.autograd.grad(scalar(function)(*(leaves := [t.requires_grad_() for t in at])), leaves)

    step = 1e-6
    ahead, behind = (
        gradients([(a + sign * step * b).detach() for a, b in zip(tensors, directions, strict=True)])
        for sign in (1, -1)
    )
    _, product = torch.autograd.functional.vhp(
        scalar(function, backend=backend), tuple(inputs()), tuple(inputs(seed=1))
    )
    for ours, one, other in zip(product, ahead, behind, strict=True):
        close(ours, (one - other) / (2 * step))


@both
@pytest.mark.parametrize("choice", ["auto", "plain", "reference"])
def test_forward_mode(function, inputs, choice):
    """With and without gradients, of all inputs at once and of each, against float64."""
    tensors, tangents = inputs(), inputs(seed=1)
    _, expected = jvp(function, tuple(double(tensors)), tuple(double(tangents)))
    _, value = jvp(lambda *given: function(*given, backend=choice), tuple(tensors), tuple(tangents))
    close(value, expected)
    for context in (torch.no_grad(), torch.enable_grad()):
        parts = []
        for place in range(len(tensors)):
            with context, forward_ad.dual_level():
                duals = list(tensors)
                duals[place] = forward_ad.make_dual(tensors[place], tangents[place])
                parts.append(forward_ad.unpack_dual(function(*duals, backend=choice)).tangent)
        close(sum(parts), expected)


@both
def test_jacobians_and_hessians(function, inputs):
    tensors = inputs()
    exact = double(tensors)
    skip = 2 if function is long_conv else 4

    def of_skip(given, value):
        return function(*(value if place == skip else tensor for place, tensor in enumerate(given)))

    for transform in (jacfwd, jacrev):
        ours = transform(lambda value: of_skip(tensors, value))(tensors[skip])
        close(ours, torch.autograd.functional.jacobian(lambda value: of_skip(exact, value), exact[skip]))
    ours = hessian(lambda value: of_skip(tensors, value).sin().sum())(tensors[skip])
    close(ours, torch.autograd.functional.hessian(lambda value: of_skip(exact, value).sin().sum(), exact[skip]))


@both
def test_gradients_of_each_sample(function, inputs):
    """vmap(grad) over the batch, kernels and biases included."""
    samples = [inputs(seed=seed) for seed in range(3)]
    stacked = [torch.stack(parts) for parts in zip(*samples, strict=True)]
    every = tuple(range(len(stacked)))
    found = vmap(grad(scalar(function), argnums=every))(*stacked)
    for index, sample in enumerate(samples):
        leaves = [tensor.requires_grad_() for tensor in double(sample)]
        for ours, exact in zip(found, torch.autograd.grad(scalar(function)(*leaves), leaves), strict=True):
            close(ours[index], exact)


@both
def test_batched_gradients_of_a_value_that_any_backend_computed(function, inputs, backend):
    """As torch.autograd.functional.jacobian(vectorize=True) asks for them: vmap in the backward only."""
    leaves = [tensor.requires_grad_() for tensor in inputs()]
    value = function(*leaves, backend=backend)
    weights = torch.stack(random(value.shape, value.shape, seed=2))
    batched = torch.autograd.grad(value, leaves, weights, is_grads_batched=True, retain_graph=True)
    for index, weight in enumerate(weights):
        for ours, single in zip(batched, torch.autograd.grad(value, leaves, weight, retain_graph=True), strict=True):
            close(ours[index], single)


@both
@pytest.mark.parametrize("named", NAMED)
def test_a_backend_that_was_named_refuses_and_names_plain(function, inputs, named):
    message = rf'the {named} backend of the long convolution cannot be mapped .* use the backend "plain", or "auto"'
    tensors = inputs()

    def run(*given):
        return function(*given, backend=named)

    for transformed in (
        lambda: vmap(run)(*(tensor[None] for tensor in tensors)),
        lambda: grad(lambda *given: run(*given).sum())(*tensors),
        lambda: jvp(run, tuple(tensors), tuple(tensors)),
    ):
        with pytest.raises(ValueError, match=message):
            transformed()
    with forward_ad.dual_level():
        for place in range(len(tensors)):
            duals = list(tensors)
            duals[place] = forward_ad.make_dual(tensors[place], tensors[place])
            with pytest.raises(ValueError, match=message):
                run(*duals)
        if named == "torch":  # no tangent is lost where there is none
            assert torch.equal(run(*tensors), function(*tensors, backend=named))


def test_a_prepared_kernel_is_a_constant_to_every_derivative():
    v, k, skip, gate_in, gate_out = operator_inputs()
    for maker in ("auto", "torch", "plain"):
        prepared = prepare_kernel(k, LENGTH, maker)
        value, tangent = jvp(lambda v, kernel=prepared: long_conv(v, kernel, skip, gate_in, gate_out), (v,), (gate_in,))
        expected = jvp(lambda v: long_conv(v, k, skip, gate_in, gate_out, "reference"), (v,), (gate_in,))
        torch.testing.assert_close((value, tangent), expected)
    prepared = prepare_kernel(k, LENGTH, "plain")
    torch.testing.assert_close(long_conv(v, prepared, skip, backend="plain"), long_conv(v, k, skip))
    with pytest.raises(ValueError, match="k was prepared for the plain backend of the long convolution, not for torch"):
        long_conv(v, prepared, skip, backend="torch")


@both
def test_without_values(function, inputs):
    """On the meta device there are only shapes and dtypes, gradients included."""
    tensors = [tensor.to("meta").requires_grad_() for tensor in inputs()]
    real = inputs()
    value = long_conv(*tensors) if function is long_conv else hyena_mixer(*tensors)
    assert value.shape == function(*real).shape
    assert [g.shape for g in torch.autograd.grad(value.sum(), tensors)] == [tensor.shape for tensor in real]


@both
def test_functionalized(function, inputs):
    tensors = inputs()
    torch.testing.assert_close(functionalize(function)(*tensors), function(*tensors))
