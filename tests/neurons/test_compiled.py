"""Layers under `torch.compile` (no graph break), autocast and DistributedDataParallel, on the CPU."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from spikeframe.errors import DTypeError, NonFiniteError
from spikeframe.neurons import ALIF, LIF, AdEx, EscapeLIF, Exp
from tests.kernels.test_steps import NEURONS

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:torch"),
]


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()


def compiled(model, backend="aot_eager", **options):
    return torch.compile(model, backend=backend, fullgraph=True, **options)


def gradients(call, layer, x, start, weights):
    """Return output, final state and every gradient of one call."""
    layer.zero_grad()
    x = x.clone().requires_grad_()
    state = None
    if start is not None:
        state = type(start)(*(s.detach().clone().requires_grad_(s.is_floating_point()) for s in start))
    out, last = call(x, state)
    ends = sum((s * weights[0]).sum() for s in last if s.is_floating_point())
    ((out * weights).sum() + ends).backward()
    given = [] if state is None else [s.grad for s in state if s.is_floating_point()]
    return [out, *last, x.grad, *given, *(p.grad for p in layer.parameters())]


@pytest.mark.exact
@pytest.mark.parametrize("name", ["lif", "lif_value_refractory", "lif_exp", "alif"])
def test_a_compiled_layer_gives_the_bits_and_gradients_of_an_eager_one(name):
    generator = torch.Generator().manual_seed(1)
    x = torch.rand((33, 2, 65), generator=generator) * 2.1 - 0.1
    weights = torch.randn(x.shape, generator=generator)
    layer = NEURONS[name](dt=1.0)
    call = compiled(layer)
    for start in (None, layer(x)[1]):
        expected = gradients(layer, layer, x, start, weights)
        found = gradients(call, layer, x, start, weights)
        for a, b in zip(expected, found, strict=True):
            assert torch.equal(a, b)
    with torch.no_grad():
        assert torch.equal(call(x)[0], layer(x)[0])


class Net(nn.Module):
    """Two linear layers with neurons behind them."""

    def __init__(self, **options):
        super().__init__()
        self.first, self.lif = nn.Linear(6, 12), LIF(dt=1.0, **options)
        self.second, self.alif = nn.Linear(12, 5), ALIF(dt=1.0)

    def forward(self, x):
        hidden, state = self.lif(self.first(x) * 4)
        return self.alif(self.second(hidden) * 4)[0], state.v


@pytest.mark.campaign
def test_inductor_compiles_a_network_for_changing_batches():
    torch.manual_seed(0)
    net = Net(learnable=["tau_m"])
    call = compiled(net, "inductor", dynamic=True)
    for batch in (3, 5, 8):
        x = torch.rand(21, batch, 6)
        results = []
        for run in (net, call):
            net.zero_grad()
            out, v = run(x)
            (out.sum() + v.sum()).backward()
            results.append([out, v, *(p.grad for p in net.parameters())])
        assert results[0][0].sum() > 0
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.exact
def test_a_graph_notices_new_values_and_options_and_belongs_to_its_layer():
    x = torch.rand(20, 2, 8) * 2
    layer, other = LIF(dt=1.0), LIF(dt=1.0, v_th=1.5)
    call = compiled(layer)
    assert torch.equal(call(x)[0], layer(x)[0])
    assert torch.equal(compiled(other)(x)[0], other(x)[0])
    twin = copy.deepcopy(layer)
    assert twin.number != layer.number
    layer.load_state_dict(other.state_dict())
    assert torch.equal(call(x)[0], other(x)[0])
    assert torch.equal(compiled(twin)(x)[0], LIF(dt=1.0)(x)[0])
    layer.dt = 2.0
    assert torch.equal(call(x)[0], LIF(dt=2.0, v_th=1.5)(x)[0])


@pytest.mark.exact
def test_receptors_by_name_and_random_numbers_go_through_a_graph():
    adex = AdEx(dt=0.1, receptors={"exc": Exp(tau=2.0), "inh": Exp(tau=5.0)})
    x = {"exc": torch.rand(30, 2, 4) * 5000, "inh": torch.rand(30, 2, 4) * 100}
    expected, state = adex(x)
    found, last = compiled(adex)(x)
    assert torch.equal(found, expected)
    assert all(torch.equal(a, b) for a, b in zip(state, last, strict=True))
    escape = EscapeLIF(dt=1.0)
    current = torch.rand(30, 2, 4)
    call = compiled(escape)
    assert torch.equal(call(current, seed=7)[0], escape(current, seed=7)[0])
    drawn = []
    for run in (escape, call):
        torch.manual_seed(3)
        drawn.append(run(current)[0])
    assert torch.equal(*drawn)


@pytest.mark.fault
def test_a_compiled_layer_refuses_what_an_eager_one_refuses():
    layer = LIF(dt=1.0)
    call = compiled(layer)
    x = torch.rand(5, 2, 3)
    call(x)
    bad = x.clone()
    bad[3, 1, 2] = torch.nan
    with pytest.raises(NonFiniteError, match=r"\[3, 1, 2\]"):
        call(bad)
    with pytest.raises(Exception, match="state 'v' has shape"):
        call(x, layer.initial_state((2, 4)))


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_is_float32_inside_and_rounded_once(kind):
    layer = ALIF(dt=1.0)
    generator = torch.Generator().manual_seed(2)
    x = (torch.rand((33, 4, 7), generator=generator) * 2).to(kind)
    weights = torch.randn(x.shape, generator=generator).to(kind)
    found = gradients(layer, layer, x, None, weights)
    exact = gradients(layer, layer, x.float(), None, weights.float())
    assert found[0].dtype == kind
    assert found[1].dtype == torch.float32
    assert torch.equal(found[0].float(), exact[0])
    assert torch.equal(found[-1], exact[-1].to(kind))
    with pytest.raises(DTypeError, match=r"torch\.int64"):
        layer(torch.ones(3, 1, 4, dtype=torch.int64))


@pytest.mark.parametrize("wrap", [lambda model: model, compiled], ids=["eager", "compiled"])
def test_under_autocast_a_network_learns_in_sixteen_bits(wrap):
    torch.manual_seed(0)
    net = Net(learnable=["tau_m"])
    x = torch.rand(15, 3, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        current = net.first(x) * 4
        out, v = wrap(net)(x)
        loss = out.float().mean() + v.mean()
    assert out.dtype == torch.bfloat16
    assert v.dtype == torch.float32
    assert torch.equal(net.lif(current)[1].v, v)
    loss.backward()
    for parameter in net.parameters():
        assert parameter.grad.dtype == torch.float32
        assert torch.isfinite(parameter.grad).all()
    assert net.first.weight.grad.abs().sum() > 0
    assert net.lif.log_tau_m.grad != 0


#: Ends without tidying up: a process group of gloo that goes while Python's lock is held can wait for ever.
_WORKER = """
import os, sys
import torch
from torch.nn.parallel import DistributedDataParallel
from tests.neurons.test_compiled import Net

rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
torch.manual_seed(0)
net, x = Net(learnable=["tau_m", "v_th"]), torch.rand(21, 8, 6)
torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
shared = DistributedDataParallel(net)
for _ in range(2):  # the second call is a prepared one
    net.zero_grad()
    out, v = shared(x[:, rank::world])
    (out.square().mean() + v.mean()).backward()
torch.save([p.grad for p in net.parameters()], f"{folder}/{rank}.pt")
torch.distributed.barrier()
os._exit(0)
"""


def test_gradients_of_two_processes_are_those_of_one_on_the_joined_batch(tmp_path):
    workers = [subprocess.Popen([sys.executable, "-c", _WORKER, str(k), "2", str(tmp_path)]) for k in range(2)]
    try:
        assert [worker.wait(240) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
    found, others = (torch.load(tmp_path / f"{k}.pt") for k in range(2))
    assert all(map(torch.equal, found, others))
    torch.manual_seed(0)
    net = Net(learnable=["tau_m", "v_th"])
    out, v = net(torch.rand(21, 8, 6))
    (out.square().mean() + v.mean()).backward()
    for gradient, parameter in zip(found, net.parameters(), strict=True):
        assert gradient.abs().sum() > 0
        torch.testing.assert_close(gradient, parameter.grad)
