"""Fused training on a GPU: the CPU's bits, no hidden waiting, refusals by name. Skipped without a GPU and CuPy."""

from __future__ import annotations

import copy

import pytest
import torch

from spikeframe.errors import BackendError, NonFiniteError
from spikeframe.kernels.cuda.source import Cut, header
from spikeframe.neurons import ALIF, LIF
from spikeframe.neurons.fused import launch_on
from tests.kernels.test_steps import NEURONS

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
SHAPES = [(1, 1, 1), (7, 3, 5), (33, 2, 65), (64, 1, 130), (16, 3, 1000)]


def run(layer, x, weights):
    """Return output, final state and every gradient."""
    x = x.detach().clone().requires_grad_()
    kind = torch.float64 if x.dtype == torch.float64 else torch.float32
    start = layer.initial_state(tuple(x.shape[1:]), kind, x.device)
    start = type(start)(*(s.clone().requires_grad_() if s.is_floating_point() else s for s in start))
    out, state = layer(x, start)
    smooth = [s for s in state if s.is_floating_point()]
    loss = (out * weights).sum() + sum((s * weights[0]).sum() for s in smooth)
    leaves = [x, *(s for s in start if s.is_floating_point()), *layer.parameters()]
    return out.detach(), state, torch.autograd.grad(loss, leaves, allow_unused=True)


