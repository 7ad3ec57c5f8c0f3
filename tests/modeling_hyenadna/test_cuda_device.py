"""The long convolution on a real GPU: every path against float64, streams, graphs, operators, the model."""

import pytest
import torch

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM
from modeling_hyenadna.cuda_graphs import cuda_graphs
from modeling_hyenadna.long_conv import hyena_mixer, long_conv, prepare_kernel
from modeling_hyenadna.long_conv.operator import gated_convolution

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

# One block's transform, its limit, and the four-step form
LENGTHS = [1, 2, 3, 97, 128, 1_024, 1_026, 8_194, 16_384, 16_386, 32_770, 160_002, 1_000_002]
NAMES = ("v", "k", "skip", "gate_in", "gate_out")
ROUNDING = {torch.float32: 1e-6, torch.bfloat16: 4e-3, torch.float16: 5e-4}


def inputs(batch, channels, length, dtype=torch.float32, channel_last=True):
    """v, k, skip and gates; the gates and v channel-last as the model has them, or position-last."""
    generator = torch.Generator("cuda").manual_seed(length)

    def randn(*shape):
        return torch.randn(*shape, generator=generator, device="cuda")

    v, gate_in, gate_out = (randn(batch, channels, length).to(dtype) for _ in range(3))
    if channel_last:
        v, gate_in, gate_out = (t.mT.contiguous().mT for t in (v, gate_in, gate_out))
    k = randn(channels, length + 2) * torch.exp(-torch.arange(length + 2, device="cuda") / length * 5)
    return [v, k, randn(channels), gate_in, gate_out]


def relative_error(value, expected):
    return ((value.double() - expected.double()).norm() / expected.double().norm()).item()


@pytest.mark.parametrize("channel_last", [True, False])
@pytest.mark.parametrize("length", LENGTHS)
def test_forward_and_gradients(length, channel_last):
    channels = 19 if length < 20_000 else 3  # whole groups of eight channels, and a rest
    tensors = [t.requires_grad_() for t in inputs(2, channels, length, channel_last=channel_last)]
    exact = [t.detach().double().requires_grad_() for t in tensors]
    value, expected = long_conv(*tensors, backend="cuda"), long_conv(*exact)
    assert relative_error(value, expected) < 1e-6
    dy = torch.randn_like(expected)
    ours = torch.autograd.grad(value, tensors, dy.float())
    theirs = torch.autograd.grad(expected, exact, dy.float().double())
    for name, gradient, exact_gradient in zip(NAMES, ours, theirs, strict=True):
        allowed = 2e-6 if name == "skip" else 1e-6  # few numbers, each a sum over all positions
        assert relative_error(gradient, exact_gradient) < allowed, name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("length", [1_026, 32_770])
def test_half_precisions(length, dtype):
    tensors = inputs(2, 9, length, dtype)
    expected = long_conv(*(t.double() for t in tensors))
    value = long_conv(*tensors, backend="cuda")
    assert value.dtype == dtype
    assert relative_error(value, expected) < ROUNDING[dtype]


@pytest.mark.parametrize("length", [1_026, 32_770])
def test_prepared_kernel(length):
    v, k, skip, gate_in, gate_out = inputs(2, 9, length)
    prepared = prepare_kernel(k, length, backend="cuda")
    expected = long_conv(v, k, skip, gate_in, gate_out, backend="cuda")
    assert relative_error(long_conv(v, prepared, skip, gate_in, gate_out), expected) < 1e-6


@pytest.mark.parametrize("length", [1_026, 32_770])
def test_equal_inputs_give_equal_bits(length):
    tensors = [t.requires_grad_() for t in inputs(3, 9, length)]

    def step():
        value = long_conv(*tensors, backend="cuda")
        return value, *torch.autograd.grad(value.square().sum(), tensors)

    for once, again in zip(step(), step(), strict=True):
        assert torch.equal(once, again)


def test_runs_on_the_current_stream():
    tensors = inputs(2, 9, 32_770)
    expected = long_conv(*tensors, backend="cuda")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)  # what ran on another stream would not wait for this
        late = tensors[0].clone().mT.contiguous().mT
        value = long_conv(late, *tensors[1:], backend="cuda")
    stream.synchronize()
    assert torch.equal(value, expected)


@pytest.mark.parametrize("length", [1_026, 32_770])
def test_cuda_graph(length):
    tensors = inputs(2, 9, length)
    long_conv(*tensors, backend="cuda")  # tables are made on the first call
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        value = long_conv(*tensors, backend="cuda")
    tensors[0].mul_(2)
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(value, long_conv(*tensors, backend="cuda"))


