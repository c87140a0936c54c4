"""Delays: clocked layers against plain loops, learned delays that find a lag, exact arrival in a simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import spikeframe as sf
from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError, TimeGridError
from spikeframe.modules.delays import DelayLinear, DelayState, LearnedDelayLinear, dcls_sigma

F64 = torch.float64


def generator(seed):
    return torch.Generator().manual_seed(seed)


def dyadic(layer, seed=1):
    """Weights that are multiples of 1/64: sums of spikes are exact."""
    with torch.no_grad():
        layer.weight.copy_(torch.randint(-40, 64, layer.weight.shape, generator=generator(seed)) / 64)
    return layer


def spikes(t, b, n, density=0.2, seed=0):
    return (torch.rand(t, b, n, generator=generator(seed)) < density).float()


def loops(x, weight, delay):
    """Every spike arrives at every target after its delay."""
    t, b, n = x.shape
    out = torch.zeros(t, b, len(weight), dtype=x.dtype)
    for o, i in np.ndindex(len(weight), n):
        d = int(delay[o, i])
        if d < t:
            out[d:, :, o] += weight[o, i] * x[: t - d, :, i]
    return out


@pytest.mark.exact
@given(
    st.integers(0, 12), st.integers(1, 3), st.integers(1, 5), st.integers(1, 4), st.integers(0, 6), st.integers(0, 9)
)
@settings(max_examples=40, deadline=None)
def test_every_spike_arrives_after_exactly_its_delay(t, b, inputs, outputs, longest, seed):
    steps = torch.randint(0, longest + 1, (outputs, inputs), generator=generator(seed))
    layer = dyadic(DelayLinear(inputs, outputs, steps * 0.5, dt=0.5), seed)
    x = spikes(t, b, inputs, seed=seed)
    out, _ = layer(x)
    assert torch.equal(out, loops(x, layer.weight.detach(), steps))


@pytest.mark.exact
@pytest.mark.parametrize("cut", [0, 1, 3, 11])
def test_a_run_cut_in_two_is_the_run(cut):
    layer = dyadic(DelayLinear(4, 3, torch.randint(0, 6, (3, 4), generator=generator(2)), dt=1.0))
    x = spikes(11, 2, 4)
    whole, end = layer(x)
    first, state = layer(x[:cut])
    second, after = layer(x[cut:], state)
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(after.past, end.past)


def test_without_delay_it_is_a_linear_layer():
    layer = DelayLinear(4, 3, 0.0, dt=1.0).double()
    x = torch.randn(5, 2, 4, dtype=F64, generator=generator(0))
    torch.testing.assert_close(layer(x)[0], x @ layer.weight.T)


@pytest.mark.parametrize("make", [
    lambda: DelayLinear(2, 3, [[0, 1], [2, 2], [3, 0]], dt=1.0),
    lambda: LearnedDelayLinear(2, 3, 4.0, 1.0, sigma=0.8),
    lambda: LearnedDelayLinear(2, 3, 4.0, 1.0, min_delay=0.0, interpolation="triangle"),
])  # fmt: skip
def test_gradients_are_derivatives(make):
    torch.manual_seed(3)
    layer = make().double()
    if isinstance(layer, LearnedDelayLinear):
        layer.delay.data = torch.tensor([[1.3, 2.6], [3.7, 1.1], [2.4, 3.2]], dtype=F64)  # off the triangle's corners
    x = torch.randn(6, 2, 2, dtype=F64, generator=generator(1)).requires_grad_()
    parameters = dict(layer.named_parameters())

    def run(x, *values):
        return torch.func.functional_call(layer, dict(zip(parameters, values, strict=True)), (x,))[0]

    assert torch.autograd.gradcheck(run, (x, *parameters.values()), fast_mode=True)


@given(st.floats(0, 7), st.sampled_from(["gaussian", "triangle"]), st.floats(1e-3, 30))
@settings(max_examples=60, deadline=None)
def test_a_synapse_is_spread_over_delays_in_range_and_keeps_its_weight(delay, interpolation, sigma):
    layer = LearnedDelayLinear(1, 1, 5.0, 1.0, interpolation=interpolation, sigma=sigma).double()
    layer.weight.data.fill_(1.0)
    layer.delay.data.fill_(delay)
    taps = layer.taps()[0, 0]
    assert taps.shape == (6,)
    assert taps[0] == 0.0  # the shortest delay is dt
    assert float(taps.sum().detach()) == pytest.approx(1.0)
    assert bool((taps >= 0).all())
    if interpolation == "triangle":
        mean = float((taps * torch.arange(6)).sum().detach())
        assert mean == pytest.approx(min(max(delay, 1.0), 5.0))


@pytest.mark.parametrize("taps", [3, 25])
def test_the_published_kernel_is_this_one_mirrored(taps):
    """The DCLS library: positions from the middle of the kernel, tap n delays by taps - 1 - n, an offset of 1e-7."""
    sigma, position = 0.7, torch.tensor([-0.4, 0.0, 0.9], dtype=F64)
    n = torch.arange(taps, dtype=F64)
    x = torch.exp(-0.5 * ((n - (position.unsqueeze(-1) + taps // 2)) / sigma) ** 2)
    published = x / (x.sum(-1, keepdim=True) + 1e-7)
    layer = LearnedDelayLinear(3, 1, taps - 1.0, 1.0, min_delay=0.0, sigma=sigma).double()
    layer.weight.data.fill_(1.0)
    layer.delay.data = (taps - 1 - (position + taps // 2)).reshape(1, 3)
    torch.testing.assert_close(layer.taps()[0].detach().flip(-1), published, rtol=0, atol=2e-7)


@pytest.mark.exact
@pytest.mark.parametrize("interpolation", ["gaussian", "triangle"])
def test_rounded_delays_are_single_taps_on_the_grid(interpolation):
    torch.manual_seed(5)
    layer = LearnedDelayLinear(6, 4, 3.5, 0.5, interpolation=interpolation)
    fixed = layer.rounded()
    assert torch.equal(fixed.delay, layer.delay.detach().round().long())
    assert torch.equal((fixed.taps() != 0).sum(-1), torch.ones(4, 6, dtype=torch.long))
    layer.delay.data = fixed.delay.float()
    layer.sigma = 1e-3
    x = spikes(20, 2, 6)
    assert torch.equal(layer(x)[0], fixed(x)[0])
    assert int(fixed.delay.min()) >= 1
    assert int(fixed.delay.max()) <= 7


def test_the_width_narrows_as_published():
    assert dcls_sigma(0, 150, 25) == pytest.approx(12.27)
    assert dcls_sigma(37, 150, 25) == pytest.approx(0.5)
    assert dcls_sigma(149, 150, 25) == pytest.approx(0.5)
    assert all(dcls_sigma(e, 40, 9) > dcls_sigma(e + 1, 40, 9) for e in range(10))


def test_learned_delays_find_the_lag_between_two_inputs():
    """The second input comes 7 steps after the first; the target is active when both should arrive together."""
    torch.manual_seed(1)
    first = spikes(200, 4, 1, density=0.05, seed=3)
    x = torch.cat([first, first.roll(7, 0)], -1)
    x[:7, :, 1] = 0.0
    target = torch.zeros(200, 4, 1)
    target[9:] = 2 * first[:-9]
    layer = LearnedDelayLinear(2, 1, 15.0, 1.0)
    layer.weight.data.fill_(1.0)
    layer.weight.requires_grad_(False)
    layer.delay.data = torch.tensor([[5.0, 5.0]])
    optimiser = torch.optim.Adam([layer.delay], lr=0.3)
    for epoch in range(60):
        layer.sigma = dcls_sigma(epoch, 160, 15)
        out, _ = layer(x)
        optimiser.zero_grad()
        (out - target).square().mean().backward()
        optimiser.step()
        layer.clamp_()
    delay = layer.delay.detach()[0]
    assert float(delay[0] - delay[1]) == pytest.approx(7.0, abs=0.5)
    assert layer.rounded().delay.tolist() == [[9, 2]]


def test_delays_never_leave_their_range():
    layer = LearnedDelayLinear(1, 1, 4.0, 1.0)
    layer.delay.data.fill_(9.0)
    layer.clamp_()
    assert layer.delay.item() == 4.0
    layer.delay.data.fill_(-3.0)
    assert layer.rounded().delay.item() == 1


@pytest.mark.exact
@pytest.mark.parametrize(("backend", "dt"), [("reference", 1.0), ("numba", 1.0), ("numba", 0.1)])
def test_a_simulation_with_these_synapses_gives_the_same_spikes(backend, dt):
    """Two delayed layers of LIF neurons, clocked and as a scripted network, spike for spike."""
    options = {"tau_m": 10.0 * dt, "v_th": 1.0}
    torch.manual_seed(7)
    layers = [
        dyadic(LearnedDelayLinear(12, 9, 8 * dt, dt).rounded(), 1),
        dyadic(DelayLinear(9, 6, torch.randint(1, 5, (6, 9), generator=generator(1)).double() * dt, dt), 2),
    ]
    x = spikes(80, 1, 12, density=0.3)
    clocked = [x]
    for layer in layers:
        clocked.append(sf.neurons.LIF(dt=dt, **options)(layer(clocked[-1])[0])[0])
    steps, ids = x[:, 0].nonzero().T.numpy()

    net = sf.Network()
    receptors = {"in": sf.neurons.Delta()}
    populations = [net.population("input", 12, sf.SpikeSource((steps + 1) * dt, ids))]
    for k, layer in enumerate(layers):
        populations.append(
            net.population(f"layer{k}", layer.out_features, sf.neurons.LIF(**options, receptors=receptors))
        )
        s = layer.synapses()
        net.connect(populations[k], populations[k + 1], sf.Pairs(s.source, s.target), weight=s.weight, delay=s.delay)
    net.record(populations[1:], "spikes")
    result = sf.Simulator(net, dt=dt, backend=backend).run(80 * dt)
    for k, out in enumerate(clocked[1:]):
        found = result.spikes[f"layer{k}"]
        expected = {(int(t) + 1, int(i)) for t, i in out[:, 0].nonzero()}  # the clocked step t ends at (t + 1) dt
        assert set(zip(np.rint(found.times / dt).tolist(), found.ids.tolist(), strict=True)) == expected
        assert 10 < len(expected) < 0.9 * out.numel()


def test_synapses_leave_zero_weights_out():
    layer = DelayLinear(3, 2, 4.0, dt=2.0)
    layer.weight.data = torch.tensor([[0.5, 0.0, -1.0], [0.0, 0.0, 2.0]])
    s = layer.synapses()
    assert s.source.tolist() == [0, 2, 2]
    assert s.target.tolist() == [0, 0, 1]
    assert s.weight.tolist() == [0.5, -1.0, 2.0]
    assert s.delay.tolist() == [4.0, 4.0, 4.0]


@pytest.mark.fault
@pytest.mark.parametrize("delay", [0.5, -1.0, math.nan, math.inf, [[1.0, 2.0], [1.0, 1.3]], 1e12])
def test_a_delay_off_the_grid_is_refused(delay):
    with pytest.raises(TimeGridError, match=r"delay.*multiple of dt=1 ms"):
        DelayLinear(2, 2, delay, dt=1.0)


@pytest.mark.fault
def test_bad_arguments_are_refused_by_name():
    with pytest.raises(TimeGridError, match="max_delay"):
        LearnedDelayLinear(2, 2, 3.2, 1.0)
    with pytest.raises(TimeGridError, match="min_delay"):
        LearnedDelayLinear(2, 2, 3.0, 1.0, min_delay=0.4)
    with pytest.raises(ParameterError, match="below min_delay"):
        LearnedDelayLinear(2, 2, 3.0, 1.0, min_delay=4.0)
    with pytest.raises(ParameterError, match="gaussian, triangle"):
        LearnedDelayLinear(2, 2, 3.0, 1.0, interpolation="linear")
    for sigma, error in ((0.0, ParameterError), (-1.0, ParameterError), (math.nan, NonFiniteError)):
        with pytest.raises(error, match="sigma"):
            LearnedDelayLinear(2, 2, 3.0, 1.0, sigma=sigma)
    for dt in (0.0, -1.0, math.nan, None, True):
        with pytest.raises(TimeGridError, match="dt"):
            DelayLinear(2, 2, 1.0, dt)
    with pytest.raises(ShapeError, match=r"\[3, 2\]"):
        DelayLinear(2, 3, [1.0, 2.0, 3.0], 1.0)
    with pytest.raises(ParameterError, match="in_features"):
        DelayLinear(0, 3, 1.0, 1.0)
    with pytest.raises(DTypeError, match="delay"):
        DelayLinear(2, 3, "long", 1.0)
    with pytest.raises(ParameterError, match="taps"):
        dcls_sigma(0, 10, 2)


@pytest.mark.fault
def test_a_delay_of_0_does_not_fit_a_simulation():
    with pytest.raises(TimeGridError, match="delay 0"):
        DelayLinear(2, 2, [[1.0, 0.0], [1.0, 1.0]], 1.0).synapses()


@pytest.mark.fault
def test_inputs_and_states_that_do_not_fit_are_refused():
    layer = DelayLinear(3, 2, 2.0, 1.0)
    with pytest.raises(ShapeError):
        layer(torch.zeros(4, 1, 2))
    with pytest.raises(ShapeError, match=r"\[T, B, in\]"):
        layer(torch.zeros(4, 1, 2, 3))
    with pytest.raises(ShapeError, match="past"):
        layer(torch.zeros(4, 1, 3), DelayState(torch.zeros(1, 1, 3)))
    with pytest.raises(NonFiniteError, match=r"\[2, 0, 1\]"):
        layer(
            torch.zeros(4, 1, 3).index_put((torch.tensor(2), torch.tensor(0), torch.tensor(1)), torch.tensor(math.nan))
        )