def data(shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(sum(shape))
    x = torch.rand(shape, generator=generator, dtype=dtype) * 2.1 - 0.1
    return x, torch.randn(shape, generator=generator, dtype=dtype)


@pytest.mark.exact
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NEURONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_outputs_states_and_gradients_are_those_of_the_cpu(name, shape, dtype):
    x, weights = data(shape, dtype)
    layer = NEURONS[name](dt=1.0)
    out, state, gradients = run(copy.deepcopy(layer), x, weights)
    on_gpu = layer.cuda()
    first = run(on_gpu, x.cuda(), weights.cuda())
    again = run(on_gpu, x.cuda(), weights.cuda())
    assert torch.equal(out, first[0].cpu())
    assert all(torch.equal(a, b.cpu()) for a, b in zip(state, first[1], strict=True))
    for a, b, c in zip(gradients, first[2], again[2], strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            # Coefficients are computed from parameters by each device's own float64 functions.
            torch.testing.assert_close(b.cpu(), a, rtol=2e-4 if b.ndim == 0 else 2e-5, atol=1e-5)
            assert torch.equal(b, c)
    on_gpu.check_finite()


@pytest.mark.exact
def test_gradients_of_a_fixed_layer_are_the_cpu_s_bits():
    x, weights = data((33, 4, 77))
    layer = ALIF(dt=1.0)
    expected = run(copy.deepcopy(layer), x, weights)
    found = run(layer.cuda(), x.cuda(), weights.cuda())
    for a, b in zip(expected[2], found[2], strict=True):
        assert torch.equal(a, b.cpu())


#: Looks at a part of all floats: how often the reciprocal is not the quotient, and is no zero or infinity beyond.
EVERY_FLOAT = """
extern "C" __global__ void compare(const L from, unsigned* wrong) {
    const unsigned bits = (unsigned)(from + (L)blockIdx.x * blockDim.x + threadIdx.x);
    const float x = __int_as_float((int)bits), found = reciprocal(x), exact = 1.0f / x, size = x < 0 ? -x : x;
    if (__float_as_int(found) == __float_as_int(exact) || (found != found && exact != exact)) return;
    const bool normal = size >= 1.17549435e-38f && size <= 8.507059e37f;
    const bool end = size > 1.0f ? found == 0.0f : found - found != 0.0f && found == found;
    if (normal || !end) atomicAdd(wrong, 1u);
}"""


@pytest.mark.exact
def test_a_derivative_s_reciprocal_is_the_quotient_of_every_float():
    wrong = torch.zeros(1, dtype=torch.int32, device="cuda")
    text = header("float32", Cut(1, 1)) + EVERY_FLOAT
    for part in range(16):
        launch_on(wrong, text, "compare", 1 << 28, [part << 28, wrong.data_ptr()])
    assert int(wrong) == 0


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_is_float32_inside_and_rounded_once(kind):
    x, weights = data((33, 4, 77))
    x, weights = x.to(kind), weights.to(kind)
    layer = LIF(dt=1.0).cuda()
    out, state, gradients = run(layer, x.cuda(), weights.cuda())
    exact_out, exact_state, exact = run(layer, x.float().cuda(), weights.float().cuda())
    assert out.dtype == kind
    assert state.v.dtype == torch.float32
    assert torch.equal(out.float(), exact_out)
    assert torch.equal(state.v, exact_state.v)
    assert torch.equal(gradients[0], exact[0].to(kind))


@pytest.mark.exact
def test_calls_that_are_prepared_give_what_the_first_gives_and_notice_changes():
    layer = LIF(dt=1.0).cuda()
    x = (torch.rand(20, 4, 64, device="cuda") * 2).requires_grad_()
    g = torch.randn_like(x)
    expected, state = layer(x, layer.initial_state((4, 64), device="cuda"))
    (gradient,) = torch.autograd.grad(expected, x, g)
    for _ in range(3):
        out, last = layer(x)
        assert torch.equal(out, expected)
        assert torch.equal(last.v, state.v)
        assert torch.equal(torch.autograd.grad(out, x, g)[0], gradient)
    again = copy.deepcopy(layer)
    assert torch.equal(again(x)[0], expected)
    with torch.no_grad():
        layer._v_th.fill_(1.5)
    assert torch.equal(layer(x)[0], LIF(dt=1.0, v_th=1.5).cuda()(x)[0])
    layer.dt = 2.0
    assert torch.equal(layer(x)[0], LIF(dt=2.0, v_th=1.5).cuda()(x)[0])
    assert torch.equal(layer(x[:7])[0], layer(x)[0][:7])
    both = [layer(x, start) for start in (None, layer.initial_state((4, 64), device="cuda"))]
    ends = [torch.autograd.grad(out.sum() + state.v.square().sum(), x)[0] for out, state in (*both, layer(x))]
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[0], ends[2])
    assert layer(x.double())[0].dtype == torch.float64


@pytest.mark.fault
def test_a_second_derivative_is_refused():
    layer = LIF(dt=1.0).cuda()
    x = torch.rand(5, 2, 8, device="cuda", requires_grad=True)
    (g,) = torch.autograd.grad(layer(x)[0].square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.sum().backward()


@pytest.mark.exact
def test_columns_that_do_not_lie_in_pairs_give_the_same():
    layer = LIF(dt=1.0).cuda()
    whole = (torch.rand(9 * 4 * 6 + 1, device="cuda") * 2).bfloat16()
    odd = whole[1:].view(9, 4, 6)
    assert odd.data_ptr() % 4 == 2
    assert torch.equal(layer(odd)[0], layer(odd.clone())[0])
    assert torch.equal(layer(odd[:, :1, :5].contiguous())[0], layer(odd.clone())[0][:, :1, :5])


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_nothing_waits_for_the_gpu():
    layer = LIF(dt=1.0, t_ref=2.0).cuda()
    learnt = LIF(dt=1.0, learnable=["tau_m", "v_th"]).cuda()
    x = torch.rand(20, 4, 64, device="cuda", requires_grad=True)
    for _ in range(2):
        torch.cuda.set_sync_debug_mode("error" if _ else "default")
        try:
            for one in (layer, learnt):
                out, _state = one(x)
                out.sum().backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.exact
def test_another_stream_gives_the_same():
    layer = LIF(dt=1.0).cuda()
    x = torch.rand(20, 4, 64, device="cuda") * 2
    expected = layer(x)[0]
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        out = layer(x)[0]
    stream.synchronize()
    assert torch.equal(out, expected)


def test_a_number_that_is_not_finite_is_reported_by_the_next_call_or_on_request():
    layer = LIF(dt=1.0).cuda()
    x = torch.rand(20, 4, 64, device="cuda")
    bad = x.clone()
    bad[7, 2, 5] = torch.nan
    layer(bad)
    torch.cuda.synchronize()
    with pytest.raises(NonFiniteError, match=rf"step 7 .*column {2 * 64 + 5} "):
        layer(x)
    layer(x)
    layer.check_finite()
    layer(bad)
    with pytest.raises(NonFiniteError, match="step 7"):
        layer.check_finite()


def test_mixed_precision_training_has_finite_gradients():
    for kind in (torch.bfloat16, torch.float16):
        model = torch.nn.Linear(32, 64).cuda()
        layer = LIF(dt=1.0, learnable=["tau_m"]).cuda()
        with torch.autocast("cuda", dtype=kind):
            current = model(torch.rand(12, 3, 32, device="cuda") * 4)
            out, _ = layer(current)
            loss = out.float().mean()
        assert out.dtype == kind
        loss.backward()
        assert torch.isfinite(model.weight.grad).all()
        assert model.weight.grad.abs().sum() > 0
        assert torch.isfinite(layer.log_tau_m.grad)


@pytest.mark.exact
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("learnable", [(), ("tau_m",)])
@pytest.mark.parametrize("options", [{"backend": "aot_eager"}, {"mode": "reduce-overhead"}], ids=str)
def test_a_compiled_model_has_no_graph_break_and_gives_the_same(options, learnable):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.lif = torch.nn.Linear(32, 64), LIF(dt=1.0, learnable=learnable)

        def forward(self, x):
            out, state = self.lif(self.linear(x) * 3)
            return out, state.v

    torch._dynamo.reset()
    net = Net().cuda()
    x = torch.rand(40, 2, 32, device="cuda")
    compiled = torch.compile(net, fullgraph=True, **options)
    for _ in range(4):
        results = []
        for run in (net, compiled):
            net.zero_grad()
            out, v = run(x)
            assert out.sum() > 0
            (out.sum() + v.sum()).backward()
            results.append([out.detach().clone(), v.detach().clone(), *(p.grad.clone() for p in net.parameters())])
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-4)
        assert torch.equal(results[0][0], results[1][0])
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert compiled(x)[0].dtype == torch.bfloat16


@pytest.mark.fault
def test_tensors_that_cannot_be_used_are_refused_by_name():
    layer = LIF(dt=1.0).cuda()
    x = torch.rand(5, 4, 6, device="cuda")
    with pytest.raises(BackendError, match="'input' on cuda:0 is not contiguous"):
        layer(x.transpose(1, 2).contiguous().transpose(1, 2))
    with pytest.raises(BackendError, match=r"coefficient .* is on cpu"):
        LIF(dt=1.0)(x)
    with pytest.raises(BackendError, match="state 'v' is on cpu"):
        layer(x, layer.initial_state((4, 6), device="cpu"))
    with pytest.raises(BackendError, match="'numba' runs on the CPU"):
        LIF(dt=1.0, backend="numba").cuda()(x)


@pytest.mark.fault
def test_running_out_of_memory_says_what_was_needed_and_what_fits():
    free = torch.cuda.mem_get_info()[0]
    torch.cuda.empty_cache()
    columns = int(free * 0.7) // (4 * 4)
    x = torch.zeros(4, 1, columns, device="cuda")
    with pytest.raises(BackendError, match=r"out of memory: .* needs \d+ MiB and \d+ MiB are free; \d+ columns"):
        LIF(dt=1.0).cuda()(x)