def test_operator_is_well_registered():
    v, k, skip, gate_in, gate_out = (t.requires_grad_() for t in inputs(1, 3, 300))
    torch.library.opcheck(gated_convolution, (v, k, skip, gate_in, gate_out, None, "cuda"))


def test_mixer_equals_the_cpu():
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 1_026, 48), (48, 3), (48,), (16, 1_026), (16,)]
    arguments = [torch.randn(*shape, generator=generator) for shape in shapes]
    arguments[3] = arguments[3] * torch.exp(-torch.arange(1_026) / 200)
    expected = hyena_mixer(*(t.double() for t in arguments))
    assert relative_error(hyena_mixer(*(t.cuda() for t in arguments)).cpu(), expected) < 1e-6


def test_model_equals_the_cpu():
    torch.manual_seed(0)
    model = HyenaDNAForCausalLM(HyenaDNAConfig(d_model=32, n_layer=2, max_seq_len=1_026, embed_dropout=0.0))
    ids = torch.randint(7, 11, (2, 1_026))

    def step(device):
        model.to(device).zero_grad()
        logits = model(ids.to(device)).logits
        logits.float().square().mean().backward()
        return logits.detach().cpu(), {
            name: p.grad.clone().cpu() for name, p in model.named_parameters() if p.grad is not None
        }

    (expected, exact), (value, gradients) = step("cpu"), step("cuda")
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-4)
    assert gradients.keys() == exact.keys()
    for name, gradient in gradients.items():
        assert relative_error(gradient, exact[name]) < 1e-3, name


@pytest.mark.parametrize("masked", [False, True])
def test_a_models_graph_is_the_model(masked):
    torch.manual_seed(0)
    model = HyenaDNAForCausalLM(HyenaDNAConfig(d_model=32, n_layer=2, max_seq_len=1_026)).cuda().eval()
    batches = [torch.randint(7, 11, (4, 1_026), device="cuda") for _ in range(4)]
    mask = torch.ones_like(batches[0])
    mask[0, :100] = 0
    given = {"attention_mask": mask} if masked else {}
    with torch.inference_mode(), cuda_graphs(model):
        found = [model(ids, **given).logits for ids in batches]
        assert len(model.forward.recordings) == 1
    with torch.inference_mode():
        for ids, logits in zip(batches, found, strict=True):
            torch.testing.assert_close(logits, model(ids, **given).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("length", [1_026, 5_000])
def test_rows_read_alike_are_rows_read_whole(length):
    torch.manual_seed(0)
    model = HyenaDNAForCausalLM(HyenaDNAConfig(d_model=32, n_layer=2, max_seq_len=length)).cuda().eval()
    ids = torch.randint(7, 11, (1, length), device="cuda").repeat(4, 1)
    ids[1:, length // 2] = torch.tensor([7, 8, 9], device="cuda")
    mask = torch.ones_like(ids)
    mask[:, :30] = 0
    reference = torch.zeros(4, dtype=torch.int64, device="cuda")
    with torch.inference_mode():
        found = model.read_alike(ids, reference, mask).logits
        torch.testing.assert_close(found, model(ids, mask).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("beams", [1, 3])
def test_generation_as_graphs_is_generation(beams):
    torch.manual_seed(0)
    model = HyenaDNAForCausalLM(HyenaDNAConfig(d_model=32, n_layer=2, max_seq_len=1_026)).cuda().eval()
    ids = torch.randint(7, 11, (4, 300), device="cuda")
    mask = torch.ones_like(ids)
    mask[0, :100] = 0
    options = {"max_new_tokens": 200, "min_new_tokens": 200, "do_sample": False, "num_beams": beams}
    with cuda_graphs(model):
        found = model.generate(ids, attention_mask=mask, **options)
        assert beams > 1 or 1 <= len(model.forward.recordings) <= 4
    assert torch.equal(found, model.generate(ids, attention_mask=mask, **options))


@pytest.mark.parametrize("length", [1_026, 32_770])
def test_gradients_of_the_mixer_equal_the_cpu(length):
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, length, 48), (48, 3), (48,), (16, length), (16,)]
    arguments = [torch.randn(*shape, generator=generator) for shape in shapes]
    arguments[3] = arguments[3] * torch.exp(-torch.arange(length) / 200)
    exact = [t.double().requires_grad_() for t in arguments]
    ours = [t.cuda().requires_grad_() for t in arguments]
    dy = torch.randn(2, length, 16, generator=generator)
    hyena_mixer(*exact).backward(dy.double())
    hyena_mixer(*ours, backend="cuda").backward(dy.cuda())
    for tensor, other in zip(ours, exact, strict=True):
        assert relative_error(tensor.grad.cpu(), other.grad) < 2e-6
