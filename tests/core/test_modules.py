"""A described network as a torch module: the simulator's spikes, true gradients, and the way back."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

import spikeframe as sf
from spikeframe.errors import (
    ExactnessError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    SpikeframeError,
    UnknownNameError,
)
from spikeframe.neurons import ALIF, LI, LIF, Alpha, Current, Delta, EscapeLIF, Exp

DT = 0.5


def network(seed: int = 3) -> sf.Network:
    """Return a recurrent network: delta, exp and alpha receptors, mixed delays, every kind of source and drive."""
    net, rng = sf.Network(seed=seed), np.random.default_rng(5)
    source = net.population("source", 20, sf.SpikeSource(rng.integers(1, 200, 500) * DT, rng.integers(0, 20, 500)))
    noisy = net.population("noisy", 11, sf.PoissonSource(60.0, start=10.0))
    lif = LIF(tau_m=15.0, v_th=10.0, t_ref=1.5, receptors={"exc": Exp(tau=3.0), "inh": Alpha(tau=2.0)})
    exc = net.population("exc", 61, lif, v=sf.Uniform(0.0, 9.0))
    inh = net.population("inh", 17, lif, v=sf.Normal(3.0, 2.0))
    slow = net.population("slow", 9, ALIF(tau_m=25.0, v_th=5.0, beta=1.0, tau_a=50.0))
    drawn, wide = sf.Normal(2.0, 0.3), sf.Uniform(1.0, 9.0)
    net.connect(source, [exc, inh], sf.FixedProbability(0.5), receptor="exc", weight=drawn, delay=1.0)
    net.connect(exc, [exc, inh], sf.FixedProbability(0.3), receptor="exc", weight=0.6, delay=wide)
    net.connect(inh, [exc, inh], sf.FixedInDegree(5), receptor="inh", weight=sf.Uniform(-1.5, -0.5), delay=1.5)
    net.connect(noisy, exc, sf.AllToAll(), receptor="exc", weight=0.7, delay=3.0)
    net.connect(exc, slow, sf.FixedTotal(80), weight=sf.LogNormal(0.0, 0.5), delay=sf.Normal(4.0, 2.0, low=0.6))
    given = {"weight": [-1.0, -2.0, 0.3, 0.7], "delay": [1.0, 2.5, 7.0, 1.0]}
    net.connect(slow, exc, sf.Pairs([0, 0, 8, 3], [5, 5, 60, 0]), receptor="inh", **given)
    net.stimulate(inh, sf.PoissonInput(900.0, 0.9, start=5.0, stop=80.0), "exc")
    net.stimulate(exc, sf.PoissonInput(300.0, -0.2), "inh")
    net.stimulate(exc, sf.NoiseCurrent(0.5, 3.0))
    net.stimulate(exc, sf.AC(2.0, 30.0, start=20.0))
    net.record(["source", "noisy", "exc", "inh", "slow"], "spikes")
    return net


def dense(result, name: str, size: int, steps: int) -> np.ndarray:
    """Return a simulation's spikes as ``[steps, neurons]``."""
    found = np.zeros((steps, size))
    np.add.at(found, (result.spikes[name].steps, result.spikes[name].ids), 1.0)
    return found


def assert_same_spikes(net: sf.Network, module, steps: int, threads: int = 1, dtype: str = "float32") -> int:
    """Hold a module to the simulator; return the number of spikes."""
    result = sf.Simulator(net, dt=module.dt, threads=threads, dtype=dtype).run(steps * module.dt)
    with torch.no_grad():
        out, _ = module(steps=steps)
    for name, spikes in out.items():
        expected = dense(result, name, net.populations[name].size, steps)
        assert np.array_equal(spikes[:, 0].numpy(), expected), name
        assert expected.any(), f"{name} is silent: the test shows nothing"
    return int(sum(s.sum() for s in out.values()))


def by_torch(module):
    """Let a module's neurons run step by step, without kernels to compile."""
    for neuron in module.neurons:
        neuron.backend = "torch"
    return module


@pytest.mark.exact
def test_the_module_fires_as_the_simulator_does_on_any_threads():
    net = network()
    module = net.to_module(DT)
    for threads in (1, 2):
        assert assert_same_spikes(net, module, 200, threads) > 300


@pytest.mark.exact
@pytest.mark.campaign
def test_in_float64_it_fires_as_the_float64_simulator():
    net = network(seed=4)
    assert assert_same_spikes(net, by_torch(net.to_module(DT, dtype="float64")), 100, dtype="float64") > 100


