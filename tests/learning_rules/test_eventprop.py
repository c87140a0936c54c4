"""EventProp against central differences, its plain reference, and the clocked model of small steps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError, UnsupportedLayerError
from spikeframe.kernels.eventprop import Arrivals, Graph, provider
from spikeframe.learning_rules import EventProp
from spikeframe.neurons import ALIF, LIF, Delta, Exp, Recurrent, Sequential

MOST = 100_000


def lif(tau_m=20.0, tau_s=5.0):
    return LIF(tau_m=tau_m, receptors=Exp(tau=tau_s), dt=1.0)


def network(inputs, sizes, recurrent=(), scale=4.0, seed=0, tau_s=5.0):
    torch.manual_seed(seed)
    parts, before = [], inputs
    for n, size in enumerate(sizes):
        parts.append(nn.Linear(before, size, bias=False))
        nn.init.normal_(parts[-1].weight, 3 * scale / before, scale / before)
        parts.append(Recurrent(lif(tau_s=tau_s), size) if n in recurrent else lif(tau_s=tau_s))
        before = size
    return Sequential(*parts).double()


def against_differences(rule, times, value, h=1e-6):
    """Compare the gradients of ``value(spikes)`` with central differences; return the largest error and gradient."""
    times = times.clone().requires_grad_()
    free = [times, *rule.model.parameters()]
    spikes = rule(times, torch.zeros(sum(rule.sizes)))
    order = spikes.neuron.clone()
    given = torch.autograd.grad(value(spikes), free)
    worst = largest = 0.0
    for tensor, gradient in zip(free, given, strict=True):
        flat = tensor.detach().view(-1)
        for k in range(flat.numel()):
            values = []
            for sign in (1, -1):
                flat[k] += sign * h
                moved = rule(times.detach(), torch.zeros(sum(rule.sizes)))
                assert torch.equal(moved.neuron, order), "a spike appeared, vanished or changed places"
                values.append(float(value(moved).detach()))
                flat[k] -= sign * h
            worst = max(worst, abs((values[0] - values[1]) / (2 * h) - float(gradient.reshape(-1)[k])))
            largest = max(largest, abs(float(gradient.reshape(-1)[k])))
    return worst, largest


def test_two_recurrent_neurons_and_seven_input_spikes_agree_with_central_differences():
    """Loss on all spike times plus 0.05 times the integral of V squared."""
    model = network(2, [2], recurrent=(0,), seed=1)
    model[1].weight.data.mul_(0.5)
    times = torch.tensor([[[2.0, 11.0, 19.0, 31.0], [4.5, 13.0, 26.0, math.inf]]], dtype=torch.float64)
    rule = EventProp(model, 45.0)
    spikes = rule(times)
    assert len(spikes.times) >= 6
    assert set(spikes.neuron.tolist()) == {0, 1}
    worst, largest = against_differences(
        rule, times, lambda s: (s.times * torch.cos(s.times)).sum() + 0.05 * s.deviation().sum()
    )
    assert worst < 1e-7 * max(1.0, largest)
    assert largest > 0.1


@pytest.mark.parametrize(
    ("sizes", "recurrent", "tau_s"), [([12, 3], (), 5.0), ([6, 2], (0,), 5.0), ([4, 3], (1,), 30.0)]
)
def test_larger_networks_agree_with_central_differences(sizes, recurrent, tau_s):
    model = network(5, sizes, recurrent, scale=4.0, seed=2, tau_s=tau_s)
    for n in recurrent:
        model[2 * n + 1].weight.data.mul_(0.2)
    times = 25.0 * torch.rand(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    rule = EventProp(model, 30.0)
    assert len(rule(times).times) > 10
    worst, largest = against_differences(
        rule, times, lambda s: s.first().square().sum() / 100 + s.times.sin().sum() + 0.1 * s.deviation(0).sum()
    )
    assert worst < 2e-7 * max(1.0, largest)


def test_equal_time_constants_are_the_limit():
    results = []
    for tau_s in (10.0, 10.0 * (1 + 1e-7)):
        model = network(3, [4], seed=3)
        model[1] = lif(10.0, tau_s)
        spikes = EventProp(model, 30.0)(torch.tensor([[1.0, 4.0, 9.0]], dtype=torch.float64))
        (gradient,) = torch.autograd.grad(spikes.times.sum(), model[0].weight)
        results.append((spikes.times.detach(), gradient))
    assert len(results[0][0]) > 3
    for exact, near in zip(*results, strict=True):
        assert torch.allclose(exact, near, rtol=1e-5)


def random_case(seed, inputs=5, size=6, samples=2, spikes=9):
    random = np.random.default_rng(seed)
    first, target = [0], []
    for _ in range(inputs + size):
        target += list(np.flatnonzero(random.random(size) < 0.7))
        first.append(len(target))
    graph = Graph(
        random.uniform(5, 30, size), random.uniform(2, 40, size), random.uniform(0.8, 1.2, size), inputs,
        np.array(first), np.array(target, np.int64),
    )  # fmt: skip
    weights = random.normal(2.5, 1.0, len(target))
    weights[first[inputs] :] = random.normal(-0.3, 0.2, len(target) - first[inputs])
    times = np.sort(np.round(random.uniform(0, 33, (samples, spikes)), 1), 1)  # rounded: some arrive together
    times[:, 1] = times[:, 0]
    arrivals = Arrivals(times.ravel(), random.integers(0, inputs, samples * spikes), np.arange(samples + 1) * spikes)
    return graph, weights, arrivals, random


@pytest.mark.parity
@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_kernel_does_what_the_reference_does(seed, running):
    graph, weights, arrivals, random = random_case(seed)
    centre = random.uniform(-0.5, 0.5, len(graph.theta)) if running else None
    results = []
    for name in ("reference", "numba"):
        made = provider(name)
        run = made.forward(graph, weights, arrivals, 30.0, centre, MOST)
        g_times = np.sin(np.arange(len(run.times)))
        g_deviation = np.cos(np.arange(run.deviation.size)).reshape(run.deviation.shape) * running
        results.append((run, made.backward(graph, weights, arrivals, 30.0, centre, run, g_times, g_deviation, 1e-3)))
    (slow, slow_back), (fast, fast_back) = results
    assert len(slow.times) > 10
    assert np.array_equal(slow.neuron, fast.neuron)
    assert np.array_equal(slow.begin, fast.begin)
    for a, b in zip((slow.times, slow.current, slow.deviation, *slow_back),
                    (fast.times, fast.current, fast.deviation, *fast_back), strict=True):  # fmt: skip
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-9)


def test_spikes_are_those_of_the_clocked_model_as_its_step_shrinks():
    model = network(4, [6, 3], recurrent=(0,), seed=5).float()
    model[1].weight.data.mul_(0.3)
    times = torch.tensor([[1.0, 3.0, 6.0, 10.0]])
    spikes = EventProp(model, 30.0)(times)
    assert spikes.counts(0).sum() > 10
    dt = 0.01
    for layer in (model[1].neuron, model[3]):
        layer.dt = dt
    x = torch.zeros(3000, 1, 4)
    x[(times[0] / dt).long(), 0, torch.arange(4)] = 1.0
    with torch.no_grad():
        hidden, _ = model[1](model[0](x.flatten(0, 1)).unflatten(0, (3000, 1)))
        out, _ = model(x)
    for layer, clocked in ((0, hidden), (1, out)):
        assert (clocked.sum(0) - spikes.counts(layer)).abs().max() <= 1
        fired = clocked.bool().any(0)
        first = (clocked.bool().float().argmax(0) + 1) * dt
        assert ((first - spikes.first(layer))[fired].abs() < 0.15).all()


def test_memory_is_a_record_per_spike():
    graph, weights, arrivals, _ = random_case(0)
    run = provider("numba").forward(graph, weights, arrivals, 50.0, None, MOST)
    assert all(part.shape[0] == len(run.times) for part in (run.times, run.neuron, run.current))
    before, touched, _, _ = run.kept
    assert before.size == touched.size == 0


def test_silent_neurons_fire_at_the_end_and_get_no_gradient():
    model = network(2, [2], seed=0)
    model[0].weight.data[0] = 0.0
    spikes = EventProp(model, 20.0)(torch.tensor([[1.0, 2.0], [math.inf, math.inf]], dtype=torch.float64))
    assert spikes.first()[0, 0] == spikes.first()[1, 1] == 20.0
    assert spikes.counts().tolist()[1] == [0, 0]
    (gradient,) = torch.autograd.grad(spikes.first().sum(), model[0].weight)
    assert not gradient[0].any()
    assert gradient[1].any()


def test_it_learns_to_fire_when_it_should():
    model = network(3, [4, 2], seed=1)
    rule, times = EventProp(model, 40.0), torch.tensor([[1.0, 5.0, 9.0]], dtype=torch.float64)
    wanted = torch.tensor([[8.0, 14.0]], dtype=torch.float64)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    before = (rule(times).first() - wanted).abs().max()
    for _ in range(100):
        optimizer.zero_grad()
        (rule(times).first() - wanted).square().sum().backward()
        optimizer.step()
    assert (rule(times).first() - wanted).abs().max() < 0.25 * before


@pytest.mark.fault
def test_bad_models_and_inputs_are_refused():
    def one(neuron, bias=False):
        return Sequential(nn.Linear(2, 2, bias=bias), neuron)

    cases = [
        (lambda: EventProp(nn.Linear(2, 2), 10.0), UnsupportedLayerError, "Sequential"),
        (lambda: EventProp(one(lif(), True), 10.0), UnsupportedLayerError, "bias"),
        (lambda: EventProp(one(ALIF(dt=1.0)), 10.0), UnsupportedLayerError, "ALIF"),
        (lambda: EventProp(one(LIF(receptors=Delta())), 10.0), UnsupportedLayerError, "Exp"),
        (lambda: EventProp(one(LIF(receptors=Exp(), t_ref=2.0)), 10.0), UnsupportedLayerError, "t_ref"),
        (lambda: EventProp(one(LIF(receptors=Exp(), learnable=["tau_m"])), 10.0), UnsupportedLayerError, "learn"),
        (lambda: EventProp(one(lif()), math.nan), ParameterError, "duration"),
        (lambda: EventProp(one(lif()), 10.0, least=0.0), ParameterError, "least"),
    ]
    for make, error, words in cases:
        with pytest.raises(error, match=words):
            make()
    rule = EventProp(one(lif()).double(), 30.0, most=5)
    with pytest.raises(ShapeError, match=r"\[B, 2\]"):
        rule(torch.zeros(3, 4))
    with pytest.raises(DTypeError, match="float32"):
        rule(torch.zeros(3, 2, dtype=torch.int64))
    with pytest.raises(NonFiniteError, match="NaN or negative"):
        rule(torch.tensor([[1.0, -2.0]]))
    with pytest.raises(ShapeError, match="centre"):
        rule(torch.ones(1, 2), torch.ones(3))
    rule.model[0].weight.data.fill_(50.0)
    with pytest.raises(ParameterError, match="more than most=5"):
        rule(torch.ones(1, 2))
    rule.model[0].weight.data[0, 0] = math.nan
    with pytest.raises(NonFiniteError, match="weight"):
        rule(torch.ones(1, 2))
    equal = EventProp(Sequential(nn.Linear(2, 2, bias=False), lif(10.0, 10.0)), 30.0)
    with pytest.raises(ParameterError, match="time constants"):
        equal(torch.ones(1, 2), torch.zeros(2))
