"""The whole model exported, mapped and differentiated in every way torch knows."""

import os
import subprocess
import sys

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import functional_call, grad, jacfwd, jvp, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM
from modeling_hyenadna import modeling_hyenadna as module

LENGTH = 24
SETTINGS = {"d_model": 16, "n_layer": 2, "max_seq_len": 66, "emb_dim": 5, "filter_order": 16, "activation_freq": 10}


def made(**changes):
    """A model whose every part moves the output by far more than a tolerance."""
    torch.manual_seed(0)
    model = HyenaDNAForCausalLM(HyenaDNAConfig(**{**SETTINGS, **changes})).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "filter_fn" not in name:
                parameter.mul_(4)
    return model


@pytest.fixture(scope="module")
def model():
    return made()


def random_ids(batch, length, seed=0):
    return torch.randint(7, 11, (batch, length), generator=torch.Generator().manual_seed(seed))


def masked(ids):
    mask = torch.ones_like(ids)
    mask[0, :3] = 0
    mask[-1, -2:] = 0
    return mask


def close(value, expected, tolerance=1e-4):
    error = (value.double() - expected.double()).norm() / expected.double().norm()
    assert error < tolerance, error


class Program(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids, mask):
        return self.model(ids, attention_mask=mask).logits


def test_one_exported_program_serves_all_sizes_without_this_package(tmp_path, model):
    ids = random_ids(2, 32)
    sizes = {0: torch.export.Dim("batch", max=64), 1: torch.export.Dim("length", min=2, max=66)}
    with torch.no_grad():
        exported = torch.export.export(Program(model), (ids, masked(ids)), dynamic_shapes=(sizes, sizes))
    assert not [node for node in exported.graph.nodes if "hyenadna::" in str(getattr(node.target, "name", ""))]
    torch.export.save(exported, tmp_path / "model.pt2")
    cases = [(1, 5), (2, 33), (3, 66), (64, 7)]
    given = [(random_ids(*case), masked(random_ids(*case))) for case in cases]
    torch.save(given, tmp_path / "given.pt")
    program = """
import sys, torch
run = torch.export.load("model.pt2").module()
torch.save([run(ids, mask) for ids, mask in torch.load("given.pt")], "found.pt")
assert not [name for name in sys.modules if name.startswith(("modeling_hyenadna", "transformers"))]
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=tmp_path, env=environment, check=True)
    for (ids, mask), found in zip(given, torch.load(tmp_path / "found.pt"), strict=True):
        with torch.no_grad():
            expected = model(ids, attention_mask=mask).logits
        torch.testing.assert_close(found[mask != 0], expected[mask != 0], rtol=1e-4, atol=1e-4)


def test_gradients_of_each_sample(model):
    ids = random_ids(3, LENGTH)
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}

    def loss(parameters, row):
        return functional_call(model, parameters, (row[None],), {"labels": row[None]}).loss

    found = vmap(grad(loss), in_dims=(None, 0))(parameters, ids)
    for index, row in enumerate(ids):
        exact = torch.autograd.grad(model(row[None], labels=row[None]).loss, list(model.parameters()))
        for name, expected in zip(parameters, exact, strict=True):
            torch.testing.assert_close(found[name][index], expected, rtol=1e-3, atol=1e-5)


def values(model, ids):
    """Logits as a function of the parameters, in float64 for finite differences."""
    return lambda parameters: functional_call(model, parameters, (ids,), {"attention_mask": masked(ids)}).logits


@pytest.mark.parametrize("with_gradients", [True, False])
def test_forward_mode_in_all_parameters(monkeypatch, model, with_gradients):
    """Filters and caches included, beyond one piece of positions, where one was kept before."""
    monkeypatch.setattr(module, "PIECE", 8)
    ids = random_ids(2, LENGTH)
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    generator = torch.Generator().manual_seed(1)
    tangents = {name: torch.randn(p.shape, generator=generator) / 100 for name, p in parameters.items()}
    with torch.no_grad():
        model(ids)
    double = made().double()
    exact = {name: parameter.detach() for name, parameter in double.named_parameters()}
    step = 1e-6
    with torch.no_grad():
        ahead, behind = (
            values(double, ids)({name: p + sign * step * tangents[name].double() for name, p in exact.items()})
            for sign in (1, -1)
        )
    expected = (ahead - behind) / (2 * step)
    with torch.set_grad_enabled(with_gradients):
        _, tangent = jvp(values(model, ids), (parameters,), (tangents,))
        close(tangent, expected)
        with forward_ad.dual_level():
            duals = {name: forward_ad.make_dual(p, tangents[name]) for name, p in parameters.items()}
            close(forward_ad.unpack_dual(values(model, ids)(duals)).tangent, expected)


def test_jacobian_of_the_embeddings(model):
    embedded = model.get_input_embeddings()(random_ids(1, 6)).detach()

    def last(x):
        return model(inputs_embeds=x).logits[0, -1]

    close(jacfwd(last)(embedded), torch.autograd.functional.jacobian(last, embedded))


@pytest.mark.parametrize("backend", ["auto", "torch", "cpu", "plain"])
def test_hessian_vector_products(backend):
    model, double, ids = made(long_conv_backend=backend), made().double(), random_ids(2, LENGTH)
    generator = torch.Generator().manual_seed(1)
    directions = [torch.randn(parameter.shape, generator=generator) for parameter in model.parameters()]

    def first(model, create_graph=False):
        logits = model(ids, attention_mask=masked(ids)).logits.double()  # the model's own loss is in float32
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids.flatten())
        return torch.autograd.grad(loss, list(model.parameters()), create_graph=create_graph)

    along = sum((a * b).sum() for a, b in zip(first(model, create_graph=True), directions, strict=True))
    product = torch.autograd.grad(along, list(model.parameters()))
    step, shifted = 1e-6, []
    for sign in (1, -1):
        with torch.no_grad():
            for parameter, direction in zip(double.parameters(), directions, strict=True):
                parameter.add_(sign * step * direction)
        shifted.append(first(double))
        with torch.no_grad():
            for parameter, direction in zip(double.parameters(), directions, strict=True):
                parameter.sub_(sign * step * direction)
    for (name, _), ours, ahead, behind in zip(model.named_parameters(), product, *shifted, strict=True):
        expected = (ahead - behind) / (2 * step)
        error = (ours.double() - expected).norm() / expected.norm()
        assert error < 1e-3, (name, error)


@pytest.mark.parametrize("backend", ["torch", "cpu"])
def test_a_backend_that_was_named_names_plain(backend):
    model = made(long_conv_backend=backend)
    embedded = model.get_input_embeddings()(random_ids(1, 6)).detach()
    for context in (torch.no_grad(), torch.enable_grad()):
        with context, pytest.raises(ValueError, match=f'the {backend} backend .* use the backend "plain", or "auto"'):
            jvp(lambda x: model(inputs_embeds=x).logits, (embedded,), (embedded,))


def test_on_the_meta_device(model):
    with torch.device("meta"):
        shapes = HyenaDNAForCausalLM(HyenaDNAConfig(**SETTINGS)).eval()
        ids = torch.zeros(2, LENGTH, dtype=torch.long)
    for context in (torch.no_grad(), torch.enable_grad()):
        with context:
            assert shapes(ids).logits.shape == model(random_ids(2, LENGTH)).logits.shape


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.int64])
def test_strict_export_of_any_length_and_kind_of_mask(model, dtype):
    sizes = {0: torch.export.Dim("batch", max=64), 1: torch.export.Dim("length", min=2, max=66)}
    ids = random_ids(2, 32)
    with torch.no_grad():
        given = (ids, masked(ids).to(dtype))
        run = torch.export.export(Program(model), given, dynamic_shapes=(sizes, sizes), strict=True).module()
        ids, mask = random_ids(3, 61), masked(random_ids(3, 61))
        close(run(ids, mask.to(dtype))[mask != 0], model(ids, attention_mask=mask).logits[mask != 0])


@pytest.mark.parametrize("with_gradients", [True, False])
def test_make_fx(model, with_gradients):
    with torch.set_grad_enabled(with_gradients):
        model(random_ids(2, LENGTH))  # a kernel is kept
        run = make_fx(lambda ids: model(ids).logits)(random_ids(2, LENGTH))
        ids = random_ids(2, LENGTH, seed=1)
        close(run(ids), model(ids).logits)


def test_jit_trace_of_a_model_that_returns_tuples():
    model = made(return_dict=False)
    with torch.no_grad():
        run = torch.jit.trace(model, (random_ids(2, LENGTH),))
        ids = random_ids(3, 61)
        close(run(ids)[0], model(ids)[0])