@pytest.mark.exact
def test_a_run_cut_in_pieces_gives_the_same_spikes_for_every_sample():
    module = by_torch(network().to_module(DT, outputs=["exc", "slow", "source"]))
    with torch.no_grad():
        whole, end = module(steps=60, seeds=[3, 9])
        first, state = module(steps=23, seeds=[3, 9])
        rest, last = module(steps=37, state=state, seeds=[3, 9])
        alone, _ = module(steps=60, seeds=9)
    for name, spikes in whole.items():
        assert torch.equal(torch.cat([first[name], rest[name]]), spikes), name
        assert torch.equal(spikes[:, 1:], alone[name])
    assert not torch.equal(whole["exc"][:, 0], whole["exc"][:, 1])
    assert end.step == last.step == 60
    assert all(torch.equal(a, b) for n in end.neurons for a, b in zip(end.neurons[n], last.neurons[n], strict=True))


@pytest.mark.exact
def test_a_sample_of_a_seed_is_the_network_of_that_seed():
    def small(seed: int) -> sf.Network:
        net = sf.Network(seed=seed)
        net.population("first", 3, EscapeLIF(tau_m=10.0, v_th=5.0, i_e=4.0))
        b = net.population("b", 5, EscapeLIF(tau_m=10.0, v_th=5.0, i_e=4.0))
        net.stimulate(b, sf.PoissonInput(400.0, 1.3))
        net.connect(b, b, sf.Pairs([0, 1, 1], [3, 2, 2]), weight=2.5, delay=2.0)
        net.record(["first", "b"], "spikes")
        return net

    module = by_torch(small(1).to_module(DT))
    with torch.no_grad():
        out, _ = module(steps=120, seeds=[1, 8])
    for sample, seed in enumerate((1, 8)):
        result = sf.Simulator(small(seed), dt=DT).run(60.0)
        for name, size in (("first", 3), ("b", 5)):
            assert np.array_equal(out[name][:, sample].numpy(), dense(result, name, size, 120))
            assert len(result.spikes[name]) > 3


@pytest.mark.exact
def test_given_spikes_take_the_place_of_a_sources_own():
    net = network()
    module = by_torch(net.to_module(DT, outputs=["exc", "source"]))
    with torch.no_grad():
        own, _ = module(steps=50)
        other = torch.zeros_like(own["source"])
        given, _ = module({"source": torch.cat([other, own["source"]], dim=1)})
        pushed, _ = module({"exc/exc": torch.full((50, 1, 61), 4.0)})
    assert torch.equal(given["exc"][:, 1:], own["exc"])
    assert given["exc"][:, 0].sum() < own["exc"].sum() < pushed["exc"].sum()


def soft(module):
    """Replace every spike by the logistic function, so that finite differences have a meaning."""
    for neuron in by_torch(module).neurons:
        neuron.program = partial(type(neuron).program, neuron, True)
    return module


def small(**learnable) -> sf.Network:
    """Return a recurrent network with several synapses of a pair and delays of 1 to 4 steps."""
    net = sf.Network(seed=2)
    rng = np.random.default_rng(0)
    lif = LIF(tau_m=4.0, receptors={"fast": Exp(tau=2.0), "slow": Alpha(tau=3.0)}, **learnable)
    source, a = net.population("source", 3, sf.SpikeSource([], [])), net.population("a", 4, lif, v=sf.Uniform(0.0, 0.9))
    b = net.population("b", 2, ALIF(tau_m=5.0, tau_a=6.0))

    def synapses(m, n, many, mean, slowest):
        ends = sf.Pairs(rng.integers(0, m, many), rng.integers(0, n, many))
        return {"rule": ends, "weight": rng.normal(mean, 1, many), "delay": rng.integers(1, slowest + 1, many) * DT}

    net.connect(source, a, receptor="fast", **synapses(3, 4, 9, 1.0, 3))
    net.connect(a, a, receptor="slow", **synapses(4, 4, 12, 0.0, 4))
    net.connect(a, b, **synapses(4, 2, 8, 1.0, 1))
    net.connect(b, a, receptor="fast", **synapses(2, 4, 6, -1.0, 3))
    return net


def test_gradients_through_delays_and_recurrence_are_those_of_finite_differences():
    module = soft(small(learnable=("tau_m", "v_th")).to_module(DT, dtype="float64")).double()
    names, values = zip(*module.named_parameters(), strict=True)
    x = torch.rand(11, 2, 3, dtype=torch.float64, requires_grad=True)
    extra = torch.rand(11, 2, 2, dtype=torch.float64, requires_grad=True)

    def run(x, extra, *values):
        out, _ = torch.func.functional_call(
            module, dict(zip(names, values, strict=True)), ({"source": x, "b/input": extra},)
        )
        return out["a"], out["b"]

    assert torch.autograd.gradcheck(run, (x, extra, *(v.detach().requires_grad_() for v in values)), fast_mode=True)


def test_gradients_pass_from_one_call_to_the_next_through_the_state():
    module = soft(small().to_module(DT, dtype="float64"))
    x = torch.rand(12, 2, 3, dtype=torch.float64)
    weight = module.synapses[1].weight
    whole, _ = module({"source": x})
    (expected,) = torch.autograd.grad(whole["a"].square().sum() + whole["b"].sum(), weight)
    first, state = module({"source": x[:5]})
    rest, _ = module({"source": x[5:]}, state)
    both = {n: torch.cat([first[n], rest[n]]) for n in first}
    (found,) = torch.autograd.grad(both["a"].square().sum() + both["b"].sum(), weight)
    torch.testing.assert_close(found, expected)


def test_surrogate_gradients_of_kernels_and_of_torch_are_the_same():
    grads = []
    for backend in ("auto", "torch"):
        module = small(learnable=("tau_m",)).to_module(DT)
        for neuron in module.neurons:
            neuron.backend = backend
        torch.manual_seed(0)
        out, _ = module({"source": (torch.rand(40, 3, 3) < 0.4).float()})
        (out["a"].mean(0).square().sum() + out["b"].sum()).backward()
        grads.append([p.grad for p in module.parameters()])
    assert all(bool((g != 0).any()) for g in grads[0])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.exact
def test_a_trained_circuit_is_simulated_with_the_spikes_of_its_module():
    net = network()
    trained = (1, 2, 4, 7)
    module = by_torch(net.to_module(DT))
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for i in trained:
            weight = module.synapses[i].weight
            weight += 0.3 * torch.randn(weight.shape, generator=rng)
        module.synapses[1].weight[:2] = torch.tensor([127.99999, 1e-9])  # no grid of 32 bits holds both
    back = module.to_network()
    assert [link.rule is old.rule for link, old in zip(back.projections, net.projections, strict=True)] == [
        i not in trained for i in range(len(net.projections))
    ]
    assert len(back.snapping) == len(trained)
    for s in back.snapping.values():
        assert 0.0 <= s.rms_change <= s.largest_change <= s.step / 2
    assert back.snapping["source -> inh (exc)"].rms_change > 1e-5 > back.snapping["exc -> slow (input)"].rms_change
    again = by_torch(back.to_module(DT))
    for i in trained:
        step = back.snapping[net.projections[i].name].step
        want = torch.round(module.synapses[i].weight.double() / step) * step
        assert torch.equal(again.synapses[i].weight.double(), want)
    assert assert_same_spikes(back, again, 100, threads=2) > 100
    once_more = again.to_network()
    assert not once_more.snapping
    assert all(a.rule is b.rule for a, b in zip(once_more.projections, back.projections, strict=True))


@pytest.mark.exact
def test_trained_parameters_and_biases_come_back(tmp_path):
    net = sf.Network(seed=1)
    lif = LIF(tau_m=10.0, v_th=1.0, learnable=("tau_m", "v_th"))
    source = net.population("source", 4, sf.SpikeSource(np.arange(1, 60) * DT, np.arange(59) % 4))
    a = net.population("a", 6, lif, bias=0.05)
    net.connect(source, a, sf.AllToAll(), weight=0.2, delay=DT)
    net.record(a, "spikes")
    module = by_torch(net.to_module(DT))
    optimiser = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(3):
        out, _ = module(steps=60)
        loss = (out["a"].mean(0) - torch.linspace(0.1, 0.6, 6)).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    back = module.to_network()
    for name in ("tau_m", "v_th"):
        assert torch.equal(back.populations["a"].neuron.value(name), module.neuron("a").value(name))
        assert back.populations["a"].neuron.value(name) != lif.value(name)
    assert len(set(back.populations["a"].bias)) == 6
    assert assert_same_spikes(back, by_torch(back.to_module(DT)), 60) > 10
    sim = sf.Simulator(back, dt=DT)
    sim.run(20.0)
    sim.save(tmp_path / "state.h5")
    again = sf.Simulator.load(tmp_path / "state.h5").run(10.0)
    assert np.array_equal(sim.run(10.0).spikes["a"].times, again.spikes["a"].times)


def test_a_current_and_a_readout():
    net = sf.Network()
    a = net.population("a", 2, LIF(tau_m=10.0, v_th=1.0, receptors={"in": Delta(), "current": Current()}))
    out = net.population("out", 1, LI(tau_m=10.0))
    net.connect(a, out, sf.AllToAll(), weight=1.0, delay=DT)
    net.record(out, "v")
    net.stimulate(a, sf.DC(3.0))
    module = by_torch(net.to_module(DT))
    trace = sf.Simulator(net, dt=DT).run(20.0).traces["out"]["v"].values
    found, _ = module(steps=40)
    assert trace.any()
    assert np.array_equal(found["out"][:, 0].detach().numpy(), trace)
    more, _ = module({"a/current": torch.full((40, 1, 2), 3.0)})
    assert more["a"].sum() > found["a"].sum() > 0


@pytest.mark.fault
def test_what_cannot_be_run_is_refused_with_its_name():
    net = network()
    module = by_torch(net.to_module(DT))
    nan = torch.zeros(5, 2, 20)
    nan[3, 1] = torch.nan
    _, state = module(steps=2)
    refused = [
        (UnknownNameError, "sourze", lambda: module({"sourze": torch.zeros(5, 2, 20)})),
        (UnknownNameError, "exc/ex", lambda: module({"exc/ex": torch.zeros(5, 2, 61)})),
        (UnknownNameError, "exk", lambda: net.to_module(DT, outputs=["exk"])),
        (ShapeError, "20 neurons", lambda: module({"source": torch.zeros(5, 2, 21)})),
        (ShapeError, "20 neurons", lambda: module({"source": np.zeros((5, 2, 20))})),
        (ShapeError, "steps differ", lambda: module({"source": torch.zeros(5, 2, 20)}, steps=6)),
        (ShapeError, "samples differ", lambda: module({"source": torch.zeros(5, 2, 20)}, seeds=[1, 2, 3])),
        (ShapeError, "samples differ", lambda: module({"source": torch.zeros(5, 2, 20)}, state)),
        (ShapeError, "CircuitState", lambda: module(state=(1, 2), steps=3)),
        (ShapeError, "past", lambda: module(state=state._replace(past={}), steps=3)),
        (NonFiniteError, "step 3 of sample 1", lambda: module({"source": nan})),
        (ParameterError, "steps=1000", lambda: module()),
        (ParameterError, "seeds", lambda: module(steps=2, seeds=[1, -1])),
        (ParameterError, "steps=-1", lambda: module(steps=-1)),
        (SpikeframeError, "dt", lambda: net.to_module(-1.0)),
        (SpikeframeError, "dtype", lambda: net.to_module(DT, dtype="float16")),
        (ExactnessError, "float32", lambda: crowded().to_module(DT, dtype="float64")),
        (ParameterError, "graded", lambda: graded().to_module(DT)),
        (ParameterError, "TsodyksMarkram", lambda: plastic().to_module(DT)),
        (ParameterError, "gap junctions", lambda: coupled().to_module(DT)),
        (NonFiniteError, "trained weight", lambda: spoilt().to_network()),
        (NonFiniteError, "after step", lambda: spoilt()(steps=30)),
    ]
    for kind, text, call in refused:
        with pytest.raises(kind, match=text):
            call()


def graded() -> sf.Network:
    """Return a network in which a readout without spikes projects."""
    net = sf.Network()
    a = net.population("a", 2, LI(tau_m=5.0))
    net.connect(a, net.population("b", 2, ALIF()), sf.AllToAll(), weight=1.0, delay=DT)
    return net


def crowded() -> sf.Network:
    """Return a network with so many equal synapses that float64 does not hold the sum of their 44-bit weights."""
    net = sf.Network()
    a = net.population("a", 2000, ALIF())
    net.connect(a, net.population("b", 1, ALIF()), sf.AllToAll(), weight=0.1, delay=DT)
    return net


def plastic() -> sf.Network:
    """Return a network with plastic synapses."""
    net = sf.Network()
    a = net.population("a", 2, ALIF())
    net.connect(a, a, sf.AllToAll(), weight=1.0, delay=DT, synapse=sf.TsodyksMarkram())
    return net


def coupled() -> sf.Network:
    """Return a network with gap junctions."""
    net = sf.Network()
    a = net.population("a", 2, LIF())
    net.couple(a, a, sf.Pairs([0], [1]), conductance=1.0)
    return net


def spoilt():
    """Return a module one of whose weights is NaN."""
    module = by_torch(network().to_module(DT))
    with torch.no_grad():
        module.synapses[0].weight[3] = torch.nan
    return module
